//! Types: that each name is defined once, and that no type has too many public methods.

use std::collections::BTreeMap;

use super::sources::{Source, identifier, without_visibility};

/// Public methods that a type may have.
const METHODS_MAX: usize = 25;
/// The same of the registry with those that only a part of the crate sees: everybody uses it.
const REGISTRY_METHODS_MAX: usize = 40;

/// Type names that are defined more than once.
pub(crate) fn doubles(sources: &[Source]) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in sources {
        for name in source.code().lines().filter_map(type_name) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    let doubles = places.into_iter().filter(|(_, files)| files.len() > 1);
    doubles
        .map(|(name, files)| format!("{name} is defined in {}", files.join(" and ")))
        .collect()
}

/// The type that a line at the left margin defines.
fn type_name(line: &str) -> Option<String> {
    let (kind, name) = without_visibility(line).split_once(' ')?;
    if !["struct", "enum", "trait", "type", "union"].contains(&kind) {
        return None;
    }
    Some(identifier(name))
}

#[derive(Default)]
struct Methods {
    public: usize,
    all: usize,
}

/// Types with more public methods than they may have. Methods of a `Deref` target count, as do
/// those of the crate's own traits besides its seams, so that neither hides them.
pub(crate) fn crowded(sources: &[Source]) -> Vec<String> {
    let mut types = BTreeMap::<String, Methods>::new();
    let mut derefs = Vec::new();
    for source in sources {
        let code = source.code();
        let mut lines = code.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(head) = line.strip_prefix("impl") else {
                continue;
            };
            let Some((name, implemented)) = implementation(head) else {
                continue;
            };
            let mut own = Methods::default();
            let mut hidden = false;
            while let Some(line) = lines.next_if(|line| !line.starts_with('}')) {
                let line = line.strip_prefix("    ").unwrap_or(line);
                if let Some(target) = line.strip_prefix("type Target = ") {
                    derefs.push((name.clone(), identifier(target)));
                }
                if line.starts_with("pub fn") || line.starts_with("pub const fn") {
                    own.public += usize::from(!hidden);
                    own.all += usize::from(!hidden);
                } else if line.starts_with("pub(") && line.contains(" fn ") {
                    own.all += usize::from(!hidden);
                } else if line.starts_with("fn ") && implemented {
                    own.public += 1;
                    own.all += 1;
                }
                hidden = line == "#[cfg(test)]" || hidden && line.starts_with("#[");
            }
            let methods = types.entry(name).or_default();
            methods.public += own.public;
            methods.all += own.all;
        }
    }
    for (name, target) in derefs {
        let (public, all) = types
            .get(&target)
            .map_or((0, 0), |one| (one.public, one.all));
        let methods = types.entry(name).or_default();
        methods.public += public;
        methods.all += all;
    }
    let crowded = types.into_iter().filter(|(name, methods)| {
        let many = name == "Registry" && methods.all > REGISTRY_METHODS_MAX;
        methods.public > METHODS_MAX || many
    });
    crowded
        .map(|(name, one)| {
            format!(
                "{name} has {} public methods, {} in all",
                one.public, one.all
            )
        })
        .collect()
}

/// The type of an `impl` line, and whether it implements one of the crate's own extension traits;
/// nothing for other traits.
fn implementation(head: &str) -> Option<(String, bool)> {
    let head = match head.strip_prefix('<') {
        Some(generic) => generic.split_once("> ")?.1,
        None => head.trim_start(),
    };
    match head.split_once(" for ") {
        None => Some((identifier(head), false)),
        Some((of, name)) => {
            let name = identifier(name.trim_start_matches('&'));
            let extension = of.ends_with("Ext");
            let deref = of.ends_with("Deref");
            (extension || deref).then_some((name, extension))
        }
    }
}

//! Circles of files: files that use each other, by themselves or through others.
//!
//! A file and its own submodules are one unit: what they use of each other does not count. A use
//! is a path in a `use` or in code, followed through re-exports to the file that defines the item.
//! Methods called on a value are not paths, and are not seen.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, identifier, without_visibility};

type Module = Vec<String>;

/// What a file defines and imports.
#[derive(Default)]
struct Items {
    defined: BTreeSet<String>,
    /// Imported paths, the names that they get here, and whether they are only re-exported.
    imported: Vec<(Vec<String>, String, bool)>,
    /// Paths that the code uses.
    paths: Vec<Vec<String>>,
}

/// Every circle, as the paths of its files.
pub(crate) fn circles(sources: &[Source]) -> Vec<String> {
    let files: BTreeMap<Module, Items> = sources
        .iter()
        .map(|one| (one.module(), items(&one.code())))
        .collect();
    let graph: BTreeMap<&Module, BTreeSet<Module>> = files
        .iter()
        .map(|(module, items)| (module, used(&files, module, items)))
        .collect();
    let mut found = BTreeSet::new();
    for module in graph.keys() {
        let mut circle: Vec<String> = reached(&graph, module)
            .iter()
            .filter(|other| reached(&graph, other).contains(*module))
            .map(|other| other.join("/"))
            .collect();
        circle.sort();
        if !circle.is_empty() {
            found.insert(circle.join(", "));
        }
    }
    found.into_iter().collect()
}

/// The files that a file reaches, itself only if it is in a circle.
fn reached(graph: &BTreeMap<&Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<Module> = graph[from].iter().cloned().collect();
    while let Some(module) = next.pop() {
        if seen.insert(module.clone()) {
            next.extend(graph[&module].iter().cloned());
        }
    }
    seen
}

/// The files that a file uses by itself.
fn used(files: &BTreeMap<Module, Items>, module: &Module, items: &Items) -> BTreeSet<Module> {
    let imports = items.imported.iter().filter(|(.., only)| !only);
    let paths = imports.map(|(path, ..)| path).chain(&items.paths);
    paths
        .filter_map(|path| absolute(files, module, path))
        .filter_map(|path| definition(files, &path, 0))
        .filter(|other| !other.starts_with(module) && !module.starts_with(other))
        .collect()
}

/// A path from the root of the crate; nothing for one that leads out of it.
fn absolute(
    files: &BTreeMap<Module, Items>,
    module: &Module,
    path: &[String],
) -> Option<Vec<String>> {
    let mut base = module.clone();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => return Some(rest[1..].to_vec()),
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|one| one == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        first => {
            // A submodule of this file, or an item that it imports.
            let mut submodule = base.clone();
            submodule.push(first.to_owned());
            if !files.contains_key(&submodule) {
                let imported = &files[module].imported;
                let (import, ..) = imported.iter().find(|(_, name, _)| name == first)?;
                let local = import.first()?;
                if !["crate", "self", "super"].contains(&local.as_str()) {
                    return None;
                }
                let path: Vec<_> = import.iter().chain(&rest[1..]).cloned().collect();
                return absolute(files, module, &path);
            }
        }
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The file that defines what a path names.
fn definition(files: &BTreeMap<Module, Items>, path: &[String], depth: usize) -> Option<Module> {
    if files.contains_key(path) {
        return Some(path.to_vec());
    }
    for cut in (0..path.len()).rev() {
        let (module, name) = (path[..cut].to_vec(), &path[cut]);
        let Some(items) = files.get(&module) else {
            continue;
        };
        let import = items.imported.iter().find(|(_, known, _)| known == name);
        let Some((import, ..)) = import.filter(|_| depth < 8 && !items.defined.contains(name))
        else {
            return Some(module);
        };
        let mut onwards = absolute(files, &module, import)?;
        onwards.extend_from_slice(&path[cut + 1..]);
        return definition(files, &onwards, depth + 1);
    }
    None
}

fn items(code: &str) -> Items {
    let mut found = Items::default();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let item = without_visibility(line);
        if let Some(tree) = item.strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                tree.push_str(lines.next().unwrap());
            }
            let only = line.starts_with("pub");
            let tree = tree.split(';').next().unwrap();
            expand(tree, &[], only, &mut found.imported);
            continue;
        }
        if let Some(name) = defined(item) {
            found.defined.insert(name);
        }
        rest.push_str(line);
        rest.push('\n');
    }
    found.paths = paths(&rest);
    found
}

/// The name that a line at the left margin defines.
fn defined(line: &str) -> Option<String> {
    let line = line.trim_start_matches("unsafe ");
    let line = line
        .strip_prefix("const ")
        .filter(|rest| rest.starts_with("fn "))
        .unwrap_or(line);
    let mut words = line.splitn(2, ' ');
    let word = words.next()?;
    let kinds = ["struct", "enum", "trait", "type", "fn", "const", "static"];
    let name = kinds.contains(&word).then(|| words.next()).flatten()?;
    Some(identifier(name))
}

/// The paths of a use tree with the names that they get.
fn expand(tree: &str, prefix: &[String], only: bool, into: &mut Vec<(Vec<String>, String, bool)>) {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path: Vec<String> = prefix.iter().cloned().chain(parts(path)).collect();
        path.retain(|one| !one.is_empty());
        if path.len() > 1 && path.last().is_some_and(|one| one == "self") {
            path.pop();
        }
        let name = if alias.is_empty() {
            path.last().cloned()
        } else {
            Some(alias.to_owned())
        };
        into.push((path, name.unwrap_or_default(), only));
        return;
    };
    let prefix: Vec<String> = prefix.iter().cloned().chain(parts(head)).collect();
    let (mut depth, mut one) = (0, String::new());
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => expand(&std::mem::take(&mut one), &prefix, only, into),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                one.push(letter);
            }
        }
    }
    if !one.trim().is_empty() {
        expand(&one, &prefix, only, into);
    }
}

fn parts(path: &str) -> impl Iterator<Item = String> {
    let parts = path.split("::").map(|one| one.trim().to_owned());
    parts.filter(|one| !one.is_empty())
}

/// Every path of two names or more in code.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter| !is_name(letter));
    let paths = words.map(|word| parts(word).collect::<Vec<_>>());
    let starts = |path: &Vec<String>| path[0].starts_with(|one: char| one.is_ascii_lowercase());
    paths
        .filter(|path| path.len() > 1 && starts(path))
        .collect()
}

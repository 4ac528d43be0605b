//! The picture of the modules in `src/lib.rs`: which module may use which others.
//!
//! Each line `a, b <- c` says that `c` may use `a` and `b`, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::Source;

/// What each module may use, in the order of the picture.
pub(crate) struct Picture(Vec<(String, BTreeSet<String>)>);

impl Picture {
    /// Reads the picture from the text block of `lib.rs`.
    pub(crate) fn of(sources: &[Source]) -> Self {
        let library = sources.iter().find(|one| one.path == "lib.rs").unwrap();
        let block = library.text.split("```text\n").nth(1).unwrap();
        let block = block.split("//! ```").next().unwrap();
        let (mut lines, mut begun) = (Vec::new(), String::new());
        for line in block.lines() {
            let line = begun + line.trim_start_matches("//!").trim();
            begun = String::new();
            let Some((list, user)) = line.split_once("<-") else {
                // It goes on in the next line.
                begun = line;
                continue;
            };
            let user = user.split_whitespace().next().unwrap().to_owned();
            let admitted = list.split(',').map(|one| one.trim().to_owned());
            lines.push((user, admitted.filter(|one| !one.is_empty()).collect()));
        }
        Self(lines)
    }

    /// The uses of modules that the picture does not have, its lines that lead upwards or stand
    /// there twice, and the arrows that no code needs.
    pub(crate) fn violations(&self, sources: &[Source]) -> Vec<String> {
        let mut found = self.of_itself();
        let mut arrows = BTreeMap::<String, BTreeSet<String>>::new();
        for source in sources.iter().filter(|one| one.path != "lib.rs") {
            let user = source.top();
            let Some((_, admitted)) = self.0.iter().find(|(name, _)| *name == user) else {
                found.push(format!("{} is not in the picture", source.path));
                continue;
            };
            let code = source.code().replace("regfs::", "crate::");
            for one in code.split("crate::").skip(1) {
                let name: String = one.chars().take_while(char::is_ascii_lowercase).collect();
                if name.is_empty() || name == user {
                    continue;
                }
                if admitted.contains(&name) {
                    arrows.entry(user.clone()).or_default().insert(name);
                } else {
                    found.push(format!("{} uses {name}", source.path));
                }
            }
        }
        for (user, admitted) in &self.0 {
            let needed = arrows.remove(user).unwrap_or_default();
            for one in admitted.difference(&needed) {
                found.push(format!("no code of {user} uses {one}"));
            }
        }
        found
    }

    fn of_itself(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut above = BTreeSet::new();
        for (user, used) in &self.0 {
            for one in used.difference(&above) {
                found.push(format!(
                    "the picture has {one} <- {user} before {one} itself"
                ));
            }
            if !above.insert(user.clone()) {
                found.push(format!("the picture has two lines for {user}"));
            }
        }
        found
    }
}

//! The sources of the crate as text, without tests, for the rules.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
#[derive(Clone)]
pub(crate) struct Source {
    /// Its path below `src`.
    pub(crate) path: String,
    /// Its text up to its tests.
    pub(crate) text: String,
}

impl Source {
    /// The code without comments.
    pub(crate) fn code(&self) -> String {
        let lines = self.text.lines();
        let code = lines.filter(|line| !line.trim_start().starts_with("//"));
        code.collect::<Vec<_>>().join("\n")
    }

    /// The path of its module: `registry/link.rs` is `["registry", "link"]`, and `lib.rs` is
    /// empty.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.strip_suffix(".rs").unwrap();
        if path == "lib" {
            return Vec::new();
        }
        path.split('/').map(str::to_owned).collect()
    }

    /// The first component of its path: the module of the picture that it belongs to.
    pub(crate) fn top(&self) -> String {
        self.path.split(['/', '.']).next().unwrap().to_owned()
    }
}

/// Every source file, without tests and without the suites that run against every
/// implementation of a seam.
pub(crate) fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&top, &mut paths);
    let mut found: Vec<Source> = paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
            let path = path.strip_prefix(&top).unwrap().display().to_string();
            Source { path, text }
        })
        .filter(|one| !one.path.ends_with("tests.rs") && !one.path.contains("/tests/"))
        .filter(|one| !one.path.ends_with("contract.rs"))
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for row in fs::read_dir(directory).unwrap() {
        let path = row.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// A line without the `pub` or `pub(...)` that it starts with.
pub(crate) fn without_visibility(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("pub") else {
        return line;
    };
    let rest = rest.trim_start();
    let inner = rest.strip_prefix('(').and_then(|one| one.split_once(')'));
    inner.map_or(rest, |(_, rest)| rest).trim_start()
}

/// The identifier that a text starts with.
pub(crate) fn identifier(text: &str) -> String {
    let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    text.chars().take_while(is_name).collect()
}

/// The sources with one more, or another in place of the one at its path: a violation of a rule.
pub(crate) fn with(path: &str, text: &str) -> Vec<Source> {
    let mut changed = sources();
    changed.retain(|one| one.path != path);
    changed.push(Source {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    changed
}

/// The text of a source.
pub(crate) fn text_of(path: &str) -> String {
    let found = sources().into_iter().find(|one| one.path == path);
    found.unwrap().text
}

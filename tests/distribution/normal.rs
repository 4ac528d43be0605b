//! Normal forms: responses and trees without the parts that are random by nature.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::http::Answer;
use super::image::digest;

/// Headers whose values are about the moment.
const MOMENTARY: [&str; 2] = ["date", "x-request-id"];

/// An answer as text.
pub(crate) fn answer(answer: &Answer, root: &Path, ports: &[u16]) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !MOMENTARY.contains(&name.to_lowercase().as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    let body = match std::str::from_utf8(&answer.body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} bytes, {}", answer.body.len(), digest(&answer.body)),
    };
    text(
        &format!("{}\n{}\n{body}", answer.status, headers.join("\n")),
        root,
        ports,
    )
}

/// Text without identifiers, upload states, the root's path and ports.
pub(crate) fn text(text: &str, root: &Path, ports: &[u16]) -> String {
    let mut text = text.replace(&root.display().to_string(), "<root>");
    for port in ports {
        text = text.replace(&format!("127.0.0.1:{port}"), "<host>");
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("_state=") {
            out += "_state=<state>";
            rest = tail.trim_start_matches(|c: char| !matches!(c, '&' | '"' | '\n' | ' '));
        } else if rest.get(..36).is_some_and(is_uuid) {
            out += "<uuid>";
            rest = &rest[36..];
        } else {
            let next = rest.chars().next().unwrap();
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Every path below a root, with the size and digest of each file's content.
pub(crate) fn tree(root: &Path) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    walk(root, root, &mut rows);
    rows
}

fn walk(root: &Path, directory: &Path, rows: &mut BTreeSet<String>) {
    for row in fs::read_dir(directory).unwrap() {
        let path = row.unwrap().path();
        let shown = text(
            &path.strip_prefix(root).unwrap().display().to_string(),
            root,
            &[],
        );
        if path.is_dir() {
            rows.insert(format!("d {shown}"));
            walk(root, &path, rows);
            continue;
        }
        let content = fs::read(&path).unwrap();
        assert_eq!(
            path.metadata().unwrap().len(),
            content.len() as u64,
            "{shown}"
        );
        // A pull-through cache records times; a hash state holds what the registry's memory
        // held; neither depends on the filesystem.
        let content = if shown.ends_with("scheduler-state.json") {
            continue;
        } else if shown.contains("/hashstates/") || shown.ends_with("/startedat") {
            format!("{} bytes", content.len())
        } else {
            format!("{} bytes {}", content.len(), digest(&content))
        };
        rows.insert(format!("f {shown} {content}"));
    }
}

/// What the mounted tree shows although the plain one does not, or the other way round, but for
/// the one deliberate exception: a repository with revisions always shows both directories.
pub(crate) fn difference(plain: &BTreeSet<String>, mounted: &BTreeSet<String>) -> Vec<String> {
    let excepted = |row: &&String| {
        let repository = row
            .strip_suffix("/_layers")
            .or_else(|| row.strip_suffix("/_manifests"));
        repository.is_some_and(|repository| {
            let links = format!(
                "f {}/_manifests/revisions/",
                repository.trim_start_matches("d ")
            );
            plain.iter().any(|row| row.starts_with(&links))
        })
    };
    let missing = plain
        .difference(mounted)
        .map(|row| format!("only on the plain disk: {row}"));
    let extra = mounted.difference(plain).filter(|row| !excepted(row));
    missing
        .chain(extra.map(|row| format!("only on the mount: {row}")))
        .collect()
}

//! Checks of a store by fsck: after every test a store must be consistent.

use std::path::Path;

use crate::program::regfs;

/// Runs fsck on a store, mounted or not. Returns its exit code and its JSON.
pub fn fsck(store: &Path) -> (i32, serde_json::Value) {
    let mut command = regfs();
    let output = command.args(["fsck", "--json"]).arg(store).output();
    let output = output.unwrap();
    let code = output.status.code().unwrap();
    assert!(
        code == 0 || code == 5,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (code, serde_json::from_slice(&output.stdout).unwrap())
}

/// Returns the findings of this severity.
pub fn findings(examination: &serde_json::Value, severity: &str) -> Vec<String> {
    let findings = examination["findings"].as_array().unwrap().iter();
    findings
        .filter(|one| one["severity"] == severity)
        .map(ToString::to_string)
        .collect()
}

/// Fails if fsck finds damage in a store.
pub fn must_be_sound(store: &Path) {
    let (_, examination) = fsck(store);
    let damage = findings(&examination, "damage");
    assert!(damage.is_empty(), "{}: {damage:#?}", store.display());
}

/// Fails if fsck finds more than notes, which registries cause too.
pub fn must_be_clean(store: &Path) {
    let (code, examination) = fsck(store);
    assert_eq!(code, 0, "{}: {examination:#}", store.display());
}

/// Returns every path below a directory, with the content of files that are not large.
pub fn listing(directory: &Path) -> Vec<(String, Vec<u8>)> {
    fn add(top: &Path, directory: &Path, rows: &mut Vec<(String, Vec<u8>)>) {
        for row in std::fs::read_dir(directory).unwrap() {
            let path = row.unwrap().path();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            if path.is_dir() {
                rows.push((name, Vec::new()));
                add(top, &path, rows);
            } else {
                rows.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut rows = Vec::new();
    add(directory, directory, &mut rows);
    rows.sort();
    rows
}

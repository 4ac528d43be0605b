//! Names that others chose, in texts: a terminal, a log or a report shows them and nothing else
//! happens.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::plain::SMALL;
use super::site::{Site, regfs};

/// A name that ends a line, clears the screen, and is not UTF-8; and the same as it is shown.
const NAME: &[u8] = b"bad\n\x1b[2J\xe9";
const SHOWN: &str = r"bad\n\u{1b}[2J\xe9";
/// The same in UTF-8, which the registry's tree of a mount asks for.
const TEXT: &str = "bad\n\u{1b}[2J";
const TEXT_SHOWN: &str = r"bad\n\u{1b}[2J";

fn named(directory: &Path) -> PathBuf {
    directory.join(OsStr::from_bytes(NAME))
}

/// Fails unless a text is nothing but lines of printable characters.
fn must_be_printable(bytes: &[u8], what: &str) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let wrong = text.chars().find(|one| one.is_control() && *one != '\n');
    assert!(wrong.is_none(), "{what}: {text:?}");
    text
}

#[test]
fn names_of_a_plain_tree_are_escaped_in_every_report() {
    let site = Site::with(&SMALL);
    fs::create_dir(named(&site.v2().join("repositories"))).unwrap();
    std::os::unix::fs::symlink("/etc", named(&site.plain())).unwrap();
    let content = site.v2().join("repositories/app2/_layers/sha256");
    let layer = fs::read_dir(content).unwrap().find_map(|row| {
        let link = row.unwrap().path().join("link");
        link.exists().then_some(link)
    });
    fs::write(layer.unwrap(), b"says \x1b[31m").unwrap();
    let mut command = regfs();
    let output = command.arg("import").arg(site.plain()).arg(site.store());
    let output = output.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = must_be_printable(&output.stdout, "the import's answer");
    assert!(
        text.contains(&format!("  repositories/{SHOWN}: ")),
        "{text}"
    );
    assert!(text.contains(&format!("  {SHOWN}: ")), "{text}");
    must_be_printable(&output.stderr, "the import's log");
    let report = fs::read(site.store().join("quarantine/report.json")).unwrap();
    must_be_printable(&report, "the report");
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let odd = report["odd"].as_array().unwrap().iter();
    let paths: Vec<&str> = odd.map(|one| one["path"].as_str().unwrap()).collect();
    assert!(
        paths.contains(&&*format!("repositories/{SHOWN}")),
        "{paths:?}"
    );
    // The objects exist under their real names.
    let quarantine = site.store().join("quarantine");
    assert!(named(&quarantine.join("tree/repositories")).is_dir());
    assert!(named(&quarantine.join("beside")).is_symlink());
}

#[test]
fn names_in_errors_are_escaped_on_the_terminal() {
    let site = Site::with(&SMALL);
    let missing = named(site.top());
    for (word, names) in [("fsck", 1), ("stats", 1), ("mount", 2), ("import", 2)] {
        let mut command = regfs();
        let output = command.arg(word).args(vec![&missing; names]).output();
        let output = output.unwrap();
        assert!(!output.status.success());
        let text = must_be_printable(&output.stderr, word);
        assert!(text.contains(r"bad\n\u{1b}[2J"), "{word}: {text:?}");
        assert_eq!(text.lines().count(), 1, "{word}: {text:?}");
    }
}

#[test]
fn names_of_a_mount_are_escaped_wherever_refusals_are_told() {
    let mut site = Site::with(&SMALL);
    site.import(&[]);
    let mounted = site.mount();
    let repository = mounted.join("docker/registry/v2/repositories/app2");
    let dropped = repository.join("_manifests").join(TEXT);
    // close returns the error, which `fs::write` ignores.
    fs::write(&dropped, b"no manifest").unwrap();
    let rejected = fs::read(mounted.join(".regfs/rejected")).unwrap();
    let rejected = must_be_printable(&rejected, ".regfs/rejected");
    assert_eq!(rejected.lines().count(), 1, "{rejected}");
    assert!(rejected.contains(TEXT_SHOWN), "{rejected}");
    let mut reason = vec![0; 4_096];
    let (path, name) = (repository.join("_manifests"), "user.regfs.error");
    let len = rustix::fs::getxattr(&path, name, reason.as_mut_slice()).unwrap();
    let reason = must_be_printable(&reason[..len], name);
    assert!(reason.contains(TEXT_SHOWN), "{reason}");
    site.unmount();
    let log = fs::read(site.top().join("log")).unwrap();
    let log = must_be_printable(&log, "the log");
    assert!(log.contains(TEXT_SHOWN), "{log}");
}

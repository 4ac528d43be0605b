//! Real programs that copy trees through hidden files and directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::drops::manifest;
use super::mounted::{Mounted, errno, hex};

fn rsync(options: &[&str], from: &Path, to: &Path) -> Output {
    let mut command = Command::new("rsync");
    command.args(options).arg(from.join("")).arg(to.join(""));
    command.output().unwrap()
}

fn must(output: &Output, what: &str) {
    assert!(output.status.success(), "{what}: {output:?}");
}

/// A plain tree, as a registry leaves it: a large layer, a configuration, a manifest and a tag.
fn plain(work: &Path) -> PathBuf {
    let mounted = Mounted::new();
    mounted.stock();
    let large: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(mounted.repository("_layers/large.tar"), large).unwrap();
    fs::write(mounted.repository("_manifests/tags/v1"), manifest("one")).unwrap();
    let tree = work.join("plain");
    fs::create_dir(&tree).unwrap();
    let mut cp = Command::new("cp");
    cp.arg("-r").arg(mounted.top().join("docker")).arg(&tree);
    must(&cp.output().unwrap(), "cp");
    tree
}

fn differ(one: &Path, other: &Path) -> String {
    let mut diff = Command::new("diff");
    let output = diff.arg("-r").arg(one).arg(other).output().unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn rsync_copies_a_plain_tree_in_each_of_its_ways() {
    let work = tempfile::tempdir().unwrap();
    let tree = plain(work.path());
    for way in [
        "--delay-updates",
        "--partial-dir=.rsync-partial",
        "--partial",
        "--inplace",
        "--whole-file",
    ] {
        let mounted = Mounted::new();
        let copied = rsync(&["-a", way], &tree, &mounted.top());
        must(&copied, way);
        assert_eq!(differ(&tree, &mounted.top()), "", "{way}");
        let again = rsync(&["-a", "--checksum", way], &tree, &mounted.top());
        must(&again, way);
        assert_eq!(differ(&tree, &mounted.top()), "", "{way}");
        let status = fs::read_to_string(mounted.top().join(".regfs/status")).unwrap();
        assert!(
            status.contains("files being written: 0\n"),
            "{way}: {status}"
        );
    }
}

/// A hidden directory is reachable by its name, is in no listing, and is gone with the mount.
#[test]
fn a_hidden_directory_is_there_for_who_knows_its_name() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let places = [
        mounted.v2(""),
        mounted.v2("blobs"),
        mounted.v2("repositories"),
        mounted.v2("repositories/team"),
        mounted.repository(""),
        mounted.repository("_layers"),
        mounted.repository("_manifests/tags"),
    ];
    let names = |path: &Path| {
        let rows = fs::read_dir(path).unwrap();
        rows.map(|row| row.unwrap().file_name()).collect::<Vec<_>>()
    };
    for place in &places {
        let before = names(place);
        let hidden = place.join(".~tmp~");
        fs::create_dir(&hidden).unwrap();
        assert_eq!(errno(fs::create_dir(&hidden)), 17, "EEXIST");
        fs::write(hidden.join("a file"), "content").unwrap();
        fs::create_dir(hidden.join("deeper")).unwrap();
        assert_eq!(names(place), before, "{place:?}");
        assert_eq!(names(&hidden).len(), 2);
        assert_eq!(fs::read(hidden.join("a file")).unwrap(), b"content");
        fs::rename(hidden.join("a file"), hidden.join("deeper/moved")).unwrap();
        assert_eq!(
            errno(fs::remove_dir(hidden.join("deeper"))),
            39,
            "ENOTEMPTY"
        );
    }
    fs::remove_dir_all(places[0].join(".~tmp~")).unwrap();
    assert!(!places[0].join(".~tmp~").exists());
    // It disappears with its directory, and with the mount.
    fs::create_dir_all(mounted.v2("repositories/other/.~tmp~/x")).unwrap();
    fs::remove_dir(mounted.v2("repositories/other")).unwrap();
    fs::create_dir(mounted.v2("repositories/other")).unwrap();
    assert!(!mounted.v2("repositories/other/.~tmp~").exists());
    mounted.unmount();
    mounted.mount(&[]);
    assert!(!mounted.repository("_layers/.~tmp~").exists());
}

/// A file that waits in a hidden directory becomes, when it is renamed, what its new name says.
#[test]
fn what_waits_in_a_hidden_directory_becomes_what_its_name_says() {
    let mounted = Mounted::new();
    mounted.stock();
    let hidden = mounted.repository("_layers/.rsync-partial");
    fs::create_dir(&hidden).unwrap();
    let large: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 249) as u8).collect();
    fs::write(hidden.join("layer.tar"), &large).unwrap();
    // It is closed, and then opened again for appending.
    let mut options = fs::File::options();
    let file = options.append(true).open(hidden.join("layer.tar")).unwrap();
    std::io::Write::write_all(&mut &file, b"the end").unwrap();
    drop(file);
    fs::rename(
        hidden.join("layer.tar"),
        mounted.repository("_layers/l.tar"),
    )
    .unwrap();
    fs::remove_dir(&hidden).unwrap();
    let digest = hex(&[&large[..], b"the end"].concat());
    let link = mounted.repository(&format!("_layers/sha256/{digest}/link"));
    assert_eq!(
        fs::read_to_string(link).unwrap(),
        format!("sha256:{digest}")
    );
}

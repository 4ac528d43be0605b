//! Stores on a read-only filesystem can be mounted, listed, checked and copied, and stay unchanged.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::drops::manifest;
use super::mounted::{Mounted, regfs, tree, wait};

/// A directory that is mounted read-only at another place.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn of(directory: &Path, at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let mount = |words: &[&str]| {
            let mut command = Command::new("mount");
            let status = command.args(words).status().unwrap();
            assert!(status.success(), "mount {words:?}");
        };
        let (from, to) = (directory.to_str().unwrap(), at.to_str().unwrap());
        mount(&["--bind", from, to]);
        mount(&["-o", "remount,bind,ro", to]);
        Self(at)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _busy = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_store_that_was_killed_is_used_on_a_read_only_filesystem_and_stays_as_it_is() {
    let mut mounted = Mounted::new();
    mounted.stock();
    fs::write(mounted.repository("_layers/large"), vec![7; 40_000]).unwrap();
    let tag = mounted.repository("_manifests/tags/v1");
    let mut file = File::create(tag).unwrap();
    file.write_all(manifest("1").as_bytes()).unwrap();
    file.sync_all().unwrap();
    mounted.kill();
    // The socket that a killed daemon leaves; it is not a readable file.
    fs::remove_file(mounted.store().join("socket")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let beside = |name: &str| directory.path().join(name);
    for name in ["mnt", "exported"] {
        fs::create_dir(beside(name)).unwrap();
    }
    let before = tree(&mounted.store());
    let store = ReadOnly::of(&mounted.store(), beside("store"));

    let text = refused(regfs().arg("mount").arg(&store.0).arg(beside("mnt")));
    assert!(text.contains("-o ro"), "{text}");
    let mut mount = regfs();
    mount.arg("mount").arg(&store.0).arg(beside("mnt"));
    succeeds(mount.args(["-o", "ro"]));
    let shown = beside("mnt/docker/registry/v2/repositories/team/app");
    assert!(shown.join("_manifests/tags/v1/current/link").exists());
    let digest = super::mounted::hex(&vec![7; 40_000]);
    let blob = format!(
        "mnt/docker/registry/v2/blobs/sha256/{}/{digest}/data",
        &digest[..2]
    );
    assert_eq!(fs::read(beside(&blob)).unwrap(), vec![7; 40_000]);
    assert!(fs::write(shown.join("_manifests/tags/v2"), manifest("2")).is_err());
    // Commands can read the same store meanwhile.
    let listed = succeeds(regfs().arg("ls").arg(&store.0).arg("team/app"));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("v1"));
    succeeds(Command::new("umount").arg(beside("mnt")));
    wait("the end of the mount", || {
        regfs()
            .arg("ls")
            .arg(&store.0)
            .output()
            .unwrap()
            .status
            .success()
    });

    succeeds(regfs().arg("fsck").arg(&store.0));
    succeeds(regfs().arg("scrub").arg(&store.0));
    succeeds(regfs().arg("export").arg(&store.0).arg(beside("exported")));
    let exported = beside("exported/docker/registry/v2/repositories/team/app");
    assert!(exported.join("_manifests/tags/v1/current/link").exists());
    succeeds(regfs().arg("backup").arg(&store.0).arg(beside("backup")));
    succeeds(regfs().arg("fsck").arg(beside("backup")));
    let text = refused(regfs().arg("import").arg(beside("exported")).arg(&store.0));
    assert!(text.contains("read-only"), "{text}");
    let text = refused(regfs().arg("fsck").arg("--repair").arg(&store.0));
    assert!(text.contains("read-only"), "{text}");
    drop(store);
    assert!(tree(&mounted.store()) == before, "something was written");
    mounted.mount(&[]);
}

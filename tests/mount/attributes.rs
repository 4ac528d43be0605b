//! Extended attributes as programs that copy files see them.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, removexattr, setxattr};

use super::mounted::{Mounted, attribute};

fn run(program: &str, arguments: &[&str], paths: [&Path; 2]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).args(paths).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

/// An attribute may be set to the value that it has; another value is refused with `EPERM`, and
/// attributes of other names with `EOPNOTSUPP`.
#[test]
fn what_is_so_already_can_be_set_and_removed_and_nothing_else_changes() {
    let mounted = Mounted::new();
    mounted.stock();
    fs::write(
        mounted.repository("_manifests/tags/v1"),
        super::drops::manifest("attributes"),
    )
    .unwrap();
    let link = mounted.repository("_manifests/tags/v1/current/link");
    let digest = attribute(&link, "user.regfs.digest").unwrap();
    let set = |path: &Path, name: &str, value: &str| {
        let set = setxattr(path, name, value.as_bytes(), XattrFlags::empty());
        set.map_err(rustix::io::Errno::raw_os_error)
    };
    assert_eq!(set(&link, "user.regfs.digest", &digest), Ok(()));
    assert_eq!(
        set(&link, "user.regfs.digest", "sha256:other"),
        Err(libc::EPERM)
    );
    assert_eq!(removexattr(&link, "user.regfs.digest"), Ok(()));
    assert_eq!(attribute(&link, "user.regfs.digest").unwrap(), digest);
    // An attribute without a value (yet), such as on a file that is being restored.
    assert_eq!(set(&link, "user.regfs.verified", "2020"), Ok(()));
    let restored = link.with_file_name(".link.restored");
    fs::write(&restored, &digest).unwrap();
    assert_eq!(set(&restored, "user.regfs.digest", "sha256:other"), Ok(()));
    fs::rename(&restored, &link).unwrap();
    assert_eq!(attribute(&link, "user.regfs.digest").unwrap(), digest);
    // Other attributes: as on a filesystem without any.
    assert_eq!(set(&link, "user.other", "x"), Err(libc::EOPNOTSUPP));
    let plain = mounted.top().join("plain");
    fs::write(&plain, "").unwrap();
    for name in ["user.other", "user.regfs.digest", "trusted.other"] {
        assert_eq!(set(&plain, name, "x"), Err(libc::EOPNOTSUPP), "{name}");
    }
}

/// Programs that copy attributes (`rsync -X`, `tar --xattrs`) succeed in both directions.
#[test]
fn programs_that_copy_attributes_end_well_in_both_directions() {
    let mounted = Mounted::new();
    mounted.stock();
    let manifest = super::drops::manifest("copied");
    fs::write(mounted.repository("_manifests/tags/v1"), manifest).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (copied, tar) = (work.path().join("copied"), work.path().join("tar"));
    run("rsync", &["-aX"], [&mounted.top().join("docker"), &copied]);
    let other = Mounted::new();
    run("rsync", &["-aX"], [&copied.join("docker"), &other.top()]);
    let other = Mounted::new();
    run("cp", &["-a"], [&copied.join("docker"), &other.top()]);
    let other = Mounted::new();
    let xattrs = ["--xattrs", "--xattrs-include=*"];
    let mut pack = Command::new("tar");
    pack.args(xattrs).arg("-cf").arg(&tar);
    pack.arg("-C").arg(mounted.top()).arg("docker");
    assert!(pack.status().unwrap().success());
    let mut unpack = Command::new("tar");
    unpack.args(xattrs).arg("-xf").arg(&tar);
    unpack.arg("-C").arg(other.top());
    assert!(unpack.status().unwrap().success());
}

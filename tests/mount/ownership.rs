//! Owner, group and mode of the layout: stored per repository and for the directories above,
//! enforced below.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use super::mounted::{Mounted, errno, hex, wait};
use super::user::{STRANGER, User};

/// As whom a registry runs.
const REGISTRY: User = User {
    uid: 20_010,
    gid: 20_010,
    groups: &[],
};

fn shown(path: &Path) -> (u32, u32, u32) {
    let shown = fs::metadata(path).unwrap();
    (shown.uid(), shown.gid(), shown.mode() & 0o7777)
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn denied<T>(user: User, act: impl Fn() -> std::io::Result<T> + Sync) -> bool {
    let act = || act().map(drop).map_err(|error| error.raw_os_error());
    user.run(act) == Err(Some(libc::EACCES))
}

/// A repository, `blobs` and each directory above keep owner, group and mode, and everything below
/// shows them.
///
/// `chown` and `chmod` by root below a repository succeed without effect.
#[test]
fn a_repository_keeps_owner_and_mode_and_so_does_what_is_above() {
    let mut mounted = Mounted::with(&["-o", "allow_other"]);
    mounted.stock();
    let top = mounted.top();
    let kept = [
        (top.clone(), 0o751),
        (top.join("docker"), 0o711),
        (top.join("docker/registry"), 0o755),
        (mounted.v2(""), 0o2755),
        (mounted.v2("blobs"), 0o750),
        (mounted.v2("repositories"), 0o1777),
        (mounted.v2("repositories/team"), 0o775),
        (mounted.repository(""), 0o2770),
    ];
    for (number, (path, mode)) in (0..).zip(&kept) {
        chown(path, Some(20_100 + number), Some(20_200 + number)).unwrap();
        set(path, *mode);
    }
    let link = format!("_layers/sha256/{}/link", hex(b"layer"));
    let must_be_so = |mounted: &Mounted| {
        for (number, (path, mode)) in (0..).zip(&kept) {
            let expected = (20_100 + number, 20_200 + number, *mode);
            assert_eq!(shown(path), expected, "{}", path.display());
        }
        let repository = (20_107, 20_207);
        assert_eq!(
            shown(&mounted.repository("_manifests/tags")),
            (repository.0, repository.1, 0o2770)
        );
        assert_eq!(
            shown(&mounted.repository(&link)),
            (repository.0, repository.1, 0o660)
        );
        let layer = hex(b"layer");
        let blob = mounted.v2(&format!("blobs/sha256/{}/{layer}/data", &layer[..2]));
        assert_eq!(shown(&blob), (20_104, 20_204, 0o640));
    };
    must_be_so(&mounted);
    mounted.unmount();
    mounted.mount(&["-o", "allow_other"]);
    must_be_so(&mounted);
    // Below, chown and chmod by root succeed without effect.
    let path = mounted.repository(&link);
    chown(&path, Some(1), Some(1)).unwrap();
    set(&path, 0o777);
    must_be_so(&mounted);
    // A removed repository is forgotten: a new one of its name has its own owner and mode.
    fs::remove_dir_all(mounted.v2("repositories/team")).unwrap();
    fs::create_dir_all(mounted.repository("")).unwrap();
    assert_eq!(shown(&mounted.repository("")), (0, 0, 0o755));
}

/// A repository that is closed to a user is closed at once, even to a user who has read in it
/// before.
#[test]
fn a_closed_repository_is_closed_to_who_has_been_in_it() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    mounted.stock();
    mounted.stock_manifest();
    let open = mounted.v2("repositories/open/_layers");
    fs::create_dir_all(&open).unwrap();
    let link = mounted.repository(&format!("_layers/sha256/{}/link", hex(b"layer")));
    let blobs = || fs::read_dir(mounted.v2("blobs/sha256"));
    STRANGER.run(|| {
        fs::read(&link).unwrap();
        fs::read_dir(mounted.repository("_layers")).unwrap().count();
        blobs().unwrap().count();
    });
    set(&mounted.repository(""), 0o750);
    wait("the repository to be closed", || {
        denied(STRANGER, || fs::read(&link))
    });
    // Root looks it up, and the kernel caches the result.
    fs::read(&link).unwrap();
    fs::read_dir(mounted.repository("")).unwrap().count();
    assert!(denied(STRANGER, || fs::read(&link)));
    assert!(denied(STRANGER, || fs::metadata(&link)));
    assert!(denied(STRANGER, || fs::read_dir(mounted.repository(""))?
        .collect::<Result<Vec<_>, _>>()));
    STRANGER.run(|| fs::metadata(&open).unwrap());
    set(&mounted.v2("blobs"), 0o700);
    wait("the blobs to be closed", || denied(STRANGER, blobs));
    set(&mounted.top(), 0o700);
    wait("everything to be closed", || {
        denied(STRANGER, || fs::metadata(&open))
    });
    set(&mounted.top(), 0o755);
    STRANGER.run(|| fs::metadata(&open).unwrap());
    // After the mode is set again, access is allowed.
    set(&mounted.repository(""), 0o755);
    STRANGER.run(|| fs::read(&link).unwrap());
}

/// The owner of a repository changes its mode; `chown` and `chmod` of what is below fail with
/// `EPERM` for everybody but root.
#[test]
fn owners_change_the_repository_and_nobody_what_is_below() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    mounted.stock();
    let link = mounted.repository(&format!("_layers/sha256/{}/link", hex(b"layer")));
    chown(
        mounted.repository(""),
        Some(REGISTRY.uid),
        Some(REGISTRY.gid),
    )
    .unwrap();
    let chmod = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
    REGISTRY.run(|| {
        chmod(&mounted.repository(""), 0o700).unwrap();
        // To the present value, and to another.
        chmod(&link, 0o600).unwrap();
        assert_eq!(errno(chmod(&link, 0o644)), libc::EPERM);
        assert_eq!(errno(chown(&link, Some(1), None)), libc::EPERM);
        assert_eq!(errno(chmod(&mounted.v2("blobs"), 0o777)), libc::EPERM);
        assert_eq!(
            errno(chown(mounted.repository(""), Some(1), None)),
            libc::EPERM
        );
    });
    STRANGER.run(|| {
        assert_eq!(errno(chmod(&mounted.repository(""), 0o777)), libc::EPERM);
    });
}

#[test]
fn a_registry_that_is_not_root_has_what_it_makes() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    // As containers of registries do at their start.
    let status = std::process::Command::new("chown")
        .args(["-R", "20010:20010"])
        .arg(mounted.top())
        .status();
    assert!(status.unwrap().success());
    REGISTRY.run(|| {
        mounted.stock();
        mounted.stock_manifest();
    });
    let own = (REGISTRY.uid, REGISTRY.gid, 0o755);
    assert_eq!(shown(&mounted.repository("_layers")), own);
    assert_eq!(shown(&mounted.v2("repositories/team")), own);
    assert_eq!(shown(&mounted.v2("blobs/sha256")), own);
    let layers = mounted.repository("_layers");
    assert!(denied(STRANGER, || fs::write(layers.join("theirs"), "x")));
    assert!(denied(STRANGER, || fs::create_dir(
        mounted.v2("repositories/theirs")
    )));
}

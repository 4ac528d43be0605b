//! Plain files: they behave as POSIX defines, and no link leads out of the store.

use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, RenameFlags, Timespec, Timestamps,
    UTIME_OMIT, Uid, chmodat, chownat, fallocate, mknodat, renameat_with, utimensat,
};

use super::mounted::{Mounted, errno};
use super::user::{STRANGER, User};

/// A file outside the store, of which nothing may change.
struct Canary {
    _directory: tempfile::TempDir,
    path: PathBuf,
    before: (u32, i64, u64, Vec<u8>),
}

impl Canary {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("canary");
        fs::write(&path, "alive").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let before = Self::seen(&path);
        Self {
            _directory: directory,
            path,
            before,
        }
    }

    fn seen(path: &Path) -> (u32, i64, u64, Vec<u8>) {
        let now = fs::metadata(path).unwrap();
        (now.mode(), now.mtime(), now.size(), fs::read(path).unwrap())
    }

    fn must_live(&self) {
        assert_eq!(Self::seen(&self.path), self.before);
    }
}

fn times(path: &Path, seconds: i64) -> std::io::Result<()> {
    let at = Timespec {
        tv_sec: seconds,
        tv_nsec: 5,
    };
    let times = Timestamps {
        last_access: at,
        last_modification: at,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A store whose plain files are given, as an older version may have left them.
fn mounted_over(give: impl FnOnce(&Path)) -> Mounted {
    let mut mounted = Mounted::new();
    mounted.unmount();
    give(&mounted.store().join("files"));
    mounted.mount(&["-o", "allow_other"]);
    mounted
}

/// A symbolic link in an older store is shown as what it is and never followed by the daemon.
#[test]
fn what_an_older_store_holds_is_shown_as_what_it_is_and_never_followed() {
    let canary = Canary::new();
    let mounted = mounted_over(|files| {
        symlink(&canary.path, files.join("evil")).unwrap();
        let fifo = canary.path.with_file_name("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        symlink(fifo, files.join("pipe")).unwrap();
        mknodat(CWD, files.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let null = rustix::fs::makedev(1, 3);
        mknodat(
            CWD,
            files.join("null"),
            FileType::CharacterDevice,
            Mode::RWXU,
            null,
        )
        .unwrap();
    });
    let top = mounted.top();
    let kind = |name: &str| fs::symlink_metadata(top.join(name)).unwrap().file_type();
    assert!(kind("evil").is_symlink() && kind("pipe").is_symlink());
    assert!(kind("fifo").is_fifo() && kind("null").is_char_device());
    assert_eq!(fs::read_link(top.join("evil")).unwrap(), canary.path);
    for name in ["evil", "pipe", "fifo", "null"] {
        times(&top.join(name), 1_000_000_000).unwrap();
        let shown = fs::symlink_metadata(top.join(name)).unwrap();
        assert_eq!(shown.mtime(), 1_000_000_000, "{name}");
    }
    let refused = chmodat(CWD, top.join("evil"), Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW);
    assert_eq!(refused, Err(rustix::io::Errno::OPNOTSUPP));
    fs::rename(top.join("evil"), top.join("moved")).unwrap();
    assert_eq!(fs::read_link(top.join("moved")).unwrap(), canary.path);
    for name in ["moved", "pipe", "fifo", "null"] {
        fs::remove_file(top.join(name)).unwrap();
    }
    canary.must_live();
}

#[test]
fn a_link_renamed_over_a_file_leads_nobody_out() {
    let canary = Canary::new();
    let links = 2_000;
    let mounted = mounted_over(|files| {
        for number in 0..links {
            symlink(&canary.path, files.join(format!("link{number}"))).unwrap();
        }
    });
    let top = mounted.top();
    let victim = top.join("victim");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..links {
                fs::write(&victim, "mine").unwrap();
                fs::rename(top.join(format!("link{number}")), &victim).unwrap();
                fs::remove_file(&victim).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _raced = times(&victim, 1_000_000_000);
                let _raced = chmodat(CWD, &victim, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut options = File::options();
                options.write(true).custom_flags(libc::O_NOFOLLOW);
                if let Ok(mut file) = options.open(&victim) {
                    let _raced = file.write_all(b"written");
                    let _raced = file.set_len(1);
                }
            }
        });
    });
    canary.must_live();
}

/// Symbolic links, hard links, FIFOs, sockets and devices cannot be made: `EPERM`.
#[test]
fn links_and_special_files_cannot_be_made() {
    let mounted = Mounted::new();
    let top = mounted.top();
    fs::write(top.join("file"), "").unwrap();
    assert_eq!(errno(symlink("file", top.join("link"))), libc::EPERM);
    let hard = fs::hard_link(top.join("file"), top.join("hard"));
    assert_eq!(errno(hard), libc::EPERM);
    for (kind, device) in [
        (FileType::Fifo, 0),
        (FileType::Socket, 0),
        (FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        (FileType::BlockDevice, rustix::fs::makedev(7, 0)),
    ] {
        let made = mknodat(CWD, top.join("special"), kind, Mode::RWXU, device);
        assert_eq!(made, Err(rustix::io::Errno::PERM), "{kind:?}");
    }
}

/// Plain files keep owner, mode and times, and their time of change moves.
#[test]
fn owners_modes_and_times_are_kept_and_the_time_of_change_moves() {
    let mut mounted = Mounted::with(&["-o", "allow_other"]);
    let (file, directory) = (mounted.top().join("file"), mounted.top().join("directory"));
    fs::write(&file, "content").unwrap();
    fs::create_dir(&directory).unwrap();
    let changed = |path: &Path| {
        let shown = fs::metadata(path).unwrap();
        (shown.ctime(), shown.ctime_nsec())
    };
    let moves = |what: &str, act: &dyn Fn()| {
        let before = changed(&file);
        act();
        super::mounted::wait(what, || {
            if changed(&file) == before {
                act();
            }
            changed(&file) > before
        });
    };
    moves("chmod", &|| {
        fs::set_permissions(&file, Permissions::from_mode(0o4751)).unwrap();
    });
    moves("a rename", &|| {
        fs::rename(&file, file.with_extension("moved")).unwrap();
        fs::rename(file.with_extension("moved"), &file).unwrap();
    });
    fs::set_permissions(&directory, Permissions::from_mode(0o3777)).unwrap();
    let given = (Some(Uid::from_raw(20_001)), Some(Gid::from_raw(20_002)));
    chownat(CWD, &directory, given.0, given.1, AtFlags::empty()).unwrap();
    let old = UNIX_EPOCH - Duration::from_millis(1_500);
    let opened = File::options().write(true).open(&file).unwrap();
    opened.set_modified(old).unwrap();
    let omitted = Timestamps {
        last_access: Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 7,
        },
        last_modification: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
    };
    utimensat(CWD, &file, &omitted, AtFlags::empty()).unwrap();
    drop(opened);
    mounted.unmount();
    mounted.mount(&["-o", "allow_other"]);
    let shown = fs::metadata(&file).unwrap();
    assert_eq!(shown.mode() & 0o7777, 0o4751);
    assert_eq!(shown.modified().unwrap(), old);
    assert_eq!((shown.atime(), shown.atime_nsec()), (1_000_000_000, 7));
    assert_eq!((shown.nlink(), shown.blocks()), (1, 8));
    let shown = fs::metadata(&directory).unwrap();
    assert_eq!(shown.mode() & 0o7777, 0o3777);
    assert_eq!((shown.uid(), shown.gid()), (20_001, 20_002));
}

#[test]
fn what_is_made_belongs_to_who_makes_it() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let shared = mounted.top().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o2777)).unwrap();
    let group = Some(Gid::from_raw(20_077));
    chownat(CWD, &shared, None, group, AtFlags::empty()).unwrap();
    STRANGER.run(|| {
        fs::write(shared.join("file"), "").unwrap();
        fs::create_dir(shared.join("directory")).unwrap();
    });
    let owner = |name: &str| {
        let shown = fs::metadata(shared.join(name)).unwrap();
        (shown.uid(), shown.gid(), shown.mode() & 0o7777)
    };
    assert_eq!(owner("file"), (20_001, 20_077, 0o644));
    assert_eq!(owner("directory"), (20_001, 20_077, 0o2755));
}

#[test]
fn who_may_not_grant_privileges_takes_them_by_writing() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let path = mounted.top().join("program");
    fs::write(&path, "content").unwrap();
    let set = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    let open = || File::options().write(true).open(&path).unwrap();
    for act in [
        &|| open().write_all(b"theirs") as std::io::Result<()>,
        &(|| open().set_len(3)) as &(dyn Fn() -> std::io::Result<()> + Sync),
    ] {
        set(0o6777);
        STRANGER.run(|| act().unwrap());
        assert_eq!(mode(), 0o777);
        // Without the execute bit, set-group-ID means mandatory locking.
        set(0o2767);
        STRANGER.run(|| act().unwrap());
        assert_eq!(mode(), 0o2767);
        set(0o6777);
        act().unwrap();
        assert_eq!(mode(), 0o6777);
    }
}

/// Plain files may have holes, and `fallocate` makes room in them.
#[test]
fn files_have_holes_and_room_is_made_in_them() {
    let mounted = Mounted::new();
    let path = mounted.top().join("holes");
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .open(&path)
        .unwrap();
    file.set_len(1 << 20).unwrap();
    file.seek(SeekFrom::Start(512 << 10)).unwrap();
    file.write_all(&[1; 4096]).unwrap();
    file.sync_all().unwrap();
    let found = |from| rustix::fs::seek(&file, from).unwrap();
    assert_eq!(found(rustix::fs::SeekFrom::Data(0)), 512 << 10);
    assert_eq!(
        found(rustix::fs::SeekFrom::Hole(512 << 10)),
        (512 << 10) + 4096
    );
    fallocate(&file, FallocateFlags::empty(), 0, 2 << 20).unwrap();
    let shown = fs::metadata(&path).unwrap();
    assert_eq!((shown.size(), shown.blocks()), (2 << 20, 4096));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, punch, 0, 1 << 20).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().blocks(), 2048);
    // A file of the layout has data up to its end, and no holes.
    mounted.stock();
    let hex = super::mounted::hex(b"layer");
    let link = mounted.repository(&format!("_layers/sha256/{hex}/link"));
    let link = File::open(link).unwrap();
    let found = |from| rustix::fs::seek(&link, from);
    assert_eq!(found(rustix::fs::SeekFrom::Data(3)), Ok(3));
    assert_eq!(found(rustix::fs::SeekFrom::Hole(3)), Ok(71));
    assert_eq!(
        found(rustix::fs::SeekFrom::Data(71)),
        Err(rustix::io::Errno::NXIO)
    );
}

#[test]
fn files_are_cut_and_appended_to_at_once() {
    let mounted = Mounted::new();
    let path = mounted.top().join("log");
    fs::write(&path, "old content").unwrap();
    let mut options = File::options();
    options
        .write(true)
        .custom_flags(libc::O_TRUNC | libc::O_APPEND);
    let (mut one, mut other) = (options.open(&path).unwrap(), options.open(&path).unwrap());
    one.write_all(b"one ").unwrap();
    other.write_all(b"other").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one other");
}

/// Plain files may be exchanged (`RENAME_EXCHANGE`), and `RENAME_NOREPLACE` is kept.
#[test]
fn files_change_places_or_do_not_replace() {
    let mounted = Mounted::new();
    let (one, other) = (mounted.top().join("one"), mounted.top().join("other"));
    fs::create_dir_all(one.join("below")).unwrap();
    fs::write(&other, "file").unwrap();
    renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(&one).unwrap(), b"file");
    assert!(other.join("below").is_dir());
    let kept = renameat_with(CWD, &one, CWD, &other, RenameFlags::NOREPLACE);
    assert_eq!(kept, Err(rustix::io::Errno::EXIST));
}

#[test]
fn directories_go_deeper_than_a_path_may_be_long() {
    let mounted = Mounted::new();
    let name = "d".repeat(200);
    let mut here =
        rustix::fs::open(mounted.top(), rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    let mut depth = 0;
    let refused = loop {
        if let Err(error) = rustix::fs::mkdirat(&here, &name, Mode::RWXU) {
            break error;
        }
        here = rustix::fs::openat(&here, &name, rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
        depth += 1;
    };
    assert_eq!((depth, refused), (81, rustix::io::Errno::NAMETOOLONG));
    let file = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    rustix::fs::openat(&here, "f", file, Mode::RWXU).unwrap();
    drop(here);
    fs::remove_dir_all(mounted.top().join(&name)).unwrap();
}

#[test]
fn modes_of_directories_keep_out_whom_they_say() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let top = mounted.top();
    let private = top.join("private");
    fs::create_dir(&private).unwrap();
    fs::write(private.join("file"), "secret").unwrap();
    // All users may, and the kernel has everything cached by now.
    STRANGER.run(|| {
        fs::read(private.join("file")).unwrap();
        assert_eq!(fs::read_dir(&private).unwrap().count(), 1);
    });
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let list = |path: &Path| fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    set(&private, 0o700);
    let denied = |what: &str, act: &(dyn Fn() -> std::io::Result<()> + Sync)| {
        super::mounted::wait(what, || {
            let error = STRANGER.run(act).err();
            error.is_some_and(|error| error.raw_os_error() == Some(libc::EACCES))
        });
        // It stays so after root has looked it up.
        list(&private).unwrap();
        fs::read(private.join("file")).unwrap();
        assert_eq!(errno(STRANGER.run(act)), libc::EACCES, "{what}");
    };
    denied("a listing to be refused", &|| list(&private).map(drop));
    denied("a file to be refused", &|| {
        fs::read(private.join("file")).map(drop)
    });
    denied("stat to be refused", &|| {
        fs::metadata(private.join("file")).map(drop)
    });
    // A file that is moved there becomes as private.
    fs::write(top.join("moved"), "").unwrap();
    STRANGER.run(|| fs::metadata(top.join("moved")).unwrap());
    fs::rename(top.join("moved"), private.join("moved")).unwrap();
    denied("what was moved to be refused", &|| {
        fs::metadata(private.join("moved")).map(drop)
    });
    fs::remove_file(private.join("moved")).unwrap();
    set(&private, 0o711);
    STRANGER.run(|| {
        fs::read(private.join("file")).unwrap();
        assert_eq!(errno(list(&private)), libc::EACCES);
    });
    fs::write(top.join("written"), "ww").unwrap();
    set(&top.join("written"), 0o602);
    STRANGER.run(|| {
        let mut options = File::options();
        assert_eq!(
            errno(options.read(true).write(true).open(top.join("written"))),
            libc::EACCES
        );
        File::options()
            .write(true)
            .open(top.join("written"))
            .unwrap();
    });
    let sticky = top.join("sticky");
    fs::create_dir(&sticky).unwrap();
    set(&sticky, 0o1777);
    fs::write(sticky.join("theirs"), "").unwrap();
    STRANGER.run(|| {
        assert_eq!(errno(fs::remove_file(sticky.join("theirs"))), libc::EPERM);
        assert_eq!(
            errno(fs::rename(sticky.join("theirs"), sticky.join("mine"))),
            libc::EPERM
        );
        fs::write(sticky.join("mine"), "").unwrap();
        fs::remove_file(sticky.join("mine")).unwrap();
    });
}

/// A user who is in a group by that alone.
const MEMBER: User = User {
    uid: 20_005,
    gid: 20_005,
    groups: &[20_042],
};

#[test]
fn a_member_whom_the_daemon_cannot_see_makes_files_where_the_group_may() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let top = directory.path().join("mnt");
    fs::create_dir(&top).unwrap();
    // In a PID namespace of its own, in which other processes have no id.
    let mut daemon = std::process::Command::new("unshare")
        .args(["--pid", "--fork", env!("CARGO_BIN_EXE_regfs"), "mount"])
        .arg(directory.path().join("store"))
        .arg(&top)
        .args(["--foreground", "-o", "allow_other"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    super::mounted::wait("the mount", || super::mounted::is_mounted(&top));
    let shared = top.join("shared");
    fs::create_dir(&shared).unwrap();
    let group = Some(Gid::from_raw(20_042));
    chownat(CWD, &shared, None, group, AtFlags::empty()).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o2775)).unwrap();
    MEMBER.run(|| {
        fs::write(shared.join("file"), "by a member").unwrap();
        fs::create_dir(shared.join("directory")).unwrap();
    });
    // For a reader the kernel does not send the groups: refused, whatever they are.
    fs::set_permissions(shared.join("file"), Permissions::from_mode(0o060)).unwrap();
    let read = || fs::read(shared.join("file"));
    assert_eq!(errno(MEMBER.run(read)), libc::EACCES);
    assert_eq!(
        errno(STRANGER.run(|| fs::create_dir(shared.join("theirs")))),
        libc::EACCES
    );
    let unmounted = std::process::Command::new("umount").arg(&top).status();
    assert!(unmounted.unwrap().success());
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn members_of_a_group_may_what_it_may() {
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let shared = mounted.top().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o770)).unwrap();
    let group = Some(Gid::from_raw(20_042));
    chownat(CWD, &shared, None, group, AtFlags::empty()).unwrap();
    let file = shared.join("file");
    fs::write(&file, "content").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    chownat(CWD, &file, None, group, AtFlags::empty()).unwrap();
    MEMBER.run(|| {
        let open = || File::options().write(true).open(&file).unwrap();
        open().write_all(b"by a member").unwrap();
        // Users with write permission may set times to now; only the owner may set other times.
        let now = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            },
            last_modification: Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            },
        };
        utimensat(CWD, &file, &now, AtFlags::empty()).unwrap();
        assert_eq!(errno(open().set_modified(SystemTime::now())), libc::EPERM);
        let given = chownat(
            CWD,
            &file,
            Some(Uid::from_raw(20_005)),
            None,
            AtFlags::empty(),
        );
        assert_eq!(given, Err(rustix::io::Errno::PERM));
        fs::write(shared.join("own"), "").unwrap();
        // The owner may give it to one of their groups.
        chownat(CWD, shared.join("own"), None, group, AtFlags::empty()).unwrap();
        let other = Some(Gid::from_raw(20_043));
        let moved = chownat(CWD, shared.join("own"), None, other, AtFlags::empty());
        assert_eq!(moved, Err(rustix::io::Errno::PERM));
    });
    let own = fs::metadata(shared.join("own")).unwrap();
    assert_eq!((own.uid(), own.gid()), (20_005, 20_042));
    STRANGER.run(|| assert_eq!(errno(fs::read(&file)), libc::EACCES));
}

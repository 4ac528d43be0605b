//! Walks: a thousand random operations of users who are not root have the same results on the mount
//! and on a plain disk with the same modes.
//!
//! Excluded is what the kernel decides before it asks a FUSE filesystem that checks modes itself:
//! the kind of a file (`EISDIR` and `ENOTDIR` before `EACCES`), `O_CREAT` of an existing file in a
//! sticky directory (`fs.protected_regular`), and that an unreadable directory is refused at the
//! first read, and an unsearchable one when a name in it is looked up, not earlier.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{
    Access, AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, accessat, mkdirat,
    utimensat,
};

use super::mounted::Mounted;
use super::user::User;

const STEPS: usize = 1_000;
const USERS: [User; 3] = [
    User {
        uid: 20_001,
        gid: 20_001,
        groups: &[20_050],
    },
    User {
        uid: 20_002,
        gid: 20_050,
        groups: &[],
    },
    User {
        uid: 20_003,
        gid: 20_003,
        groups: &[],
    },
];
const MODES: [u32; 12] = [
    0o755, 0o700, 0o750, 0o770, 0o777, 0o711, 0o733, 0o644, 0o640, 0o066, 0o555, 0o000,
];
const TAG: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Numbers that follow from a seed, which a failure tells.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = match std::env::var("REGFS_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_micros()
                .try_into()
                .unwrap(),
        };
        println!("seed: {seed} (REGFS_SEED={seed} walks the same way again)");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// What a user does, with a path below the top.
#[derive(Clone, Debug)]
enum Act {
    Stat(String),
    Read(String),
    Open(String, bool, u32),
    Make(String, u32, bool),
    MakeDirectory(String, u32),
    Remove(String),
    RemoveDirectory(String),
    Rename(String, String),
    Mode(String, u32),
    Owner(String, Option<u32>, Option<u32>),
    Times(String, i64, i64),
    Cut(String),
    Access(String, u32),
    List(String),
    Link(String),
}

/// What came of it: the error's number, or what was seen.
type Seen = Result<String, i32>;

fn seen(result: io::Result<String>) -> Seen {
    result.map_err(|error| error.raw_os_error().unwrap_or(-1))
}

impl Act {
    fn paths(&self) -> Vec<&str> {
        match self {
            Self::Rename(from, to) => vec![from, to],
            Self::Stat(path)
            | Self::Read(path)
            | Self::Open(path, ..)
            | Self::Make(path, ..)
            | Self::MakeDirectory(path, _)
            | Self::Remove(path)
            | Self::RemoveDirectory(path)
            | Self::Mode(path, _)
            | Self::Owner(path, ..)
            | Self::Times(path, ..)
            | Self::Cut(path)
            | Self::Access(path, _)
            | Self::List(path)
            | Self::Link(path) => vec![path],
        }
    }

    fn on(&self, top: &Path) -> Seen {
        seen(self.done(top))
    }

    fn done(&self, top: &Path) -> io::Result<String> {
        let nothing = |()| String::new();
        match self {
            Self::Stat(path) => shown(&top.join(path)),
            Self::Read(path) => fs::read_to_string(top.join(path)),
            Self::Open(path, read, flags) => {
                let mut options = File::options();
                let flags = i32::try_from(*flags).unwrap();
                options.read(*read).write(true).custom_flags(flags);
                options
                    .open(top.join(path))?
                    .write_all(b"written")
                    .map(nothing)
            }
            Self::Make(path, mode, alone) => {
                let mut options = File::options();
                options
                    .write(true)
                    .mode(*mode)
                    .create(true)
                    .create_new(*alone);
                options
                    .open(top.join(path))?
                    .write_all(b"made")
                    .map(nothing)
            }
            Self::MakeDirectory(path, mode) => {
                Ok(mkdirat(CWD, top.join(path), Mode::from_raw_mode(*mode)).map(nothing)?)
            }
            Self::Remove(path) => fs::remove_file(top.join(path)).map(nothing),
            Self::RemoveDirectory(path) => fs::remove_dir(top.join(path)).map(nothing),
            Self::Rename(from, to) => fs::rename(top.join(from), top.join(to)).map(nothing),
            Self::Mode(path, mode) => {
                fs::set_permissions(top.join(path), Permissions::from_mode(*mode)).map(nothing)
            }
            Self::Owner(path, uid, gid) => lchown(top.join(path), *uid, *gid).map(nothing),
            Self::Times(path, accessed, modified) => {
                let at = |nanos| Timespec {
                    tv_sec: 1_000_000_000,
                    tv_nsec: nanos,
                };
                let times = Timestamps {
                    last_access: at(*accessed),
                    last_modification: at(*modified),
                };
                Ok(utimensat(CWD, top.join(path), &times, AtFlags::empty()).map(nothing)?)
            }
            Self::Cut(path) => {
                let mut options = File::options();
                options.write(true).truncate(true);
                options.open(top.join(path)).map(|_| String::new())
            }
            Self::Access(path, bits) => {
                let bits = Access::from_bits_truncate(*bits);
                Ok(accessat(CWD, top.join(path), bits, AtFlags::empty()).map(nothing)?)
            }
            Self::List(path) => {
                let rows = fs::read_dir(top.join(path))?;
                let names = rows.map(|row| Ok(row?.file_name().into_string().unwrap()));
                let mut names = names.collect::<io::Result<Vec<_>>>()?;
                names.sort();
                Ok(names.join(" "))
            }
            Self::Link(path) => {
                let mut options = File::options();
                options.write(true).create(true).truncate(true);
                options
                    .open(top.join(path))?
                    .write_all(TAG.as_bytes())
                    .map(nothing)
            }
        }
    }
}

fn shown(path: &Path) -> io::Result<String> {
    let shown = fs::symlink_metadata(path)?;
    let size = if shown.is_dir() { 0 } else { shown.size() };
    Ok(format!(
        "{:o} {}:{} {size}",
        shown.mode(),
        shown.uid(),
        shown.gid()
    ))
}

/// Everything below a directory, as root sees it.
fn everything(top: &Path, below: &Path, into: &mut String) {
    let mut names: Vec<_> = fs::read_dir(top.join(below))
        .unwrap()
        .map(|row| row.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let path = below.join(name);
        let shown = shown(&top.join(&path)).unwrap();
        writeln!(into, "{} {shown}", path.display()).unwrap();
        if top.join(&path).is_dir() {
            everything(top, &path, into);
        } else {
            let mut content = String::new();
            let mut file = File::open(top.join(&path)).unwrap();
            file.read_to_string(&mut content).unwrap();
            writeln!(into, "  {content:?}").unwrap();
        }
    }
}

/// The same place on a plain disk and on the mount.
struct Both {
    disk: PathBuf,
    mount: PathBuf,
}

impl Both {
    fn root(&self, act: &Act) {
        let (disk, mount) = (act.on(&self.disk), act.on(&self.mount));
        assert_eq!(disk, mount, "root: {act:?}");
    }

    /// The user sees the same at both. After a change of modes the kernel forgets what it knows
    /// of a mount a moment later.
    fn agree(&self, user: User, act: &Act) -> Seen {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let (disk, mount) = user.run(|| (act.on(&self.disk), act.on(&self.mount)));
            if disk == mount {
                return disk;
            }
            assert!(
                Instant::now() < deadline,
                "{user:?}: {act:?}: {disk:?} on a disk, {mount:?} on the mount"
            );
        }
    }

    /// Does something at both as a user, once the user sees the same at both.
    fn step(&self, user: User, act: &Act) {
        for path in act.paths() {
            let there = self.agree(user, &Act::Stat(path.into()));
            // If two paths are wrong, either error may be returned.
            if matches!(act, Act::Rename(from, _) if from == path) && there.is_err() {
                return;
            }
        }
        let (disk, mount) = user.run(|| (act.on(&self.disk), act.on(&self.mount)));
        assert_eq!(
            disk, mount,
            "{user:?}: {act:?}: on a disk, and on the mount"
        );
    }

    fn must_be_the_same(&self) {
        let [disk, mount] = [&self.disk, &self.mount].map(|top| {
            let mut text = String::new();
            everything(top, Path::new(""), &mut text);
            text
        });
        assert_eq!(disk, mount);
    }
}

/// A path of the walk over plain files.
fn plain_path(random: &mut Random) -> String {
    let mut path = format!("d{}", random.below(4));
    for _ in 0..random.below(3) {
        let _ok = write!(path, "/{}{}", random.of(&["e", "f"]), random.below(3));
    }
    path
}

fn plain_act(random: &mut Random, disk: &Path) -> Option<Act> {
    let path = plain_path(random);
    let kind = |path: &str| {
        fs::symlink_metadata(disk.join(path))
            .ok()
            .map(|one| one.is_dir())
    };
    let (directory, there) = (kind(&path) == Some(true), kind(&path).is_some());
    let mode = random.of(&MODES);
    let parent = Path::new(&path).parent().unwrap().to_owned();
    let sticky = fs::metadata(disk.join(parent)).is_ok_and(|one| one.mode() & 0o1000 != 0);
    let ids = [None, Some(20_001), Some(20_002), Some(20_050)];
    let nanos = [5, UTIME_NOW, UTIME_OMIT];
    Some(match random.below(15) {
        0 => Act::Stat(path),
        1 if !directory => Act::Read(path),
        2 | 3 => Act::Open(path, random.below(2) == 0, 0),
        4 => Act::Make(path, mode, true),
        5 if !(sticky && there) => Act::Make(path, mode, false),
        6 | 7 => Act::MakeDirectory(path, mode),
        8 if !directory => Act::Remove(path),
        9 if directory || !there => Act::RemoveDirectory(path),
        10 => {
            let to = plain_path(random);
            let same = kind(&to).is_none() || kind(&to) == kind(&path);
            return (there && same).then_some(Act::Rename(path, to));
        }
        11 => Act::Mode(path, mode | random.of(&[0, 0, 0o1000])),
        12 => Act::Owner(path, random.of(&ids), random.of(&ids)),
        13 => match random.below(3) {
            0 => Act::Times(path, random.of(&nanos), random.of(&nanos)),
            1 => Act::Cut(path),
            _ => Act::Access(path, u32::try_from(random.below(8)).unwrap()),
        },
        14 => Act::List(path),
        _ => return None,
    })
}

#[test]
fn users_get_the_answers_of_a_plain_disk_on_plain_files() {
    let mut random = Random::new();
    let disk = tempfile::tempdir().unwrap();
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let both = Both {
        disk: disk.path().join("top"),
        mount: mounted.top().join("top"),
    };
    fs::set_permissions(disk.path(), Permissions::from_mode(0o755)).unwrap();
    for top in [&both.disk, &both.mount] {
        fs::create_dir(top).unwrap();
    }
    for (name, mode) in [("d0", 0o777), ("d1", 0o1777), ("d2", 0o2775), ("d3", 0o750)] {
        both.root(&Act::MakeDirectory(name.into(), 0o755));
        both.root(&Act::Owner(name.into(), Some(20_001), Some(20_050)));
        both.root(&Act::Mode(name.into(), mode));
    }
    let mut done = 0;
    while done < STEPS {
        let Some(act) = plain_act(&mut random, &both.disk) else {
            continue;
        };
        done += 1;
        if random.below(5) == 0 && matches!(act, Act::Mode(..) | Act::Owner(..)) {
            both.root(&act);
            continue;
        }
        let user = random.of(&USERS);
        both.step(user, &act);
        if done % 100 == 0 {
            both.must_be_the_same();
        }
    }
    both.must_be_the_same();
}

/// Makes everything below the repositories of a plain disk show what its repository does, as the
/// layout has it.
fn as_the_layout(top: &Path) {
    fn below(path: &Path, of: &fs::Metadata) {
        for row in fs::read_dir(path).unwrap() {
            let path = row.unwrap().path();
            let directory = path.is_dir();
            lchown(&path, Some(of.uid()), Some(of.gid())).unwrap();
            let kept = if directory { 0o7777 } else { 0o666 };
            fs::set_permissions(&path, Permissions::from_mode(of.mode() & kept)).unwrap();
            if directory {
                below(&path, of);
            }
        }
    }
    for row in fs::read_dir(top).unwrap() {
        let path = row.unwrap().path();
        below(&path, &fs::metadata(&path).unwrap());
    }
}

fn layout_act(random: &mut Random, disk: &Path) -> Option<Act> {
    let repository = random.of(&["a", "b", "c"]).to_owned();
    let hex = &TAG[7..];
    let links = [
        format!("_layers/sha256/{hex}/link"),
        "_manifests/tags/v1/current/link".to_owned(),
        "_manifests/tags/v2/current/link".to_owned(),
    ];
    let file = format!("{repository}/{}", random.of(&links));
    let up = 1 + random.below(file.matches('/').count());
    let directory = Path::new(&file).ancestors().nth(up).unwrap();
    let directory = directory.to_str().unwrap().to_owned();
    let mode = random.of(&MODES);
    let any = random.of(&[file.clone(), directory.clone()]);
    let ids = [None, Some(20_001), Some(20_002), Some(20_050)];
    let there = disk.join(&directory).is_dir();
    let sticky = fs::metadata(disk.join(&repository)).is_ok_and(|one| one.mode() & 0o1000 != 0);
    Some(match random.below(12) {
        0 => Act::Stat(any),
        1 => Act::Read(file),
        2..=4 => Act::MakeDirectory(directory, mode),
        5 | 6 if !(sticky && disk.join(&file).exists()) => Act::Link(file),
        7 => Act::Remove(file),
        8 if there => Act::RemoveDirectory(directory),
        9 => Act::Access(any, u32::try_from(random.below(8)).unwrap()),
        10 => Act::List(directory),
        11 if random.below(2) == 0 => {
            Act::Mode(repository, mode | random.of(&[0, 0, 0o1000, 0o2000]))
        }
        11 => Act::Owner(repository, random.of(&ids), random.of(&ids)),
        _ => return None,
    })
}

/// Users who are not root get the answers of a plain disk, on plain files and in repositories.
#[test]
fn users_get_the_answers_of_a_plain_disk_on_repositories_with_modes_of_their_own() {
    let mut random = Random::new();
    let disk = tempfile::tempdir().unwrap();
    fs::set_permissions(disk.path(), Permissions::from_mode(0o755)).unwrap();
    let mounted = Mounted::with(&["-o", "allow_other"]);
    let both = Both {
        disk: disk.path().join("repositories"),
        mount: mounted.v2("repositories"),
    };
    fs::create_dir(&both.disk).unwrap();
    both.root(&Act::Mode(String::new(), 0o777));
    for (name, mode) in [("a", 0o775), ("b", 0o750)] {
        both.root(&Act::MakeDirectory(name.into(), 0o755));
        both.root(&Act::Owner(name.into(), Some(20_001), Some(20_050)));
        both.root(&Act::Mode(name.into(), mode));
    }
    let mut done = 0;
    while done < STEPS {
        let Some(act) = layout_act(&mut random, &both.disk) else {
            continue;
        };
        done += 1;
        if random.below(3) == 0 && matches!(act, Act::Mode(..) | Act::Owner(..)) {
            both.root(&act);
        } else {
            both.step(random.of(&USERS), &act);
        }
        as_the_layout(&both.disk);
        if done % 100 == 0 {
            both.must_be_the_same();
        }
    }
    both.must_be_the_same();
}

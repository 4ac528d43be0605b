//! Plain files: what stands outside the registry root, kept below one directory of the store.
//!
//! A pull-through cache's schedule, GitLab's lock files, and whatever people put there. The
//! directories that lead to the root are among them; they cannot be removed or moved.
//!
//! Every path is resolved beneath that directory's descriptor, and symbolic links are never
//! followed: one that an older store holds is shown, read, moved and removed as a link. What is
//! changed or opened is first held by a descriptor, so that a name that is moved meanwhile
//! changes nothing else; only regular files are opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, RenameFlags};

use super::stat::{Attributes, Change, Permissions};
use super::{Access, TreeError, number};
use crate::dir::{Dir, Pinned};
use crate::layout;

mod host;

use host::{attributes, change, owned};
pub(super) use host::{change_opened, drop_privileges, shown};

/// Longest path of a plain file below the top, in bytes. The kernel knows each of them by its
/// path, so that deeper ones would let a user fill the memory.
const PATH_BYTES_MAX: usize = 16_384;

/// Plain files below a directory.
#[derive(Debug)]
pub(super) struct Plain {
    directory: Dir,
    root: PathBuf,
}

/// Says of an error which file it is about.
fn about(path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.display().to_string();
    move |error| match error.kind() {
        io::ErrorKind::NotFound => TreeError::NotFound,
        io::ErrorKind::AlreadyExists => TreeError::Exists,
        _ => TreeError::Plain { path, error },
    }
}

/// Permission bits for the host.
fn mode(bits: u16) -> Mode {
    Mode::from_raw_mode(u32::from(bits) & 0o7777)
}

impl Plain {
    /// Plain files below `directory`; the directories that lead to `root` are made.
    pub(super) fn open(directory: Dir, root: &str) -> Result<Self, TreeError> {
        let root = PathBuf::from(root.trim_matches('/'));
        let mut path = PathBuf::new();
        for name in &root {
            path.push(name);
            match directory.make_dir(&path, Mode::RWXU) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(about(&path)(error)),
                // Once more: the daemon's umask is not meant.
                Ok(()) => {
                    let made = directory.pin(&path).map_err(about(&path))?;
                    let shown = mode(Permissions::DIRECTORY.mode);
                    made.set_mode(shown).map_err(about(&path))?;
                }
            }
        }
        directory.open_dir(&root).map_err(about(&root))?;
        Ok(Self { directory, root })
    }

    /// Whether the layout stands in this directory.
    pub(super) fn is_root(&self, path: &Path) -> bool {
        path == self.root
    }

    /// The directory in which the layout stands.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses what would move or remove the way to the root, or what stands there.
    fn guard(&self, path: &Path) -> Result<(), TreeError> {
        if self.root.starts_with(path) || path == self.root.join(layout::TOP) {
            return Err(TreeError::NotPermitted("the registry's root is below"));
        }
        Ok(())
    }

    fn pin(&self, path: &Path) -> Result<Pinned, TreeError> {
        self.directory.pin(path).map_err(about(path))
    }

    pub(super) fn attributes(&self, path: &Path) -> Result<Attributes, TreeError> {
        let stat = self.directory.metadata(path).map_err(about(path))?;
        let mut attributes = attributes(&stat);
        if path.as_os_str().is_empty() {
            attributes.number = number::TOP;
        }
        Ok(attributes)
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<PathBuf, TreeError> {
        self.directory.read_link(path).map_err(about(path))
    }

    /// All names in a directory, sorted, the layout's among them.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<OsString>, TreeError> {
        let directory = self.directory.open_dir(path).map_err(about(path))?;
        let rows = directory.entries().map_err(about(path))?;
        let mut names = rows
            .map(|row| row.map(|row| row.name).map_err(about(path)))
            .collect::<Result<Vec<_>, _>>()?;
        if self.is_root(path) {
            names.push(layout::TOP.into());
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Opens a regular file. For writing it is opened for reading too where the host lets us,
    /// since the kernel may read what surrounds a write.
    pub(super) fn open_file(&self, path: &Path, access: Access) -> Result<File, TreeError> {
        let pinned = self.pin(path)?;
        let opened = match access {
            Access::Read => pinned.open_file(OFlags::RDONLY),
            Access::Write => match pinned.open_file(OFlags::RDWR) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    pinned.open_file(OFlags::WRONLY)
                }
                opened => opened,
            },
        };
        opened.map_err(about(path))
    }

    /// Makes a file, or opens one that somebody else has made just now.
    pub(super) fn create_file(&self, path: &Path, new: Permissions) -> Result<File, TreeError> {
        require_short(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        match self.directory.open_file(path, flags, Mode::RUSR) {
            Ok(file) => {
                owned(&file, new).map_err(about(path))?;
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_file(path, Access::Write)
            }
            Err(error) => Err(about(path)(error)),
        }
    }

    pub(super) fn make_directory(&self, path: &Path, new: Permissions) -> Result<(), TreeError> {
        require_short(path)?;
        let made = self.directory.make_dir(path, Mode::RWXU);
        made.map_err(about(path))?;
        let change = Change {
            mode: Some(new.mode),
            uid: new.uid,
            gid: new.gid,
            ..Change::default()
        };
        change_pinned(&self.pin(path)?, change).map_err(about(path))
    }

    pub(super) fn remove_file(&self, path: &Path) -> Result<(), TreeError> {
        self.guard(path)?;
        self.directory.remove_file(path).map_err(about(path))
    }

    pub(super) fn remove_directory(&self, path: &Path) -> Result<(), TreeError> {
        self.guard(path)?;
        self.directory.remove_dir(path).map_err(about(path))
    }

    /// Moves a file; what stands at the new name is replaced, or if `exchange`, gets the old.
    pub(super) fn rename(
        &self,
        from: &Path,
        to: &Path,
        flags: RenameFlags,
    ) -> Result<(), TreeError> {
        self.guard(from)?;
        self.guard(to)?;
        require_short(to)?;
        let top = &self.directory;
        top.rename(from, top, to, flags).map_err(about(to))
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), TreeError> {
        let directory = self.directory.open_dir(path).map_err(about(path))?;
        directory.sync().map_err(about(path))
    }

    /// Changes a file as `admit` says, which sees what it is.
    pub(super) fn change(
        &self,
        path: &Path,
        admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
    ) -> Result<(), TreeError> {
        let pinned = self.pin(path)?;
        let stat = pinned.metadata().map_err(about(path))?;
        change_pinned(&pinned, admit(&attributes(&stat))?).map_err(about(path))
    }
}

fn change_pinned(pinned: &Pinned, asked: Change) -> io::Result<()> {
    change(
        asked,
        |uid, gid| pinned.set_owner(uid, gid),
        |bits| pinned.set_mode(mode(bits)),
        |times| pinned.set_times(times),
    )
}

fn require_short(path: &Path) -> Result<(), TreeError> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        let error = rustix::io::Errno::NAMETOOLONG.into();
        return Err(about(path)(error));
    }
    Ok(())
}

/// Makes an open plain file durable.
pub(super) fn sync(file: &File) -> Result<(), TreeError> {
    file.sync_all().map_err(about_open)
}

/// Says of an error of an open plain file that it is one.
pub(super) fn about_open(error: io::Error) -> TreeError {
    TreeError::Plain {
        path: "an open file".into(),
        error,
    }
}

/// Whether a name can be a plain file's.
pub(super) fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && name != "." && name != ".."
}

/// A time of the host.
fn time(seconds: i64, nanos: u64) -> SystemTime {
    let nanos = Duration::from_nanos(nanos);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}

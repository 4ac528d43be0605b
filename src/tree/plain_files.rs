//! Plain files: those outside the registry root, stored below one directory of the store.
//!
//! They are the schedule of a pull-through cache, GitLab's lock files, and whatever people create.
//! The directories that lead to the root are among them and cannot be removed or renamed.
//!
//! Every path is resolved beneath the descriptor of that directory, and symbolic links are never
//! followed: a link in an older store is shown, read, renamed and removed as a link. A file is
//! pinned by a descriptor before it is changed or opened, so that a concurrent rename cannot
//! redirect the change; only regular files are opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RenameFlags};

use super::access::Access;
use super::plain_metadata::{about_open, attributes, change, mode, set_created_attributes};
use super::stat::{Attributes, Change, Permissions};
use super::{TreeError, inode_number};
use crate::dir::{Dir, Pinned};
use crate::layout;

/// The longest path of a plain file below the top, in bytes. The daemon stores the path of each
/// file that the kernel knows, so that without a limit users could exhaust the memory.
const PATH_BYTES_MAX: usize = 16_384;

/// The plain files of a mount.
#[derive(Debug)]
pub(super) struct PlainFiles {
    directory: Dir,
    root: PathBuf,
}

/// Returns a function that adds the path of a file to an error about it.
fn about(path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.display().to_string();
    move |error| match error.kind() {
        io::ErrorKind::NotFound => TreeError::NotFound,
        io::ErrorKind::AlreadyExists => TreeError::Exists,
        _ => TreeError::Plain { path, error },
    }
}

impl PlainFiles {
    /// Opens the plain files below `directory`, and creates the directories that lead to `root`.
    pub(super) fn open(directory: Dir, root: &str) -> Result<Self, TreeError> {
        let root = PathBuf::from(root.trim_matches('/'));
        let mut path = PathBuf::new();
        for name in &root {
            path.push(name);
            match directory.make_dir(&path, Mode::RWXU) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(about(&path)(error)),
                // mkdir(2) applies the umask of the daemon.
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

    /// Returns `true` if this directory holds the top of the layout.
    pub(super) fn is_root(&self, path: &Path) -> bool {
        path == self.root
    }

    /// Returns the path of the directory that holds the top of the layout.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses to rename or remove a directory that leads to the root, or the top of the layout.
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
            attributes.number = inode_number::TOP;
        }
        Ok(attributes)
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<PathBuf, TreeError> {
        self.directory.read_link(path).map_err(about(path))
    }

    /// Returns all names in a directory, sorted, with the top of the layout.
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

    /// Opens a regular file. For writing it is also opened for reading where the host permits that,
    /// since the kernel may read the pages around a write.
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

    /// Creates a file, or opens one that somebody else has just created.
    pub(super) fn create_file(&self, path: &Path, new: Permissions) -> Result<File, TreeError> {
        require_short(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        match self.directory.open_file(path, flags, Mode::RUSR) {
            Ok(file) => {
                set_created_attributes(&file, new).map_err(about(path))?;
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

    /// Renames a file as renameat2(2) does with these flags.
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

    /// Changes a file as `admit` says, given its attributes.
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

/// Returns `true` if a plain file can have this name.
pub(super) fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && name != "." && name != ".."
}

//! Plain files: what stands outside the registry root, kept below one directory of the store.
//!
//! A pull-through cache's schedule, GitLab's lock files, and whatever people put there. The
//! directories that lead to the root are among them; they cannot be removed or moved.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Access, Attributes, Change, FileKind, TreeError};
use crate::layout;

/// Plain files below a directory.
#[derive(Debug)]
pub(super) struct Plain {
    directory: PathBuf,
    root: PathBuf,
}

/// What is kept of a mode: who may read, write and look in.
const MODE: u32 = 0o777;

fn permissions(mode: u16) -> fs::Permissions {
    fs::Permissions::from_mode(u32::from(mode) & MODE)
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

impl Plain {
    /// Plain files below `directory`; the directories that lead to `root` are made.
    pub(super) fn open(directory: PathBuf, root: &str) -> Result<Self, TreeError> {
        let root = PathBuf::from(root.trim_matches('/'));
        let path = directory.join(&root);
        fs::create_dir_all(&path).map_err(about(&path))?;
        Ok(Self { directory, root })
    }

    /// Whether the layout stands in this directory.
    pub(super) fn is_root(&self, path: &Path) -> bool {
        path == self.root
    }

    /// Refuses what would move or remove the way to the root, or what stands there.
    fn guard(&self, path: &Path) -> Result<(), TreeError> {
        if self.root.starts_with(path) || path == self.root.join(layout::TOP) {
            return Err(TreeError::NotPermitted("the registry's root is below"));
        }
        Ok(())
    }

    fn real(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    pub(super) fn attributes(&self, path: &Path) -> Result<Attributes, TreeError> {
        let metadata = fs::symlink_metadata(self.real(path)).map_err(about(path))?;
        attributes(&metadata, path)
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<PathBuf, TreeError> {
        fs::read_link(self.real(path)).map_err(about(path))
    }

    /// All names in a directory, sorted, the layout's among them.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<OsString>, TreeError> {
        let rows = fs::read_dir(self.real(path)).map_err(about(path))?;
        let mut names = rows
            .map(|row| row.map(|row| row.file_name()).map_err(about(path)))
            .collect::<Result<Vec<_>, _>>()?;
        if self.is_root(path) {
            names.push(layout::TOP.into());
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn open_file(&self, path: &Path, access: Access) -> Result<File, TreeError> {
        let mut options = File::options();
        options.read(true).write(access == Access::Write);
        options.open(self.real(path)).map_err(about(path))
    }

    /// Makes a file, or opens one that somebody else has made just now.
    pub(super) fn create_file(&self, path: &Path, mode: u16) -> Result<File, TreeError> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        match options.mode(u32::from(mode) & MODE).open(self.real(path)) {
            Ok(file) => {
                // Once more: our own umask is not the caller's.
                file.set_permissions(permissions(mode))
                    .map_err(about(path))?;
                Ok(file)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_file(path, Access::Write)
            }
            Err(error) => Err(about(path)(error)),
        }
    }

    pub(super) fn make_directory(&self, path: &Path, mode: u16) -> Result<(), TreeError> {
        let real = self.real(path);
        let done = fs::DirBuilder::new()
            .mode(u32::from(mode) & MODE)
            .create(&real);
        done.and_then(|()| fs::set_permissions(&real, permissions(mode)))
            .map_err(about(path))
    }

    pub(super) fn remove_file(&self, path: &Path) -> Result<(), TreeError> {
        self.guard(path)?;
        fs::remove_file(self.real(path)).map_err(about(path))
    }

    pub(super) fn remove_directory(&self, path: &Path) -> Result<(), TreeError> {
        self.guard(path)?;
        fs::remove_dir(self.real(path)).map_err(about(path))
    }

    pub(super) fn rename(&self, from: &Path, to: &Path, replace: bool) -> Result<(), TreeError> {
        self.guard(from)?;
        self.guard(to)?;
        if !replace && self.attributes(to).is_ok() {
            return Err(TreeError::Exists);
        }
        fs::rename(self.real(from), self.real(to)).map_err(about(to))
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), TreeError> {
        let directory = File::open(self.real(path)).map_err(about(path))?;
        directory.sync_all().map_err(about(path))
    }

    pub(super) fn change(&self, path: &Path, change: Change) -> Result<(), TreeError> {
        let real = self.real(path);
        if let Some(mode) = change.mode {
            fs::set_permissions(&real, permissions(mode)).map_err(about(path))?;
        }
        if let Some(modified) = change.modified {
            let file = File::open(&real).map_err(about(path))?;
            file.set_modified(modified).map_err(about(path))?;
        }
        Ok(())
    }
}

/// What a plain file's own metadata show.
pub(super) fn attributes(metadata: &fs::Metadata, path: &Path) -> Result<Attributes, TreeError> {
    let kind = if metadata.is_dir() {
        FileKind::Directory
    } else if metadata.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::File
    };
    let mode = u16::try_from(metadata.permissions().mode() & 0o777).unwrap_or(0o644);
    let modified = metadata.modified().map_err(about(path))?;
    Ok(Attributes {
        kind,
        size: metadata.len(),
        modified,
        mode,
    })
}

/// Changes an open plain file, wherever its name may be.
pub(super) fn change_opened(file: &File, change: Change) -> Result<(), TreeError> {
    if let Some(mode) = change.mode {
        file.set_permissions(permissions(mode))
            .map_err(about_open)?;
    }
    if let Some(modified) = change.modified {
        file.set_modified(modified).map_err(about_open)?;
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

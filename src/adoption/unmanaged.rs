//! Unmanaged files: those outside the registry's tree (the schedule of a pull-through cache, lock
//! files), copied as they are.
//!
//! Only regular files and directories are copied. Everything is read through descriptors, so that
//! nobody who changes the tree meanwhile can lead the copy out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::access::{copy_access, is_as_created};
use super::error::{AdoptionError, about};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{TransferMode, transfer};

/// How often a name is tried again if it refers to another file by the time it is opened.
const RETRIES: u32 = 100;

/// An entry that is neither a regular file nor a directory.
#[derive(Debug)]
pub(super) struct UnmanagedEntry<'a> {
    /// The directory that holds it.
    pub(super) directory: &'a Dir,
    /// The copy of that directory.
    pub(super) target: &'a Dir,
    /// The path of that directory below the top.
    pub(super) path: &'a Path,
    pub(super) name: &'a OsStr,
    pub(super) kind: FileType,
}

/// A copy of everything below a directory except the registry's tree.
pub(super) struct UnmanagedCopy<'a, F> {
    /// The open directories that lead to the registry's tree, each with its name.
    pub(super) steps: &'a [(OsString, Dir)],
    /// Called for each entry that is neither a regular file nor a directory.
    pub(super) other: F,
    /// The number of files that were copied or up to date.
    pub(super) count: u64,
}

impl<F: FnMut(&UnmanagedEntry<'_>) -> Result<(), AdoptionError>> UnmanagedCopy<'_, F> {
    /// Copies what is below `from` to `to`, except files that `to` has with the same length and
    /// time.
    pub(super) fn run(&mut self, from: &Dir, to: &Dir) -> Result<(), AdoptionError> {
        let steps = self.steps;
        self.directory(from, to, Path::new(""), steps)
    }

    fn directory(
        &mut self,
        from: &Dir,
        to: &Dir,
        path: &Path,
        steps: &[(OsString, Dir)],
    ) -> Result<(), AdoptionError> {
        let entries = from.entries().map_err(about(from.path()))?;
        let entries: io::Result<Vec<_>> = entries.collect();
        for entry in entries.map_err(about(from.path()))? {
            let name = &*entry.name;
            if let Some(((step, inner), rest)) = steps.split_first()
                && step == name
            {
                if !rest.is_empty() {
                    self.subdirectory(inner, to, &path.join(name), rest)?;
                }
                continue;
            }
            match self.entry(from, to, path, name) {
                // It was removed meanwhile.
                Err(AdoptionError::System { error, .. })
                    if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Copies a directory. Owner and mode are set last, since they may forbid writing.
    fn subdirectory(
        &mut self,
        from: &Dir,
        to: &Dir,
        path: &Path,
        steps: &[(OsString, Dir)],
    ) -> Result<(), AdoptionError> {
        let name = path.file_name().unwrap_or_default();
        let (target, new) = ensure_directory(to, name).map_err(about(from.path()))?;
        self.directory(from, &target, path, steps)?;
        let known = fstat(&target).map_err(|error| about(from.path())(error.into()))?;
        // The mount creates the directories that lead to the tree; an owner or mode that was set
        // there stays.
        if new || !steps.is_empty() && is_as_created(&known) {
            let stat = fstat(from).map_err(io::Error::from);
            let set = stat.and_then(|stat| copy_access(&stat, &target));
            set.map_err(about(from.path()))?;
        }
        Ok(())
    }

    /// Copies the entry of a name, and tries again if it is replaced meanwhile.
    fn entry(
        &mut self,
        from: &Dir,
        to: &Dir,
        path: &Path,
        name: &OsStr,
    ) -> Result<(), AdoptionError> {
        let mut retries = RETRIES;
        loop {
            let shown = from.shown(name);
            let stat = from.metadata(name).map_err(about(&shown))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let done = match kind {
                FileType::Directory => match from.open_dir(name) {
                    Ok(inner) => return self.subdirectory(&inner, to, &path.join(name), &[]),
                    Err(error) => Err(error),
                },
                FileType::RegularFile => from
                    .open_file(name, OFlags::RDONLY, Mode::empty())
                    .and_then(|file| copy_file(&file, to, name)),
                _ => {
                    return (self.other)(&UnmanagedEntry {
                        directory: from,
                        target: to,
                        path,
                        name,
                        kind,
                    });
                }
            };
            match done {
                Ok(()) => {
                    self.count += 1;
                    return Ok(());
                }
                Err(error) if retries == 0 || !was_replaced(&error) => {
                    return Err(about(&shown)(error));
                }
                Err(_) => retries -= 1,
            }
        }
    }
}

/// Returns `true` if an error means that a name no longer refers to a file of the same kind.
fn was_replaced(error: &io::Error) -> bool {
    let changed = [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR, Errno::NXIO];
    error.kind() == io::ErrorKind::InvalidInput
        || Errno::from_io_error(error).is_some_and(|error| changed.contains(&error))
}

/// Opens a directory, creating it if it does not exist. Returns `true` with it if it is new.
fn ensure_directory(to: &Dir, name: &OsStr) -> io::Result<(Dir, bool)> {
    match to.make_dir(name, Mode::RWXU) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((to.open_dir(name)?, false))
        }
        made => {
            made?;
            Ok((to.open_dir(name)?, true))
        }
    }
}

/// Copies a file with owner, mode and time, unless `to` has it with the same length and time.
fn copy_file(file: &File, to: &Dir, name: &OsStr) -> io::Result<()> {
    let stat = fstat(file)?;
    match to.metadata(name) {
        Ok(known) if is_same(&known, &stat) => return Ok(()),
        Ok(_) => to.remove_file(name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    transfer(file, to, name, TransferMode::Copy, Mode::RUSR | Mode::WUSR)?;
    // Opening it again by name is safe: nobody else writes to this directory.
    let copied = to.open_file(name, OFlags::RDONLY, Mode::empty())?;
    copy_access(&stat, &copied)
}

fn is_same(known: &Stat, stat: &Stat) -> bool {
    let of = |stat: &Stat| {
        (
            stat.st_mode >> 12,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
        )
    };
    of(known) == of(stat)
}

/// Copies the unmanaged files of a store. Returns their number. Symbolic links, which only stores
/// of older versions hold, are created again and never followed.
///
/// # Errors
/// [`AdoptionError::System`] with the path of the file.
pub fn copy_files(from: &Dir, to: &Dir) -> Result<u64, AdoptionError> {
    let mut copying = UnmanagedCopy {
        steps: &[],
        other: copy_link,
        count: 0,
    };
    copying.run(from, to)?;
    Ok(copying.count)
}

/// Copies owner and mode of the directories that lead to a registry's tree, which exist in the
/// copy already.
pub(super) fn copy_path_access(from: &Dir, to: &Dir, path: &Path) -> io::Result<()> {
    for step in path.ancestors().filter(|step| !step.as_os_str().is_empty()) {
        match from.open_dir(step) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => copy_access(&fstat(opened?)?, &to.open_dir(step)?)?,
        }
    }
    Ok(())
}

/// Copies a symbolic link; warns of any other entry.
fn copy_link(other: &UnmanagedEntry<'_>) -> Result<(), AdoptionError> {
    let UnmanagedEntry {
        directory,
        target,
        name,
        kind,
        ..
    } = *other;
    let shown = directory.shown(name);
    if kind != FileType::Symlink {
        log::warn!(
            "{} was not copied: it is neither a file nor a directory",
            printable(shown)
        );
        return Ok(());
    }
    let copy = || {
        let link = directory.read_link(name)?;
        match target.make_link(&link, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                target.remove_file(name)?;
                target.make_link(&link, name)
            }
            made => made,
        }
    };
    copy().map_err(about(&shown))
}

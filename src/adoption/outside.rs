//! Outside: files beside the registry's tree (a cache's schedule, lock files), kept as they are.
//!
//! Regular files and directories only. Everything is reached by descriptors, and what was opened
//! is what is copied: nobody who changes the tree meanwhile leads a copy out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::access::{is_as_made, same_access};
use super::{AdoptionError, about};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{TransferMode, transfer};

/// How often a name is looked at again at which something else stands by the time it is opened.
const TRIES: u32 = 100;

/// What a copy meets that is neither a file nor a directory.
#[derive(Debug)]
pub(super) struct Other<'a> {
    /// The directory in which it stands.
    pub(super) directory: &'a Dir,
    /// Where that would be copied to.
    pub(super) target: &'a Dir,
    /// Where it stands below the top.
    pub(super) path: &'a Path,
    pub(super) name: &'a OsStr,
    pub(super) kind: FileType,
}

/// A copy of everything below a directory, but not of what stands on the way to the registry's
/// tree.
pub(super) struct Copying<'a, F> {
    /// The directories on the way to the registry's tree, each by its name and open.
    pub(super) steps: &'a [(OsString, Dir)],
    /// Hears of everything else.
    pub(super) other: F,
    /// Files that were copied, or were there.
    pub(super) count: u64,
}

impl<F: FnMut(&Other<'_>) -> Result<(), AdoptionError>> Copying<'_, F> {
    /// Copies what is below `from` to `to`, but not what is there with the same length and time.
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
                    self.below(inner, to, &path.join(name), rest)?;
                }
                continue;
            }
            match self.one(from, to, path, name) {
                // It has gone meanwhile.
                Err(AdoptionError::System { error, .. })
                    if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Copies a directory. It gets its owner and mode when all is in it: they may let nobody write.
    fn below(
        &mut self,
        from: &Dir,
        to: &Dir,
        path: &Path,
        steps: &[(OsString, Dir)],
    ) -> Result<(), AdoptionError> {
        let name = path.file_name().unwrap_or_default();
        let (target, new) = directory(to, name).map_err(about(from.path()))?;
        self.directory(from, &target, path, steps)?;
        let known = fstat(&target).map_err(|error| about(from.path())(error.into()))?;
        // The mount makes those on the way to the tree; what was set there stays.
        if new || !steps.is_empty() && is_as_made(&known) {
            let same = fstat(from).map_err(io::Error::from);
            let same = same.and_then(|like| same_access(&like, &target));
            same.map_err(about(from.path()))?;
        }
        Ok(())
    }

    /// Copies what stands at one name, whatever it turns into meanwhile.
    fn one(
        &mut self,
        from: &Dir,
        to: &Dir,
        path: &Path,
        name: &OsStr,
    ) -> Result<(), AdoptionError> {
        let mut tries = TRIES;
        loop {
            let shown = from.shown(name);
            let stat = from.metadata(name).map_err(about(&shown))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let done = match kind {
                FileType::Directory => match from.open_dir(name) {
                    Ok(inner) => return self.below(&inner, to, &path.join(name), &[]),
                    Err(error) => Err(error),
                },
                FileType::RegularFile => from
                    .open_file(name, OFlags::RDONLY, Mode::empty())
                    .and_then(|file| same_file(&file, to, name)),
                _ => {
                    return (self.other)(&Other {
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
                Err(error) if tries == 0 || !has_changed(&error) => {
                    return Err(about(&shown)(error));
                }
                Err(_) => tries -= 1,
            }
        }
    }
}

/// Returns `true` if an error says that what stands at a name is not what it just was.
fn has_changed(error: &io::Error) -> bool {
    let changed = [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR, Errno::NXIO];
    error.kind() == io::ErrorKind::InvalidInput
        || Errno::from_io_error(error).is_some_and(|error| changed.contains(&error))
}

/// Makes a directory, unless there is one; opens it, and says whether it is new.
fn directory(to: &Dir, name: &OsStr) -> io::Result<(Dir, bool)> {
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

/// Copies a file with its owner, mode and time, unless one of the same length and time is there.
fn same_file(file: &File, to: &Dir, name: &OsStr) -> io::Result<()> {
    let stat = fstat(file)?;
    match to.metadata(name) {
        Ok(known) if is_same(&known, &stat) => return Ok(()),
        Ok(_) => to.remove_file(name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    transfer(file, to, name, TransferMode::Copy, Mode::RUSR | Mode::WUSR)?;
    // Opened again for its descriptor: nobody else writes in this directory.
    let copied = to.open_file(name, OFlags::RDONLY, Mode::empty())?;
    same_access(&stat, &copied)
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

/// Copies files that are not of the layout, as they are; how many. Symbolic links, which only a
/// store of an older version holds, are made again and never followed.
pub(super) fn copy_files(from: &Dir, to: &Dir) -> Result<u64, AdoptionError> {
    let mut copying = Copying {
        steps: &[],
        other: link_again,
        count: 0,
    };
    copying.run(from, to)?;
    Ok(copying.count)
}

/// Gives directories on the way to a tree, which stand in a copy already, the owner and mode that
/// they have in what was copied.
pub(super) fn same_way(from: &Dir, to: &Dir, way: &Path) -> io::Result<()> {
    for step in way.ancestors().filter(|step| !step.as_os_str().is_empty()) {
        match from.open_dir(step) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            like => same_access(&fstat(like?)?, &to.open_dir(step)?)?,
        }
    }
    Ok(())
}

fn link_again(other: &Other<'_>) -> Result<(), AdoptionError> {
    let Other {
        directory,
        target,
        name,
        kind,
        ..
    } = *other;
    let shown = directory.shown(name);
    if kind != FileType::Symlink {
        log::warn!(
            "{} is neither a file nor a directory: it is left out",
            printable(shown)
        );
        return Ok(());
    }
    let again = || {
        let says = directory.read_link(name)?;
        match target.make_link(&says, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                target.remove_file(name)?;
                target.make_link(&says, name)
            }
            made => made,
        }
    };
    again().map_err(about(&shown))
}

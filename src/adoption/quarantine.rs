//! Quarantine: what a plain tree held that cannot be in a store, kept for people to look at.
//!
//! `STORE/quarantine/tree/<path>` holds it as it was, `STORE/quarantine/beside/<path>` what stood
//! beside the registry's tree, and `STORE/quarantine/report.json` says why. Nothing in it is ever
//! followed or served.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RenameFlags};

use super::about;
use super::{AdoptionError, Report};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{TransferMode, transfer};

/// Its name in the store.
const DIRECTORY: &str = "quarantine";
/// Where in it things from the registry's tree are kept, and things from beside it.
pub(super) const TREE: &str = "tree";
pub(super) const BESIDE: &str = "beside";
/// Largest file that is copied, in bytes, unless the filesystem copies it by reference: of
/// larger ones only the path is told.
const COPIED_MAX: u64 = 64 << 20;

/// A store's quarantine.
#[derive(Debug)]
pub(super) struct Quarantine<'a> {
    store: &'a Dir,
}

impl<'a> Quarantine<'a> {
    /// The quarantine of a store.
    pub(super) fn of(store: &'a Dir) -> Self {
        Self { store }
    }

    /// Keeps what is at a name in a directory, which is at `path` below the top of `part`.
    /// Returns whether it could be read and was not too large.
    pub(super) fn keep(&self, part: &str, at: &Dir, path: &Path, name: &OsStr) -> bool {
        let below: PathBuf = [Path::new(DIRECTORY), Path::new(part), path]
            .iter()
            .collect();
        let kept = make_all(self.store, &below).and_then(|to| keep(at, &to, name));
        kept.unwrap_or_else(|error| {
            log::warn!("{} cannot be set aside: {error}", printable(at.shown(name)));
            false
        })
    }
}

/// Opens a directory beneath another, and makes those that lead to it.
fn make_all(top: &Dir, path: &Path) -> io::Result<Dir> {
    let mut at = top.clone();
    for name in path.components() {
        at = at.ensure_dir(name, Mode::RWXU)?;
    }
    Ok(at)
}

/// Keeps a file, or a directory with all that is in it; whether all of it.
fn keep(from: &Dir, to: &Dir, name: &OsStr) -> io::Result<bool> {
    match FileType::from_raw_mode(from.metadata(name)?.st_mode) {
        FileType::Directory => {
            let (from, to) = (from.open_dir(name)?, to.ensure_dir(name, Mode::RWXU)?);
            let entries: io::Result<Vec<_>> = from.entries()?.collect();
            let mut whole = true;
            for entry in entries? {
                whole &= keep(&from, &to, &entry.name)?;
            }
            Ok(whole)
        }
        FileType::Symlink => {
            let says = from.read_link(name)?;
            replace(to, name)?;
            to.make_link(&says, name)?;
            Ok(true)
        }
        FileType::RegularFile => {
            let file = from.open_file(name, OFlags::RDONLY, Mode::empty())?;
            replace(to, name)?;
            let mode = Mode::RUSR | Mode::WUSR;
            if transfer(&file, to, name, TransferMode::Reflink, mode).is_ok() {
                return Ok(true);
            }
            if file.metadata()?.len() > COPIED_MAX {
                return Ok(false);
            }
            transfer(&file, to, name, TransferMode::Copy, mode).map(|_| true)
        }
        // There is nothing in it.
        _ => Ok(true),
    }
}

/// Makes room for what takes a name.
fn replace(at: &Dir, name: &OsStr) -> io::Result<()> {
    match at.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the report into the quarantine of a store, if there is anything odd.
pub(super) fn note(store: &Dir, report: &Report) -> Result<(), AdoptionError> {
    let shown = store.shown(DIRECTORY).join("report.json");
    let (name, new) = (OsStr::new("report.json"), OsStr::new("report.new"));
    let write = || -> io::Result<()> {
        if report.odd.is_empty() {
            return match store.open_dir(DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                opened => replace(&opened?, name),
            };
        }
        let directory = make_all(store, Path::new(DIRECTORY))?;
        replace(&directory, new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = directory.open_file(new, flags, Mode::RUSR | Mode::WUSR)?;
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        file.write_all(&text)?;
        directory.rename(new, &directory, name, RenameFlags::empty())
    };
    write().map_err(about(&shown))
}

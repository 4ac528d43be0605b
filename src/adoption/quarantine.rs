//! The quarantine: copies of what an import found and a store cannot hold, for administrators.
//!
//! `STORE/quarantine/tree/<path>` holds entries of the registry's tree, `STORE/quarantine/beside/
//! <path>` entries outside it, and `STORE/quarantine/report.json` the report of the import. No link
//! in it is followed, and nothing in it is served.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RenameFlags};

use super::directory_path::create_path;
use super::error::{AdoptionError, about};
use super::import_report::ImportReport;
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{TransferMode, transfer};

/// The name of the quarantine in the store.
const DIRECTORY: &str = "quarantine";
/// The directories in it for entries of the registry's tree, and for entries outside it.
pub(super) const TREE: &str = "tree";
pub(super) const UNMANAGED: &str = "beside";
/// The length of the longest file that is copied, in bytes. A longer one is copied only by
/// reference; otherwise the report has only its path.
const COPIED_MAX: u64 = 64 << 20;

/// The quarantine of a store.
#[derive(Debug)]
pub(super) struct Quarantine<'a> {
    store: &'a Dir,
}

impl<'a> Quarantine<'a> {
    /// Returns the quarantine of a store.
    pub(super) fn of(store: &'a Dir) -> Self {
        Self { store }
    }

    /// Copies the entry of a name in the directory `at`, whose path is `path` below `part`. Returns
    /// `false` if a part of it is too large or cannot be read.
    pub(super) fn copy(&self, part: &str, at: &Dir, path: &Path, name: &OsStr) -> bool {
        let below: PathBuf = [Path::new(DIRECTORY), Path::new(part), path]
            .iter()
            .collect();
        let copied = create_path(self.store, &below, Mode::RWXU).and_then(|to| copy(at, &to, name));
        copied.unwrap_or_else(|error| {
            let path = printable(at.shown(name));
            log::warn!("{path} cannot be copied into the quarantine: {error}");
            false
        })
    }
}

/// Copies a file, or a directory with its content. Returns `false` if a part of it is too large.
fn copy(from: &Dir, to: &Dir, name: &OsStr) -> io::Result<bool> {
    match FileType::from_raw_mode(from.metadata(name)?.st_mode) {
        FileType::Directory => {
            let (from, to) = (from.open_dir(name)?, to.ensure_dir(name, Mode::RWXU)?);
            let entries: io::Result<Vec<_>> = from.entries()?.collect();
            let mut whole = true;
            for entry in entries? {
                whole &= copy(&from, &to, &entry.name)?;
            }
            Ok(whole)
        }
        FileType::Symlink => {
            let target = from.read_link(name)?;
            remove_existing(to, name)?;
            to.make_link(&target, name)?;
            Ok(true)
        }
        FileType::RegularFile => {
            let file = from.open_file(name, OFlags::RDONLY, Mode::empty())?;
            remove_existing(to, name)?;
            let mode = Mode::RUSR | Mode::WUSR;
            if transfer(&file, to, name, TransferMode::Reflink, mode).is_ok() {
                return Ok(true);
            }
            if file.metadata()?.len() > COPIED_MAX {
                return Ok(false);
            }
            transfer(&file, to, name, TransferMode::Copy, mode).map(|_| true)
        }
        // A special file has no content.
        _ => Ok(true),
    }
}

/// Removes a file if it exists, so that another can take its name.
fn remove_existing(at: &Dir, name: &OsStr) -> io::Result<()> {
    match at.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the report into the quarantine of a store. Without findings a report of an earlier import
/// is removed instead.
pub(super) fn write_report(store: &Dir, report: &ImportReport) -> Result<(), AdoptionError> {
    let shown = store.shown(DIRECTORY).join("report.json");
    let (name, new) = (OsStr::new("report.json"), OsStr::new("report.new"));
    let write = || -> io::Result<()> {
        if report.findings.is_empty() {
            return match store.open_dir(DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                opened => remove_existing(&opened?, name),
            };
        }
        let directory = create_path(store, Path::new(DIRECTORY), Mode::RWXU)?;
        remove_existing(&directory, new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = directory.open_file(new, flags, Mode::RUSR | Mode::WUSR)?;
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        file.write_all(&text)?;
        directory.rename(new, &directory, name, RenameFlags::empty())
    };
    write().map_err(about(&shown))
}

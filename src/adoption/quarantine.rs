//! Quarantine: what a plain tree held that cannot be in a store, kept for people to look at.
//!
//! `STORE/quarantine/tree/<path>` holds it as it was, `STORE/quarantine/report.json` says why.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::about;
use super::{AdoptionError, Report};
use crate::dir::Dir;

/// Its name in the store.
const DIRECTORY: &str = "quarantine";
/// Largest file that is copied from another filesystem, in bytes: of larger ones only the path
/// is noted.
const COPIED_MAX: u64 = 64 << 20;

/// A store's quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    tree: PathBuf,
    source: PathBuf,
}

impl Quarantine {
    /// The quarantine of a store, for what comes from below `source`.
    pub(super) fn of(store: &Dir, source: &Path) -> Self {
        Self {
            tree: store.through(DIRECTORY).join("tree"),
            source: source.to_owned(),
        }
    }

    /// Keeps what is at a path; whether it could be read and was not too large.
    pub(super) fn keep(&self, path: &Path) -> bool {
        let (from, to) = (self.source.join(path), self.tree.join(path));
        match to.parent().map(fs::create_dir_all) {
            Some(Ok(())) => {}
            _ => return false,
        }
        match keep(&from, &to) {
            Ok(whole) => whole,
            Err(error) => {
                log::warn!("{} cannot be set aside: {error}", from.display());
                false
            }
        }
    }
}

/// Keeps a file, or a directory with all that is in it; whether all of it.
fn keep(from: &Path, to: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(from)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        let mut whole = true;
        for row in fs::read_dir(from)? {
            let name = row?.file_name();
            whole &= keep(&from.join(&name), &to.join(&name))?;
        }
        return Ok(whole);
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        // There is nothing in it.
        return Ok(true);
    }
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        return Ok(true);
    }
    if metadata.len() > COPIED_MAX {
        return Ok(fs::hard_link(from, to).is_ok());
    }
    fs::copy(from, to).map(|_| true)
}

/// Writes the report into the quarantine of a store, if there is anything odd.
pub(super) fn note(store: &Dir, report: &Report) -> Result<(), AdoptionError> {
    let directory = store.through(DIRECTORY);
    let path = directory.join("report.json");
    if report.odd.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(&path)(error)),
            _ => Ok(()),
        };
    }
    fs::create_dir_all(&directory).map_err(about(&directory))?;
    let new = directory.join("report.new");
    let mut file = fs::File::create(&new).map_err(about(&new))?;
    let mut text = serde_json::to_vec_pretty(report).unwrap_or_default();
    text.push(b'\n');
    file.write_all(&text).map_err(about(&new))?;
    fs::rename(&new, &path).map_err(about(&path))
}

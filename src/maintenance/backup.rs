//! Backup: the facts of a snapshot and every blob they name, in a directory that is a store itself.
//!
//! Blobs never change, so that a second backup into the same directory copies only new blobs; blobs
//! that are no longer needed are removed last. The index is written under another name and replaces
//! the old one in one step: an interrupted backup leaves the previous one intact. Unfinished
//! uploads are not in a backup, since nobody could resume them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, RenameFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::{FsckReport, Progress, Severity, StoreFault};
use crate::blobs::{
    Area, Blobs, BlobsError, ImportSource, LocalBlobs, StoredBlob, TransferMode, other_writers,
};
use crate::digest::Digest;
use crate::dir::{Dir, FilePath};
use crate::index::{INDEX_FILE, IndexError, JOURNAL_DIRECTORY, detach_journal};
use crate::layout::Node;
use crate::registry::{BACKUP_MARK, Error, Registry, Snapshot, Value, holds, is_backup};

/// The content of the mark, for people.
const TEXT: &str = "A backup of a regfs store. It can be listed, mounted with -o ro, and \
                    restored; the next backup into this directory replaces it.\n";
/// Blobs that are removed at once.
const LISTED_AT_ONCE: usize = 10_000;
/// The name of the index while it is being copied.
const INDEX_COPY: &str = "index.copy";

/// What a backup copied and removed, and the faults of its store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackupReport {
    /// Blobs in the backup that are files.
    pub blobs: u64,
    /// Blobs that this backup copied.
    pub new: u64,
    /// The bytes of these.
    pub new_bytes: u64,
    /// Blobs that were removed from the backup because the store has removed them.
    pub removed: u64,
    /// Blobs that the index names but whose files are missing.
    pub missing: u64,
    /// Blobs that were left out because their bytes do not have their digest.
    pub damaged: u64,
    /// Faults of the store that the trash cannot repair.
    pub faults: BTreeMap<StoreFault, u64>,
    /// Faults that restoring blobs from the trash would repair.
    pub in_trash: BTreeMap<StoreFault, u64>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl BackupReport {
    /// Returns `true` if the store has faults, which the backup then has too.
    pub fn is_of_a_damaged_store(&self) -> bool {
        self.missing > 0 || self.damaged > 0 || !self.faults.is_empty()
    }

    /// Adds the faults that a check of the store found.
    pub fn add_faults(&mut self, check: FsckReport) {
        self.in_trash = check.in_trash;
        self.in_trash
            .retain(|fault, _| fault.severity() != Severity::Note);
        let faults = check.counts.into_iter().filter_map(|(fault, count)| {
            let mended = self.in_trash.get(&fault).copied().unwrap_or_default();
            let left = count.saturating_sub(mended);
            (fault.severity() != Severity::Note && left > 0).then_some((fault, left))
        });
        self.faults = faults.collect();
    }
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backed up: the index, and {} blobs that are files, {} of them ({} bytes) new; \
             {} removed; {:.1} s",
            self.blobs, self.new, self.new_bytes, self.removed, self.seconds
        )?;
        if self.is_of_a_damaged_store() {
            write!(
                f,
                "; THE STORE IS DAMAGED, and so is this backup: {} blobs are missing, {} damaged \
                 blobs are left out",
                self.missing, self.damaged
            )?;
            if !self.faults.is_empty() {
                write!(f, "; {}", listed(&self.faults))?;
            }
            write!(f, ": run regfs fsck")?;
        }
        if !self.in_trash.is_empty() {
            let faults = listed(&self.in_trash);
            write!(
                f,
                "; warning: images need blobs in the trash, which no backup includes: {faults}: \
                 regfs fsck lists them, regfs undelete restores them"
            )?;
        }
        Ok(())
    }
}

/// Returns faults and their counts, for people.
fn listed(faults: &BTreeMap<StoreFault, u64>) -> String {
    let counts = faults
        .iter()
        .map(|(fault, count)| format!("{fault}: {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// What a restored store consists of.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct RestoreReport {
    /// Blobs that are files.
    pub blobs: u64,
    /// Blobs that were copied; the others share their bytes with the backup.
    pub copied: u64,
    /// The bytes of the copied blobs.
    pub copied_bytes: u64,
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "restored: all facts, and {} blobs that are files: {} of them copied ({} bytes), the \
             others sharing their bytes with the backup",
            self.blobs, self.copied, self.copied_bytes
        )
    }
}

/// Returns a function that adds a path to an I/O error.
fn about(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::Blobs(BlobsError::System { path, error })
}

/// Makes a directory ready for backups: it must not exist, be empty, or be a backup already.
/// Returns it.
///
/// # Errors
/// [`Error::Store`] for a directory that holds something else; the failure to create or mark it.
pub fn prepare(target: &Path) -> Result<Dir, Error> {
    let made = fs::DirBuilder::new().mode(0o700).create(target);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(about(target)(error));
        }
        Err(_) | Ok(()) => {}
    }
    let dir = Dir::open(target).map_err(about(target))?;
    if !is_backup(&dir)? && !is_unused(&dir)? {
        return Err(Error::Store {
            path: target.display().to_string(),
            reason: "it is neither empty nor a backup".into(),
        });
    }
    let mark = FilePath::new(&dir, BACKUP_MARK);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let marked = mark.open(flags, Mode::RUSR | Mode::WUSR);
    let marked = marked.and_then(|mut file| file.write_all(TEXT.as_bytes()));
    marked.map_err(|error| about(&dir.shown(BACKUP_MARK))(error))?;
    Ok(dir)
}

/// Returns `true` if a directory contains nothing but the lock file of the caller.
fn is_unused(dir: &Dir) -> Result<bool, Error> {
    for row in dir.entries().map_err(about(dir.path()))? {
        if row.map_err(about(dir.path()))?.name != "lock" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Backs a registry up into a directory that was [prepared](prepare) and whose lock the caller
/// holds. `progress` counts the blobs.
///
/// # Errors
/// [`Error::Stopped`] once `progress` is stopped; the failure of a read or write. The previous
/// backup is still intact then.
pub fn back_up(
    registry: &Registry,
    target: &Dir,
    progress: &Progress,
) -> Result<BackupReport, Error> {
    progress.begin("blobs");
    let copies = LocalBlobs::open(target)?;
    let snapshot = registry.snapshot()?;
    let mut report = BackupReport::default();
    snapshot.blobs(|fact| {
        let (Node::BlobData(digest), Value::Blob { size, .. }) = fact else {
            return Ok(());
        };
        progress.count()?;
        back_up_blob(&snapshot, &copies, &digest, size, &mut report)
    })?;
    copies.sync()?;
    // A command that opened the backup left a journal, which does not belong to the new facts.
    let journal = target.through(JOURNAL_DIRECTORY);
    match fs::remove_dir_all(&journal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(about(&journal)(error));
        }
        Err(_) | Ok(()) => {}
    }
    snapshot.index().copy(target, INDEX_FILE)?;
    prune(&copies, &snapshot, &mut report)?;
    Ok(report)
}

/// Copies a blob that is a file, unless the backup has it.
fn back_up_blob(
    snapshot: &Snapshot<'_>,
    copies: &LocalBlobs,
    digest: &Digest,
    size: u64,
    report: &mut BackupReport,
) -> Result<(), Error> {
    let blob = snapshot.index().view().blobs().get(digest)?;
    if blob.is_some_and(|blob| blob.inline) {
        return Ok(());
    }
    report.blobs += 1;
    if copies
        .open(Area::Live, digest)
        .is_ok_and(|known| known.len() == size)
    {
        return Ok(());
    }
    let reading = match snapshot.open(digest) {
        Err(error) if error.is_missing_blob() => {
            log::error!("{error}");
            report.missing += 1;
            return Ok(());
        }
        Err(error) if error.is_damaged_blob() => {
            log::error!("{error}");
            report.damaged += 1;
            return Ok(());
        }
        reading => reading?,
    };
    if let Some(file) = reading.file() {
        copies.import(
            Area::Live,
            digest,
            ImportSource::File(file, TransferMode::Copy),
        )?;
    } else {
        let file = memory_file(&reading.read_all()?).map_err(about(Path::new("memory")))?;
        copies.import(
            Area::Live,
            digest,
            ImportSource::File(&file, TransferMode::Copy),
        )?;
    }
    report.new += 1;
    report.new_bytes += size;
    Ok(())
}

/// Returns a file in memory with these bytes, for a blob that has no file: after a crash, opening a
/// store read-only keeps recovered bytes in memory.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("blob", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Removes blobs that the snapshot does not name.
fn prune(
    copies: &LocalBlobs,
    snapshot: &Snapshot<'_>,
    report: &mut BackupReport,
) -> Result<(), Error> {
    let mut last = None;
    loop {
        let page = copies.list(Area::Live, last.as_ref(), LISTED_AT_ONCE)?;
        let Some(end) = page.last() else {
            return Ok(());
        };
        last = Some(end.digest);
        for row in page {
            let blob = snapshot.index().view().blobs().stored(&row.digest)?;
            if blob.is_none_or(|blob| blob.inline) {
                copies.remove(Area::Live, &row.digest, None)?;
                report.removed += 1;
            }
        }
    }
}

/// Makes a new store from a backup. Blobs are transferred by `way`, or by the cheapest way after
/// which only the store's owner can write them. `progress` counts the blobs.
///
/// # Errors
/// [`Error::Store`] if there is no backup or the store is not empty; [`Error::Stopped`] once
/// `progress` is stopped; the failure of a read or write.
pub fn restore(
    backup: &Dir,
    store: &Dir,
    way: Option<TransferMode>,
    progress: &Progress,
) -> Result<RestoreReport, Error> {
    progress.begin("blobs");
    let refused = |dir: &Dir, reason: &str| Error::Store {
        path: dir.path().display().to_string(),
        reason: reason.into(),
    };
    if !is_backup(backup)? || !holds(backup, INDEX_FILE)? {
        return Err(refused(backup, "it holds no backup"));
    }
    if !is_unused(store)? {
        return Err(refused(
            store,
            "it is not empty: a backup is restored into a new store",
        ));
    }
    let (from, to) = (LocalBlobs::open(backup)?, LocalBlobs::open(store)?);
    let report = restore_blobs(&from, &to, way, progress)?;
    to.sync()?;
    // The index is copied last, since it makes the directory a store.
    copy_index(backup, store)?;
    to.sync()?;
    Ok(report)
}

fn restore_blobs(
    from: &LocalBlobs,
    to: &LocalBlobs,
    way: Option<TransferMode>,
    progress: &Progress,
) -> Result<RestoreReport, Error> {
    let (mut last, mut report) = (None, RestoreReport::default());
    loop {
        let page = from.list(Area::Live, last.as_ref(), LISTED_AT_ONCE)?;
        let Some(end) = page.last() else {
            return Ok(report);
        };
        last = Some(end.digest);
        for StoredBlob { digest, len, .. } in page {
            progress.count()?;
            let content = from.open(Area::Live, &digest)?;
            let file = content.file().ok_or(BlobsError::Missing(digest))?;
            let way = way.map_or_else(|| cheapest(to, file), Ok)?;
            if to.import(Area::Live, &digest, ImportSource::File(file, way))? == TransferMode::Copy
            {
                report.copied += 1;
                report.copied_bytes += len;
            }
            report.blobs += 1;
        }
    }
}

/// Returns the cheapest way to make a file a blob that only the store's owner can write.
fn cheapest(blobs: &LocalBlobs, file: &File) -> Result<TransferMode, Error> {
    let shareable = blobs.filesystem().shareable(file)?;
    let others = || {
        other_writers(file, blobs.filesystem().owner()?).map_err(about(Path::new("a blob's file")))
    };
    Ok(if shareable.by_reference {
        TransferMode::Reflink
    } else if shareable.by_link && others()?.is_none() {
        TransferMode::Link
    } else {
        TransferMode::Copy
    })
}

/// Copies an index durably. It gets its name only when it is complete.
fn copy_index(backup: &Dir, store: &Dir) -> Result<(), Error> {
    let (index, new) = (
        FilePath::new(store, INDEX_FILE),
        FilePath::new(store, INDEX_COPY),
    );
    let copy = || -> io::Result<()> {
        new.remove()?;
        let mut source = FilePath::new(backup, INDEX_FILE).read()?;
        let mut target = new.create(Mode::RUSR | Mode::WUSR)?;
        io::copy(&mut source, &mut target)?;
        rustix::fs::fsync(&target)?;
        Ok(())
    };
    copy().map_err(about(&store.shown(INDEX_COPY)))?;
    // A command that opened the backup has left a journal there, which is not copied.
    detach_journal(store, INDEX_COPY).map_err(IndexError::from)?;
    let renamed = new.rename(&index, RenameFlags::empty());
    renamed.map_err(about(&store.shown(INDEX_FILE)))
}

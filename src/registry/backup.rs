//! Backup: the facts of one moment and every blob they name, in a directory that is a store
//! itself.
//!
//! Blobs never change, so that a second backup into the same directory brings only what is new;
//! what is not needed any more goes last. Facts are written anew, under another name, and take
//! the place of the old ones in one step: a backup that was interrupted leaves the one before.
//! Uploads that are under way are not in a backup: nobody could go on with them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Error, Fact, Moment, Registry, open};
use crate::blobs::{Blobs, BlobsError, Local, Way};
use crate::digest::Digest;
use crate::dir::Dir;
use crate::index::INDEX_FILE;

/// What says that a directory is a backup.
const MARK: &str = "backup";
/// What it says to who looks.
const TEXT: &str = "A backup of a regfs store. It may be looked into, mounted with -o ro, and \
                    restored; the next backup into it replaces what it holds.\n";
/// Blobs that are removed at once.
const LISTED_AT_ONCE: usize = 10_000;

/// What a backup has brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackedUp {
    /// Blobs in the backup that are files.
    pub blobs: u64,
    /// Those that were not there before.
    pub new: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Blobs that are not needed any more, and are gone.
    pub removed: u64,
    /// Blobs that the facts name but whose bytes were not there.
    pub missing: u64,
}

fn about(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::Blobs(BlobsError::System { path, error })
}

/// Whether a directory holds a backup.
pub fn is_backup(directory: &Path) -> bool {
    directory.join(MARK).exists()
}

/// Makes a directory a place for backups, if it is new, empty, or one already.
pub fn prepare(target: &Path) -> Result<(), Error> {
    match fs::create_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(about(target)(error));
        }
        Err(_) | Ok(()) => {}
    }
    let mut others = fs::read_dir(target).map_err(about(target))?.flatten();
    if !is_backup(target) && others.any(|row| row.file_name() != "lock") {
        return Err(Error::Store {
            path: target.display().to_string(),
            reason: "it is neither empty nor a backup".into(),
        });
    }
    fs::write(target.join(MARK), TEXT).map_err(about(target))
}

impl Registry {
    /// Backs everything up into a directory that was [prepared](prepare), whose lock the caller
    /// holds. `told` hears how many
    /// blobs were looked at, and says whether to go on.
    pub fn backup(
        &self,
        target: &Path,
        mut told: impl FnMut(u64) -> bool,
    ) -> Result<BackedUp, Error> {
        let kept = Local::open(target)?;
        let moment = self.moment()?;
        let mut done = BackedUp::default();
        moment.blobs(|fact| {
            let Fact::Blob { digest, size, .. } = fact else {
                return Ok(());
            };
            if !told(1) {
                return Err(Error::Stopped);
            }
            moment.back_up(&kept, target, &digest, size, &mut done)
        })?;
        kept.settle()?;
        // Who looked into the backup has left a journal, which is not of the new facts.
        let journal = open::journal(target);
        match fs::remove_dir_all(&journal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about(&journal)(error));
            }
            Err(_) | Ok(()) => {}
        }
        let dir = Dir::open(target).map_err(about(target))?;
        moment.index().copy(&dir, INDEX_FILE)?;
        prune(&kept, &moment, &mut done)?;
        Ok(done)
    }
}

impl Moment<'_> {
    /// Brings a blob that is a file, unless it is there.
    fn back_up(
        &self,
        kept: &Local,
        target: &Path,
        digest: &Digest,
        size: u64,
        done: &mut BackedUp,
    ) -> Result<(), Error> {
        let blob = self.index().view().blob(digest)?;
        if blob.is_some_and(|blob| blob.inline) {
            return Ok(());
        }
        done.blobs += 1;
        if kept.open(digest).is_ok_and(|known| known.len() == size) {
            return Ok(());
        }
        let brought = target
            .join("staging")
            .join(format!("{}.copy", digest.hex()));
        match fs::remove_file(&brought) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about(&brought)(error));
            }
            Err(_) | Ok(()) => {}
        }
        match self.give(digest, &brought, Way::Copy) {
            Err(error) if error.is_missing_blob() => {
                log::error!("{error}");
                done.missing += 1;
                return Ok(());
            }
            given => given?,
        };
        kept.take(&brought, digest, Way::Move)?;
        done.new += 1;
        done.new_bytes += size;
        Ok(())
    }
}

/// Removes blobs that the newest facts do not name.
fn prune(kept: &Local, moment: &Moment<'_>, done: &mut BackedUp) -> Result<(), Error> {
    let mut last = None;
    loop {
        let page = kept.list(last.as_ref(), LISTED_AT_ONCE)?;
        let Some((end, _)) = page.last() else {
            return Ok(());
        };
        last = Some(*end);
        for (digest, _) in page {
            let blob = moment.index().view().blob(&digest)?;
            if !blob.is_some_and(|blob| blob.present && !blob.inline) {
                kept.remove(&digest)?;
                done.removed += 1;
            }
        }
    }
}

/// Makes a new store of a backup; blobs come in this way. How many.
pub fn restore(
    backup: &Path,
    store: &Path,
    way: Way,
    mut told: impl FnMut(u64) -> bool,
) -> Result<u64, Error> {
    let refused = |path: &Path, reason: &str| Error::Store {
        path: path.display().to_string(),
        reason: reason.into(),
    };
    if !is_backup(backup) || !open::exists(backup) {
        return Err(refused(backup, "it holds no backup"));
    }
    let mut others = fs::read_dir(store).map_err(about(store))?.flatten();
    if others.any(|row| row.file_name() != "lock") {
        return Err(refused(
            store,
            "it is not empty: a backup makes a new store",
        ));
    }
    let (from, to) = (Local::open(backup)?, Local::open(store)?);
    let (mut last, mut count) = (None, 0);
    loop {
        let page = from.list(last.as_ref(), LISTED_AT_ONCE)?;
        let Some((end, _)) = page.last() else { break };
        last = Some(*end);
        for (digest, _) in page {
            if !told(1) {
                return Err(Error::Stopped);
            }
            let brought = store.join("staging").join(format!("{}.copy", digest.hex()));
            from.give(&digest, &brought, way)?;
            to.take(&brought, &digest, Way::Move)?;
            count += 1;
        }
    }
    to.settle()?;
    // The index last: before it is there this is no store.
    let (index, new) = (open::index(store), store.join("index.copy"));
    fs::copy(open::index(backup), &new).map_err(about(&new))?;
    File::open(&new)
        .and_then(|file| rustix::fs::fsync(&file).map_err(Into::into))
        .map_err(about(&new))?;
    fs::rename(&new, &index).map_err(about(&index))?;
    to.settle()?;
    Ok(count)
}

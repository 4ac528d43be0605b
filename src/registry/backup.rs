//! Backup: the facts of one moment and every blob they name, in a directory that is a store
//! itself.
//!
//! Blobs never change, so that a second backup into the same directory brings only what is new;
//! what is not needed any more goes last. Facts are written anew, under another name, and take
//! the place of the old ones in one step: a backup that was interrupted leaves the one before.
//! Uploads that are under way are not in a backup: nobody could go on with them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, RenameFlags, memfd_create};

use super::staging::whole;
use super::{Error, Moment, Registry, Value, open};
use crate::blobs::{Blobs, BlobsError, Local, Way, who_else_writes};
use crate::digest::Digest;
use crate::dir::{Dir, FilePath};
use crate::index::{INDEX_FILE, IndexError, JOURNAL_DIRECTORY, forget_journal};
use crate::layout::Node;

/// What says that a directory is a backup.
const MARK: &str = "backup";
/// What it says to who looks.
const TEXT: &str = "A backup of a regfs store. It may be looked into, mounted with -o ro, and \
                    restored; the next backup into it replaces what it holds.\n";
/// Blobs that are removed at once.
const LISTED_AT_ONCE: usize = 10_000;
/// A copy of an index that has not its name yet.
const INDEX_COPY: &str = "index.copy";

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
    /// Blobs whose bytes are known not to be what their name says.
    pub damaged: u64,
}

/// What a restored store was made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromBackup {
    /// Blobs that are files.
    pub blobs: u64,
    /// Those that were copied; the others share their bytes with the backup.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

impl fmt::Display for FromBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "restored: all facts, and {} blobs that are files: {} of them copied ({} bytes), the \
             others sharing their bytes with the backup",
            self.blobs, self.copied, self.copied_bytes
        )
    }
}

fn about(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::Blobs(BlobsError::System { path, error })
}

/// Returns `true` if a directory holds a backup.
pub fn is_backup(directory: &Dir) -> Result<bool, Error> {
    open::holds(directory, MARK)
}

/// Makes a directory a place for backups, if it is new, empty, or one already.
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
    let mark = FilePath::new(&dir, MARK);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let marked = mark.open(flags, Mode::RUSR | Mode::WUSR);
    let marked = marked.and_then(|mut file| file.write_all(TEXT.as_bytes()));
    marked.map_err(|error| about(&dir.shown(MARK))(error))?;
    Ok(dir)
}

/// Returns `true` if nothing is in a directory but the lock that its holder has made.
fn is_unused(dir: &Dir) -> Result<bool, Error> {
    for row in dir.entries().map_err(about(dir.path()))? {
        if row.map_err(about(dir.path()))?.name != "lock" {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Registry {
    /// Backs everything up into a directory that was [prepared](prepare), whose lock the caller
    /// holds. `told` hears how many
    /// blobs were looked at, and says whether to go on.
    pub fn backup(
        &self,
        target: &Dir,
        mut told: impl FnMut(u64) -> bool,
    ) -> Result<BackedUp, Error> {
        let kept = Local::open(target)?;
        let moment = self.moment()?;
        let mut done = BackedUp::default();
        moment.blobs(|fact| {
            let (Node::BlobData(digest), Value::Blob { size, .. }) = fact else {
                return Ok(());
            };
            if !told(1) {
                return Err(Error::Stopped);
            }
            moment.back_up(&kept, &digest, size, &mut done)
        })?;
        kept.settle()?;
        // Who looked into the backup has left a journal, which is not of the new facts.
        let journal = target.through(JOURNAL_DIRECTORY);
        match fs::remove_dir_all(&journal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about(&journal)(error));
            }
            Err(_) | Ok(()) => {}
        }
        moment.index().copy(target, INDEX_FILE)?;
        prune(&kept, &moment, &mut done)?;
        Ok(done)
    }
}

impl Moment<'_> {
    /// Brings a blob that is a file, unless it is there.
    fn back_up(
        &self,
        kept: &Local,
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
        let reading = match self.open(digest) {
            Err(error) if error.is_missing_blob() => {
                log::error!("{error}");
                done.missing += 1;
                return Ok(());
            }
            Err(error) if error.is_damaged_blob() => {
                log::error!("{error}");
                done.damaged += 1;
                return Ok(());
            }
            reading => reading?,
        };
        if let Some(file) = reading.file() {
            kept.take(file, digest, Way::Copy)?;
        } else {
            let held = held(&whole(&reading)?).map_err(about(Path::new("memory")))?;
            kept.take(&held, digest, Way::Copy)?;
        }
        done.new += 1;
        done.new_bytes += size;
        Ok(())
    }
}

/// A file in memory, of bytes that stand in none yet: a store that nothing may be written to was
/// not closed well.
fn held(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("blob", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
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

/// Makes a new store of a backup; blobs come in this way, or in the cheapest that leaves nobody
/// but the store's owner able to write them. `told` hears how many were looked at, and says
/// whether to go on.
pub fn restore(
    backup: &Dir,
    store: &Dir,
    way: Option<Way>,
    mut told: impl FnMut(u64) -> bool,
) -> Result<FromBackup, Error> {
    let refused = |dir: &Dir, reason: &str| Error::Store {
        path: dir.path().display().to_string(),
        reason: reason.into(),
    };
    if !is_backup(backup)? || !open::holds(backup, INDEX_FILE)? {
        return Err(refused(backup, "it holds no backup"));
    }
    if !is_unused(store)? {
        return Err(refused(
            store,
            "it is not empty: a backup makes a new store",
        ));
    }
    let (from, to) = (Local::open(backup)?, Local::open(store)?);
    let (mut last, mut done) = (None, FromBackup::default());
    loop {
        let page = from.list(last.as_ref(), LISTED_AT_ONCE)?;
        let Some((end, _)) = page.last() else { break };
        last = Some(*end);
        for (digest, len) in page {
            if !told(1) {
                return Err(Error::Stopped);
            }
            let content = from.open(&digest)?;
            let file = content.file().ok_or(BlobsError::Missing(digest))?;
            let way = way.map_or_else(|| cheapest(&to, file), Ok)?;
            if to.take(file, &digest, way)? == Way::Copy {
                done.copied += 1;
                done.copied_bytes += len;
            }
            done.blobs += 1;
        }
    }
    to.settle()?;
    // The index last: before it is there this is no store.
    copy_index(backup, store)?;
    to.settle()?;
    Ok(done)
}

/// The cheapest way in which a file becomes a blob that nobody else can write.
fn cheapest(blobs: &Local, file: &File) -> Result<Way, Error> {
    let shareable = blobs.shareable(file)?;
    let others =
        || who_else_writes(file, blobs.owner()?).map_err(about(Path::new("a blob's file")));
    Ok(if shareable.by_reference {
        Way::Reflink
    } else if shareable.by_link && others()?.is_none() {
        Way::Link
    } else {
        Way::Copy
    })
}

/// Copies an index; what has its name is durable.
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
    // Who looked into the backup has left it a journal, which does not come with it.
    forget_journal(store, INDEX_COPY).map_err(IndexError::from)?;
    let renamed = new.rename(&index, RenameFlags::empty());
    renamed.map_err(about(&store.shown(INDEX_FILE)))
}

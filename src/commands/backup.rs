//! `regfs backup` and `restore`: a store copied as of one moment, and made anew from that.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Instant;

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::{Absent, CommandError, StoreLock, about};
use crate::adoption::{self, Progress};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{self, FILES, Fault, FromBackup, Registry, Severity, Way};

/// What a backup has brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Blobs that were left out, since their bytes are known not to be what their name says.
    pub damaged: u64,
    /// Faults of the store that the trash does not put right.
    pub faults: BTreeMap<Fault, u64>,
    /// Faults that are right again once somebody takes back what is in the trash.
    pub in_trash: BTreeMap<Fault, u64>,
    /// How long it took.
    pub seconds: f64,
}

impl BackedUp {
    /// Returns `true` if the store has faults, so that the backup has them too.
    pub fn is_of_a_damaged_store(&self) -> bool {
        self.missing > 0 || self.damaged > 0 || !self.faults.is_empty()
    }
}

/// Faults and how many of each, in words.
fn listed(faults: &BTreeMap<Fault, u64>) -> String {
    let words = faults
        .iter()
        .map(|(fault, count)| format!("{fault}: {count}"));
    words.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for BackedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "backed up: all facts, {} blobs that are files, {} of them ({} bytes) new; {} gone \
             that nothing needs; {:.1} s",
            self.blobs, self.new, self.new_bytes, self.removed, self.seconds
        )?;
        if self.is_of_a_damaged_store() {
            write!(
                f,
                "; THE STORE IS DAMAGED, and so is this backup: {} blobs are missing, {} left out \
                 since they are damaged",
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
                "; warning: images need what is in the trash, which is in no backup: {faults}: regfs fsck says what, regfs undelete takes it back"
            )?;
        }
        Ok(())
    }
}

/// Backs a store up.
pub(super) fn backup(
    store: &Dir,
    registry: &Registry,
    target: &Path,
    progress: &Progress,
) -> Result<BackedUp, CommandError> {
    let began = Instant::now();
    progress.begin("blobs");
    let lock = StoreLock::hold(registry::prepare(target)?, false)?;
    let done = registry.backup(lock.dir(), |blobs| {
        progress.add(0.0, blobs);
        !progress.is_stopped()
    })?;
    copy_files(store, lock.dir())?;
    drop(lock);
    progress.begin("looking for faults");
    let mut diagnosis = registry.check_all(|_, _| {})?;
    let mut in_trash = std::mem::take(&mut diagnosis.in_trash);
    in_trash.retain(|fault, _| fault.severity() != Severity::Note);
    let faults = diagnosis.counts.into_iter().filter_map(|(fault, count)| {
        let left = count - in_trash.get(&fault).copied().unwrap_or_default().min(count);
        (fault.severity() != Severity::Note && left > 0).then_some((fault, left))
    });
    Ok(BackedUp {
        faults: faults.collect(),
        in_trash,
        damaged: done.damaged,
        blobs: done.blobs,
        new: done.new,
        new_bytes: done.new_bytes,
        removed: done.removed,
        missing: done.missing,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Makes a new store of a backup; what became of the blobs that are files.
///
/// # Errors
/// There is no backup, or something where the store should be; or what could not be read or
/// written.
pub fn restore(backup: &Path, store: &Path, way: Option<Way>) -> Result<FromBackup, CommandError> {
    let progress = Progress::default();
    super::work::watched(&progress, || {
        progress.begin("blobs");
        let from = Dir::open(backup).map_err(about(backup))?;
        if !registry::is_backup(&from)? {
            let text = format!("{} holds no backup", printable(backup));
            return Err(CommandError::Usage(text));
        }
        super::place::must_lie_elsewhere(store, &from, None)?;
        let from = StoreLock::hold(from, false)?;
        let to = StoreLock::take(store, Absent::Make)?;
        let restored = registry::restore(from.dir(), to.dir(), way, |blobs| {
            progress.add(0.0, blobs);
            true
        })?;
        copy_files(from.dir(), to.dir())?;
        Ok(restored)
    })
}

fn copy_files(from: &Dir, to: &Dir) -> Result<(), CommandError> {
    match from.open_dir(FILES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        files => {
            let files = files.map_err(about(&from.shown(FILES)))?;
            let copies = to.ensure_dir(FILES, Mode::RWXU);
            let copies = copies.map_err(about(&to.shown(FILES)))?;
            adoption::copy_files(&files, &copies)?;
        }
    }
    let opened = to.open_dir("").map_err(about(to.path()))?;
    rustix::fs::syncfs(&opened).map_err(|error| about(to.path())(error.into()))
}

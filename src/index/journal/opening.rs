//! Opening: applies a journal to its base store before anything else uses it, and sets a damaged
//! journal aside.

use std::io;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, RenameFlags};

use super::base_store;
use super::damage::JournalDamage;
use super::recovery::{self, JournalContents};
use super::segment::SEGMENT_BYTES;
use super::segments::Segments;
use super::superblock::{self, SegmentEntry, Superblock};
use crate::dir::Dir;
use crate::index::store::{Store, StoreError};

/// What opening does with a journal that lost something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recover {
    /// Fails.
    #[default]
    Refuse,
    /// Continues without the lost commits, and sets the damaged segments aside.
    Accept,
}

/// Reads the batches that the base store lacks.
///
/// # Errors
/// [`StoreError::Journal`] if the journal is damaged and `recover` does not accept that.
fn find(
    dir: &Dir,
    superblock: &Superblock,
    recover: Recover,
) -> Result<JournalContents, StoreError> {
    let found = recovery::find(dir, superblock, SEGMENT_BYTES)?;
    match &found.damage {
        Some(damage) if recover == Recover::Refuse => {
            Err(StoreError::Journal(Arc::new(damage.clone())))
        }
        Some(damage) => {
            log::error!("{damage}; the loss was accepted");
            Ok(found)
        }
        None => Ok(found),
    }
}

/// Applies a journal to its base store and leaves the journal unchanged. Returns the damage that
/// was accepted.
///
/// # Errors
/// As [`Journal::open`](super::Journal::open).
pub(in crate::index) fn replay(
    base: &dyn Store,
    dir: &Dir,
    recover: Recover,
) -> Result<Option<JournalDamage>, StoreError> {
    let superblock = Superblock::read(base)?.unwrap_or_default();
    if superblock.set_aside {
        return Ok(None);
    }
    let found = find(dir, &superblock, recover)?;
    let layer = base_store::newest(found.changes);
    base_store::apply(base, base_store::changes(&layer), superblock.change())?;
    Ok(found.damage)
}

/// Applies a journal to its base store, and starts an epoch in which nothing of the old journal is
/// needed.
fn recover_into(
    base: &dyn Store,
    dir: &Dir,
    recover: Recover,
) -> Result<(Superblock, Option<JournalDamage>), StoreError> {
    let old = Superblock::read(base)?.unwrap_or_default();
    if old.set_aside {
        set_aside(dir, old.epoch)?;
    }
    let found = find(dir, &old, recover)?;
    let layer = base_store::newest(found.changes);
    let intact = |one: &&SegmentEntry| found.intact.contains(&one.number);
    let mut superblock = Superblock {
        applied: found.last,
        epoch: found.epoch.max(old.epoch).saturating_add(1),
        id: Some(old.id.unwrap_or_else(superblock::new_id)),
        durable: 0,
        closed: false,
        set_aside: found.damage.is_some(),
        segments: old.segments.iter().filter(intact).copied().collect(),
    };
    if superblock.set_aside {
        superblock.segments.clear();
    }
    base_store::apply(base, base_store::changes(&layer), superblock.change())?;
    // Only after all readable commits are durable in the base store.
    if superblock.set_aside {
        set_aside(dir, superblock.epoch)?;
    }
    Ok((superblock, found.damage))
}

/// An opened journal.
pub(super) struct OpenedJournal {
    pub(super) superblock: Superblock,
    pub(super) segments: Segments,
    /// The damage that was accepted.
    pub(super) damage: Option<JournalDamage>,
}

/// Applies a journal to its base store, and starts an epoch with segments that are in the
/// superblock.
pub(super) fn open(
    base: &dyn Store,
    dir: &Dir,
    recover: Recover,
) -> Result<OpenedJournal, StoreError> {
    let (mut superblock, damage) = recover_into(base, dir, recover)?;
    let id = superblock.id.unwrap_or_default();
    let segments = Segments::open(dir, id, superblock.epoch, SEGMENT_BYTES)?;
    let there = segments.entries(superblock.applied);
    let known = |one: &SegmentEntry| {
        superblock
            .segments
            .iter()
            .any(|old| old.number == one.number)
    };
    if superblock.set_aside || !there.iter().all(known) {
        (superblock.set_aside, superblock.segments) = (false, there);
        base_store::apply(base, std::iter::empty(), superblock.change())?;
    }
    Ok(OpenedJournal {
        superblock,
        segments,
        damage,
    })
}

/// Moves the files of a damaged journal to a directory of their own, for examination.
fn set_aside(dir: &Dir, epoch: u64) -> io::Result<()> {
    let name = format!("damaged-{}", epoch.saturating_sub(1));
    let aside = dir.ensure_dir(name, Mode::RWXU)?;
    for row in dir.entries()? {
        let row = row?;
        if row.kind != FileType::Directory {
            dir.rename(&row.name, &aside, &row.name, RenameFlags::empty())?;
        }
    }
    aside.sync()?;
    dir.sync()
}

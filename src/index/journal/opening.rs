//! Opening: what of a journal goes into the store below before anything else is done with it,
//! and what is done with a journal that lost something.

use std::io;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, RenameFlags};

use super::damage::JournalDamage;
use super::recovery::{self, JournalContents};
use super::segment::{SEGMENT_BYTES, Segments};
use super::superblock::{self, SegmentEntry, Superblock};
use super::{applier, system};
use crate::dir::Dir;
use crate::index::store::{Store, StoreError};

/// What opening does with a journal that lost something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recover {
    /// It fails.
    #[default]
    Refuse,
    /// It goes on with what there is, and keeps the damaged segments aside.
    Accept,
}

/// Reads what the store below lacks.
///
/// # Errors
/// [`StoreError::Journal`] if something is wrong and that is not accepted.
fn find(
    dir: &Dir,
    superblock: &Superblock,
    recover: Recover,
) -> Result<JournalContents, StoreError> {
    let found = recovery::find(dir, superblock, SEGMENT_BYTES).map_err(system)?;
    match &found.damage {
        Some(damage) if recover == Recover::Refuse => {
            Err(StoreError::Journal(Arc::new(damage.clone())))
        }
        Some(damage) => {
            log::error!("{damage}; this was accepted");
            Ok(found)
        }
        None => Ok(found),
    }
}

/// Applies to a store what its journal in a directory holds behind it, and leaves the journal as
/// it is; returns what was wrong with it and accepted.
///
/// # Errors
/// As [`Journal::open`].
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
    let layer = applier::newest(found.changes);
    applier::apply(base, applier::changes(&layer), superblock.change())?;
    Ok(found.damage)
}

/// Applies what a journal holds to the store below, and brings the ledger to a new epoch, in
/// which nothing of it is needed.
fn recover_into(
    base: &dyn Store,
    dir: &Dir,
    recover: Recover,
) -> Result<(Superblock, Option<JournalDamage>), StoreError> {
    let old = Superblock::read(base)?.unwrap_or_default();
    if old.set_aside {
        set_aside(dir, old.epoch).map_err(system)?;
    }
    let found = find(dir, &old, recover)?;
    let layer = applier::newest(found.changes);
    let sound = |one: &&SegmentEntry| found.sound.contains(&one.number);
    let mut superblock = Superblock {
        applied: found.last,
        epoch: found.epoch.max(old.epoch).saturating_add(1),
        id: Some(old.id.unwrap_or_else(superblock::new_id)),
        durable: 0,
        closed: false,
        set_aside: found.damage.is_some(),
        segments: old.segments.iter().filter(sound).copied().collect(),
    };
    if superblock.set_aside {
        superblock.segments.clear();
    }
    applier::apply(base, applier::changes(&layer), superblock.change())?;
    // Not before what could be read of it is in the store below.
    if superblock.set_aside {
        set_aside(dir, superblock.epoch).map_err(system)?;
    }
    Ok((superblock, found.damage))
}

/// A journal that was opened.
pub(super) struct OpenedJournal {
    pub(super) superblock: Superblock,
    pub(super) segments: Segments,
    /// What was wrong and accepted.
    pub(super) damage: Option<JournalDamage>,
}

/// Applies what a journal holds to the store below, and begins a new epoch, in segments that are
/// recorded.
pub(super) fn open(
    base: &dyn Store,
    dir: &Dir,
    recover: Recover,
) -> Result<OpenedJournal, StoreError> {
    let (mut superblock, damage) = recover_into(base, dir, recover)?;
    let id = superblock.id.unwrap_or_default();
    let segments = Segments::open(dir, id, superblock.epoch, SEGMENT_BYTES).map_err(system)?;
    let there = segments.entries(superblock.applied);
    let known = |one: &SegmentEntry| {
        superblock
            .segments
            .iter()
            .any(|old| old.number == one.number)
    };
    if superblock.set_aside || !there.iter().all(known) {
        (superblock.set_aside, superblock.segments) = (false, there);
        applier::apply(base, std::iter::empty(), superblock.change())?;
    }
    Ok(OpenedJournal {
        superblock,
        segments,
        damage,
    })
}

/// Keeps damaged segments for who wants to look at them, out of the way of those of a new epoch.
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

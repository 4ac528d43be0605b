//! Changes: what an operation did to the files and directories that others may look at, so that
//! caches above the tree can be corrected.

use super::Place;

/// A change of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChange {
    /// The place that is different now.
    pub place: Place,
    /// How.
    pub kind: ChangeKind,
    /// `true` if this is what the caller asked for by name, `false` if it is a consequence that
    /// the caller cannot know of. Of an added place that nobody asked for, directories above may
    /// be new as well.
    pub requested: bool,
}

/// How a place changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It exists now.
    Added,
    /// It does not exist any more.
    Removed,
    /// Its content, attributes or entries are different.
    Modified,
    /// The file or directory that it was is at another place now.
    RenamedTo(Place),
    /// It and another place changed their files, with everything below.
    ExchangedWith(Place),
}

impl TreeChange {
    fn of(place: Place, kind: ChangeKind) -> Self {
        Self {
            place,
            kind,
            requested: false,
        }
    }

    /// A place that exists now.
    pub(super) fn added(place: Place) -> Self {
        Self::of(place, ChangeKind::Added)
    }

    /// A place that does not exist any more.
    pub(super) fn removed(place: Place) -> Self {
        Self::of(place, ChangeKind::Removed)
    }

    /// A place that looks different.
    pub(super) fn modified(place: Place) -> Self {
        Self::of(place, ChangeKind::Modified)
    }

    /// A file or directory that has another place now.
    pub(super) fn renamed(from: Place, to: Place) -> Self {
        Self::of(from, ChangeKind::RenamedTo(to))
    }

    /// Two places that have each other's files now.
    pub(super) fn exchanged(one: Place, other: Place) -> Self {
        Self::of(one, ChangeKind::ExchangedWith(other))
    }

    /// The same change, as what the caller asked for.
    #[must_use]
    pub(super) fn requested(self) -> Self {
        Self {
            requested: true,
            ..self
        }
    }
}

/// Returns every place that looks different after changes, unless the only one is the file that
/// the caller has open.
pub(super) fn visible_to_others(changes: &[TreeChange]) -> Vec<Place> {
    let renamed = |change: &TreeChange| matches!(change.kind, ChangeKind::RenamedTo(_));
    let modified = |change: &TreeChange| change.kind == ChangeKind::Modified;
    if changes.iter().any(renamed) && !changes.iter().any(modified) {
        return Vec::new();
    }
    let places = changes.iter().flat_map(|change| {
        let itself = matches!(change.kind, ChangeKind::Modified | ChangeKind::Removed);
        let entries = matches!(change.kind, ChangeKind::Added | ChangeKind::Removed);
        let above = entries.then(|| change.place.above()).into_iter().flatten();
        above.chain(itself.then(|| change.place.clone()))
    });
    places.collect()
}

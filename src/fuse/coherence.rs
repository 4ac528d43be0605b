//! Coherence: the only place that tells the kernel to drop what it caches.
//!
//! The kernel caches names, attributes, listings and content without limit of time, and knows of
//! what it asks for itself: the names in the directory of a request, and the attributes in a
//! reply. The tree says what else an operation changed ([`TreeChange`]); from that follows here
//! which inodes the kernel must drop, and under which number it knows a file that has moved:
//!
//! - A modified place: its inode.
//! - An added or removed place that was not asked for: the listing of each directory above, as
//!   far as the kernel may have cached it, since directories above may have come or gone too. Of
//!   a removed one the inode and its directory as well: the kernel then asks for them, and learns
//!   that they are gone.
//! - A removed place that was asked for: listings of directories that went with it.
//! - A revision that came or went: the listing that shows its repository's layers, since a
//!   repository with a revision has that directory even if nobody made it.
//! - Changed permissions: what users could see of the directory, or below it, without asking.
//!
//! The kernel is notified before the request is answered, so that the caller sees its own change.
//! Separate threads do that: while a request is under way the kernel may hold a lock that it needs
//! to drop something, and a thread that serves requests must not wait for that lock.

use std::ffi::OsStr;

use super::access::{EXECUTE, READ};
use super::errno::logged;
use super::service::Service;
use crate::tree::{ChangeKind, FileKind, Permissions, Place, Relocation, TreeChange, TreeError};

mod kernel_cache;

pub(super) use kernel_cache::{Coherent, KernelCache};

/// What the kernel asked for by the request that changed something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// Another name in the directory of an inode.
    NewName,
    /// Names taken from the directories of these inodes.
    Names(&'a [u64]),
    /// Something about an inode, or a file that is open on it.
    Inode(u64),
}

impl Service {
    /// Returns `value` with the inodes that the kernel must drop after changes, and gives inodes
    /// their new places.
    pub(super) fn after<T>(
        &self,
        value: T,
        origin: Origin<'_>,
        changes: &[TreeChange],
    ) -> Coherent<T> {
        if let Origin::Names(directories) = origin {
            for directory in directories {
                self.inodes.bump_listing_version(*directory);
            }
        }
        let mut stale = Vec::new();
        for change in changes {
            if change.requested {
                self.after_requested(change, &mut stale);
            } else {
                self.after_consequence(change, origin, &mut stale);
            }
        }
        Coherent { value, stale }
    }

    /// After a change that the kernel asked for.
    fn after_requested(&self, change: &TreeChange, stale: &mut Vec<u64>) {
        let place = &change.place;
        match &change.kind {
            ChangeKind::Added => stale.extend(self.listing_of_implied(place)),
            ChangeKind::Removed => {
                self.inodes.removed(place);
                self.listings_of_vanished(place, stale);
                stale.extend(self.listing_of_implied(place));
            }
            // The reply has the new attributes.
            ChangeKind::Modified => {}
            ChangeKind::RenamedTo(new) => {
                self.move_inodes(place, new);
                let implied = [new, place].map(|place| self.listing_of_implied(place));
                stale.extend(implied.into_iter().flatten());
            }
            ChangeKind::ExchangedWith(other) => self.inodes.exchanged(place, other),
        }
    }

    /// After a change that the kernel cannot know of.
    fn after_consequence(&self, change: &TreeChange, origin: Origin<'_>, stale: &mut Vec<u64>) {
        let place = &change.place;
        match &change.kind {
            ChangeKind::Added => self.listings_above(place, stale),
            ChangeKind::Removed => {
                let directory = place.above().next();
                let gone = directory.iter().chain([place]);
                stale.extend(gone.filter_map(|place| self.inodes.number(place)));
                self.listings_above(place, stale);
            }
            ChangeKind::Modified => stale.extend(self.inodes.number(place)),
            ChangeKind::RenamedTo(new) => {
                if let Origin::Inode(ino) = origin
                    && let Some(old) = self.inodes.place(ino)
                {
                    self.inodes.became(&old, new);
                }
            }
            ChangeKind::ExchangedWith(other) => self.inodes.exchanged(place, other),
        }
    }

    /// The listings of all directories above a place.
    fn listings_above(&self, place: &Place, stale: &mut Vec<u64>) {
        let above = place.above();
        stale.extend(above.filter_map(|directory| self.inodes.invalidate_listing(&directory)));
    }

    /// The listings that showed directories which are gone with a place that was removed.
    fn listings_of_vanished(&self, removed: &Place, stale: &mut Vec<u64>) {
        let gone =
            |place: &Place| matches!(self.tree.metadata().get(place), Err(TreeError::NotFound));
        let vanished = removed.above().take_while(gone);
        let listings = vanished.filter_map(|gone| gone.above().next());
        stale.extend(listings.filter_map(|directory| self.inodes.invalidate_listing(&directory)));
    }

    /// The listing of the directory that a place implies, after the place came or went.
    fn listing_of_implied(&self, place: &Place) -> Option<u64> {
        let implied = place.implies()?;
        // A directory that was made exists in any case.
        if self.tree.is_cacheable(&implied).unwrap_or_default() {
            return None;
        }
        self.inodes.invalidate_listing(&implied.above().next()?)
    }

    /// A place was renamed: its inode number goes with it, and those of everything below.
    fn move_inodes(&self, old: &Place, new: &Place) {
        if let Some(relocation) = Relocation::of(old, new) {
            return self.relocate(new, &relocation);
        }
        // A plain file or an upload's data that was replaced stays what it was for those who have
        // it open. A fact is read by its place, by whichever number.
        if new.is_replaced() && new != old {
            self.inodes.removed(new);
        }
        self.inodes.became(old, new);
        if let (Place::Plain(from), Place::Plain(to)) = (old, new)
            && let Ok(now) = self.tree.metadata().get(new)
            && now.kind == FileKind::Directory
        {
            self.inodes.moved_along(from, to);
        }
    }

    /// A part of the layout was renamed: so were the files open below it, and the places at which
    /// listings continue.
    fn relocate(&self, new: &Place, relocation: &Relocation) {
        if relocation.place(new).is_none() {
            // The empty directory that had this name is gone.
            self.inodes.removed(new);
        }
        self.inodes.relocated(relocation);
        self.files
            .replace(|handle| self.tree.relocated(handle, relocation));
        self.listings.forget_pages();
    }

    /// A name was moved into a directory from another one. The kernel caches it for as long as it
    /// did there, and must drop it where not every user may search.
    pub(super) fn drop_private_name(&self, directory: &Place, (ino, name): (u64, &OsStr)) {
        let permissions = self.tree.metadata().permissions(directory);
        if !permissions.is_ok_and(|of| of.allow_all(EXECUTE)) {
            self.cache.drop_names_later(vec![(ino, name.to_owned())]);
        }
    }

    /// The permissions of a place may have changed. Returns the inodes that the kernel must drop
    /// before the reply. Names that it may use from now on only after asking are dropped right
    /// after the reply: until then the kernel holds a lock of the directory for the request.
    pub(super) fn after_permissions(
        &self,
        ino: u64,
        place: &Place,
        before: Permissions,
    ) -> Vec<u64> {
        let now = match self.tree.metadata().permissions(place) {
            Ok(now) if now != before => now,
            Ok(_) | Err(_) => return Vec::new(),
        };
        let loses = |bits| before.allow_all(bits) && !now.allow_all(bits);
        let mut stale = Vec::new();
        if loses(READ) {
            stale.push(ino);
        }
        // Everything below a repository and below `blobs` shows the same permissions.
        if matches!(place, Place::Plain(_)) && !loses(EXECUTE) {
            return stale;
        }
        let mut names = Vec::new();
        let visited = self.tree.listings().visit_descendants(place, &mut |below| {
            let Some(known) = self.inodes.number(below.place) else {
                return;
            };
            if below.shows {
                stale.push(known);
            }
            if loses(EXECUTE)
                && let Some(parent) = self.inodes.number(below.parent)
            {
                names.push((parent, below.name.to_owned()));
            }
        });
        if let Err(error) = visited {
            let _number = logged(&error);
        }
        self.cache.drop_names_later(names);
        stale
    }

    /// Has the kernel drop everything that it caches, after facts have changed in another way
    /// than by its requests. Returns when that is done: not for a thread that serves requests.
    pub(super) fn drop_all(&self) {
        for (ino, place) in self.inodes.all() {
            if !matches!(self.tree.metadata().get(&place), Err(TreeError::NotFound)) {
                let _listed = self.inodes.invalidate_listing(&place);
                self.cache.drop_inode(ino);
                continue;
            }
            let Some(name) = place.name() else { continue };
            let directory = place.above().next();
            let directory = directory.and_then(|above| self.inodes.number(&above));
            self.inodes.removed(&place);
            if let Some(directory) = directory {
                self.cache.drop_name(directory, name.as_ref());
            }
        }
    }
}

//! Lookup: from a directory and a name to the place that the name refers to.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::control_file::{self, ControlFile};
use super::pending_file::PendingFile;
use super::pending_name::PendingParent;
use super::{Place, Resolved, Tree, TreeError, Writer};
use crate::layout::{self, Node};

impl Tree {
    /// Resolves a name in a directory. The name of a recently dropped file is found only by the
    /// process that wrote it.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] if the directory has no such name, [`TreeError::NotDirectory`] if
    /// `parent` is a file; otherwise the error of the index or of the host.
    pub fn lookup(
        &self,
        parent: &Place,
        name: &OsStr,
        caller: Writer,
    ) -> Result<Resolved, TreeError> {
        match parent {
            Place::Plain(path) => match self.mounted_at(path, name) {
                Some(place) => self.resolve(place),
                None => self.resolve(Place::Plain(path.join(name))),
            },
            Place::Node(node) => self.lookup_node(node, name, caller),
            Place::Control(ControlFile::Directory) => {
                let file = ControlFile::from_name(name).ok_or(TreeError::NotFound)?;
                self.resolve(Place::Control(file))
            }
            Place::Hidden(id) => {
                let parent = PendingParent::Hidden(*id);
                let entry = self.pending_files.lookup(&parent, name);
                self.resolve(entry.ok_or(TreeError::NotFound)?.place())
            }
            Place::Pending(_) | Place::Control(_) => Err(TreeError::NotDirectory),
        }
    }

    /// Returns the place that covers a name in a plain directory: the top of the layout, or the
    /// directory of control files.
    pub(super) fn mounted_at(&self, path: &Path, name: &OsStr) -> Option<Place> {
        if self.plain.is_root(path) && name == layout::TOP {
            return Some(Place::Node(Node::Root));
        }
        let control = path.as_os_str().is_empty() && name == control_file::DIRECTORY;
        control.then_some(Place::Control(ControlFile::Directory))
    }

    fn lookup_node(
        &self,
        parent: &Node,
        name: &OsStr,
        caller: Writer,
    ) -> Result<Resolved, TreeError> {
        if let Some(node) = name.to_str().and_then(|name| parent.child(name)) {
            match self.resolve(Place::Node(node)) {
                Err(TreeError::NotFound) => {}
                found => return found,
            }
        }
        if let Some(entry) = self.pending_files.lookup_in(parent, name) {
            return self.resolve(entry.place());
        }
        let pending = self.recently_dropped.lookup(parent, name, caller);
        self.resolve(Place::Pending(pending.ok_or(TreeError::NotFound)?.id()))
    }

    /// Returns the pending or recently dropped file of this id.
    pub(super) fn pending(&self, id: u64) -> Result<Arc<PendingFile>, TreeError> {
        let pending = self
            .pending_files
            .get(id)
            .or_else(|| self.recently_dropped.get(id));
        pending.ok_or(TreeError::NotFound)
    }

    /// Returns a place with its attributes.
    pub(super) fn resolve(&self, place: Place) -> Result<Resolved, TreeError> {
        let attributes = self.metadata().get(&place)?;
        let cacheable = self.is_cacheable(&place)?;
        Ok(Resolved {
            place,
            attributes,
            cacheable,
        })
    }
}

//! Attributes of places: what stat(2) shows, and chmod, chown and utimes by place.

use std::path::{Path, PathBuf};

use super::pending_name::PendingParent;
use super::{
    Attributes, Change, Permissions, Place, Tree, TreeChange, TreeError, Writer, inode_number,
    times,
};

impl Tree {
    /// Returns the attributes of a plain file. The mountpoint itself is a directory of the store
    /// with mode 0700 on the host; its owner and mode are stored in the index instead.
    fn plain_attributes(&self, path: &Path) -> Result<Attributes, TreeError> {
        let mut attributes = self.plain.attributes(path)?;
        if path.as_os_str().is_empty() {
            attributes.permissions = self.top_permissions()?;
        }
        Ok(attributes)
    }

    /// Makes the names in a plain directory durable. Those of all other directories are facts:
    /// see [`Tree::make_durable`].
    ///
    /// # Errors
    /// [`TreeError::NotFound`] or [`TreeError::Plain`] if the host cannot open or sync it.
    pub fn sync_plain_directory(&self, path: &Path) -> Result<(), TreeError> {
        self.plain.sync_directory(path)
    }
}

/// Attributes, permissions and lengths of files and directories.
#[derive(Clone, Copy, Debug)]
pub struct MetadataAccess<'a>(pub(super) &'a Tree);

impl Tree {
    /// Returns attributes, permissions and lengths of files and directories.
    pub fn metadata(&self) -> MetadataAccess<'_> {
        MetadataAccess(self)
    }
}

impl MetadataAccess<'_> {
    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// [`TreeError::NotPermitted`] if the place is not a plain file; [`TreeError::Plain`] if the
    /// plain file is not a symbolic link or cannot be read.
    pub fn read_link(self, place: &Place) -> Result<PathBuf, TreeError> {
        match place {
            Place::Plain(path) => self.0.plain.read_link(path),
            Place::Node(_) | Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => {
                Err(TreeError::NotPermitted("not a symbolic link"))
            }
        }
    }

    /// Returns the attributes of a place, as stat(2) shows them.
    ///
    /// # Errors
    /// [`TreeError::NotFound`] if the place does not exist; otherwise the error of the index or
    /// of the host.
    pub fn get(self, place: &Place) -> Result<Attributes, TreeError> {
        match place {
            Place::Plain(path) => self.0.plain_attributes(path),
            Place::Node(node) => self.0.node_attributes(node),
            Place::Pending(id) => {
                let pending = self.0.pending(*id)?;
                Ok(Attributes {
                    permissions: self.0.pending_permissions(&pending)?,
                    ..pending.attributes()
                })
            }
            Place::Hidden(id) => {
                let created = self
                    .0
                    .pending_files
                    .hidden_created(*id)
                    .ok_or(TreeError::NotFound)?;
                Ok(Attributes {
                    permissions: self
                        .0
                        .pending_parent_permissions(&PendingParent::Hidden(*id))?,
                    ..Attributes::directory(inode_number::hidden(*id), created)
                })
            }
            Place::Control(file) => Ok(self.0.control_attributes(*file)),
        }
    }

    /// Returns owner, group and mode of a place. For a place of the layout this does not check
    /// that it exists.
    ///
    /// # Errors
    /// As [`MetadataAccess::get`](super::MetadataAccess::get) for other places; for the layout only
    /// if the index cannot be read.
    pub fn permissions(self, place: &Place) -> Result<Permissions, TreeError> {
        match place {
            Place::Node(node) => self.0.node_permissions(node),
            Place::Plain(_) | Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => {
                Ok(self.0.metadata().get(place)?.permissions)
            }
        }
    }

    /// chmod(2), chown(2) and utimes(2) by place. `admit` gets the current attributes and returns
    /// the change to make, or the reason to refuse it. Owner and mode are stored for plain files,
    /// for the top of the mount, for repositories and the directories above them, and for `blobs`;
    /// below those a change by root is accepted and has no effect. Times are stored for plain
    /// files, pending files, and places of the layout for which the index has a time.
    ///
    /// Returns the changes: the place, and the directories that show its time.
    ///
    /// # Errors
    /// The error of `admit`; [`TreeError::ReadOnly`]; [`TreeError::NotPermitted`] if owner or
    /// mode of this place are not stored; otherwise the error of the index or of the host.
    pub fn set(
        self,
        place: &Place,
        writer: Writer,
        admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.0.require_writable()?;
        match place {
            Place::Plain(path) if path.as_os_str().is_empty() => {
                let now = self.0.metadata().get(place)?;
                self.0.set_top_owner(now.permissions, admit(&now)?)?;
            }
            Place::Plain(path) => self.0.plain.change(path, admit)?,
            Place::Node(node) => {
                let now = self.0.metadata().get(place)?;
                let change = admit(&now)?;
                self.0.set_node_owner(node, &now, change, writer)?;
                self.0.set_time(place, change)?;
            }
            Place::Pending(_) | Place::Hidden(_) | Place::Control(_) => {
                let change = admit(&self.0.metadata().get(place)?)?;
                self.0.set_time(place, change)?;
            }
        }
        let itself = TreeChange::modified(place.clone()).requested();
        let dated = times::dated_by(place).into_iter().map(TreeChange::modified);
        Ok([itself].into_iter().chain(dated).collect())
    }
}

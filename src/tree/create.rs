//! Creation of files and directories.

use std::ffi::OsStr;
use std::sync::Arc;

use super::handle::{Handle, HandleTarget};
use super::pending_name::PendingParent;
use super::write_intent::{self, WriteIntent};
use super::{
    Access, Attributes, Permissions, Place, Resolved, Tree, TreeChange, TreeError, Writer,
    plain_files,
};
use crate::layout::Node;

impl Tree {
    /// Creates a file and opens it for writing. The permissions are stored for a plain file only.
    /// If the file exists, it is opened instead, unless `admit` refuses that given its attributes.
    ///
    /// # Errors
    /// The error of `admit`; [`TreeError::ReadOnly`]; [`TreeError::InvalidName`] if the layout does
    /// not have the name; [`TreeError::NotPermitted`] if files cannot be created in `parent`;
    /// [`TreeError::NoRoom`] if there are too many temporary files; otherwise as
    /// [`OpenFileAccess::open`](super::OpenFileAccess::open).
    pub fn create(
        &self,
        parent: &Place,
        name: &OsStr,
        new: Permissions,
        writer: Writer,
        admit: impl FnOnce(&Attributes) -> Result<(), TreeError>,
    ) -> Result<(Resolved, Arc<Handle>), TreeError> {
        self.require_writable()?;
        match self.lookup(parent, name, writer) {
            Ok(found) => {
                admit(&found.attributes)?;
                let handle = self
                    .open_files()
                    .open(&found.place, Access::Write, writer)?;
                return Ok((found, handle));
            }
            Err(TreeError::NotFound) => {}
            Err(error) => return Err(error),
        }
        match parent {
            Place::Plain(path) if plain_files::is_name(name) => {
                let path = path.join(name);
                let file = self.plain.create_file(&path, new)?;
                let found = self.resolve(Place::Plain(path))?;
                Ok((found, Handle::new(HandleTarget::Plain(file), Access::Write)))
            }
            Place::Node(node) => self.create_below(node, name, writer),
            Place::Hidden(id) => self.create_pending(
                PendingParent::Hidden(*id),
                name,
                WriteIntent::AwaitRename,
                writer,
            ),
            Place::Plain(_) | Place::Pending(_) | Place::Control(_) => Err(
                TreeError::NotPermitted("files cannot be created in this directory"),
            ),
        }
    }

    fn create_below(
        &self,
        parent: &Node,
        name: &OsStr,
        writer: Writer,
    ) -> Result<(Resolved, Arc<Handle>), TreeError> {
        let _no_relocation = self.relocating.read();
        let intent = WriteIntent::of(parent, name)?;
        self.node_attributes(parent)?;
        if let WriteIntent::File(Node::UploadData(repository, id)) = &intent {
            let staging = self.registry.uploads().create_data(repository, id)?;
            let found = self.resolve(Place::Node(Node::UploadData(repository.clone(), *id)))?;
            let open = HandleTarget::Upload(staging, found.attributes.clone());
            return Ok((found, Handle::new(open, Access::Write)));
        }
        self.create_pending(PendingParent::Node(parent.clone()), name, intent, writer)
    }

    /// Creates a pending file and opens it.
    fn create_pending(
        &self,
        parent: PendingParent,
        name: &OsStr,
        intent: WriteIntent,
        writer: Writer,
    ) -> Result<(Resolved, Arc<Handle>), TreeError> {
        let name = (parent, name.to_owned());
        let pending = self
            .pending_files
            .create(&self.registry, name, intent, writer, 1)?;
        let found = Resolved {
            place: Place::Pending(pending.id()),
            attributes: Attributes {
                permissions: self.pending_permissions(&pending)?,
                ..pending.attributes()
            },
            cacheable: false,
        };
        Ok((
            found,
            Handle::new(HandleTarget::Pending(pending, None), Access::Write),
        ))
    }

    /// Creates a directory. The permissions are stored for a plain directory and for a repository;
    /// a directory below a repository has the permissions of the repository. Returns it with the
    /// changes.
    ///
    /// # Errors
    /// [`TreeError::Exists`]; [`TreeError::ReadOnly`]; [`TreeError::InvalidName`] if the layout
    /// does not have the name; [`TreeError::NotPermitted`] if directories cannot be created in
    /// `parent`; [`TreeError::NoRoom`] if there are too many temporary files; otherwise the error
    /// of the index or of the host.
    pub fn make_directory(
        &self,
        parent: &Place,
        name: &OsStr,
        new: Permissions,
        writer: Writer,
    ) -> Result<(Resolved, Vec<TreeChange>), TreeError> {
        self.require_writable()?;
        let made = match parent {
            Place::Plain(path) => {
                if self.mounted_at(path, name).is_some() {
                    return Err(TreeError::Exists);
                }
                let path = path.join(name);
                self.plain.make_directory(&path, new)?;
                self.resolve(Place::Plain(path))
            }
            Place::Hidden(id) => self.make_hidden(PendingParent::Hidden(*id), name, writer),
            Place::Node(node) if write_intent::is_hidden(node, name) => {
                self.node_attributes(node)?;
                self.make_hidden(PendingParent::Node(node.clone()), name, writer)
            }
            Place::Node(parent) => {
                let child = name.to_str().and_then(|name| parent.child(name));
                let child =
                    child
                        .filter(Node::is_directory)
                        .ok_or_else(|| TreeError::InvalidName {
                            parent: parent.to_string(),
                            name: name.to_string_lossy().into_owned(),
                        })?;
                match &child {
                    Node::Namespace(namespace) if new != Permissions::DIRECTORY => {
                        self.make_namespace(namespace, new)?;
                    }
                    _ => self.registry.directories().make(&child)?,
                }
                self.resolve(Place::Node(child))
            }
            Place::Pending(_) | Place::Control(_) => Err(TreeError::NotPermitted(
                "directories cannot be created in this directory",
            )),
        }?;
        let added = TreeChange::added(made.place.clone()).requested();
        Ok((made, vec![added]))
    }

    /// Creates a hidden directory, for temporary files of programs.
    fn make_hidden(
        &self,
        parent: PendingParent,
        name: &OsStr,
        writer: Writer,
    ) -> Result<Resolved, TreeError> {
        let name = (parent, name.to_owned());
        let id = self
            .pending_files
            .make_directory(&self.registry, name, writer)?;
        self.resolve(Place::Hidden(id))
    }
}

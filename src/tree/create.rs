//! Creation: files and directories that are new.

use std::ffi::OsStr;
use std::sync::Arc;

use super::drafts::Parent;
use super::handle::{Access, Handle, Open};
use super::target::{self, Target};
use super::{Attributes, Found, Permissions, Place, Tree, TreeChange, TreeError, Writer, plain};
use crate::layout::Node;

impl Tree {
    /// Creates a file with these permissions, which a plain file keeps, and opens it for
    /// writing. One that exists is opened as it is, if `admit` has nothing against it.
    pub fn create(
        &self,
        parent: &Place,
        name: &OsStr,
        new: Permissions,
        writer: Writer,
        admit: impl FnOnce(&Attributes) -> Result<(), TreeError>,
    ) -> Result<(Found, Arc<Handle>), TreeError> {
        self.writable()?;
        match self.lookup(parent, name, writer) {
            Ok(found) => {
                admit(&found.attributes)?;
                let handle = self.open(&found.place, Access::Write, writer)?;
                return Ok((found, handle));
            }
            Err(TreeError::NotFound) => {}
            Err(error) => return Err(error),
        }
        match parent {
            Place::Plain(path) if plain::is_name(name) => {
                let path = path.join(name);
                let file = self.plain.create_file(&path, new)?;
                let found = self.found(Place::Plain(path))?;
                Ok((found, Handle::new(Open::Plain(file), Access::Write)))
            }
            Place::Node(node) => self.create_below(node, name, writer),
            Place::Hidden(id) => {
                self.create_draft(Parent::Hidden(*id), name, Target::Later, writer)
            }
            Place::Plain(_) | Place::Draft(_) | Place::Own(_) => {
                Err(TreeError::NotPermitted("nothing can be made here"))
            }
        }
    }

    fn create_below(
        &self,
        parent: &Node,
        name: &OsStr,
        writer: Writer,
    ) -> Result<(Found, Arc<Handle>), TreeError> {
        let _stays = self.relocating.read();
        let target = Target::of(parent, name)?;
        self.node_attributes(parent)?;
        if let Target::File(Node::UploadData(repository, id)) = &target {
            let staging = self.registry.uploads().create_data(repository, id)?;
            let found = self.found(Place::Node(Node::UploadData(repository.clone(), *id)))?;
            let open = Open::Upload(staging, found.attributes.clone());
            return Ok((found, Handle::new(open, Access::Write)));
        }
        self.create_draft(Parent::Node(parent.clone()), name, target, writer)
    }

    /// A file that is no fact yet.
    fn create_draft(
        &self,
        parent: Parent,
        name: &OsStr,
        target: Target,
        writer: Writer,
    ) -> Result<(Found, Arc<Handle>), TreeError> {
        let (standing, grows) = ((parent, name.to_owned()), target.grows());
        let draft = self
            .drafts
            .create(&self.registry, standing, (target, grows), writer, 1)?;
        let found = Found {
            place: Place::Draft(draft.id()),
            attributes: Attributes {
                permissions: self.draft_permissions(&draft)?,
                ..draft.attributes()
            },
            lasting: false,
        };
        Ok((found, Handle::new(Open::Draft(draft, None), Access::Write)))
    }

    /// Makes a directory with these permissions, which a plain one and a repository keep; one
    /// below a repository has those of the repository, whatever is asked for.
    pub fn make_directory(
        &self,
        parent: &Place,
        name: &OsStr,
        new: Permissions,
        writer: Writer,
    ) -> Result<(Found, Vec<TreeChange>), TreeError> {
        self.writable()?;
        let made = match parent {
            Place::Plain(path) => {
                if self.mounted_at(path, name).is_some() {
                    return Err(TreeError::Exists);
                }
                let path = path.join(name);
                self.plain.make_directory(&path, new)?;
                self.found(Place::Plain(path))
            }
            Place::Hidden(id) => self.make_hidden(Parent::Hidden(*id), name, writer),
            Place::Node(node) if target::is_hidden(node, name) => {
                self.node_attributes(node)?;
                self.make_hidden(Parent::Node(node.clone()), name, writer)
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
                self.found(Place::Node(child))
            }
            Place::Draft(_) | Place::Own(_) => {
                Err(TreeError::NotPermitted("nothing can be made here"))
            }
        }?;
        let added = TreeChange::added(made.place.clone()).requested();
        Ok((made, vec![added]))
    }

    /// A directory that no listing shows, for files that wait.
    fn make_hidden(
        &self,
        parent: Parent,
        name: &OsStr,
        writer: Writer,
    ) -> Result<Found, TreeError> {
        let name = (parent, name.to_owned());
        let id = self.drafts.make_directory(&self.registry, name, writer)?;
        self.found(Place::Hidden(id))
    }
}

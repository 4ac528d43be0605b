//! Creation: files and directories that are new.

use std::ffi::OsStr;
use std::sync::Arc;

use super::handle::{Access, Handle, Open};
use super::target::Target;
use super::{Attributes, Found, Place, Tree, TreeError, Writer, node, plain};
use crate::layout::Node;

impl Tree {
    /// Creates a file and opens it for writing. One that exists is opened as it is.
    pub fn create(
        &self,
        parent: &Place,
        name: &OsStr,
        mode: u16,
        writer: Writer,
    ) -> Result<(Found, Arc<Handle>), TreeError> {
        self.writable()?;
        match self.lookup(parent, name, writer) {
            Ok(found) => {
                let handle = self.open(&found.place, Access::Write, writer)?;
                return Ok((found, handle));
            }
            Err(TreeError::NotFound) => {}
            Err(error) => return Err(error),
        }
        match parent {
            Place::Plain(path) if plain::is_name(name) => {
                let path = path.join(name);
                let file = self.plain.create_file(&path, mode)?;
                let found = self.found(Place::Plain(path.clone()))?;
                Ok((found, Handle::new(Open::Plain(file, path), Access::Write)))
            }
            Place::Node(node) => self.create_below(node, name, writer),
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
        let target = Target::of(parent, name)?;
        self.node_attributes(parent)?;
        if let Target::File(Node::UploadData(repository, id)) = &target {
            let staging = self.registry.create_upload_data(repository, id)?;
            let found = self.found(Place::Node(Node::UploadData(repository.clone(), *id)))?;
            let open = Open::Upload(staging, found.attributes.clone());
            return Ok((found, Handle::new(open, Access::Write)));
        }
        let grows = target.is_large(parent);
        let standing = (parent.clone(), name.to_owned());
        let draft = self.drafts.create(standing, target, grows, writer, 1);
        let found = Found {
            place: Place::Draft(draft.id()),
            attributes: Attributes::file(0, draft.created()),
            lasting: false,
        };
        Ok((found, Handle::new(Open::Draft(draft, None), Access::Write)))
    }

    /// Makes a directory; one of the layout is for all to look in, whatever the mode.
    pub fn make_directory(
        &self,
        parent: &Place,
        name: &OsStr,
        mode: u16,
    ) -> Result<Found, TreeError> {
        self.writable()?;
        match parent {
            Place::Plain(path) => {
                if self.mounted_at(path, name).is_some() {
                    return Err(TreeError::Exists);
                }
                let path = path.join(name);
                self.plain.make_directory(&path, mode)?;
                self.found(Place::Plain(path))
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
                let directory = node::directory(&child).ok_or(TreeError::Exists)?;
                self.registry.make_directory(&directory)?;
                self.found(Place::Node(child))
            }
            Place::Draft(_) | Place::Own(_) => {
                Err(TreeError::NotPermitted("nothing can be made here"))
            }
        }
    }
}

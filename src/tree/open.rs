//! Opening files, and what is known of an open file: attributes, caching, passthrough.

use std::sync::Arc;

use super::handle::{Caching, Handle, HandleTarget, PassthroughFile};
use super::pending_file::PendingFile;
use super::{
    Access, Attributes, Change, Place, Tree, TreeError, Writer, inode_number, node, plain_metadata,
};
use crate::layout::Node;

impl Tree {
    /// Opens a small file of the layout for reading.
    fn render(&self, node: &Node) -> Result<HandleTarget, TreeError> {
        let queries = &mut self.registry.queries();
        let (content, modified) = node::content(queries, node)?;
        let number = inode_number::node(node, inode_number::within(queries, node)?);
        let len = content.len() as u64;
        let attributes = Attributes {
            permissions: self.node_permissions(node)?,
            ..Attributes::file(number, len, self.time_or_default(modified))
        };
        Ok(HandleTarget::Rendered(node.clone(), content, attributes))
    }

    /// Opens a pending file. If its content has become a fact already, a writer gets a new pending
    /// file of the same name and intent.
    fn open_pending(
        &self,
        id: u64,
        access: Access,
        writer: Writer,
    ) -> Result<Arc<PendingFile>, TreeError> {
        let pending = self.pending(id)?;
        let committed = self.pending_files.get(id).is_none() || pending.is_committed();
        if access == Access::Read || !committed {
            return Ok(pending);
        }
        let (name, intent) = pending.created_as().ok_or(TreeError::NotFound)?;
        self.pending_files
            .create(&self.registry, name, intent, writer, 0)
    }

    /// Opens a file of the layout for writing: a pending file that begins with the current
    /// content. A blob can only be replaced by the same bytes, so that its pending file begins
    /// empty.
    fn rewrite(&self, node: &Node, writer: Writer) -> Result<HandleTarget, TreeError> {
        let content = match node {
            Node::BlobData(digest) => {
                self.registry.queries().blob(digest)?;
                Vec::new()
            }
            _ => node::content(&mut self.registry.queries(), node)?.0,
        };
        let pending = self.pending_files.rewrite(node, content, writer);
        Ok(HandleTarget::Pending(
            pending,
            Some(Place::Node(node.clone())),
        ))
    }
}

/// The files that are open, for those who read, write, flush and close them.
#[derive(Clone, Copy, Debug)]
pub struct OpenFileAccess<'a>(pub(super) &'a Tree);

impl Tree {
    /// Returns the files that are open, for those who read, write, flush and close them.
    pub fn open_files(&self) -> OpenFileAccess<'_> {
        OpenFileAccess(self)
    }
}

impl OpenFileAccess<'_> {
    /// Opens a file that exists.
    ///
    /// # Errors
    /// [`TreeError::NotFound`]; [`TreeError::IsDirectory`]; [`TreeError::ReadOnly`] for writing
    /// on a read-only mount; [`TreeError::NotPermitted`] for writing to a control file; otherwise
    /// the error of the index, of the blob store or of the host.
    pub fn open(
        self,
        place: &Place,
        access: Access,
        writer: Writer,
    ) -> Result<Arc<Handle>, TreeError> {
        if access == Access::Write {
            self.0.require_writable()?;
        }
        let open = match place {
            Place::Plain(path) => HandleTarget::Plain(self.0.plain.open_file(path, access)?),
            Place::Pending(id) => {
                HandleTarget::Pending(self.0.open_pending(*id, access, writer)?, None)
            }
            Place::Control(_) if access == Access::Write => {
                return Err(TreeError::NotPermitted(
                    "only the daemon writes control files",
                ));
            }
            Place::Control(file) => {
                let (number, attributes) = self.0.open_control(*file);
                HandleTarget::Control(*file, number, attributes)
            }
            Place::Hidden(_) => return Err(TreeError::IsDirectory),
            Place::Node(node) if node.is_directory() => return Err(TreeError::IsDirectory),
            Place::Node(Node::UploadData(repository, id)) => {
                let staging = self.0.registry.uploads().data(repository, id)?;
                HandleTarget::Upload(staging, self.0.metadata().get(place)?)
            }
            Place::Node(node) if access == Access::Write => self.0.rewrite(node, writer)?,
            Place::Node(Node::BlobData(digest)) => HandleTarget::Blob(
                self.0.registry.read_blob(digest)?,
                self.0.metadata().get(place)?,
            ),
            Place::Node(node) => self.0.render(node)?,
        };
        Ok(Handle::new(open, access))
    }

    /// chmod(2), chown(2) and utimes(2) of an open file whose name is gone. `admit` gets the
    /// current attributes and returns the change to make, or the reason to refuse it. Only plain
    /// files are changed; for other files an admitted change has no effect.
    ///
    /// # Errors
    /// The error of `admit`; [`TreeError::ReadOnly`]; otherwise the error of the host.
    pub fn set_handle_attributes(
        self,
        handle: &Handle,
        admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
    ) -> Result<(), TreeError> {
        self.0.require_writable()?;
        match &handle.open {
            HandleTarget::Plain(file) => plain_metadata::change_opened(file, admit),
            HandleTarget::Control(..)
            | HandleTarget::Rendered(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Pending(..)
            | HandleTarget::Upload(..) => {
                admit(&self.0.open_files().handle_attributes(handle)?).map(drop)
            }
        }
    }

    /// Returns the attributes of an open file, as fstat(2) shows them, even if the file was
    /// removed. A file of the layout that is being rewritten shows its old attributes until the
    /// new content is a fact.
    ///
    /// # Errors
    /// [`TreeError::Plain`] if the host cannot stat a plain file.
    pub fn handle_attributes(self, handle: &Handle) -> Result<Attributes, TreeError> {
        match &handle.open {
            HandleTarget::Control(_, _, attributes)
            | HandleTarget::Rendered(_, _, attributes)
            | HandleTarget::Blob(_, attributes) => Ok(attributes.clone()),
            HandleTarget::Pending(pending, place) => {
                match place.as_ref().map(|place| self.0.metadata().get(place)) {
                    Some(Ok(attributes)) => Ok(attributes),
                    Some(Err(_)) | None => Ok(pending.attributes()),
                }
            }
            HandleTarget::Upload(staging, attributes) => Ok(Attributes {
                size: staging.len(),
                modified: staging.modified().unwrap_or(attributes.modified),
                ..attributes.clone()
            }),
            HandleTarget::Plain(file) => plain_metadata::shown(file),
        }
    }

    /// Returns the inode number that a file had when this handle created it; `None` for a handle
    /// that did not create its file. fstat(2) goes on showing this number after the file has
    /// become another place.
    pub fn creation_number(self, handle: &Handle) -> Option<u64> {
        match &handle.open {
            HandleTarget::Pending(pending, None) => Some(inode_number::pending(pending.id())),
            HandleTarget::Control(..)
            | HandleTarget::Rendered(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Pending(_, Some(_))
            | HandleTarget::Upload(..)
            | HandleTarget::Plain(..) => None,
        }
    }

    /// Returns the host's file whose bytes are those of the open file, for passthrough; `None` if
    /// there is no such file.
    pub fn passthrough_file(self, handle: &Handle) -> Option<PassthroughFile> {
        match &handle.open {
            HandleTarget::Blob(reading, _) if reading.file().is_some() => {
                Some(PassthroughFile::Blob(reading.clone()))
            }
            HandleTarget::Upload(staging, _) => staging.share().map(PassthroughFile::Upload),
            HandleTarget::Control(..)
            | HandleTarget::Rendered(..)
            | HandleTarget::Blob(..)
            | HandleTarget::Pending(..)
            | HandleTarget::Plain(..) => None,
        }
    }

    /// Returns how the kernel may cache the content of an open file.
    pub fn caching(self, handle: &Handle) -> Caching {
        match &handle.open {
            HandleTarget::Rendered(..) | HandleTarget::Blob(..) => Caching::Keep,
            HandleTarget::Pending(_, Some(_)) if handle.access() == Access::Write => {
                Caching::Writing
            }
            // The kernel drops cached pages before a write and not after it: a concurrent reader
            // of an upload would cache bytes that the write is about to replace.
            HandleTarget::Control(..) | HandleTarget::Pending(..) | HandleTarget::Upload(..) => {
                Caching::Direct
            }
            HandleTarget::Plain(..) => Caching::Fresh,
        }
    }
}

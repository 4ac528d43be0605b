//! Open files: reading, writing, and what the kernel may cache of them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::content::Content;
use super::draft::Draft;
use super::own::OwnFile;
use super::{Attributes, Change, Place, Tree, TreeError, Writer, node, number, plain};
use crate::digest::Digest;
use crate::layout::Node;
use crate::registry::{OpenBlob, SharedFile, StagedUpload, read_held};

mod length;

/// What an open file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Writing, perhaps reading too.
    Write,
}

/// How the kernel may cache an open file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// The content changes only where we tell: keep what is cached, unless somebody writes it.
    Keep,
    /// Drop what is cached at open, then cache.
    Fresh,
    /// Every read and write comes to us.
    Direct,
    /// The same, and what is cached must go: this writes it anew.
    Writing,
}

/// A file that others may read, or read and write, without us, as long as they hold this.
#[derive(Debug)]
pub enum Direct {
    /// A blob's, for reading.
    Blob(OpenBlob),
    /// An upload's.
    Upload(SharedFile),
}

impl Direct {
    /// The file.
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::Blob(reading) => reading.file(),
            Self::Upload(lent) => Some(lent.file()),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct Handle {
    pub(super) open: Open,
    access: Access,
}

#[derive(Debug)]
pub(super) enum Open {
    /// One of our own files, and the number of what it said when it was opened.
    Own(OwnFile, u64, Attributes),
    /// A small file of the layout, with its content as it was when it was opened. What is read
    /// is what is there: the kernel keeps it for others, who open it later.
    Shown(Node, Vec<u8>, Attributes),
    /// A blob.
    Blob(OpenBlob, Attributes),
    /// A file being written, and the file of the layout that it was opened as, if it was one.
    Draft(Arc<Draft>, Option<Place>),
    /// An upload's bytes.
    Upload(StagedUpload, Attributes),
    /// A plain file.
    Plain(File),
}

impl Handle {
    pub(super) fn new(open: Open, access: Access) -> Arc<Self> {
        Arc::new(Self { open, access })
    }

    /// What it is open for.
    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn writing(&self) -> Result<(), TreeError> {
        if self.access == Access::Write {
            Ok(())
        } else {
            Err(TreeError::NotOpen("writing"))
        }
    }
}

/// The blob that was opened to be written and was not written to: it is there as it was, until
/// its draft has the beginning of new content.
fn untouched<'a>(draft: &Draft, place: Option<&'a Place>) -> Option<&'a Digest> {
    match place {
        Some(Place::Node(Node::BlobData(digest))) if draft.is_unwritten() => Some(digest),
        _ => None,
    }
}

impl Tree {
    /// Opens a file that exists.
    pub fn open(
        &self,
        place: &Place,
        access: Access,
        writer: Writer,
    ) -> Result<Arc<Handle>, TreeError> {
        if access == Access::Write {
            self.writable()?;
        }
        let open = match place {
            Place::Plain(path) => Open::Plain(self.plain.open_file(path, access)?),
            Place::Draft(id) => Open::Draft(self.open_draft(*id, access, writer)?, None),
            Place::Own(_) if access == Access::Write => {
                return Err(TreeError::NotPermitted("only we write these files"));
            }
            Place::Own(file) => {
                let (number, attributes) = self.open_own(*file);
                Open::Own(*file, number, attributes)
            }
            Place::Hidden(_) => return Err(TreeError::IsDirectory),
            Place::Node(node) if node.is_directory() => return Err(TreeError::IsDirectory),
            Place::Node(Node::UploadData(repository, id)) => {
                let staging = self.registry.uploads().data(repository, id)?;
                Open::Upload(staging, self.attributes(place)?)
            }
            Place::Node(node) if access == Access::Write => self.rewrite(node, writer)?,
            Place::Node(Node::BlobData(digest)) => {
                Open::Blob(self.registry.read_blob(digest)?, self.attributes(place)?)
            }
            Place::Node(node) => {
                let queries = &mut self.registry.queries();
                let (content, kept) = node::content(queries, node)?;
                let number = number::node(node, number::within(queries, node)?);
                let len = content.len() as u64;
                let attributes = Attributes {
                    permissions: self.node_permissions(node)?,
                    ..Attributes::file(number, len, self.dated(kept))
                };
                Open::Shown(node.clone(), content, attributes)
            }
        };
        Ok(Handle::new(open, access))
    }

    /// A file being written; where it was written a moment ago, a new one in its place.
    fn open_draft(&self, id: u64, access: Access, writer: Writer) -> Result<Arc<Draft>, TreeError> {
        let draft = self.draft(id)?;
        let written = self.drafts.get(id).is_none() || draft.is_whole();
        if access == Access::Read || !written {
            return Ok(draft);
        }
        let (name, target) = draft.stood().ok_or(TreeError::NotFound)?;
        let grows = target.grows();
        self.drafts
            .create(&self.registry, name, (target, grows), writer, 0)
    }

    /// A draft of new content for a file that exists, beginning with the old. Of a blob only
    /// the same bytes can follow, so that it begins empty.
    fn rewrite(&self, node: &Node, writer: Writer) -> Result<Open, TreeError> {
        let content = match node {
            Node::BlobData(digest) => {
                self.registry.queries().blob(digest)?;
                Vec::new()
            }
            _ => node::content(&mut self.registry.queries(), node)?.0,
        };
        let draft = self.drafts.rewrite(node, content, writer);
        Ok(Open::Draft(draft, Some(Place::Node(node.clone()))))
    }

    /// Reads as much as there is room for from `offset` on; how much that was.
    pub fn read(
        &self,
        handle: &Handle,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, TreeError> {
        Ok(match &handle.open {
            Open::Own(file, number, _) => read_held(&self.own_text(*file, *number), offset, buffer),
            Open::Shown(node, opened, _) => {
                let now = node::content(&mut self.registry.queries(), node);
                let bytes = now.as_ref().map_or(opened, |(content, _)| content);
                read_held(bytes, offset, buffer)
            }
            Open::Draft(draft, place) => match untouched(draft, place.as_ref()) {
                Some(digest) => self.registry.read_blob(digest)?.read_at(offset, buffer)?,
                None => draft.read_at(offset, buffer)?,
            },
            Open::Blob(reading, _) => reading.read_at(offset, buffer)?,
            Open::Upload(staging, _) => staging.read_at(offset, buffer)?,
            Open::Plain(file) => file.read_at(buffer, offset).map_err(plain::about_open)?,
        })
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write(&self, handle: &Handle, offset: u64, bytes: &[u8]) -> Result<(), TreeError> {
        handle.writing()?;
        match &handle.open {
            Open::Draft(draft, place) => {
                let end = offset.saturating_add(bytes.len() as u64);
                self.admits(place.as_ref(), end)?;
                self.go_on(draft)?;
                self.registry
                    .room()
                    .require_behind(offset, bytes.len() as u64)?;
                draft.write_at(&self.registry, offset, bytes)
            }
            Open::Upload(staging, _) => {
                self.registry
                    .room()
                    .require_behind(offset, bytes.len() as u64)?;
                Ok(staging.write_at(offset, bytes)?)
            }
            Open::Plain(file) => file.write_all_at(bytes, offset).map_err(plain::about_open),
            Open::Own(..) | Open::Shown(..) | Open::Blob(..) => Err(TreeError::NotOpen("writing")),
        }
    }

    /// Refuses to make a blob that is there longer: its bytes are those of its digest, and the
    /// kernel would show its readers the new length at once.
    fn admits(&self, place: Option<&Place>, len: u64) -> Result<(), TreeError> {
        if let Some(Place::Node(Node::BlobData(digest))) = place
            && self
                .registry
                .queries()
                .blob(digest)
                .is_ok_and(|(size, _)| len > size)
        {
            return Err(TreeError::NotPermitted(
                "a blob only has the bytes of its digest",
            ));
        }
        Ok(())
    }

    /// Lets a layer be written on that a close has stored already.
    pub(super) fn go_on(&self, draft: &Draft) -> Result<(), TreeError> {
        let mut state = draft.hold();
        if let (Some((stored, _)), Content::Large(_), true) = (
            state.stored,
            &state.content,
            state.version == state.committed,
        ) {
            let staging = self.registry.stage()?;
            staging.copy_from(&self.registry.read_blob(&stored)?)?;
            state.content = Content::Large(staging);
        }
        Ok(())
    }

    /// chmod(2), chown(2) and utimes(2) of an open file that has no name any more, as `admit`
    /// says, which sees what the file is.
    pub fn change_opened(
        &self,
        handle: &Handle,
        admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
    ) -> Result<(), TreeError> {
        self.writable()?;
        match &handle.open {
            Open::Plain(file) => plain::change_opened(file, admit),
            Open::Own(..)
            | Open::Shown(..)
            | Open::Blob(..)
            | Open::Draft(..)
            | Open::Upload(..) => admit(&self.handle_attributes(handle)?).map(drop),
        }
    }

    /// What fstat shows of an open file, even if it was removed. A file that is being written
    /// anew shows its old self until the new content is a fact.
    pub fn handle_attributes(&self, handle: &Handle) -> Result<Attributes, TreeError> {
        match &handle.open {
            Open::Own(_, _, attributes)
            | Open::Shown(_, _, attributes)
            | Open::Blob(_, attributes) => Ok(attributes.clone()),
            Open::Draft(draft, place) => match place.as_ref().map(|place| self.attributes(place)) {
                Some(Ok(attributes)) => Ok(attributes),
                Some(Err(_)) | None => Ok(draft.attributes()),
            },
            Open::Upload(staging, attributes) => Ok(Attributes {
                size: staging.len(),
                modified: staging.modified().unwrap_or(attributes.modified),
                ..attributes.clone()
            }),
            Open::Plain(file) => plain::shown(file),
        }
    }

    /// The number that a file had when it was made, if this is the one by which it was. Who has
    /// it open finds it the same file when it has become another place.
    pub fn number_made(&self, handle: &Handle) -> Option<u64> {
        match &handle.open {
            Open::Draft(draft, None) => Some(number::draft(draft.id())),
            Open::Own(..)
            | Open::Shown(..)
            | Open::Blob(..)
            | Open::Draft(_, Some(_))
            | Open::Upload(..)
            | Open::Plain(..) => None,
        }
    }

    /// The file behind an open file, where its bytes are just those.
    pub fn direct(&self, handle: &Handle) -> Option<Direct> {
        match &handle.open {
            Open::Blob(reading, _) if reading.file().is_some() => {
                Some(Direct::Blob(reading.clone()))
            }
            Open::Upload(staging, _) => staging.share().map(Direct::Upload),
            Open::Own(..)
            | Open::Shown(..)
            | Open::Blob(..)
            | Open::Draft(..)
            | Open::Plain(..) => None,
        }
    }

    /// What the kernel may cache of an open file.
    pub fn caching(&self, handle: &Handle) -> Caching {
        match &handle.open {
            Open::Shown(..) | Open::Blob(..) => Caching::Keep,
            Open::Draft(_, Some(_)) if handle.access == Access::Write => Caching::Writing,
            // The kernel drops what is cached before a write and not behind it: who reads an
            // upload meanwhile would cache what is no more.
            Open::Own(..) | Open::Draft(..) | Open::Upload(..) => Caching::Direct,
            Open::Plain(..) => Caching::Fresh,
        }
    }
}

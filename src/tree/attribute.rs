//! Extended attributes: facts about a place, for getfattr.

use std::ffi::{OsStr, OsString};

use super::{Place, Tree, TreeError};
use crate::digest::Digest;
use crate::layout::Node;

const DIGEST: &str = "user.regfs.digest";
const MEDIA_TYPE: &str = "user.regfs.media_type";
const ERROR: &str = "user.regfs.error";

impl Tree {
    /// The value of an extended attribute.
    pub fn extended(&self, place: &Place, name: &OsStr) -> Result<Vec<u8>, TreeError> {
        let Place::Node(node) = place else {
            return Err(TreeError::NoAttribute);
        };
        let value = match name.to_str() {
            Some(DIGEST) => self.named(node)?.map(|digest| digest.to_string()),
            Some(MEDIA_TYPE) => match self.named(node)? {
                Some(digest) => self.registry.media_type(&digest)?,
                None => None,
            },
            Some(ERROR) => match node {
                Node::Manifests(repository) => {
                    self.rejected.lock().last(repository).map(str::to_owned)
                }
                _ => None,
            },
            _ => None,
        };
        value.map(String::into_bytes).ok_or(TreeError::NoAttribute)
    }

    /// The names of a place's extended attributes.
    pub fn extended_names(&self, place: &Place) -> Result<Vec<OsString>, TreeError> {
        let names = [DIGEST, MEDIA_TYPE, ERROR].into_iter().map(OsString::from);
        Ok(names
            .filter(|name| self.extended(place, name).is_ok())
            .collect())
    }

    /// The digest that a link, a tag or a blob names.
    fn named(&self, node: &Node) -> Result<Option<Digest>, TreeError> {
        Ok(match node {
            Node::Link(repository, set, digest) | Node::LinkDirectory(repository, set, digest) => {
                Some(self.registry.link(repository, set, digest)?.0)
            }
            Node::Tag(repository, tag)
            | Node::Current(repository, tag)
            | Node::CurrentLink(repository, tag) => Some(self.registry.current(repository, tag)?.0),
            Node::BlobData(digest) | Node::BlobDirectory(digest) => Some(*digest),
            _ => None,
        })
    }
}

//! Extended attributes: facts about a place, for getfattr(1).
//!
//! They can be read by name and are not listed: programs that list attributes copy them, and the
//! copies would not be true elsewhere.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;

use super::{Place, Tree, TreeError};
use crate::digest::Digest;
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName};

/// The longest value that the kernel accepts, in bytes (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 65_536;
/// The prefix of the names of all attributes but [`ALL`], and the namespace outside which there are
/// none.
const PREFIX: &str = "user.regfs.";
const KIND: &[u8] = b"user.";
/// The attribute whose value has all others.
const ALL: &str = "user.regfs";

/// Returns `true` if a name is reserved for attributes with facts.
fn is_ours(name: &OsStr) -> bool {
    name == ALL || name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// An attribute of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum XattrName {
    /// The digest that a link or tag names, or that of a blob.
    Digest,
    /// The media type of a manifest.
    MediaType,
    /// The length of the blob in bytes.
    Size,
    /// The kind of the blob.
    Kind,
    /// The tags that name a manifest, or that need a layer.
    Tags,
    /// The digests that a manifest references, with their roles.
    References,
    /// The manifests whose subject this manifest is.
    Referrers,
    /// The time of the link or of the blob.
    Pushed,
    /// The last time at which a scrub found the bytes intact.
    Verified,
    /// The signed document of a schema 1 manifest.
    Signed,
    /// The reason of the newest refusal: of a write to the manifests or layers of a repository, or
    /// of the removal of a blob.
    Error,
}

impl XattrName {
    const ALL: [Self; 11] = [
        Self::Digest,
        Self::MediaType,
        Self::Size,
        Self::Kind,
        Self::Tags,
        Self::References,
        Self::Referrers,
        Self::Pushed,
        Self::Verified,
        Self::Signed,
        Self::Error,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::MediaType => "media_type",
            Self::Size => "size",
            Self::Kind => "kind",
            Self::Tags => "tags",
            Self::References => "references",
            Self::Referrers => "referrers",
            Self::Pushed => "pushed",
            Self::Verified => "verified",
            Self::Signed => "signed",
            Self::Error => "error",
        }
    }

    fn from_name(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?.strip_prefix(PREFIX)?;
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// The digest that a place names, with its repository and time.
struct XattrSubject<'a> {
    repository: Option<&'a RepositoryName>,
    digest: Digest,
    since: SystemTime,
}

impl Tree {
    /// Returns an attribute of a node, or `None` if the node does not have it.
    fn fact(&self, node: &Node, attribute: XattrName) -> Result<Option<Vec<u8>>, TreeError> {
        if attribute == XattrName::Error {
            return Ok(self.last_refusal(node));
        }
        match self.subject(node)? {
            Some(subject) => self.value(attribute, &subject),
            None => Ok(None),
        }
    }

    /// Returns all attributes of a node, one per line, as far as they fit into one value.
    fn all(&self, node: &Node) -> Result<Option<Vec<u8>>, TreeError> {
        let mut text = Vec::new();
        for attribute in XattrName::ALL {
            // A document is not a line.
            if attribute == XattrName::Signed {
                continue;
            }
            let Some(value) = self.fact(node, attribute)? else {
                continue;
            };
            let line = [attribute.name().as_bytes(), b": ", &value, b"\n"].concat();
            if text.len() + line.len() <= VALUE_MAX {
                text.extend(line);
            }
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// Returns the reason of the newest refusal of a write to the manifests or layers of a
    /// repository, or of the removal of a blob.
    fn last_refusal(&self, node: &Node) -> Option<Vec<u8>> {
        match node {
            Node::Manifests(repository) | Node::Links(repository, LinkSet::Layers) => {
                let rejected = self.rejections.lock();
                rejected
                    .last(repository)
                    .map(|text| text.as_bytes().to_vec())
            }
            Node::BlobDirectory(digest) | Node::BlobData(digest) => {
                let path = Node::BlobData(*digest).to_string();
                let rejected = self.rejections.lock();
                rejected.last_at(&path).map(|text| text.as_bytes().to_vec())
            }
            _ => None,
        }
    }

    /// Returns an attribute of what a place names, or `None` if it does not have it.
    fn value(
        &self,
        attribute: XattrName,
        subject: &XattrSubject<'_>,
    ) -> Result<Option<Vec<u8>>, TreeError> {
        let XattrSubject {
            repository, digest, ..
        } = subject;
        let text = match attribute {
            XattrName::Digest => Some(digest.to_string()),
            XattrName::MediaType => self.registry.queries().media_type(digest)?,
            XattrName::Size => self
                .registry
                .queries()
                .blob(digest)
                .ok()
                .map(|(size, _)| size.to_string()),
            XattrName::Kind => self.registry.queries().kind(digest)?.map(str::to_owned),
            XattrName::Tags | XattrName::References | XattrName::Referrers => {
                self.list_value(attribute, subject)?
            }
            XattrName::Pushed => Timestamp::try_from(subject.since)
                .ok()
                .map(|when| when.to_string()),
            XattrName::Verified => {
                let verified = self.registry.queries().verified_at(digest)?;
                let when = verified.and_then(|when| Timestamp::from_second(when.into()).ok());
                when.map(|when| when.to_string())
            }
            XattrName::Signed => {
                let Some(repository) = repository else {
                    return Ok(None);
                };
                let signed = self.registry.queries().signed(repository, digest)?;
                return Ok(signed.filter(|bytes| bytes.len() <= VALUE_MAX));
            }
            XattrName::Error => None,
        };
        Ok(text.map(String::into_bytes))
    }

    /// Returns an attribute that is a list.
    fn list_value(
        &self,
        attribute: XattrName,
        XattrSubject {
            repository, digest, ..
        }: &XattrSubject<'_>,
    ) -> Result<Option<String>, TreeError> {
        let queries = &mut self.registry.queries();
        Ok(match attribute {
            XattrName::Tags => {
                let tags = queries.tags_of(digest, *repository)?;
                joined(tags.into_iter().map(|(name, tag)| match repository {
                    Some(_) => tag.to_string(),
                    None => format!("{name}:{tag}"),
                }))
            }
            XattrName::References => {
                let references = queries.references(digest)?.into_iter();
                joined(references.map(|(role, one)| format!("{role} {one}")))
            }
            XattrName::Referrers => {
                let referrers = queries.referrers(digest, *repository)?.into_iter();
                joined(referrers.map(|one| one.to_string()))
            }
            _ => None,
        })
    }

    /// Returns what a link, a tag or a blob names; `None` for other nodes.
    fn subject<'a>(&self, node: &'a Node) -> Result<Option<XattrSubject<'a>>, TreeError> {
        let (repository, found) = match node {
            Node::Link(repository, set, digest) | Node::LinkDirectory(repository, set, digest) => (
                Some(repository),
                self.registry.queries().link(repository, set, digest),
            ),
            Node::Tag(repository, tag)
            | Node::Current(repository, tag)
            | Node::CurrentLink(repository, tag) => (
                Some(repository),
                self.registry.queries().current(repository, tag),
            ),
            Node::BlobData(digest) | Node::BlobDirectory(digest) => {
                let blob = self.registry.queries().blob(digest);
                (None, blob.map(|(_, since)| (*digest, since)))
            }
            _ => return Ok(None),
        };
        match found.map_err(TreeError::from) {
            // A directory that was created and is empty.
            Err(TreeError::NotFound) => Ok(None),
            Err(error) => Err(error),
            Ok((digest, since)) => Ok(Some(XattrSubject {
                repository,
                digest,
                since,
            })),
        }
    }
}

/// The extended attributes of files and directories.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedAttributes<'a>(pub(super) &'a Tree);

impl Tree {
    /// Returns the extended attributes of files and directories.
    pub fn xattrs(&self) -> ExtendedAttributes<'_> {
        ExtendedAttributes(self)
    }
}

impl ExtendedAttributes<'_> {
    /// Returns the value of an extended attribute. Outside `user.` the error is one that the kernel
    /// remembers for the whole filesystem, so that ls asks for access lists and labels only once.
    ///
    /// # Errors
    /// [`TreeError::NoSuchAttributes`] outside `user.`; [`TreeError::NoAttribute`] if the place has
    /// no such attribute; otherwise the error of the index.
    pub fn get(self, place: &Place, name: &OsStr) -> Result<Vec<u8>, TreeError> {
        if !name.as_encoded_bytes().starts_with(KIND) {
            return Err(TreeError::NoSuchAttributes);
        }
        let Place::Node(node) = place else {
            return Err(TreeError::NoAttribute);
        };
        let value = if name == ALL {
            self.0.all(node)?
        } else {
            let attribute = XattrName::from_name(name).ok_or(TreeError::NoAttribute)?;
            self.0.fact(node, attribute)?
        };
        value.ok_or(TreeError::NoAttribute)
    }

    /// Sets an extended attribute, or removes it if `value` is `None`. No fact changes: setting the
    /// value that is there and removing succeed without effect. So does setting an attribute that
    /// the place does not have (yet), since programs that copy files set attributes before the
    /// content.
    ///
    /// # Errors
    /// [`TreeError::NotPermitted`] for a value other than the current one, and for control files;
    /// [`TreeError::NoSuchAttributes`] for other names, and for plain files.
    pub fn set(self, place: &Place, name: &OsStr, value: Option<&[u8]>) -> Result<(), TreeError> {
        match place {
            Place::Node(_) | Place::Pending(_) | Place::Hidden(_) if is_ours(name) => {}
            Place::Control(_) => {
                return Err(TreeError::NotPermitted(
                    "control files have no settable attributes",
                ));
            }
            Place::Node(_) | Place::Pending(_) | Place::Hidden(_) | Place::Plain(_) => {
                return Err(TreeError::NoSuchAttributes);
            }
        }
        let Some(value) = value else { return Ok(()) };
        match self.0.xattrs().get(place, name) {
            Ok(known) if known != value => Err(TreeError::NotPermitted(
                "the value of this attribute is a fact and cannot be set",
            )),
            Ok(_) | Err(TreeError::NoAttribute) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Joins values with commas, as many as fit into one attribute. Returns `None` if there are none.
fn joined(values: impl ExactSizeIterator<Item = String>) -> Option<String> {
    const MORE: usize = 32;
    let count = values.len();
    let mut text = String::new();
    for (at, value) in values.enumerate() {
        if text.len() + value.len() + MORE > VALUE_MAX {
            // Writing to a string does not fail.
            let _ok = write!(text, ", and {} more", count - at);
            break;
        }
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(&value);
    }
    (count > 0).then_some(text)
}

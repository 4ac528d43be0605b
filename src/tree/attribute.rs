//! Extended attributes: facts about a place, for getfattr.
//!
//! They are answered by name and not listed: what lists attributes copies them, and elsewhere
//! they would say what is not so.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;

use super::{Place, Tree, TreeError};
use crate::digest::Digest;
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};

/// Most bytes that the kernel takes for one attribute (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 65_536;
/// What the names of all attributes begin with, and the only kind of attributes there are.
const PREFIX: &str = "user.regfs.";
const KIND: &[u8] = b"user.";
/// The attribute that tells all others.
const ALL: &str = "user.regfs";

/// Whether a name is that of an attribute that tells a fact, or of one that none tells yet.
fn is_ours(name: &OsStr) -> bool {
    name == ALL || name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// What can be asked of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    /// The digest that a link or tag names, or that a blob has.
    Digest,
    /// Its media type, of a manifest.
    MediaType,
    /// Its length in bytes.
    Size,
    /// What it is.
    Kind,
    /// The tags that are at it, or of a layer need it.
    Tags,
    /// What it names, of a manifest.
    References,
    /// What is about it, of a manifest.
    Referrers,
    /// Since when the link is there, or the blob.
    Pushed,
    /// When the bytes were last read and found right, by scrub.
    Verified,
    /// The document as it was signed, of a schema 1 manifest.
    Signed,
    /// Why the newest write was refused, of a repository's manifests or layers; of a blob, why
    /// its removal was.
    Error,
}

impl Attribute {
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

/// What a link, a tag or a blob names, and where it stands.
struct Subject<'a> {
    repository: Option<&'a RepositoryName>,
    digest: Digest,
    since: SystemTime,
}

impl Tree {
    /// The value of an extended attribute. That there are no access lists and labels is said of
    /// the whole filesystem: ls then asks for those of the first file only.
    pub fn extended(&self, place: &Place, name: &OsStr) -> Result<Vec<u8>, TreeError> {
        if !name.as_encoded_bytes().starts_with(KIND) {
            return Err(TreeError::NoSuchAttributes);
        }
        let Place::Node(node) = place else {
            return Err(TreeError::NoAttribute);
        };
        let value = if name == ALL {
            self.all(node)?
        } else {
            let attribute = Attribute::from_name(name).ok_or(TreeError::NoAttribute)?;
            self.fact(node, attribute)?
        };
        value.ok_or(TreeError::NoAttribute)
    }

    /// An attribute of a node; nothing if it has none.
    fn fact(&self, node: &Node, attribute: Attribute) -> Result<Option<Vec<u8>>, TreeError> {
        if attribute == Attribute::Error {
            return Ok(self.last_refusal(node));
        }
        match self.subject(node)? {
            Some(subject) => self.value(attribute, &subject),
            None => Ok(None),
        }
    }

    /// What setting an attribute comes to, or removing it, which is setting it to nothing. No
    /// fact changes by that: what is so already, or is removed, is done, and so is what the place
    /// has no value for (yet), since programs that copy files set the attributes of those first.
    pub fn set_extended(
        &self,
        place: &Place,
        name: &OsStr,
        value: Option<&[u8]>,
    ) -> Result<(), TreeError> {
        match place {
            Place::Node(_) | Place::Draft(_) | Place::Hidden(_) if is_ours(name) => {}
            Place::Own(_) => return Err(TreeError::NotPermitted("only we write these files")),
            Place::Node(_) | Place::Draft(_) | Place::Hidden(_) | Place::Plain(_) => {
                return Err(TreeError::NoSuchAttributes);
            }
        }
        let Some(value) = value else { return Ok(()) };
        match self.extended(place, name) {
            Ok(known) if known != value => {
                Err(TreeError::NotPermitted("this attribute tells a fact"))
            }
            Ok(_) | Err(TreeError::NoAttribute) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All attributes that a place has, one a line.
    fn all(&self, node: &Node) -> Result<Option<Vec<u8>>, TreeError> {
        let mut text = Vec::new();
        for attribute in Attribute::ALL {
            // A document is no line.
            if attribute == Attribute::Signed {
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

    /// Why the newest write to a repository's manifests or layers, or the newest removal of a
    /// blob, was refused.
    fn last_refusal(&self, node: &Node) -> Option<Vec<u8>> {
        match node {
            Node::Manifests(repository) | Node::Links(repository, LinkSet::Layers) => {
                let rejected = self.rejected.lock();
                rejected
                    .last(repository)
                    .map(|text| text.as_bytes().to_vec())
            }
            Node::BlobDirectory(digest) | Node::BlobData(digest) => {
                let path = Node::BlobData(*digest).to_string();
                let rejected = self.rejected.lock();
                rejected.last_at(&path).map(|text| text.as_bytes().to_vec())
            }
            _ => None,
        }
    }

    /// An attribute of what a place names; nothing if it has none.
    fn value(
        &self,
        attribute: Attribute,
        subject: &Subject<'_>,
    ) -> Result<Option<Vec<u8>>, TreeError> {
        let Subject {
            repository, digest, ..
        } = subject;
        let text = match attribute {
            Attribute::Digest => Some(digest.to_string()),
            Attribute::MediaType => self.registry.queries().media_type(digest)?,
            Attribute::Size => self
                .registry
                .queries()
                .blob(digest)
                .ok()
                .map(|(size, _)| size.to_string()),
            Attribute::Kind => self.registry.queries().kind(digest)?.map(str::to_owned),
            Attribute::Tags => {
                let tags = self.registry.queries().tags_of(digest, *repository)?;
                let shown = |(name, tag): (RepositoryName, Tag)| match repository {
                    Some(_) => tag.to_string(),
                    None => format!("{name}:{tag}"),
                };
                joined(tags.into_iter().map(shown))
            }
            Attribute::References => {
                let references = self.registry.queries().references(digest)?;
                joined(
                    references
                        .into_iter()
                        .map(|(role, one)| format!("{role} {one}")),
                )
            }
            Attribute::Referrers => {
                let referrers = self.registry.queries().referrers(digest, *repository)?;
                joined(referrers.into_iter().map(|one| one.to_string()))
            }
            Attribute::Pushed => Timestamp::try_from(subject.since)
                .ok()
                .map(|when| when.to_string()),
            Attribute::Verified => {
                let verified = self.registry.queries().verified_at(digest)?;
                let when = verified.and_then(|when| Timestamp::from_second(when.into()).ok());
                when.map(|when| when.to_string())
            }
            Attribute::Signed => {
                let Some(repository) = repository else {
                    return Ok(None);
                };
                let signed = self.registry.queries().signed(repository, digest)?;
                return Ok(signed.filter(|bytes| bytes.len() <= VALUE_MAX));
            }
            Attribute::Error => None,
        };
        Ok(text.map(String::into_bytes))
    }

    /// What a link, a tag or a blob names.
    fn subject<'a>(&self, node: &'a Node) -> Result<Option<Subject<'a>>, TreeError> {
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
            // A directory that was made, and nothing in it yet.
            Err(TreeError::NotFound) => Ok(None),
            Err(error) => Err(error),
            Ok((digest, since)) => Ok(Some(Subject {
                repository,
                digest,
                since,
            })),
        }
    }
}

/// Values one behind the other, as many as fit; nothing if there are none.
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

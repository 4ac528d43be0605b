//! Names: repositories, directories that lead to them, tags, uploads, and sets of links.
//!
//! Each type has one constructor, `FromStr`, which admits exactly what distribution admits; names
//! are not checked again later. Clones share the text, since every path repeats the names above it.
//! Sources: distribution-spec 1.1.1 ("Pulling manifests") and the `reference` package of
//! distribution 2.8 to 3.1, which also lets the first of several components be a host name
//! (`Foo/bar`, `foo.com/bar`).
//!
//! Names are not paths: `layout` places them in the tree.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::Digest;

/// Longest repository name in bytes (distribution: `RepositoryNameTotalLengthMax`).
pub const REPOSITORY_BYTES_MAX: usize = 255;
/// Longest tag in bytes (distribution-spec 1.1.1).
pub const TAG_BYTES_MAX: usize = 128;

/// Why a text is not a name of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Neither a repository name nor the beginning of one.
    #[error(
        "{0:?} is not a repository name: expected components of [a-z0-9] joined by . _ __ or -, separated by /, at most 255 bytes"
    )]
    Repository(String),
    /// Not a tag.
    #[error("{0:?} is not a tag: expected [A-Za-z0-9_] followed by at most 127 of [A-Za-z0-9_.-]")]
    Tag(String),
    /// Not the identifier of an upload.
    #[error("{0:?} is not an upload id: expected a lower-case UUID")]
    Upload(String),
}

/// A directory below `repositories`: a repository name, or the beginning of one.
///
/// `Foo` alone is not a repository name, but `Foo/bar` is, so the directory `Foo` may exist.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The full name, components separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace one component below; `None` if the grammar does not admit it.
    pub fn child(&self, component: &str) -> Option<Self> {
        if component.contains('/') {
            return None;
        }
        format!("{self}/{component}").parse().ok()
    }

    /// The namespace above; `None` for a single component.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.into()))
    }

    /// The last component.
    pub fn last(&self) -> &str {
        self.0
            .rsplit_once('/')
            .map_or(self.as_str(), |(_, last)| last)
    }

    /// The full name after `from` is renamed to `to`; `None` if this is not `from` and not below
    /// it. The result need not be a valid name.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<String> {
        let rest = self.0.strip_prefix(from.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
    }

    /// The repository with this name, if it is a complete name.
    pub fn repository(&self) -> Option<RepositoryName> {
        let mut components = self.0.split('/');
        let first = components.next().unwrap_or_default();
        let whole = components.next().is_some() || is_component(first);
        whole.then(|| RepositoryName(self.clone()))
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut components = text.split('/');
        let first = components.next().unwrap_or_default();
        let admitted = text.len() <= REPOSITORY_BYTES_MAX
            && (is_component(first) || is_host(first))
            && components.all(is_component);
        admitted
            .then(|| Self(text.into()))
            .ok_or_else(|| NameError::Repository(text.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separator = "";
    let mut rest = text;
    loop {
        let word = rest.len() - rest.trim_start_matches(alphanumeric).len();
        let (head, tail) = rest.split_at(word);
        if head.is_empty() {
            return false;
        }
        let admitted = matches!(separator, "" | "." | "_" | "__")
            || separator.bytes().all(|byte| byte == b'-');
        if !admitted {
            return false;
        }
        if tail.is_empty() {
            return true;
        }
        let end = tail.find(alphanumeric).unwrap_or(tail.len());
        (separator, rest) = tail.split_at(end);
    }
}

/// `([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(\. same)*`
fn is_host(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// The name of a repository, such as `library/alpine`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Namespace);

impl RepositoryName {
    /// The full name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The directory of the repository.
    pub fn namespace(&self) -> &Namespace {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let namespace: Namespace = text.parse()?;
        namespace
            .repository()
            .ok_or_else(|| NameError::Repository(text.into()))
    }
}

/// A tag: a movable name of a manifest in a repository. It is case-sensitive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The text of the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let admitted = text.len() <= TAG_BYTES_MAX
            && text.bytes().next().is_some_and(word)
            && text
                .bytes()
                .all(|byte| word(byte) || byte == b'.' || byte == b'-');
        admitted
            .then(|| Self(text.into()))
            .ok_or_else(|| NameError::Tag(text.into()))
    }
}

/// The identifier of an upload: a UUID, which distribution writes in lower case (version 4 up to
/// 3.0, version 7 since 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId([u8; 16]);

impl UploadId {
    /// The identifier with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the identifier.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Positions of the hyphens in the text of a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl FromStr for UploadId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::Upload(text.into());
        let mut value: u128 = 0;
        for (position, byte) in text.bytes().enumerate() {
            let digit = match byte {
                b'-' if HYPHENS.contains(&position) => continue,
                _ if HYPHENS.contains(&position) => return Err(refused()),
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return Err(refused()),
            };
            value = value << 4 | u128::from(digit);
        }
        (text.len() == 36)
            .then(|| Self(value.to_be_bytes()))
            .ok_or_else(refused)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&position) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A set of links in a repository, which maps path digests to target digests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkSet {
    /// The layers and configurations of the repository.
    Layers,
    /// The manifests of the repository.
    Revisions,
    /// The manifests that a tag has ever pointed to.
    TagIndex(Tag),
    /// The signatures of a schema 1 manifest (distribution up to 2.4).
    Signatures(Digest),
}

/// Formats names as their text, with `Display` and `Debug`.
macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
shown_as_text!(Namespace, RepositoryName, Tag);

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_are_those_of_distribution() {
        let long = format!("a/{}", "b".repeat(253));
        for name in [
            "a",
            "a/b",
            "a/b/c",
            "a.b",
            "a_b",
            "a__b",
            "a---b",
            "0/1",
            "Foo/bar",
            "foo.com/bar",
            "a-b.C/d",
            &long,
        ] {
            assert!(name.parse::<RepositoryName>().is_ok(), "{name}");
        }
        let longer = format!("a/{}", "b".repeat(254));
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "Foo",
            "foo/Bar",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "_layers",
            "a/_layers",
            "a b",
            "a:5000/b",
            "é",
            "a/b\n",
            ".",
            "..",
            &longer,
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_namespace_may_be_the_beginning_of_a_name_only() {
        let namespace: Namespace = "Foo".parse().unwrap();
        assert_eq!(namespace.repository(), None);
        let child = namespace.child("bar").unwrap();
        assert_eq!(child.repository().unwrap().as_str(), "Foo/bar");
        assert_eq!(child.parent(), Some(namespace.clone()));
        assert_eq!(namespace.parent(), None);
        assert_eq!(child.last(), "bar");
        assert_eq!(child.child("a/b"), None);
        assert_eq!(child.child("_layers"), None);
    }

    #[test]
    fn tags_are_those_of_the_specification() {
        for tag in ["latest", "V1.0-rc_2", "_", "0", &"a".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        for tag in ["", ".a", "-a", "a/b", "a b", "ä", "a\n", &"a".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    #[test]
    fn an_upload_is_a_lower_case_uuid() {
        let text = "01890a5d-ac96-774b-bcce-b302099a8057";
        let upload: UploadId = text.parse().unwrap();
        assert_eq!(upload.to_string(), text);
        assert_eq!(UploadId::from_bytes(*upload.as_bytes()), upload);
        for text in [
            "",
            "x",
            &text.to_uppercase(),
            &text.replace('-', ""),
            &format!("{text}0"),
            &text.replace("ac96-", "ac960"),
            "0-890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(text.parse::<UploadId>().is_err(), "{text}");
        }
    }
}

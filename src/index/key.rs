//! Keys: the format of the index, byte for byte. Format version 2 (stored by `redb/open.rs`); every
//! row of version 1 is a row of version 2, so an index of version 1 is marked as version 2 when it
//! is opened.
//!
//! All numbers are big-endian. `repo4` and `id4` are the 4-byte ids of a repository and of a
//! digest, allocated once and never reused. `alg1` is 1 (sha256), 2 (sha384) or 3 (sha512). `d8` is
//! the first 8 bytes of a digest: it orders links by digest and is never trusted alone. A `/` in a
//! name is stored as 0, so that keys sort in the order of the hierarchy.
//!
//! ```text
//! key                                  value
//! N name                               repo4 flags2                       repository or directory
//! n repo4                              name
//! B alg1 digest                        id4 flags1 size8 created4          known digest, maybe a blob
//! d id4                                alg1 digest
//! P alg1 [shard1]                                                         directory of blobs
//! L repo4 alg1 d8 id4                  [pushed4 [target id4]]             layer link
//! R repo4 alg1 d8 id4                  the same                           revision link
//! I repo4 tag 0 alg1 d8 id4            the same                           tag index link
//! S repo4 id4 alg1 d8 id4              the same                           signature of revision id4
//! G repo4 id4 [alg1]                                                      directory of signatures
//! T repo4 tag 0                        flags1 [id4 pushed4]               tag, with its current link
//! r id4 repo4                                                             repositories with revision id4
//! t id4 repo4 tag                                                         tags that point to id4
//! U repo4 uuid16                       flags1 staging8 updated4 started   upload
//! H repo4 uuid16 alg1 offset8          updated4 state                     hash state of an upload
//! M id4                                media type                         media type of a manifest
//! E id4 position4                      role1 id4                          reference of a manifest
//! e id4 role1 manifest4                                                   reverse of E
//! K id4                                bytes                              content of an inline blob
//! V id4                                verified4                          last verification of a blob
//! Y alg1 digest                        staging8                           pending publication of a blob
//! Z staging8                           generation8 bytes                  logged bytes of a staging file
//! A kind1 [repo4]                      uid4 gid4 mode2                    ownership of a directory
//! W 0 which1                           changed4 [basis4]                  time of a directory: at the top
//! W 1 alg1 [shard1 [rest of digest]]   the same                           of blobs
//! W 2 repo4 [part1 ...]                the same                           of a repository
//! C letter                             next8                              counters
//! ```
//!
//! The directories of table A are the mountpoint (1), `v2` (2), `blobs` (3), `repositories` (4) and
//! a repository or a directory that leads to one (5, with its id). A directory without a row has
//! the mount's owner and mode 0755. A user or group of 2^32-1 is the mount's.
//!
//! Table W holds modification times of directories that do not follow from their contents:
//! `changed4` is the last change of the entries, or a time set by a client. Where the contents also
//! imply a time, `basis4` is the implied time when the row was written; the row is valid while the
//! implied time is unchanged. The top directories are `v2` (0), `blobs` (1) and `repositories` (2).
//! The parts of a repository are its manifests `m`, `T [tag 0 [c | i [alg1 [digest]]]]` (tags, one
//! tag, its current link, its index), `L` or `R` `[alg1 [digest]]` (layers, revisions), `S alg1
//! digest [alg1 [digest]]` (signatures of a revision) and `U [uuid16 [h [alg1]]]` (uploads).
//!
//! A link with an empty value is a directory that was created for a link. Times are seconds since
//! 1970.

use std::ops::Range;

use super::id::{DigestId, RepositoryId};
use crate::digest::{Algorithm, Digest};
use crate::name::{Namespace, Tag, UploadId};

/// The byte of an algorithm.
pub(super) fn algorithm_byte(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
    }
}

/// The algorithm of a byte.
pub(super) fn algorithm_of(byte: u8) -> Option<Algorithm> {
    Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm_byte(*algorithm) == byte)
}

/// A key under construction.
#[derive(Clone, Debug)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Starts a key of a table.
    pub(super) fn table(letter: u8) -> Self {
        Self(vec![letter])
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn byte(self, byte: u8) -> Self {
        self.bytes(&[byte])
    }

    pub(super) fn repository(self, repository: RepositoryId) -> Self {
        self.bytes(&repository.0.to_be_bytes())
    }

    pub(super) fn id(self, id: DigestId) -> Self {
        self.bytes(&id.0.to_be_bytes())
    }

    pub(super) fn algorithm(self, algorithm: Algorithm) -> Self {
        self.byte(algorithm_byte(algorithm))
    }

    /// Appends the algorithm and the first 8 bytes of a digest, which order links.
    pub(super) fn prefix(self, digest: &Digest) -> Self {
        let first = digest.as_bytes().get(..8).unwrap_or_default();
        self.algorithm(digest.algorithm()).bytes(first)
    }

    pub(super) fn digest(self, digest: &Digest) -> Self {
        self.algorithm(digest.algorithm()).bytes(digest.as_bytes())
    }

    /// Appends a tag and its terminator; no tag contains a zero byte.
    pub(super) fn tag(self, tag: &Tag) -> Self {
        self.bytes(tag.as_str().as_bytes()).byte(0)
    }

    pub(super) fn upload(self, upload: &UploadId) -> Self {
        self.bytes(upload.as_bytes())
    }

    pub(super) fn namespace(mut self, namespace: &Namespace) -> Self {
        self.0.extend(
            namespace
                .as_str()
                .bytes()
                .map(|byte| if byte == b'/' { 0 } else { byte }),
        );
        self
    }

    /// The range of all repositories below `parent`, or of all repositories.
    pub(super) fn namespaces_below(parent: Option<&Namespace>) -> Range<Vec<u8>> {
        match parent {
            None => Self::table(b'N').prefix_range(),
            Some(name) => Self::table(b'N').namespace(name).byte(0).prefix_range(),
        }
    }

    /// The bytes of the key.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The range of all keys that start with this one, itself included.
    pub(super) fn prefix_range(self) -> Range<Vec<u8>> {
        let end = prefix_end(self.0.clone());
        self.0..end
    }
}

/// The first key after all keys that start with `prefix`.
pub(super) fn prefix_end(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return prefix;
        }
    }
    vec![u8::MAX; 2]
}

/// The first key after `key`.
pub(super) fn next_key(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_after_every_key_with_it() {
        assert_eq!(prefix_end(vec![1, 2]), [1, 3]);
        assert_eq!(prefix_end(vec![1, 255]), [2]);
        assert_eq!(prefix_end(vec![255]), [255, 255]);
    }

    proptest! {
        #[test]
        fn keys_sort_as_tags(a in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", b in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}") {
            let key = |tag: &str| Key::table(b'T').tag(&tag.parse().unwrap()).into_bytes();
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_sort_as_the_hierarchy(a in "[a-z0-9]{1,2}([-.][a-z0-9])?(/[a-z0-9]{1,2}){0,3}", b in "[a-z0-9]{1,2}([-.][a-z0-9])?(/[a-z0-9]{1,2}){0,3}") {
            let key = |name: &str| Key::table(b'N').namespace(&name.parse().unwrap()).into_bytes();
            let components = |name: &str| name.split('/').map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(key(&a).cmp(&key(&b)), components(&a).cmp(&components(&b)));
        }

        #[test]
        fn a_prefix_range_covers_exactly_the_keys_with_the_prefix(prefix in prop::collection::vec(any::<u8>(), 1..4), key in prop::collection::vec(any::<u8>(), 0..6)) {
            // Tables start with a letter, never with 255.
            let prefix = [&b"L"[..], &prefix].concat();
            let key = [&b"L"[..], &key].concat();
            let range = Key(prefix.clone()).prefix_range();
            prop_assert_eq!(range.contains(&key), key.starts_with(&prefix));
        }
    }
}

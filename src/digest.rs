//! Digests, which identify content.
//!
//! A [`Digest`] is an algorithm and bytes, never text; hexadecimal exists only where it is parsed
//! or shown. The grammar is that of the OCI image specification 1.1.1 ("Digests"), restricted to
//! the algorithms that distribution accepts (go-digest: sha256, sha384, sha512).
//!
//! This module stores no content and knows no paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// Size of the read buffer in bytes.
const PART: usize = 1 << 20;

/// The hash function of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256: used by every registry.
    Sha256,
    /// SHA-384: accepted by go-digest, not registered by OCI.
    Sha384,
    /// SHA-512: optional in OCI; distribution stores such a blob under its sha256.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, sorted by name.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name, as before the colon of a digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a digest in bytes; its hexadecimal form is twice as long.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm with this name, if it is one of the three.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The digest of some content: an algorithm and a hash value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// A SHA-256 value.
    Sha256([u8; 32]),
    /// A SHA-384 value.
    Sha384([u8; 48]),
    /// A SHA-512 value.
    Sha512([u8; 64]),
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon, or nothing before it.
    #[error("digest {0:?} has no algorithm: expected sha256:<64 lower-case hex digits>")]
    Form(String),
    /// distribution does not store digests of this algorithm.
    #[error("digest {0:?} names an unknown algorithm: expected sha256, sha384 or sha512")]
    Algorithm(String),
    /// The value has the wrong length or characters.
    #[error("digest {0:?} is malformed: expected {1} lower-case hex digits after the colon")]
    Value(String, usize),
}

impl Digest {
    /// Hashes `content` with `algorithm`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// Hashes the bytes that `next` writes to its buffer, call by call, until it returns 0.
    ///
    /// # Errors
    /// Those of `next`.
    pub fn of_parts<E>(
        algorithm: Algorithm,
        mut next: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Self, E> {
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; PART];
        loop {
            let read = next(&mut buffer)?;
            if read == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
        }
    }

    /// Parses a digest with its algorithm, or a hexadecimal value alone, whose length implies the
    /// algorithm.
    pub fn named(text: &str) -> Option<Self> {
        let digits = |algorithm: &Algorithm| Self::from_hex(*algorithm, text);
        let whole = text.parse().ok();
        whole.or_else(|| Algorithm::ALL.iter().find_map(digits))
    }

    /// The digest with this hexadecimal value (lower case, full length).
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let mut value = [0_u8; 64];
        let value = value.get_mut(..algorithm.len_bytes())?;
        if hex.len() != value.len() * 2 {
            return None;
        }
        for (byte, pair) in value.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Self::from_bytes(algorithm, value)
    }

    /// The digest with this value; `None` if the length is wrong.
    pub fn from_bytes(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => value.try_into().ok().map(Self::Sha256),
            Algorithm::Sha384 => value.try_into().ok().map(Self::Sha384),
            Algorithm::Sha512 => value.try_into().ok().map(Self::Sha512),
        }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha384(_) => Algorithm::Sha384,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash value.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(value) => value,
            Self::Sha384(value) => value,
            Self::Sha512(value) => value,
        }
    }

    /// The first byte of the value: the shard in `blobs/<alg>/<2 hex>`.
    pub fn shard(&self) -> u8 {
        self.as_bytes().first().copied().unwrap_or_default()
    }

    /// The value in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        let digit = |nibble: u8| char::from(nibble + if nibble < 10 { b'0' } else { b'a' - 10 });
        let mut text = String::with_capacity(2 * self.as_bytes().len());
        for byte in self.as_bytes() {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        text
    }

    /// Length of the digest as text, `sha256:<hex>`, in bytes.
    pub fn text_len(&self) -> usize {
        let algorithm = self.algorithm();
        algorithm.name().len() + 1 + 2 * algorithm.len_bytes()
    }
}

/// The value of one lower-case hexadecimal digit.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Form(text.into()))?;
        if name.is_empty() {
            return Err(DigestError::Form(text.into()));
        }
        let algorithm =
            Algorithm::from_name(name).ok_or_else(|| DigestError::Algorithm(text.into()))?;
        Self::from_hex(algorithm, hex)
            .ok_or_else(|| DigestError::Value(text.into(), algorithm.len_bytes() * 2))
    }
}

/// An incremental hash.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-384.
    Sha384(sha2::Sha384),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, content: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(content),
            Self::Sha384(hasher) => hasher.update(content),
            Self::Sha512(hasher) => hasher.update(content),
        }
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Sha384(hasher) => Digest::Sha384(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_parsed_digest_is_printed_unchanged() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"regfs");
            assert_eq!(digest.to_string().parse(), Ok(digest));
            assert_eq!(digest.hex().len(), algorithm.len_bytes() * 2);
        }
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
    }

    #[test]
    fn an_invalid_digest_is_refused_with_what_was_expected() {
        let refused = |text: &str| text.parse::<Digest>().unwrap_err().to_string();
        assert!(refused("").contains("no algorithm"));
        assert!(refused(":e3b0").contains("no algorithm"));
        assert!(refused("md5:d41d8cd98f00b204e9800998ecf8427e").contains("unknown algorithm"));
        assert!(refused("sha256:e3b0").contains("expected 64 lower-case"));
        assert!(refused(&EMPTY.to_uppercase().replace("SHA", "sha")).contains("malformed"));
        assert!(refused(&format!("{EMPTY}\n")).contains("malformed"));
        assert!(refused(&EMPTY.replace("e3", "é")).contains("malformed"));
    }

    #[test]
    fn bytes_may_be_hashed_piece_by_piece() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"reg");
        hasher.update(b"fs");
        assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha512, b"regfs"));
    }
}

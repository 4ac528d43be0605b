//! Links as plain files: parsing their content and checking it against their path.

use crate::adoption::finding::FindingKind;
use crate::digest::{Algorithm, Digest};
use crate::name::LinkSet;

/// The length of the longest valid link, in bytes: `sha512:` and 128 digits.
pub(super) const BYTES_MAX: usize = 135;

/// Parses the content of a link. Returns its digest; or what is wrong with it, in words.
pub(super) fn parse(bytes: &[u8]) -> Result<Digest, (FindingKind, String)> {
    if bytes.is_empty() {
        return Err((FindingKind::EmptyLink, "it is empty".into()));
    }
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let shown = String::from_utf8_lossy(bytes.get(..BYTES_MAX).unwrap_or(bytes));
        (
            FindingKind::MalformedLink,
            format!("its content is {shown:?}"),
        )
    })
}

/// Returns `true` if a link of a set whose path has `digest` may name `target`. A blob that was
/// pushed by sha384 or sha512 is linked under that digest and under its sha256, and both links name
/// the sha256 (distribution 2.8 to 3.1, `blobwriter.go`).
pub(super) fn may_name(set: &LinkSet, digest: &Digest, target: &Digest) -> bool {
    let alias = *set == LinkSet::Layers
        && digest.algorithm() != Algorithm::Sha256
        && target.algorithm() == Algorithm::Sha256;
    digest == target || alias
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_link_is_classified() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert_eq!(parse(digest.to_string().as_bytes()), Ok(digest));
        assert_eq!(parse(b"").unwrap_err().0, FindingKind::EmptyLink);
        for bytes in [
            format!("{digest}\n").as_bytes(),
            &digest.to_string().as_bytes()[..40],
            b"\xff\xfe",
            &[0; 71],
        ] {
            assert_eq!(parse(bytes).unwrap_err().0, FindingKind::MalformedLink);
        }
    }

    #[test]
    fn only_a_layer_may_go_by_another_algorithm() {
        let sha256 = Digest::of(Algorithm::Sha256, b"x");
        let sha512 = Digest::of(Algorithm::Sha512, b"x");
        assert!(may_name(&LinkSet::Layers, &sha512, &sha256));
        assert!(!may_name(&LinkSet::Layers, &sha256, &sha512));
        assert!(!may_name(&LinkSet::Revisions, &sha512, &sha256));
        let other = Digest::of(Algorithm::Sha256, b"y");
        assert!(!may_name(&LinkSet::Layers, &sha256, &other));
    }
}

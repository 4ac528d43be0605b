//! Tags that need a digest, as reports name them.

use crate::digest::Digest;
use crate::name::RepositoryName;
use crate::registry::{Error, Registry};

/// Returns the tags that cannot be pulled without a digest, as `repository:tag`; only those of a
/// repository if one is given.
///
/// # Errors
/// [`Error::Missing`] if that repository does not exist; the failure to read the index.
pub(super) fn tags_that_need(
    registry: &Registry,
    digest: &Digest,
    only: Option<&RepositoryName>,
) -> Result<Vec<String>, Error> {
    let tags = registry.queries().tags_of(digest, only)?;
    Ok(tags
        .iter()
        .map(|(name, tag)| format!("{name}:{tag}"))
        .collect())
}

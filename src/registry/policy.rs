//! Policy: what is admitted and what is refused, as far as whoever mounts may choose.

use std::time::Duration;

use crate::manifest::{self, MANIFEST_BYTES_MAX, Manifest, ParseOptions, Refusal};

/// Whether bytes that a manifest still names may be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// No: refused, so that nobody loses an image by `rm`. Registries' own collections and
    /// caches, which remove layers before the manifests that name them, fail then.
    Guarded,
    /// Yes, as on a plain directory.
    #[default]
    Permissive,
}

/// Whether what a dropped manifest references must be in its repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferenceCheck {
    /// Yes, and of the size that the manifest says.
    #[default]
    Require,
    /// No, as distribution does it with its validation turned off.
    Skip,
}

/// Whether schema 1 manifests may be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema1 {
    /// No; those that exist are served.
    #[default]
    Refuse,
    /// Yes, signed ones only with good signatures.
    Accept,
}

/// What happens to a manifest that a registry links though the rules would refuse it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audit {
    /// Nobody looks.
    Off,
    /// It is linked, and the finding told.
    #[default]
    Warn,
    /// It is refused, as a dropped one would be.
    Enforce,
}

/// What fsync waits for. Whatever it does not wait for is durable about 100 ms later, always as
/// a prefix of what was done: less is lost in a crash, never something in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Everything that was done before it.
    #[default]
    Always,
    /// The bytes of uploads and blobs, but not the facts: links and tags that were written in
    /// the last moment before a power cut may be gone.
    Data,
    /// Nothing.
    Lazy,
}

/// What fsync of an upload's notes (start time, hash states, and the directories they are in)
/// promises. A registry makes dozens of them for every image, and needs none after a crash but
/// to go on with an upload in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadDurability {
    /// What fsync promises everywhere.
    #[default]
    Durable,
    /// Nothing: after a power cut an upload may have to begin anew. What was pushed is as
    /// durable as ever.
    Fast,
}

/// What is admitted and what is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether bytes that a manifest still names may be removed.
    pub removal: Removal,
    /// How long the bytes of removed blobs are kept in the trash; not at all if this is zero.
    pub trash: Duration,
    /// Whether what a dropped manifest references must be there.
    pub references: ReferenceCheck,
    /// Whether schema 1 manifests may be made.
    pub schema1: Schema1,
    /// What happens to manifests of a registry that the rules would refuse.
    pub audit: Audit,
    /// What fsync waits for.
    pub sync: Sync,
    /// What fsync of an upload's notes promises.
    pub uploads: UploadDurability,
    /// Largest manifest that may be dropped, in bytes.
    pub manifest_bytes_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            removal: Removal::default(),
            trash: Duration::from_hours(7 * 24),
            references: ReferenceCheck::default(),
            schema1: Schema1::default(),
            audit: Audit::default(),
            sync: Sync::default(),
            uploads: UploadDurability::default(),
            manifest_bytes_max: MANIFEST_BYTES_MAX,
        }
    }
}

impl Policy {
    /// Most that `manifest_bytes_max` may be: distribution takes no more.
    pub const MANIFEST_BYTES_MOST: usize = MANIFEST_BYTES_MAX;

    /// Whether the bytes of removed blobs are kept for a while.
    pub(super) fn keeps_removed(&self) -> bool {
        !self.trash.is_zero()
    }

    /// Validates a document by the rules that need no registry.
    ///
    /// # Errors
    /// The first rule that the document breaks.
    pub fn validate(&self, document: &[u8]) -> Result<Manifest, Refusal> {
        let admission = ParseOptions {
            bytes_max: self.manifest_bytes_max,
            schema1: self.schema1 == Schema1::Accept,
        };
        manifest::parse(document, &admission)
    }
}

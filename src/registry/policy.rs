//! Policy: what the mount options decide about admission, removal and durability.

use std::time::Duration;

use crate::manifest::{self, MANIFEST_BYTES_MAX, Manifest, ParseOptions, Refusal};

/// Whether a blob that a manifest references may be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// No: removal is refused, so that nobody loses an image by `rm`. The collections and caches of
    /// registries, which remove layers before the manifests that reference them, fail then.
    Guarded,
    /// Yes, as on a plain directory.
    #[default]
    Permissive,
}

/// Whether the repository must hold what a copied manifest references.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferenceCheck {
    /// Yes, and with the size that the manifest gives.
    #[default]
    Require,
    /// No, as distribution does when its validation is turned off.
    Skip,
}

/// Whether schema 1 manifests are admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schema1 {
    /// No; those that are stored already are served.
    #[default]
    Refuse,
    /// Yes; signed ones only if their signatures are valid.
    Accept,
}

/// What happens when a registry links a manifest that breaks a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audit {
    /// Manifests are not audited.
    Off,
    /// The manifest is linked, and the finding is logged.
    #[default]
    Warn,
    /// The manifest is refused, as a copied one would be.
    Enforce,
}

/// What fsync waits for. What it does not wait for is durable about 100 ms later, always as a
/// prefix of the changes: a crash loses the newest changes, never one in the middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// All earlier changes.
    #[default]
    Always,
    /// The bytes of uploads and blobs, but not the facts: a power cut may lose the newest links and
    /// tags.
    Data,
    /// Nothing.
    Lazy,
}

/// What fsync of an upload's metadata (start time, hash states, and their directories) promises. A
/// registry calls it dozens of times for every image, and needs the metadata after a crash only to
/// resume an unfinished upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadDurability {
    /// The same as every other fsync.
    #[default]
    Durable,
    /// Nothing: after a power cut an unfinished upload may have to start again. Pushed images are
    /// as durable as before.
    Fast,
}

/// What the mount options decide about admission, removal and durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a blob that a manifest references may be removed.
    pub removal: Removal,
    /// How long removed blobs stay in the trash; zero if there is no trash.
    pub trash: Duration,
    /// Whether the repository must hold what a copied manifest references.
    pub references: ReferenceCheck,
    /// Whether schema 1 manifests are admitted.
    pub schema1: Schema1,
    /// What happens when a registry links a manifest that breaks a rule.
    pub audit: Audit,
    /// What fsync waits for.
    pub sync: Sync,
    /// What fsync of an upload's metadata promises.
    pub uploads: UploadDurability,
    /// Largest manifest that is admitted, in bytes.
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
    /// Largest value of `manifest_bytes_max`: the limit of distribution.
    pub const MANIFEST_BYTES_MOST: usize = MANIFEST_BYTES_MAX;

    /// Returns `true` if removed blobs stay in the trash for a while.
    pub(super) fn has_trash(&self) -> bool {
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

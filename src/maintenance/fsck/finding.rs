//! Findings: one fault of a store each, with what repair does about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Severity, StoreFault};
use crate::digest::Digest;
use crate::index::Flaw;
use crate::name::RepositoryName;

/// One fault of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FsckFinding {
    /// The kind of fault.
    pub fault: StoreFault,
    /// How bad it is.
    pub severity: Severity,
    /// What has the fault: a digest, a tag, a row of the index.
    pub subject: String,
    /// The description of the fault, for people.
    pub detail: String,
    /// Some of the tags that cannot be pulled because of it, as `repository:tag`.
    pub needed_by: Vec<String>,
    /// What repair does about it, for people; `None` if it can do nothing.
    pub plan: Option<String>,
    /// `true` if repair has done that.
    pub repaired: bool,
    /// The digest in the trash whose restoration would repair the fault.
    pub in_trash: Option<Digest>,
    /// What repair does about it.
    #[serde(skip)]
    pub(super) action: RepairAction,
}

impl FsckFinding {
    pub(super) fn new(
        fault: StoreFault,
        subject: String,
        detail: impl Into<String>,
        action: RepairAction,
    ) -> Self {
        Self {
            fault,
            severity: fault.severity(),
            subject,
            detail: detail.into(),
            needed_by: Vec::new(),
            plan: action.plan().map(str::to_owned),
            repaired: false,
            in_trash: None,
            action,
        }
    }
}

impl fmt::Display for FsckFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.detail)?;
        if !self.needed_by.is_empty() {
            write!(f, "; needed by {}", self.needed_by.join(", "))?;
        }
        if let Some(digest) = &self.in_trash {
            write!(f, " [in the trash: regfs undelete STORE {digest}]")?;
        }
        match (&self.plan, self.repaired) {
            (Some(_), true) => write!(f, " [repaired]"),
            (Some(plan), false) => write!(f, " [repair: {plan}]"),
            (None, _) => Ok(()),
        }
    }
}

/// What repair does about a finding.
#[derive(Clone, Debug, Default)]
pub(super) enum RepairAction {
    /// Nothing.
    #[default]
    Nothing,
    /// Accepts that commits of the journal are lost.
    AcceptLoss,
    /// Writes or removes a row of the index.
    MendRow(Flaw),
    /// Records the references of a manifest.
    IndexReferences(Digest),
    /// Restores the missing bytes from the trash, or otherwise forgets the blob.
    RestoreOrForget(Digest),
    /// Moves the wrong bytes to the trash and forgets the blob.
    MoveToTrash(Digest),
    /// Removes the link of a revision.
    Unlink(RepositoryName, Digest),
    /// Adds a file as a blob if its bytes have the digest, or otherwise moves it to the trash.
    AdoptFile(Digest),
}

impl RepairAction {
    /// Returns the description of the action, for people; `None` if there is none.
    fn plan(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::AcceptLoss => {
                Some("accept the loss and continue, with the damaged segments set aside")
            }
            Self::MendRow(flaw) if flaw.value.is_none() => Some("write the row"),
            Self::MendRow(_) => Some("remove the row"),
            Self::IndexReferences(_) => Some("record the references of the manifest"),
            Self::RestoreOrForget(_) => {
                Some("restore its bytes from the trash, or else forget it until it is pushed")
            }
            Self::MoveToTrash(_) => Some("move it to the trash, so that it can be pushed again"),
            Self::Unlink(..) => Some("remove the link, since collection would stop at it"),
            Self::AdoptFile(_) => {
                Some("add it as a blob if its bytes have the digest, or else move it to the trash")
            }
        }
    }
}

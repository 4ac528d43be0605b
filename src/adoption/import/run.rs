//! A running import: what its threads share, and the findings that they record.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FileType;

use super::options::ImportOptions;
use super::transfer_planner::TransferPlanner;
use crate::adoption::finding::{Finding, FindingKind, Remedy};
use crate::adoption::import_report::ImportCounters;
use crate::adoption::quarantine::{self, Quarantine};
use crate::adoption::read::OpenDirectory;
use crate::adoption::unmanaged::UnmanagedEntry;
use crate::digest::Digest;
use crate::layout::{self, Node};
use crate::printable::{line, printable};

/// What the threads of an import share.
pub(super) struct ImportRun<'a> {
    pub(super) options: &'a ImportOptions<'a>,
    /// The directory of the tree that holds blobs and repositories.
    pub(super) top: Arc<OpenDirectory>,
    /// `None` in a dry run.
    pub(super) quarantine: Option<Quarantine<'a>>,
    /// `None` in a dry run.
    pub(super) planner: Option<TransferPlanner<'a>>,
    pub(super) counters: ImportCounters,
    /// The blobs of the tree, in a dry run only.
    pub(super) seen: Mutex<HashSet<Digest>>,
}

impl ImportRun<'_> {
    /// Opens a name that is a directory, or a symbolic link to one that is to be followed.
    pub(super) fn open_directory(
        &self,
        at: &Arc<OpenDirectory>,
        name: &OsStr,
        kind: FileType,
    ) -> Option<OpenDirectory> {
        match kind {
            FileType::Directory => at.directory(name).ok(),
            FileType::Symlink if self.options.follow_links => at.follow(name).ok().flatten(),
            _ => None,
        }
    }

    /// Records a finding.
    pub(super) fn record(&self, kind: FindingKind, path: &Path, remedy: Remedy, detail: &str) {
        self.counters.findings.lock().push(Finding {
            kind,
            path: printable(path),
            remedy,
            detail: line(detail),
        });
    }

    /// Records something that cannot be in a store, and copies it into the quarantine. It is
    /// recorded as skipped if it cannot be copied.
    pub(super) fn quarantine(
        &self,
        kind: FindingKind,
        at: &OpenDirectory,
        name: &OsStr,
        detail: &str,
    ) {
        let copied = self
            .quarantine
            .as_ref()
            .is_none_or(|quarantine| quarantine.copy(quarantine::TREE, &at.dir, &at.path, name));
        let remedy = if copied {
            Remedy::Quarantined
        } else {
            Remedy::Skipped
        };
        self.record(kind, &at.path.join(name), remedy, detail);
    }

    /// As [`ImportRun::quarantine`], for an entry outside the registry's tree that is neither a
    /// file nor a directory.
    pub(super) fn quarantine_unmanaged(&self, entry: &UnmanagedEntry<'_>) {
        let (kind, what) = match entry.kind {
            FileType::Symlink => (FindingKind::SymbolicLink, "a symbolic link"),
            _ => (FindingKind::SpecialFile, "neither a file nor a directory"),
        };
        let copied = self.quarantine.as_ref().is_none_or(|quarantine| {
            quarantine.copy(
                quarantine::UNMANAGED,
                entry.directory,
                entry.path,
                entry.name,
            )
        });
        let remedy = if copied {
            Remedy::Quarantined
        } else {
            Remedy::Skipped
        };
        let detail = format!("{what}, outside the registry's tree");
        self.record(kind, &entry.path.join(entry.name), remedy, &detail);
    }

    /// Quarantines a name that the layout does not have in this directory, or that is of the
    /// wrong kind. Temporary files are only recorded.
    pub(super) fn quarantine_name(
        &self,
        at: &OpenDirectory,
        node: &Node,
        name: &OsStr,
        kind: FileType,
    ) {
        let text = name.to_str();
        let (finding, detail) = match (kind, text) {
            (_, None) => (FindingKind::NameNotUtf8, "the name is not UTF-8"),
            (FileType::Symlink, _) => (FindingKind::SymbolicLink, "a link that was not followed"),
            (FileType::Directory | FileType::RegularFile, Some(text)) => {
                if kind == FileType::RegularFile && layout::temporary_for(text).is_some() {
                    let detail = "a temporary file of an interrupted write";
                    let path = at.path.join(name);
                    return self.record(FindingKind::TemporaryFile, &path, Remedy::Skipped, detail);
                }
                classify(node, text, kind)
            }
            _ => (FindingKind::SpecialFile, "neither a file nor a directory"),
        };
        self.quarantine(finding, at, name, detail);
    }
}

/// Returns what is wrong with the name of a file or directory.
fn classify(node: &Node, text: &str, kind: FileType) -> (FindingKind, &'static str) {
    if node.child(text).is_some() {
        return match kind {
            FileType::Directory => (
                FindingKind::WrongKind,
                "a directory where the layout has a file",
            ),
            _ => (
                FindingKind::WrongKind,
                "a file where the layout has a directory",
            ),
        };
    }
    let stray = (
        FindingKind::StrayFile,
        "the layout has no such name in this directory",
    );
    if kind != FileType::Directory {
        return stray;
    }
    match node {
        Node::Repositories | Node::Namespace(_) => (
            FindingKind::BadRepositoryName,
            "not valid in a repository name",
        ),
        Node::Tags(_) => (FindingKind::BadTagName, "not a valid tag"),
        Node::Uploads(_) => (FindingKind::BadUploadName, "not a valid upload id"),
        Node::Blobs
        | Node::BlobAlgorithm(_)
        | Node::BlobShard(..)
        | Node::Links(..)
        | Node::LinksAlgorithm(..)
        | Node::HashStates(..) => (FindingKind::BadDigestName, "not part of a valid digest"),
        _ => stray,
    }
}

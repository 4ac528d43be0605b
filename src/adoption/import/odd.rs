//! What an import notes as odd: named in the report, and kept aside where that can be.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::FileType;

use super::Shared;
use crate::adoption::oddity::{Finding, Oddity, Remedy};
use crate::adoption::outside::Other;
use crate::adoption::quarantine;
use crate::adoption::read::Open;
use crate::layout::{self, Node};
use crate::printable::{line, printable};

impl Shared<'_> {
    /// Sets aside what is neither a file nor a directory, beside the registry's tree.
    pub(super) fn beside(&self, other: &Other<'_>) {
        let (finding, what) = match other.kind {
            FileType::Symlink => (Finding::SymbolicLink, "a symbolic link"),
            _ => (Finding::SpecialFile, "neither a file nor a directory"),
        };
        let kept = self.quarantine.as_ref().is_none_or(|quarantine| {
            quarantine.keep(quarantine::BESIDE, other.directory, other.path, other.name)
        });
        let remedy = if kept {
            Remedy::SetAside
        } else {
            Remedy::PassedOver
        };
        let detail = format!("{what}, beside the registry's tree");
        self.odd(finding, &other.path.join(other.name), remedy, &detail);
    }

    /// Notes something odd.
    pub(super) fn odd(&self, finding: Finding, path: &Path, remedy: Remedy, detail: &str) {
        self.tally.odd.lock().push(Oddity {
            finding,
            path: printable(path),
            remedy,
            detail: line(detail),
        });
    }

    /// Notes something odd that cannot be in the store, and keeps it aside.
    pub(super) fn set_aside(&self, finding: Finding, at: &Open, name: &OsStr, detail: &str) {
        let kept = self
            .quarantine
            .as_ref()
            .is_none_or(|quarantine| quarantine.keep(quarantine::TREE, &at.dir, &at.path, name));
        // What could not be read stays where it is; the report names it.
        let remedy = if kept {
            Remedy::SetAside
        } else {
            Remedy::PassedOver
        };
        self.odd(finding, &at.path.join(name), remedy, detail);
    }

    /// Notes a name that the layout does not have there, or not of this kind.
    pub(super) fn odd_name(&self, at: &Open, node: &Node, name: &OsStr, kind: FileType) {
        let text = name.to_str();
        let (finding, detail) = match (kind, text) {
            (_, None) => (Finding::NameNotUtf8, "its name is not UTF-8"),
            (FileType::Symlink, _) => (Finding::SymbolicLink, "links are not followed"),
            (FileType::Directory | FileType::RegularFile, Some(text)) => {
                if kind == FileType::RegularFile && layout::temporary_for(text).is_some() {
                    let (path, remedy) = (at.path.join(name), Remedy::PassedOver);
                    let detail = "a write that was never finished";
                    return self.odd(Finding::TemporaryFile, &path, remedy, detail);
                }
                odd_text(node, text, kind)
            }
            _ => (Finding::SpecialFile, "neither a file nor a directory"),
        };
        self.set_aside(finding, at, name, detail);
    }
}

/// What is odd about a name.
fn odd_text(node: &Node, text: &str, kind: FileType) -> (Finding, &'static str) {
    if node.child(text).is_some() {
        return match kind {
            FileType::Directory => (Finding::WrongKind, "a directory where a file belongs"),
            _ => (Finding::WrongKind, "a file where a directory belongs"),
        };
    }
    if kind != FileType::Directory {
        return (Finding::StrayFile, "nothing of this name belongs there");
    }
    match node {
        Node::Repositories | Node::Namespace(_) => {
            (Finding::BadRepositoryName, "no repository has this name")
        }
        Node::Tags(_) => (Finding::BadTagName, "no tag has this name"),
        Node::Uploads(_) => (Finding::BadUploadName, "no upload has this name"),
        Node::Blobs
        | Node::BlobAlgorithm(_)
        | Node::BlobShard(..)
        | Node::Links(..)
        | Node::LinksAlgorithm(..)
        | Node::HashStates(..) => (Finding::BadDigestName, "no digest has this name"),
        _ => (Finding::StrayFile, "nothing of this name belongs there"),
    }
}

//! Our own directory at the top of the mount, which no listing shows.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::{Attributes, Tree};

/// Its name.
pub(super) const DIRECTORY: &str = ".regfs";

/// Our own directory and its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnFile {
    /// `.regfs` itself.
    Directory,
    /// What this mount is.
    Status,
    /// Why writes were refused, the newest last.
    Rejected,
}

impl OwnFile {
    /// The files in the directory.
    pub(super) const FILES: [Self; 2] = [Self::Rejected, Self::Status];

    /// The file's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Directory => DIRECTORY,
            Self::Status => "status",
            Self::Rejected => "rejected",
        }
    }

    /// The file of this name.
    pub(super) fn from_name(name: &OsStr) -> Option<Self> {
        Self::FILES.into_iter().find(|file| name == file.name())
    }
}

impl Tree {
    pub(super) fn own_attributes(&self, file: OwnFile) -> Attributes {
        match file {
            OwnFile::Directory => Attributes::directory(self.mounted),
            OwnFile::Status | OwnFile::Rejected => {
                let len = self.own_content(file).len() as u64;
                Attributes::file(len, self.mounted)
            }
        }
    }

    /// What one of our files says.
    pub(super) fn own_content(&self, file: OwnFile) -> Vec<u8> {
        match file {
            OwnFile::Directory => Vec::new(),
            OwnFile::Rejected => self.rejected.lock().to_string().into_bytes(),
            OwnFile::Status => {
                let mut text = String::new();
                // Writing to a string does not fail.
                let _ok = writeln!(text, "version: {}", env!("CARGO_PKG_VERSION"));
                let _ok = writeln!(text, "read-only: {}", self.read_only);
                let _ok = writeln!(text, "files being written: {}", self.drafts.count());
                for (rule, count) in self.rejected.lock().counts() {
                    let _ok = writeln!(text, "refused or found by the audit, {rule}: {count}");
                }
                text.into_bytes()
            }
        }
    }
}

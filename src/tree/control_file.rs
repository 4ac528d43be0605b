//! The control files: `.regfs` at the top of the mount, which no listing shows, and its files.

use std::ffi::OsStr;

/// The name of the directory of control files.
pub(super) const DIRECTORY: &str = ".regfs";

/// The directory of control files, or one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlFile {
    /// `.regfs` itself.
    Directory,
    /// Version, mode and counters of this mount.
    Status,
    /// The reasons why writes were refused, oldest first.
    Rejected,
    /// In debug builds only, for tests: the daemon panics when it is looked up.
    #[cfg(debug_assertions)]
    Panic,
}

impl ControlFile {
    /// The files that a listing of the directory shows, sorted by name.
    pub(super) const FILES: [Self; 2] = [Self::Rejected, Self::Status];

    /// Files that no listing shows, not even that of the directory.
    #[cfg(debug_assertions)]
    const HIDDEN: [Self; 1] = [Self::Panic];
    #[cfg(not(debug_assertions))]
    const HIDDEN: [Self; 0] = [];

    /// Returns the name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Directory => DIRECTORY,
            Self::Status => "status",
            Self::Rejected => "rejected",
            #[cfg(debug_assertions)]
            Self::Panic => "panic",
        }
    }

    /// Returns the file of a name in the directory.
    pub(super) fn from_name(name: &OsStr) -> Option<Self> {
        let mut files = Self::FILES.into_iter().chain(Self::HIDDEN);
        files.find(|file| name == file.name())
    }
}

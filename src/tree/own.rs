//! Our own directory at the top of the mount, which no listing shows.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::process::{getegid, geteuid};

use super::{Attributes, Permissions, Tree, number};

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
    /// In builds for tests only: whoever asks for it causes a panic.
    #[cfg(debug_assertions)]
    Panic,
}

impl OwnFile {
    /// The files in the directory.
    pub(super) const FILES: [Self; 2] = [Self::Rejected, Self::Status];

    /// Files that no listing shows, not even of our own directory.
    #[cfg(debug_assertions)]
    const HIDDEN: [Self; 1] = [Self::Panic];
    #[cfg(not(debug_assertions))]
    const HIDDEN: [Self; 0] = [];

    /// The file's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Directory => DIRECTORY,
            Self::Status => "status",
            Self::Rejected => "rejected",
            #[cfg(debug_assertions)]
            Self::Panic => "panic",
        }
    }

    /// The file of this name.
    pub(super) fn from_name(name: &OsStr) -> Option<Self> {
        let mut files = Self::FILES.into_iter().chain(Self::HIDDEN);
        files.find(|file| name == file.name())
    }
}

/// Tells how the mount is served.
pub type Served = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Who tells, once somebody does.
#[derive(Default)]
pub(super) struct Serving(OnceLock<Served>);

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// Who may look at our files: the one who mounted, and perhaps a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    group: Option<u32>,
}

impl Control {
    pub(super) fn by(group: Option<u32>) -> Self {
        Self { group }
    }

    /// Those bits of a mode for owner and group that apply.
    fn permissions(self, mode: u16) -> Permissions {
        let shared = if self.group.is_some() { 0o770 } else { 0o700 };
        Permissions {
            uid: Some(geteuid().as_raw()),
            gid: Some(self.group.unwrap_or_else(|| getegid().as_raw())),
            mode: mode & shared,
        }
    }
}

/// Texts kept for those who have one of our files open.
const TEXTS_MAX: usize = 16;

/// What our files said when they were opened: a few texts, however many open files there are. Who
/// has one open for so long that it is not kept any more reads what the file says now.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    rows: VecDeque<(u64, OwnFile, Arc<[u8]>)>,
}

impl Texts {
    /// Keeps a text; the number under which it is.
    fn keep(&self, file: OwnFile, text: &Arc<[u8]>) -> u64 {
        let mut kept = self.0.lock();
        let mut newest = kept.rows.iter().rev();
        let same = newest
            .find(|row| row.1 == file)
            .filter(|row| row.2 == *text);
        if let Some((number, ..)) = same {
            return *number;
        }
        let number = kept.next;
        kept.next += 1;
        if kept.rows.len() >= TEXTS_MAX {
            kept.rows.pop_front();
        }
        kept.rows.push_back((number, file, Arc::clone(text)));
        number
    }

    /// The text of a number, if it is kept.
    fn get(&self, number: u64) -> Option<Arc<[u8]>> {
        let kept = self.0.lock();
        let row = kept.rows.iter().find(|row| row.0 == number);
        row.map(|row| Arc::clone(&row.2))
    }
}

impl Tree {
    /// Opens one of our files: the number of what it says, and what stat shows of that.
    pub(super) fn open_own(&self, file: OwnFile) -> (u64, Attributes) {
        let text = self.own_content(file);
        let attributes = Attributes {
            size: text.len() as u64,
            ..self.own_attributes(file)
        };
        (self.texts.keep(file, &text), attributes)
    }

    /// What one of our files said when it was opened.
    pub(super) fn own_text(&self, file: OwnFile, number: u64) -> Arc<[u8]> {
        let kept = self.texts.get(number);
        kept.unwrap_or_else(|| self.own_content(file))
    }

    /// Takes note of who tells how the mount is served, in lines for `.regfs/status`.
    pub fn is_served(&self, told: Served) {
        // A tree is mounted once.
        let _known = self.serving.0.set(told);
    }

    pub(super) fn own_attributes(&self, file: OwnFile) -> Attributes {
        match file {
            OwnFile::Directory => Attributes {
                permissions: self.control.permissions(0o550),
                ..Attributes::directory(number::own(file), self.mounted)
            },
            OwnFile::Status | OwnFile::Rejected => {
                let len = self.own_content(file).len() as u64;
                Attributes {
                    permissions: self.control.permissions(0o440),
                    ..Attributes::file(number::own(file), len, self.mounted)
                }
            }
            #[cfg(debug_assertions)]
            #[expect(clippy::panic, reason = "it is for this")]
            OwnFile::Panic => panic!("somebody asked for a panic"),
        }
    }

    /// What one of our files says.
    fn own_content(&self, file: OwnFile) -> Arc<[u8]> {
        match file {
            OwnFile::Directory => Arc::default(),
            #[cfg(debug_assertions)]
            OwnFile::Panic => Arc::default(),
            OwnFile::Rejected => self.rejected.lock().shown(),
            OwnFile::Status => {
                let mut text = String::new();
                // Writing to a string does not fail.
                let _ok = writeln!(text, "version: {}", env!("CARGO_PKG_VERSION"));
                let _ok = writeln!(text, "read-only: {}", self.read_only);
                for line in self.serving.0.get().iter().flat_map(|told| told()) {
                    let _ok = writeln!(text, "{line}");
                }
                let _ok = writeln!(text, "files being written: {}", self.drafts.count());
                for (rule, count) in self.rejected.lock().counts() {
                    let _ok = writeln!(text, "refused or found by the audit, {rule}: {count}");
                }
                text.into_bytes().into()
            }
        }
    }
}

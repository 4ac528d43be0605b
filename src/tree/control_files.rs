//! State of the control files: who may read them, the texts that are open, the source of status.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::process::{getegid, geteuid};

use super::control_file::ControlFile;
use super::stat::Permissions;

/// The number of texts that are stored for open control files.
const TEXTS_MAX: usize = 16;

/// Returns lines for `.regfs/status` that say how the mount is served.
pub type StatusSource = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// State of the control files of one mount.
#[derive(Default)]
pub(super) struct ControlFiles {
    /// The group that may read the files besides the user of the daemon.
    group: Option<u32>,
    status: OnceLock<StatusSource>,
    texts: Mutex<OpenedTexts>,
}

/// The texts that control files had when they were opened: at most [`TEXTS_MAX`], however many
/// handles there are. A handle whose text is no longer stored reads the current text.
#[derive(Debug, Default)]
struct OpenedTexts {
    next: u64,
    rows: VecDeque<(u64, ControlFile, Arc<[u8]>)>,
}

impl fmt::Debug for ControlFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlFiles")
            .field("group", &self.group)
            .field("texts", &self.texts)
            .finish_non_exhaustive()
    }
}

impl ControlFiles {
    pub(super) fn readable_by(self, group: Option<u32>) -> Self {
        Self { group, ..self }
    }

    /// Returns owner, group and mode of a control file. Of `mode` only the bits of the owner are
    /// used, and those of the group if there is one.
    pub(super) fn permissions(&self, mode: u16) -> Permissions {
        let shared = if self.group.is_some() { 0o770 } else { 0o700 };
        Permissions {
            uid: Some(geteuid().as_raw()),
            gid: Some(self.group.unwrap_or_else(|| getegid().as_raw())),
            mode: mode & shared,
        }
    }

    /// Sets the source of status lines, once.
    pub(super) fn set_status(&self, source: StatusSource) {
        // A tree is mounted once.
        let _first = self.status.set(source);
    }

    /// Returns the lines of the source of status, if it was set.
    pub(super) fn status(&self) -> Vec<String> {
        self.status.get().map_or_else(Vec::new, |source| source())
    }

    /// Stores the text of a control file that is being opened. Returns its number; the same number
    /// while the text stays the same.
    pub(super) fn store_text(&self, file: ControlFile, text: &Arc<[u8]>) -> u64 {
        let mut texts = self.texts.lock();
        let mut newest = texts.rows.iter().rev();
        let same = newest
            .find(|row| row.1 == file)
            .filter(|row| row.2 == *text);
        if let Some((number, ..)) = same {
            return *number;
        }
        let number = texts.next;
        texts.next += 1;
        if texts.rows.len() >= TEXTS_MAX {
            texts.rows.pop_front();
        }
        texts.rows.push_back((number, file, Arc::clone(text)));
        number
    }

    /// Returns the text of a number, if it is still stored.
    pub(super) fn text(&self, number: u64) -> Option<Arc<[u8]>> {
        let texts = self.texts.lock();
        let row = texts.rows.iter().find(|row| row.0 == number);
        row.map(|row| Arc::clone(&row.2))
    }
}

//! Content and attributes of the control files.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Attributes, ControlFile, StatusSource, Tree, inode_number};

impl Tree {
    /// Opens a control file. Returns the number of its text, for [`Tree::control_text`], and its
    /// attributes.
    pub(super) fn open_control(&self, file: ControlFile) -> (u64, Attributes) {
        let text = self.current_control_text(file);
        let attributes = Attributes {
            size: text.len() as u64,
            ..self.control_attributes(file)
        };
        (self.control_files.store_text(file, &text), attributes)
    }

    /// Returns the text that a control file had when it was opened, or its current text if that
    /// is no longer stored.
    pub(super) fn control_text(&self, file: ControlFile, number: u64) -> Arc<[u8]> {
        let opened = self.control_files.text(number);
        opened.unwrap_or_else(|| self.current_control_text(file))
    }

    /// Sets the source of the lines in `.regfs/status` that say how the mount is served. Only the
    /// first call has an effect.
    pub fn set_status_source(&self, source: StatusSource) {
        self.control_files.set_status(source);
    }

    pub(super) fn control_attributes(&self, file: ControlFile) -> Attributes {
        match file {
            ControlFile::Directory => Attributes {
                permissions: self.control_files.permissions(0o550),
                ..Attributes::directory(inode_number::control(file), self.mounted)
            },
            ControlFile::Status | ControlFile::Rejected => {
                let len = self.current_control_text(file).len() as u64;
                Attributes {
                    permissions: self.control_files.permissions(0o440),
                    ..Attributes::file(inode_number::control(file), len, self.mounted)
                }
            }
            #[cfg(debug_assertions)]
            #[expect(clippy::panic, reason = "this file exists to cause a panic in tests")]
            ControlFile::Panic => panic!("somebody asked for a panic"),
        }
    }

    fn current_control_text(&self, file: ControlFile) -> Arc<[u8]> {
        match file {
            ControlFile::Directory => Arc::default(),
            #[cfg(debug_assertions)]
            ControlFile::Panic => Arc::default(),
            ControlFile::Rejected => self.rejections.lock().text(),
            ControlFile::Status => {
                let mut text = String::new();
                // Writing to a string does not fail.
                let _ok = writeln!(text, "version: {}", env!("CARGO_PKG_VERSION"));
                let _ok = writeln!(text, "read-only: {}", self.read_only);
                for line in self.control_files.status() {
                    let _ok = writeln!(text, "{line}");
                }
                let _ok = writeln!(text, "files being written: {}", self.pending_files.count());
                for (rule, count) in self.rejections.lock().counts() {
                    let _ok = writeln!(text, "refused or found by the audit, {rule}: {count}");
                }
                text.into_bytes().into()
            }
        }
    }
}

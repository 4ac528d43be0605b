//! The tree: what a file operation means in a registry's storage.
//!
//! - The registry's facts say which files exist; the tree itself is stored nowhere.
//! - A name that the layout does not have is not found on lookup and refused on creation.
//! - A file being written is a pending file. Its content becomes a fact as a whole, at the first
//!   fsync, close or rename; other readers see the old content, or nothing, until then.
//! - A manifest that is dropped into a directory of manifests is validated and linked; the name
//!   under which it was written is gone afterwards.
//! - A directory must be empty to be removed; removing a file leaves its directory.
//! - Files outside the registry root are plain files, stored as they are.
//! - A listing is sorted by the bytes of the names and shows only what a plain disk would show.
//!
//! The tree knows neither the kernel nor the kernel's node ids: `fuse` calls it and translates.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use crate::dir::Dir;
use crate::registry::Registry;

mod access;
mod attributes;
mod blocking;
mod change;
mod commit;
mod compact_place;
mod control_content;
mod control_file;
mod control_files;
mod create;
mod entry;
mod error;
mod handle;
mod inode_number;
mod length;
mod listing;
mod lookup;
mod node;
mod open;
mod ownership;
mod pending_content;
mod pending_file;
mod pending_files;
mod pending_name;
mod pending_table;
mod place;
mod plain_files;
mod plain_metadata;
mod process;
mod rate_limited_log;
mod read_write;
mod recently_dropped;
mod rejection_log;
mod relocate;
mod relocation;
mod remove;
mod rename;
mod seek;
mod stat;
mod times;
mod write_intent;
mod writer;
mod xattr;

pub use crate::registry::DiskSpace;
pub use access::Access;
pub use attributes::MetadataAccess;
pub use blocking::BlockingChecks;
pub use change::{ChangeKind, TreeChange};
pub use compact_place::CompactPlace;
pub use control_file::ControlFile;
pub use control_files::StatusSource;
pub use entry::{ListingEntry, ListingName, Resolved};
pub use error::TreeError;
pub use handle::{Caching, Handle, PassthroughFile};
pub use listing::DirectoryListings;
pub use open::OpenFileAccess;
pub use ownership::Descendant;
pub use place::Place;
pub use relocation::Relocation;
pub use seek::Seek;
pub use stat::{Attributes, Change, FileKind, Permissions};
pub use writer::Writer;
pub use xattr::ExtendedAttributes;

use control_files::ControlFiles;
use pending_files::PendingFiles;
use plain_files::PlainFiles;
use recently_dropped::RecentlyDropped;
use rejection_log::RejectionLog;

/// The tree of one mount.
#[derive(Debug)]
pub struct Tree {
    registry: Arc<Registry>,
    plain: PlainFiles,
    pending_files: PendingFiles,
    recently_dropped: RecentlyDropped,
    rejections: Mutex<RejectionLog>,
    /// Held exclusively while a repository is renamed, since the pending files below it are
    /// renamed with it, and shared while a pending file is created or committed.
    relocating: RwLock<()>,
    read_only: bool,
    mounted: SystemTime,
    control_files: ControlFiles,
    /// The time of directories for which no time is stored.
    store_created: SystemTime,
}

impl Tree {
    /// Returns the tree of a registry. Plain files are stored below `plain`, which must exist;
    /// the layout appears below the path `root` of the mount (`docker/registry`, or empty). The
    /// directories that lead to `root` are created.
    ///
    /// # Errors
    /// [`TreeError::Plain`] if a directory that leads to `root` cannot be created or opened.
    pub fn new(
        registry: Arc<Registry>,
        plain: Dir,
        root: &str,
        read_only: bool,
    ) -> Result<Self, TreeError> {
        let directory = plain.as_fd().try_clone_to_owned();
        let metadata = directory.and_then(|directory| File::from(directory).metadata());
        let created = metadata.and_then(|of| of.created().or_else(|_| of.modified()));
        Ok(Self {
            registry,
            plain: PlainFiles::open(plain, root)?,
            pending_files: PendingFiles::default(),
            recently_dropped: RecentlyDropped::default(),
            rejections: Mutex::default(),
            relocating: RwLock::default(),
            read_only,
            mounted: SystemTime::now(),
            control_files: ControlFiles::default(),
            store_created: created.unwrap_or_else(|_| SystemTime::now()),
        })
    }

    /// Returns the same tree, with `.regfs` also readable by a group of this id.
    #[must_use]
    pub fn with_control_group(self, group: Option<u32>) -> Self {
        let control_files = self.control_files.readable_by(group);
        Self {
            control_files,
            ..self
        }
    }

    /// Returns the place of the mountpoint itself.
    pub fn top(&self) -> Place {
        Place::Plain(PathBuf::new())
    }

    /// Logs how many refusals the rate limit has suppressed so far. Called when the mount ends.
    pub fn log_suppressed(&self) {
        self.rejections.lock().log_suppressed();
    }

    /// Makes every earlier change durable: fsync of a directory of the layout, and the second half
    /// of fsync of a file that became a fact.
    ///
    /// # Errors
    /// [`TreeError::Registry`] if the index cannot be flushed.
    pub fn make_durable(&self) -> Result<(), TreeError> {
        Ok(self.registry.sync()?)
    }

    /// Returns the space of the store's filesystem, in bytes.
    ///
    /// # Errors
    /// [`TreeError::Registry`] if the filesystem cannot be queried.
    pub fn space(&self) -> Result<DiskSpace, TreeError> {
        Ok(self.registry.room().space()?)
    }

    fn require_writable(&self) -> Result<(), TreeError> {
        if self.read_only {
            Err(TreeError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

//! A running export: writes facts as files and directories, and counts them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

use super::options::ExportOptions;
use super::target::{DIRECTORY_MODE, FILE_MODE};
use crate::adoption::directory_path::create_path;
use crate::adoption::error::{AdoptionError, about, require_running};
use crate::adoption::export_report::ExportReport;
use crate::adoption::transfer_counts::TransferCounts;
use crate::adoption::walk::{Walk, on_threads};
use crate::digest::Digest;
use crate::dir::Dir;
use crate::layout::Node;
use crate::name::{Namespace, RepositoryName, UploadId};
use crate::registry::{
    Error, Fact, Ownership, OwnershipScope, Snapshot, TransferMode, Value, time, transfer,
};

/// The number of bytes of an upload that are copied at once.
const COPY_BUFFER_BYTES: usize = 1 << 20;

/// What the threads of an export share.
pub(super) struct ExportRun<'a> {
    options: &'a ExportOptions<'a>,
    snapshot: Snapshot<'a>,
    /// The directory of the target that holds blobs and repositories.
    tree: Dir,
    /// How the files of blobs are transferred.
    mode: TransferMode,
    blobs: AtomicU64,
    transfers: TransferCounts,
    files: AtomicU64,
    missing: AtomicU64,
    damaged: AtomicU64,
    /// Owners and modes that were set. They are applied once everything is written, since they
    /// may forbid writing.
    ownerships: Mutex<HashMap<OwnershipScope, Ownership>>,
}

impl<'a> ExportRun<'a> {
    pub(super) fn new(
        options: &'a ExportOptions<'a>,
        snapshot: Snapshot<'a>,
        tree: Dir,
        mode: TransferMode,
    ) -> Self {
        Self {
            options,
            snapshot,
            tree,
            mode,
            blobs: AtomicU64::new(0),
            transfers: TransferCounts::default(),
            files: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            ownerships: Mutex::default(),
        }
    }

    /// Returns the tree, the ownerships to apply to it, and the counts.
    pub(super) fn finish(self) -> (Dir, HashMap<OwnershipScope, Ownership>, ExportReport) {
        let transfers = self.transfers.into_inner();
        let report = ExportReport {
            blobs: self.blobs.into_inner(),
            shared: transfers
                .get(&TransferMode::Link)
                .map_or(0, |count| count.blobs),
            transfers,
            files: self.files.into_inner(),
            missing: self.missing.into_inner(),
            damaged: self.damaged.into_inner(),
            seconds: 0.0,
        };
        (self.tree, self.ownerships.into_inner(), report)
    }

    /// Writes the directories that every tree has, and notes their owners.
    pub(super) fn tops(&self) -> Result<(), AdoptionError> {
        if let Some(ownership) = self.snapshot.mountpoint_ownership()? {
            self.ownerships
                .lock()
                .insert(OwnershipScope::Mountpoint, ownership);
        }
        self.snapshot.fixed_directories(|fact| self.write(fact))?;
        for part in [Node::Blobs, Node::Repositories] {
            self.directory(&part)?;
        }
        Ok(())
    }

    /// Writes all blobs.
    pub(super) fn blobs(&self) -> Result<(), AdoptionError> {
        self.snapshot.blobs(|fact| {
            require_running(self.options.progress)?;
            self.write(fact)
        })
    }

    /// Writes all repositories on several threads; `share` is their part of the whole progress.
    pub(super) fn repositories(&self, share: f64) -> Result<(), AdoptionError> {
        let mut names: Vec<Namespace> = Vec::new();
        self.snapshot.repositories(|name| {
            names.push(name);
            Ok::<_, AdoptionError>(())
        })?;
        let walk = Walk::new(names, share, self.options.progress);
        on_threads(self.options.jobs, || {
            walk.work(|name: Namespace| {
                let mut count = 0;
                self.snapshot.repository(&name, &mut |fact| {
                    count += 1;
                    self.write(fact)
                })?;
                Ok::<_, AdoptionError>((Vec::new(), count))
            })
        })?;
        require_running(self.options.progress)
    }

    /// Returns a function that adds the path of a node's file to an error about it.
    fn about(&self, node: &Node) -> impl FnOnce(io::Error) -> AdoptionError + use<> {
        about(&self.tree.shown(node.to_string()))
    }

    fn directory(&self, node: &Node) -> Result<(), AdoptionError> {
        let made = create_path(&self.tree, Path::new(&node.to_string()), DIRECTORY_MODE);
        made.map(drop).map_err(self.about(node))
    }

    /// Creates a file, which must not exist, and the directories above it that do not exist.
    fn create(&self, node: &Node) -> io::Result<File> {
        let path = node.to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        match self.tree.open_file(&path, flags, FILE_MODE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_path(&self.tree, parent(&path), DIRECTORY_MODE)?;
                self.tree.open_file(&path, flags, FILE_MODE)
            }
            made => made,
        }
    }

    /// Writes a small file. `written` is its time in seconds since 1970; 0 leaves it as it is.
    fn file(&self, node: &Node, bytes: &[u8], written: u32) -> Result<(), AdoptionError> {
        let write = || -> io::Result<()> {
            let mut file = self.create(node)?;
            file.write_all(bytes)?;
            if written > 0 {
                file.set_modified(time(written))?;
            }
            Ok(())
        };
        write().map_err(self.about(node))?;
        self.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a fact as a file or directory.
    fn write(&self, (node, value): Fact) -> Result<(), AdoptionError> {
        match (node, value) {
            (directory, Value::Directory) => self.directory(&directory),
            (directory, Value::Ownership(ownership)) => {
                let mut ownerships = self.ownerships.lock();
                ownerships.insert(directory.into(), ownership);
                Ok(())
            }
            (link, Value::Link { target, pushed }) => {
                self.file(&link, target.to_string().as_bytes(), pushed)
            }
            (Node::BlobData(digest), Value::Blob { created, .. }) => self.blob(digest, created),
            (Node::UploadData(name, id), Value::UploadData) => self.upload(&name, id),
            (file, Value::File { bytes, written }) => self.file(&file, &bytes, written),
            (node, Value::Blob { .. } | Value::UploadData) => {
                let path = node.to_string();
                Err(Error::Misplaced { path }.into())
            }
        }
    }

    /// Writes a blob. Of a missing or damaged blob only the directory is written.
    fn blob(&self, digest: Digest, created: u32) -> Result<(), AdoptionError> {
        let node = Node::BlobData(digest);
        let reading = match self.snapshot.open(&digest) {
            Err(error) if error.is_missing_blob() => {
                log::error!("{error}");
                self.missing.fetch_add(1, Ordering::Relaxed);
                return self.directory(&Node::BlobDirectory(digest));
            }
            Err(error) if error.is_damaged_blob() => {
                log::error!("{error}");
                self.damaged.fetch_add(1, Ordering::Relaxed);
                return self.directory(&Node::BlobDirectory(digest));
            }
            reading => reading?,
        };
        if let Some(file) = reading.file() {
            let mode = self.export_file(file, &node).map_err(self.about(&node))?;
            self.transfers.add(mode, reading.len());
            // A hard link shares the store's inode, whose time must not change.
            if mode != TransferMode::Link {
                self.set_time(&node, created).map_err(self.about(&node))?;
            }
        } else {
            let bytes = self.snapshot.read(&digest)?;
            self.file(&node, &bytes, created)?;
            self.files.fetch_sub(1, Ordering::Relaxed);
        }
        self.blobs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Transfers the file of a blob to the tree. Returns the mode that was used.
    fn export_file(&self, file: &File, node: &Node) -> io::Result<TransferMode> {
        let path = node.to_string();
        let above = create_path(&self.tree, parent(&path), DIRECTORY_MODE)?;
        transfer(file, &above, node.name(), self.mode, FILE_MODE)
    }

    fn set_time(&self, node: &Node, created: u32) -> io::Result<()> {
        let file = self
            .tree
            .open_file(node.to_string(), OFlags::RDONLY, Mode::empty())?;
        file.set_modified(time(created))
    }

    /// Writes the bytes that an upload has now; nothing if it has ended since the snapshot.
    fn upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), AdoptionError> {
        let node = Node::UploadData(name.clone(), id);
        let Ok(staging) = self.snapshot.upload_data(name, &id) else {
            return Ok(());
        };
        let mut file = self.create(&node).map_err(self.about(&node))?;
        let (mut buffer, mut offset) = (vec![0; COPY_BUFFER_BYTES], 0);
        loop {
            let read = staging.read_at(offset, &mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            file.write_all(bytes).map_err(self.about(&node))?;
            offset += read as u64;
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Returns the path of the directory that holds a path.
fn parent(path: &str) -> &Path {
    Path::new(path).parent().unwrap_or(Path::new(""))
}

//! Export: a store's facts as of one moment, written as the plain tree of a registry.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::outside::same_way;
use super::report::{Came, Ways, in_words};
use super::walk::{Walk, on_threads};
use super::{AdoptionError, about, copy_files, go_on};
use crate::digest::Digest;
use crate::dir::Dir;
use crate::layout::{self, Node};
use crate::maintenance::Progress;
use crate::name::{Namespace, RepositoryName, UploadId};
use crate::registry::{
    Error, FILES, Fact, Owner, Ownership, Registry, Snapshot, TransferMode, Value, time, transfer,
};
use crate::tree::Permissions;

mod ownership;
mod target;

use target::{make_all, own, prepare};

/// Bytes that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;
/// The mode of files that are written, less the umask.
const FILE: Mode = Mode::from_raw_mode(0o666);

/// What to export, where, and how.
#[derive(Debug)]
pub struct Exporting<'a> {
    /// Whose facts.
    pub registry: &'a Registry,
    /// The directory of the store.
    pub store: &'a Dir,
    /// A directory that is made, or is empty.
    pub target: &'a Path,
    /// The path below it that will hold `v2`.
    pub root: &'a str,
    /// How blobs come that are files; if nothing is said they are the tree's own: copied, by
    /// reference where the filesystem can.
    pub way: Option<TransferMode>,
    /// Threads.
    pub jobs: usize,
    /// Told of how far it is.
    pub progress: &'a Progress,
}

/// What was exported.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exported {
    /// Blobs.
    pub blobs: u64,
    /// Blobs whose file is shared with the store.
    pub shared: u64,
    /// How blobs were given that are files.
    pub ways: BTreeMap<TransferMode, Came>,
    /// Other files.
    pub files: u64,
    /// Blobs that the facts name but whose bytes are not there.
    pub missing: u64,
    /// Blobs that were left out since their bytes are not what their name says.
    pub damaged: u64,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exported: {} blobs and {} other files in {:.1} s",
            self.blobs, self.files, self.seconds
        )?;
        if !self.ways.is_empty() {
            write!(f, "; of the blobs that are files {}", in_words(&self.ways))?;
        }
        if self.missing > 0 {
            write!(f, "; {} blobs are missing: run regfs fsck", self.missing)?;
        }
        if self.damaged > 0 {
            write!(f, "; {} blobs are damaged: run regfs fsck", self.damaged)?;
        }
        Ok(())
    }
}

impl Exported {
    /// Returns `true` if everything is there that the facts name.
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.damaged == 0
    }
}

/// What the threads share.
struct Shared<'a> {
    exporting: &'a Exporting<'a>,
    moment: Snapshot<'a>,
    tree: Dir,
    blobs: AtomicU64,
    ways: Ways,
    files: AtomicU64,
    missing: AtomicU64,
    damaged: AtomicU64,
    /// How blobs come that are files.
    way: TransferMode,
    /// Directories whose owner or mode was set, which are given when all is written.
    owned: Mutex<HashMap<Owner, Ownership>>,
}

/// Exports a store.
pub fn export(exporting: &Exporting<'_>) -> Result<Exported, AdoptionError> {
    let began = Instant::now();
    let (target, private) = prepare(exporting.target)?;
    let root = Path::new(exporting.root.trim_matches('/')).join(layout::TOP);
    let moment = exporting.registry.snapshot()?;
    let way = match exporting.way {
        Some(way) => way,
        None => own(&moment, &target)?,
    };
    let shared = Shared {
        exporting,
        moment,
        way,
        tree: make_all(&target, &root).map_err(about(&target.shown(&root)))?,
        blobs: AtomicU64::new(0),
        ways: Ways::default(),
        files: AtomicU64::new(0),
        missing: AtomicU64::new(0),
        damaged: AtomicU64::new(0),
        owned: Mutex::default(),
    };
    if let Some(ownership) = shared.moment.mountpoint()? {
        shared.owned.lock().insert(Owner::Mountpoint, ownership);
    }
    shared.moment.fixed(|fact| shared.write(fact))?;
    for part in [Node::Blobs, Node::Repositories] {
        shared.directory(&part)?;
    }
    exporting.progress.begin("blobs");
    shared.moment.blobs(|fact| {
        go_on(exporting.progress)?;
        shared.write(fact)
    })?;
    exporting.progress.add(0.4, 0);
    exporting.progress.begin("repositories");
    shared.repositories()?;
    match exporting.store.open_dir(FILES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        files => {
            let files = files.map_err(about(&exporting.store.shown(FILES)))?;
            let outside = copy_files(&files, &target)?;
            let way = Path::new(exporting.root.trim_matches('/'));
            same_way(&files, &target, way).map_err(about(&target.shown(way)))?;
            shared.files.fetch_add(outside, Ordering::Relaxed);
        }
    }
    let owned = shared.owned.into_inner();
    if !owned.is_empty() && private.is_ours() {
        ownership::give(&owned, &shared.tree, exporting.progress)?;
    }
    let top = owned.get(&Owner::Mountpoint).copied();
    let opened = private.open(top.map(Permissions::from));
    opened.map_err(about(target.path()))?;
    let synced = rustix::fs::syncfs(&target);
    synced.map_err(|error| about(target.path())(error.into()))?;
    let ways = shared.ways.into_inner();
    Ok(Exported {
        blobs: shared.blobs.into_inner(),
        shared: ways.get(&TransferMode::Link).map_or(0, |came| came.blobs),
        ways,
        files: shared.files.into_inner(),
        missing: shared.missing.into_inner(),
        damaged: shared.damaged.into_inner(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

impl Shared<'_> {
    fn repositories(&self) -> Result<(), AdoptionError> {
        let mut names: Vec<Namespace> = Vec::new();
        self.moment.repositories(|name| {
            names.push(name);
            Ok::<_, AdoptionError>(())
        })?;
        let walk = Walk::new(names, 0.6, self.exporting.progress);
        on_threads(self.exporting.jobs, || {
            walk.work(|name: Namespace| {
                let mut count = 0;
                self.moment.repository(&name, &mut |fact| {
                    count += 1;
                    self.write(fact)
                })?;
                Ok::<_, AdoptionError>((Vec::new(), count))
            })
        })?;
        go_on(self.exporting.progress)
    }

    /// Says of an error which file of the tree it is about.
    fn about(&self, node: &Node) -> impl FnOnce(io::Error) -> AdoptionError + use<> {
        about(&self.tree.shown(node.to_string()))
    }

    fn directory(&self, node: &Node) -> Result<(), AdoptionError> {
        let made = make_all(&self.tree, Path::new(&node.to_string()));
        made.map(drop).map_err(self.about(node))
    }

    /// Makes a file that is not there, and the directories that lead to it if they are not.
    fn create(&self, node: &Node) -> io::Result<File> {
        let (path, flags) = (
            node.to_string(),
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
        );
        match self.tree.open_file(&path, flags, FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_all(&self.tree, parent(&path))?;
                self.tree.open_file(&path, flags, FILE)
            }
            made => made,
        }
    }

    /// Writes a small file, and the directories that lead to it.
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

    /// Writes a fact as the file or directory that it is.
    fn write(&self, (node, value): Fact) -> Result<(), AdoptionError> {
        match (node, value) {
            (directory, Value::Directory) => self.directory(&directory),
            (directory, Value::Ownership(ownership)) => {
                self.owned.lock().insert(directory.into(), ownership);
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

    fn blob(&self, digest: Digest, created: u32) -> Result<(), AdoptionError> {
        let node = Node::BlobData(digest);
        let reading = match self.moment.open(&digest) {
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
            let way = self.give(file, &node).map_err(self.about(&node))?;
            self.ways.add(way, reading.len());
            if way != TransferMode::Link {
                self.date(&node, created).map_err(self.about(&node))?;
            }
        } else {
            let bytes = self.moment.read(&digest)?;
            self.file(&node, &bytes, created)?;
            self.files.fetch_sub(1, Ordering::Relaxed);
        }
        self.blobs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the file of a blob to the tree; the way in which that was done.
    fn give(&self, file: &File, node: &Node) -> io::Result<TransferMode> {
        let path = node.to_string();
        let above = make_all(&self.tree, parent(&path))?;
        transfer(file, &above, node.name(), self.way, FILE)
    }

    fn date(&self, node: &Node, created: u32) -> io::Result<()> {
        let file = self
            .tree
            .open_file(node.to_string(), OFlags::RDONLY, Mode::empty())?;
        file.set_modified(time(created))
    }

    /// Writes the bytes that an upload has now.
    fn upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), AdoptionError> {
        let node = Node::UploadData(name.clone(), id);
        let Ok(staging) = self.moment.upload_data(name, &id) else {
            // It has ended meanwhile.
            return Ok(());
        };
        let mut file = self.create(&node).map_err(self.about(&node))?;
        let (mut buffer, mut offset) = (vec![0; COPIED_AT_ONCE], 0);
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

/// The path of the directory in which a path stands.
fn parent(path: &str) -> &Path {
    Path::new(path).parent().unwrap_or(Path::new(""))
}

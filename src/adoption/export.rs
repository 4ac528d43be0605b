//! Export: a store's facts as of one moment, written as the plain tree of a registry.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::walk::{Walk, on_threads};
use super::{AdoptionError, Progress, about, copy_files, go_on};
use crate::digest::Digest;
use crate::dir::{Dir, FilePath};
use crate::layout::{self, Node};
use crate::name::{Namespace, RepositoryName, UploadId};
use crate::registry::{FILES, Fact, Moment, Registry, Way};
use crate::tree;

/// Bytes that are copied at once.
const COPIED_AT_ONCE: usize = 1 << 20;

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
    /// How blobs come that are files.
    pub way: Way,
    /// Threads.
    pub jobs: usize,
    /// Told of how far it is.
    pub progress: &'a Progress,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Exported {
    /// Blobs.
    pub blobs: u64,
    /// Blobs whose file is shared with the store.
    pub shared: u64,
    /// Other files.
    pub files: u64,
    /// Blobs that the facts name but whose bytes are not there.
    pub missing: u64,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exported: {} blobs ({} of them files shared with the store) and {} other files in {:.1} s",
            self.blobs, self.shared, self.files, self.seconds
        )?;
        if self.missing > 0 {
            write!(f, "; {} blobs are missing: run regfs fsck", self.missing)?;
        }
        Ok(())
    }
}

/// What the threads share.
struct Shared<'a> {
    exporting: &'a Exporting<'a>,
    moment: Moment<'a>,
    tree: PathBuf,
    /// The same, open.
    dir: Dir,
    blobs: AtomicU64,
    linked: AtomicU64,
    files: AtomicU64,
    missing: AtomicU64,
}

/// Exports a store.
pub fn export(exporting: &Exporting<'_>) -> Result<Exported, AdoptionError> {
    let (began, target) = (Instant::now(), exporting.target);
    prepare(target)?;
    let tree = target
        .join(exporting.root.trim_matches('/'))
        .join(layout::TOP);
    fs::create_dir_all(&tree).map_err(about(&tree))?;
    let shared = Shared {
        exporting,
        moment: exporting.registry.moment()?,
        dir: Dir::open(&tree).map_err(about(&tree))?,
        tree,
        blobs: AtomicU64::new(0),
        linked: AtomicU64::new(0),
        files: AtomicU64::new(0),
        missing: AtomicU64::new(0),
    };
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
    let files = exporting.store.through(FILES);
    if files.is_dir() {
        let outside = copy_files(&files, target)?;
        shared.files.fetch_add(outside, Ordering::Relaxed);
    }
    let directory = File::open(target).map_err(about(target))?;
    rustix::fs::syncfs(&directory).map_err(|error| about(target)(error.into()))?;
    Ok(Exported {
        blobs: shared.blobs.into_inner(),
        shared: shared.linked.into_inner(),
        files: shared.files.into_inner(),
        missing: shared.missing.into_inner(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Makes the target, which must be new or empty.
fn prepare(target: &Path) -> Result<(), AdoptionError> {
    match fs::create_dir(target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut rows = fs::read_dir(target).map_err(about(target))?;
            if rows.next().is_some() {
                let path = target.to_owned();
                return Err(AdoptionError::NotEmpty { path });
            }
            Ok(())
        }
        Err(error) => Err(about(target)(error)),
    }
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

    fn path(&self, node: &Node) -> PathBuf {
        self.tree.join(node.to_string())
    }

    fn directory(&self, node: &Node) -> Result<(), AdoptionError> {
        let path = self.path(node);
        fs::create_dir_all(&path).map_err(about(&path))
    }

    /// Writes a small file, and the directories that lead to it.
    fn file(&self, node: &Node, bytes: &[u8], written: u32) -> Result<(), AdoptionError> {
        let path = self.path(node);
        let write = || -> io::Result<()> {
            let mut file = create(&path)?;
            file.write_all(bytes)?;
            if written > 0 {
                file.set_modified(UNIX_EPOCH + Duration::from_secs(u64::from(written)))?;
            }
            Ok(())
        };
        write().map_err(about(&path))?;
        self.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a fact as the file or directory that it is.
    fn write(&self, fact: Fact) -> Result<(), AdoptionError> {
        match fact {
            Fact::Directory(directory) => self.directory(&tree::at(&directory)),
            Fact::Link {
                repository,
                set,
                digest,
                target,
                pushed,
            } => {
                let link = Node::Link(repository, set, digest);
                self.file(&link, target.to_string().as_bytes(), pushed)
            }
            Fact::Current {
                repository,
                tag,
                target,
                pushed,
            } => {
                let link = Node::CurrentLink(repository, tag);
                self.file(&link, target.to_string().as_bytes(), pushed)
            }
            Fact::Blob {
                digest, created, ..
            } => self.blob(digest, created),
            Fact::StartedAt {
                repository,
                upload,
                bytes,
            } => self.file(&Node::StartedAt(repository, upload), &bytes, 0),
            Fact::UploadData { repository, upload } => self.upload(&repository, upload),
            Fact::HashState {
                repository,
                upload,
                algorithm,
                offset,
                updated,
                bytes,
            } => {
                let state = Node::HashState(repository, upload, algorithm, offset);
                self.file(&state, &bytes, updated)
            }
        }
    }

    fn blob(&self, digest: Digest, created: u32) -> Result<(), AdoptionError> {
        let node = Node::BlobData(digest);
        let (path, file) = (self.path(&node), FilePath::new(&self.dir, node.to_string()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(about(parent))?;
        }
        match self.moment.give(&digest, &file, self.exporting.way) {
            Ok(Way::Link) => drop(self.linked.fetch_add(1, Ordering::Relaxed)),
            Ok(_) => {
                let time = UNIX_EPOCH + Duration::from_secs(u64::from(created));
                let dated = File::open(&path).and_then(|file| file.set_modified(time));
                dated.map_err(about(&path))?;
            }
            Err(error) if error.is_missing_blob() => {
                log::error!("{error}");
                self.missing.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.blobs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the bytes that an upload has now.
    fn upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), AdoptionError> {
        let path = self.path(&Node::UploadData(name.clone(), id));
        let Ok(staging) = self.moment.upload_data(name, &id) else {
            // It has ended meanwhile.
            return Ok(());
        };
        let mut file = create(&path).map_err(about(&path))?;
        let (mut buffer, mut offset) = (vec![0; COPIED_AT_ONCE], 0);
        loop {
            let read = staging.read_at(offset, &mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            file.write_all(bytes).map_err(about(&path))?;
            offset += read as u64;
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Makes a file that is not there, and the directories that lead to it if they are not.
fn create(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            File::create_new(path)
        }
        made => made,
    }
}

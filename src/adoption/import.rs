//! Import: a plain tree read, mended and adopted.
//!
//! First the blobs, then the repositories, so that manifests can be read when they are linked.
//! Nothing in the tree is changed, unless blobs are to be moved. What was imported before is
//! passed over, so that an import may be repeated: after a crash, or after further pushes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::FileType;

use super::oddity::{Finding, Oddity, Remedy};
use super::quarantine::{self, Quarantine};
use super::read::Open;
use super::report::Tally;
use super::walk::{Walk, on_threads};
use super::{AdoptionError, Progress, Report, about, go_on, outside};
use crate::dir::Dir;
use crate::layout::{self, Node};
use crate::registry::{Adopter, FILES, Fact, Registry, Way};
use crate::tree;

mod file;

/// Names of one directory that one thread goes through; of a larger one others take the rest.
const NAMES_AT_ONCE: usize = 2_048;

/// What to import, and how.
#[derive(Debug)]
pub struct Importing<'a> {
    /// The registry's rootdirectory.
    pub plain: &'a Path,
    /// The path below it that holds `v2`.
    pub root: &'a str,
    /// The directory of the store; nothing if nobody takes it.
    pub store: Option<&'a Dir>,
    /// Who takes it; nobody: nothing is changed.
    pub registry: Option<&'a Registry>,
    /// How blobs come that are not small.
    pub way: Way,
    /// Whether blobs that are not small are verified.
    pub verify: bool,
    /// Threads.
    pub jobs: usize,
    /// Told of how far it is.
    pub progress: &'a Progress,
}

/// A directory to go through, or some names of one.
enum Task {
    Directory(Arc<Open>, OsString, Node),
    Names(Arc<Open>, Node, Vec<(OsString, FileType)>),
}

/// What the threads share.
struct Shared<'a> {
    importing: &'a Importing<'a>,
    tree: PathBuf,
    /// The same, open.
    dir: Dir,
    quarantine: Option<Quarantine>,
    tally: Tally,
}

/// One thread at work.
struct Reader<'a> {
    shared: &'a Shared<'a>,
    adopter: Option<Adopter<'a>>,
    tasks: Vec<Task>,
    items: u64,
}

/// Imports a tree.
pub fn import(importing: &Importing<'_>) -> Result<Report, AdoptionError> {
    let began = Instant::now();
    let tree = top(importing.plain, importing.root)?;
    let shared = Shared {
        importing,
        quarantine: importing.store.map(|store| Quarantine::of(store, &tree)),
        dir: Dir::open(&tree).map_err(about(&tree))?,
        tree,
        tally: Tally::default(),
    };
    for (what, share, part) in [
        ("blobs", 0.4, Node::Blobs),
        ("repositories", 0.6, Node::Repositories),
    ] {
        importing.progress.begin(what);
        shared.walk(&part, share)?;
    }
    shared.others()?;
    if let Some(registry) = importing.registry {
        registry.sync_always()?;
    }
    let report = shared
        .tally
        .report(began.elapsed().as_secs_f64(), importing.registry.is_none());
    if let Some(store) = importing.store {
        quarantine::note(store, &report)?;
    }
    Ok(report)
}

/// Whether there is a registry's tree to import.
pub fn find(plain: &Path, root: &str) -> Result<(), AdoptionError> {
    top(plain, root).map(drop)
}

/// The directory that holds blobs and repositories.
fn top(plain: &Path, root: &str) -> Result<PathBuf, AdoptionError> {
    let tree = plain.join(root.trim_matches('/')).join(layout::TOP);
    let parts = [Node::Blobs, Node::Repositories];
    if parts.iter().any(|part| tree.join(part.name()).is_dir()) {
        return Ok(tree);
    }
    Err(AdoptionError::NoTree {
        path: tree,
        root: root.into(),
    })
}

impl Shared<'_> {
    /// Goes through one part of the tree.
    fn walk(&self, part: &Node, share: f64) -> Result<(), AdoptionError> {
        let top = Open::top(&self.tree).map_err(about(&self.tree))?;
        let name = OsString::from(part.name());
        let progress = self.importing.progress;
        if top.stat(&name).is_err() {
            progress.add(share, 0);
            return Ok(());
        }
        let first = Task::Directory(Arc::new(top), name, part.clone());
        let walk = Walk::new(vec![first], share, progress);
        on_threads(self.importing.jobs, || {
            let mut reader = Reader::new(self);
            walk.work(|task| reader.run(task))?;
            reader.finish()
        })?;
        go_on(progress)
    }

    /// What stands beside the layout: below `v2`, and outside.
    fn others(&self) -> Result<(), AdoptionError> {
        let top = Open::top(&self.tree).map_err(about(&self.tree))?;
        for (name, kind) in top.list().map_err(about(&self.tree))? {
            let known = name.to_str().and_then(|name| Node::Root.child(name));
            if known.is_none() || kind != FileType::Directory {
                self.odd_name(&top, &Node::Root, &name, kind);
            }
        }
        if let Some(store) = self.importing.store {
            let files = store.through(FILES);
            let count = outside::copy(self.importing.plain, &files, &self.tree)?;
            let counter = &self.tally.outside;
            counter.store(count, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes something odd.
    fn odd(&self, finding: Finding, path: &Path, remedy: Remedy, detail: String) {
        let mut remedy = remedy;
        if let (Remedy::SetAside, Some(quarantine)) = (remedy, &self.quarantine) {
            // What could not be read stays where it is; the report names it.
            if !quarantine.keep(path) {
                remedy = Remedy::PassedOver;
            }
        }
        self.tally.odd.lock().push(Oddity {
            finding,
            path: path.to_string_lossy().into_owned(),
            remedy,
            detail,
        });
    }

    /// Notes a name that the layout does not have there, or not of this kind.
    fn odd_name(&self, at: &Open, node: &Node, name: &OsStr, kind: FileType) {
        let path = at.path.join(name);
        let text = name.to_str();
        let (finding, detail) = match (kind, text) {
            (_, None) => (Finding::NameNotUtf8, "its name is not UTF-8"),
            (FileType::Symlink, _) => (Finding::SymbolicLink, "links are not followed"),
            (FileType::Directory | FileType::RegularFile, Some(text)) => {
                if kind == FileType::RegularFile && layout::temporary_for(text).is_some() {
                    let detail = "a write that was never finished".to_owned();
                    return self.odd(Finding::TemporaryFile, &path, Remedy::PassedOver, detail);
                }
                odd_text(node, text, kind)
            }
            _ => (Finding::SpecialFile, "neither a file nor a directory"),
        };
        self.odd(finding, &path, Remedy::SetAside, detail.into());
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

impl<'a> Reader<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            adopter: shared.importing.registry.map(Registry::adopter),
            tasks: Vec::new(),
            items: 0,
        }
    }

    /// Goes through a directory; the tasks it leads to, and how many items it held.
    fn run(&mut self, task: Task) -> Result<(Vec<Task>, u64), AdoptionError> {
        match task {
            Task::Directory(above, name, node) => match above.directory(&name) {
                Ok(at) => self.directory(&Arc::new(at), &node)?,
                Err(error) => self.unreadable(&above.path.join(&name), &error),
            },
            Task::Names(at, node, names) => {
                self.names(&at, &node, names)?;
            }
        }
        Ok((
            std::mem::take(&mut self.tasks),
            std::mem::take(&mut self.items),
        ))
    }

    fn finish(mut self) -> Result<(), AdoptionError> {
        match &mut self.adopter {
            Some(adopter) => {
                adopter.flush()?;
                let new = &self.shared.tally.new;
                new.fetch_add(adopter.new_facts(), std::sync::atomic::Ordering::Relaxed);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Goes through an open directory.
    fn directory(&mut self, at: &Arc<Open>, node: &Node) -> Result<(), AdoptionError> {
        let mut names = match at.list() {
            Ok(names) => names,
            Err(error) => {
                self.unreadable(&at.path, &error);
                return Ok(());
            }
        };
        if let Node::Upload(..) = node {
            self.upload(at, node, &names);
        }
        let rest = names.len() > NAMES_AT_ONCE;
        while names.len() > NAMES_AT_ONCE {
            let part = names.split_off(names.len() - NAMES_AT_ONCE);
            let task = Task::Names(Arc::clone(at), node.clone(), part);
            self.tasks.push(task);
        }
        let held = self.names(at, node, names)?;
        self.empty(node, held || rest)
    }

    /// Goes through names of a directory; whether the layout has any of them.
    fn names(
        &mut self,
        at: &Arc<Open>,
        node: &Node,
        names: Vec<(OsString, FileType)>,
    ) -> Result<bool, AdoptionError> {
        let mut held = false;
        for (name, kind) in names {
            self.items += 1;
            let child = name.to_str().and_then(|name| node.child(name));
            match child {
                Some(child) if child.is_directory() && kind == FileType::Directory => {
                    held = true;
                    self.count(&child);
                    if is_small(&child) {
                        match at.directory(&name) {
                            Ok(below) => self.directory(&Arc::new(below), &child)?,
                            Err(error) => self.unreadable(&at.path.join(&name), &error),
                        }
                    } else {
                        let task = Task::Directory(Arc::clone(at), name, child);
                        self.tasks.push(task);
                    }
                }
                Some(child) if !child.is_directory() && kind == FileType::RegularFile => {
                    held |= self.file(at, &child, &name)?;
                }
                _ => self.shared.odd_name(at, node, &name, kind),
            }
        }
        Ok(held)
    }

    /// A directory in which nothing is: it is a fact by itself.
    fn empty(&mut self, node: &Node, held: bool) -> Result<(), AdoptionError> {
        match tree::directory(node) {
            Some(directory) if !held => self.adopt(Fact::Directory(directory)),
            _ => Ok(()),
        }
    }

    fn adopt(&mut self, fact: Fact) -> Result<(), AdoptionError> {
        match &mut self.adopter {
            Some(adopter) => Ok(adopter.fact(fact)?),
            None => Ok(()),
        }
    }

    fn unreadable(&self, path: &Path, error: &std::io::Error) {
        let (finding, remedy) = (Finding::Unreadable, Remedy::PassedOver);
        self.shared.odd(finding, path, remedy, error.to_string());
    }
}

/// Whether a directory holds a few names only, so that it is not worth another's while.
fn is_small(node: &Node) -> bool {
    matches!(
        node,
        Node::LinkDirectory(..)
            | Node::BlobDirectory(_)
            | Node::Tag(..)
            | Node::Current(..)
            | Node::Upload(..)
            | Node::HashStates(..)
            | Node::HashStatesAlgorithm(..)
            | Node::Links(_, crate::name::LinkSet::TagIndex(_))
            | Node::LinksAlgorithm(_, crate::name::LinkSet::TagIndex(_), _)
    )
}

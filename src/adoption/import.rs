//! Import: a plain tree read, mended and adopted.
//!
//! First everything that may need a decision of the caller is looked for; then come the blobs,
//! then the repositories, so that manifests can be read when they are linked. The tree is
//! reached by descriptors only: nobody who changes it meanwhile leads the import out of it.
//! Nothing in the tree is changed, unless blobs are to be moved. What was imported before is
//! passed over, so that an import may be repeated: after a crash, or after further pushes.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::fs::{FileType, Mode};

use super::oddity::{Finding, Remedy};
use super::outside::{Copying, Other};
use super::quarantine::{self, Quarantine};
use super::read::Open;
use super::report::Tally;
use super::walk::{Walk, on_threads};
use super::{AdoptionError, Report, about, go_on};
use crate::digest::Digest;
use crate::dir::Dir;
use crate::layout::Node;
use crate::maintenance::Progress;
use crate::registry::{Adopter, FILES, Fact, Owner, Registry, TransferMode, Value};

mod file;
mod odd;
mod ownership;
mod precheck;
mod route;
mod sharing;

use ownership::ownership;
use route::Route;
use sharing::Sharing;

/// Names of one directory that one thread goes through; of a larger one others take the rest.
const NAMES_AT_ONCE: usize = 2_048;
/// The share of the work that is done when everything was looked through.
const CHECKED: f64 = 0.1;

/// What to import, and how.
#[derive(Debug)]
pub struct Importing<'a> {
    /// The registry's rootdirectory.
    pub plain: &'a Path,
    /// The path below it that holds `v2`.
    pub root: &'a str,
    /// The directory of the store, and who takes the tree; nobody: nothing is changed.
    pub into: Option<(&'a Dir, &'a Registry)>,
    /// How blobs come that are not small; if nothing is said, in the cheapest way that leaves
    /// nobody but the store's owner able to change them.
    pub way: Option<TransferMode>,
    /// Whether symbolic links are followed that stand where a directory of the tree belongs.
    pub follow_links: bool,
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
    top: Arc<Open>,
    quarantine: Option<Quarantine<'a>>,
    sharing: Option<Sharing<'a>>,
    tally: Tally,
    /// Blobs that were seen, if nothing is taken.
    seen: Mutex<HashSet<Digest>>,
}

/// One thread at work.
struct Reader<'a> {
    shared: &'a Shared<'a>,
    adopter: Option<Adopter<'a>>,
    tasks: Vec<Task>,
    items: u64,
}

/// Imports a tree.
///
/// # Errors
/// [`AdoptionError::Links`] and [`AdoptionError::Choose`] before anything is taken: the caller
/// has something to decide. Otherwise what could not be read or written.
pub fn import(importing: &Importing<'_>) -> Result<Report, AdoptionError> {
    let began = Instant::now();
    let route = route::open(importing.plain, importing.root, importing.follow_links)?;
    let registry = importing.into.map(|(_, registry)| registry);
    let sharing = registry.map(|registry| Sharing::of(registry, importing.way));
    let shared = Shared {
        importing,
        top: Arc::new(Open::top(&route.tree)),
        quarantine: importing.into.map(|(store, _)| Quarantine::of(store)),
        sharing: sharing.transpose()?,
        tally: Tally::default(),
        seen: Mutex::default(),
    };
    if let (Some(registry), Some(sharing)) = (registry, &shared.sharing) {
        importing.progress.begin("looking through the tree");
        precheck::check(importing, registry, sharing, &shared.top, CHECKED)?;
    }
    for (what, share, part) in [
        ("blobs", 0.4, Node::Blobs),
        ("repositories", 0.6, Node::Repositories),
    ] {
        importing.progress.begin(what);
        shared.walk(&part, share * (1.0 - CHECKED))?;
    }
    shared.tops(&route)?;
    shared.others(&route)?;
    if let Some(registry) = registry {
        registry.sync_always()?;
    }
    let report = shared
        .tally
        .report(began.elapsed().as_secs_f64(), registry.is_none());
    if let Some((store, _)) = importing.into {
        quarantine::note(store, &report)?;
    }
    Ok(report)
}

/// Finds a registry's tree to import.
///
/// # Errors
/// There is none, or only through a symbolic link that is not to be followed.
pub fn find(plain: &Path, root: &str, follow_links: bool) -> Result<(), AdoptionError> {
    route::open(plain, root, follow_links).map(drop)
}

impl Shared<'_> {
    /// Goes through one part of the tree.
    fn walk(&self, part: &Node, share: f64) -> Result<(), AdoptionError> {
        let name = OsString::from(part.name());
        let progress = self.importing.progress;
        if self.top.stat(&name).is_err() {
            progress.add(share, 0);
            return Ok(());
        }
        let first = Task::Directory(Arc::clone(&self.top), name, part.clone());
        let walk = Walk::new(vec![first], share, progress);
        on_threads(self.importing.jobs, || {
            let mut reader = Reader::new(self);
            walk.work(|task| reader.run(task))?;
            reader.finish()
        })?;
        go_on(progress)
    }

    /// To whom the directories belong that are always there.
    fn tops(&self, route: &Route) -> Result<(), AdoptionError> {
        let mut reader = Reader::new(self);
        let top = ownership(&route.plain).map_err(about(route.plain.path()))?;
        if let (Some(adopter), Some(ownership)) = (&mut reader.adopter, top) {
            adopter.mountpoint(ownership)?;
        }
        reader.ownership(&route.tree, &Node::Root)?;
        reader.finish()
    }

    /// What stands beside the layout: below `v2`, and outside.
    fn others(&self, route: &Route) -> Result<(), AdoptionError> {
        for (name, kind) in self.top.list().map_err(about(self.top.dir.path()))? {
            let known = name.to_str().and_then(|name| Node::Root.child(name));
            if known.is_none() || self.as_directory(&self.top, &name, kind).is_none() {
                self.odd_name(&self.top, &Node::Root, &name, kind);
            }
        }
        let Some((store, _)) = self.importing.into else {
            return Ok(());
        };
        let files = store.ensure_dir(FILES, Mode::RWXU);
        let files = files.map_err(about(&store.shown(FILES)))?;
        let mut copying = Copying {
            steps: &route.steps,
            other: |other: &Other<'_>| {
                self.beside(other);
                Ok(())
            },
            count: 0,
        };
        copying.run(&route.plain, &files)?;
        self.tally.outside.store(copying.count, Ordering::Relaxed);
        Ok(())
    }

    /// A name that is a directory, or is to be taken for the one that it leads to, and opens it.
    fn as_directory(&self, at: &Arc<Open>, name: &OsStr, kind: FileType) -> Option<Open> {
        match kind {
            FileType::Directory => at.directory(name).ok(),
            FileType::Symlink if self.importing.follow_links => at.through(name).ok().flatten(),
            _ => None,
        }
    }
}

impl<'a> Reader<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            adopter: shared
                .importing
                .into
                .map(|(_, registry)| Adopter::new(registry)),
            tasks: Vec::new(),
            items: 0,
        }
    }

    /// Goes through a directory; the tasks it leads to, and how many items it held.
    fn run(&mut self, task: Task) -> Result<(Vec<Task>, u64), AdoptionError> {
        match task {
            Task::Directory(above, name, node) => self.enter(&above, &name, &node)?,
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

    /// Opens a directory and goes through it.
    fn enter(&mut self, above: &Arc<Open>, name: &OsStr, node: &Node) -> Result<(), AdoptionError> {
        let opened = match above.directory(name) {
            // A link that is to be followed.
            Err(_) if self.shared.importing.follow_links => above.through(name).and_then(|at| {
                at.ok_or_else(|| std::io::Error::other("a link that leads to no directory"))
            }),
            opened => opened,
        };
        match opened {
            Ok(at) => self.directory(&Arc::new(at), node),
            Err(error) => {
                self.unreadable(&above.path.join(name), &error);
                Ok(())
            }
        }
    }

    /// Goes through an open directory.
    fn directory(&mut self, at: &Arc<Open>, node: &Node) -> Result<(), AdoptionError> {
        if Owner::kept_by(node).is_some() {
            self.ownership(&at.dir, node)?;
        }
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
                Some(child) if child.is_directory() && self.is_directory(at, &name, kind) => {
                    held = true;
                    self.count(at, &child);
                    if is_small(&child) {
                        self.enter(at, &name, &child)?;
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

    /// Returns `true` for a directory, and for a link to one that is to be followed.
    fn is_directory(&self, at: &Arc<Open>, name: &OsStr, kind: FileType) -> bool {
        kind == FileType::Directory
            || kind == FileType::Symlink && self.shared.as_directory(at, name, kind).is_some()
    }

    /// To whom a directory belongs that keeps that for all that is below it.
    fn ownership(&mut self, dir: &Dir, node: &Node) -> Result<(), AdoptionError> {
        match ownership(dir).map_err(about(dir.path()))? {
            Some(ownership) => self.adopt((node.clone(), Value::Ownership(ownership))),
            None => Ok(()),
        }
    }

    /// A directory in which nothing is: it is a fact by itself.
    fn empty(&mut self, node: &Node, held: bool) -> Result<(), AdoptionError> {
        if held || node.is_fixed() {
            return Ok(());
        }
        self.adopt((node.clone(), Value::Directory))
    }

    fn adopt(&mut self, fact: Fact) -> Result<(), AdoptionError> {
        match &mut self.adopter {
            Some(adopter) => Ok(adopter.fact(fact)?),
            None => Ok(()),
        }
    }

    fn unreadable(&self, path: &Path, error: &std::io::Error) {
        let (finding, remedy) = (Finding::Unreadable, Remedy::PassedOver);
        self.shared.odd(finding, path, remedy, &error.to_string());
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

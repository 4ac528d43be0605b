//! A thread of an import: walks directories and imports what the layout has in them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;

use super::ownership::ownership;
use super::run::ImportRun;
use crate::adoption::error::{AdoptionError, about};
use crate::adoption::finding::{FindingKind, Remedy};
use crate::adoption::read::OpenDirectory;
use crate::dir::Dir;
use crate::layout::Node;
use crate::name::LinkSet;
use crate::registry::{Adopter, Fact, Ownership, OwnershipScope, Value};

/// The number of names of one directory that a task imports; the rest of a larger directory
/// becomes tasks of its own.
const NAMES_PER_TASK: usize = 2_048;

/// A directory to import, or some names of one.
pub(super) enum ImportTask {
    /// The directory of this name in an open one, and its node.
    Directory(Arc<OpenDirectory>, OsString, Node),
    /// Names in an open directory.
    Names(Arc<OpenDirectory>, Node, Vec<(OsString, FileType)>),
}

/// A thread of an import.
pub(super) struct ImportWorker<'a> {
    pub(super) run: &'a ImportRun<'a>,
    /// `None` in a dry run.
    pub(super) adopter: Option<Adopter<'a>>,
    /// Tasks that the current task has led to.
    tasks: Vec<ImportTask>,
    /// The number of names of the current task.
    items: u64,
}

impl<'a> ImportWorker<'a> {
    pub(super) fn new(run: &'a ImportRun<'a>) -> Self {
        let registry = run.options.into.map(|(_, registry)| registry);
        Self {
            run,
            adopter: registry.map(Adopter::new),
            tasks: Vec::new(),
            items: 0,
        }
    }

    /// Does a task. Returns the tasks that it leads to, and the number of names that it covered.
    pub(super) fn run(
        &mut self,
        task: ImportTask,
    ) -> Result<(Vec<ImportTask>, u64), AdoptionError> {
        match task {
            ImportTask::Directory(above, name, node) => self.enter(&above, &name, &node)?,
            ImportTask::Names(at, node, names) => {
                self.names(&at, &node, names)?;
            }
        }
        Ok((
            std::mem::take(&mut self.tasks),
            std::mem::take(&mut self.items),
        ))
    }

    /// Stores the facts that are still buffered.
    pub(super) fn finish(mut self) -> Result<(), AdoptionError> {
        if let Some(adopter) = &mut self.adopter {
            adopter.flush()?;
            let new = &self.run.counters.new;
            new.fetch_add(adopter.new_facts(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Opens a directory and imports it.
    fn enter(
        &mut self,
        above: &Arc<OpenDirectory>,
        name: &OsStr,
        node: &Node,
    ) -> Result<(), AdoptionError> {
        let opened = match above.directory(name) {
            // It may be a link that is to be followed.
            Err(_) if self.run.options.follow_links => above.follow(name).and_then(|at| {
                at.ok_or_else(|| io::Error::other("a link that leads to no directory"))
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

    /// Imports an open directory.
    fn directory(&mut self, at: &Arc<OpenDirectory>, node: &Node) -> Result<(), AdoptionError> {
        if OwnershipScope::of(node).is_some() {
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
            self.check_upload(at, node, &names);
        }
        let large = names.len() > NAMES_PER_TASK;
        while names.len() > NAMES_PER_TASK {
            let part = names.split_off(names.len() - NAMES_PER_TASK);
            let task = ImportTask::Names(Arc::clone(at), node.clone(), part);
            self.tasks.push(task);
        }
        let has_children = self.names(at, node, names)?;
        if has_children || large {
            return Ok(());
        }
        self.empty_directory(node)
    }

    /// Imports names of a directory. Returns `true` if the layout has any of them.
    fn names(
        &mut self,
        at: &Arc<OpenDirectory>,
        node: &Node,
        names: Vec<(OsString, FileType)>,
    ) -> Result<bool, AdoptionError> {
        let mut any = false;
        for (name, kind) in names {
            self.items += 1;
            let child = name.to_str().and_then(|name| node.child(name));
            match child {
                Some(child) if child.is_directory() && self.is_directory(at, &name, kind) => {
                    any = true;
                    self.count(at, &child);
                    if is_small(&child) {
                        self.enter(at, &name, &child)?;
                    } else {
                        let task = ImportTask::Directory(Arc::clone(at), name, child);
                        self.tasks.push(task);
                    }
                }
                Some(child) if !child.is_directory() && kind == FileType::RegularFile => {
                    any |= self.file(at, &child, &name)?;
                }
                _ => self.run.quarantine_name(at, node, &name, kind),
            }
        }
        Ok(any)
    }

    /// Returns `true` for a directory, and for a link to one that is to be followed.
    fn is_directory(&self, at: &Arc<OpenDirectory>, name: &OsStr, kind: FileType) -> bool {
        kind == FileType::Directory
            || kind == FileType::Symlink && self.run.open_directory(at, name, kind).is_some()
    }

    /// Imports owner and mode of a directory whose own are stored.
    pub(super) fn ownership(&mut self, dir: &Dir, node: &Node) -> Result<(), AdoptionError> {
        match ownership(dir).map_err(about(dir.path()))? {
            Some(ownership) => self.store((node.clone(), Value::Ownership(ownership))),
            None => Ok(()),
        }
    }

    /// Imports owner and mode of the mountpoint.
    pub(super) fn mountpoint_ownership(
        &mut self,
        ownership: Ownership,
    ) -> Result<(), AdoptionError> {
        match &mut self.adopter {
            Some(adopter) => Ok(adopter.adopt_mountpoint(ownership)?),
            None => Ok(()),
        }
    }

    /// Imports an empty directory, which is a fact of its own unless every tree has it.
    fn empty_directory(&mut self, node: &Node) -> Result<(), AdoptionError> {
        if node.is_fixed() {
            return Ok(());
        }
        self.store((node.clone(), Value::Directory))
    }

    /// Stores a fact, except in a dry run.
    pub(super) fn store(&mut self, fact: Fact) -> Result<(), AdoptionError> {
        match &mut self.adopter {
            Some(adopter) => Ok(adopter.adopt_fact(fact)?),
            None => Ok(()),
        }
    }

    pub(super) fn unreadable(&self, path: &Path, error: &io::Error) {
        let (kind, remedy) = (FindingKind::Unreadable, Remedy::Skipped);
        self.run.record(kind, path, remedy, &error.to_string());
    }
}

/// Returns `true` if a directory holds only a few names, so that a task of its own costs more than
/// it gains.
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
            | Node::Links(_, LinkSet::TagIndex(_))
            | Node::LinksAlgorithm(_, LinkSet::TagIndex(_), _)
    )
}

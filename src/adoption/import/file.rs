//! Import of the files of the layout, one by one: read, repaired where possible, and stored.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;

use super::link::{self, may_name};
use super::worker::ImportWorker;
use crate::adoption::error::AdoptionError;
use crate::adoption::finding::{FindingKind, Remedy};
use crate::adoption::import_report::increment;
use crate::adoption::quarantine;
use crate::adoption::read::OpenDirectory;
use crate::digest::{Algorithm, Digest};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag, UploadId};
use crate::printable::printable;
use crate::registry::{
    Adopted, FoundFile, INLINE_BYTES_MAX, METADATA_BYTES_MAX, TransferMode, Value,
};

impl ImportWorker<'_> {
    /// Counts a repository, tag or upload by its directory.
    pub(super) fn count(&self, at: &OpenDirectory, node: &Node) {
        let counters = &self.run.counters;
        match node {
            // `_manifests` distinguishes a repository from a directory above repositories.
            Node::Manifests(_) => increment(&counters.repositories),
            Node::Links(name, LinkSet::Layers) => {
                // A repository that got only layers has no `_manifests`.
                let other = Node::Manifests(name.clone()).name();
                if at.stat(other.as_ref()).is_err() {
                    increment(&counters.repositories);
                }
            }
            Node::Tag(..) => increment(&counters.tags),
            Node::Upload(..) => increment(&counters.uploads),
            _ => {}
        }
    }

    /// Records an upload that no registry can finish.
    pub(super) fn check_upload(
        &self,
        at: &OpenDirectory,
        node: &Node,
        names: &[(OsString, FileType)],
    ) {
        let child = |name: &OsStr| name.to_str().and_then(|name| node.child(name));
        let has = |wanted: fn(&Node) -> bool| {
            let mut nodes = names.iter().filter_map(|(name, _)| child(name));
            nodes.any(|node| wanted(&node))
        };
        let started = has(|node| matches!(node, Node::StartedAt(..)));
        if !started || !has(|node| matches!(node, Node::UploadData(..))) {
            let detail = "without start time or data: no registry will finish or remove it";
            let kind = FindingKind::UnfinishedUpload;
            self.run.record(kind, &at.path, Remedy::Imported, detail);
        }
    }

    /// Imports a file of the layout. Returns `true` if it is valid or was repaired.
    pub(super) fn file(
        &mut self,
        at: &OpenDirectory,
        node: &Node,
        name: &OsStr,
    ) -> Result<bool, AdoptionError> {
        match node {
            Node::BlobData(digest) => self.blob(at, name, digest)?,
            Node::UploadData(repository, id) => self.upload_data(at, name, repository, id)?,
            Node::Link(repository, set, digest) => {
                return self.link(at, name, repository, set, digest);
            }
            Node::CurrentLink(repository, tag) => {
                return self.current_link(at, name, repository, tag);
            }
            Node::StartedAt(..) | Node::HashState(..) => {
                let Some((bytes, written)) = self.upload_metadata(at, name) else {
                    return Ok(false);
                };
                self.store((node.clone(), Value::File { bytes, written }))?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn upload_data(
        &mut self,
        at: &OpenDirectory,
        name: &OsStr,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<(), AdoptionError> {
        let Some(adopter) = &mut self.adopter else {
            return Ok(());
        };
        match FoundFile::open(&at.dir, name) {
            Ok(file) => {
                if adopter.adopt_upload(repository, id, &file)? {
                    increment(&self.run.counters.new);
                }
            }
            Err(error) => self.unreadable(&at.path.join(name), &error),
        }
        Ok(())
    }

    /// Reads a start time or hash state; returns its bytes and its time in seconds since 1970.
    /// Records a finding and returns `None` if it is too long or cannot be read.
    fn upload_metadata(&self, at: &OpenDirectory, name: &OsStr) -> Option<(Vec<u8>, u32)> {
        match at.read(name, METADATA_BYTES_MAX) {
            Err(error) => {
                self.unreadable(&at.path.join(name), &error);
                None
            }
            Ok(content) if content.bytes.len() > METADATA_BYTES_MAX => {
                let detail = format!("more than {METADATA_BYTES_MAX} bytes");
                let kind = FindingKind::OversizedMetadata;
                self.run.quarantine(kind, at, name, &detail);
                None
            }
            Ok(content) => Some((content.bytes, content.modified)),
        }
    }

    fn blob(
        &mut self,
        at: &OpenDirectory,
        name: &OsStr,
        digest: &Digest,
    ) -> Result<(), AdoptionError> {
        let file = match FoundFile::open(&at.dir, name) {
            Ok(file) => file,
            Err(error) => {
                self.unreadable(&at.path.join(name), &error);
                return Ok(());
            }
        };
        let size = file.len();
        let counters = &self.run.counters;
        increment(&counters.blobs);
        counters.bytes.fetch_add(size, Ordering::Relaxed);
        let Some(planner) = &self.run.planner else {
            self.run.seen.lock().insert(*digest);
            return Ok(());
        };
        let mode = match planner.mode(file.file())? {
            Ok(mode) => mode,
            // Its bytes go into the index, or the store has them already.
            Err(_) if size <= INLINE_BYTES_MAX as u64 || self.has_blob(digest)? => {
                TransferMode::Copy
            }
            Err(why) => {
                let path = printable(at.path.join(name));
                return Err(AdoptionError::Changed { path, why });
            }
        };
        let verify = self.run.options.verify;
        let Some(adopter) = &mut self.adopter else {
            return Ok(());
        };
        let (outcome, used) = adopter.adopt_blob(file, digest, mode, verify)?;
        if let Some(used) = used {
            let shown = if mode == TransferMode::Move {
                mode
            } else {
                used
            };
            counters.transfers.add(shown, size);
        }
        self.check_blob(at, name, size, &outcome);
        Ok(())
    }

    /// Quarantines a blob that the store did not take.
    fn check_blob(&self, at: &OpenDirectory, name: &OsStr, size: u64, outcome: &Adopted) {
        match outcome {
            Adopted::AlreadyStored(known) if *known != size => {
                let detail = format!("{size} bytes here, {known} in the store");
                let kind = FindingKind::BlobSize;
                self.run.quarantine(kind, at, name, &detail);
            }
            Adopted::New(_) | Adopted::AlreadyStored(_) => {}
            Adopted::Mismatch(actual) => {
                let kind = if size == 0 {
                    FindingKind::EmptyBlob
                } else {
                    FindingKind::WrongBlob
                };
                let detail = format!("the digest of its {size} bytes is {actual}");
                self.run.quarantine(kind, at, name, &detail);
            }
        }
    }

    /// Imports a link whose path has a digest. A link with no valid content is repaired from its
    /// path.
    fn link(
        &mut self,
        at: &OpenDirectory,
        name: &OsStr,
        repository: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<bool, AdoptionError> {
        let counters = &self.run.counters;
        increment(match set {
            LinkSet::Layers => &counters.layers,
            LinkSet::Revisions => &counters.revisions,
            LinkSet::TagIndex(_) | LinkSet::Signatures(_) => &counters.other_links,
        });
        let (target, pushed) = match read_link(at, name) {
            Ok((target, pushed)) if may_name(set, digest, &target) => (target, pushed),
            Ok((target, pushed)) => {
                let detail = format!("it names {target}");
                self.repaired(FindingKind::WrongLink, at, name, &detail);
                (*digest, pushed)
            }
            Err((kind, detail, pushed)) => {
                self.repaired(kind, at, name, &detail);
                (*digest, pushed.unwrap_or_default())
            }
        };
        if *set == LinkSet::Revisions && !self.has_blob(&target)? {
            let detail = format!("the bytes of {target} are missing");
            let kind = FindingKind::RevisionWithoutBlob;
            self.run.quarantine(kind, at, name, &detail);
            return Ok(false);
        }
        let link = Node::Link(repository.clone(), set.clone(), *digest);
        self.store((link, Value::Link { target, pushed }))?;
        Ok(true)
    }

    /// Returns `true` if the bytes of a blob are in the store, or in a dry run in the tree.
    fn has_blob(&self, digest: &Digest) -> Result<bool, AdoptionError> {
        Ok(match self.run.options.into {
            Some((_, registry)) => registry.queries().has_blob(digest)?,
            None => self.run.seen.lock().contains(digest),
        })
    }

    /// Records that a link was repaired, and copies the old link into the quarantine unless it was
    /// empty.
    fn repaired(&self, kind: FindingKind, at: &OpenDirectory, name: &OsStr, detail: &str) {
        if let (Some(quarantine), false) = (&self.run.quarantine, kind == FindingKind::EmptyLink) {
            // The report has the old content even if it cannot be copied.
            let _copied = quarantine.copy(quarantine::TREE, &at.dir, &at.path, name);
        }
        let path = at.path.join(name);
        self.run.record(kind, &path, Remedy::Repaired, detail);
    }

    /// Imports the current link of a tag. A link with no valid content is repaired from the newest
    /// entry of the tag's index.
    fn current_link(
        &mut self,
        at: &OpenDirectory,
        name: &OsStr,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<bool, AdoptionError> {
        let (target, pushed) = match read_link(at, name) {
            Ok(link) => link,
            Err((kind, detail, _)) => {
                let Some(newest) = newest_index_entry(at, repository, tag) else {
                    let detail = format!("{detail}, and the tag's index is empty");
                    let kind = FindingKind::TagWithoutTarget;
                    self.run.quarantine(kind, at, name, &detail);
                    return Ok(false);
                };
                let detail = format!("{detail}; the newest entry of the index is {}", newest.0);
                self.repaired(kind, at, name, &detail);
                newest
            }
        };
        let link = Node::CurrentLink(repository.clone(), tag.clone());
        self.store((link, Value::Link { target, pushed }))?;
        Ok(true)
    }
}

/// Returns the newest entry of the index of a tag, and its time in seconds since 1970. `at` is the
/// directory of the tag's current link.
fn newest_index_entry(
    at: &OpenDirectory,
    repository: &RepositoryName,
    tag: &Tag,
) -> Option<(Digest, u32)> {
    let index = Node::Links(repository.clone(), LinkSet::TagIndex(tag.clone()));
    let tag = at.above()?;
    let directory = Arc::new(tag.directory(index.name().as_ref()).ok()?);
    let mut newest: Option<((i64, u64), Digest)> = None;
    for algorithm in Algorithm::ALL {
        let node = index.child(algorithm.name())?;
        let Ok(entries) = directory.directory(algorithm.name().as_ref()) else {
            continue;
        };
        for (name, _) in entries.list().unwrap_or_default() {
            let entry = name.to_str().and_then(|name| node.child(name));
            let Some(Node::LinkDirectory(_, set, digest)) = entry else {
                continue;
            };
            let link = Node::Link(repository.clone(), set, digest).name();
            let file = entries.dir.metadata(Path::new(&name).join(link));
            if let Ok(stat) = file {
                let written = (stat.st_mtime, stat.st_mtime_nsec);
                newest = newest.max(Some((written, digest)));
            }
        }
    }
    let ((seconds, _), digest) = newest?;
    Some((digest, u32::try_from(seconds).unwrap_or_default()))
}

/// Reads a link. Returns its digest and its time in seconds since 1970; or what is wrong with it,
/// in words, and its time if it could be read.
fn read_link(
    at: &OpenDirectory,
    name: &OsStr,
) -> Result<(Digest, u32), (FindingKind, String, Option<u32>)> {
    match at.read(name, link::BYTES_MAX) {
        Err(error) => Err((FindingKind::Unreadable, error.to_string(), None)),
        Ok(content) => match link::parse(&content.bytes) {
            Ok(digest) => Ok((digest, content.modified)),
            Err((kind, detail)) => Err((kind, detail, Some(content.modified))),
        },
    }
}

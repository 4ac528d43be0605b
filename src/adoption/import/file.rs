//! Files of the layout, one by one: read, mended where that can be, and adopted.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;

use super::Reader;
use crate::adoption::AdoptionError;
use crate::adoption::link::{self, may_name};
use crate::adoption::oddity::{Finding, Remedy};
use crate::adoption::quarantine;
use crate::adoption::read::Open;
use crate::adoption::report::one;
use crate::digest::{Algorithm, Digest};
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::printable::printable;
use crate::registry::{Adopted, Found, INLINE_BYTES_MAX, NOTE_BYTES_MAX, TransferMode, Value};

impl Reader<'_> {
    /// Counts what a directory stands for.
    pub(super) fn count(&self, at: &Open, node: &Node) {
        let tally = &self.shared.tally;
        match node {
            // What tells a repository from a directory on the way to one.
            Node::Manifests(_) => one(&tally.repositories),
            Node::Links(name, LinkSet::Layers) => {
                // One that was only ever given layers is one too.
                let other = Node::Manifests(name.clone()).name();
                if at.stat(other.as_ref()).is_err() {
                    one(&tally.repositories);
                }
            }
            Node::Tag(..) => one(&tally.tags),
            Node::Upload(..) => one(&tally.uploads),
            _ => {}
        }
    }

    /// Says of an upload that its registry has forgotten it.
    pub(super) fn upload(&self, at: &Open, node: &Node, names: &[(std::ffi::OsString, FileType)]) {
        let is = |name: &OsStr| name.to_str().and_then(|name| node.child(name));
        let found = |wanted: fn(&Node) -> bool| {
            let mut nodes = names.iter().filter_map(|(name, _)| is(name));
            nodes.any(|node| wanted(&node))
        };
        let started = found(|node| matches!(node, Node::StartedAt(..)));
        if !started || !found(|node| matches!(node, Node::UploadData(..))) {
            let detail = "without start or bytes: no registry will finish or remove it";
            let finding = Finding::UnfinishedUpload;
            self.shared.odd(finding, &at.path, Remedy::Kept, detail);
        }
    }

    /// Adopts a file of the layout; whether it is what it should be, or was mended.
    pub(super) fn file(
        &mut self,
        at: &Open,
        node: &Node,
        name: &OsStr,
    ) -> Result<bool, AdoptionError> {
        match node {
            Node::BlobData(digest) => self.blob(at, name, digest)?,
            Node::UploadData(repository, upload) => {
                let Some(adopter) = &mut self.adopter else {
                    return Ok(true);
                };
                match Found::open(&at.dir, name) {
                    Ok(found) => {
                        if adopter.upload(repository, upload, &found)? {
                            one(&self.shared.tally.new);
                        }
                    }
                    Err(error) => self.unreadable(&at.path.join(name), &error),
                }
            }
            Node::Link(repository, set, digest) => {
                return self.link(at, name, repository, set, digest);
            }
            Node::CurrentLink(repository, tag) => {
                return self.current(at, name, repository, tag);
            }
            Node::StartedAt(..) | Node::HashState(..) => {
                let Some((bytes, written)) = self.note(at, name) else {
                    return Ok(false);
                };
                self.adopt((node.clone(), Value::File { bytes, written }))?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// A registry's note, unless it cannot be one.
    fn note(&self, at: &Open, name: &OsStr) -> Option<(Vec<u8>, u32)> {
        match at.read(name, NOTE_BYTES_MAX) {
            Err(error) => {
                self.unreadable(&at.path.join(name), &error);
                None
            }
            Ok(content) if content.bytes.len() > NOTE_BYTES_MAX => {
                let detail = format!("more than {NOTE_BYTES_MAX} bytes");
                let finding = Finding::OversizedNote;
                self.shared.set_aside(finding, at, name, &detail);
                None
            }
            Ok(content) => Some((content.bytes, content.modified)),
        }
    }

    fn blob(&mut self, at: &Open, name: &OsStr, digest: &Digest) -> Result<(), AdoptionError> {
        let found = match Found::open(&at.dir, name) {
            Ok(found) => found,
            Err(error) => {
                self.unreadable(&at.path.join(name), &error);
                return Ok(());
            }
        };
        let size = found.len();
        let tally = &self.shared.tally;
        one(&tally.blobs);
        tally.bytes.fetch_add(size, Ordering::Relaxed);
        let Some(sharing) = &self.shared.sharing else {
            self.shared.seen.lock().insert(*digest);
            return Ok(());
        };
        let way = match sharing.way(found.file())? {
            Ok(way) => way,
            // It comes into the index, or is there.
            Err(_) if size <= INLINE_BYTES_MAX as u64 || self.has_blob(digest)? => {
                TransferMode::Copy
            }
            Err(why) => {
                let path = printable(at.path.join(name));
                return Err(AdoptionError::Changed { path, why });
            }
        };
        let verify = self.shared.importing.verify;
        let Some(adopter) = &mut self.adopter else {
            return Ok(());
        };
        let (outcome, taken) = adopter.blob(found, digest, way, verify)?;
        if let Some(taken) = taken {
            let shown = if way == TransferMode::Move {
                way
            } else {
                taken
            };
            tally.came(shown, size);
        }
        match outcome {
            Adopted::Known(known) if known != size => {
                let detail = format!("{size} bytes here, {known} in the store");
                let finding = Finding::BlobSize;
                self.shared.set_aside(finding, at, name, &detail);
            }
            Adopted::New(_) | Adopted::Known(_) => {}
            Adopted::Wrong(actual) => {
                let finding = if size == 0 {
                    Finding::EmptyBlob
                } else {
                    Finding::WrongBlob
                };
                let detail = format!("its {size} bytes are {actual}");
                self.shared.set_aside(finding, at, name, &detail);
            }
        }
        Ok(())
    }

    /// A link under a digest: what it should say follows from its path.
    fn link(
        &mut self,
        at: &Open,
        name: &OsStr,
        repository: &RepositoryName,
        set: &LinkSet,
        digest: &Digest,
    ) -> Result<bool, AdoptionError> {
        let tally = &self.shared.tally;
        one(match set {
            LinkSet::Layers => &tally.layers,
            LinkSet::Revisions => &tally.revisions,
            LinkSet::TagIndex(_) | LinkSet::Signatures(_) => &tally.others,
        });
        let (target, pushed) = match read_link(at, name) {
            Ok((target, pushed)) if may_name(set, digest, &target) => (target, pushed),
            Ok((target, pushed)) => {
                let detail = format!("it says {target}");
                self.mended(Finding::WrongLink, at, name, &detail);
                (*digest, pushed)
            }
            Err((finding, detail, pushed)) => {
                self.mended(finding, at, name, &detail);
                (*digest, pushed.unwrap_or_default())
            }
        };
        if *set == LinkSet::Revisions && !self.has_blob(&target)? {
            let detail = format!("the bytes of {target} are not there");
            let finding = Finding::RevisionWithoutBlob;
            self.shared.set_aside(finding, at, name, &detail);
            return Ok(false);
        }
        let link = Node::Link(repository.clone(), set.clone(), *digest);
        self.adopt((link, Value::Link { target, pushed }))?;
        Ok(true)
    }

    /// Whether a blob's bytes are there: in the store by now, or in the tree if nothing is
    /// taken in.
    fn has_blob(&self, digest: &Digest) -> Result<bool, AdoptionError> {
        Ok(match self.shared.importing.into {
            Some((_, registry)) => registry.queries().has_blob(digest)?,
            None => self.shared.seen.lock().contains(digest),
        })
    }

    /// Says that what was there was mended; what it was is kept if it was anything.
    fn mended(&self, finding: Finding, at: &Open, name: &OsStr, detail: &str) {
        if let (Some(quarantine), false) = (&self.shared.quarantine, finding == Finding::EmptyLink)
        {
            // Whether it can be kept or not, the report says what it was.
            let _kept = quarantine.keep(quarantine::TREE, &at.dir, &at.path, name);
        }
        let path = at.path.join(name);
        self.shared.odd(finding, &path, Remedy::Mended, detail);
    }

    /// A tag's current link; one that says nothing follows from the newest of its index.
    fn current(
        &mut self,
        at: &Open,
        name: &OsStr,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<bool, AdoptionError> {
        let (target, pushed) = match read_link(at, name) {
            Ok(found) => found,
            Err((finding, detail, _)) => {
                let Some(newest) = newest(at, repository, tag) else {
                    let detail = format!("{detail}, and its index is empty");
                    let finding = Finding::TagWithoutTarget;
                    self.shared.set_aside(finding, at, name, &detail);
                    return Ok(false);
                };
                let detail = format!("{detail}; its index says {}", newest.0);
                self.mended(finding, at, name, &detail);
                newest
            }
        };
        let link = Node::CurrentLink(repository.clone(), tag.clone());
        self.adopt((link, Value::Link { target, pushed }))?;
        Ok(true)
    }
}

/// The newest entry of the index of a tag, whose current link stands in `at`, and when it was
/// written.
fn newest(at: &Open, repository: &RepositoryName, tag: &Tag) -> Option<(Digest, u32)> {
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

/// What a link says, and since when; or what is wrong, in words, and since when if that can be
/// told.
fn read_link(at: &Open, name: &OsStr) -> Result<(Digest, u32), (Finding, String, Option<u32>)> {
    match at.read(name, link::BYTES_MAX) {
        Err(error) => Err((Finding::Unreadable, error.to_string(), None)),
        Ok(content) => match link::parse(&content.bytes) {
            Ok(digest) => Ok((digest, content.modified)),
            Err((finding, detail)) => Err((finding, detail, Some(content.modified))),
        },
    }
}

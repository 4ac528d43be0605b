//! Files of the layout, one by one: read, mended where that can be, and adopted.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;

use super::Reader;
use crate::adoption::AdoptionError;
use crate::adoption::link::{self, may_name};
use crate::adoption::oddity::{Finding, Remedy};
use crate::adoption::read::{Open, modified};
use crate::adoption::report::one;
use crate::digest::{Algorithm, Digest};
use crate::dir::FilePath;
use crate::layout::Node;
use crate::name::{LinkSet, RepositoryName, Tag};
use crate::registry::{Adopted, Fact, NOTE_BYTES_MAX};

impl Reader<'_> {
    /// Counts what a directory stands for.
    pub(super) fn count(&self, node: &Node) {
        let tally = &self.shared.tally;
        match node {
            // What tells a repository from a directory on the way to one.
            Node::Manifests(_) => one(&tally.repositories),
            Node::Links(name, LinkSet::Layers) => {
                // One that was only ever given layers is one too.
                let other = Node::Manifests(name.clone()).to_string();
                if !self.shared.tree.join(other).is_dir() {
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
            self.shared
                .odd(finding, &at.path, Remedy::Kept, detail.into());
        }
    }

    /// Adopts a file of the layout; whether it is what it should be, or was mended.
    pub(super) fn file(
        &mut self,
        at: &Open,
        node: &Node,
        name: &OsStr,
    ) -> Result<bool, AdoptionError> {
        let path = at.path.join(name);
        match node {
            Node::BlobData(digest) => self.blob(at, name, digest)?,
            Node::UploadData(repository, upload) => {
                let file = FilePath::new(&self.shared.dir, &path);
                if let Some(adopter) = &mut self.adopter
                    && adopter.upload(repository, upload, &file)?
                {
                    one(&self.shared.tally.new);
                }
            }
            Node::Link(repository, set, digest) => {
                return self.link(at, name, repository, set, digest);
            }
            Node::CurrentLink(repository, tag) => {
                return self.current(at, name, repository, tag);
            }
            Node::StartedAt(repository, upload) => {
                let Some((bytes, _)) = self.note(at, name, &path) else {
                    return Ok(false);
                };
                let (repository, upload) = (repository.clone(), *upload);
                self.adopt(Fact::StartedAt {
                    repository,
                    upload,
                    bytes,
                })?;
            }
            Node::HashState(repository, upload, algorithm, offset) => {
                let Some((bytes, updated)) = self.note(at, name, &path) else {
                    return Ok(false);
                };
                self.adopt(Fact::HashState {
                    repository: repository.clone(),
                    upload: *upload,
                    algorithm: *algorithm,
                    offset: *offset,
                    updated,
                    bytes,
                })?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// A registry's note, unless it cannot be one.
    fn note(&self, at: &Open, name: &OsStr, path: &Path) -> Option<(Vec<u8>, u32)> {
        match at.read(name, NOTE_BYTES_MAX) {
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
            Ok(content) if content.bytes.len() > NOTE_BYTES_MAX => {
                let detail = format!("more than {NOTE_BYTES_MAX} bytes");
                let (finding, remedy) = (Finding::OversizedNote, Remedy::SetAside);
                self.shared.odd(finding, path, remedy, detail);
                None
            }
            Ok(content) => Some((content.bytes, content.modified)),
        }
    }

    fn blob(&mut self, at: &Open, name: &OsStr, digest: &Digest) -> Result<(), AdoptionError> {
        let (path, tally) = (at.path.join(name), &self.shared.tally);
        let stat = match at.stat(name) {
            Ok(stat) => stat,
            Err(error) => {
                self.unreadable(&path, &error);
                return Ok(());
            }
        };
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        one(&tally.blobs);
        tally.bytes.fetch_add(size, Ordering::Relaxed);
        let Some(adopter) = &mut self.adopter else {
            return Ok(());
        };
        let file = FilePath::new(&self.shared.dir, &path);
        let importing = self.shared.importing;
        let outcome = adopter.blob(
            &file,
            digest,
            modified(&stat),
            importing.way,
            importing.verify,
        );
        match outcome {
            Ok(Adopted::Known(known)) if known != size => {
                let detail = format!("{size} bytes here, {known} in the store");
                let (finding, remedy) = (Finding::BlobSize, Remedy::SetAside);
                self.shared.odd(finding, &path, remedy, detail);
            }
            Ok(Adopted::New(_) | Adopted::Known(_)) => {}
            Ok(Adopted::Wrong(actual)) => {
                let finding = if size == 0 {
                    Finding::EmptyBlob
                } else {
                    Finding::WrongBlob
                };
                let detail = format!("its {size} bytes are {actual}");
                self.shared.odd(finding, &path, Remedy::SetAside, detail);
            }
            Err(error) => match error.about_a_file() {
                Some(reason) if file.read().is_err() => {
                    let (finding, remedy) = (Finding::Unreadable, Remedy::PassedOver);
                    self.shared.odd(finding, &path, remedy, reason);
                }
                _ => return Err(error.into()),
            },
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
        let path = at.path.join(name);
        let (target, pushed) = match read_link(at, name) {
            Ok((target, pushed)) if may_name(set, digest, &target) => (target, pushed),
            Ok((target, pushed)) => {
                let detail = format!("it says {target}");
                self.mended(Finding::WrongLink, &path, detail);
                (*digest, pushed)
            }
            Err((finding, detail, pushed)) => {
                self.mended(finding, &path, detail);
                (*digest, pushed.unwrap_or_default())
            }
        };
        if *set == LinkSet::Revisions && !self.has_blob(&target)? {
            let detail = format!("the bytes of {target} are not there");
            let finding = Finding::RevisionWithoutBlob;
            self.shared.odd(finding, &path, Remedy::SetAside, detail);
            return Ok(false);
        }
        self.adopt(Fact::Link {
            repository: repository.clone(),
            set: set.clone(),
            digest: *digest,
            target,
            pushed,
        })?;
        Ok(true)
    }

    /// Whether a blob's bytes are there: in the store by now, or in the tree if nothing is
    /// taken in.
    fn has_blob(&self, digest: &Digest) -> Result<bool, AdoptionError> {
        if let Some(registry) = self.shared.importing.registry {
            return Ok(registry.has_blob(digest)?);
        }
        let data = Node::BlobData(*digest).to_string();
        Ok(self.shared.tree.join(data).is_file())
    }

    /// Says that what was there was mended; what it was is kept if it was anything.
    fn mended(&self, finding: Finding, path: &Path, detail: String) {
        if let (Some(quarantine), false) = (&self.shared.quarantine, finding == Finding::EmptyLink)
        {
            // Whether it can be kept or not, the report says what it was.
            let _kept = quarantine.keep(path);
        }
        self.shared.odd(finding, path, Remedy::Mended, detail);
    }

    /// A tag's current link; one that says nothing follows from the newest of its index.
    fn current(
        &mut self,
        at: &Open,
        name: &OsStr,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<bool, AdoptionError> {
        let path = at.path.join(name);
        let (target, pushed) = match read_link(at, name) {
            Ok(found) => found,
            Err((finding, detail, _)) => {
                let Some(newest) = self.newest(repository, tag) else {
                    let detail = format!("{detail}, and its index is empty");
                    let (finding, remedy) = (Finding::TagWithoutTarget, Remedy::SetAside);
                    self.shared.odd(finding, &path, remedy, detail);
                    return Ok(false);
                };
                let detail = format!("{detail}; its index says {}", newest.0);
                self.mended(finding, &path, detail);
                newest
            }
        };
        self.adopt(Fact::Current {
            repository: repository.clone(),
            tag: tag.clone(),
            target,
            pushed,
        })?;
        Ok(true)
    }

    /// The newest entry of a tag's index, and when it was written.
    fn newest(&self, repository: &RepositoryName, tag: &Tag) -> Option<(Digest, u32)> {
        let index = Node::Links(repository.clone(), LinkSet::TagIndex(tag.clone()));
        let mut newest: Option<(std::time::SystemTime, Digest)> = None;
        for algorithm in Algorithm::ALL {
            let directory = index.child(algorithm.name())?;
            let rows = std::fs::read_dir(self.shared.tree.join(directory.to_string()));
            for row in rows.into_iter().flatten().flatten() {
                let name = row.file_name();
                let entry = name.to_str().and_then(|name| directory.child(name));
                let Some(Node::LinkDirectory(_, set, digest)) = entry else {
                    continue;
                };
                let link = Node::Link(repository.clone(), set, digest);
                let file = std::fs::symlink_metadata(self.shared.tree.join(link.to_string()));
                if let Some(written) = file.ok().and_then(|file| file.modified().ok()) {
                    newest = newest.max(Some((written, digest)));
                }
            }
        }
        let (written, digest) = newest?;
        let seconds = written.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some((digest, u32::try_from(seconds.as_secs()).unwrap_or_default()))
    }
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

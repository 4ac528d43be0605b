//! Logged bytes: small content of uploads is written to the index's journal, and becomes durable in
//! the flush that the facts need anyway. A flush of the file itself would take several times as
//! long.
//!
//! The bytes are in their file as well, from where they are read. A
//! [checkpoint](super::checkpoint) makes many files durable at once and drops the rows; after a
//! crash [recovery](super::recovery) writes the logged bytes to their files.

use std::sync::atomic::Ordering;

use super::{Error, Registry, StagedUpload, Sync, Uploads};
use crate::blobs::Draft;

/// The longest content that is logged, in bytes. With twice as many the journal would be as slow as
/// a file.
pub(super) const LOGGED_BYTES_MAX: u64 = 64 << 10;

impl Uploads<'_> {
    /// Makes an upload's bytes durable, or logs them, so that the next [`Registry::sync`] makes
    /// them durable.
    ///
    /// # Errors
    /// Those of the file and of the index.
    pub fn sync(self, staging: &StagedUpload) -> Result<(), Error> {
        let draft = staging.draft();
        if self.0.log(draft.as_ref())? {
            return Ok(());
        }
        draft.sync()?;
        let number = draft.id();
        if self
            .0
            .index
            .view()
            .uploads()
            .logged_bytes(number)?
            .is_some()
        {
            // The content has grown. Recovery must not replace it by the logged bytes.
            self.0.index.transact(|tx| {
                tx.uploads()
                    .remove_logged_bytes(number)
                    .map_err(Error::from)
            })?;
        }
        Ok(())
    }
}

impl Registry {
    /// Logs the bytes of a draft if they are at most [`LOGGED_BYTES_MAX`] and the policy makes
    /// callers wait for facts. Returns `true` if they are logged or durable.
    pub(super) fn log(&self, draft: &dyn Draft) -> Result<bool, Error> {
        if self.policy.sync != Sync::Always || self.checkpoints.failed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut done = Ok(());
        let logged = draft.log(LOGGED_BYTES_MAX, &mut |bytes| {
            let generation = self.checkpoints.generation.fetch_add(1, Ordering::Relaxed);
            done = self.index.transact(|tx| {
                tx.uploads().put_logged_bytes(draft.id(), generation, bytes);
                Ok(())
            });
            self.add_pending(1);
            done.is_ok()
        })?;
        done.map(|()| logged)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::blobs::Area;
    use crate::digest::{Algorithm, Digest};
    use crate::dir::Dir;
    use crate::layout::Node;
    use crate::name::{LinkSet, RepositoryName, UploadId};
    use crate::registry::{Adopter, FoundFile};
    use crate::registry::{Bytes, Policy};
    use crate::{blobs, index};

    /// The facts and bytes of a registry that can crash.
    struct Crashing(Arc<index::MemoryStore>, Arc<blobs::MemoryBlobs>);

    impl Crashing {
        fn open(&self) -> Registry {
            let (facts, bytes) = (self.0.clone(), self.1.clone());
            Registry::new(facts, bytes, Policy::default()).unwrap()
        }

        fn crash(&self, registry: Registry) -> Registry {
            drop(registry);
            self.0.crash();
            self.1.crash();
            self.open()
        }
    }

    /// Opens a registry whose facts can crash and whose bytes are files.
    fn in_files(facts: &Arc<index::MemoryStore>, directory: &Path) -> Registry {
        let bytes = Arc::new(blobs::LocalBlobs::open(&Dir::open(directory).unwrap()).unwrap());
        Registry::new(facts.clone(), bytes, Policy::default()).unwrap()
    }

    fn upload() -> (RepositoryName, UploadId) {
        let id = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
        ("team/app".parse().unwrap(), id)
    }

    fn begin(registry: &Registry, (name, id): &(RepositoryName, UploadId)) -> StagedUpload {
        for namespace in ["team", "team/app"] {
            let namespace = Node::Namespace(namespace.parse().unwrap());
            let _there = registry.directories().make(&namespace);
        }
        let uploads = Node::Uploads(name.clone());
        for directory in [uploads, Node::Upload(name.clone(), *id)] {
            let _there = registry.directories().make(&directory);
        }
        registry.uploads().create_data(name, id).unwrap()
    }

    fn content(registry: &Registry, (name, id): &(RepositoryName, UploadId)) -> Vec<u8> {
        let staging = registry.uploads().data(name, id).unwrap();
        staging.read_all().unwrap()
    }

    #[test]
    fn synced_bytes_of_an_upload_survive_a_crash_whatever_their_length() {
        let crashing = Crashing(Arc::default(), Arc::default());
        let mut registry = crashing.open();
        let upload = upload();
        let few = vec![7; 20_000];
        let many = vec![8; usize::try_from(LOGGED_BYTES_MAX).unwrap() + 1];
        let staging = begin(&registry, &upload);
        for (bytes, rows) in [(&few, 1), (&many, 0), (&few, 1), (&Vec::new(), 1)] {
            let staging = registry.uploads().data(&upload.0, &upload.1).unwrap();
            staging.truncate(0).unwrap();
            staging.write_at(0, bytes).unwrap();
            registry.uploads().sync(&staging).unwrap();
            registry.uploads().sync(&staging).unwrap();
            registry.sync().unwrap();
            assert_eq!(
                registry.index.list().logged_bytes().unwrap().rows.len(),
                rows
            );
            staging.write_at(0, b"not synced").unwrap();
            drop(staging);
            registry = crashing.crash(registry);
            assert_eq!(content(&registry, &upload), *bytes);
            assert!(
                registry
                    .index
                    .list()
                    .logged_bytes()
                    .unwrap()
                    .rows
                    .is_empty()
            );
        }
        drop(staging);
    }

    /// Uploads bytes, makes them durable, and publishes them.
    fn publish(registry: &Registry, upload: &(RepositoryName, UploadId), bytes: &[u8]) -> Digest {
        let staging = begin(registry, upload);
        staging.write_at(0, bytes).unwrap();
        registry.uploads().sync(&staging).unwrap();
        registry.sync().unwrap();
        drop(staging);
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let (name, id) = upload;
        registry.publish_upload(name, id, &digest).unwrap();
        digest
    }

    #[test]
    fn a_blob_whose_file_a_crash_has_taken_has_the_logged_bytes() {
        let crashing = Crashing(Arc::default(), Arc::default());
        let mut registry = crashing.open();
        let upload = upload();
        for (number, len) in [(1, 10), (2, 20_000), (3, 100_000)] {
            let bytes = vec![number; len];
            let digest = publish(&registry, &upload, &bytes);
            registry.sync().unwrap();
            registry = crashing.crash(registry);
            assert_eq!(
                registry.read_blob(&digest).unwrap().read_all().unwrap(),
                bytes
            );
            let gone = registry.uploads().data(&upload.0, &upload.1);
            assert!(matches!(gone, Err(Error::Missing)));
        }
    }

    #[test]
    fn an_upload_is_whole_after_a_kill_that_undoes_its_publication() {
        let crashing = Crashing(Arc::default(), Arc::default());
        let mut registry = crashing.open();
        let upload = upload();
        for (number, len) in [(1, 10), (2, 20_000), (3, 100_000)] {
            let bytes = vec![number; len];
            publish(&registry, &upload, &bytes);
            drop(registry);
            // The files are there, but not the facts that were not flushed.
            crashing.0.crash();
            registry = crashing.open();
            assert_eq!(content(&registry, &upload), bytes);
            // The upload continues, and another blob comes of it.
            let staging = registry.uploads().data(&upload.0, &upload.1).unwrap();
            staging.write_at(0, b"else").unwrap();
            drop(staging);
            registry
                .uploads()
                .remove_data(&upload.0, &upload.1)
                .unwrap();
            assert!(crashing.1.drafts().is_empty());
        }
    }

    #[test]
    fn removed_bytes_are_not_logged_any_more() {
        let crashing = Crashing(Arc::default(), Arc::default());
        let registry = crashing.open();
        let upload = upload();
        let staging = begin(&registry, &upload);
        staging.write_at(0, b"few").unwrap();
        registry.uploads().sync(&staging).unwrap();
        registry
            .uploads()
            .remove_data(&upload.0, &upload.1)
            .unwrap();
        assert!(
            registry
                .index
                .list()
                .logged_bytes()
                .unwrap()
                .rows
                .is_empty()
        );
        let bytes = vec![1; 20_000];
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        registry
            .publish(crate::registry::Bytes::Held(&bytes), &digest)
            .unwrap();
        assert_eq!(registry.index.list().logged_bytes().unwrap().rows.len(), 1);
        registry.remove_blob(&digest).unwrap();
        assert!(
            registry
                .index
                .list()
                .logged_bytes()
                .unwrap()
                .rows
                .is_empty()
        );
    }

    #[test]
    fn bytes_whose_publication_is_refused_leave_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let registry = in_files(&Arc::default(), directory.path());
        let missing = "missing".parse().unwrap();
        let layer = vec![5; 20_000];
        let held = Bytes::Held(&layer);
        registry.store_layer(&missing, held, None).unwrap_err();
        let blobs = registry.blobs.list(Area::Live, None, 1).unwrap();
        assert_eq!(blobs, []);
        let staged = std::fs::read_dir(directory.path().join("staging"));
        assert_eq!(staged.unwrap().count(), 0);
    }

    #[test]
    fn logged_bytes_of_a_blob_stay_when_another_publishes_the_same_at_the_second_try() {
        let directory = tempfile::tempdir().unwrap();
        let facts = Arc::new(index::MemoryStore::default());
        let open = || in_files(&facts, directory.path());
        let make = |registry: &Registry, name: &RepositoryName| {
            for directory in [
                Node::Namespace(name.namespace().clone()),
                Node::Links(name.clone(), LinkSet::Layers),
            ] {
                registry.directories().make(&directory).unwrap();
            }
        };
        let names = ["one", "two"].map(|name| name.parse::<RepositoryName>().unwrap());
        let registry = open();
        make(&registry, &names[0]);
        let layer = vec![5; 20_000];
        let digest = Digest::of(Algorithm::Sha256, &layer);
        let held = Bytes::Held(&layer);
        registry.store_layer(&names[0], held, None).unwrap();
        registry.sync().unwrap();
        // Another repository stores the same bytes; its first try is refused.
        let staging = registry.stage().unwrap();
        staging.write_at(0, &layer).unwrap();
        let staged = Bytes::Staged(&staging);
        registry.store_layer(&names[1], staged, None).unwrap_err();
        make(&registry, &names[1]);
        registry.store_layer(&names[1], staged, None).unwrap();
        registry.sync().unwrap();
        drop(staging);
        drop(registry);
        facts.crash();
        // The file was never flushed: a power cut takes its bytes.
        let hex = digest.hex();
        let path = directory.path().join("blobs/sha256").join(&hex[..2]);
        // Its own mode lets nobody but root write it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path.join(&hex), mode).unwrap();
        let file = std::fs::File::options().write(true).open(path.join(&hex));
        file.unwrap().set_len(0).unwrap();
        assert_eq!(
            open().read_blob(&digest).unwrap().read_all().unwrap(),
            layer
        );
    }

    #[test]
    fn a_moved_file_exists_somewhere_when_the_import_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let facts = Arc::new(index::MemoryStore::default());
        let layer = vec![5; 20_000];
        let digest = Digest::of(Algorithm::Sha256, &layer);
        let file = directory.path().join("data");
        for flushed in [false, true] {
            std::fs::write(&file, &layer).unwrap();
            let registry = in_files(&facts, directory.path());
            let mut adopter = Adopter::new(&registry);
            let way = crate::blobs::TransferMode::Move;
            let top = Dir::open(directory.path()).unwrap();
            let found = FoundFile::open(&top, "data".as_ref()).unwrap();
            adopter.adopt_blob(found, &digest, way, false).unwrap();
            if flushed {
                adopter.flush().unwrap();
            }
            drop(adopter);
            drop(registry);
            facts.crash();
            let registry = in_files(&facts, directory.path());
            assert_eq!(registry.queries().has_blob(&digest).unwrap(), flushed);
            assert_eq!(file.exists(), !flushed);
        }
    }
}

//! Durability: requests that are answered once everything before them is durable.

use std::sync::Arc;

use super::coherence::{Coherent, Origin};
use super::errno::logged;
use super::service::Service;
use super::syncs::SyncReply;
use super::task::BlockingTask;
use crate::tree::Place;

impl Service {
    /// fsync(2). Calls `reply` once everything before is durable and the kernel knows what has
    /// changed. Returns a flush that the caller must run where it may block, if no other thread
    /// does.
    #[must_use]
    pub(super) fn sync(
        self: &Arc<Self>,
        ino: u64,
        number: u64,
        reply: SyncReply,
    ) -> Option<BlockingTask> {
        let synced = self.handle(number).and_then(|handle| {
            let (changes, waits) = self
                .tree
                .open_files()
                .sync(&handle)
                .map_err(|error| logged(&error))?;
            Ok(self.after(waits, Origin::Inode(ino), &changes))
        });
        let Coherent {
            value: waits,
            stale,
        } = match synced {
            Ok(synced) => synced,
            Err(error) => {
                reply(Err(error));
                return None;
            }
        };
        let service = Arc::clone(self);
        let coherent: SyncReply = Box::new(move |durable| match durable {
            Ok(()) => service.cache.drop_before(stale, Box::new(|| reply(Ok(())))),
            Err(error) => reply(Err(error)),
        });
        if waits {
            return self.make_durable(coherent);
        }
        coherent(Ok(()));
        None
    }

    /// fsync(2) of a directory. Calls `reply` once everything before is durable. Returns a flush
    /// as [`Service::sync`] does.
    #[must_use]
    pub(super) fn sync_directory(
        self: &Arc<Self>,
        ino: u64,
        reply: SyncReply,
    ) -> Option<BlockingTask> {
        match self.inodes.place(ino) {
            Some(place) if self.tree.blocking().is_relaxed_metadata_directory(&place) => {
                reply(Ok(()));
                None
            }
            Some(Place::Plain(path)) => {
                let service = Arc::clone(self);
                Some(Box::new(move || {
                    let synced = service.tree.sync_plain_directory(&path);
                    match synced.map_err(|error| logged(&error)) {
                        Ok(()) => service.make_durable(reply).map_or((), |flush| flush()),
                        Err(error) => reply(Err(error)),
                    }
                }))
            }
            Some(_) | None => self.make_durable(reply),
        }
    }

    fn make_durable(self: &Arc<Self>, reply: SyncReply) -> Option<BlockingTask> {
        if self.tree.blocking().is_durable(None) {
            reply(Ok(()));
            return None;
        }
        let service = Arc::clone(self);
        let flush = move || {
            let flush = || service.tree.make_durable().map_err(|error| logged(&error));
            service.syncs.flush(flush);
        };
        self.syncs
            .join(reply)
            .then(|| Box::new(flush) as BlockingTask)
    }
}

//! Durability: requests that are answered once everything before them is durable.

use std::sync::Arc;

use super::coherence::{Coherent, Origin};
use super::service::{Service, logged};
use super::syncs::Answer;
use super::task::Task;
use crate::tree::Place;

impl Service {
    /// fsync(2), answered once everything before is durable and the kernel knows what changed.
    /// What this gives the caller must do, where it may wait.
    #[must_use]
    pub(super) fn sync(self: &Arc<Self>, ino: u64, number: u64, answer: Answer) -> Option<Task> {
        let synced = self.handle(number).and_then(|handle| {
            let (changes, waits) = self.tree.sync(&handle).map_err(|error| logged(&error))?;
            Ok(self.after(waits, Origin::Inode(ino), &changes))
        });
        let Coherent {
            value: waits,
            stale,
        } = match synced {
            Ok(synced) => synced,
            Err(error) => {
                answer(Err(error));
                return None;
            }
        };
        let service = Arc::clone(self);
        let told: Answer = Box::new(move |durable| match durable {
            Ok(()) => service
                .cache
                .drop_before(stale, Box::new(|| answer(Ok(())))),
            Err(error) => answer(Err(error)),
        });
        if waits {
            return self.make_durable(told);
        }
        told(Ok(()));
        None
    }

    /// fsync(2) of a directory.
    #[must_use]
    pub(super) fn sync_directory(self: &Arc<Self>, ino: u64, answer: Answer) -> Option<Task> {
        match self.inodes.place(ino) {
            Some(place) if self.tree.is_note_directory(&place) => {
                answer(Ok(()));
                None
            }
            Some(Place::Plain(path)) => {
                let service = Arc::clone(self);
                Some(Box::new(move || {
                    let synced = service.tree.sync_plain_directory(&path);
                    match synced.map_err(|error| logged(&error)) {
                        Ok(()) => service.make_durable(answer).map_or((), |task| task()),
                        Err(error) => answer(Err(error)),
                    }
                }))
            }
            Some(_) | None => self.make_durable(answer),
        }
    }

    /// Answered once everything before is durable. What this gives the caller must do, where it
    /// may wait.
    #[must_use]
    pub(super) fn make_durable(self: &Arc<Self>, answer: Answer) -> Option<Task> {
        if self.tree.is_durable(None) {
            answer(Ok(()));
            return None;
        }
        let service = Arc::clone(self);
        let flush = move || {
            let flush = || service.tree.make_durable().map_err(|error| logged(&error));
            service.syncs.flush(flush);
        };
        self.syncs.join(answer).then(|| Box::new(flush) as Task)
    }
}

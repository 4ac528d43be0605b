//! The committer: the only thread that writes, a group of requests at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redb::{Database, Durability, ReadTransaction, ReadableTable, Table};

use super::{QUEUE, TABLE};
use crate::index::store::{Batch, Change, Outcome, Precondition, StoreError};

/// How long something committed may stay volatile without anybody asking.
const DURABLE_WITHIN: Duration = Duration::from_millis(200);

/// How far the committer has come, in commits.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) visible: AtomicU64,
    pub(super) durable: AtomicU64,
    pub(super) poison: Mutex<Option<String>>,
}

pub(super) enum Request {
    Commit(Batch, SyncSender<Result<Outcome, StoreError>>),
    Sync(SyncSender<Result<(), StoreError>>),
    Stop,
}

/// The only thread that writes.
pub(super) struct Committer {
    pub(super) database: Arc<Database>,
    pub(super) path: PathBuf,
    pub(super) view: Arc<RwLock<Option<Arc<ReadTransaction>>>>,
    pub(super) progress: Arc<Progress>,
    /// When the oldest change that is not durable was committed.
    pub(super) volatile_since: Option<Instant>,
}

impl Committer {
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let first = match self.volatile_since {
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => {
                    requests.recv_timeout(DURABLE_WITHIN.saturating_sub(since.elapsed()))
                }
            };
            let mut group = Vec::new();
            let mut stop = false;
            match first {
                Ok(request) => group.push(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => stop = true,
            }
            if !group.is_empty() {
                group.extend(requests.try_iter().take(QUEUE));
            }
            stop |= group.iter().any(|request| matches!(request, Request::Stop));
            self.serve(group, stop);
            if stop {
                return;
            }
        }
    }

    /// Serves a group with one transaction of the engine.
    fn serve(&mut self, group: Vec<Request>, stop: bool) {
        let overdue = self
            .volatile_since
            .is_some_and(|since| since.elapsed() >= DURABLE_WITHIN);
        let asked = group
            .iter()
            .any(|request| matches!(request, Request::Sync(_)));
        let durable = asked || stop || overdue;
        let poison = self.progress.poison.lock().clone();
        let result = match poison {
            Some(reason) => Err(StoreError::Poisoned(reason)),
            None => self.transact(&group, durable),
        };
        if let (Err(error), true) = (&result, durable) {
            let mut poison = self.progress.poison.lock();
            if poison.is_none() {
                log::error!(
                    "index {}: {error}; it is read-only from now on",
                    self.path.display()
                );
                *poison = Some(error.to_string());
            }
            // Nothing will ever be retried, so there is no moment to wake up for.
            self.volatile_since = None;
        }
        answer(group, &result);
    }

    /// Applies the batches of a group; the outcome of each, in their order.
    fn transact(&mut self, group: &[Request], durable: bool) -> Result<Vec<Outcome>, StoreError> {
        let batches: Vec<&Batch> = group
            .iter()
            .filter_map(|request| match request {
                Request::Commit(batch, _) => Some(batch),
                Request::Sync(_) | Request::Stop => None,
            })
            .collect();
        if batches.is_empty() && (!durable || self.volatile_since.is_none()) {
            return Ok(Vec::new());
        }
        self.apply(&batches, durable).map_err(|error| match error {
            redb::Error::Io(error) => StoreError::System(Arc::new(error)),
            error => StoreError::Engine {
                path: self.path.display().to_string(),
                reason: error.to_string(),
            },
        })
    }

    fn apply(&mut self, batches: &[&Batch], durable: bool) -> Result<Vec<Outcome>, redb::Error> {
        let transaction = if durable {
            super::durable(&self.database)?
        } else {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::None)?;
            transaction
        };
        let mut outcomes = Vec::with_capacity(batches.len());
        {
            let mut table = transaction.open_table(TABLE)?;
            for batch in batches {
                outcomes.push(apply_batch(&mut table, batch)?);
            }
        }
        transaction.commit()?;
        *self.view.write() = None;
        let visible = self.progress.visible.fetch_add(1, Ordering::AcqRel) + 1;
        if durable {
            self.progress.durable.store(visible, Ordering::Release);
            self.volatile_since = None;
        } else {
            self.volatile_since.get_or_insert_with(Instant::now);
        }
        Ok(outcomes)
    }
}

/// Tells every waiter of a group what became of its request.
fn answer(group: Vec<Request>, result: &Result<Vec<Outcome>, StoreError>) {
    let mut outcomes = result
        .as_ref()
        .map(|outcomes| outcomes.clone().into_iter())
        .ok();
    // A waiter that is gone does not want to know.
    for request in group {
        match request {
            Request::Commit(_, waiter) => {
                let outcome = outcomes.as_mut().and_then(Iterator::next);
                let _gone = waiter.send(match (result, outcome) {
                    (Err(error), _) => Err(error.clone()),
                    (Ok(_), Some(outcome)) => Ok(outcome),
                    (Ok(_), None) => Err(StoreError::Poisoned("a batch was not applied".into())),
                });
            }
            Request::Sync(waiter) => {
                let _gone = waiter.send(result.as_ref().map(|_| ()).map_err(Clone::clone));
            }
            Request::Stop => {}
        }
    }
}

fn apply_batch(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    batch: &Batch,
) -> Result<Outcome, redb::Error> {
    for precondition in &batch.preconditions {
        let (holds, key) = match precondition {
            Precondition::Absent(key) => (table.get(key.as_slice())?.is_none(), key),
            Precondition::Equals(key, value) => {
                let found = table.get(key.as_slice())?;
                (
                    found.is_some_and(|found| found.value() == value.as_slice()),
                    key,
                )
            }
            Precondition::Empty(range) => {
                let mut pairs = table.range(range.start.as_slice()..range.end.as_slice())?;
                (pairs.next().is_none(), &range.start)
            }
        };
        if !holds {
            return Ok(Outcome::Conflict(key.clone()));
        }
    }
    for change in &batch.changes {
        match change {
            Change::Put(key, value) => {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Change::Delete(key) => {
                table.remove(key.as_slice())?;
            }
            Change::DeleteRange(range) => {
                table.retain_in(range.start.as_slice()..range.end.as_slice(), |_, _| false)?;
            }
        }
    }
    Ok(Outcome::Committed)
}

//! A walk of a tree by several threads, with progress. It does not know what a task is.
//!
//! A task's share of the whole is divided among the tasks that it leads to, so that progress can
//! be computed without knowing the size of the tree. The newest task is done first.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::maintenance::Progress;

/// The tasks to do, each with its share, and the number of threads that work on one.
#[derive(Debug)]
struct WalkQueue<T> {
    tasks: Vec<(T, f64)>,
    working: usize,
}

/// A walk of a tree by several threads.
#[derive(Debug)]
pub(super) struct Walk<'a, T> {
    queue: Mutex<WalkQueue<T>>,
    changed: Condvar,
    failed: AtomicBool,
    progress: &'a Progress,
}

impl<'a, T: Send> Walk<'a, T> {
    /// Returns a walk that begins with these tasks, which together are a share of the whole.
    pub(super) fn new(tasks: Vec<T>, share: f64, progress: &'a Progress) -> Self {
        let each = share / count(tasks.len());
        Self {
            queue: Mutex::new(WalkQueue {
                tasks: tasks.into_iter().map(|task| (task, each)).collect(),
                working: 0,
            }),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
            progress,
        }
    }

    /// Does tasks until none are left, one has failed, or the progress is stopped. `work` returns
    /// the tasks that a task leads to, and the number of items that it covered. Several threads
    /// call this at once.
    pub(super) fn work<E>(
        &self,
        mut work: impl FnMut(T) -> Result<(Vec<T>, u64), E>,
    ) -> Result<(), E> {
        while let Some((task, share)) = self.next() {
            let done = work(task);
            let mut queue = self.queue.lock();
            queue.working -= 1;
            match done {
                Ok((tasks, items)) if tasks.is_empty() => self.progress.add(share, items),
                Ok((tasks, items)) => {
                    self.progress.add(0.0, items);
                    let each = share / count(tasks.len());
                    queue
                        .tasks
                        .extend(tasks.into_iter().map(|task| (task, each)));
                }
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    self.changed.notify_all();
                    return Err(error);
                }
            }
            self.changed.notify_all();
        }
        Ok(())
    }

    fn next(&self) -> Option<(T, f64)> {
        let mut queue = self.queue.lock();
        loop {
            if self.failed.load(Ordering::Relaxed) || self.progress.is_stopped() {
                self.changed.notify_all();
                return None;
            }
            if let Some(task) = queue.tasks.pop() {
                queue.working += 1;
                return Some(task);
            }
            if queue.working == 0 {
                self.changed.notify_all();
                return None;
            }
            self.changed.wait(&mut queue);
        }
    }
}

/// Runs `work` on `jobs` threads, of which the calling thread is one. Returns the first error, in
/// the order in which the threads were started.
pub(super) fn on_threads<E: Send>(
    jobs: usize,
    work: impl Fn() -> Result<(), E> + Sync,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..jobs).map(|_| scope.spawn(&work)).collect();
        let mut done = work();
        for thread in threads {
            let theirs = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done = done.and(theirs);
        }
        done
    })
}

/// Returns a number of tasks as a divisor: at least 1.
fn count(tasks: usize) -> f64 {
    f64::from(u32::try_from(tasks.max(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Each task leads to as many tasks as its number says, down to none.
    fn walk(threads: usize, fail_at: Option<u64>) -> (u64, bool, f64) {
        let progress = Progress::default();
        let (walk, done) = (Walk::new(vec![5_u64], 1.0, &progress), AtomicU64::new(0));
        let failed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        walk.work(|task| {
                            let number = done.fetch_add(1, Ordering::Relaxed);
                            if Some(number) == fail_at {
                                return Err("failed");
                            }
                            Ok((
                                vec![task.saturating_sub(1); usize::try_from(task).unwrap()],
                                1,
                            ))
                        })
                    })
                })
                .collect();
            let results: Vec<_> = threads.into_iter().map(|one| one.join().unwrap()).collect();
            results.iter().any(Result::is_err)
        });
        (done.into_inner(), failed, progress.snapshot().done)
    }

    #[test]
    fn every_task_is_done_once_by_any_number_of_threads() {
        // 1 + 5 + 20 + 60 + 120 + 120
        for threads in [1, 2, 8] {
            let (done, failed, share) = walk(threads, None);
            assert_eq!((done, failed), (326, false));
            assert!((share - 1.0).abs() < 1e-6, "{share}");
        }
    }

    #[test]
    fn a_failure_ends_the_walk_for_all() {
        let (done, failed, _) = walk(4, Some(10));
        assert!(failed && done < 326);
    }
}

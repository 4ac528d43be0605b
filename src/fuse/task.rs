//! Tasks: work that may block, and the seam to the threads that run it.

/// Work that may wait for a disk, or take long.
pub(super) type BlockingTask = Box<dyn FnOnce() + Send>;

/// Why a task may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskKind {
    /// It reads.
    Read,
    /// It changes something, or makes it durable. Reads never queue behind these.
    Change,
}

/// Runs tasks, so that the thread that takes requests goes on.
pub(super) trait Executor {
    /// Runs a task. A panic in it affects no other task.
    fn run(&mut self, kind: TaskKind, task: BlockingTask);
}

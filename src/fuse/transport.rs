//! Transports: the two ways by which requests come and answers go. Each only translates between
//! the kernel and `dispatch`, which is the same for both.

use super::reply::Reply;
use super::syncs::Task;

pub(super) mod device;
pub(super) mod ring;

/// A request that waits for its answer. One that is dropped, by a panic, is answered with EIO.
pub(super) trait Pending: Send + 'static {
    /// The bytes that a write brings.
    fn payload(&self) -> &[u8];

    /// Where the first bytes of the answer may be put, at most so many, instead of the payload.
    fn place(&mut self, len: usize) -> &mut [u8];

    /// Answers.
    fn answer(self, reply: impl Into<Reply>);
}

/// Why a task may have to wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// It reads.
    Reads,
    /// It changes something, or makes it durable. Nobody who reads waits for these.
    Changes,
}

/// Who does what may wait, so that the thread that takes requests goes on.
pub(super) trait Runner {
    /// Has a task done. A panic in it is its own.
    fn run(&mut self, waits: Waits, task: Task);
}

//! The guard that keeps a panic in one request from ending the mount.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fuser::Errno;

/// Runs the work of a request. A panic fails that request only.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        log::error!("a request was given up after a panic; the mount goes on");
        Err(Errno::EIO)
    })
}

//! Guard: a panic of the engine on a damaged page becomes a read error, without a back trace.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

use redb::StorageError;

thread_local! {
    /// Nested guards of this thread.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
    /// The file that this thread is closing.
    static CLOSED: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// The message for a damaged page.
const DAMAGED: &str = "a page of it is damaged: restore a backup, or export what can be read";

/// Installs a panic hook that keeps panics of guarded work out of standard error.
fn quieten() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if GUARDS.get() == 0 {
                others(panic);
            } else {
                log::debug!("the engine of the index: {panic}");
                end_closing();
            }
        }));
    });
}

/// Calls the engine and turns its panics into errors.
pub(super) fn guarded<T, E: From<StorageError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    quieten();
    GUARDS.set(GUARDS.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDS.set(GUARDS.get() - 1);
    done.unwrap_or_else(|_| Err(StorageError::Corrupted(DAMAGED.into()).into()))
}

/// Closes a durable file. An engine that panics while closing would panic again while unwinding and
/// abort the process; the process exits with an error before that.
pub(super) fn closing<T, E: From<StorageError>>(
    path: &Path,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    CLOSED.replace(Some(path.to_owned()));
    let done = guarded(work);
    CLOSED.replace(None);
    done
}

/// Exits the process if this thread is closing a file.
fn end_closing() {
    let closed = CLOSED.try_with(|closed| closed.try_borrow().ok()?.clone());
    if let Ok(Some(path)) = closed {
        eprintln!("regfs: index {}: {DAMAGED}", path.display());
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let done: Result<(), redb::Error> = guarded(|| panic!("as the engine does"));
        let error = done.unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        assert_eq!(guarded::<_, StorageError>(|| Ok(1)).unwrap(), 1);
    }
}

//! Guard: an engine that panics on pages that were damaged has failed to read, and no more: it
//! prints no back trace.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

use redb::StorageError;

thread_local! {
    /// How many guards this thread is in.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
    /// The file that this thread closes.
    static CLOSED: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// What is said of a damaged page.
const DAMAGED: &str = "a page of it is damaged: restore a backup, or export what can be read";

/// Keeps panics of guarded work out of standard error, once for all threads.
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

/// Does something with the engine; a panic in it is an error of this.
pub(super) fn guarded<T, E: From<StorageError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    quieten();
    GUARDS.set(GUARDS.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDS.set(GUARDS.get() - 1);
    done.unwrap_or_else(|_| Err(StorageError::Corrupted(DAMAGED.into()).into()))
}

/// Closes a file that was made durable. An engine that panics then would panic once more while
/// it unwinds, and the process would be aborted: it ends before, with an error.
pub(super) fn closing<T, E: From<StorageError>>(
    path: &Path,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    CLOSED.replace(Some(path.to_owned()));
    let done = guarded(work);
    CLOSED.replace(None);
    done
}

/// Ends the process if this thread closes a file.
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
    fn a_panic_is_an_error() {
        let done: Result<(), redb::Error> = guarded(|| panic!("as the engine does"));
        let error = done.unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        assert_eq!(guarded::<_, StorageError>(|| Ok(1)).unwrap(), 1);
    }
}

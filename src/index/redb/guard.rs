//! Guard: an engine that panics on pages that were damaged has failed to read, and no more.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::StorageError;

/// Does something with the engine; a panic in it is an error of this.
pub(super) fn guarded<T, E: From<StorageError>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let why = "a page of it is damaged: restore a backup, or export what can be read";
        Err(StorageError::Corrupted(why.into()).into())
    })
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

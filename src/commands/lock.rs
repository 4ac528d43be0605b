//! The lock of a store: one process at a time, which says who it is.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{CommandError, about};

/// A store that is ours until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes a store, which is made if it does not exist.
    pub fn take(store: &Path) -> Result<Self, CommandError> {
        match std::fs::create_dir(store) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(about(store)(error));
            }
            _ => {}
        }
        let path = store.join("lock");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(about(&path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(about(&path))?;
            let pid = pid.trim().to_owned();
            return Err(CommandError::InUse {
                store: store.to_owned(),
                pid,
            });
        }
        file.set_len(0).map_err(about(&path))?;
        writeln!(file, "{}", std::process::id()).map_err(about(&path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_use_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let held = StoreLock::take(&store).unwrap();
        let refused = StoreLock::take(&store).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        StoreLock::take(&store).unwrap();
    }
}

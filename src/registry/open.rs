//! Opening: the directory of a store, made if it is not there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Error, Policy, Registry};
use crate::blobs::Local;
use crate::dir::Dir;
use crate::index::{
    INDEX_FILE, IndexError, JOURNAL_DIRECTORY, Recover, check_embedded, open_embedded,
};

/// What a store's directory may hold before it is one.
const BEFORE: [&str; 3] = ["lock", "regfs.log", "socket"];

/// Where a store keeps files that are not of its registry.
pub const FILES: &str = "files";

/// Whether a directory is a store.
pub(super) fn exists(store: &Path) -> bool {
    store.join(INDEX_FILE).exists()
}

/// Where a store keeps its index.
pub(super) fn index(store: &Path) -> PathBuf {
    store.join(INDEX_FILE)
}

/// Where a store keeps what stands in front of its index.
pub(super) fn journal(store: &Path) -> PathBuf {
    store.join(JOURNAL_DIRECTORY)
}

/// Reads every page of the index.
pub(super) fn check_pages(store: &Path) -> Result<(), Error> {
    let refused = |error: io::Error| Error::Store {
        path: store.display().to_string(),
        reason: error.to_string(),
    };
    let dir = Dir::open(store).map_err(refused)?;
    Ok(check_embedded(&dir).map_err(IndexError::from)?)
}

/// Opens the registry kept in a directory, or makes it.
pub(super) fn open(store: &Path, policy: Policy, recover: Recover) -> Result<Registry, Error> {
    let refused = |reason: String| Error::Store {
        path: store.display().to_string(),
        reason,
    };
    match fs::create_dir(store) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(refused(error.to_string()));
        }
        _ => {}
    }
    let index = store.join(INDEX_FILE);
    if !index.exists() {
        for row in fs::read_dir(store).map_err(|error| refused(error.to_string()))? {
            let name = row.map_err(|error| refused(error.to_string()))?.file_name();
            let name = name.to_string_lossy();
            // What an interrupted first creation leaves behind may be there.
            if !BEFORE.contains(&&*name) && !name.starts_with("index.") {
                let reason = format!("it holds {name:?} but no index: not a store of regfs");
                return Err(refused(reason));
            }
        }
    }
    let dir = Dir::open(store).map_err(|error| refused(error.to_string()))?;
    let facts = open_embedded(&dir, recover).map_err(IndexError::from)?;
    let damage = facts.damage().cloned();
    let blobs = Local::open(store)?;
    let registry = Registry::new(Arc::new(facts), Arc::new(blobs), policy)?;
    *registry.damage.lock() = damage;
    Ok(registry)
}

//! The transfer planner: chooses how the file of a blob gets into the store, so that only the
//! store's owner can change it afterwards and nothing large is copied without being asked for.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use parking_lot::Mutex;

use crate::adoption::error::{AdoptionError, about};
use crate::registry::{Error, Registry, Shareable, TransferMode, other_writers};

/// Chooses how files are transferred.
pub(super) struct TransferPlanner<'a> {
    registry: &'a Registry,
    /// The mode that the caller asked for.
    wanted: Option<TransferMode>,
    owner: u32,
    /// What works for the files of a device and a user: the kernel's policies look at both.
    tried: Mutex<HashMap<(u64, u32), Shareable>>,
}

impl<'a> TransferPlanner<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        wanted: Option<TransferMode>,
    ) -> Result<Self, AdoptionError> {
        Ok(Self {
            registry,
            wanted,
            owner: registry.blobs().filesystem().owner().map_err(Error::from)?,
            tried: Mutex::default(),
        })
    }

    /// Returns `true` if the mode that was asked for works for every file.
    pub(super) fn always_works(&self) -> bool {
        matches!(self.wanted, Some(TransferMode::Copy | TransferMode::Move))
    }

    /// Returns the id of the user who owns the store.
    pub(super) fn owner(&self) -> u32 {
        self.owner
    }

    /// Returns the mode for an open file; or why there is none, in words.
    pub(super) fn mode(&self, file: &File) -> Result<Result<TransferMode, String>, AdoptionError> {
        if let Some(mode @ (TransferMode::Copy | TransferMode::Move)) = self.wanted {
            return Ok(Ok(mode));
        }
        let Shareable {
            by_reference,
            by_link,
        } = self.shareable(file)?;
        Ok(match self.wanted {
            Some(TransferMode::Link) if by_link => Ok(TransferMode::Link),
            Some(TransferMode::Reflink) | None if by_reference => Ok(TransferMode::Reflink),
            Some(TransferMode::Reflink) => Err("its filesystem cannot copy by reference".into()),
            None if by_link => match other_writers(file, self.owner).map_err(file_error())? {
                None => Ok(TransferMode::Link),
                Some(why) => Err(why),
            },
            _ => Err("it cannot be shared with the store's filesystem".into()),
        })
    }

    fn shareable(&self, file: &File) -> Result<Shareable, AdoptionError> {
        let metadata = file.metadata().map_err(file_error())?;
        let key = (metadata.dev(), metadata.uid());
        // Locked during the trial, so that other threads wait for its result.
        let mut tried = self.tried.lock();
        if let Some(known) = tried.get(&key) {
            return Ok(*known);
        }
        let shareable = self
            .registry
            .blobs()
            .filesystem()
            .shareable(file)
            .map_err(Error::from)?;
        tried.insert(key, shareable);
        Ok(shareable)
    }
}

fn file_error() -> impl FnOnce(std::io::Error) -> AdoptionError {
    about(Path::new("a blob's file"))
}

//! Sharing: in which way the file of a blob comes, so that nobody but the store's owner can
//! change it afterwards, and nothing large is copied without a word.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use parking_lot::Mutex;

use crate::adoption::{AdoptionError, about};
use crate::registry::{Error, Registry, Shareable, TransferMode, other_writers};

/// What decides in which way files come.
pub(super) struct Sharing<'a> {
    registry: &'a Registry,
    /// The way that was asked for, if any was.
    wanted: Option<TransferMode>,
    owner: u32,
    /// What works for files of a filesystem and of a user, since policy looks at both.
    tried: Mutex<HashMap<(u64, u32), Shareable>>,
}

impl<'a> Sharing<'a> {
    pub(super) fn of(
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

    /// Returns `true` if the way that was asked for works for every file.
    pub(super) fn always_works(&self) -> bool {
        matches!(self.wanted, Some(TransferMode::Copy | TransferMode::Move))
    }

    /// The user to whom the store belongs.
    pub(super) fn owner(&self) -> u32 {
        self.owner
    }

    /// The way in which an open file comes; or why it comes in none, in words.
    pub(super) fn way(&self, file: &File) -> Result<Result<TransferMode, String>, AdoptionError> {
        if let Some(way @ (TransferMode::Copy | TransferMode::Move)) = self.wanted {
            return Ok(Ok(way));
        }
        let Shareable {
            by_reference,
            by_link,
        } = self.shareable(file)?;
        Ok(match self.wanted {
            Some(TransferMode::Link) if by_link => Ok(TransferMode::Link),
            Some(TransferMode::Reflink) | None if by_reference => Ok(TransferMode::Reflink),
            Some(TransferMode::Reflink) => Err("its filesystem does not copy by reference".into()),
            None if by_link => match other_writers(file, self.owner).map_err(file_error())? {
                None => Ok(TransferMode::Link),
                Some(why) => Err(why),
            },
            _ => Err("its filesystem shares no files with the store's".into()),
        })
    }

    fn shareable(&self, file: &File) -> Result<Shareable, AdoptionError> {
        let metadata = file.metadata().map_err(file_error())?;
        let key = (metadata.dev(), metadata.uid());
        // Held while it is tried: the others wait for the answer.
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

//! Sparse files: lseek(2) for data and holes, fallocate(2); and the loss of setuid and setgid.

use super::open::OpenFileAccess;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::handle::{Handle, HandleTarget};
use super::{Tree, TreeError, plain_metadata};

/// What lseek(2) searches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next data (`SEEK_DATA`).
    Data,
    /// The next hole (`SEEK_HOLE`); every file has one at its end.
    Hole,
}

impl Seek {
    /// Returns the value of a `whence` of lseek(2); `None` for one that the kernel handles itself.
    pub fn from_whence(whence: u32) -> Option<Self> {
        match whence {
            3 => Some(Self::Data),
            4 => Some(Self::Hole),
            _ => None,
        }
    }
}

impl Tree {
    /// Clears set-user-ID and set-group-ID of an open plain file whose content was changed by a
    /// user who may not grant them.
    ///
    /// # Errors
    /// [`TreeError::Plain`] with the error of the host.
    pub fn drop_privileges(&self, handle: &Handle) -> Result<(), TreeError> {
        match &handle.open {
            HandleTarget::Plain(file) => plain_metadata::drop_privileges(file),
            _ => Ok(()),
        }
    }
}

impl OpenFileAccess<'_> {
    /// Returns the offset of the next data, or of the next hole, at or after `offset` (in bytes).
    ///
    /// # Errors
    /// [`TreeError::NothingBehind`] if there is none; [`TreeError::Plain`] with the error of the
    /// host.
    pub fn seek(self, handle: &Handle, offset: u64, wanted: Seek) -> Result<u64, TreeError> {
        let HandleTarget::Plain(file) = &handle.open else {
            let size = self.0.open_files().handle_attributes(handle)?.size;
            return match wanted {
                _ if offset >= size => Err(TreeError::NothingBehind),
                Seek::Data => Ok(offset),
                Seek::Hole => Ok(size),
            };
        };
        // Changing the file's own position is harmless: every read and write passes an offset.
        let wanted = match wanted {
            Seek::Data => SeekFrom::Data(offset),
            Seek::Hole => SeekFrom::Hole(offset),
        };
        seek(file, wanted).map_err(|error| plain_metadata::about_open(error.into()))
    }

    /// fallocate(2) with the flags of the host, for plain files only. `offset` and `len` are in
    /// bytes.
    ///
    /// # Errors
    /// [`TreeError::NotOpen`] without write access; [`TreeError::NotSupported`] for other files;
    /// [`TreeError::Plain`] with the error of the host.
    pub fn allocate(
        self,
        handle: &Handle,
        flags: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), TreeError> {
        handle.require_write()?;
        let HandleTarget::Plain(file) = &handle.open else {
            return Err(TreeError::NotSupported);
        };
        let flags = FallocateFlags::from_bits(flags).ok_or(Errno::OPNOTSUPP);
        let done = flags.and_then(|flags| fallocate(file, flags, offset, len));
        done.map_err(|error| plain_metadata::about_open(error.into()))
    }
}

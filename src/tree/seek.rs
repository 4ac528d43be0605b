//! Holes of open files: where their data and holes begin, and room made in them.

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::handle::{Handle, Open};
use super::{Tree, TreeError, plain};

/// What lseek(2) looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next data.
    Data,
    /// The next hole; behind the data of every file is one.
    Hole,
}

impl Seek {
    /// What lseek(2)'s number stands for; nothing of what needs no file system.
    pub fn from_whence(whence: u32) -> Option<Self> {
        match whence {
            3 => Some(Self::Data),
            4 => Some(Self::Hole),
            _ => None,
        }
    }
}

impl Tree {
    /// Where the next data, or the next hole, of an open file is at `offset` or behind.
    pub fn seek(&self, handle: &Handle, offset: u64, wanted: Seek) -> Result<u64, TreeError> {
        let Open::Plain(file) = &handle.open else {
            let size = self.handle_attributes(handle)?.size;
            return match wanted {
                _ if offset >= size => Err(TreeError::NothingBehind),
                Seek::Data => Ok(offset),
                Seek::Hole => Ok(size),
            };
        };
        // The position of the file is nobody's: all reads and writes say theirs.
        let wanted = match wanted {
            Seek::Data => SeekFrom::Data(offset),
            Seek::Hole => SeekFrom::Hole(offset),
        };
        seek(file, wanted).map_err(|error| plain::about_open(error.into()))
    }

    /// fallocate(2), of plain files alone: the flags are the host's.
    pub fn allocate(
        &self,
        handle: &Handle,
        flags: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), TreeError> {
        handle.writing()?;
        let Open::Plain(file) = &handle.open else {
            return Err(TreeError::NotSupported);
        };
        let flags = FallocateFlags::from_bits(flags).ok_or(Errno::OPNOTSUPP);
        let done = flags.and_then(|flags| fallocate(file, flags, offset, len));
        done.map_err(|error| plain::about_open(error.into()))
    }

    /// Takes set-user-ID and set-group-ID from an open plain file: its content was changed by
    /// somebody who may not grant them.
    pub fn drop_privileges(&self, handle: &Handle) -> Result<(), TreeError> {
        match &handle.open {
            Open::Plain(file) => plain::drop_privileges(file),
            _ => Ok(()),
        }
    }
}

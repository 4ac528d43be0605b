//! The connection to the kernel: ioctl(2) on /dev/fuse.
#![expect(unsafe_code, reason = "ioctl(2) takes numbers and addresses")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use fuser::BackingId;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `FUSE_DEV_IOC_CLONE`
const CLONE: Opcode = opcode::read::<u32>(229, 0);
/// `FUSE_DEV_IOC_BACKING_CLOSE`
const BACKING_CLOSE: Opcode = opcode::write::<u32>(229, 2);

/// Opens another descriptor of a connection, so that threads read requests without sharing one.
/// The reply to a request must be written to the descriptor that it was read from.
pub(super) fn reopen(device: &OwnedFd) -> io::Result<OwnedFd> {
    let other = File::options().read(true).write(true).open("/dev/fuse")?;
    let number = device.as_raw_fd().cast_unsigned();
    // SAFETY: the kernel reads a descriptor's number from this address, and writes nothing.
    unsafe { ioctl(&other, Setter::<CLONE, u32>::new(number)) }?;
    Ok(other.into())
}

/// Registers a file that the kernel reads and writes itself, and returns its number.
pub(super) fn open_backing(device: &OwnedFd, file: &File) -> io::Result<u32> {
    BackingId::create_raw(device, file)
}

/// Unregisters a file.
pub(super) fn close_backing(device: &OwnedFd, backing: u32) -> io::Result<()> {
    // SAFETY: the kernel reads a number from this address, and refuses one that it does not know.
    unsafe { ioctl(device.as_fd(), Setter::<BACKING_CLOSE, u32>::new(backing)) }?;
    Ok(())
}

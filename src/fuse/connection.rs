//! The connection to the kernel: what is asked of /dev/fuse by ioctl(2).
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

/// Opens another descriptor of a connection, so that two threads take requests from it without
/// sharing one. What is read from a descriptor must be answered through it.
pub(super) fn reopen(device: &OwnedFd) -> io::Result<OwnedFd> {
    let other = File::options().read(true).write(true).open("/dev/fuse")?;
    let number = device.as_raw_fd().cast_unsigned();
    // SAFETY: the kernel reads a descriptor's number from this address, and writes nothing.
    unsafe { ioctl(&other, Setter::<CLONE, u32>::new(number)) }?;
    Ok(other.into())
}

/// Gives the kernel a file to read and write by itself; the number by which it knows it.
pub(super) fn open_backing(device: &OwnedFd, file: &File) -> io::Result<u32> {
    BackingId::create_raw(device, file)
}

/// Takes a file back from the kernel.
pub(super) fn close_backing(device: &OwnedFd, backing: u32) -> io::Result<()> {
    // SAFETY: the kernel reads a number from this address, and refuses one that it does not know.
    unsafe { ioctl(device.as_fd(), Setter::<BACKING_CLOSE, u32>::new(backing)) }?;
    Ok(())
}

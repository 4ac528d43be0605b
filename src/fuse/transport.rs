//! Transports: the two ways by which requests arrive and replies leave, `/dev/fuse` and
//! `io_uring`. They only translate between the kernel's bytes and the values that `dispatch`
//! handles.

mod decode;
pub(super) mod device;
pub(super) mod encode;
mod opcode;
mod queue;
pub(super) mod ring;

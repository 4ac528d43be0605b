//! The writer: the process and user on whose behalf an operation runs.

/// The process and user that ask for an operation, so that a refusal can name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// The process id; 0 where the kernel does not say.
    pub pid: u32,
    /// The user id.
    pub uid: u32,
}

//! A mount in the background: a second process of this program serves it, and the first returns
//! once the mount answers.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::MountRequest;
use crate::commands::store_dir::is_read_only;
use crate::commands::{CommandError, ExitCode, StoreLock, with_path};
use crate::dir::Dir;

/// Starts the daemon and waits until its mount answers.
///
/// # Errors
/// [`CommandError::InUse`] if another process holds the store; [`CommandError::Background`] with
/// the daemon's own messages if it ends before the mount answers.
pub(super) fn start(request: &MountRequest) -> Result<(), CommandError> {
    // Waits here for a process that is ending, where the user sees the notice, and creates the
    // directory, since the daemon opens its log before the store.
    drop(StoreLock::take(&request.store, request.options.if_missing)?);
    let program = std::env::current_exe().map_err(with_path(Path::new("/proc/self/exe")))?;
    let mut daemon = spawn(&program, request)?;
    let mut announcement = String::new();
    if let Some(out) = daemon.stdout.take() {
        let read = BufReader::new(out).read_line(&mut announcement);
        read.map_err(with_path(&program))?;
    }
    if !announcement.is_empty() {
        print!("{announcement}");
        return Ok(());
    }
    let mut messages = String::new();
    if let Some(mut err) = daemon.stderr.take() {
        err.read_to_string(&mut messages)
            .map_err(with_path(&program))?;
    }
    let status = daemon.wait().map_err(with_path(&program))?;
    if status.code() == Some(ExitCode::InUse.number()) {
        // Returns the error that the foreground returns: the lock names its holder.
        StoreLock::take(&request.store, request.options.if_missing)?;
    }
    let messages = messages.trim().trim_start_matches("regfs: ");
    Err(CommandError::Background(format!("{messages} ({status})")))
}

/// Starts this program again with the same arguments, in the foreground of a process group of its
/// own.
fn spawn(program: &Path, request: &MountRequest) -> Result<Child, CommandError> {
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .arg("--foreground");
    if !request.log_given {
        let dir = Dir::open(&request.store).map_err(with_path(&request.store))?;
        if !is_read_only(&dir)? {
            command.arg("--log-in-store");
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command.spawn().map_err(with_path(program))
}

//! `regfs mount`: mounts a store, in this process or in the background.
//!
//! Here are the request and its checks; `mount/serve.rs` serves a mount until it ends, and
//! `mount/background.rs` starts another process that does.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::store_dir::open_if_exists;
use super::{CommandError, MountOptions, dead_mount, with_path};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry;

mod background;
mod serve;

/// The name of the log in a store.
const LOG: &str = "regfs.log";
/// How many names of files hidden by a mount the warning lists.
const HIDDEN_NAMES_MAX: usize = 3;

/// What to mount, where, and how.
#[derive(Clone, Debug)]
pub struct MountRequest {
    /// The path of the store.
    pub store: PathBuf,
    /// An existing directory.
    pub mountpoint: PathBuf,
    /// The path of the registry root, relative to the mountpoint; empty for the mountpoint itself.
    pub root: String,
    /// The mount options.
    pub options: MountOptions,
    /// Serve the mount in this process.
    pub foreground: bool,
    /// The user has given a file for the log; otherwise a daemon logs into the store.
    pub log_given: bool,
}

/// Mounts a store. In the foreground this returns after the mount has ended, in the background
/// once the mount answers.
///
/// # Errors
/// The request is invalid, the store is in use or cannot be opened, or the mount fails.
pub fn mount(request: &MountRequest) -> Result<(), CommandError> {
    let mountpoint = check(request)?;
    if let Some(names) = first_names(&mountpoint) {
        let mountpoint = printable(&mountpoint);
        let text = format!("{mountpoint} is not empty: the mount hides {names}");
        if request.foreground {
            log::warn!("{text}");
        } else {
            eprintln!("regfs: warning: {text}");
        }
    }
    if request.foreground {
        serve::serve(request, &mountpoint)
    } else {
        background::start(request)
    }
}

/// Opens the log in a store for appending, and creates it if it does not exist.
///
/// # Errors
/// The store or the log cannot be opened.
pub fn open_store_log(store: &Path) -> Result<File, CommandError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let opened = Dir::open(store);
    let opened = opened.and_then(Dir::preserving_owner);
    let opened = opened.and_then(|dir| dir.open_file(LOG, flags, Mode::RUSR | Mode::WUSR));
    opened.map_err(with_path(&store.join(LOG)))
}

/// Checks a request before anything is changed, and removes a dead mount at the mountpoint.
/// Returns the mountpoint without symbolic links.
fn check(request: &MountRequest) -> Result<PathBuf, CommandError> {
    check_root(&request.root)?;
    if let Some(dir) = open_if_exists(&request.store)?
        && registry::is_backup(&dir)?
        && !request.options.read_only
    {
        return Err(CommandError::Usage(format!(
            "{} is a backup: mount it with -o ro, or restore it into a store (regfs restore)",
            printable(&request.store)
        )));
    }
    dead_mount::clear(&request.mountpoint)?;
    let mountpoint = request.mountpoint.canonicalize();
    let mountpoint = mountpoint.map_err(with_path(&request.mountpoint))?;
    if !mountpoint.is_dir() {
        return Err(CommandError::Usage(format!(
            "mountpoint {} is not a directory",
            printable(&mountpoint)
        )));
    }
    let store = resolve(&request.store)?;
    if store.starts_with(&mountpoint) || mountpoint.starts_with(&store) {
        return Err(CommandError::Usage(format!(
            "store {} and mountpoint {} must not contain each other: choose another mountpoint",
            printable(&store),
            printable(&mountpoint)
        )));
    }
    Ok(mountpoint)
}

/// Fails unless `--root` is empty or a relative path without `.` and `..`.
fn check_root(root: &str) -> Result<(), CommandError> {
    let mut components = root.trim_matches('/').split('/');
    if !root.is_empty() && components.any(|one| matches!(one, "" | "." | "..")) {
        return Err(CommandError::Usage(format!(
            "--root {root}: expected a relative path without . and .., such as docker/registry"
        )));
    }
    Ok(())
}

/// Returns the path of a store without symbolic links; the store itself need not exist.
fn resolve(store: &Path) -> Result<PathBuf, CommandError> {
    if let Ok(resolved) = store.canonicalize() {
        return Ok(resolved);
    }
    let parent = match store.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().map_err(with_path(parent))?;
    Ok(parent.join(store.file_name().unwrap_or_default()))
}

/// Returns the first names in a directory as text; `None` for an empty directory.
fn first_names(directory: &Path) -> Option<String> {
    let mut rows = std::fs::read_dir(directory).ok()?.flatten();
    let names = rows.by_ref().take(HIDDEN_NAMES_MAX);
    // Escaped, since other users may have chosen the names.
    let names = names.map(|row| format!("{:?}", row.file_name().to_string_lossy()));
    let names: Vec<String> = names.collect();
    let more = if rows.next().is_some() {
        " and more"
    } else {
        ""
    };
    (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
}

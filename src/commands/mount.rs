//! `regfs mount`: a store shown at a mountpoint until it is unmounted.
//!
//! In the background, unless asked otherwise: a second process of this program serves the
//! mount, and the first returns once the mount answers.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::control::{Control, Served};
use super::dead_mount::{self, detach, fusermount};
use super::lock::is_read_only;
use super::place::existing;
use super::{CommandError, ExitCode, MountOptions, StoreLock, about, absolute, mounts};
use crate::dir::Dir;
use crate::fuse::{Mount, Options};
use crate::maintenance::Expiry;
use crate::registry::{self, FILES};
use crate::tree::Tree;

/// The name of the log in a store.
const LOG: &str = "regfs.log";
/// Names of what a mount hides that are told.
const NAMED: usize = 3;

/// What to mount, where, and how.
#[derive(Clone, Debug)]
pub struct Mounting {
    /// The store, which is made if it does not exist.
    pub store: PathBuf,
    /// An existing directory.
    pub mountpoint: PathBuf,
    /// The path of the registry's root below the mountpoint, perhaps empty.
    pub root: String,
    /// How.
    pub options: MountOptions,
    /// Whether this process serves the mount itself.
    pub foreground: bool,
    /// Whether a place for the log was given; in the background it is in the store otherwise.
    pub log_given: bool,
}

/// Mounts; in the foreground this returns when the mount has ended.
pub fn mount(mounting: &Mounting) -> Result<(), CommandError> {
    let mountpoint = check(mounting)?;
    if let Some(names) = names(&mountpoint) {
        let mountpoint = mountpoint.display();
        let text = format!("the mount hides what {mountpoint} holds: {names}");
        if mounting.foreground {
            log::warn!("{text}");
        } else {
            eprintln!("regfs: warning: {text}");
        }
    }
    if mounting.foreground {
        serve(mounting, &mountpoint)
    } else {
        background(mounting)
    }
}

/// Opens the log in a store, where the process in the background writes.
pub fn log_of(store: &Path) -> Result<File, CommandError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let opened = Dir::open(store);
    let opened = opened.and_then(Dir::preserving_owner);
    let opened = opened.and_then(|dir| dir.open_file(LOG, flags, Mode::RUSR | Mode::WUSR));
    opened.map_err(about(&store.join(LOG)))
}

/// Looks at what was asked for before anything is changed; the mountpoint without symlinks.
fn check(mounting: &Mounting) -> Result<PathBuf, CommandError> {
    let usage = |text: String| Err(CommandError::Usage(text));
    let components = mounting.root.trim_matches('/').split('/');
    if !mounting.root.is_empty()
        && components
            .into_iter()
            .any(|one| matches!(one, "" | "." | ".."))
    {
        return usage(format!(
            "--root {}: expected a relative path",
            mounting.root
        ));
    }
    if let Some(dir) = existing(&mounting.store)?
        && registry::is_backup(&dir)?
        && !mounting.options.read_only
    {
        return usage(format!(
            "{} is a backup: mount it with -o ro, or restore it into a store",
            mounting.store.display()
        ));
    }
    dead_mount::clear(&mounting.mountpoint)?;
    let mountpoint = mounting
        .mountpoint
        .canonicalize()
        .map_err(about(&mounting.mountpoint))?;
    if !mountpoint.is_dir() {
        return usage(format!(
            "mountpoint {} is not a directory",
            mountpoint.display()
        ));
    }
    let parent = match mounting.store.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let store = if let Ok(store) = mounting.store.canonicalize() {
        store
    } else {
        let parent = parent.canonicalize().map_err(about(parent))?;
        parent.join(mounting.store.file_name().unwrap_or_default())
    };
    if store.starts_with(&mountpoint) || mountpoint.starts_with(&store) {
        return usage(format!(
            "store {} and mountpoint {} must not lie in each other",
            store.display(),
            mountpoint.display()
        ));
    }
    Ok(mountpoint)
}

/// What is in a directory, for people: a few names, and whether there are more. Nothing for an
/// empty one.
fn names(directory: &Path) -> Option<String> {
    let mut rows = std::fs::read_dir(directory).ok()?.flatten();
    let names = rows.by_ref().take(NAMED).map(|row| row.file_name());
    // Escaped: anybody may have named them.
    let names = names.map(|name| format!("{:?}", name.to_string_lossy()));
    let names: Vec<String> = names.collect();
    let more = if rows.next().is_some() {
        " and more"
    } else {
        ""
    };
    (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
}

/// Serves the mount in this process.
fn serve(mounting: &Mounting, mountpoint: &Path) -> Result<(), CommandError> {
    let options = &mounting.options;
    let lock = StoreLock::take(&mounting.store, options.absent)?;
    if lock.is_new() {
        log::warn!("made a new store in {}", mounting.store.display());
    }
    raise_open_files();
    if lock.is_read_only() && !options.read_only {
        return Err(CommandError::Usage(format!(
            "{} is on a read-only filesystem: mount it with -o ro",
            mounting.store.display()
        )));
    }
    let registry = lock.registry(options.policy, options.recover)?;
    let registry = Arc::new(registry);
    let known = Arc::new(Served {
        store: lock.dir().clone(),
        registry: Arc::clone(&registry),
        mountpoint: mountpoint.to_owned(),
        mounted: OnceLock::new(),
        device: OnceLock::new(),
    });
    // Where no socket can be made, commands open the store themselves, beside this mount.
    let control = (!lock.is_read_only()).then(|| Control::listen(Arc::clone(&known)));
    let control = control.transpose()?;
    // What is in it has its own modes, behind the store's.
    let plain = lock.dir().ensure_dir(FILES, Mode::from_raw_mode(0o755));
    let plain = plain.map_err(about(&lock.dir().shown(FILES)))?;
    let tree = Tree::new(registry, plain, &mounting.root, options.read_only)?
        .with_control_group(options.control_gid);
    let expiry = if options.read_only {
        None
    } else {
        let started = Expiry::start(Arc::clone(&known.registry));
        Some(started.map_err(about(&mounting.store))?)
    };
    let kernel = Options {
        source: absolute(&mounting.store)?.display().to_string(),
        read_only: options.read_only,
        allow_other: options.allow_other,
        uid: options
            .uid
            .unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        gid: options
            .gid
            .unwrap_or_else(|| rustix::process::getegid().as_raw()),
        offers: options.offers,
        generic: options.generic,
    };
    let mount = Mount::new(tree, mountpoint, &kernel, &known.mounted).map_err(about(mountpoint))?;
    if let Some(mount) = mounts::at(mountpoint) {
        // There is one mount.
        let _first = known.device.set(mount.device);
    }
    end_on_signals(mountpoint.to_owned()).map_err(about(mountpoint))?;
    announce(&mounting.store, mountpoint, lock.is_new());
    let served = mount.serve().map_err(about(mountpoint));
    // Who asks from now on waits for the lock.
    drop(control);
    drop(expiry);
    if let Err(error) = known.registry.checkpoint() {
        log::warn!(
            "what was written last is put in its place when the store is next opened: {error}"
        );
    }
    drop(known);
    served?;
    // The store is closed by now; only then may somebody else take it.
    drop(lock);
    Ok(())
}

/// Every blob that a client reads is a file open here: as many as the system lets us have.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!(
            "only {:?} files can be open at once: {error}",
            limit.current
        );
    }
}

/// Says that the mount answers, to people and to the process that waits for it.
fn announce(store: &Path, mountpoint: &Path, new: bool) {
    let mut out = std::io::stdout();
    let made = if new { "made a new store: " } else { "" };
    // Nobody may be listening.
    let _gone = writeln!(
        out,
        "{made}{} is mounted at {}",
        store.display(),
        mountpoint.display()
    );
    let _gone = out.flush();
}

/// Unmounts at the first SIGTERM or SIGINT; a mount in use is hidden at once and served until
/// nobody uses it, or until the second signal.
fn end_on_signals(mountpoint: PathBuf) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut received = signals.forever();
            received.next();
            if unmount(&mountpoint, UnmountFlags::empty()).is_err()
                && !fusermount(&["-u"], &mountpoint)
            {
                log::warn!(
                    "{} is in use: it ends with its last user",
                    mountpoint.display()
                );
                detach(&mountpoint);
            }
            received.next();
            // What was acknowledged is durable, as after kill -9.
            std::process::exit(1);
        })?;
    Ok(())
}

/// Starts the process that serves the mount, and waits until the mount answers.
fn background(mounting: &Mounting) -> Result<(), CommandError> {
    // Waits for a process that is ending, where it can be said, and makes the directory, since
    // the log begins before the store is opened.
    drop(StoreLock::take(&mounting.store, mounting.options.absent)?);
    let program = std::env::current_exe().map_err(about(Path::new("/proc/self/exe")))?;
    let mut command = Command::new(&program);
    command
        .args(std::env::args_os().skip(1))
        .arg("--foreground");
    if !mounting.log_given {
        let dir = Dir::open(&mounting.store).map_err(about(&mounting.store))?;
        if !is_read_only(&dir)? {
            command.arg("--log-in-store");
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(about(&program))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(about(&program))?;
    }
    if !line.is_empty() {
        print!("{line}");
        return Ok(());
    }
    let mut reason = String::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut reason).map_err(about(&program))?;
    }
    let status = child.wait().map_err(about(&program))?;
    if status.code() == Some(ExitCode::InUse.number()) {
        // The same as in the foreground: the lock tells who.
        StoreLock::take(&mounting.store, mounting.options.absent)?;
    }
    let reason = reason.trim().trim_start_matches("regfs: ");
    Err(CommandError::Background(format!("{reason} ({status})")))
}

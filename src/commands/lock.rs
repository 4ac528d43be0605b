//! The lock of a store: one process at a time holds it, and the lock file names that process.
//!
//! The lock carries the store's directory as an open descriptor; everything in the store is
//! reached from that descriptor, never by a joined path.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fchmod};

use super::holder::Holder;
use super::store_dir::{IfMissing, PRIVATE_DIRECTORY, is_read_only, open};
use super::{CommandError, with_path};
use crate::dir::Dir;
use crate::printable::printable;
use crate::registry::{self, Policy, Recover, Registry, StoreState};

/// The name of the lock file in the store.
pub(super) const LOCK: &str = "lock";
/// How long to wait for a holder that serves no mount.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before telling the user about it.
const NOTICE_DELAY: Duration = Duration::from_secs(1);
/// How long to wait between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The mode of the lock file: only its owner has access.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The lock of a store, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct StoreLock {
    dir: Dir,
    new: bool,
    read_only: bool,
    /// The locked file; `None` on a read-only filesystem without a lock file.
    _file: Option<File>,
}

impl StoreLock {
    /// Opens the store at a path, or creates it, and takes its lock. Waits up to ten seconds for a
    /// holder that serves no mount.
    ///
    /// # Errors
    /// [`CommandError::InUse`] if another process holds the lock; the path holds no store and none
    /// may be created; the store cannot be opened.
    pub fn take(store: &Path, if_missing: IfMissing) -> Result<Self, CommandError> {
        let (dir, state) = open(store, if_missing)?;
        Self::take_open(dir, state == StoreState::Empty)
    }

    /// Takes the lock of a store whose directory is open. `new` says that the store is empty and
    /// will be created by opening its registry.
    ///
    /// # Errors
    /// [`CommandError::InUse`] if another process holds the lock; the lock file cannot be opened
    /// or written.
    pub(super) fn take_open(dir: Dir, new: bool) -> Result<Self, CommandError> {
        Self::take_within(dir, new, TIMEOUT)
    }

    fn take_within(dir: Dir, new: bool, timeout: Duration) -> Result<Self, CommandError> {
        if is_read_only(&dir)? {
            return Self::take_shared(dir, timeout);
        }
        let path = dir.path().to_owned();
        let dir = dir.preserving_owner().map_err(with_path(&path))?;
        make_private(&dir)?;
        let path = dir.shown(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = dir.open_file(LOCK, flags, PRIVATE_FILE);
        let mut file = file.map_err(with_path(&path))?;
        wait(&dir, &file, File::try_lock, timeout)?;
        write_pid(&mut file).map_err(with_path(&path))?;
        Ok(Self {
            dir,
            new,
            read_only: false,
            _file: Some(file),
        })
    }

    /// Takes the lock of a store on a read-only filesystem, shared with other readers.
    fn take_shared(dir: Dir, timeout: Duration) -> Result<Self, CommandError> {
        let path = dir.shown(LOCK);
        let file = match dir.open_file(LOCK, OFlags::RDONLY, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(file.map_err(with_path(&path))?),
        };
        if let Some(file) = &file {
            wait(&dir, file, File::try_lock_shared, timeout)?;
        }
        Ok(Self {
            dir,
            new: false,
            read_only: true,
            _file: file,
        })
    }

    /// Opens the registry in the store; without writing anything if the filesystem is read-only.
    ///
    /// # Errors
    /// The failure to open or recover the registry.
    pub(super) fn registry(
        &self,
        policy: Policy,
        recover: Recover,
    ) -> Result<Registry, registry::Error> {
        if self.read_only {
            Registry::open_unwritten(&self.dir, policy, recover)
        } else {
            Registry::open(&self.dir, policy, recover)
        }
    }

    /// Returns `true` if the store is on a read-only filesystem.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns the store's directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns `true` if there was no store, so that opening the registry creates one.
    pub fn is_new(&self) -> bool {
        self.new
    }
}

/// Restricts the store's directory to its owner, whatever the modes of the files in it.
fn make_private(dir: &Dir) -> Result<(), CommandError> {
    let path = dir.path();
    let stat = dir.metadata("").map_err(with_path(path))?;
    if Mode::from_raw_mode(stat.st_mode) != PRIVATE_DIRECTORY {
        fchmod(dir, PRIVATE_DIRECTORY).map_err(|error| with_path(path)(error.into()))?;
    }
    Ok(())
}

/// Takes the lock by `try_lock`. Waits up to `timeout` for its holder; fails at once if the
/// holder serves a mount.
fn wait(
    dir: &Dir,
    file: &File,
    try_lock: fn(&File) -> Result<(), TryLockError>,
    timeout: Duration,
) -> Result<(), CommandError> {
    let (began, mut told) = (Instant::now(), false);
    loop {
        match try_lock(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(with_path(&dir.shown(LOCK))(error)),
        }
        let (holder, pid) = (Holder::of(dir), read_pid(file));
        let (store, waited) = (dir.path().to_owned(), began.elapsed());
        if holder.is_mounted() || waited >= timeout {
            return Err(CommandError::InUse { store, pid, holder });
        }
        if waited >= NOTICE_DELAY && !told {
            told = true;
            let (store, most) = (printable(&store), timeout.as_secs());
            eprintln!(
                "regfs: waiting for process {pid} to release store {store} (at most {most} s)"
            );
        }
        std::thread::sleep(RETRY_INTERVAL);
    }
}

/// Returns the process id in a lock file; empty if its holder has not written it yet.
fn read_pid(mut file: &File) -> String {
    let mut text = String::new();
    let _read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text.trim().to_owned()
}

/// Writes our process id into a lock file, and makes the file private: only a process that can
/// open it can lock it.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(PRIVATE_FILE.as_raw_mode()))?;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_use_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let held = StoreLock::take(&store, IfMissing::Create).unwrap();
        let dir = Dir::open(&store).unwrap();
        let refused = StoreLock::take_within(dir, false, Duration::ZERO);
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        StoreLock::take(&store, IfMissing::Create).unwrap();
    }

    #[test]
    fn where_no_store_is_to_be_made_none_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let refused = StoreLock::take(&store, IfMissing::Fail).unwrap_err();
        assert!(refused.to_string().contains("does not exist"), "{refused}");
        assert!(!store.exists());
        std::fs::create_dir(&store).unwrap();
        let refused = StoreLock::take(&store, IfMissing::Fail).unwrap_err();
        assert!(refused.to_string().contains("empty"), "{refused}");
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_other_things_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("holiday.jpg"), "").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let refused = StoreLock::take(directory.path(), IfMissing::Create);
        assert!(refused.unwrap_err().to_string().contains("not a store"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let mode = std::fs::metadata(directory.path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o755);
    }

    #[test]
    fn a_lock_that_is_a_symbolic_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (store, victim) = (
            directory.path().join("store"),
            directory.path().join("victim"),
        );
        drop(StoreLock::take(&store, IfMissing::Create).unwrap());
        std::fs::write(&victim, "precious").unwrap();
        std::fs::remove_file(store.join(LOCK)).unwrap();
        std::os::unix::fs::symlink(&victim, store.join(LOCK)).unwrap();
        StoreLock::take(&store, IfMissing::Create).unwrap_err();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}

//! The lock of a store: one process at a time, which says who it is, and the store's directory,
//! open: whatever is reached in the store is reached from there.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, fchmod};

use super::holder::Holder;
use super::{CommandError, about};
use crate::dir::Dir;
use crate::registry::{self, Policy, Recover, Registry, StoreState};

/// The lock's name in the store.
pub(super) const LOCK: &str = "lock";
/// How long a holder that does not serve has to let go of the store, how long that takes before
/// it is said that we wait, and how long before we look again.
const PATIENCE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// What others than the owner may do with a store: nothing.
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What to do where there is no store yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absent {
    /// Make one, of a directory that is missing or empty.
    #[default]
    Make,
    /// Refuse.
    Refuse,
}

/// A store that is ours until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct StoreLock {
    dir: Dir,
    new: bool,
    read_only: bool,
    /// Nothing where no lock can be made: on a filesystem that is read-only.
    _file: Option<File>,
}

impl StoreLock {
    /// Takes the store at a path. A process that is ending, or works on the store, has some
    /// seconds to let go of it.
    ///
    /// # Errors
    /// [`CommandError::InUse`] if another process has it, and what [`open`] says.
    pub fn take(store: &Path, absent: Absent) -> Result<Self, CommandError> {
        let (dir, state) = open(store, absent)?;
        Self::hold(dir, state == StoreState::Empty)
    }

    /// Takes a store on a filesystem that is read-only, together with others who only read it.
    fn share(dir: Dir, patience: Duration) -> Result<Self, CommandError> {
        let path = dir.shown(LOCK);
        let file = match dir.open_file(LOCK, OFlags::RDONLY, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(file.map_err(about(&path))?),
        };
        if let Some(file) = &file {
            wait(&dir, file, File::try_lock_shared, patience)?;
        }
        Ok(Self {
            dir,
            new: false,
            read_only: true,
            _file: file,
        })
    }

    /// Takes the store in a directory that is open; `new` if it is still to be made.
    pub(super) fn hold(dir: Dir, new: bool) -> Result<Self, CommandError> {
        Self::hold_within(dir, new, PATIENCE)
    }

    fn hold_within(dir: Dir, new: bool, patience: Duration) -> Result<Self, CommandError> {
        if is_read_only(&dir)? {
            return Self::share(dir, patience);
        }
        let path = dir.path().to_owned();
        let dir = dir.preserving_owner().map_err(about(&path))?;
        tighten(&dir)?;
        let path = dir.shown(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = dir.open_file(LOCK, flags, PRIVATE_FILE);
        let mut file = file.map_err(about(&path))?;
        wait(&dir, &file, File::try_lock, patience)?;
        write(&mut file).map_err(about(&path))?;
        Ok(Self {
            dir,
            new,
            read_only: false,
            _file: Some(file),
        })
    }

    /// Opens the registry that the store keeps; where nothing can be written, without writing.
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

    /// Returns `true` if nothing can be written to the store: its filesystem is read-only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The store's directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns `true` if there was no store, so that opening it makes one.
    pub fn is_new(&self) -> bool {
        self.new
    }
}

/// Opens the directory of a store, which is made if it is missing and may be.
///
/// # Errors
/// What is no store, or is not there though it should be.
fn open(store: &Path, absent: Absent) -> Result<(Dir, StoreState), CommandError> {
    let dir = match Dir::open(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if absent == Absent::Refuse {
                return Err(missing(store, "it does not exist"));
            }
            let made = DirBuilder::new()
                .mode(PRIVATE_DIRECTORY.as_raw_mode())
                .create(store);
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(about(store)(error));
                }
                Ok(()) | Err(_) => Dir::open(store).map_err(about(store))?,
            }
        }
        opened => opened.map_err(about(store))?,
    };
    let state = registry::state(&dir)?;
    if state == StoreState::Empty && absent == Absent::Refuse {
        return Err(missing(store, "it is empty"));
    }
    Ok((dir, state))
}

/// Returns `true` if a directory is on a filesystem that is read-only, or mounted so.
pub(super) fn is_read_only(dir: &Dir) -> Result<bool, CommandError> {
    let space = rustix::fs::fstatvfs(dir).map_err(|error| about(dir.path())(error.into()))?;
    Ok(space.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// There is no store, and none is to be made.
fn missing(store: &Path, why: &str) -> CommandError {
    let store = store.display();
    CommandError::Usage(format!("{store} is no store: {why}"))
}

/// Keeps others out of a store, whatever the modes of what is in it.
fn tighten(dir: &Dir) -> Result<(), CommandError> {
    let path = dir.path();
    let stat = dir.metadata("").map_err(about(path))?;
    if Mode::from_raw_mode(stat.st_mode) != PRIVATE_DIRECTORY {
        fchmod(dir, PRIVATE_DIRECTORY).map_err(|error| about(path)(error.into()))?;
    }
    Ok(())
}

/// Waits for the lock as long as its holder may let go of it.
fn wait(
    dir: &Dir,
    file: &File,
    lock: fn(&File) -> Result<(), TryLockError>,
    patience: Duration,
) -> Result<(), CommandError> {
    let (began, mut said) = (Instant::now(), false);
    loop {
        match lock(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(about(&dir.shown(LOCK))(error)),
        }
        let (holder, pid) = (Holder::of(dir), pid(file));
        let (store, waited) = (dir.path().to_owned(), began.elapsed());
        if holder.stays() || waited >= patience {
            return Err(CommandError::InUse { store, pid, holder });
        }
        if waited >= SILENCE && !said {
            said = true;
            let store = store.display();
            eprintln!("regfs: waiting for process {pid}, which is to let go of store {store}");
        }
        std::thread::sleep(LOOK);
    }
}

/// The number of the process that a lock names.
fn pid(mut file: &File) -> String {
    let mut text = String::new();
    // A holder that has just begun has not written yet.
    let _read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text.trim().to_owned()
}

/// Says in the lock who has it. Who cannot open it cannot hold it either.
fn write(file: &mut File) -> io::Result<()> {
    let mode = PRIVATE_FILE.as_raw_mode();
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
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
        let held = StoreLock::take(&store, Absent::Make).unwrap();
        let dir = Dir::open(&store).unwrap();
        let refused = StoreLock::hold_within(dir, false, Duration::ZERO);
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        StoreLock::take(&store, Absent::Make).unwrap();
    }

    #[test]
    fn where_no_store_is_to_be_made_none_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let refused = StoreLock::take(&store, Absent::Refuse).unwrap_err();
        assert!(refused.to_string().contains("does not exist"), "{refused}");
        assert!(!store.exists());
        std::fs::create_dir(&store).unwrap();
        let refused = StoreLock::take(&store, Absent::Refuse).unwrap_err();
        assert!(refused.to_string().contains("empty"), "{refused}");
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_other_things_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("holiday.jpg"), "").unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let refused = StoreLock::take(directory.path(), Absent::Make);
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
        drop(StoreLock::take(&store, Absent::Make).unwrap());
        std::fs::write(&victim, "precious").unwrap();
        std::fs::remove_file(store.join(LOCK)).unwrap();
        std::os::unix::fs::symlink(&victim, store.join(LOCK)).unwrap();
        StoreLock::take(&store, Absent::Make).unwrap_err();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}

//! The control socket: how commands reach the process that has a store mounted.
//!
//! One line of JSON asks, one line answers. The socket stands in the store and belongs to the
//! one who mounted it. A process that was killed leaves it behind; nobody answers there, and
//! the next mount replaces it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CommandError, Verdict, about};
use crate::registry::Registry;

/// The socket's name in the store.
const SOCKET: &str = "socket";
/// Longest question in bytes: a manifest, written as JSON writes bytes.
const QUESTION_MAX: u64 = 32 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// To judge a document, perhaps as if it were dropped into a repository.
    Check {
        /// The repository.
        repository: Option<String>,
        /// The document, in base64.
        document: String,
    },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What came of a check.
    Verdict(Verdict),
    /// The repository does not exist.
    NoRepository,
    /// It could not be done, and why.
    Failed(String),
}

/// A path to the socket of a store that is short enough for a socket's address.
struct Address {
    /// Kept open, since the path leads through it.
    _directory: fs::File,
    path: PathBuf,
}

impl Address {
    fn of(store: &Path) -> io::Result<Self> {
        let directory = fs::File::open(store)?;
        let number = directory.as_raw_fd();
        Ok(Self {
            path: PathBuf::from(format!("/proc/self/fd/{number}/{SOCKET}")),
            _directory: directory,
        })
    }
}

/// A store's control socket; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Answers questions about a store, whose lock the caller holds.
    pub(super) fn listen(store: &Path, registry: Arc<Registry>) -> Result<Self, CommandError> {
        let path = store.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about(&path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let address = Address::of(store).map_err(about(store))?;
        let listener = UnixListener::bind(&address.path).map_err(about(&path))?;
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, private).map_err(about(&path))?;
        let thread = std::thread::Builder::new().name("control".into());
        let ending = Arc::new(AtomicBool::new(false));
        let asked_to_end = Arc::clone(&ending);
        let answering = thread.spawn(move || {
            for stream in listener.incoming() {
                if asked_to_end.load(Ordering::Acquire) {
                    return;
                }
                // A caller that went away is its own affair.
                if let Err(error) = stream.and_then(|stream| answer(&stream, &registry)) {
                    log::debug!("control: {error}");
                }
            }
        });
        let thread = Some(answering.map_err(about(&path))?);
        Ok(Self {
            path,
            ending,
            thread,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // It waits for the next caller, which is us. If it cannot be woken it ends with us.
        let woken = self.path.parent().map(Address::of);
        if let Some(Ok(address)) = woken
            && UnixStream::connect(&address.path).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the control thread ended in a panic");
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

/// Reads one question and answers it.
fn answer(stream: &UnixStream, registry: &Registry) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(QUESTION_MAX)).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(Question::Check {
            repository,
            document,
        }) => super::check::answer(registry, repository.as_deref(), &document),
        Err(error) => Answer::Failed(format!("a question that is not understood: {error}")),
    };
    say(stream, &answer)
}

fn say(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Asks the process that has a store mounted; nothing if there is none.
pub(super) fn ask(store: &Path, question: &Question) -> Result<Option<Answer>, CommandError> {
    let address = Address::of(store).map_err(about(store))?;
    let stream = match UnixStream::connect(&address.path) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(about(&store.join(SOCKET))(error)),
            };
        }
    };
    let asked = || -> io::Result<Answer> {
        stream.set_read_timeout(Some(PATIENCE))?;
        say(&stream, question)?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    asked().map(Some).map_err(|error| CommandError::Served {
        store: store.to_owned(),
        reason: error.to_string(),
    })
}

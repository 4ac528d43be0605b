//! The control socket: how commands reach the process that has a store mounted.
//!
//! One line of JSON asks; lines of JSON tell how far it is, and the last one answers. The socket
//! stands in the store and belongs to the one who mounted it. A process that was killed leaves
//! it behind; nobody answers there, and the next mount replaces it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CommandError, Done, Verdict, Work, about};
use crate::adoption::{Progress, Standing};
use crate::fuse::Mounted;
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
    /// To do something to the store.
    Work(Work),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// What came of a check.
    Verdict(Verdict),
    /// The repository does not exist.
    NoRepository,
    /// What came of a work.
    Done(Box<Done>),
    /// It could not be done, and why.
    Failed(String),
}

/// One line of an answer: how far it is, as often as there is news, and at last the answer.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Standing(Standing),
    Answer(Answer),
}

/// Who answers.
pub(super) struct Served {
    /// The directory of the store.
    pub(super) store: PathBuf,
    /// What is kept there.
    pub(super) registry: Arc<Registry>,
    /// Where it is mounted: nothing may be written there by who serves it.
    pub(super) mountpoint: PathBuf,
    /// The mount, once there is one.
    pub(super) mounted: OnceLock<Mounted>,
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
    pub(super) fn listen(served: Arc<Served>) -> Result<Self, CommandError> {
        let path = served.store.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about(&path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let address = Address::of(&served.store).map_err(about(&served.store))?;
        let listener = UnixListener::bind(&address.path).map_err(about(&path))?;
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, private).map_err(about(&path))?;
        let thread = std::thread::Builder::new().name("control".into());
        let ending = Arc::new(AtomicBool::new(false));
        let asked_to_end = Arc::clone(&ending);
        let answering = thread.spawn(move || listen(&listener, &served, &asked_to_end));
        let thread = Some(answering.map_err(about(&path))?);
        Ok(Self {
            path,
            ending,
            thread,
        })
    }
}

/// Answers whoever calls, each in a thread of its own, until it is to end; then nobody is left.
fn listen(listener: &UnixListener, served: &Served, ending: &AtomicBool) {
    std::thread::scope(|scope| {
        for stream in listener.incoming() {
            if ending.load(Ordering::Acquire) {
                return;
            }
            scope.spawn(move || {
                let answered = stream.and_then(|stream| answer(&stream, served, ending));
                // A caller that went away is its own affair.
                if let Err(error) = answered {
                    log::debug!("control: {error}");
                }
            });
        }
    });
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
fn answer(stream: &UnixStream, served: &Served, ending: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(QUESTION_MAX)).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(Question::Check {
            repository,
            document,
        }) => super::check::answer(&served.registry, repository.as_deref(), &document),
        Ok(Question::Work(work)) => perform(stream, served, ending, &work),
        Err(error) => Answer::Failed(format!("a question that is not understood: {error}")),
    };
    say(stream, &Line::Answer(answer))
}

/// Does a work, and says meanwhile how far it is; who does not listen any more has it stopped.
fn perform(stream: &UnixStream, served: &Served, ending: &AtomicBool, work: &Work) -> Answer {
    if let Some(reason) = work.writes_below(&served.mountpoint) {
        return Answer::Failed(reason);
    }
    let progress = Progress::default();
    let tell = |standing: &Standing| {
        let heard = say(stream, &Line::Standing(standing.clone()));
        if heard.is_err() || ending.load(Ordering::Acquire) {
            progress.stop();
        }
    };
    let done = progress.watched(tell, || {
        let work = || work.perform(&served.store, &served.registry, &progress);
        catch_unwind(AssertUnwindSafe(work))
    });
    if work.changes_facts()
        && let Some(mounted) = served.mounted.get()
    {
        mounted.refresh();
    }
    match done {
        Ok(Ok(mut done)) => {
            if let Some(mounted) = served.mounted.get() {
                done.is_mounted(mounted);
            }
            Answer::Done(Box::new(done))
        }
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Err(_) => Answer::Failed("it was given up after a panic; the mount goes on".into()),
    }
}

fn say(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Asks the process that has a store mounted; nothing if there is none. `told` hears how far
/// the work is.
pub(super) fn ask(
    store: &Path,
    question: &Question,
    mut told: impl FnMut(&Standing),
) -> Result<Option<Answer>, CommandError> {
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
    let mut asked = || -> io::Result<Answer> {
        stream.set_read_timeout(Some(PATIENCE))?;
        say(&stream, question)?;
        let mut lines = BufReader::new(&stream);
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match serde_json::from_str(&line)? {
                Line::Standing(standing) => told(&standing),
                Line::Answer(answer) => return Ok(answer),
            }
        }
    };
    asked().map(Some).map_err(|error| CommandError::Served {
        store: store.to_owned(),
        reason: error.to_string(),
    })
}

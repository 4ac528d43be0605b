//! The control socket: how commands reach the process that has a store mounted.
//!
//! One line of JSON asks; lines of JSON tell how far it is, and the last one answers. The socket
//! stands in the store and belongs to the one who mounted it. A process that was killed leaves
//! it behind; nobody answers there, and the next mount replaces it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, fchmod};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, listen, shutdown,
    socket_with,
};
use serde::{Deserialize, Serialize};

use super::holder::Presence;
use super::{CommandError, Done, Verdict, Work, about, mounts};
use crate::dir::Dir;
use crate::fuse::Mounted;
use crate::maintenance::{Progress, Standing};
use crate::registry::Registry;

/// The socket's name in the store.
const SOCKET: &str = "socket";
/// Callers that may wait to be heard.
const BACKLOG: i32 = 128;
/// Longest question in bytes: a manifest, written as JSON writes bytes.
const QUESTION_MAX: u64 = 32 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long who asks may take to hear an answer: at the end of a mount nobody is waited for longer.
const HEARD: Duration = Duration::from_secs(5);
/// How long before who is asked looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

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
    /// To tell where it is mounted.
    Presence,
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
    /// Where it is mounted.
    Presence(Presence),
    /// The process lets go of the store: whoever asks can have it soon.
    Ending,
    /// It was not done, since a check found something for the caller to decide.
    Refused(String),
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
    pub(super) store: Dir,
    /// What is kept there.
    pub(super) registry: Arc<Registry>,
    /// Where it is mounted: nothing may be written there by who serves it.
    pub(super) mountpoint: PathBuf,
    /// The mount, once there is one.
    pub(super) mounted: OnceLock<Mounted>,
    /// The number of its device, once it has one.
    pub(super) device: OnceLock<String>,
}

/// A store's control socket; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Control {
    store: Dir,
    /// The device and inode number of the socket: another one at its path is not ours.
    number: (u64, u64),
    listener: Arc<UnixListener>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Answers questions about a store, whose lock the caller holds.
    pub(super) fn listen(served: Arc<Served>) -> Result<Self, CommandError> {
        let store = served.store.clone();
        let path = store.shown(SOCKET);
        match store.remove_file(SOCKET) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(about(&path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = Arc::new(listener(&store).map_err(about(&path))?);
        let stat = store.metadata(SOCKET).map_err(about(&path))?;
        let thread = std::thread::Builder::new().name("control".into());
        let ending = Arc::new(AtomicBool::new(false));
        let (calls, asked_to_end) = (Arc::clone(&listener), Arc::clone(&ending));
        let answering = thread.spawn(move || accept(&calls, &served, &asked_to_end));
        let thread = Some(answering.map_err(about(&path))?);
        Ok(Self {
            store,
            number: (stat.st_dev, stat.st_ino),
            listener,
            ending,
            thread,
        })
    }
}

/// A socket in a store that listens, for its owner alone from the first moment on.
fn listener(store: &Dir) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The kernel makes the file with the mode that the socket has.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // Short enough for an address, wherever the store is.
    bind(&socket, &SocketAddrUnix::new(store.through(SOCKET))?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Answers whoever calls, each in a thread of its own, until it is to end; then nobody is left.
fn accept(listener: &UnixListener, served: &Served, ending: &AtomicBool) {
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
        // Ends the wait for the next caller.
        if let Err(error) = shutdown(&*self.listener, Shutdown::Both) {
            log::error!("the control socket cannot be closed: {error}");
        } else if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the control thread ended in a panic");
        }
        let stat = self.store.metadata(SOCKET);
        if stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.number)
            && let Err(error) = self.store.remove_file(SOCKET)
        {
            log::debug!("{}: {error}", self.store.shown(SOCKET).display());
        }
    }
}

/// Reads one question and answers it.
fn answer(stream: &UnixStream, served: &Served, ending: &AtomicBool) -> io::Result<()> {
    stream.set_write_timeout(Some(HEARD))?;
    let line = question(stream, ending)?;
    let answer = match serde_json::from_slice(&line) {
        Ok(_) if ending.load(Ordering::Acquire) => Answer::Ending,
        Ok(Question::Presence) => Answer::Presence(presence(served)),
        Ok(Question::Check {
            repository,
            document,
        }) => super::check::answer(&served.registry, repository.as_deref(), &document),
        Ok(Question::Work(work)) => perform(stream, served, ending, &work),
        Err(error) => Answer::Failed(format!("a question that is not understood: {error}")),
    };
    say(stream, &Line::Answer(answer))
}

/// Reads a line for as long as anybody may take to ask, and not when we are to end.
fn question(stream: &UnixStream, ending: &AtomicBool) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(LOOK))?;
    let (began, mut line) = (Instant::now(), Vec::new());
    let mut reader = BufReader::new(stream.take(QUESTION_MAX));
    loop {
        match reader.read_until(b'\n', &mut line) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && began.elapsed() < PATIENCE
                    && !ending.load(Ordering::Acquire) => {}
            read => return read.map(|_| line),
        }
    }
}

/// Where a store is mounted.
fn presence(served: &Served) -> Presence {
    let device = served.device.get().cloned();
    Presence {
        mountpoint: served.mountpoint.clone(),
        mounted: device.as_deref().is_some_and(mounts::is_seen),
        device,
    }
}

/// Does a work, and says meanwhile how far it is; who does not listen any more has it stopped.
fn perform(stream: &UnixStream, served: &Served, ending: &AtomicBool, work: &Work) -> Answer {
    if let Err(error) = work.must_lie_elsewhere(&served.store, Some(&served.mountpoint)) {
        return failed(&error);
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
        Ok(Err(_)) if ending.load(Ordering::Acquire) => Answer::Ending,
        Ok(Err(error)) => failed(&error),
        Err(_) => Answer::Failed("it was given up after a panic; the mount goes on".into()),
    }
}

fn failed(error: &CommandError) -> Answer {
    let text = error.to_string();
    if error.is_refusal() {
        Answer::Refused(text)
    } else {
        Answer::Failed(text)
    }
}

fn say(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Connects to the socket in a store, and not to what a link there leads to.
fn connect(store: &Dir) -> io::Result<UnixStream> {
    let socket = store.pin(SOCKET)?;
    if FileType::from_raw_mode(socket.metadata()?.st_mode) != FileType::Socket {
        return Err(io::Error::other("not a socket"));
    }
    UnixStream::connect(socket.through())
}

/// Asks the process that has a store mounted; nothing if there is none, or it is ending, or was
/// killed before it has answered: then the store can be had soon. `told` hears how far
/// the work is.
pub(super) fn ask(
    store: &Dir,
    question: &Question,
    mut told: impl FnMut(&Standing),
) -> Result<Option<Answer>, CommandError> {
    let stream = match connect(store) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset => Ok(None),
                _ => Err(about(&store.shown(SOCKET))(error)),
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
    let ended = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
    ];
    match asked() {
        Ok(Answer::Ending) => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(error) if ended.contains(&error.kind()) => Ok(None),
        Err(error) => Err(CommandError::Served {
            store: store.path().to_owned(),
            reason: error.to_string(),
        }),
    }
}

//! The control socket: how commands reach the process that has a store mounted.
//!
//! One line of JSON asks; lines of JSON tell how far it is, and the last one answers. The socket
//! stands in the store and belongs to the one who mounted it. A process that was killed leaves
//! it behind; nobody answers there, and the next mount replaces it.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, listen, shutdown,
    socket_with,
};

use super::perform::{add_mount, perform};
use super::protocol::{Answer, Line, PATIENCE, Presence, Question, SOCKET, say};
use super::{CommandError, Job, about, check, mounts};
use crate::dir::Dir;
use crate::fuse::Mounted;
use crate::maintenance::{Progress, Standing};
use crate::registry::Registry;

/// Callers that may wait to be heard.
const BACKLOG: i32 = 128;
/// Longest question in bytes: a manifest, written as JSON writes bytes.
const QUESTION_MAX: u64 = 32 << 20;
/// How long who asks may take to hear an answer: at the end of a mount nobody is waited for longer.
const HEARD: Duration = Duration::from_secs(5);
/// How long before who is asked looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

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
        }) => check::answer(&served.registry, repository.as_deref(), &document),
        Ok(Question::Job(job)) => do_job(stream, served, ending, &job),
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
fn do_job(stream: &UnixStream, served: &Served, ending: &AtomicBool, job: &Job) -> Answer {
    if let Err(error) = job.must_lie_elsewhere(&served.store, Some(&served.mountpoint)) {
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
        let doing = || perform(job, &served.store, &served.registry, &progress);
        catch_unwind(AssertUnwindSafe(doing))
    });
    if job.changes_facts()
        && let Some(mounted) = served.mounted.get()
    {
        mounted.refresh();
    }
    match done {
        Ok(Ok(mut done)) => {
            if let Some(mounted) = served.mounted.get() {
                add_mount(&mut done, mounted);
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

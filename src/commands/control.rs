//! The control socket: the daemon's side of the protocol in `protocol.rs`.
//!
//! The socket is in the store and belongs to the user who mounted it. A daemon that is killed
//! leaves its socket behind; connections to it are refused, and the next mount replaces it.

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
use super::protocol::{Answer, Line, MountStatus, Question, SOCKET, TIMEOUT, send};
use super::{CommandError, Job, check, mounts, with_path};
use crate::dir::Dir;
use crate::fuse::Mounted;
use crate::maintenance::{Progress, ProgressSnapshot};
use crate::registry::Registry;

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// The longest question in bytes: enough for the largest manifest in base64.
const QUESTION_MAX: u64 = 32 << 20;
/// How long writing an answer may block on a caller that does not read. The end of a mount waits
/// no longer than this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often reading a question checks whether the daemon is ending.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A store with what the daemon needs to answer questions about it.
pub(super) struct ServedStore {
    /// The directory of the store.
    pub(super) store: Dir,
    /// Its registry.
    pub(super) registry: Arc<Registry>,
    /// The path of the mount: the daemon must not write there, since it would wait for itself.
    pub(super) mountpoint: PathBuf,
    /// The mount, once the kernel has it.
    pub(super) mounted: OnceLock<Mounted>,
    /// The device number of the mount as `major:minor`, once it has one.
    pub(super) device: OnceLock<String>,
}

/// The control socket of a store and the thread that answers on it. Dropping this ends the
/// thread, waits for its answers, and removes the socket.
#[derive(Debug)]
pub(super) struct ControlServer {
    store: Dir,
    /// Device and inode number of the socket, so that only our own socket is removed.
    identity: (u64, u64),
    listener: Arc<UnixListener>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Creates the socket and starts to answer. The caller holds the lock of the store.
    ///
    /// # Errors
    /// The socket or the thread cannot be created.
    pub(super) fn listen(served: Arc<ServedStore>) -> Result<Self, CommandError> {
        let store = served.store.clone();
        let path = store.shown(SOCKET);
        match store.remove_file(SOCKET) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(with_path(&path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = Arc::new(listener(&store).map_err(with_path(&path))?);
        let stat = store.metadata(SOCKET).map_err(with_path(&path))?;
        let thread = std::thread::Builder::new().name("control".into());
        let ending = Arc::new(AtomicBool::new(false));
        let (calls, asked_to_end) = (Arc::clone(&listener), Arc::clone(&ending));
        let answering = thread.spawn(move || accept(&calls, &served, &asked_to_end));
        let thread = Some(answering.map_err(with_path(&path))?);
        Ok(Self {
            store,
            identity: (stat.st_dev, stat.st_ino),
            listener,
            ending,
            thread,
        })
    }
}

/// Creates the listening socket in a store. From its creation on only its owner has access.
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

/// Answers each connection in a thread of its own, until the daemon ends. Returns after the last
/// thread has ended.
fn accept(listener: &UnixListener, served: &ServedStore, ending: &AtomicBool) {
    std::thread::scope(|scope| {
        for stream in listener.incoming() {
            if ending.load(Ordering::Acquire) {
                return;
            }
            scope.spawn(move || {
                let answered = stream.and_then(|stream| answer(&stream, served, ending));
                // The caller has closed the connection: it needs no answer.
                if let Err(error) = answered {
                    log::debug!("control: {error}");
                }
            });
        }
    });
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Makes `accept` return.
        if let Err(error) = shutdown(&*self.listener, Shutdown::Both) {
            log::error!("cannot close the control socket: {error}");
        } else if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of the control socket panicked");
        }
        let stat = self.store.metadata(SOCKET);
        if stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity)
            && let Err(error) = self.store.remove_file(SOCKET)
        {
            log::debug!("{}: {error}", self.store.shown(SOCKET).display());
        }
    }
}

/// Reads one question and answers it.
fn answer(stream: &UnixStream, served: &ServedStore, ending: &AtomicBool) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let line = read_question(stream, ending)?;
    let answer = match serde_json::from_slice(&line) {
        Ok(_) if ending.load(Ordering::Acquire) => Answer::Ending,
        Ok(Question::Presence) => Answer::Presence(status(served)),
        Ok(Question::Check {
            repository,
            document,
        }) => check::answer(&served.registry, repository.as_deref(), &document),
        Ok(Question::Job(job)) => run_job(stream, served, ending, &job),
        Err(error) => Answer::Failed(format!(
            "the daemon does not understand the question: {error}"
        )),
    };
    send(stream, &Line::Answer(answer))
}

/// Reads one line. Gives up after [`TIMEOUT`] or when the daemon is ending.
fn read_question(stream: &UnixStream, ending: &AtomicBool) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(POLL_INTERVAL))?;
    let (began, mut line) = (Instant::now(), Vec::new());
    let mut reader = BufReader::new(stream.take(QUESTION_MAX));
    loop {
        match reader.read_until(b'\n', &mut line) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && began.elapsed() < TIMEOUT
                    && !ending.load(Ordering::Acquire) => {}
            read => return read.map(|_| line),
        }
    }
}

/// Returns where the store is mounted.
fn status(served: &ServedStore) -> MountStatus {
    let device = served.device.get().cloned();
    MountStatus {
        mountpoint: served.mountpoint.clone(),
        mounted: device.as_deref().is_some_and(mounts::is_seen),
        device,
    }
}

/// Runs a job and sends its progress meanwhile. Stops the job once the caller has closed the
/// connection or the daemon is ending.
fn run_job(stream: &UnixStream, served: &ServedStore, ending: &AtomicBool, job: &Job) -> Answer {
    if let Err(error) = job.refuse_overlap(&served.store, Some(&served.mountpoint)) {
        return failed(&error);
    }
    let progress = Progress::default();
    let report = |snapshot: &ProgressSnapshot| {
        let sent = send(stream, &Line::Progress(snapshot.clone()));
        if sent.is_err() || ending.load(Ordering::Acquire) {
            progress.stop();
        }
    };
    let result = progress.report_while(report, || {
        let run = || perform(job, &served.store, &served.registry, &progress);
        catch_unwind(AssertUnwindSafe(run))
    });
    if job.changes_facts()
        && let Some(mounted) = served.mounted.get()
    {
        mounted.refresh();
    }
    match result {
        Ok(Ok(mut result)) => {
            if let Some(mounted) = served.mounted.get() {
                add_mount(&mut result, mounted);
            }
            Answer::Done(Box::new(result))
        }
        Ok(Err(_)) if ending.load(Ordering::Acquire) => Answer::Ending,
        Ok(Err(error)) => failed(&error),
        Err(_) => {
            Answer::Failed("the job panicked and was stopped; the mount is not affected".into())
        }
    }
}

/// Returns the answer for a job that failed.
fn failed(error: &CommandError) -> Answer {
    let text = error.to_string();
    if error.is_refusal() {
        Answer::Refused(text)
    } else {
        Answer::Failed(text)
    }
}

//! The protocol of the control socket, between commands and the daemon of a mounted store.
//!
//! A command writes one line of JSON, its question. The daemon answers with lines of JSON: any
//! number with progress, and the last one with the answer. Daemon and command are usually of one
//! version, but a mount may be older than the command: tags on the wire therefore stay as they
//! are (`serde(rename)`) when a variant is renamed.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::{CommandError, Job, JobResult, Verdict, with_path};
use crate::dir::Dir;
use crate::maintenance::ProgressSnapshot;

/// The name of the socket in the store.
pub(super) const SOCKET: &str = "socket";
/// How long either side waits for the next line of the other.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// A question to the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Would this manifest be admitted, into this repository if one is given?
    Check {
        /// The name of the repository.
        repository: Option<String>,
        /// The bytes of the manifest, in base64.
        document: String,
    },
    /// Run this job on the store.
    Job(Job),
    /// Where is the store mounted?
    Presence,
}

/// An answer of the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The verdict on a manifest.
    Verdict(Verdict),
    /// The repository does not exist.
    NoRepository,
    /// The result of a job.
    Done(Box<JobResult>),
    /// The question failed, for this reason.
    Failed(String),
    /// Where the store is mounted.
    Presence(MountStatus),
    /// The daemon is ending: the store will be free soon.
    Ending,
    /// The job was not run: a check found something that the caller must decide.
    Refused(String),
}

/// One line from the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// The progress of the job.
    #[serde(rename = "ProgressSnapshot")]
    Progress(ProgressSnapshot),
    /// The answer; the last line.
    Answer(Answer),
}

/// The mount that a daemon serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MountStatus {
    /// The path at which it was mounted.
    pub(super) mountpoint: PathBuf,
    /// Its device number as `major:minor`; `None` before it is mounted.
    pub(super) device: Option<String>,
    /// `true` if it is still mounted in the mount namespace of the daemon.
    pub(super) mounted: bool,
}

/// Writes one line of JSON.
pub(super) fn send(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Connects to the control socket of a store, without following a symbolic link in its place.
fn connect(store: &Dir) -> io::Result<UnixStream> {
    let socket = store.pin(SOCKET)?;
    if FileType::from_raw_mode(socket.metadata()?.st_mode) != FileType::Socket {
        return Err(io::Error::other("not a socket"));
    }
    UnixStream::connect(socket.through())
}

/// Asks the daemon of a mounted store, and calls `on_progress` for each line with progress.
/// Returns `None` if there is no daemon, or if it ends or is killed before it answers: then the
/// store is free, or will be soon.
///
/// # Errors
/// [`CommandError::Daemon`] if the daemon does not answer in time or its answer cannot be read;
/// [`CommandError::Path`] if the socket cannot be reached.
pub(super) fn ask(
    store: &Dir,
    question: &Question,
    on_progress: impl FnMut(&ProgressSnapshot),
) -> Result<Option<Answer>, CommandError> {
    let stream = match connect(store) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset => Ok(None),
                _ => Err(with_path(&store.shown(SOCKET))(error)),
            };
        }
    };
    let ended = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
    ];
    match exchange(&stream, question, on_progress) {
        Ok(Answer::Ending) => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(error) if ended.contains(&error.kind()) => Ok(None),
        Err(error) => Err(CommandError::Daemon {
            store: store.path().to_owned(),
            reason: match error.kind() {
                io::ErrorKind::WouldBlock => format!(
                    "no answer within {} s: it may be stopped, or waiting for its disk",
                    TIMEOUT.as_secs()
                ),
                _ => error.to_string(),
            },
        }),
    }
}

/// Sends a question, and reads lines until the answer.
fn exchange(
    stream: &UnixStream,
    question: &Question,
    mut on_progress: impl FnMut(&ProgressSnapshot),
) -> io::Result<Answer> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    send(stream, question)?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match serde_json::from_str(&line)? {
            Line::Progress(progress) => on_progress(&progress),
            Line::Answer(answer) => return Ok(answer),
        }
    }
}

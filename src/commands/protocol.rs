//! Protocol: what commands and the process that has a store mounted say to each other.
//!
//! A command writes one line of JSON to the control socket of the store. The process answers
//! with lines of JSON: progress, as often as there is some, and at last the answer.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::{CommandError, Job, JobResult, Verdict, about};
use crate::dir::Dir;
use crate::maintenance::Standing;

/// The name of the socket in the store.
pub(super) const SOCKET: &str = "socket";
/// How long either side waits for the other.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

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
    Job(Job),
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
    Done(Box<JobResult>),
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
pub(super) enum Line {
    Standing(Standing),
    Answer(Answer),
}

/// What the process that has a store says of its mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Presence {
    /// Where it was mounted.
    pub(super) mountpoint: PathBuf,
    /// The number of its device, as `major:minor`; nothing before it is mounted.
    pub(super) device: Option<String>,
    /// Whether it is still mounted, as far as that process sees.
    pub(super) mounted: bool,
}

/// Writes one line.
pub(super) fn say(mut stream: &UnixStream, what: &impl Serialize) -> io::Result<()> {
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

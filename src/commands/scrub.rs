//! `regfs scrub`: blobs read again, for people and machines.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::CommandError;
use crate::adoption::Progress;
use crate::registry::{Registry, Scrubbing};

/// What a scrub has read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Blobs that are what their name says.
    pub verified: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that had been read not long ago.
    pub passed_over: u64,
    /// Blobs that are not what their name says, or not there.
    pub damaged: Vec<Damaged>,
    /// Whether it was stopped before its end; the next one goes on.
    pub stopped: bool,
    /// How long it took.
    pub seconds: f64,
}

/// A blob that is not what its name says, or not there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Damaged {
    /// Its digest.
    pub digest: String,
    /// Its length in bytes; nothing if it is gone.
    pub size: Option<u64>,
    /// Every tag that cannot be pulled without it.
    pub needed_by: Vec<String>,
}

/// Reads every blob that was not read for some time.
pub(super) fn scrub(
    registry: &Registry,
    rate: Option<u64>,
    age: Duration,
    progress: &Progress,
) -> Result<Scrubbed, CommandError> {
    let began = Instant::now();
    progress.begin("blobs");
    let done = registry.scrub(&Scrubbing { rate, age }, |part, blobs| {
        progress.add(part, blobs);
        !progress.is_stopped()
    })?;
    let damaged = done.rotten.into_iter().map(|one| Damaged {
        digest: one.digest.to_string(),
        size: one.size,
        needed_by: one.needed_by,
    });
    Ok(Scrubbed {
        verified: done.blobs,
        bytes: done.bytes,
        passed_over: done.passed_over,
        damaged: damaged.collect(),
        stopped: progress.is_stopped(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

impl fmt::Display for Scrubbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.damaged {
            let what = if one.size.is_some() {
                "damaged"
            } else {
                "gone"
            };
            write!(f, "{what}: {}", one.digest)?;
            if !one.needed_by.is_empty() {
                write!(f, ", needed by {}", one.needed_by.join(", "))?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{} blobs of {} bytes are right, {} were read before, {} are not right; {:.1} s",
            self.verified,
            self.bytes,
            self.passed_over,
            self.damaged.len(),
            self.seconds
        )?;
        if !self.damaged.is_empty() {
            write!(
                f,
                "\nregfs fsck --repair takes them out, so that they can be pushed again"
            )?;
        }
        Ok(())
    }
}

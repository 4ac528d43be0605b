//! Scrub: reads every blob again, and marks those whose bytes do not have their digest.
//!
//! The index records when each blob was read, so that a scrub that was stopped resumes. A marked
//! blob is not served; repair moves it to the trash, and a push stores it again.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::Progress;
use super::reread::{OnDisk, reread};
use super::tags::tags_that_need;
use crate::digest::Digest;
use crate::registry::{Error, Registry, seconds};

/// Length in bytes above which the reading of a blob is recorded in a transaction of its own.
const RECORDED_ALONE: u64 = 1 << 20;
/// Blobs whose reading is recorded in one transaction.
const RECORDED_AT_ONCE: usize = 100;

/// A blob whose bytes do not have its digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CorruptBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes; `None` if its file is missing.
    pub size: Option<u64>,
    /// Every tag that cannot be pulled without it, as `repository:tag`.
    pub needed_by: Vec<String>,
}

/// The result of a scrub.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Blobs that were read and are right.
    pub verified: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were skipped because they were read within [`ScrubOptions::age`].
    pub passed_over: u64,
    /// Blobs whose bytes are wrong or missing.
    pub damaged: Vec<CorruptBlob>,
    /// `true` if the scrub was stopped before its end; the next one resumes.
    pub stopped: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl fmt::Display for ScrubReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.damaged {
            let state = if one.size.is_some() {
                "damaged"
            } else {
                "missing"
            };
            write!(f, "{state}: {}", one.digest)?;
            if !one.needed_by.is_empty() {
                write!(f, ", needed by {}", one.needed_by.join(", "))?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{} blobs of {} bytes verified, {} verified before, {} damaged or missing; {:.1} s",
            self.verified,
            self.bytes,
            self.passed_over,
            self.damaged.len(),
            self.seconds
        )?;
        if !self.damaged.is_empty() {
            write!(
                f,
                "\nregfs fsck --repair moves them to the trash, so that they can be pushed again"
            )?;
        }
        Ok(())
    }
}

/// How fast a scrub reads, and which blobs it skips.
#[derive(Clone, Copy, Debug)]
pub struct ScrubOptions {
    /// Most bytes per second; `None` for no limit.
    pub rate: Option<u64>,
    /// Blobs that were read within this time are skipped.
    pub age: Duration,
}

/// Limits reading to a rate.
struct Pace {
    rate: Option<u64>,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn of(rate: Option<u64>) -> Self {
        let began = Instant::now();
        Self {
            rate: rate.filter(|rate| *rate > 0),
            began,
            bytes: 0,
        }
    }

    /// Waits until this many further bytes may have been read.
    fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        let Some(rate) = self.rate else { return };
        let due = Duration::from_millis(self.bytes.saturating_mul(1_000) / rate);
        if let Some(early) = due.checked_sub(self.began.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// Reads every stored blob that was not read within [`ScrubOptions::age`], until `progress` is
/// stopped.
///
/// # Errors
/// The failure to read the index. The blobs that were read until then are recorded.
pub fn scrub(
    registry: &Registry,
    options: &ScrubOptions,
    progress: &Progress,
) -> Result<ScrubReport, Error> {
    let (began, mut report) = (Instant::now(), ScrubReport::default());
    progress.begin("blobs");
    let due = due(registry, options, &mut report)?;
    let all = due.iter().map(|(_, size)| size.max(&1)).sum();
    let (mut pace, mut verified) = (Pace::of(options.rate), Vec::new());
    for (digest, size) in due {
        let on_disk = match reread(registry, &digest, |bytes| pace.read(bytes))? {
            OnDisk::Right(size) => OnDisk::Right(size),
            OnDisk::Wrong(_) | OnDisk::Missing => confirm_damage(registry, &digest)?,
        };
        match on_disk {
            OnDisk::Right(size) => {
                verified.push(digest);
                report.verified += 1;
                report.bytes += size;
            }
            OnDisk::Wrong(size) => report.damaged.push(corrupt(registry, &digest, Some(size))?),
            OnDisk::Missing if !registry.queries().has_blob(&digest)? => {}
            OnDisk::Missing => report.damaged.push(corrupt(registry, &digest, None)?),
        }
        if verified.len() >= RECORDED_AT_ONCE || size > RECORDED_ALONE {
            registry.mark_verified(&std::mem::take(&mut verified), false)?;
        }
        progress.add(share(size.max(1), all), 1);
        if progress.is_stopped() {
            break;
        }
    }
    registry.mark_verified(&verified, false)?;
    registry.sync_always()?;
    report.stopped = progress.is_stopped();
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Returns the blobs to be read, with their lengths in bytes.
fn due(
    registry: &Registry,
    options: &ScrubOptions,
    report: &mut ScrubReport,
) -> Result<Vec<(Digest, u64)>, Error> {
    let snapshot = registry.snapshot()?;
    let index = snapshot.index();
    let now = u64::from(seconds(SystemTime::now()));
    let since = now.saturating_sub(options.age.as_secs());
    let mut due = Vec::new();
    index.each_blob(|digest, blob| {
        if !blob.present {
            return Ok::<_, Error>(());
        }
        let verified = index.view().blobs().verified(&digest)?;
        if verified.is_some_and(|when| u64::from(when) > since) && !blob.damaged {
            report.passed_over += 1;
        } else {
            due.push((digest, blob.size));
        }
        Ok(())
    })?;
    Ok(due)
}

/// Reads a blob once more while nobody can push or remove it, and marks it as damaged unless its
/// bytes are right.
fn confirm_damage(registry: &Registry, digest: &Digest) -> Result<OnDisk, Error> {
    let _locked = registry.lock_blob(digest);
    let on_disk = reread(registry, digest, |_| {})?;
    if !matches!(on_disk, OnDisk::Right(_)) {
        registry.mark_verified(&[*digest], true)?;
    }
    Ok(on_disk)
}

fn corrupt(registry: &Registry, digest: &Digest, size: Option<u64>) -> Result<CorruptBlob, Error> {
    Ok(CorruptBlob {
        digest: *digest,
        size,
        needed_by: tags_that_need(registry, digest, None)?,
    })
}

/// Returns the share of `some` in `all`.
#[expect(clippy::cast_precision_loss, reason = "only for display")]
fn share(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_limits_the_rate() {
        let began = Instant::now();
        let mut pace = Pace::of(Some(1_000_000));
        for _ in 0..10 {
            pace.read(5_000);
        }
        assert!(began.elapsed() >= Duration::from_millis(50));
        let mut unlimited = Pace::of(None);
        unlimited.read(u64::MAX);
    }
}

//! Scrub: every blob read again, and what is not what its name says marked.
//!
//! When each was read is kept, so that a scrub that was stopped goes on where it was. A blob
//! that is marked is not served any more; repair takes it out, and a push brings it again.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use super::{Error, Registry, now};
use crate::blobs::{BLOB_MODE, BlobsError};
use crate::digest::Digest;

/// Bytes of a blob above which its reading is noted by itself.
const NOTED_ALONE: u64 = 1 << 20;
/// Blobs whose reading is noted at once.
const NOTED_AT_ONCE: usize = 100;

/// A blob that is not what its name says.
#[derive(Clone, Debug)]
pub struct Rotten {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes; nothing if it is not there at all.
    pub size: Option<u64>,
    /// Every tag that cannot be pulled without it, as `repository:tag`.
    pub needed_by: Vec<String>,
}

/// What a scrub has read.
#[derive(Clone, Debug, Default)]
pub struct Scrubbed {
    /// Blobs that were read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that had been read not long ago.
    pub passed_over: u64,
    /// What is wrong.
    pub rotten: Vec<Rotten>,
}

/// How a scrub goes about.
#[derive(Clone, Copy, Debug)]
pub struct Scrubbing {
    /// Most bytes a second.
    pub rate: Option<u64>,
    /// Blobs that were read in this time are passed over.
    pub age: Duration,
}

/// Keeps to a rate.
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

    /// Waits until so many bytes more may have been read.
    fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        let Some(rate) = self.rate else { return };
        let due = Duration::from_millis(self.bytes.saturating_mul(1_000) / rate);
        if let Some(early) = due.checked_sub(self.began.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// What was found of one blob.
enum Verdict {
    Right(u64),
    Wrong(u64),
    Gone,
}

impl Registry {
    /// Reads every blob. `told` hears what part is done and how many blobs those were, and says
    /// whether to go on.
    pub fn scrub(
        &self,
        scrubbing: &Scrubbing,
        mut told: impl FnMut(f64, u64) -> bool,
    ) -> Result<Scrubbed, Error> {
        let moment = self.moment()?;
        let index = moment.index();
        let since = u64::from(now()).saturating_sub(scrubbing.age.as_secs());
        let (mut due, mut done, mut all) = (Vec::new(), Scrubbed::default(), 0_u64);
        index.each_blob(|digest, blob| {
            if !blob.present {
                return Ok::<_, Error>(());
            }
            let verified = index.view().verified(&digest)?;
            if verified.is_some_and(|when| u64::from(when) > since) && !blob.damaged {
                done.passed_over += 1;
            } else {
                all += blob.size.max(1);
                due.push((digest, blob.size));
            }
            Ok(())
        })?;
        drop(moment);
        let (mut pace, mut noted) = (Pace::of(scrubbing.rate), Vec::new());
        for (digest, size) in due {
            let verdict = match self.reread(&digest, &mut pace)? {
                Verdict::Right(size) => Verdict::Right(size),
                Verdict::Wrong(_) | Verdict::Gone => self.condemn(&digest)?,
            };
            match verdict {
                Verdict::Right(size) => {
                    noted.push(digest);
                    done.blobs += 1;
                    done.bytes += size;
                }
                Verdict::Wrong(size) => done.rotten.push(self.rotten(&digest, Some(size))?),
                Verdict::Gone if !self.has_blob(&digest)? => {}
                Verdict::Gone => done.rotten.push(self.rotten(&digest, None)?),
            }
            if noted.len() >= NOTED_AT_ONCE || size > NOTED_ALONE {
                self.note(&std::mem::take(&mut noted), false)?;
            }
            if !told(part(size.max(1), all), 1) {
                break;
            }
        }
        self.note(&noted, false)?;
        self.sync_always()?;
        Ok(done)
    }

    /// When a blob was last read and found right or wrong, in seconds since 1970.
    pub fn verified(&self, digest: &Digest) -> Result<Option<u32>, Error> {
        Ok(self.index.view().verified(digest)?)
    }

    /// Reads a blob once more while nobody can push or remove it, and marks it unless it is
    /// right.
    fn condemn(&self, digest: &Digest) -> Result<Verdict, Error> {
        let held = self.hold(digest);
        let verdict = self.reread(digest, &mut Pace::of(None))?;
        if !matches!(verdict, Verdict::Right(_)) {
            self.note(&[*digest], true)?;
        }
        drop(held);
        Ok(verdict)
    }

    /// The length of a blob that is here, if it is what its name says when it is read again.
    pub(super) fn right_on_disk(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let verdict = self.reread(digest, &mut Pace::of(None))?;
        Ok(match verdict {
            Verdict::Right(size) => Some(size),
            Verdict::Wrong(_) | Verdict::Gone => None,
        })
    }

    /// Notes of blobs that were read whether they are damaged.
    pub(super) fn note(&self, read: &[Digest], damaged: bool) -> Result<(), Error> {
        self.index.transact(|facts| {
            for digest in read {
                // One that was removed meanwhile is no blob any more.
                if facts.blob(digest)?.is_some_and(|blob| blob.present) {
                    facts.put_verified(digest, now(), damaged)?;
                }
            }
            Ok(())
        })
    }

    fn rotten(&self, digest: &Digest, size: Option<u64>) -> Result<Rotten, Error> {
        let tags = self.queries().tags_of(digest, None)?;
        let needed_by = tags.iter().map(|(name, tag)| format!("{name}:{tag}"));
        Ok(Rotten {
            digest: *digest,
            size,
            needed_by: needed_by.collect(),
        })
    }

    /// Reads a blob from the disk.
    fn reread(&self, digest: &Digest, pace: &mut Pace) -> Result<Verdict, Error> {
        let mut view = self.index.view();
        let Some(blob) = view.blob(digest)?.filter(|blob| blob.present) else {
            return Ok(Verdict::Gone);
        };
        if blob.inline {
            let bytes = view.inline(digest)?.unwrap_or_default();
            pace.read(bytes.len() as u64);
            return Ok(verdict(
                Digest::of(digest.algorithm(), &bytes) == *digest,
                bytes.len() as u64,
            ));
        }
        let content = match self.blobs.open(digest) {
            Err(BlobsError::Missing(_)) => return Ok(Verdict::Gone),
            content => content?,
        };
        let forget = || {
            if let Some(file) = content.file() {
                // Read from the disk, not from memory; and nobody else's memory is taken.
                let _unsupported = fadvise(file, 0, None, Advice::DontNeed);
            }
        };
        forget();
        let mut offset = 0;
        let actual = Digest::of_parts(digest.algorithm(), |buffer| {
            let read = content.read_at(offset, buffer)?;
            offset += read as u64;
            pace.read(read as u64);
            Ok(read)
        });
        let actual = match actual {
            // The disk says so itself.
            Err(BlobsError::System { .. }) => return Ok(Verdict::Wrong(content.len())),
            actual => actual?,
        };
        forget();
        if let Some(file) = content.file() {
            tighten(digest, file);
        }
        Ok(verdict(actual == *digest, offset))
    }
}

fn verdict(right: bool, size: u64) -> Verdict {
    if right {
        Verdict::Right(size)
    } else {
        Verdict::Wrong(size)
    }
}

/// Takes from everybody the right to change a blob's file, which an older program left to its
/// owner, and to others the right to read it. A file that has other names has the mode that those
/// need.
fn tighten(digest: &Digest, file: &File) {
    let tightened = file.metadata().and_then(|metadata| {
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.nlink() > 1 || mode == BLOB_MODE {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(BLOB_MODE))
    });
    if let Err(error) = tightened {
        log::warn!("{digest} keeps the mode of its file: {error}");
    }
}

/// A part of the whole.
#[expect(clippy::cast_precision_loss, reason = "it is for people to look at")]
fn part(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept() {
        let began = Instant::now();
        let mut pace = Pace::of(Some(1_000_000));
        for _ in 0..10 {
            pace.read(5_000);
        }
        assert!(began.elapsed() >= Duration::from_millis(50));
        let mut unhurried = Pace::of(None);
        unhurried.read(u64::MAX);
    }
}

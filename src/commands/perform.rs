//! Performs a job on an open store, in the process that holds its lock.

use std::time::Duration;

use super::inventory::MountRow;
use super::{CommandError, InquiryAnswer, Job, JobResult};
use crate::adoption::{self, ExportOptions, ImportOptions};
use crate::digest::DigestError;
use crate::dir::Dir;
use crate::fuse::Mounted;
use crate::maintenance::{self, Progress, ScrubOptions, TrashReport};
use crate::registry::{Error, Registry};

/// Performs a job on an open store and counts in `progress` how far it is.
///
/// # Errors
/// The failure of the job; [`CommandError::Usage`] for an error in its arguments.
pub(super) fn perform(
    job: &Job,
    store: &Dir,
    registry: &Registry,
    progress: &Progress,
) -> Result<JobResult, CommandError> {
    Ok(match job {
        Job::Import {
            plain,
            root,
            transfer,
            follow_links,
            verify,
            jobs,
        } => JobResult::Import(adoption::import(&ImportOptions {
            plain,
            root,
            into: Some((store, registry)),
            transfer_mode: *transfer,
            follow_links: *follow_links,
            verify: *verify,
            jobs: *jobs,
            progress,
        })?),
        Job::Fsck { repair } => {
            let mut report = maintenance::check(registry, progress)?;
            if *repair {
                maintenance::repair_all(registry, &mut report)?;
            }
            JobResult::Fsck(report)
        }
        Job::Scrub { rate, age } => {
            let options = ScrubOptions {
                rate: *rate,
                age: Duration::from_secs(*age),
            };
            JobResult::Scrub(maintenance::scrub(registry, &options, progress)?)
        }
        Job::Inquiry(inquiry) => JobResult::Inquiry(super::inventory::inquire(registry, inquiry)?),
        Job::Undelete { digests } => JobResult::Trash(undelete(registry, digests)?),
        Job::Backup { target } => {
            JobResult::Backup(super::backup::backup(store, registry, target, progress)?)
        }
        Job::Export {
            target,
            root,
            transfer,
            jobs,
        } => JobResult::Export(adoption::export(&ExportOptions {
            registry,
            store,
            target,
            root,
            transfer_mode: *transfer,
            jobs: *jobs,
            progress,
        })?),
    })
}

/// Restores blobs from the trash, or lists the trash if no digest is given.
fn undelete(registry: &Registry, digests: &[String]) -> Result<TrashReport, CommandError> {
    let parsed: Result<Vec<_>, DigestError> = digests.iter().map(|one| one.parse()).collect();
    let digests = parsed.map_err(|error| CommandError::Usage(error.to_string()))?;
    if digests.is_empty() {
        return Ok(maintenance::list_trash(registry)?);
    }
    maintenance::undelete_all(registry, &digests).map_err(|error| match error {
        Error::NotInTrash { .. } => CommandError::Usage(error.to_string()),
        error => error.into(),
    })
}

/// Adds the state of the mount to the totals of a store; leaves other results as they are.
pub(super) fn add_mount(result: &mut JobResult, mounted: &Mounted) {
    if let JobResult::Inquiry(InquiryAnswer::Totals { mount, .. }) = result {
        let requests = mounted.requests().into_iter();
        *mount = Some(MountRow {
            served: mounted.served(),
            requests: requests
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
        });
    }
}

//! Perform: does a job on an open store, in whichever process has it.

use std::time::Duration;

use super::inventory::MountRow;
use super::{CommandError, InquiryAnswer, Job, JobResult};
use crate::adoption::{self, ExportOptions, ImportOptions};
use crate::dir::Dir;
use crate::fuse::Mounted;
use crate::maintenance::{self, Progress, ScrubOptions};
use crate::registry::{Error, Registry};

/// Does a job on an open store.
///
/// # Errors
/// The failure of the job; an error in the arguments is [`CommandError::Usage`].
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
            way,
            follow_links,
            verify,
            jobs,
        } => JobResult::Imported(adoption::import(&ImportOptions {
            plain,
            root,
            into: Some((store, registry)),
            transfer_mode: *way,
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
            JobResult::Examined(report)
        }
        Job::Scrub { rate, age } => {
            let options = ScrubOptions {
                rate: *rate,
                age: Duration::from_secs(*age),
            };
            JobResult::Scrubbed(maintenance::scrub(registry, &options, progress)?)
        }
        Job::Inquire(inquiry) => JobResult::Told(super::inventory::inquire(registry, inquiry)?),
        Job::Undelete { digests } => {
            let digests: Result<Vec<_>, _> = digests.iter().map(|one| one.parse()).collect();
            let digests = digests.map_err(|error: crate::digest::DigestError| {
                CommandError::Usage(error.to_string())
            })?;
            JobResult::Trash(if digests.is_empty() {
                maintenance::list_trash(registry)?
            } else {
                maintenance::undelete_all(registry, &digests).map_err(usage)?
            })
        }
        Job::Backup { target } => {
            JobResult::BackedUp(super::backup::backup(store, registry, target, progress)?)
        }
        Job::Export {
            target,
            root,
            way,
            jobs,
        } => JobResult::Exported(adoption::export(&ExportOptions {
            registry,
            store,
            target,
            root,
            transfer_mode: *way,
            jobs: *jobs,
            progress,
        })?),
    })
}

/// A digest that the trash does not hold is an error in the arguments.
fn usage(error: Error) -> CommandError {
    match error {
        Error::NotInTrash { .. } => CommandError::Usage(error.to_string()),
        error => error.into(),
    }
}

/// Adds the state of the mount to the totals of a store.
pub(super) fn add_mount(result: &mut JobResult, mounted: &Mounted) {
    if let JobResult::Told(InquiryAnswer::Totals { mount, .. }) = result {
        let requests = mounted.requests().into_iter();
        *mount = Some(MountRow {
            served: mounted.served(),
            requests: requests
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
        });
    }
}

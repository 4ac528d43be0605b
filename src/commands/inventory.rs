//! `regfs ls`, `du`, `history` and `stats`: inquiries about the content of a store, and their
//! answers as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::CommandError;
use crate::maintenance::{ImageReport, Inventory, RepositoryUsage, TagEntry, TagVersion, Totals};
use crate::name::{RepositoryName, Tag};
use crate::registry::{Error, Registry};

/// An inquiry about the content of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Inquiry {
    /// All repositories.
    Repositories,
    /// The tags of a repository.
    Tags(String),
    /// The manifest that a tag of a repository names.
    Image(String, String),
    /// The bytes that one repository holds, or each of them.
    Sizes(Option<String>),
    /// The manifests that a tag of a repository has named.
    History(String, String),
    /// The totals of the store.
    Totals,
}

/// The answer to an inquiry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum InquiryAnswer {
    /// Repositories, with the bytes that each holds.
    Repositories {
        /// The repositories, by name.
        repositories: Vec<RepositoryUsage>,
        /// Show bytes instead of counts.
        sizes: bool,
    },
    /// The tags of a repository.
    Tags {
        /// The tags, by name.
        tags: Vec<TagEntry>,
    },
    /// A manifest, with what it references.
    Image(ImageReport),
    /// The history of a tag.
    History {
        /// The manifests that it has named, newest first.
        history: Vec<TagVersion>,
    },
    /// The totals of the store.
    Totals {
        /// Counts and bytes.
        #[serde(flatten)]
        totals: Totals,
        /// The mount, if the store is mounted.
        #[serde(skip_serializing_if = "Option::is_none")]
        mount: Option<MountRow>,
    },
}

/// The state of a mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountRow {
    /// How the kernel and the daemon exchange requests, as lines of text.
    pub served: Vec<String>,
    /// The number of requests since the mount began, by kind.
    pub requests: BTreeMap<String, u64>,
}

/// Parses a repository name from the command line.
fn repository(name: &str) -> Result<RepositoryName, CommandError> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::name::NameError| CommandError::Usage(error.to_string()))
}

/// Parses a tag from the command line.
fn tag(name: &str) -> Result<Tag, CommandError> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::name::NameError| CommandError::Usage(error.to_string()))
}

/// Turns "not found" into an error that names what the store does not have.
fn or_missing(what: String) -> impl FnOnce(Error) -> CommandError {
    move |error| match error {
        Error::Missing => CommandError::Usage(format!("the store has no {what}")),
        error => CommandError::Registry(error),
    }
}

/// Answers an inquiry.
///
/// # Errors
/// [`CommandError::Usage`] for a name that is invalid or that the store does not have; the failure
/// to read the index.
pub(super) fn inquire(
    registry: &Registry,
    inquiry: &Inquiry,
) -> Result<InquiryAnswer, CommandError> {
    let inventory = Inventory::of(registry)?;
    Ok(match inquiry {
        Inquiry::Repositories => InquiryAnswer::Repositories {
            repositories: inventory.repositories(None)?,
            sizes: false,
        },
        Inquiry::Sizes(only) => {
            let only = only.as_deref().map(repository).transpose()?;
            let found = inventory.repositories(only.as_ref());
            let name = only.map(|name| format!("repository {name}"));
            InquiryAnswer::Repositories {
                repositories: found.map_err(or_missing(name.unwrap_or_default()))?,
                sizes: true,
            }
        }
        Inquiry::Tags(name) => {
            let tags = inventory.tags(&repository(name)?);
            let tags = tags.map_err(or_missing(format!("repository {name}")))?;
            InquiryAnswer::Tags { tags }
        }
        Inquiry::Image(name, label) => {
            let image = inventory.image(&repository(name)?, &tag(label)?);
            InquiryAnswer::Image(image.map_err(or_missing(format!("{name}:{label}")))?)
        }
        Inquiry::History(name, label) => {
            let history = inventory.history(&repository(name)?, &tag(label)?);
            let history = history.map_err(or_missing(format!("{name}:{label}")))?;
            InquiryAnswer::History { history }
        }
        Inquiry::Totals => InquiryAnswer::Totals {
            totals: inventory.totals()?,
            mount: None,
        },
    })
}

/// Writes a line for each row, without a newline after the last.
fn write_lines<T>(
    f: &mut fmt::Formatter<'_>,
    rows: &[T],
    line: impl Fn(&T) -> String,
) -> fmt::Result {
    let lines: Vec<String> = rows.iter().map(line).collect();
    f.write_str(&lines.join("\n"))
}

impl fmt::Display for InquiryAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repositories {
                repositories,
                sizes: false,
            } => write_lines(f, repositories, counts),
            Self::Repositories {
                repositories,
                sizes: true,
            } => {
                writeln!(f, "LOGICAL\tUNIQUE\tSHARED\tREPOSITORY")?;
                write_lines(f, repositories, |one| {
                    let (logical, unique, shared) = (one.logical, one.unique, one.shared);
                    format!("{logical}\t{unique}\t{shared}\t{}", one.repository)
                })
            }
            Self::Tags { tags } => write_lines(f, tags, |one| {
                let kind = one.kind.as_deref().unwrap_or("unknown");
                format!("{}\t{}\t{kind}\t{}", one.tag, one.digest, one.pushed)
            }),
            Self::Image(image) => write_image(f, image),
            Self::History { history } => write_lines(f, history, version),
            Self::Totals { totals, mount } => {
                write_totals(f, totals)?;
                let write_mount = |mount| write!(f, "\n{mount}");
                mount.as_ref().map_or(Ok(()), write_mount)
            }
        }
    }
}

/// Returns the line of a repository with its counts.
fn counts(row: &RepositoryUsage) -> String {
    let RepositoryUsage {
        repository,
        tags,
        revisions,
        layers,
        ..
    } = row;
    format!("{repository}\t{tags} tags, {revisions} manifests, {layers} layers")
}

/// Returns the line of a manifest that a tag has named.
fn version(row: &TagVersion) -> String {
    let state = match (row.current, row.held) {
        (true, true) => "current",
        (true, false) => "current, but the manifest is missing",
        (false, true) => "still present, by digest",
        (false, false) => "deleted",
    };
    format!("{}\t{}\t{state}", row.since, row.digest)
}

/// Writes a manifest, what it references, and what refers to it.
fn write_image(f: &mut fmt::Formatter<'_>, image: &ImageReport) -> fmt::Result {
    let size = |size: Option<u64>| size.map_or("missing".into(), |size| size.to_string());
    let media_type = image.media_type.as_deref().unwrap_or("unknown");
    write!(f, "{}\t{media_type}\t{}", image.digest, size(image.size))?;
    for one in &image.references {
        write!(f, "\n  {}\t{}\t{}", one.role, one.digest, size(one.size))?;
    }
    for referrer in &image.referrers {
        write!(f, "\n  referrer\t{referrer}")?;
    }
    Ok(())
}

impl fmt::Display for MountRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = self.served.iter().map(|line| line.replacen(": ", "\t", 1));
        let requests = self.requests.iter();
        let requests = requests.map(|(kind, count)| format!("requests, {kind}\t{count}"));
        f.write_str(&served.chain(requests).collect::<Vec<_>>().join("\n"))
    }
}

/// Writes one line for each total.
fn write_totals(f: &mut fmt::Formatter<'_>, totals: &Totals) -> fmt::Result {
    write!(
        f,
        "repositories\t{}\ntags\t{}\nmanifests\t{}\nlayers\t{}\nblobs\t{}\nbytes\t{}\n\
         small blobs in the index\t{}\ndamaged blobs\t{}\nblobs in the trash\t{}\n\
         bytes in the trash\t{}",
        totals.repositories,
        totals.tags,
        totals.revisions,
        totals.layers,
        totals.blobs,
        totals.bytes,
        totals.small_blobs,
        totals.damaged,
        totals.trash,
        totals.trash_bytes
    )
}

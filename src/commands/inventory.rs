//! `regfs ls`, `du`, `history` and `stats`: what is in a store, for people and machines.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::CommandError;
use crate::maintenance::{ImageReport, Inventory, RepositoryUsage, TagEntry, TagVersion, Totals};
use crate::name::{RepositoryName, Tag};
use crate::registry::{Error, Registry};

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Inquiry {
    /// The repositories.
    Repositories,
    /// The tags of one.
    Tags(String),
    /// What a tag is at.
    Image(String, String),
    /// How much each repository holds, or one.
    Sizes(Option<String>),
    /// What a tag was at.
    History(String, String),
    /// How much of everything there is.
    Totals,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum InquiryAnswer {
    /// Repositories, with how much each holds.
    Repositories {
        /// Each of them.
        repositories: Vec<RepositoryUsage>,
        /// Whether bytes were asked for.
        sizes: bool,
    },
    /// Tags.
    Tags {
        /// Each of them.
        tags: Vec<TagEntry>,
    },
    /// What a manifest names.
    Image(ImageReport),
    /// What a tag was at.
    History {
        /// The newest first.
        history: Vec<TagVersion>,
    },
    /// How much of everything there is.
    Totals {
        /// The facts and bytes.
        #[serde(flatten)]
        totals: Totals,
        /// The mount, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        mount: Option<MountRow>,
    },
}

/// A mount that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountRow {
    /// How, in words.
    pub served: Vec<String>,
    /// How often the kernel asked for what since it began.
    pub requests: BTreeMap<String, u64>,
}

fn repository(name: &str) -> Result<RepositoryName, CommandError> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::name::NameError| CommandError::Usage(error.to_string()))
}

fn tag(name: &str) -> Result<Tag, CommandError> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::name::NameError| CommandError::Usage(error.to_string()))
}

/// Answers an inquiry.
pub(super) fn inquire(
    registry: &Registry,
    inquiry: &Inquiry,
) -> Result<InquiryAnswer, CommandError> {
    let missing = |what: String| {
        move |error| match error {
            Error::Missing => CommandError::Usage(format!("the store has no {what}")),
            error => CommandError::Registry(error),
        }
    };
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
                repositories: found.map_err(missing(name.unwrap_or_default()))?,
                sizes: true,
            }
        }
        Inquiry::Tags(name) => {
            let tags = inventory.tags(&repository(name)?);
            let tags = tags.map_err(missing(format!("repository {name}")))?;
            InquiryAnswer::Tags { tags }
        }
        Inquiry::Image(name, label) => {
            let image = inventory.image(&repository(name)?, &tag(label)?);
            InquiryAnswer::Image(image.map_err(missing(format!("{name}:{label}")))?)
        }
        Inquiry::History(name, label) => {
            let history = inventory.history(&repository(name)?, &tag(label)?);
            let history = history.map_err(missing(format!("{name}:{label}")))?;
            InquiryAnswer::History { history }
        }
        Inquiry::Totals => InquiryAnswer::Totals {
            totals: inventory.totals()?,
            mount: None,
        },
    })
}

/// Lines, without an end to the last.
fn lines<T>(f: &mut fmt::Formatter<'_>, rows: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    let lines: Vec<String> = rows.iter().map(line).collect();
    f.write_str(&lines.join("\n"))
}

impl fmt::Display for InquiryAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: &Option<String>| kind.clone().unwrap_or_else(|| "unknown".into());
        let size = |size: Option<u64>| size.map_or("not there".into(), |size| size.to_string());
        match self {
            Self::Repositories {
                repositories,
                sizes: false,
            } => lines(f, repositories, |one| {
                let RepositoryUsage {
                    repository,
                    tags,
                    revisions,
                    layers,
                    ..
                } = one;
                format!("{repository}\t{tags} tags, {revisions} manifests, {layers} layers")
            }),
            Self::Repositories {
                repositories,
                sizes: true,
            } => {
                writeln!(f, "LOGICAL\tUNIQUE\tSHARED\tREPOSITORY")?;
                lines(f, repositories, |one| {
                    let (logical, unique, shared) = (one.logical, one.unique, one.shared);
                    format!("{logical}\t{unique}\t{shared}\t{}", one.repository)
                })
            }
            Self::Tags { tags } => lines(f, tags, |one| {
                let (tag, digest, pushed) = (&one.tag, &one.digest, &one.pushed);
                format!("{tag}\t{digest}\t{}\t{pushed}", kind(&one.kind))
            }),
            Self::Image(image) => {
                let media_type = image.media_type.as_deref().unwrap_or("unknown");
                write!(f, "{}\t{media_type}\t{}", image.digest, size(image.size))?;
                for one in &image.references {
                    write!(f, "\n  {}\t{}\t{}", one.role, one.digest, size(one.size))?;
                }
                for referrer in &image.referrers {
                    write!(f, "\n  about it\t{referrer}")?;
                }
                Ok(())
            }
            Self::History { history } => lines(f, history, |one| {
                let state = match (one.current, one.held) {
                    (true, true) => "current",
                    (true, false) => "current, but not there",
                    (false, true) => "there by digest",
                    (false, false) => "gone",
                };
                format!("{}\t{}\t{state}", one.since, one.digest)
            }),
            Self::Totals { totals, mount } => {
                write_totals(f, totals)?;
                mount
                    .as_ref()
                    .map_or(Ok(()), |mount| write!(f, "\n{mount}"))
            }
        }
    }
}

impl fmt::Display for MountRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = self.served.iter().map(|line| line.replacen(": ", "\t", 1));
        let requests = self.requests.iter();
        let requests = requests.map(|(kind, count)| format!("requests, {kind}\t{count}"));
        f.write_str(&served.chain(requests).collect::<Vec<_>>().join("\n"))
    }
}

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

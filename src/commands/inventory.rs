//! `regfs ls`, `du`, `history` and `stats`: what is in a store, for people and machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CommandError;
use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};
use crate::registry::{Error, Registry, Totals};

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
pub enum Inventory {
    /// Repositories, with how much each holds.
    Repositories {
        /// Each of them.
        repositories: Vec<RepositoryRow>,
        /// Whether bytes were asked for.
        sizes: bool,
    },
    /// Tags.
    Tags {
        /// Each of them.
        tags: Vec<TagRow>,
    },
    /// What a manifest names.
    Image(ImageRow),
    /// What a tag was at.
    History {
        /// The newest first.
        history: Vec<EarlierRow>,
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

/// A repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepositoryRow {
    /// Its name.
    pub repository: String,
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub revisions: u64,
    /// Layers and configurations.
    pub layers: u64,
    /// Bytes that it holds, each once.
    pub logical: u64,
    /// Bytes that no other repository holds.
    pub unique: u64,
    /// Bytes that others hold too.
    pub shared: u64,
}

/// A tag.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TagRow {
    /// Its name.
    pub tag: String,
    /// The manifest that it is at.
    pub digest: String,
    /// What that is.
    pub kind: Option<String>,
    /// Since when.
    pub pushed: String,
}

/// A manifest, and what it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageRow {
    /// Its digest.
    pub digest: String,
    /// What it is.
    pub kind: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its length in bytes, if it is there.
    pub size: Option<u64>,
    /// What it names.
    pub references: Vec<ReferenceRow>,
    /// What is about it, in its repository.
    pub referrers: Vec<String>,
}

/// Something that a manifest names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReferenceRow {
    /// As what.
    pub role: String,
    /// Its digest.
    pub digest: String,
    /// Its length in bytes, if it is there.
    pub size: Option<u64>,
}

/// What a tag was at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EarlierRow {
    /// The manifest.
    pub digest: String,
    /// Since when.
    pub since: String,
    /// Whether it is now.
    pub current: bool,
    /// Whether it can still be pulled.
    pub held: bool,
}

/// A time, for people and machines.
fn at(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or_default().to_string()
}

fn repository(name: &str) -> Result<RepositoryName, CommandError> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::name::NameError| CommandError::Usage(error.to_string()))
}

fn tag(name: &str) -> Result<Tag, CommandError> {
    let parsed = name.parse();
    parsed.map_err(|error: crate::name::NameError| CommandError::Usage(error.to_string()))
}

/// Answers.
pub(super) fn inquire(registry: &Registry, inquiry: &Inquiry) -> Result<Inventory, CommandError> {
    let missing = |what: String| {
        move |error| match error {
            Error::Missing => CommandError::Usage(format!("the store has no {what}")),
            error => CommandError::Registry(error),
        }
    };
    let moment = registry.moment()?;
    Ok(match inquiry {
        Inquiry::Repositories => repositories(registry, None, false)?,
        Inquiry::Sizes(only) => repositories(registry, only.as_deref(), true)?,
        Inquiry::Tags(name) => {
            let found = moment.tags(&repository(name)?);
            let mut tags = Vec::new();
            for (tag, digest, pushed) in found.map_err(missing(format!("repository {name}")))? {
                tags.push(TagRow {
                    tag: tag.to_string(),
                    kind: registry.queries().kind(&digest)?.map(str::to_owned),
                    digest: digest.to_string(),
                    pushed: at(pushed),
                });
            }
            Inventory::Tags { tags }
        }
        Inquiry::Image(name, label) => {
            let name = repository(name)?;
            let found = moment.current(&name, &tag(label)?);
            let digest = found.map_err(missing(format!("{name}:{label}")))?;
            let size = |digest: &Digest| registry.queries().blob(digest).ok().map(|(size, _)| size);
            let named = registry.queries().references(&digest)?.into_iter();
            let referrers = registry
                .queries()
                .referrers(&digest, Some(&name))?
                .into_iter();
            Inventory::Image(ImageRow {
                digest: digest.to_string(),
                kind: registry.queries().kind(&digest)?.map(str::to_owned),
                media_type: registry.queries().media_type(&digest)?,
                size: size(&digest),
                references: named
                    .map(|(role, digest)| ReferenceRow {
                        role: role.to_owned(),
                        size: size(&digest),
                        digest: digest.to_string(),
                    })
                    .collect(),
                referrers: referrers.map(|one| one.to_string()).collect(),
            })
        }
        Inquiry::History(name, label) => {
            let found = moment.history(&repository(name)?, &tag(label)?);
            let rows = found.map_err(missing(format!("{name}:{label}")))?;
            let history = rows.into_iter().map(|one| EarlierRow {
                digest: one.digest.to_string(),
                since: at(one.since),
                current: one.current,
                held: one.held,
            });
            Inventory::History {
                history: history.collect(),
            }
        }
        Inquiry::Totals => Inventory::Totals {
            totals: moment.totals(registry)?,
            mount: None,
        },
    })
}

fn repositories(
    registry: &Registry,
    only: Option<&str>,
    sizes: bool,
) -> Result<Inventory, CommandError> {
    let only = only.map(repository).transpose()?;
    let found = registry.moment()?.holdings(only.as_ref());
    let found = found.map_err(|error| match (error, &only) {
        (Error::Missing, Some(name)) => {
            CommandError::Usage(format!("the store has no repository {name}"))
        }
        (error, _) => error.into(),
    })?;
    let rows = found.into_iter().map(|one| RepositoryRow {
        repository: one.name.to_string(),
        tags: one.tags,
        revisions: one.revisions,
        layers: one.layers,
        logical: one.logical,
        unique: one.unique,
        shared: one.logical - one.unique,
    });
    Ok(Inventory::Repositories {
        repositories: rows.collect(),
        sizes,
    })
}

/// Lines, without an end to the last.
fn lines<T>(f: &mut fmt::Formatter<'_>, rows: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    let lines: Vec<String> = rows.iter().map(line).collect();
    f.write_str(&lines.join("\n"))
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: &Option<String>| kind.clone().unwrap_or_else(|| "unknown".into());
        let size = |size: Option<u64>| size.map_or("not there".into(), |size| size.to_string());
        match self {
            Self::Repositories {
                repositories,
                sizes: false,
            } => lines(f, repositories, |one| {
                let RepositoryRow {
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

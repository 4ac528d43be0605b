//! `regfs check`: the gate without writing: whether a manifest would be admitted, and why not.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::control::{Answer, Question, ask};
use super::{Absent, CommandError, StoreLock, about};
use crate::digest::Algorithm;
use crate::manifest::{Manifest, Refusal};
use crate::name::RepositoryName;
use crate::registry::{self, Error, Policy, Recover, Registry};

/// Bytes that are read of a file: one more than any manifest may have.
const READ_MAX: u64 = Policy::MANIFEST_BYTES_MOST as u64 + 1;

/// What to check, and against what.
#[derive(Clone, Debug)]
pub struct Checking {
    /// The document; `-` is the standard input.
    pub file: PathBuf,
    /// The store and the repository in it that must hold what is referenced.
    pub within: Option<(PathBuf, RepositoryName)>,
    /// What is admitted, unless the store is mounted: then it is what was mounted.
    pub policy: Policy,
}

/// What came of a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It would be stored.
    Admitted {
        /// What people call its kind.
        kind: String,
        /// The media type under which it would be served.
        media_type: String,
        /// Its digest.
        digest: String,
        /// Bytes that would be stored.
        size: usize,
        /// What it names.
        references: Vec<Named>,
        /// What is unwise of it.
        warnings: Vec<String>,
    },
    /// It would be refused.
    Refused {
        /// The rule that it breaks.
        rule: String,
        /// Where, as a JSON pointer.
        pointer: String,
        /// What is there.
        value: String,
        /// What should be.
        expected: String,
        /// All this in one sentence, as it is said everywhere.
        reason: String,
    },
}

/// Something that a manifest names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Named {
    /// Where it does so, as a JSON pointer.
    pub pointer: String,
    /// By what digest.
    pub digest: String,
    /// Of what media type.
    pub media_type: String,
    /// Of how many bytes, if it says so.
    pub size: Option<u64>,
}

impl Verdict {
    fn of(document: &[u8], judged: Result<Manifest, Refusal>) -> Self {
        match judged {
            Ok(manifest) => Self::Admitted {
                kind: manifest.kind().name().into(),
                media_type: manifest.media_type().into(),
                digest: manifest.digest(document, Algorithm::Sha256).to_string(),
                size: manifest.payload(document).len(),
                warnings: manifest.warnings().to_vec(),
                references: named(&manifest),
            },
            Err(refusal) => Self::Refused {
                rule: refusal.rule.name().into(),
                reason: refusal.to_string(),
                pointer: refusal.pointer,
                value: refusal.value,
                expected: refusal.expected,
            },
        }
    }

    /// Whether it would be stored.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

fn named(manifest: &Manifest) -> Vec<Named> {
    let references = manifest.references().iter();
    references
        .map(|one| Named {
            pointer: one.pointer.clone(),
            digest: one.named.to_string(),
            media_type: one.media_type.clone(),
            size: one.size,
        })
        .collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason, .. } => write!(f, "refused: {reason}"),
            Self::Admitted {
                kind,
                digest,
                size,
                references,
                warnings,
                ..
            } => {
                write!(f, "admitted: {kind}, {size} bytes, {digest}")?;
                for one in references {
                    write!(f, "\n  {} {} {}", one.pointer, one.digest, one.media_type)?;
                }
                for warning in warnings {
                    write!(f, "\n  warning: {warning}")?;
                }
                Ok(())
            }
        }
    }
}

/// Judges a file.
pub fn check(checking: &Checking) -> Result<Verdict, CommandError> {
    let document = read(&checking.file).map_err(about(&checking.file))?;
    let Some((store, name)) = &checking.within else {
        let judged = registry::validate(&document, &checking.policy);
        return Ok(Verdict::of(&document, judged));
    };
    let question = Question::Check {
        repository: Some(name.to_string()),
        document: STANDARD.encode(&document),
    };
    let dir = super::work::existing(store)?;
    let answer = dir.map_or(Ok(None), |dir| ask(&dir, &question, |_| {}))?;
    let answer = match answer {
        Some(answer) => answer,
        None => unmounted(store, checking.policy, name, &document)?,
    };
    match answer {
        Answer::Verdict(verdict) => Ok(verdict),
        Answer::NoRepository => Err(CommandError::NoRepository {
            store: store.clone(),
            repository: name.to_string(),
        }),
        Answer::Done(_) | Answer::Presence(_) | Answer::Ending => Err(CommandError::Served {
            store: store.clone(),
            reason: "an answer to another question".into(),
        }),
        Answer::Failed(reason) | Answer::Refused(reason) => Err(CommandError::Served {
            store: store.clone(),
            reason,
        }),
    }
}

/// Judges a document against a store that nobody has mounted.
fn unmounted(
    store: &Path,
    policy: Policy,
    name: &RepositoryName,
    document: &[u8],
) -> Result<Answer, CommandError> {
    let lock = StoreLock::take(store, Absent::Refuse)?;
    let registry = lock.registry(policy, Recover::Refuse)?;
    let answer = judge(&registry, Some(name), document);
    drop(registry);
    drop(lock);
    Ok(answer)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    if file == Path::new("-") {
        io::stdin()
            .lock()
            .take(READ_MAX)
            .read_to_end(&mut document)?;
    } else {
        File::open(file)?
            .take(READ_MAX)
            .read_to_end(&mut document)?;
    }
    Ok(document)
}

/// Answers the question whether a document would be admitted.
pub(super) fn answer(registry: &Registry, repository: Option<&str>, document: &str) -> Answer {
    let Ok(document) = STANDARD.decode(document) else {
        return Answer::Failed("a document that is not base64".into());
    };
    match repository.map(str::parse).transpose() {
        Ok(name) => judge(registry, name.as_ref(), &document),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

fn judge(registry: &Registry, name: Option<&RepositoryName>, document: &[u8]) -> Answer {
    match registry.admission().validate(name, document) {
        Ok(judged) => Answer::Verdict(Verdict::of(document, judged)),
        Err(Error::Missing) => Answer::NoRepository,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

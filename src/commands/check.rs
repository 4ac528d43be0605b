//! `regfs check`: validates a manifest as a write through the mount would, and stores nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::protocol::{Answer, Question, ask};
use super::store_dir::{IfMissing, open_if_exists};
use super::{CommandError, StoreLock, Verdict, with_path};
use crate::name::RepositoryName;
use crate::registry::{Error, Policy, Recover, Registry};

/// The most bytes that are read: one more than the largest manifest that is ever admitted.
const READ_MAX: u64 = Policy::MANIFEST_BYTES_MOST as u64 + 1;

/// A manifest to check, and what to check it against.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The file with the manifest; `-` is the standard input.
    pub file: PathBuf,
    /// A store, and the repository in it that must hold what the manifest references.
    pub within: Option<(PathBuf, RepositoryName)>,
    /// The policy to apply. A mounted store applies its mount options instead.
    pub policy: Policy,
}

/// Checks a manifest.
///
/// # Errors
/// The file or the store cannot be read, the store is in use, or it has no such repository. A
/// manifest that would be refused is not an error: see [`Verdict::Refused`].
pub fn check(request: &CheckRequest) -> Result<Verdict, CommandError> {
    let document = read(&request.file).map_err(with_path(&request.file))?;
    let Some((store, name)) = &request.within else {
        let judged = request.policy.validate(&document);
        return Ok(Verdict::of(&document, judged));
    };
    let question = Question::Check {
        repository: Some(name.to_string()),
        document: STANDARD.encode(&document),
    };
    let dir = open_if_exists(store)?;
    let answer = dir.map_or(Ok(None), |dir| ask(&dir, &question, |_| {}))?;
    let answer = match answer {
        Some(answer) => answer,
        None => check_unmounted(store, request.policy, name, &document)?,
    };
    match answer {
        Answer::Verdict(verdict) => Ok(verdict),
        Answer::NoRepository => Err(CommandError::NoRepository {
            store: store.clone(),
            repository: name.to_string(),
        }),
        Answer::Done(_) | Answer::Presence(_) | Answer::Ending => Err(CommandError::Daemon {
            store: store.clone(),
            reason: "it answered another question".into(),
        }),
        Answer::Failed(reason) | Answer::Refused(reason) => Err(CommandError::Daemon {
            store: store.clone(),
            reason,
        }),
    }
}

/// Checks a manifest against a store that is not mounted.
fn check_unmounted(
    store: &Path,
    policy: Policy,
    name: &RepositoryName,
    document: &[u8],
) -> Result<Answer, CommandError> {
    let lock = StoreLock::take(store, IfMissing::Fail)?;
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

/// Answers [`Question::Check`].
pub(super) fn answer(registry: &Registry, repository: Option<&str>, document: &str) -> Answer {
    let Ok(document) = STANDARD.decode(document) else {
        return Answer::Failed("the manifest is not valid base64".into());
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

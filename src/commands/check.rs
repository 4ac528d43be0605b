//! `regfs check`: the gate without writing: whether a manifest would be admitted, and why not.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::place::existing;
use super::protocol::{Answer, Question, ask};
use super::{Absent, CommandError, StoreLock, Verdict, about};
use crate::name::RepositoryName;
use crate::registry::{Error, Policy, Recover, Registry};

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

/// Judges a file.
pub fn check(checking: &Checking) -> Result<Verdict, CommandError> {
    let document = read(&checking.file).map_err(about(&checking.file))?;
    let Some((store, name)) = &checking.within else {
        let judged = checking.policy.validate(&document);
        return Ok(Verdict::of(&document, judged));
    };
    let question = Question::Check {
        repository: Some(name.to_string()),
        document: STANDARD.encode(&document),
    };
    let dir = existing(store)?;
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

//! Renames of repositories, and of directories on the way to them.
//!
//! Facts are kept by a repository's number, so that only names change: all of them in one
//! transaction, or none.

use super::change::{make, remove};
use super::changed::touch_above;
use super::existence::exists;
use crate::index::Transaction;
use crate::layout::Node;
use crate::name::{Namespace, REPOSITORY_BYTES_MAX};
use crate::registry::{DirectoryTree, Error};

/// Most repositories that get other names at once: each takes up to five operations of a batch.
const RENAMED_MAX: usize = 190;

impl DirectoryTree<'_> {
    /// Gives a repository, or a directory on the way to some, another name, and with it all that
    /// is below. What has that name must be empty, and is replaced.
    pub fn rename(self, from: &Namespace, to: &Namespace) -> Result<(), Error> {
        let names = self.0.index.transact(|facts| {
            let (old, new) = (Node::Namespace(from.clone()), Node::Namespace(to.clone()));
            if exists(facts, &old)?.is_none() {
                return Err(Error::Missing);
            }
            if let Some(parent) = new.parent()
                && exists(facts, &parent)?.is_none()
            {
                return Err(Error::Missing);
            }
            let names = renamed(facts, from, to)?;
            if exists(facts, &new)?.is_some() {
                remove(facts, &new)?;
            } else if !facts.require_no_namespaces(to)? {
                return Err(Error::NotEmpty);
            }
            for (old, new) in &names {
                facts.rename_repository(old, new)?;
            }
            touch_above(facts, &old)?;
            touch_above(facts, &new)?;
            // What led to it was perhaps only there for it.
            if let Some(above) = from.parent()
                && facts.repository(&above)?.is_none()
            {
                make(facts, &Node::Namespace(above))?;
            }
            Ok::<_, Error>(names)
        })?;
        self.0.recent.rename(&names);
        Ok(())
    }
}

/// All names that change, with what each becomes.
fn renamed(
    facts: &mut Transaction<'_>,
    from: &Namespace,
    to: &Namespace,
) -> Result<Vec<(Namespace, Namespace)>, Error> {
    let names = facts.namespaces_below(from, RENAMED_MAX)?;
    if names.len() > RENAMED_MAX {
        return Err(Error::TooManyBelow {
            name: from.to_string(),
            max: RENAMED_MAX,
        });
    }
    let mut pairs = Vec::new();
    for name in names {
        let repository = name.repository().is_some();
        let text = name.moved(from, to).ok_or(Error::Missing)?;
        let new = checked(&text, repository)?;
        pairs.push((name, new));
    }
    Ok(pairs)
}

/// A name that one is to have, if it can.
fn checked(text: &str, repository: bool) -> Result<Namespace, Error> {
    if text.len() > REPOSITORY_BYTES_MAX {
        return Err(Error::NameTooLong {
            name: text.to_owned(),
            max: REPOSITORY_BYTES_MAX,
        });
    }
    let name: Result<Namespace, _> = text.parse();
    let admitted = name
        .ok()
        .filter(|name| !repository || name.repository().is_some());
    admitted.ok_or_else(|| Error::NoName {
        name: text.to_owned(),
    })
}

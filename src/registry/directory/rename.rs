//! Renames of repositories, and of directories above repositories.
//!
//! Facts are stored under a repository's id, so that a rename changes names only: all of them in
//! one transaction, or none.

use super::exists;
use super::make::make;
use super::remove::remove;
use super::times::touch_parent;
use crate::index::Transaction;
use crate::layout::Node;
use crate::name::{Namespace, REPOSITORY_BYTES_MAX};
use crate::registry::{DirectoryTree, Error};

/// Most repositories that one rename may affect: each takes up to five operations of a batch.
const RENAMED_MAX: usize = 190;

impl DirectoryTree<'_> {
    /// Renames a repository, or a directory above repositories, with everything below it. An
    /// empty directory at the new name is replaced.
    ///
    /// # Errors
    /// [`Error::Missing`] if `from` or the parent of `to` does not exist; [`Error::NotEmpty`] if
    /// something is in `to`; [`Error::TooManyBelow`], [`Error::NameTooLong`] or [`Error::NoName`]
    /// if a repository cannot be renamed.
    pub fn rename(self, from: &Namespace, to: &Namespace) -> Result<(), Error> {
        let names = self.0.index.transact(|tx| rename(tx, from, to))?;
        self.0.recent.rename(&names);
        Ok(())
    }
}

/// Renames in a transaction. Returns each old name with its new name.
fn rename(
    tx: &mut Transaction<'_>,
    from: &Namespace,
    to: &Namespace,
) -> Result<Vec<(Namespace, Namespace)>, Error> {
    let (old, new) = (Node::Namespace(from.clone()), Node::Namespace(to.clone()));
    if !exists(tx, &old)? {
        return Err(Error::Missing);
    }
    if let Some(parent) = new.parent()
        && !exists(tx, &parent)?
    {
        return Err(Error::Missing);
    }
    let names = new_names(tx, from, to)?;
    if exists(tx, &new)? {
        remove(tx, &new)?;
    } else if !tx.repositories().require_none_below(to)? {
        return Err(Error::NotEmpty);
    }
    for (old, new) in &names {
        tx.repositories().rename(old, new)?;
    }
    touch_parent(tx, &old)?;
    touch_parent(tx, &new)?;
    // The parent may have existed only because of the renamed directory: it stays.
    if let Some(above) = from.parent()
        && tx.repositories().get(&above)?.is_none()
    {
        make(tx, &Node::Namespace(above))?;
    }
    Ok(names)
}

/// Returns every name that changes, with its new name.
fn new_names(
    tx: &mut Transaction<'_>,
    from: &Namespace,
    to: &Namespace,
) -> Result<Vec<(Namespace, Namespace)>, Error> {
    let names = tx.repositories().below(from, RENAMED_MAX)?;
    if names.len() > RENAMED_MAX {
        return Err(Error::TooManyBelow {
            name: from.to_string(),
            max: RENAMED_MAX,
        });
    }
    let mut pairs = Vec::new();
    for name in names {
        let is_repository = name.repository().is_some();
        let text = name.moved(from, to).ok_or(Error::Missing)?;
        let new = parse_name(&text, is_repository)?;
        pairs.push((name, new));
    }
    Ok(pairs)
}

/// Parses a new name. The new name of a repository must be the name of a repository too.
fn parse_name(text: &str, is_repository: bool) -> Result<Namespace, Error> {
    if text.len() > REPOSITORY_BYTES_MAX {
        return Err(Error::NameTooLong {
            name: text.to_owned(),
            max: REPOSITORY_BYTES_MAX,
        });
    }
    let name: Result<Namespace, _> = text.parse();
    let valid = name
        .ok()
        .filter(|name| !is_repository || name.repository().is_some());
    valid.ok_or_else(|| Error::NoName {
        name: text.to_owned(),
    })
}

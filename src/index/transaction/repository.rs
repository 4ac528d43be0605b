//! Repositories, and the directories that lead to them.

use super::Transaction;
use crate::index::error::IndexError;
use crate::index::id::RepositoryId;
use crate::index::key::{Key, next_key};
use crate::index::ownership::OwnedDirectory;
use crate::index::record::{Repository, RepositoryDirectories};
use crate::name::Namespace;
/// The rows of repositories.
#[derive(Debug)]
pub struct RepositoryRows<'t, 'a>(&'t mut Transaction<'a>);

impl<'a> Transaction<'a> {
    /// Returns the rows of repositories.
    pub fn repositories(&mut self) -> RepositoryRows<'_, 'a> {
        RepositoryRows(self)
    }
}

impl RepositoryRows<'_, '_> {
    /// Returns a repository, or a directory that leads to one.
    pub fn get(&mut self, name: &Namespace) -> Result<Option<Repository>, IndexError> {
        if let Some((last, found)) = &self.0.last
            && last == name
        {
            return Ok(*found);
        }
        let found = self
            .0
            .record(Key::table(b'N').namespace(name), Repository::decode)?;
        if self.0.is_read_only() {
            self.0.last = Some((name.clone(), found));
        }
        Ok(found)
    }

    /// Creates a repository, or sets its directories.
    pub fn put(
        &mut self,
        name: &Namespace,
        directories: RepositoryDirectories,
    ) -> Result<(), IndexError> {
        let known = self.0.repositories().get(name)?;
        if known.is_some_and(|known| known.directories == directories) {
            return Ok(());
        }
        let id = match known {
            Some(known) => known.id,
            None => RepositoryId(self.0.allocate_id(b'n')?),
        };
        if known.is_none() {
            self.0.put(
                Key::table(b'n').repository(id),
                name.as_str().as_bytes().to_vec(),
            );
        }
        let repository = Repository { id, directories };
        self.0
            .put(Key::table(b'N').namespace(name), repository.encode());
        Ok(())
    }

    /// Removes a repository, which must be empty.
    pub fn remove(&mut self, name: &Namespace) -> Result<(), IndexError> {
        if let Some(repository) = self.0.repositories().get(name)? {
            self.0.delete(Key::table(b'N').namespace(name));
            self.0.delete(Key::table(b'n').repository(repository.id));
            self.0
                .remove_ownership(OwnedDirectory::Repository(repository.id));
        }
        Ok(())
    }

    /// Returns a repository and all repositories below it, or those below a directory that leads to
    /// some; at most `limit` + 1. The commit fails if one of them is created or removed before.
    pub fn below(&mut self, name: &Namespace, limit: usize) -> Result<Vec<Namespace>, IndexError> {
        let own = self.0.repositories().get(name)?;
        let mut found: Vec<Namespace> = own.iter().map(|_| name.clone()).collect();
        let range = Key::namespaces_below(Some(name));
        let rows = self.0.store.scan(&range.start..&range.end, limit + 1)?;
        let mut behind = range.start;
        for (key, value) in rows {
            let text = key.get(1..).unwrap_or_default();
            let text = String::from_utf8(text.to_vec()).map(|text| text.replace('\0', "/"));
            let name = text.ok().and_then(|text| text.parse().ok());
            found.push(name.ok_or_else(|| IndexError::Record { key: key.clone() })?);
            self.0.empty.push(behind..key.clone());
            behind = next_key(key.clone());
            self.0.read.insert(key, Some(value));
        }
        self.0.empty.push(behind..range.end);
        Ok(found)
    }

    /// Renames a repository; `new` must not exist. All other rows refer to the repository by id.
    pub fn rename(&mut self, old: &Namespace, new: &Namespace) -> Result<(), IndexError> {
        let key = Key::table(b'N').namespace(old);
        let Some(value) = self.0.get(key.clone().into_bytes())? else {
            return Ok(());
        };
        let known = Repository::decode(&value);
        let id = known.ok_or_else(|| IndexError::Record {
            key: key.clone().into_bytes(),
        })?;
        self.0.delete(key);
        self.0.put(Key::table(b'N').namespace(new), value);
        let name = new.as_str().as_bytes().to_vec();
        self.0.put(Key::table(b'n').repository(id.id), name);
        Ok(())
    }

    /// Returns `true` if there is a repository below a name.
    pub fn any_below(&mut self, name: Option<&Namespace>) -> Result<bool, IndexError> {
        self.0.any(&Key::namespaces_below(name))
    }

    /// Returns `true` if there is no repository below a name. If so, the commit fails unless that
    /// still holds.
    pub fn require_none_below(&mut self, name: &Namespace) -> Result<bool, IndexError> {
        self.0.require_empty(Key::namespaces_below(Some(name)))
    }
}

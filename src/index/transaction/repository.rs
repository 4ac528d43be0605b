//! Repositories, and the directories that lead to them.

use super::Transaction;
use crate::index::error::IndexError;
use crate::index::id::RepositoryId;
use crate::index::key::{Key, next_key};
use crate::index::ownership::OwnedDirectory;
use crate::index::record::{Repository, RepositoryDirectories};
use crate::name::Namespace;

impl Transaction<'_> {
    /// Returns a repository, or a directory that leads to one.
    pub fn repository(&mut self, name: &Namespace) -> Result<Option<Repository>, IndexError> {
        if let Some((last, found)) = &self.last
            && last == name
        {
            return Ok(*found);
        }
        let found = self.record(Key::table(b'N').namespace(name), Repository::decode)?;
        if self.is_read_only() {
            self.last = Some((name.clone(), found));
        }
        Ok(found)
    }

    /// Creates a repository, or sets its directories.
    pub fn put_repository(
        &mut self,
        name: &Namespace,
        directories: RepositoryDirectories,
    ) -> Result<(), IndexError> {
        let known = self.repository(name)?;
        if known.is_some_and(|known| known.directories == directories) {
            return Ok(());
        }
        let id = match known {
            Some(known) => known.id,
            None => RepositoryId(self.allocate_id(b'n')?),
        };
        if known.is_none() {
            self.put(
                Key::table(b'n').repository(id),
                name.as_str().as_bytes().to_vec(),
            );
        }
        let repository = Repository { id, directories };
        self.put(Key::table(b'N').namespace(name), repository.encode());
        Ok(())
    }

    /// Removes a repository, which must be empty.
    pub fn remove_repository(&mut self, name: &Namespace) -> Result<(), IndexError> {
        if let Some(repository) = self.repository(name)? {
            self.delete(Key::table(b'N').namespace(name));
            self.delete(Key::table(b'n').repository(repository.id));
            self.remove_ownership(OwnedDirectory::Repository(repository.id));
        }
        Ok(())
    }

    /// Returns a repository and all repositories below it, or those below a directory that leads to
    /// some; at most `limit` + 1. The commit fails if one of them is created or removed before.
    pub fn namespaces_below(
        &mut self,
        name: &Namespace,
        limit: usize,
    ) -> Result<Vec<Namespace>, IndexError> {
        let own = self.repository(name)?;
        let mut found: Vec<Namespace> = own.iter().map(|_| name.clone()).collect();
        let range = Key::namespaces_below(Some(name));
        let rows = self.store.scan(&range.start..&range.end, limit + 1)?;
        let mut behind = range.start;
        for (key, value) in rows {
            let text = key.get(1..).unwrap_or_default();
            let text = String::from_utf8(text.to_vec()).map(|text| text.replace('\0', "/"));
            let name = text.ok().and_then(|text| text.parse().ok());
            found.push(name.ok_or_else(|| IndexError::Record { key: key.clone() })?);
            self.empty.push(behind..key.clone());
            behind = next_key(key.clone());
            self.read.insert(key, Some(value));
        }
        self.empty.push(behind..range.end);
        Ok(found)
    }

    /// Renames a repository; `new` must not exist. All other rows refer to the repository by id.
    pub fn rename_repository(
        &mut self,
        old: &Namespace,
        new: &Namespace,
    ) -> Result<(), IndexError> {
        let key = Key::table(b'N').namespace(old);
        let Some(value) = self.get(key.clone().into_bytes())? else {
            return Ok(());
        };
        let known = Repository::decode(&value);
        let id = known.ok_or_else(|| IndexError::Record {
            key: key.clone().into_bytes(),
        })?;
        self.delete(key);
        self.put(Key::table(b'N').namespace(new), value);
        let name = new.as_str().as_bytes().to_vec();
        self.put(Key::table(b'n').repository(id.id), name);
        Ok(())
    }

    /// Returns `true` if there is a repository below a name.
    pub fn has_namespaces(&mut self, name: Option<&Namespace>) -> Result<bool, IndexError> {
        self.any(&Key::namespaces_below(name))
    }

    /// Returns `true` if there is no repository below a name. If so, the commit fails unless that
    /// still holds.
    pub fn require_no_namespaces(&mut self, name: &Namespace) -> Result<bool, IndexError> {
        self.require_empty(Key::namespaces_below(Some(name)))
    }
}

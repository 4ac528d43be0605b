//! Repositories, and the directories on the way to them.

use super::Transaction;
use crate::index::IndexError;
use crate::index::key::Key;
use crate::index::ownership::Owned;
use crate::index::record::{Directories, Repository, RepositoryId};
use crate::name::Namespace;

impl Transaction<'_> {
    /// A repository, or a directory on the way to one.
    pub fn repository(&mut self, name: &Namespace) -> Result<Option<Repository>, IndexError> {
        self.record(Key::table(b'N').namespace(name), Repository::decode)
    }

    /// Makes a repository, or sets which directories it has.
    pub fn put_repository(
        &mut self,
        name: &Namespace,
        directories: Directories,
    ) -> Result<(), IndexError> {
        let known = self.repository(name)?;
        if known.is_some_and(|known| known.directories == directories) {
            return Ok(());
        }
        let id = match known {
            Some(known) => known.id,
            None => RepositoryId(self.number(b'n')?),
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

    /// Forgets a repository, which must be empty.
    pub fn remove_repository(&mut self, name: &Namespace) -> Result<(), IndexError> {
        if let Some(repository) = self.repository(name)? {
            self.delete(Key::table(b'N').namespace(name));
            self.delete(Key::table(b'n').repository(repository.id));
            self.forget_ownership(Owned::Repository(repository.id));
        }
        Ok(())
    }

    /// Whether there is any repository below a name.
    pub fn has_namespaces(&mut self, name: Option<&Namespace>) -> Result<bool, IndexError> {
        self.any(&crate::index::Index::children(name))
    }

    /// Whether there is no repository below a name, until the commit.
    pub fn require_no_namespaces(&mut self, name: &Namespace) -> Result<bool, IndexError> {
        self.require_empty(crate::index::Index::children(Some(name)))
    }
}

//! Ownership: owner, group and mode of directories, where they were set.
//!
//! They are stored once for each repository and each directory above repositories, for the
//! directory of blobs, and for each directory from the mountpoint down to the repositories;
//! everything below these shows the same. Permissions are checked elsewhere.

use std::sync::atomic::Ordering;

use super::directory::make_in;
use super::{DirectoryTree, Error, Registry};
pub use crate::index::Ownership;
use crate::index::{OwnedDirectory, RepositoryDirectories, Transaction};
use crate::layout::Node;
use crate::name::Namespace;

/// A directory that has an owner and mode of its own, shown by everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnershipScope {
    /// The top of the mount.
    Mountpoint,
    /// A directory of the layout: one that always exists, a repository, or a directory above one.
    Layout(Node),
}

impl From<Node> for OwnershipScope {
    fn from(node: Node) -> Self {
        Self::Layout(node)
    }
}

impl OwnershipScope {
    /// Returns the directory whose owner and mode a node shows: itself, or one above it.
    pub fn governing(node: &Node) -> Self {
        match (node, node.namespace()) {
            (Node::Root | Node::Repositories, _) => node.clone().into(),
            (_, Some(namespace)) => Node::Namespace(namespace.clone()).into(),
            (_, None) => Node::Blobs.into(),
        }
    }

    /// Returns the node as a scope, if it has an owner and mode of its own.
    pub fn of(node: &Node) -> Option<Self> {
        let has_own = node.is_fixed() || matches!(node, Node::Namespace(_));
        has_own.then(|| node.clone().into())
    }
}

/// Returns the key of a scope in the index. Returns `None` for a repository without a record (it
/// does not exist, or only because another is below it), and for directories that have no owner and
/// mode of their own.
pub(super) fn ownership_key(
    tx: &mut Transaction<'_>,
    of: &OwnershipScope,
) -> Result<Option<OwnedDirectory>, Error> {
    Ok(match of {
        OwnershipScope::Mountpoint => Some(OwnedDirectory::Mountpoint),
        OwnershipScope::Layout(Node::Root) => Some(OwnedDirectory::Root),
        OwnershipScope::Layout(Node::Blobs) => Some(OwnedDirectory::Blobs),
        OwnershipScope::Layout(Node::Repositories) => Some(OwnedDirectory::Repositories),
        OwnershipScope::Layout(Node::Namespace(name)) => {
            let found = tx.repositories().get(name)?;
            found.map(|found| OwnedDirectory::Repository(found.id))
        }
        OwnershipScope::Layout(_) => None,
    })
}

/// Makes readers look up owners and modes from now on. Must be called before one is set, so that no
/// reader misses it.
pub(super) fn enable_ownership(registry: &Registry) {
    registry.owned.store(true, Ordering::Relaxed);
}

impl DirectoryTree<'_> {
    /// Returns `true` if the owner or mode of any directory was ever set.
    pub fn has_ownership(self) -> bool {
        self.0.owned.load(Ordering::Relaxed)
    }

    /// Sets owner and mode of a directory. A repository that exists only because another is below
    /// it is made by this, and stays.
    ///
    /// # Errors
    /// [`Error::Missing`] if the directory does not exist.
    pub fn set_ownership(self, of: &OwnershipScope, ownership: Ownership) -> Result<(), Error> {
        enable_ownership(self.0);
        self.0.index.transact(|tx| {
            if let (OwnershipScope::Layout(Node::Namespace(name)), None) =
                (of, ownership_key(tx, of)?)
            {
                if !tx.repositories().any_below(Some(name))? {
                    return Err(Error::Missing);
                }
                tx.repositories()
                    .put(name, RepositoryDirectories::default())?;
            }
            let key = ownership_key(tx, of)?.ok_or(Error::Missing)?;
            tx.owners().put(key, ownership);
            Ok(())
        })
    }

    /// Makes a repository, or a directory above repositories, with an owner and mode.
    ///
    /// # Errors
    /// [`Error::Exists`] if it exists; [`Error::Missing`] if the parent does not exist.
    pub fn make_with_ownership(self, name: &Namespace, ownership: Ownership) -> Result<(), Error> {
        enable_ownership(self.0);
        self.0.index.transact(|tx| {
            make_in(tx, &Node::Namespace(name.clone()))?;
            let of = OwnershipScope::from(Node::Namespace(name.clone()));
            let key = ownership_key(tx, &of)?.ok_or(Error::Missing)?;
            tx.owners().put(key, ownership);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::FlawKind;
    use crate::registry::Registry;

    const TEST_OWNERSHIP: Ownership = Ownership {
        uid: Some(7),
        gid: None,
        mode: 0o2750,
    };

    #[test]
    fn ownership_lasts_until_its_repository_is_removed() {
        let (registry, _bytes) = Registry::in_memory();
        let name: Namespace = "team".parse().unwrap();
        let of = OwnershipScope::from(Node::Namespace(name.clone()));
        assert!(!registry.directories().has_ownership());
        let missing = registry.directories().set_ownership(&of, TEST_OWNERSHIP);
        assert!(matches!(missing, Err(Error::Missing)));
        registry
            .directories()
            .make_with_ownership(&name, TEST_OWNERSHIP)
            .unwrap();
        assert!(matches!(
            registry
                .directories()
                .make_with_ownership(&name, TEST_OWNERSHIP),
            Err(Error::Exists)
        ));
        for of in [
            OwnershipScope::Mountpoint,
            Node::Root.into(),
            Node::Blobs.into(),
            of.clone(),
        ] {
            registry
                .directories()
                .set_ownership(&of, TEST_OWNERSHIP)
                .unwrap();
            assert_eq!(
                registry.queries().ownership(&of).unwrap(),
                Some(TEST_OWNERSHIP)
            );
        }
        assert_eq!(
            registry
                .queries()
                .ownership(&Node::Repositories.into())
                .unwrap(),
            None
        );
        let directory = Node::Namespace(name.clone());
        registry.directories().remove(&directory).unwrap();
        registry.directories().make(&directory).unwrap();
        assert_eq!(registry.queries().ownership(&of).unwrap(), None);
        registry
            .index
            .verify(&mut |flaw| panic!("{flaw:?}"))
            .unwrap();
    }

    #[test]
    fn verification_finds_the_ownership_of_missing_repositories() {
        let (registry, _bytes) = Registry::in_memory();
        let name: Namespace = "team".parse().unwrap();
        registry
            .directories()
            .make_with_ownership(&name, TEST_OWNERSHIP)
            .unwrap();
        let repository = registry.index.view().repositories().get(&name).unwrap();
        let owned = OwnedDirectory::Repository(repository.unwrap().id);
        let directory = Node::Namespace(name.clone());
        registry.directories().remove(&directory).unwrap();
        let left = registry.index.transact(|tx| {
            tx.owners().put(owned, TEST_OWNERSHIP);
            Ok::<_, Error>(())
        });
        left.unwrap();
        let mut found = Vec::new();
        let census = registry.index.verify(&mut |flaw| found.push(flaw));
        census.unwrap();
        let kinds: Vec<_> = found.iter().map(|flaw| flaw.kind).collect();
        assert_eq!(kinds, [FlawKind::RowWithoutRepository]);
        assert!(registry.index.repair(&found[0]).unwrap());
        registry
            .index
            .verify(&mut |flaw| panic!("{flaw:?}"))
            .unwrap();
    }
}

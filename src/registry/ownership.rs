//! Ownership: to whom directories belong and who may do what with them, where somebody set that.
//!
//! Owner, group and mode are kept once for each repository and directory on the way to one, for
//! the blobs, and for each directory from the mountpoint down to the repositories; what is below
//! them has theirs. It checks nobody's permission.

use std::sync::atomic::Ordering;

use super::directory::make_in;
use super::{DirectoryTree, Error, Registry};
pub use crate::index::Ownership;
use crate::index::{OwnedDirectory, RepositoryDirectories, Transaction};
use crate::layout::Node;
use crate::name::Namespace;

/// A directory that keeps to whom it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The top of the mount.
    Mountpoint,
    /// One of the layout: of those that are always there, of repositories, or on the way to one.
    Layout(Node),
}

impl From<Node> for Owner {
    fn from(node: Node) -> Self {
        Self::Layout(node)
    }
}

impl Owner {
    /// The directory of which a node shows owner and mode: itself, or one above.
    pub fn shown_by(node: &Node) -> Self {
        match (node, node.namespace()) {
            (Node::Root | Node::Repositories, _) => node.clone().into(),
            (_, Some(namespace)) => Node::Namespace(namespace.clone()).into(),
            (_, None) => Node::Blobs.into(),
        }
    }

    /// The directory that a node is, if it keeps owner and mode itself.
    pub fn kept_by(node: &Node) -> Option<Self> {
        let keeps = node.is_fixed() || matches!(node, Node::Namespace(_));
        keeps.then(|| node.clone().into())
    }
}

/// The directory as the index has it; nothing of a repository that is not there, or is there for
/// others below it alone, and of other directories, which keep nothing.
pub(super) fn owned(
    facts: &mut Transaction<'_>,
    of: &Owner,
) -> Result<Option<OwnedDirectory>, Error> {
    Ok(match of {
        Owner::Mountpoint => Some(OwnedDirectory::Mountpoint),
        Owner::Layout(Node::Root) => Some(OwnedDirectory::Root),
        Owner::Layout(Node::Blobs) => Some(OwnedDirectory::Blobs),
        Owner::Layout(Node::Repositories) => Some(OwnedDirectory::Repositories),
        Owner::Layout(Node::Namespace(name)) => {
            let found = facts.repository(name)?;
            found.map(|found| OwnedDirectory::Repository(found.id))
        }
        Owner::Layout(_) => None,
    })
}

/// Has owners and modes looked up from now on. Call this before one is set, so that no reader
/// misses it.
pub(super) fn enable_ownership(registry: &Registry) {
    registry.owned.store(true, Ordering::Relaxed);
}

impl DirectoryTree<'_> {
    /// Returns `true` if the owner or mode of any directory was ever set.
    pub fn has_ownership(self) -> bool {
        self.0.owned.load(Ordering::Relaxed)
    }

    /// Sets to whom a directory belongs. A repository that was not made but is there for what is
    /// below it stays from then on, as one that was made.
    pub fn set_ownership(self, of: &Owner, ownership: Ownership) -> Result<(), Error> {
        enable_ownership(self.0);
        self.0.index.transact(|facts| {
            if let (Owner::Layout(Node::Namespace(name)), None) = (of, owned(facts, of)?) {
                if !facts.has_namespaces(Some(name))? {
                    return Err(Error::Missing);
                }
                facts.put_repository(name, RepositoryDirectories::default())?;
            }
            let owned = owned(facts, of)?.ok_or(Error::Missing)?;
            facts.put_ownership(owned, ownership);
            Ok(())
        })
    }

    /// Makes a repository, or a directory on the way to one, that belongs to somebody.
    pub fn make_owned(self, name: &Namespace, ownership: Ownership) -> Result<(), Error> {
        enable_ownership(self.0);
        self.0.index.transact(|facts| {
            make_in(facts, &Node::Namespace(name.clone()))?;
            let of = Owner::from(Node::Namespace(name.clone()));
            let owned = owned(facts, &of)?.ok_or(Error::Missing)?;
            facts.put_ownership(owned, ownership);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::FlawKind;
    use crate::registry::Registry;

    const SOMEBODY: Ownership = Ownership {
        uid: Some(7),
        gid: None,
        mode: 0o2750,
    };

    #[test]
    fn what_was_set_is_kept_until_its_repository_is_removed() {
        let (registry, _bytes) = Registry::in_memory();
        let name: Namespace = "team".parse().unwrap();
        let of = Owner::from(Node::Namespace(name.clone()));
        assert!(!registry.directories().has_ownership());
        let missing = registry.directories().set_ownership(&of, SOMEBODY);
        assert!(matches!(missing, Err(Error::Missing)));
        registry.directories().make_owned(&name, SOMEBODY).unwrap();
        assert!(matches!(
            registry.directories().make_owned(&name, SOMEBODY),
            Err(Error::Exists)
        ));
        for of in [
            Owner::Mountpoint,
            Node::Root.into(),
            Node::Blobs.into(),
            of.clone(),
        ] {
            registry.directories().set_ownership(&of, SOMEBODY).unwrap();
            assert_eq!(registry.queries().ownership(&of).unwrap(), Some(SOMEBODY));
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
    fn owners_of_repositories_that_are_not_there_are_found() {
        let (registry, _bytes) = Registry::in_memory();
        let name: Namespace = "team".parse().unwrap();
        registry.directories().make_owned(&name, SOMEBODY).unwrap();
        let repository = registry.index.view().repository(&name).unwrap();
        let owned = OwnedDirectory::Repository(repository.unwrap().id);
        let directory = Node::Namespace(name.clone());
        registry.directories().remove(&directory).unwrap();
        let left = registry.index.transact(|facts| {
            facts.put_ownership(owned, SOMEBODY);
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

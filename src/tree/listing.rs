//! Listings: the names in a directory, in pages, in the order of their bytes.
//!
//! A page is taken up behind a name, which need not exist any more; what exists during the
//! whole listing is listed once. Only what a plain disk would show is listed: a stray name in
//! a repository makes distribution's collection destroy it.

use std::ffi::{OsStr, OsString};

use super::own::OwnFile;
use super::{Listed, Place, Tree, TreeError, Writer};
use crate::layout::Node;
use crate::name::{LinkSet, Namespace};

impl Tree {
    /// At most `limit` names of a directory behind `last`; none at the end.
    pub fn list(
        &self,
        directory: &Place,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Result<Vec<Listed>, TreeError> {
        match directory {
            Place::Plain(path) => {
                let names = self.plain.list(path)?;
                let behind = names
                    .into_iter()
                    .filter(|name| last.is_none_or(|last| &**name > last));
                let rows = behind.take(limit).filter_map(|name| {
                    let found = self.lookup(directory, &name, Writer::default()).ok()?;
                    Some(Listed { name, found })
                });
                Ok(rows.collect())
            }
            Place::Node(node) => self.list_node(node, last.and_then(OsStr::to_str), limit),
            Place::Own(OwnFile::Directory) => {
                let files = OwnFile::FILES.into_iter();
                let behind =
                    files.filter(|file| last.is_none_or(|last| OsStr::new(file.name()) > last));
                let rows = behind.take(limit).map(|file| {
                    let found = self.found(Place::Own(file))?;
                    Ok(Listed {
                        name: file.name().into(),
                        found,
                    })
                });
                rows.collect()
            }
            Place::Draft(_) | Place::Own(_) => Err(TreeError::NotDirectory),
        }
    }

    fn list_node(
        &self,
        node: &Node,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, TreeError> {
        // A directory that is gone has no names, not even if a child would be there always.
        self.node_attributes(node)?;
        let mut last = last.map(str::to_owned);
        loop {
            let children = self.children(node, last.as_deref(), limit)?;
            let Some(newest) = children.last() else {
                return Ok(Vec::new());
            };
            last = Some(newest.name());
            let mut rows = Vec::with_capacity(children.len());
            for child in children {
                let name = OsString::from(child.name());
                match self.found(Place::Node(child)) {
                    // Gone since it was read: it was not there during the whole listing.
                    Err(TreeError::NotFound) => {}
                    found => rows.push(Listed {
                        name,
                        found: found?,
                    }),
                }
            }
            // An empty page would be taken for the end.
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }

    /// The nodes below one, behind `last`.
    fn children(
        &self,
        node: &Node,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Node>, TreeError> {
        // The child that the listing is to go on behind.
        let behind = last.and_then(|last| node.child(last));
        if last.is_some() && behind.is_none() {
            // No name of this directory: nothing can be behind it.
            return Ok(Vec::new());
        }
        Ok(match node {
            Node::BlobAlgorithm(algorithm) => {
                let shards = self.registry.blob_shards(*algorithm)?.into_iter();
                let nodes = shards.map(|shard| Node::BlobShard(*algorithm, shard));
                nodes
                    .filter(|node| last.is_none_or(|last| *node.name() > *last))
                    .take(limit)
                    .collect()
            }
            Node::BlobShard(algorithm, shard) => {
                let cursor = match &behind {
                    Some(Node::BlobDirectory(digest)) => Some(digest),
                    _ => None,
                };
                let rows = self.registry.blobs(*algorithm, *shard, cursor, limit)?;
                rows.into_iter()
                    .map(|(digest, _)| Node::BlobDirectory(digest))
                    .collect()
            }
            Node::Repositories => self.namespaces(None, last, limit)?,
            Node::Namespace(parent) => self.namespaces(Some(parent), last, limit)?,
            Node::Tags(repository) => {
                let cursor = match &behind {
                    Some(Node::Tag(_, tag)) => Some(tag),
                    _ => None,
                };
                let rows = self.registry.tags(repository, cursor, limit)?;
                rows.into_iter()
                    .map(|(tag, _)| Node::Tag(repository.clone(), tag))
                    .collect()
            }
            Node::LinksAlgorithm(repository, set, algorithm) => {
                let cursor = match &behind {
                    Some(Node::LinkDirectory(_, _, digest)) => Some(digest),
                    _ => None,
                };
                let rows = self
                    .registry
                    .links(repository, set, *algorithm, cursor, limit)?;
                let nodes = rows.into_iter().map(|(digest, _)| {
                    Node::LinkDirectory(repository.clone(), set.clone(), digest)
                });
                nodes.collect()
            }
            Node::Uploads(repository) => {
                let cursor = match &behind {
                    Some(Node::Upload(_, id)) => Some(id),
                    _ => None,
                };
                let rows = self.registry.uploads(repository, cursor, limit)?;
                rows.into_iter()
                    .map(|(id, _)| Node::Upload(repository.clone(), id))
                    .collect()
            }
            Node::HashStatesAlgorithm(repository, id, algorithm) => {
                let rows = self
                    .registry
                    .hash_states(repository, id, *algorithm)?
                    .into_iter();
                let nodes = rows.map(|(offset, _, _)| {
                    Node::HashState(repository.clone(), *id, *algorithm, offset)
                });
                sorted(nodes.collect(), last, limit)
            }
            _ => {
                let mut nodes = node.fixed_children();
                nodes.retain(|node| self.node_attributes(node).is_ok());
                sorted(nodes, last, limit)
            }
        })
    }

    /// The names below one: a repository's own directories among those of deeper ones.
    fn namespaces(
        &self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Node>, TreeError> {
        let names = self.registry.namespaces(parent, last, limit)?;
        let nodes = names.iter().filter_map(|name| match parent {
            None => Node::Repositories.child(name),
            Some(parent) => parent.child(name).map(Node::Namespace),
        });
        let mut nodes: Vec<Node> = nodes.collect();
        let repository = parent.and_then(Namespace::repository);
        nodes.extend(repository.into_iter().flat_map(|repository| {
            [
                Node::Links(repository.clone(), LinkSet::Layers),
                Node::Manifests(repository.clone()),
                Node::Uploads(repository),
            ]
        }));
        nodes.retain(|node| self.node_attributes(node).is_ok());
        Ok(sorted(nodes, last, limit))
    }
}

/// Nodes in the order of their names, behind `last`.
fn sorted(nodes: Vec<Node>, last: Option<&str>, limit: usize) -> Vec<Node> {
    let mut named: Vec<(String, Node)> =
        nodes.into_iter().map(|node| (node.name(), node)).collect();
    named.retain(|(name, _)| last.is_none_or(|last| **name > *last));
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
        .into_iter()
        .take(limit)
        .map(|(_, node)| node)
        .collect()
}

//! Listings: the names in a directory, in pages, in the order of their bytes.
//!
//! A page is taken up behind a name, which need not exist any more; what exists during the
//! whole listing is listed once. Only what a plain disk would show is listed: a stray name in
//! a repository makes distribution's collection destroy it.

use std::ffi::OsStr;
use std::time::SystemTime;

use super::own::OwnFile;
use super::{Attributes, FileKind, Found, Listed, Named, Place, Tree, TreeError, Writer, number};
use crate::layout::Node;
use crate::name::{LinkSet, Namespace};

/// A node that may be in a directory, and since when it is, if that is known.
type Child = (Node, Option<SystemTime>);

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
                let rows = behind.filter_map(|name| {
                    let found = self.lookup(directory, &name, Writer::default()).ok()?;
                    Some(Listed { name, found })
                });
                Ok(rows.take(limit).collect())
            }
            Place::Node(node) => self.list_node(
                node,
                last.and_then(OsStr::to_str),
                limit,
                |child, within| self.listed(child, within),
            ),
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
            Place::Hidden(id) => self.list_hidden(*id, last, limit),
            Place::Draft(_) | Place::Own(_) => Err(TreeError::NotDirectory),
        }
    }

    /// The names in a hidden directory, for who knows that.
    fn list_hidden(
        &self,
        id: u64,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Result<Vec<Listed>, TreeError> {
        self.attributes(&Place::Hidden(id))?;
        let rows = self.drafts.list(id, last, limit).into_iter();
        let listed = rows.filter_map(|(name, named)| match self.found(named.place()) {
            // Gone since.
            Err(TreeError::NotFound) => None,
            found => Some(found.map(|found| Listed { name, found })),
        });
        listed.collect()
    }

    /// The same, and nothing of what they name but its kind.
    pub fn names(
        &self,
        directory: &Place,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Result<Vec<Named>, TreeError> {
        let Place::Node(node) = directory else {
            let rows = self.list(directory, last, limit)?;
            return Ok(rows.into_iter().map(Named::from).collect());
        };
        self.list_node(
            node,
            last.and_then(OsStr::to_str),
            limit,
            |child, within| self.named(child, within),
        )
    }

    /// Whether names may come to be in a directory that nobody makes: what the kernel keeps of
    /// its listing would hide them.
    pub fn listing_lasts(&self, directory: &Place) -> Result<bool, TreeError> {
        match directory {
            Place::Node(node) => Ok(!self.registry.queries().may_come_to_list(node)?),
            _ => Ok(true),
        }
    }

    fn list_node<R>(
        &self,
        node: &Node,
        last: Option<&str>,
        limit: usize,
        row: impl Fn(Child, Option<u32>) -> Result<R, TreeError>,
    ) -> Result<Vec<R>, TreeError> {
        let (first, mut last) = (last.is_none(), last.map(str::to_owned));
        let within = number::within(&mut self.registry.queries(), node)?;
        let mut rows = Vec::new();
        // A page that is not full is taken for the last one.
        while rows.len() < limit {
            let wanted = limit - rows.len();
            let children = self.children(node, last.as_deref(), wanted)?;
            let ended = children.len() < wanted;
            if let Some((newest, _)) = children.last() {
                last = Some(newest.name());
            }
            for child in children {
                match row(child, within) {
                    // Not there, or gone since it was read: it was not there during the whole
                    // listing.
                    Err(TreeError::NotFound) => {}
                    row => rows.push(row?),
                }
            }
            if ended {
                break;
            }
        }
        if rows.is_empty() && first {
            // A directory that is gone is not one that is empty.
            self.node_attributes(node)?;
        }
        Ok(rows)
    }

    /// A row of a listing. Where the listing itself says that a directory is there, and since
    /// when, nobody looks again.
    fn listed(&self, (child, kept): Child, within: Option<u32>) -> Result<Listed, TreeError> {
        let name = child.name().into();
        let found = match kept {
            None => self.found(Place::Node(child))?,
            Some(kept) => Found {
                attributes: Attributes {
                    permissions: self.node_permissions(&child)?,
                    ..Attributes::directory(number::node(&child, within), self.dated(kept))
                },
                place: Place::Node(child),
                lasting: true,
            },
        };
        Ok(Listed { name, found })
    }

    /// The name of such a row.
    fn named(&self, (child, kept): Child, within: Option<u32>) -> Result<Named, TreeError> {
        match kept {
            None => self.listed((child, kept), within).map(Named::from),
            Some(_) => Ok(Named {
                name: child.name().into(),
                kind: FileKind::Directory,
                number: number::node(&child, within),
            }),
        }
    }

    /// The nodes that may be below one, behind `last`; with their times where they are known to
    /// be directories that are there.
    fn children(
        &self,
        node: &Node,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        // The child that the listing is to go on behind.
        let behind = last.and_then(|last| node.child(last));
        if last.is_some() && behind.is_none() {
            // No name of this directory: nothing can be behind it.
            return Ok(Vec::new());
        }
        Ok(match node {
            Node::BlobAlgorithm(algorithm) => {
                let shards = self.registry.queries().blob_shards(*algorithm)?.into_iter();
                let nodes = shards.map(|shard| Node::BlobShard(*algorithm, shard));
                sorted(nodes.collect(), last, limit)
            }
            Node::BlobShard(algorithm, shard) => {
                let cursor = match &behind {
                    Some(Node::BlobDirectory(digest)) => Some(digest),
                    _ => None,
                };
                let rows = self
                    .registry
                    .queries()
                    .blobs(*algorithm, *shard, cursor, limit)?;
                rows.into_iter()
                    .map(|(digest, kept)| (Node::BlobDirectory(digest), Some(kept)))
                    .collect()
            }
            Node::Repositories => self.namespaces(None, last, limit)?,
            Node::Namespace(parent) => self.namespaces(Some(parent), last, limit)?,
            Node::Tags(repository) => {
                let cursor = match &behind {
                    Some(Node::Tag(_, tag)) => Some(tag),
                    _ => None,
                };
                let rows = self.registry.queries().tags(repository, cursor, limit)?;
                rows.into_iter()
                    .map(|(tag, kept)| (Node::Tag(repository.clone(), tag), Some(kept)))
                    .collect()
            }
            Node::LinksAlgorithm(repository, set, algorithm) => {
                let cursor = match &behind {
                    Some(Node::LinkDirectory(_, _, digest)) => Some(digest),
                    _ => None,
                };
                let rows = self
                    .registry
                    .queries()
                    .links(repository, set, *algorithm, cursor, limit)?;
                let nodes = rows.into_iter().map(|(digest, kept)| {
                    let link = Node::LinkDirectory(repository.clone(), set.clone(), digest);
                    (link, Some(kept))
                });
                nodes.collect()
            }
            Node::Uploads(repository) => {
                let cursor = match &behind {
                    Some(Node::Upload(_, id)) => Some(id),
                    _ => None,
                };
                let rows = self.registry.queries().uploads(repository, cursor, limit)?;
                rows.into_iter()
                    .map(|(id, kept)| (Node::Upload(repository.clone(), id), Some(kept)))
                    .collect()
            }
            Node::HashStatesAlgorithm(repository, id, algorithm) => {
                let rows = self
                    .registry
                    .queries()
                    .hash_states(repository, id, *algorithm)?
                    .into_iter();
                let nodes = rows.map(|(offset, _, _)| {
                    Node::HashState(repository.clone(), *id, *algorithm, offset)
                });
                sorted(nodes.collect(), last, limit)
            }
            _ => {
                let mut nodes = node.fixed_children();
                nodes.retain(|node| last.is_none_or(|last| *node.name() > *last));
                nodes
                    .into_iter()
                    .take(limit)
                    .map(|node| (node, None))
                    .collect()
            }
        })
    }

    /// The names below one: a repository's own directories among those of deeper ones.
    fn namespaces(
        &self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        let names = self.registry.queries().namespaces(parent, last, limit)?;
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
        Ok(sorted(nodes, last, limit))
    }
}

/// Nodes in the order of their names, behind `last`.
fn sorted(nodes: Vec<Node>, last: Option<&str>, limit: usize) -> Vec<Child> {
    let mut named: Vec<(String, Node)> =
        nodes.into_iter().map(|node| (node.name(), node)).collect();
    named.retain(|(name, _)| last.is_none_or(|last| **name > *last));
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
        .into_iter()
        .take(limit)
        .map(|(_, node)| (node, None))
        .collect()
}

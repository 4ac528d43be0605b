//! Listings: the names in a directory, in pages, sorted by their bytes.
//!
//! A page begins after a name, which need not exist any more. A name that exists during the whole
//! listing is listed exactly once. Only names that a plain disk would show are listed: an
//! additional name in a repository makes distribution's garbage collection destroy the repository.

use std::ffi::OsStr;
use std::time::SystemTime;

use super::control_file::ControlFile;
use super::{
    Attributes, FileKind, ListingEntry, ListingName, Place, Resolved, Tree, TreeError, Writer,
    inode_number,
};
use crate::digest::Algorithm;
use crate::layout::Node;
use crate::name::{LinkSet, Namespace, RepositoryName};

/// A node that may be in a directory; with its time if it is a directory that certainly exists.
type Child = (Node, Option<SystemTime>);

impl Tree {
    /// Lists a hidden directory.
    fn list_hidden(
        &self,
        id: u64,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Result<Vec<ListingEntry>, TreeError> {
        self.metadata().get(&Place::Hidden(id))?;
        let rows = self.pending_files.list(id, last, limit).into_iter();
        let listed = rows.filter_map(|(name, entry)| match self.resolve(entry.place()) {
            // It was removed meanwhile.
            Err(TreeError::NotFound) => None,
            found => Some(found.map(|found| ListingEntry { name, found })),
        });
        listed.collect()
    }

    fn list_node<R>(
        &self,
        node: &Node,
        last: Option<&str>,
        limit: usize,
        row: impl Fn(Child, Option<u32>) -> Result<R, TreeError>,
    ) -> Result<Vec<R>, TreeError> {
        let (first, mut last) = (last.is_none(), last.map(str::to_owned));
        let within = inode_number::within(&mut self.registry.queries(), node)?;
        let mut rows = Vec::new();
        // The caller takes a page that is not full for the last one.
        while rows.len() < limit {
            let wanted = limit - rows.len();
            let children = self.children(node, last.as_deref(), wanted)?;
            let ended = children.len() < wanted;
            if let Some((newest, _)) = children.last() {
                last = Some(newest.name());
            }
            for child in children {
                match row(child, within) {
                    // It does not exist, or was removed since it was read: it did not exist during
                    // the whole listing.
                    Err(TreeError::NotFound) => {}
                    row => rows.push(row?),
                }
            }
            if ended {
                break;
            }
        }
        if rows.is_empty() && first {
            // An empty listing of a directory that does not exist is an error.
            self.node_attributes(node)?;
        }
        Ok(rows)
    }

    /// Returns the entry of a child. A child that comes with its time exists, so that it is not
    /// looked up again.
    fn listed(&self, (child, time): Child, within: Option<u32>) -> Result<ListingEntry, TreeError> {
        let name = child.name().into();
        let found = match time {
            None => self.resolve(Place::Node(child))?,
            Some(time) => Resolved {
                attributes: Attributes {
                    permissions: self.node_permissions(&child)?,
                    ..Attributes::directory(
                        inode_number::node(&child, within),
                        self.time_or_default(time),
                    )
                },
                place: Place::Node(child),
                cacheable: true,
            },
        };
        Ok(ListingEntry { name, found })
    }

    /// Returns the entry of a child without attributes.
    fn named(&self, (child, time): Child, within: Option<u32>) -> Result<ListingName, TreeError> {
        match time {
            None => self.listed((child, time), within).map(ListingName::from),
            Some(_) => Ok(ListingName {
                name: child.name().into(),
                kind: FileKind::Directory,
                number: inode_number::node(&child, within),
            }),
        }
    }

    /// Returns at most `limit` nodes that may be in a directory, with names greater than `last`,
    /// sorted by name. A node that comes with its time is a directory that exists.
    fn children(
        &self,
        node: &Node,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        // The child after which the page begins.
        let behind = last.and_then(|last| node.child(last));
        if last.is_some() && behind.is_none() {
            // The directory cannot have this name, so that nothing follows it.
            return Ok(Vec::new());
        }
        match node {
            Node::BlobAlgorithm(algorithm) => {
                let shards = self
                    .registry
                    .queries()
                    .pages()
                    .blob_shards(*algorithm)?
                    .into_iter();
                let nodes = shards.map(|shard| Node::BlobShard(*algorithm, shard));
                Ok(sorted(nodes.collect(), last, limit))
            }
            Node::BlobShard(algorithm, shard) => {
                self.blob_directories(*algorithm, *shard, behind.as_ref(), limit)
            }
            Node::Repositories => self.namespaces(None, last, limit),
            Node::Namespace(parent) => self.namespaces(Some(parent), last, limit),
            Node::Tags(repository) => self.tag_directories(repository, behind.as_ref(), limit),
            Node::LinksAlgorithm(repository, set, algorithm) => {
                self.link_directories(repository, set, *algorithm, behind.as_ref(), limit)
            }
            Node::Uploads(repository) => {
                self.upload_directories(repository, behind.as_ref(), limit)
            }
            Node::HashStatesAlgorithm(repository, id, algorithm) => {
                let queries = &mut self.registry.queries();
                let rows = queries
                    .pages()
                    .hash_states(repository, id, *algorithm)?
                    .into_iter();
                let nodes = rows.map(|(offset, _, _)| {
                    Node::HashState(repository.clone(), *id, *algorithm, offset)
                });
                Ok(sorted(nodes.collect(), last, limit))
            }
            _ => {
                let mut nodes = node.fixed_children();
                nodes.retain(|node| last.is_none_or(|last| *node.name() > *last));
                let children = nodes.into_iter().take(limit).map(|node| (node, None));
                Ok(children.collect())
            }
        }
    }

    fn blob_directories(
        &self,
        algorithm: Algorithm,
        shard: u8,
        behind: Option<&Node>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        let cursor = match behind {
            Some(Node::BlobDirectory(digest)) => Some(digest),
            _ => None,
        };
        let queries = &mut self.registry.queries();
        let rows = queries
            .pages()
            .blobs(algorithm, shard, cursor, limit)?
            .into_iter();
        let children = rows.map(|(digest, time)| (Node::BlobDirectory(digest), Some(time)));
        Ok(children.collect())
    }

    fn tag_directories(
        &self,
        repository: &RepositoryName,
        behind: Option<&Node>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        let cursor = match behind {
            Some(Node::Tag(_, tag)) => Some(tag),
            _ => None,
        };
        let queries = &mut self.registry.queries();
        let rows = queries.pages().tags(repository, cursor, limit)?.into_iter();
        let children = rows.map(|(tag, time)| (Node::Tag(repository.clone(), tag), Some(time)));
        Ok(children.collect())
    }

    fn link_directories(
        &self,
        repository: &RepositoryName,
        set: &LinkSet,
        algorithm: Algorithm,
        behind: Option<&Node>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        let cursor = match behind {
            Some(Node::LinkDirectory(_, _, digest)) => Some(digest),
            _ => None,
        };
        let queries = &mut self.registry.queries();
        let rows = queries
            .pages()
            .links(repository, set, algorithm, cursor, limit)?;
        let children = rows.into_iter().map(|(digest, time)| {
            let link = Node::LinkDirectory(repository.clone(), set.clone(), digest);
            (link, Some(time))
        });
        Ok(children.collect())
    }

    fn upload_directories(
        &self,
        repository: &RepositoryName,
        behind: Option<&Node>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        let cursor = match behind {
            Some(Node::Upload(_, id)) => Some(id),
            _ => None,
        };
        let queries = &mut self.registry.queries();
        let rows = queries
            .pages()
            .uploads(repository, cursor, limit)?
            .into_iter();
        let children = rows.map(|(id, time)| (Node::Upload(repository.clone(), id), Some(time)));
        Ok(children.collect())
    }

    /// Returns the names in a namespace: the directories of a repository, and the namespaces below.
    fn namespaces(
        &self,
        parent: Option<&Namespace>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Child>, TreeError> {
        let names = self
            .registry
            .queries()
            .pages()
            .namespaces(parent, last, limit)?;
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

/// The contents of directories.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryListings<'a>(pub(super) &'a Tree);

impl Tree {
    /// Returns the contents of directories.
    pub fn listings(&self) -> DirectoryListings<'_> {
        DirectoryListings(self)
    }
}

impl DirectoryListings<'_> {
    /// Returns at most `limit` entries of a directory with names greater than `last`, sorted by the
    /// bytes of the names. Fewer than `limit` entries are the last page.
    ///
    /// # Errors
    /// [`TreeError::NotFound`]; [`TreeError::NotDirectory`]; otherwise the error of the index or of
    /// the host.
    pub fn list(
        self,
        directory: &Place,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Result<Vec<ListingEntry>, TreeError> {
        match directory {
            Place::Plain(path) => {
                let names = self.0.plain.list(path)?;
                let behind = names
                    .into_iter()
                    .filter(|name| last.is_none_or(|last| &**name > last));
                let rows = behind.filter_map(|name| {
                    let found = self.0.lookup(directory, &name, Writer::default()).ok()?;
                    Some(ListingEntry { name, found })
                });
                Ok(rows.take(limit).collect())
            }
            Place::Node(node) => self.0.list_node(
                node,
                last.and_then(OsStr::to_str),
                limit,
                |child, within| self.0.listed(child, within),
            ),
            Place::Control(ControlFile::Directory) => {
                let files = ControlFile::FILES.into_iter();
                let behind =
                    files.filter(|file| last.is_none_or(|last| OsStr::new(file.name()) > last));
                let rows = behind.take(limit).map(|file| {
                    let found = self.0.resolve(Place::Control(file))?;
                    Ok(ListingEntry {
                        name: file.name().into(),
                        found,
                    })
                });
                rows.collect()
            }
            Place::Hidden(id) => self.0.list_hidden(*id, last, limit),
            Place::Pending(_) | Place::Control(_) => Err(TreeError::NotDirectory),
        }
    }

    /// As [`DirectoryListings::list`](crate::tree::DirectoryListings::list), without attributes.
    ///
    /// # Errors
    /// As [`DirectoryListings::list`](crate::tree::DirectoryListings::list).
    pub fn list_names(
        self,
        directory: &Place,
        last: Option<&OsStr>,
        limit: usize,
    ) -> Result<Vec<ListingName>, TreeError> {
        let Place::Node(node) = directory else {
            let rows = self.0.listings().list(directory, last, limit)?;
            return Ok(rows.into_iter().map(ListingName::from).collect());
        };
        self.0.list_node(
            node,
            last.and_then(OsStr::to_str),
            limit,
            |child, within| self.0.named(child, within),
        )
    }

    /// Returns `false` if names can appear in a directory without an operation that creates them,
    /// so that the kernel must not cache its listing.
    ///
    /// # Errors
    /// The error of the index.
    pub fn is_listing_cacheable(self, directory: &Place) -> Result<bool, TreeError> {
        match directory {
            Place::Node(node) => Ok(!self.0.registry.queries().has_hidden_directory(node)?),
            _ => Ok(true),
        }
    }
}

/// Returns nodes with names greater than `last`, sorted by name.
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

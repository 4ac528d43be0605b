//! The tree: what a file operation means in a registry's storage.
//!
//! - What exists is what the registry's facts say; nothing of it is stored as a tree.
//! - Names outside the layout are not there on lookup, and refused on creation.
//! - A file being written is a draft: its content becomes a fact as a whole, at the first
//!   fsync, close or rename, and nobody sees it before.
//! - A manifest dropped where manifests live is judged and linked; its own name is gone then.
//! - Removing a directory needs it empty; removing a file leaves its directory.
//! - Outside the registry root files are plain files, kept as they are.
//! - A listing is in the order of names' bytes, and shows only what a plain disk would.
//!
//! It knows neither the kernel nor its numbers: the kernel's side calls it and translates.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};

use crate::dir::Dir;
use crate::layout::{self, Node};
use crate::registry::Registry;

mod attribute;
mod change;
mod commit;
mod content;
mod create;
mod draft;
mod drafts;
mod error;
mod flood;
mod handle;
mod lingering;
mod listing;
mod node;
mod number;
mod own;
mod owned;
mod packed;
mod place;
mod plain;
mod process;
mod rejected;
mod relocate;
mod remove;
mod rename;
mod seek;
mod stat;
mod target;
mod times;
mod waiting;

pub use change::{ChangeKind, TreeChange};
pub use error::TreeError;
pub use handle::{Access, Caching, Direct, Handle};
pub use own::{OwnFile, Served};
pub use owned::Below;
pub use packed::Packed;
pub use place::Place;
pub use relocate::Relocation;
pub use seek::Seek;
pub use stat::{Attributes, Change, FileKind, Permissions};

use draft::Draft;
use drafts::{Drafts, Parent};
use lingering::Lingering;
use own::{Control, Serving, Texts};
use plain::Plain;
use rejected::Rejected;

/// A name resolved.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it names.
    pub place: Place,
    /// What stat shows of it.
    pub attributes: Attributes,
    /// Whether the name stays what it is until somebody changes it through the mount.
    pub lasting: bool,
}

/// One name of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: OsString,
    /// What it names.
    pub found: Found,
}

/// One name of a listing that tells no more than what kind of file it is, and its number.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: OsString,
    /// What it names.
    pub kind: FileKind,
    /// Its inode number.
    pub number: u64,
}

impl From<Listed> for Named {
    fn from(Listed { name, found }: Listed) -> Self {
        let (kind, number) = (found.attributes.kind, found.attributes.number);
        Self { name, kind, number }
    }
}

/// The space of the store, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free.
    pub free: u64,
    /// Free for us.
    pub available: u64,
}

/// Who asks for a change, so that a refusal can tell whose it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// The process (0 where the kernel does not tell).
    pub pid: u32,
    /// The user.
    pub uid: u32,
}

/// The mount's tree.
#[derive(Debug)]
pub struct Tree {
    registry: Arc<Registry>,
    plain: Plain,
    drafts: Drafts,
    lingering: Lingering,
    rejected: Mutex<Rejected>,
    /// Held alone while repositories get other names: what is being written goes with them.
    relocating: RwLock<()>,
    read_only: bool,
    mounted: SystemTime,
    /// Who may look at our own files.
    control: Control,
    /// When the store was made: the time of directories of which nothing better is known.
    born: SystemTime,
    /// How the mount is served, for people.
    serving: Serving,
    /// What our own files said to those who have them open.
    texts: Texts,
}

impl Tree {
    /// The tree of a registry. Plain files are kept below `plain`, which must exist; the
    /// layout stands below the path `root` of the mount (`docker/registry`, or empty).
    pub fn new(
        registry: Arc<Registry>,
        plain: Dir,
        root: &str,
        read_only: bool,
    ) -> Result<Self, TreeError> {
        let made = plain.as_fd().try_clone_to_owned();
        let made = made.and_then(|directory| File::from(directory).metadata());
        let born = made.and_then(|of| of.created().or_else(|_| of.modified()));
        Ok(Self {
            registry,
            plain: Plain::open(plain, root)?,
            drafts: Drafts::default(),
            lingering: Lingering::default(),
            rejected: Mutex::default(),
            relocating: RwLock::default(),
            read_only,
            mounted: SystemTime::now(),
            control: Control::by(None),
            born: born.unwrap_or_else(|_| SystemTime::now()),
            serving: Serving::default(),
            texts: Texts::default(),
        })
    }

    /// The same tree, in which a group may look at our own files (`.regfs`), too.
    #[must_use]
    pub fn with_control_group(self, group: Option<u32>) -> Self {
        let control = Control::by(group);
        Self { control, ..self }
    }

    /// The top of the mount.
    pub fn top(&self) -> Place {
        Place::Plain(PathBuf::new())
    }

    /// Resolves a name in a directory, for who asks.
    pub fn lookup(&self, parent: &Place, name: &OsStr, asker: Writer) -> Result<Found, TreeError> {
        match parent {
            Place::Plain(path) => match self.mounted_at(path, name) {
                Some(place) => self.found(place),
                None => self.found(Place::Plain(path.join(name))),
            },
            Place::Node(node) => self.lookup_node(node, name, asker),
            Place::Own(OwnFile::Directory) => {
                let file = OwnFile::from_name(name).ok_or(TreeError::NotFound)?;
                self.found(Place::Own(file))
            }
            Place::Hidden(id) => {
                let named = self.drafts.named(&Parent::Hidden(*id), name);
                self.found(named.ok_or(TreeError::NotFound)?.place())
            }
            Place::Draft(_) | Place::Own(_) => Err(TreeError::NotDirectory),
        }
    }

    /// What stands over a plain directory: the layout, or our own files.
    fn mounted_at(&self, path: &std::path::Path, name: &OsStr) -> Option<Place> {
        if self.plain.is_root(path) && name == layout::TOP {
            return Some(Place::Node(Node::Root));
        }
        let own = path.as_os_str().is_empty() && name == own::DIRECTORY;
        own.then_some(Place::Own(OwnFile::Directory))
    }

    fn lookup_node(&self, parent: &Node, name: &OsStr, asker: Writer) -> Result<Found, TreeError> {
        if let Some(node) = name.to_str().and_then(|name| parent.child(name)) {
            match self.found(Place::Node(node)) {
                Err(TreeError::NotFound) => {}
                found => return found,
            }
        }
        if let Some(named) = self.drafts.named_in(parent, name) {
            return self.found(named.place());
        }
        let draft = self.lingering.named(parent, name, asker);
        self.found(Place::Draft(draft.ok_or(TreeError::NotFound)?.id()))
    }

    /// The file being written, or written a moment ago, of this number.
    fn draft(&self, id: u64) -> Result<Arc<Draft>, TreeError> {
        let draft = self.drafts.get(id).or_else(|| self.lingering.get(id));
        draft.ok_or(TreeError::NotFound)
    }

    fn found(&self, place: Place) -> Result<Found, TreeError> {
        let attributes = self.attributes(&place)?;
        let lasting = self.lasts(&place)?;
        Ok(Found {
            place,
            attributes,
            lasting,
        })
    }

    /// What stat shows of a place.
    pub fn attributes(&self, place: &Place) -> Result<Attributes, TreeError> {
        match place {
            Place::Plain(path) => self.plain_attributes(path),
            Place::Node(node) => self.node_attributes(node),
            Place::Draft(id) => {
                let draft = self.draft(*id)?;
                Ok(Attributes {
                    permissions: self.draft_permissions(&draft)?,
                    ..draft.attributes()
                })
            }
            Place::Hidden(id) => {
                let made = self.drafts.made(*id).ok_or(TreeError::NotFound)?;
                Ok(Attributes {
                    permissions: self.waiting_permissions(&Parent::Hidden(*id))?,
                    ..Attributes::directory(number::hidden(*id), made)
                })
            }
            Place::Own(file) => Ok(self.own_attributes(*file)),
        }
    }

    /// What stat shows of a plain file. The top of the mount is a directory of the store, which
    /// lets nobody in; who may do what there is kept as for the layout.
    fn plain_attributes(&self, path: &Path) -> Result<Attributes, TreeError> {
        let mut attributes = self.plain.attributes(path)?;
        if path.as_os_str().is_empty() {
            attributes.permissions = self.top_permissions()?;
        }
        Ok(attributes)
    }

    /// Makes the names in a plain directory durable; that of others is a matter of the facts.
    pub fn sync_plain_directory(&self, path: &Path) -> Result<(), TreeError> {
        self.plain.sync_directory(path)
    }

    /// Who may do what with a place; of the layout that is known without looking whether it is
    /// there.
    pub fn permissions(&self, place: &Place) -> Result<Permissions, TreeError> {
        match place {
            Place::Node(node) => self.node_permissions(node),
            Place::Plain(_) | Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => {
                Ok(self.attributes(place)?.permissions)
            }
        }
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, place: &Place) -> Result<PathBuf, TreeError> {
        match place {
            Place::Plain(path) => self.plain.read_link(path),
            Place::Node(_) | Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => {
                Err(TreeError::NotPermitted("not a symbolic link"))
            }
        }
    }

    /// chmod, chown and utimes, as `admit` says, which sees what the file is. Owner and mode
    /// are kept for plain files, and for what `owned` says of the layout; times as `times` does.
    ///
    /// Returns what changed: the place, and the directories whose time follows it.
    pub fn change(
        &self,
        place: &Place,
        writer: Writer,
        admit: impl FnOnce(&Attributes) -> Result<Change, TreeError>,
    ) -> Result<Vec<TreeChange>, TreeError> {
        self.writable()?;
        match place {
            Place::Plain(path) if path.as_os_str().is_empty() => {
                let now = self.attributes(place)?;
                self.change_top(now.permissions, admit(&now)?)?;
            }
            Place::Plain(path) => self.plain.change(path, admit)?,
            Place::Node(node) => {
                let now = self.attributes(place)?;
                let change = admit(&now)?;
                self.change_node(node, &now, change, writer)?;
                self.set_time(place, change)?;
            }
            Place::Draft(_) | Place::Hidden(_) | Place::Own(_) => {
                let change = admit(&self.attributes(place)?)?;
                self.set_time(place, change)?;
            }
        }
        let itself = TreeChange::modified(place.clone()).requested();
        let dated = times::dated_by(place).into_iter().map(TreeChange::modified);
        Ok([itself].into_iter().chain(dated).collect())
    }

    /// The mount ends: logs what was only counted so far.
    pub fn end(&self) {
        self.rejected.lock().end();
    }

    /// Makes everything before durable: fsync of a directory, and of the facts that a file has
    /// become.
    pub fn make_durable(&self) -> Result<(), TreeError> {
        Ok(self.registry.sync()?)
    }

    /// The space of the store.
    pub fn space(&self) -> Result<Space, TreeError> {
        let space = self.registry.room().space()?;
        Ok(Space {
            total: space.total,
            free: space.free,
            available: space.available,
        })
    }

    fn writable(&self) -> Result<(), TreeError> {
        if self.read_only {
            Err(TreeError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

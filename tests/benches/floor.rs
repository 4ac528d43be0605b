//! The fastest that a FUSE filesystem can be: a tree in memory behind fuser, over the same
//! transport. Not part of the product. It copies a directory into memory, and gives the replies and
//! cache lifetimes that regfs gives.
//!
//! `floor SOURCE MOUNTPOINT` serves until it is unmounted. Files above 1 MiB are shown empty.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, SystemTime};
use std::{env, fs, io};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen, Request,
};

const LASTING: Duration = Duration::from_hours(1);
const LARGEST: u64 = 1 << 20;

/// A file or directory.
struct Held {
    name: OsString,
    attributes: FileAttr,
    content: Vec<u8>,
    /// The numbers of its entries, by name.
    children: Vec<u64>,
}

/// The tree; the number of a node is its index in `held` plus one.
#[derive(Default)]
struct Memory {
    held: Vec<Held>,
    names: HashMap<(u64, OsString), u64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let [source, mountpoint] = arguments.as_slice() else {
        return Err("usage: floor SOURCE MOUNTPOINT".into());
    };
    let mut memory = Memory::default();
    memory.take(Path::new(source), OsString::new())?;
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("floor".into()), MountOption::NoAtime];
    // As many threads as the mount has: switching between them has a cost too.
    config.n_threads = Some(8);
    config.clone_fd = true;
    fuser::mount(memory, mountpoint, &config)?;
    Ok(())
}

impl Memory {
    /// Copies a file or a directory with everything below it. Returns its number.
    fn take(&mut self, path: &Path, name: OsString) -> io::Result<u64> {
        let found = fs::symlink_metadata(path)?;
        let (at, mut children) = (self.held.len(), Vec::new());
        let ino = at as u64 + 1;
        let content = if found.is_file() && found.len() <= LARGEST {
            fs::read(path)?
        } else {
            Vec::new()
        };
        self.held.push(Held {
            name,
            attributes: attributes(ino, found.is_dir(), content.len() as u64),
            content,
            children: Vec::new(),
        });
        if found.is_dir() {
            let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            for name in names {
                let child = self.take(&path.join(&name), name.clone())?;
                self.names.insert((ino, name), child);
                children.push(child);
            }
        }
        if let Some(held) = self.held.get_mut(at) {
            held.children = children;
        }
        Ok(ino)
    }

    fn get(&self, ino: INodeNo) -> Option<&Held> {
        self.held.get(usize::try_from(ino.0).ok()?.checked_sub(1)?)
    }

    /// Returns the rows of a listing after an offset, each with the offset after it.
    fn rows(&self, ino: INodeNo, offset: u64) -> impl Iterator<Item = (u64, &OsStr, &FileAttr)> {
        let directory = self.get(ino).into_iter();
        let dots = directory.clone().flat_map(|directory| {
            [".", ".."].map(|name| (OsStr::new(name), &directory.attributes))
        });
        let children = directory.flat_map(|directory| &directory.children);
        let named = children.filter_map(|child| self.get(INodeNo(*child)));
        let rows = dots.chain(named.map(|held| (&*held.name, &held.attributes)));
        let rows = (1..)
            .zip(rows)
            .skip(usize::try_from(offset).unwrap_or(usize::MAX));
        rows.map(|(next, (name, attributes))| (next, name, attributes))
    }
}

fn attributes(ino: u64, directory: bool, size: u64) -> FileAttr {
    let now = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        kind: if directory {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: if directory { 0o755 } else { 0o644 },
        nlink: if directory { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Memory {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
        ] {
            let _unknown = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.names.get(&(parent.0, name.to_owned()));
        match found.and_then(|ino| self.get(INodeNo(*ino))) {
            Some(held) => reply.entry(&LASTING, &held.attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.get(ino) {
            Some(held) => reply.attr(&LASTING, &held.attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn opendir(&self, _request: &Request, _: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for (next, name, attributes) in self.rows(ino, offset) {
            if reply.add(attributes.ino, next, attributes.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        for (next, name, attributes) in self.rows(ino, offset) {
            let ino = attributes.ino;
            if reply.add(ino, next, name, &LASTING, attributes, Generation(0)) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, _request: &Request, _: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = self.get(ino).map_or(&[][..], |held| &held.content);
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.get(begin..).unwrap_or_default();
        reply.data(rest.get(..size as usize).unwrap_or(rest));
    }
}

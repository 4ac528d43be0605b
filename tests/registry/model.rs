//! The model is a plain directory: after the same random operations the tree and the directory must
//! be equal, and each operation must have had the same result.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use regfs::blobs;
use regfs::index;
use regfs::registry::{Policy, Registry};
use regfs::tree::{Access, FileKind, Permissions, Place, Resolved, Tree, TreeError, Writer};

/// Below this everything happens; what leads to it is made first, and stays.
const BASE: &str = "docker/registry/v2/repositories/a";
/// Where it is moved to now and then.
const ELSEWHERE: &str = "docker/registry/v2/repositories/else/where";
const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// The two digests that links are made of.
const HEX: [&str; 2] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
];

#[derive(Clone, Copy, Debug)]
enum Act {
    Make,
    MakeAll,
    Remove,
    Unlink,
    Write,
    WriteByRename,
    Read,
    List,
    Relocate,
    Reopen,
}

/// The files that may be, with their content.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for hex in HEX {
        let link = format!("sha256:{hex}");
        for path in [
            "_layers/sha256",
            "_manifests/revisions/sha256",
            "_manifests/tags/v1/index/sha256",
        ] {
            files.push((format!("{path}/{hex}/link"), link.clone()));
        }
        files.push((
            format!("_manifests/tags/v{}/current/link", &hex[1..2]),
            link,
        ));
    }
    files.push((
        format!("_uploads/{UUID}/startedat"),
        "2026-01-01T00:00:00Z".into(),
    ));
    files.push((
        format!("_uploads/{UUID}/hashstates/sha256/0"),
        "state".into(),
    ));
    files.push((format!("_uploads/{UUID}/data"), "some bytes".into()));
    files
}

/// A file or one of the directories above it, but not those that always stay.
fn path_of(file: &str, up: usize) -> String {
    let mut path = Path::new(file);
    for _ in 0..up {
        let Some(parent) = path.parent() else { break };
        if ["", "_layers", "_manifests"].contains(&parent.to_str().unwrap()) {
            break;
        }
        path = parent;
    }
    path.to_str().unwrap().to_owned()
}

/// The tree under test, over stores that outlive it.
struct Mount {
    store: Arc<index::MemoryStore>,
    bytes: Arc<blobs::MemoryBlobs>,
    plain: tempfile::TempDir,
    tree: Option<Tree>,
}

impl Mount {
    fn new() -> Self {
        let (store, bytes) = (Arc::default(), Arc::default());
        let mut mount = Self {
            store,
            bytes,
            plain: tempfile::tempdir().unwrap(),
            tree: None,
        };
        mount.open();
        mount
    }

    fn open(&mut self) {
        self.tree = None;
        let registry =
            Registry::new(self.store.clone(), self.bytes.clone(), Policy::default()).unwrap();
        let plain = regfs::dir::Dir::open(self.plain.path()).unwrap();
        self.tree = Some(Tree::new(Arc::new(registry), plain, "docker/registry", false).unwrap());
    }

    fn tree(&self) -> &Tree {
        self.tree.as_ref().unwrap()
    }

    fn find(&self, path: &str) -> Result<Resolved, TreeError> {
        let top = self.tree().top();
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let mut found = self
            .tree()
            .lookup(&top, OsStr::new(first), Writer::default())?;
        for name in rest.split('/').filter(|name| !name.is_empty()) {
            found = self
                .tree()
                .lookup(&found.place, OsStr::new(name), Writer::default())?;
        }
        Ok(found)
    }

    fn parent<'a>(&self, path: &'a str) -> Result<(Place, &'a OsStr), TreeError> {
        match path.rsplit_once('/') {
            None => Ok((self.tree().top(), OsStr::new(path))),
            Some((parent, name)) => Ok((self.find(parent)?.place, OsStr::new(name))),
        }
    }

    fn make(&self, path: &str) -> Result<(), TreeError> {
        let (parent, name) = self.parent(path)?;
        self.tree()
            .make_directory(&parent, name, Permissions::DIRECTORY, Writer::default())
            .map(drop)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), TreeError> {
        let (from, to) = (self.parent(from)?, self.parent(to)?);
        let (from, to) = ((&from.0, from.1), (&to.0, to.1));
        let renamed = self.tree().rename(from, to, true, Writer::default());
        renamed.map(drop)
    }

    fn make_all(&self, path: &str) -> Result<(), TreeError> {
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            match self.make(&path[..end]) {
                Ok(()) | Err(TreeError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&self, path: &str, content: &str) -> Result<(), TreeError> {
        let (parent, name) = self.parent(path)?;
        let (_, handle) = self.tree().create(
            &parent,
            name,
            Permissions::DIRECTORY,
            Writer::default(),
            |_| Ok(()),
        )?;
        self.tree().metadata().truncate(&handle, 0)?;
        self.tree()
            .open_files()
            .write(&handle, 0, content.as_bytes())?;
        let flushed = self.tree().open_files().flush(&handle);
        self.tree().open_files().release(&handle);
        flushed.map(drop)
    }

    fn write_by_rename(&self, path: &str, content: &str) -> Result<(), TreeError> {
        let (parent, name) = self.parent(path)?;
        let temporary = format!("{}.{UUID}.tmp", name.to_str().unwrap());
        let temporary = OsStr::new(&temporary);
        let (_, handle) = self.tree().create(
            &parent,
            temporary,
            Permissions::DIRECTORY,
            Writer::default(),
            |_| Ok(()),
        )?;
        self.tree()
            .open_files()
            .write(&handle, 0, content.as_bytes())?;
        self.tree().open_files().sync(&handle)?;
        self.tree().rename(
            (&parent, temporary),
            (&parent, name),
            true,
            Writer::default(),
        )?;
        self.tree().open_files().release(&handle);
        Ok(())
    }

    fn read(&self, path: &str) -> Result<String, TreeError> {
        let handle = self.tree().open_files().open(
            &self.find(path)?.place,
            Access::Read,
            Writer::default(),
        )?;
        let mut bytes = vec![0; 1 << 16];
        let read = self.tree().open_files().read(&handle, 0, &mut bytes)?;
        bytes.truncate(read);
        self.tree().open_files().release(&handle);
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, TreeError> {
        let place = self.find(path)?.place;
        let mut names: Vec<String> = Vec::new();
        loop {
            // Small pages, so that listings are resumed too.
            let last = names.last().map(OsStr::new);
            let page = self.tree().listings().list(&place, last, 2)?;
            let bare = self.tree().listings().list_names(&place, last, 2)?;
            let shown = page
                .iter()
                .map(|row| (&row.name, row.found.attributes.kind));
            assert!(bare.iter().map(|row| (&row.name, row.kind)).eq(shown));
            if page.is_empty() {
                return Ok(names);
            }
            names.extend(page.into_iter().map(|row| row.name.into_string().unwrap()));
        }
    }

    /// Everything below a path, as `path` or `path = content`.
    fn dump(&self, path: &str, rows: &mut Vec<String>) {
        for name in self.list(path).unwrap() {
            let below = format!("{path}/{name}");
            if self.find(&below).unwrap().attributes.kind == FileKind::Directory {
                rows.push(below.clone());
                self.dump(&below, rows);
            } else {
                rows.push(format!("{below} = {}", self.read(&below).unwrap()));
            }
        }
    }
}

fn dump(top: &Path, path: &str, rows: &mut Vec<String>) {
    let mut names: Vec<String> = fs::read_dir(top.join(path))
        .unwrap()
        .map(|row| row.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let below = format!("{path}/{name}");
        if top.join(&below).is_dir() {
            rows.push(below.clone());
            dump(top, &below, rows);
        } else {
            rows.push(format!(
                "{below} = {}",
                fs::read_to_string(top.join(&below)).unwrap()
            ));
        }
    }
}

/// How an operation ended, in words that both sides share.
fn ended<T>(result: &Result<T, TreeError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(TreeError::NotFound) => "not found",
        Err(TreeError::Exists) => "exists",
        Err(TreeError::NotEmpty) => "not empty",
        Err(TreeError::NotDirectory) => "not a directory",
        Err(TreeError::IsDirectory) => "a directory",
        Err(error) => panic!("{error}"),
    }
}

fn ended_plain<T>(result: &io::Result<T>) -> &'static str {
    let Err(error) = result else { return "done" };
    match error.kind() {
        ErrorKind::NotFound => "not found",
        ErrorKind::AlreadyExists => "exists",
        ErrorKind::DirectoryNotEmpty => "not empty",
        ErrorKind::NotADirectory => "not a directory",
        ErrorKind::IsADirectory => "a directory",
        _ => panic!("{error}"),
    }
}

/// Does the same on both sides; how it ended here and there.
fn act(mount: &mut Mount, disk: &Path, act: Act, path: &str, content: &str) -> [String; 2] {
    let full = disk.join(path);
    let [here, there] = match act {
        Act::Make => [
            ended(&mount.make(path)),
            ended_plain(&fs::create_dir(&full)),
        ],
        Act::MakeAll => {
            let all = fs::create_dir_all(&full);
            [ended(&mount.make_all(path)), ended_plain(&all)]
        }
        Act::Remove => {
            let removed = mount
                .parent(path)
                .and_then(|(parent, name)| mount.tree().remove_directory(&parent, name));
            [ended(&removed), ended_plain(&fs::remove_dir(&full))]
        }
        Act::Unlink => {
            let removed = mount.parent(path).and_then(|(parent, name)| {
                mount.tree().remove_file(&parent, name, Writer::default())
            });
            [ended(&removed), ended_plain(&fs::remove_file(&full))]
        }
        Act::Write => [
            ended(&mount.write(path, content)),
            ended_plain(&fs::write(&full, content)),
        ],
        Act::WriteByRename => {
            let temporary = full.with_extension("tmp");
            let renamed =
                fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, &full));
            [
                ended(&mount.write_by_rename(path, content)),
                ended_plain(&renamed),
            ]
        }
        Act::Read => {
            let (here, there) = (mount.read(path), fs::read_to_string(&full));
            let shown = |ended: &str, text: Option<&String>| format!("{ended} {text:?}");
            return [
                shown(ended(&here), here.as_ref().ok()),
                shown(ended_plain(&there), there.as_ref().ok()),
            ];
        }
        Act::List => {
            let here = mount.list(path);
            let there = fs::read_dir(&full).map(|rows| {
                let names = rows.map(|row| row.unwrap().file_name().into_string().unwrap());
                let mut names: Vec<String> = names.collect();
                names.sort();
                names
            });
            return [
                format!("{} {:?}", ended(&here), here.as_ref().ok()),
                format!("{} {:?}", ended_plain(&there), there.as_ref().ok()),
            ];
        }
        Act::Relocate => return relocate(mount, disk, content),
        Act::Reopen => {
            mount.open();
            ["done", "done"]
        }
    };
    [here.to_owned(), there.to_owned()]
}

/// Moves the repository away and back, onto nothing, onto what is empty or onto what is not.
fn relocate(mount: &mut Mount, disk: &Path, content: &str) -> [String; 2] {
    let [there, below] = ["", "/_layers"].map(|below| format!("{ELSEWHERE}{below}"));
    let made = [&there, &below].into_iter().take(content.len() % 3);
    for path in made {
        mount.make(path).unwrap();
        fs::create_dir(disk.join(path)).unwrap();
    }
    let mut shown = [Vec::new(), Vec::new()];
    for (from, to) in [(BASE, ELSEWHERE), (ELSEWHERE, BASE)] {
        shown[0].push(ended(&mount.rename(from, to)).to_owned());
        shown[1].push(ended_plain(&fs::rename(disk.join(from), disk.join(to))).to_owned());
        if mount.find(to).is_ok() {
            mount.dump(to, &mut shown[0]);
            dump(disk, to, &mut shown[1]);
        }
    }
    for path in [below, there] {
        if let Ok((parent, name)) = mount.parent(&path) {
            let _not_there = mount.tree().remove_directory(&parent, name);
        }
        let _not_there = fs::remove_dir(disk.join(path));
    }
    shown.map(|rows| rows.join(" "))
}

fn operations() -> impl Strategy<Value = Vec<(Act, usize, usize)>> {
    let acts = prop_oneof![
        3 => Just(Act::Make),
        4 => Just(Act::MakeAll),
        3 => Just(Act::Remove),
        2 => Just(Act::Unlink),
        4 => Just(Act::Write),
        2 => Just(Act::WriteByRename),
        2 => Just(Act::Read),
        2 => Just(Act::List),
        2 => Just(Act::Relocate),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec((acts, 0..files().len(), 0..4_usize), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_operations_end_as_on_a_plain_directory(operations in operations()) {
        let mut mount = Mount::new();
        let disk = tempfile::tempdir().unwrap();
        for path in [format!("{BASE}/_layers"), format!("{BASE}/_manifests"), ELSEWHERE.into()] {
            mount.make_all(&path).unwrap();
            fs::create_dir_all(disk.path().join(path)).unwrap();
        }
        let elsewhere = mount.parent(ELSEWHERE).unwrap();
        mount.tree().remove_directory(&elsewhere.0, elsewhere.1).unwrap();
        fs::remove_dir(disk.path().join(ELSEWHERE)).unwrap();
        let files = files();
        for (operation, file, up) in operations {
            let (file, content) = &files[file];
            // mkdir and rmdir only on directories, write and unlink only on files.
            let (up, directory) = match operation {
                Act::Make | Act::MakeAll | Act::Remove | Act::List => (up + 1, true),
                Act::Unlink | Act::Write | Act::WriteByRename | Act::Read | Act::Relocate | Act::Reopen => (0, false),
            };
            let below = path_of(file, up);
            if directory && below == *file {
                continue;
            }
            let path = format!("{BASE}/{below}");
            // Rewriting an upload makes no new one: a plain file is truncated first.
            let [here, there] = act(&mut mount, disk.path(), operation, &path, content);
            prop_assert_eq!(here, there, "{:?} {}", operation, path);
        }
        let (mut here, mut there) = (Vec::new(), Vec::new());
        mount.dump(BASE, &mut here);
        dump(disk.path(), BASE, &mut there);
        prop_assert_eq!(here, there);
    }
}

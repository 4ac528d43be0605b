//! A thousand faults of two dozen kinds in one tree: each is found, named, and repaired or set
//! aside.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use regfs::digest::{Algorithm, Digest};

use super::plain::{Shape, blob, layer, manifest, put, put_blob, put_link, repository};
use super::site::{Site, json, odd, regfs};
use super::store::{findings, fsck};

const SHAPE: Shape = Shape {
    repositories: 60,
    tags: 30,
    layers: 4,
    pool: 400,
    layer_bytes: 200,
};
/// How many there are of each kind.
const EACH: usize = 45;
/// An ordinary user, who cannot read everything.
const NOBODY: u32 = 65534;

/// What must be said of a fault: by import its finding, path and remedy; by fsck its finding
/// and subject.
enum Expected {
    Odd(&'static str, PathBuf, &'static str),
    Wrong(&'static str, String),
}

use Expected::{Odd, Wrong};

/// One image of the tree, which one fault has for itself.
struct Image {
    v2: PathBuf,
    /// Below `v2`.
    name: String,
    tag: String,
    number: usize,
    /// The manifest.
    digest: Digest,
}

impl Image {
    fn of(v2: &Path, number: usize) -> Self {
        let name = repository(number % SHAPE.repositories);
        let tag = format!("v{}", number / SHAPE.repositories);
        let current = format!("repositories/{name}/_manifests/tags/{tag}/current/link");
        let digest = fs::read_to_string(v2.join(current)).unwrap();
        Self {
            v2: v2.to_owned(),
            name,
            tag,
            number,
            digest: digest.parse().unwrap(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        Path::new("repositories").join(&self.name).join(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        put(&self.v2.join(path), bytes);
    }

    fn current(&self) -> PathBuf {
        self.path(&format!("_manifests/tags/{}/current/link", self.tag))
    }

    fn revision(&self) -> PathBuf {
        let hex = self.digest.hex();
        self.path(&format!("_manifests/revisions/sha256/{hex}/link"))
    }

    fn index(&self) -> PathBuf {
        let (tag, hex) = (&self.tag, self.digest.hex());
        self.path(&format!("_manifests/tags/{tag}/index/sha256/{hex}/link"))
    }

    /// A layer of this fault alone, and its link.
    fn layer(&self) -> (Digest, PathBuf) {
        let digest = put_blob(&self.v2, &layer(1_000_000 + self.number, 300));
        put_link(&self.v2.join(self.path("_layers")), &digest);
        let link = self.path(&format!("_layers/sha256/{}/link", digest.hex()));
        (digest, link)
    }

    /// Does one thing wrong; what must be said of it.
    fn spoil(&self, kind: usize) -> Expected {
        match kind {
            0..=7 => self.spoil_link(kind),
            11..=15 | 17..=22 => self.spoil_name(kind),
            _ => self.spoil_content(kind),
        }
    }

    /// A link that does not say what it should.
    fn spoil_link(&self, kind: usize) -> Expected {
        let number = self.number;
        let other = Digest::of(Algorithm::Sha256, format!("other {number}").as_bytes());
        let digest = self.digest.to_string();
        match kind {
            0 => {
                let (_, link) = self.layer();
                self.write(&link, b"");
                Odd("empty-link", link, "mended")
            }
            1 => {
                self.write(&self.revision(), b"");
                Odd("empty-link", self.revision(), "mended")
            }
            2 => {
                self.write(&self.current(), b"");
                Odd("empty-link", self.current(), "mended")
            }
            3 => {
                self.write(&self.index(), &digest.as_bytes()[..40]);
                Odd("malformed-link", self.index(), "mended")
            }
            4 => {
                self.write(&self.revision(), format!("{digest}\n").as_bytes());
                Odd("malformed-link", self.revision(), "mended")
            }
            5 => {
                let tag = self.path(&format!("_manifests/tags/lost{number}/current/link"));
                self.write(&tag, b"\0\0\0\0");
                Odd("tag-without-target", tag, "set-aside")
            }
            6 => {
                let (_, link) = self.layer();
                self.write(&link, other.to_string().as_bytes());
                Odd("wrong-link", link, "mended")
            }
            _ => {
                self.write(&self.revision(), other.to_string().as_bytes());
                Odd("wrong-link", self.revision(), "mended")
            }
        }
    }

    /// A name or a kind of file that does not belong there.
    fn spoil_name(&self, kind: usize) -> Expected {
        let number = self.number;
        let digest = self.digest.to_string();
        match kind {
            11 => {
                let path = self.path(&format!("UPPER{number}"));
                fs::create_dir_all(self.v2.join(&path).join("_layers")).unwrap();
                Odd("bad-repository-name", path, "set-aside")
            }
            12 => {
                let path = self.path(&format!("_manifests/tags/-bad{number}"));
                self.write(&path.join("current/link"), digest.as_bytes());
                Odd("bad-tag-name", path, "set-aside")
            }
            13 => {
                let path = self.path(&format!("_layers/sha256/{number}abc"));
                self.write(&path.join("link"), digest.as_bytes());
                Odd("bad-digest-name", path, "set-aside")
            }
            14 => {
                let path = self.path(&format!("_manifests/tags/{}/.nfs{number}", self.tag));
                self.write(&path, b"left by a client");
                Odd("stray-file", path, "set-aside")
            }
            15 => {
                let upload = format!("01890a5d-ac96-774b-bcce-{number:012x}");
                let path = self.path("_uploads").join(upload);
                self.write(&path.join("hashstates/sha256/0"), b"sha\x03");
                Odd("unfinished-upload", path, "kept")
            }
            17 => {
                let path = self.path(&format!("loop{number}"));
                symlink("..", self.v2.join(&path)).unwrap();
                Odd("symbolic-link", path, "set-aside")
            }
            18 => {
                let name = [format!("caf{number}").as_bytes(), b"\xe9"].concat();
                let path = self.path("").join(OsStr::from_bytes(&name));
                fs::create_dir(self.v2.join(&path)).unwrap();
                Odd("name-not-utf8", path, "set-aside")
            }
            19 => {
                let (digest, link) = self.layer();
                let uuid = format!("01890a5d-ac96-774b-bcce-{number:012x}");
                let path = link.with_file_name(format!("link.{uuid}.tmp"));
                self.write(&path, digest.to_string().as_bytes());
                Odd("temporary-file", path, "passed-over")
            }
            20 => {
                let path = self.path(&format!("_layers/sha256/pipe{number}"));
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                let pipe = rustix::fs::FileType::Fifo;
                let (at, full) = (rustix::fs::CWD, self.v2.join(&path));
                rustix::fs::mknodat(at, full, pipe, mode, 0).unwrap();
                Odd("special-file", path, "set-aside")
            }
            21 => {
                let (_, link) = self.layer();
                fs::remove_file(self.v2.join(&link)).unwrap();
                self.write(&link.join("inside"), b"a directory where a link belongs");
                Odd("wrong-kind", link, "set-aside")
            }
            _ => {
                let upload = format!("01890a5d-ac96-774b-bcce-{number:012x}");
                let path = self.path("_uploads").join(upload);
                self.write(&path.join("data"), b"");
                self.write(&path.join("startedat"), &[b'x'; 3_000]);
                Odd("oversized-note", path.join("startedat"), "set-aside")
            }
        }
    }

    /// Bytes or a fact that are not there, or cannot be read.
    fn spoil_content(&self, kind: usize) -> Expected {
        let number = self.number;
        match kind {
            8 => {
                fs::remove_file(self.v2.join(blob(&self.digest)).join("data")).unwrap();
                Odd("revision-without-blob", self.revision(), "set-aside")
            }
            9 => {
                let data = Path::new(&blob(&self.digest)).join("data");
                self.write(&data, b"something else");
                Odd("wrong-blob", data, "set-aside")
            }
            10 => {
                let (digest, _) = self.layer();
                let data = Path::new(&blob(&digest)).join("data");
                self.write(&data, b"");
                Odd("empty-blob", data, "set-aside")
            }
            16 => {
                let (_, link) = self.layer();
                let file = self.v2.join(&link);
                fs::set_permissions(file, fs::Permissions::from_mode(0o0)).unwrap();
                Odd("unreadable", link, "mended")
            }
            23 => {
                // A missing layer of a tagged image.
                let (digest, _) = self.layer();
                let config = put_blob(&self.v2, b"{}");
                put_link(&self.v2.join(self.path("_layers")), &config);
                let layers = [(digest, 300)];
                let note = format!("incomplete {number}");
                let image = put_blob(&self.v2, &manifest((&config, 2), &layers, &note));
                let revisions = self.v2.join(self.path("_manifests/revisions"));
                put_link(&revisions, &image);
                fs::remove_file(self.v2.join(blob(&digest)).join("data")).unwrap();
                Wrong("missing-reference", format!("{}@{image}", self.name))
            }
            _ => {
                fs::remove_file(self.v2.join(self.revision())).unwrap();
                Wrong("dangling-tag", format!("{}:{}", self.name, self.tag))
            }
        }
    }
}

/// Gives everything to an ordinary user.
fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for row in fs::read_dir(path).unwrap() {
            give_away(&row.unwrap().path());
        }
    }
}

/// Runs the collection of distribution 2.8 on a rootdirectory; whether it ran through.
fn collect(root: &Path, configuration: &Path) -> bool {
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n",
        root.display()
    );
    fs::write(configuration, text).unwrap();
    let output = Command::new("docker-registry")
        .args(["garbage-collect", "--dry-run"])
        .arg(configuration)
        .output();
    output.unwrap().status.success()
}

#[test]
fn a_thousand_faults_are_found_named_and_mended_or_set_aside() {
    let mut site = Site::with(&SHAPE);
    let v2 = site.v2();
    let kinds = 25;
    let expected: Vec<Expected> = (0..kinds * EACH)
        .map(|number| Image::of(&v2, number).spoil(number % kinds))
        .collect();
    assert!(expected.len() > 1_000);
    let configuration = site.top().join("registry.yml");
    assert!(
        !collect(&site.plain(), &configuration),
        "nothing is damaged"
    );
    give_away(&site.plain());
    chown(site.top(), Some(NOBODY), Some(NOBODY)).unwrap();
    let import = || {
        let mut command = regfs();
        command.arg("import").arg("--json").arg(site.plain());
        command.arg(site.store()).uid(NOBODY).gid(NOBODY);
        json(&command.output().unwrap())
    };
    let report = import();
    let odd: BTreeSet<_> = odd(&report).into_iter().collect();
    let (_, examination) = fsck(&site.store());
    let wrong: BTreeSet<(String, String)> = examination["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let word = |name: &str| one[name].as_str().unwrap().to_owned();
            (word("fault"), word("subject"))
        })
        .collect();
    let mut odd_expected = 0;
    for one in &expected {
        match one {
            Odd(finding, path, remedy) => {
                odd_expected += 1;
                let path = path.display().to_string();
                // Bytes that are not UTF-8 are written as escapes.
                let path = path.replace(char::REPLACEMENT_CHARACTER, "\\xe9");
                let row = ((*finding).to_owned(), path, (*remedy).to_owned());
                assert!(odd.contains(&row), "not found: {row:?}");
            }
            Wrong(fault, subject) => {
                let row = ((*fault).to_owned(), subject.clone());
                assert!(wrong.contains(&row), "not found: {row:?}");
            }
        }
    }
    // The revision of a manifest whose bytes were wrong is set aside with them.
    let all = odd_expected + EACH;
    assert_eq!(odd.len(), all, "something else was found");
    assert!(findings(&examination, "damage").is_empty());
    // Files that were set aside can be inspected.
    let quarantine = site.store().join("quarantine");
    let Some(Odd(_, path, _)) = expected
        .iter()
        .find(|one| matches!(one, Odd("wrong-blob", ..)))
    else {
        panic!("no wrong blob");
    };
    let kept = fs::read(quarantine.join("tree").join(path)).unwrap();
    assert_eq!(kept, b"something else");
    let noted = fs::read_to_string(quarantine.join("report.json")).unwrap();
    assert!(noted.contains("tag-without-target"));
    // Again: the same findings, and nothing new.
    let again = import();
    assert_eq!(again["new"], 0);
    assert!(again["odd"] == report["odd"], "something else is odd now");
    // Every remaining link is valid, and the registry's own collection succeeds.
    let mounted = site.mount();
    assert!(collect(&mounted, &configuration));
    for (path, content) in super::store::listing(&mounted.join("docker/registry/v2/repositories")) {
        if path.ends_with("/link") {
            let digest: Result<Digest, _> = String::from_utf8(content).unwrap().parse();
            assert!(digest.is_ok(), "{path}");
        }
    }
}

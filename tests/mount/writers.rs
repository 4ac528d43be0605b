//! Real programs that write files (cp, editors, rsync and others), writing manifests and layers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::drops::manifest;
use super::mounted::{Mounted, hex};
use super::tool::tool;

/// Writers of a new file: a script that writes `$FROM` to `$TO`.
const WRITERS: [(&str, &str); 17] = [
    ("cp", r#"cp "$FROM" "$TO""#),
    ("cp -a", r#"cp -a "$FROM" "$TO""#),
    ("cp --no-preserve", r#"cp --no-preserve=all "$FROM" "$TO""#),
    (
        "cp --reflink",
        r#"cp --reflink=auto --sparse=always "$FROM" "$TO""#,
    ),
    ("install", r#"install -m 600 "$FROM" "$TO""#),
    ("tee", r#"tee "$TO" < "$FROM" > /dev/null"#),
    ("tee -a", r#"tee -a "$TO" < "$FROM" > /dev/null"#),
    (
        "dd, small blocks",
        r#"dd if="$FROM" of="$TO" bs=7 status=none"#,
    ),
    (
        "dd, fsync",
        r#"dd if="$FROM" of="$TO" bs=100 conv=fsync status=none"#,
    ),
    ("rsync", r#"rsync -a "$FROM" "$TO""#),
    ("rsync --inplace", r#"rsync --inplace "$FROM" "$TO""#),
    (
        "mv",
        r#"cp "$FROM" "$FROM.moved" && mv "$FROM.moved" "$TO""#,
    ),
    ("redirection", r#"cat "$FROM" > "$TO""#),
    (
        "redirection of a builtin",
        r#"printf %s "$(cat "$FROM")" > "$TO""#,
    ),
    (
        "python",
        r#"python3 -c 'import os; open(os.environ["TO"], "wb").write(open(os.environ["FROM"], "rb").read())'"#,
    ),
    (
        "vim",
        r#"vim -N -u NONE -i NONE -es -c "read $FROM" -c 'set noeol nofixeol' -c wq "$TO""#,
    ),
    ("sed", r#"sed -n 'w '"$TO" "$FROM""#),
];

fn run(script: &str, from: &Path, to: &Path) {
    let mut shell = Command::new("bash");
    shell.args(["-euc", script]).env("FROM", from).env("TO", to);
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

fn current(mounted: &Mounted, tag: &str) -> String {
    let link = mounted.repository(&format!("_manifests/tags/{tag}/current/link"));
    fs::read_to_string(link).unwrap()
}

/// What was refused: nothing, if writers are told nothing false.
fn rejected(mounted: &Mounted) -> String {
    fs::read_to_string(mounted.top().join(".regfs/rejected")).unwrap()
}

/// Checks that a tag is at a document, whatever wrote it, and that nothing else is left.
fn is_at(mounted: &Mounted, writer: &str, tag: &str, document: &str) {
    let expected = format!("sha256:{}", hex(document.as_bytes()));
    assert_eq!(current(mounted, tag), expected, "{writer}");
    let names = |path: &str| {
        let rows = fs::read_dir(mounted.repository(path)).unwrap();
        let mut names: Vec<_> = rows.map(|row| row.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let path = format!("_manifests/tags/{tag}");
    assert_eq!(names(&path), ["current", "index"], "{writer}");
    assert_eq!(names(&format!("{path}/current")), ["link"], "{writer}");
    assert_eq!(names("_manifests"), ["revisions", "tags"], "{writer}");
}

/// A mount with stock, a place to work, and a file with a document in it.
fn prepared() -> (Mounted, tempfile::TempDir, PathBuf) {
    let mounted = Mounted::new();
    mounted.stock();
    let work = tempfile::tempdir().unwrap();
    let from = work.path().join("m.json");
    (mounted, work, from)
}

/// Any program may write manifests, whether it writes in place, by a temporary name or piece by
/// piece.
#[test]
fn every_writer_makes_a_tag_moves_it_and_rewrites_its_link() {
    let (mounted, _work, from) = prepared();
    for (number, (writer, script)) in WRITERS.iter().enumerate() {
        let tag = format!("t{number}");
        let path = mounted.repository(&format!("_manifests/tags/{tag}"));
        for (step, to) in [
            ("new", path.clone()),
            ("moved", path.join("manifest.json")),
            ("through the link", path.join("current/link")),
        ] {
            // A program that appends to a link starts from its content, a digest.
            if ["tee -a", "vim"].contains(writer) && step == "through the link" {
                continue;
            }
            let document = manifest(&format!("{writer}, {step}"));
            fs::write(&from, &document).unwrap();
            run(script, &from, &to);
            is_at(&mounted, writer, &tag, &document);
            // The writer still sees the name for a while; all others do not.
            assert!(to == path || step == "through the link" || !to.exists());
        }
    }
    assert_eq!(rejected(&mounted), "");
}

#[test]
fn every_writer_stores_a_layer() {
    let (mounted, _work, from) = prepared();
    for (writer, script) in WRITERS {
        if writer == "vim" {
            // The editor appends a newline, which would change a layer.
            continue;
        }
        let layer = format!("the layer of {writer}");
        fs::write(&from, &layer).unwrap();
        run(script, &from, &mounted.repository("_layers/layer.tar"));
        let link = format!("_layers/sha256/{}/link", hex(layer.as_bytes()));
        let target = fs::read_to_string(mounted.repository(&link));
        assert!(
            target.is_ok_and(|target| target.contains("sha256:")),
            "{writer}"
        );
        let left = fs::read_dir(mounted.repository("_layers")).unwrap();
        assert_eq!(left.count(), 1, "{writer}");
    }
    assert_eq!(rejected(&mounted), "");
}

#[test]
fn processes_that_share_a_file_store_one_layer() {
    let (mounted, _work, from) = prepared();
    let count = || {
        let rows = fs::read_dir(mounted.repository("_layers/sha256")).unwrap();
        rows.count()
    };
    let before = count();
    let script = r#"(/bin/echo -n one; /bin/echo -n two; /bin/echo -n three) > "$TO""#;
    run(script, &from, &mounted.repository("_layers/shared.tar"));
    let link = format!("_layers/sha256/{}/link", hex(b"onetwothree"));
    assert!(mounted.repository(&link).exists());
    assert_eq!(count(), before + 1, "what was written half-way is a layer");
}

/// An editor may change a tag in place.
#[test]
fn an_editor_changes_a_tag_in_place() {
    let (mounted, _work, from) = prepared();
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, manifest("first")).unwrap();
    let document = manifest("by vim") + "\n";
    fs::write(&from, &document).unwrap();
    let script = r#"vim -N -u NONE -i NONE -es -c '%delete' -c "read $FROM" -c wq "$TO""#;
    run(script, &from, &tag.join("current/link"));
    is_at(&mounted, "vim", "v1", &document);
    let document = manifest("by nano") + "\n";
    fs::write(&from, &document).unwrap();
    nano(&from, &tag.join("current/link"));
    is_at(&mounted, "nano", "v1", &document);
    nano(&from, &mounted.repository("_manifests/tags/v2"));
    is_at(&mounted, "nano", "v2", &document);
    assert_eq!(rejected(&mounted), "");
}

/// Types into nano, which wants a terminal: the old content cut, a file read in, saved.
const NANO: &str = r"
import os, pty, select, sys, time
source, file = sys.argv[1:]
pid, tty = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    os.execvp('nano', ['nano', '--ignorercfiles', '--nonewlines', file])
def until(text):
    seen, end = '', time.monotonic() + 20
    while text not in seen:
        assert time.monotonic() < end and select.select([tty], [], [], 20)[0], (text, seen)
        seen += os.read(tty, 65536).decode(errors='replace')
for text, keys in [('Help', '\x0b\x12'), ('insert', source + '\r'), ('Read 1 line', '\x13'), ('Wrote 1 line', '\x18')]:
    until(text)
    os.write(tty, keys.encode())
try:
    while os.read(tty, 65536): pass
except OSError: pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

fn nano(from: &Path, to: &Path) {
    let mut python = Command::new("python3");
    let output = python
        .args(["-c", NANO])
        .arg(from)
        .arg(to)
        .output()
        .unwrap();
    assert!(output.status.success(), "nano: {output:?}");
}

/// Go's own ways of writing a file: at once, and in pieces with a rename at the end.
const GO: &str = r#"package main

import (
	"io"
	"os"
	"path/filepath"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	content, err := os.ReadFile(os.Args[1])
	must(err)
	tags := os.Args[2]
	must(os.WriteFile(filepath.Join(tags, "whole"), content, 0o644))
	file, err := os.Create(filepath.Join(tags, "copied"))
	must(err)
	source, err := os.Open(os.Args[1])
	must(err)
	_, err = io.Copy(file, source)
	must(err)
	must(file.Sync())
	must(file.Close())
	temporary, err := os.CreateTemp(tags, ".manifest-*")
	must(err)
	for _, one := range content {
		_, err = temporary.Write([]byte{one})
		must(err)
	}
	must(temporary.Close())
	must(os.Rename(temporary.Name(), filepath.Join(tags, "renamed")))
	if os.WriteFile(filepath.Join(tags, "wrong"), []byte("{}"), 0o644) == nil {
		panic("a wrong manifest was taken without a word")
	}
}
"#;

#[test]
fn go_programs_write_manifests_and_are_told_of_wrong_ones() {
    let (mounted, work, from) = prepared();
    let document = manifest("by a Go program");
    fs::write(&from, &document).unwrap();
    let source = work.path().join("main.go");
    fs::write(&source, GO).unwrap();
    let program = work.path().join("write");
    let mut go = Command::new(tool("go"));
    go.arg("build").arg("-o").arg(&program).arg(&source);
    let output = go.env("GOFLAGS", "-buildvcs=false").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let tags = mounted.repository("_manifests/tags");
    let mut write = Command::new(&program);
    let output = write.arg(&from).arg(&tags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for tag in ["whole", "copied", "renamed"] {
        is_at(&mounted, "go", tag, &document);
    }
    assert!(!tags.join("wrong").exists());
    let refused = rejected(&mounted);
    assert_eq!(refused.lines().count(), 1, "{refused}");
    assert!(
        refused.contains("tags/wrong") && refused.contains("unknown-kind"),
        "{refused}"
    );
}

/// Of several writers of one tag each is told the truth: what was acknowledged is in the tag's
/// history.
#[test]
fn two_writers_at_once_on_one_tag_are_both_told_the_truth() {
    let (mounted, work, _) = prepared();
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, manifest("first")).unwrap();
    let link = tag.join("current/link");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (work, link, mounted) = (&work, &link, &mounted);
            scope.spawn(move || {
                let from = work.path().join(format!("{writer}.json"));
                for round in 0..15 {
                    let document = manifest(&format!("{writer}, {round}"));
                    fs::write(&from, &document).unwrap();
                    run(r#"cp "$FROM" "$TO""#, &from, link);
                    // The program was told that its manifest is stored: the tag's history has it.
                    let hex = hex(document.as_bytes());
                    let index = format!("_manifests/tags/v1/index/sha256/{hex}/link");
                    let kept = fs::read_to_string(mounted.repository(&index)).unwrap();
                    assert_eq!(kept, format!("sha256:{hex}"));
                    // The tag names one of them.
                    let now = fs::read_to_string(link).unwrap();
                    let revision = now.replace(':', "/");
                    let path = format!("_manifests/revisions/{revision}/link");
                    assert!(mounted.repository(&path).exists(), "{now}");
                }
            });
        }
    });
    assert_eq!(rejected(&mounted), "");
}

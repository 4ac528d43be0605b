//! The kernel's cache is never stale: right after every change it shows the new state.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use super::drops::manifest;
use super::mounted::{Mounted, hex};

#[test]
fn after_a_drop_every_path_is_right_at_once() {
    let mounted = Mounted::new();
    mounted.stock();
    let tag = mounted.repository("_manifests/tags/v1");
    let link = tag.join("current/link");
    for round in 0..200 {
        let document = manifest(&round.to_string());
        let hex = hex(document.as_bytes());
        let revision = mounted.repository(&format!("_manifests/revisions/sha256/{hex}/link"));
        let blob = mounted.v2(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        // The kernel sees that the name is missing before the drop.
        assert!(!revision.exists() && !blob.exists());
        let before = fs::read_to_string(&link).unwrap_or_default();
        let path = if round == 0 {
            tag.clone()
        } else {
            tag.join("m.json")
        };
        fs::write(&path, &document).unwrap();
        assert!(tag.is_dir());
        let after = fs::read_to_string(&link).unwrap();
        assert_ne!(after, before);
        assert_eq!(after, format!("sha256:{hex}"));
        assert_eq!(fs::metadata(&link).unwrap().len(), 71);
        assert!(revision.exists());
        assert_eq!(fs::metadata(&blob).unwrap().len(), document.len() as u64);
        let index = fs::read_dir(tag.join("index/sha256")).unwrap();
        assert_eq!(index.count(), round + 1);
        let listed = fs::read_dir(mounted.repository("_manifests/revisions/sha256")).unwrap();
        assert_eq!(listed.count(), round + 1);
    }
    fs::write(&link, manifest("through the link")).unwrap();
    let hex = hex(manifest("through the link").as_bytes());
    assert_eq!(fs::read_to_string(&link).unwrap(), format!("sha256:{hex}"));
    assert_eq!(fs::metadata(&link).unwrap().len(), 71);
}

#[test]
fn programs_that_share_a_dropped_file_all_find_the_kernel_knowing_of_it() {
    let mounted = Mounted::new();
    mounted.stock();
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, manifest("first")).unwrap();
    let link = tag.join("current/link");
    for round in 0..200 {
        let document = manifest(&round.to_string());
        let digest = format!("sha256:{}", hex(document.as_bytes()));
        assert_ne!(fs::read_to_string(&link).unwrap(), digest);
        let mut file = fs::File::create(tag.join("m.json")).unwrap();
        file.write_all(document.as_bytes()).unwrap();
        let copies = [file.try_clone().unwrap(), file];
        let together = Barrier::new(copies.len());
        std::thread::scope(|scope| {
            for copy in copies {
                scope.spawn(|| {
                    together.wait();
                    drop(copy);
                    assert_eq!(fs::read_to_string(&link).unwrap(), digest);
                });
            }
        });
    }
}

#[test]
fn who_reads_a_tag_that_somebody_writes_through_sees_digests_only() {
    let mounted = Mounted::new();
    mounted.stock();
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, manifest("first")).unwrap();
    let link = tag.join("current/link");
    let digest = |document: &str| format!("sha256:{}", hex(document.as_bytes()));
    let mut before = digest(&manifest("first"));
    for round in 0..50 {
        // Open, and cached by the kernel, while another process writes a longer text to the file.
        let mut reader = fs::File::open(&link).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), before);
        let mut writer = fs::File::options()
            .write(true)
            .truncate(true)
            .open(&link)
            .unwrap();
        let document = manifest(&round.to_string());
        let (begun, rest) = document.split_at(100);
        writer.write_all(begun.as_bytes()).unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, before);
        assert_eq!(fs::read_to_string(&link).unwrap(), before);
        writer.write_all(rest.as_bytes()).unwrap();
        drop(writer);
        let after = digest(&document);
        assert_eq!(fs::read_to_string(&link).unwrap(), after);
        assert_eq!(fs::metadata(&link).unwrap().len(), 71);
        before = after;
    }
}

#[test]
fn who_opened_a_tag_before_it_moved_leaves_nothing_old_to_others() {
    let mounted = Mounted::new();
    mounted.stock();
    let tag = mounted.repository("_manifests/tags/v1");
    fs::write(&tag, manifest("first")).unwrap();
    let link = tag.join("current/link");
    for round in 0..20 {
        let mut early = fs::File::open(&link).unwrap();
        let document = manifest(&round.to_string());
        fs::write(tag.join("m.json"), &document).unwrap();
        let mut read = String::new();
        early.read_to_string(&mut read).unwrap();
        let now = format!("sha256:{}", hex(document.as_bytes()));
        assert_eq!(read, now);
        assert_eq!(fs::read_to_string(&link).unwrap(), now);
    }
}

#[test]
fn a_directory_that_a_revision_kept_there_is_gone_with_it() {
    let mut mounted = Mounted::new();
    let repository = |mounted: &Mounted, round| mounted.v2(&format!("repositories/{round}"));
    let content = |round: u32| hex(manifest(&round.to_string()).as_bytes());
    let revision = |repository: &Path, round| {
        let revisions = repository.join("_manifests/revisions/sha256");
        revisions.join(content(round))
    };
    for round in 0..4 {
        let repository = repository(&mounted, round);
        let revision = revision(&repository, round);
        fs::create_dir_all(&revision).unwrap();
        fs::write(revision.join("link"), format!("sha256:{}", content(round))).unwrap();
        // The directory of layers was never created, and a copy may be about to create it.
        assert!(!repository.join("_layers").exists());
    }
    mounted.unmount();
    mounted.mount(&[]);
    for round in 0..4 {
        let repository = repository(&mounted, round);
        let revision = revision(&repository, round);
        let layers = repository.join("_layers");
        let names = || fs::read_dir(&repository).unwrap().count();
        assert_eq!(names(), 2);
        assert!(layers.is_dir());
        if round % 2 == 0 {
            fs::remove_dir_all(&revision).unwrap();
        } else {
            let aside = repository.join("_manifests/tags/v1/index/sha256");
            fs::create_dir_all(&aside).unwrap();
            fs::remove_file(revision.join("link")).unwrap();
            fs::rename(&revision, aside.join(content(round))).unwrap();
        }
        assert_eq!(names(), 1);
        assert!(!layers.exists());
        fs::create_dir_all(layers.join("sha256")).unwrap();
        assert_eq!(names(), 2);
    }
}

#[test]
fn a_link_that_nobody_saw_while_it_was_written_is_there_once_it_is() {
    let mounted = Mounted::new();
    mounted.stock();
    for round in 0..50 {
        let name = hex(format!("layer {round}").as_bytes());
        let link = mounted.repository(&format!("_layers/sha256/{name}/link"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        assert!(!link.exists());
        let mut file = fs::File::create(&link).unwrap();
        write!(file, "sha256:{name}").unwrap();
        assert!(!link.exists());
        drop(file);
        assert!(link.exists());
        fs::remove_file(&link).unwrap();
        assert!(!link.exists());
        // Written in place, and removed meanwhile.
        fs::write(&link, format!("sha256:{name}")).unwrap();
        let mut file = fs::File::options().write(true).open(&link).unwrap();
        write!(file, "sha256:{name}").unwrap();
        fs::remove_file(&link).unwrap();
        assert!(!link.exists());
        drop(file);
        let listed = fs::read_dir(link.parent().unwrap()).unwrap().count();
        assert_eq!(link.exists(), listed == 1, "{listed}");
    }
}

#[test]
fn who_looks_for_a_revision_while_it_is_dropped_finds_it_from_then_on() {
    let mounted = Mounted::new();
    mounted.stock();
    let revisions = mounted.repository("_manifests/revisions/sha256");
    let drop_at = mounted.repository("_manifests/m.json");
    fs::write(&drop_at, manifest("first")).unwrap();
    let mut early = 0;
    for round in 0..300 {
        let document = manifest(&round.to_string());
        let revision = revisions.join(hex(document.as_bytes()));
        let (done, start) = (AtomicBool::new(false), Barrier::new(3));
        std::thread::scope(|scope| {
            let looking = || {
                start.wait();
                let mut missed = 0;
                while !done.load(Ordering::SeqCst) {
                    missed += u32::from(!revision.exists());
                }
                assert!(revision.join("link").exists());
                missed
            };
            let both = [scope.spawn(looking), scope.spawn(looking)];
            start.wait();
            fs::write(&drop_at, &document).unwrap();
            assert!(revision.exists());
            done.store(true, Ordering::SeqCst);
            early += both.map(|one| one.join().unwrap()).into_iter().sum::<u32>();
        });
    }
    assert!(early > 0, "nobody looked early");
}

#[test]
fn the_first_part_of_a_layer_is_no_layer_once_the_whole_is() {
    let mounted = Mounted::new();
    mounted.stock();
    let link = |bytes: &[u8]| {
        let directory = mounted.repository("_layers/sha256").join(hex(bytes));
        directory.join("link")
    };
    let mut file = fs::File::create(mounted.repository("_layers/layer.tar")).unwrap();
    file.write_all(b"part").unwrap();
    // Another process that has it open closes it.
    drop(file.try_clone().unwrap());
    assert!(link(b"part").exists());
    file.write_all(b" and the rest").unwrap();
    drop(file);
    assert!(link(b"part and the rest").exists());
    assert!(!link(b"part").exists());
    assert!(!link(b"part").parent().unwrap().exists());
}

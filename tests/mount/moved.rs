//! Stores whose directory is renamed or replaced while they are mounted.

use std::fs;

use super::mounted::{Mounted, hex, regfs};
use super::store::must_be_clean;

/// Bytes that are kept as a file, and not in the index.
fn layer(byte: u8) -> Vec<u8> {
    vec![byte; 100_000]
}

fn push(mounted: &Mounted, byte: u8) {
    fs::create_dir_all(mounted.repository("_layers")).unwrap();
    let name = mounted.repository(&format!("_layers/{byte}.tar"));
    fs::write(name, layer(byte)).unwrap();
    let repository = fs::File::open(mounted.repository("")).unwrap();
    repository.sync_all().unwrap();
}

fn pulled(mounted: &Mounted, byte: u8) -> Vec<u8> {
    let hex = hex(&layer(byte));
    let path = format!("blobs/sha256/{}/{hex}/data", &hex[..2]);
    fs::read(mounted.v2(&path)).unwrap()
}

#[test]
fn a_store_that_is_renamed_and_replaced_goes_on_as_the_same() {
    let mut first = Mounted::new();
    push(&first, 1);
    let aside = first.store().with_file_name("aside");
    fs::rename(first.store(), &aside).unwrap();
    // It also continues while nothing is at the path.
    push(&first, 2);

    let second = Mounted::new();
    push(&second, 9);
    // Another store, in use, at the path of the first.
    std::os::unix::fs::symlink(second.store(), first.store()).unwrap();
    push(&first, 3);
    first.unmount();

    // The second still answers: the first did not remove its socket.
    let listed = regfs().arg("ls").arg(second.store()).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert!(second.store().join("socket").exists());
    assert!(!aside.join("socket").exists());
    assert_eq!(pulled(&second, 9), layer(9));

    fs::remove_file(first.store()).unwrap();
    fs::rename(&aside, first.store()).unwrap();
    must_be_clean(&first.store());
    first.mount(&[]);
    for byte in [1, 2, 3] {
        assert_eq!(pulled(&first, byte), layer(byte));
    }
}

#[test]
fn a_socket_that_was_taken_away_neither_keeps_the_mount_nor_is_another_ones_removed() {
    let mut mounted = Mounted::new();
    mounted.stock();
    let socket = mounted.store().join("socket");
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "another one's").unwrap();
    mounted.unmount();
    assert_eq!(fs::read_to_string(&socket).unwrap(), "another one's");
    fs::remove_file(&socket).unwrap();
}

#[test]
fn a_store_named_by_a_symbolic_link_is_the_one_that_it_leads_to() {
    let work = tempfile::tempdir().unwrap();
    let mounted = Mounted::new();
    mounted.stock();
    let link = work.path().join("link");
    std::os::unix::fs::symlink(mounted.store(), &link).unwrap();
    let output = regfs().arg("ls").arg(&link).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("team/app"), "{output:?}");
}

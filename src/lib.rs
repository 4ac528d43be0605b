//! regfs: a filesystem that is a container registry's storage.
//!
//! A registry's storage is a handful of facts: which repositories, layers, manifests, tags and
//! uploads exist, and which digest each names. The [index](index) keeps the facts, [blobs]
//! keeps bytes by digest, and the [registry] is the only code that changes both. The directory
//! tree that a registry process expects is stored nowhere: the [layout] gives every fact
//! exactly one path, the [tree] shows facts as files, and [fuse] hands the tree to the kernel.
//!
//! # Structure
//!
//! A module may use the modules left of its arrow, and no others (`tests/architecture` checks it):
//!
//! ```text
//!                                  <- dir          directories of the host, by descriptor
//!                                  <- printable    names that others chose, as safe text
//!                                  <- digest       the names of content
//! digest                           <- name         repositories, tags, uploads, sets of links
//! digest, name                     <- layout       every path as a type, in both directions
//! digest, name                     <- manifest     bytes -> kind and references, or a refusal
//! dir, digest, name                <- index        typed facts; index::Store is the seam
//! dir, digest                      <- blobs        bytes by digest; blobs::Blobs is the seam
//! dir, printable, digest, name, layout, manifest, index, blobs
//!                                  <- registry     what changes facts and bytes together
//! dir, digest, name, layout, manifest, index, blobs, registry
//!                                  <- maintenance  fsck, scrub, backup, trash, inventory
//! dir, printable, digest, name, layout, manifest, registry
//!                                  <- tree         what a file operation means
//! manifest, index, blobs, registry, tree
//!                                  <- fuse         decode, call, reply; errno for all errors
//! dir, printable, digest, name, layout, registry, maintenance, tree
//!                                  <- adoption     plain trees, imported and exported
//! dir, printable, digest, name, manifest, registry, maintenance, tree, fuse, adoption
//!                                  <- commands     what each command does
//! printable, name, commands        <- cli          arguments in, exit code out
//! cli                              <- main
//! ```
//!
//! # Invariants
//!
//! 1. Bytes are durable before a fact names them; a fact is gone before its bytes are
//!    (`registry/blob.rs`; `tests/registry/faults.rs`). That they are found by their digest after
//!    a crash nobody waits for: the fact says by which number else (`registry/settling.rs`), and
//!    up to 64 KiB are kept as a fact until their file is durable too (`registry/kept.rs`).
//! 2. No manifest is linked by us whose bytes do not parse, whose digest differs, or whose
//!    references are missing (`registry/admission.rs`; `tests/mount/manifests.rs`), unless whoever
//!    mounts turns that off; what registries link is audited by the same rules.
//! 3. Every fact has exactly one path, and every path at most one fact (`layout.rs`).
//! 4. A stock registry cannot tell the mount from a plain disk, by answers or by the tree
//!    (`tests/distribution/differential.rs`), with one exception: a repository that holds a
//!    manifest always shows `_layers` and `_manifests`, without which distribution's own
//!    collection would destroy it.
//! 5. What is imported is exported byte for byte, and a stock registry runs on it
//!    (`tests/distribution/adoption.rs`, `tests/adoption/`).
//! 6. After any failed write, reopening finds everything acknowledged, nothing half-done, and
//!    fsck nothing wrong
//!    (`tests/registry/faults.rs`, `tests/registry/io.rs`, `tests/distribution/crash.rs`,
//!    `tests/distribution/powercut.rs`).
//! 7. Only `fuse` knows the kernel, only `index/redb.rs` and below knows redb, and only
//!    `blobs/local`, `index/journal/segment.rs`, `index/redb` and plain files make bytes
//!    durable.
//! 8. Nothing done through the mount makes it panic, hang, or show an invalid link
//!    (`tests/mount/fuzz.rs`). What is unsafe is in
//!    `fuse/transport/queue.rs`, `fuse/connection.rs` and `blobs/local/lease.rs` only.
//! 9. No user of the mount reaches a file of the host, or what a mode does not let them: no
//!    link is followed below the store (`dir.rs`, `tree/plain_files.rs`; `tests/mount/plain.rs`), and
//!    owner and mode are checked by the daemon as POSIX says (`fuse/access.rs`;
//!    `tests/mount/ownership.rs`, `tests/mount/walk.rs`).
//!
//! # When things become durable
//!
//! A link, tag or upload's note becomes a fact, as a whole, at the first fsync, close or rename
//! of its file; until then others see what was there before. fsync of any file or directory
//! returns when everything that the mount did before is durable, in order. What nobody fsyncs
//! is visible at once and durable about 100 ms later, in order.
//!
//! A fact is durable once the journal (`index/journal.rs`) has flushed it: one write and one
//! flush for all who wait. Blobs of up to 16 KiB are in the index, so that bytes and fact are
//! one. Larger ones are flushed and renamed before their fact is made; that the rename is durable
//! nobody waits for, since the fact says where the bytes are otherwise. The bytes of an upload
//! are durable when the registry fsyncs them, or when they are published: up to 64 KiB in the
//! journal's own flush, where they stay until many files have become durable together, off
//! everybody's way, and when the store is unmounted.
//! With `-o sync=data` or `lazy` fsync does not wait; what is lost in a power cut is then the
//! last moment, never something in the middle.
//!
//! # How requests come, and what the kernel keeps
//!
//! Requests come by /dev/fuse, and where the kernel offers it (Linux 6.14, `fuse.enable_uring`)
//! by `io_uring`: a ring and a thread for each processor, which answers at once what is a matter
//! of facts and gives to workers what may wait for a disk (`fuse/transport/`). What a request
//! says, calls and answers is the same for both (`fuse/request.rs`, `fuse/dispatch.rs`,
//! `fuse/reply.rs`).
//!
//! The kernel knows a file by a number that it is given once and that no other file gets. What
//! stat and listings show is another: a plain file's own, else one computed from the number of
//! the repository and the digest, tag or upload, so that it is the same after every mount
//! (`tree/inode_number.rs`; `tests/mount/numbers.rs`).
//!
//! Blobs, and uploads while they are written, are files that the kernel reads and writes by
//! itself where it can (Linux 6.9, privileges; `fuse/passthrough.rs`). We do not see those
//! writes: the hash follows the file behind the writer, and before it counts, a checksum tells
//! whether what was hashed is still what is there (`blobs/hasher.rs`). Who holds such a file
//! open while it is published keeps a copy: a blob never changes.
//!
//! The kernel keeps names, attributes, listings and links without limit of time. What comes or
//! goes in another way than by the kernel's own request (a dropped manifest and all it is linked
//! by, a link at its first fsync, what goes with the last fact) is told to the kernel before the
//! change is answered (`tests/mount/coherent.rs`). Not kept: our own files, and what does not
//! exist. To take back that something is not there, the kernel wants the lock of its directory,
//! which whoever waits for the answer may hold, or asks for every name again and lets go of all
//! that it keeps, down to what is mounted below (`FUSE_NOTIFY_INC_EPOCH`).
//!
//! # Coming, going, and looking after
//!
//! A registry's plain tree is looked through before anything is taken: for symbolic links that
//! lead to parts of it, and for blobs whose files others could write (`adoption/import/precheck.rs`),
//! which the caller decides about. Then several threads walk it, blobs first, and each file that
//! the layout has becomes a fact (`adoption/import.rs`): what the path or the tag's index says
//! mends a link that says nothing, what cannot be mended is set aside and named. Export visits
//! the facts of one [snapshot](registry::Snapshot) and writes each where the layout says. A moment
//! is a snapshot of the index; blobs that are removed while one is held are kept aside for it.
//! Backup, fsck and the listings of the command line go by moments too, so that the store is
//! never held up for them.
//!
//! fsck verifies the index by itself, table by table, with a few bytes of memory for each digest
//! (`index/verify.rs`), then facts against files and against each other (`maintenance/fsck.rs`);
//! what seemed wrong on a store in use is looked at once more as it is now. Works on a mounted
//! store go over a socket in it to the process that has it (`commands/control.rs`); afterwards
//! the kernel is told to look at everything anew.
//!
//! # When something fails
//!
//! A journal that lost something is an error at opening, told from one that a crash has cut off
//! by what the index knows of it (`index/journal/superblock.rs`); nothing is changed until the loss
//! is accepted.
//!
//! A flush that fails makes the mount read-only (`EROFS`) until it is mounted again: nobody can
//! know what the disk has kept. A full disk does not: new bytes are refused (`ENOSPC`) while a
//! reserve is left for facts, and taken again when there is space. If the index below the
//! journal cannot be written, changes go on in memory and journal as long as both have room.

pub mod adoption;
pub mod blobs;
pub mod cli;
pub mod commands;
pub mod digest;
pub mod dir;
pub mod fuse;
pub mod index;
pub mod layout;
pub mod maintenance;
pub mod manifest;
pub mod name;
pub mod printable;
pub mod registry;
pub mod tree;

#[cfg(test)]
use support::small_disk;

//! regfs is a FUSE filesystem that serves a container registry's storage directory from one
//! compact index. CNCF Distribution 2.8 to 3.1 runs on it unmodified.
//!
//! A registry's storage is a set of facts: which repositories, layers, manifests, tags and
//! uploads exist, and which digest each names. The [index] keeps the facts, [blobs]
//! keeps bytes by digest, and the [registry] is the only code that changes both. The directory
//! tree that a registry process expects is stored nowhere: the [layout] gives every fact
//! exactly one path, the [tree] shows facts as files, and [fuse] hands the tree to the kernel.
//!
//! The [manual] says the rest: what each path and each file operation means
//! ([`semantics`](manual::semantics)), how to run it ([`operations`](manual::operations)), what is
//! on the disk ([`formats`](manual::formats)), and why it is built like this
//! ([`design`](manual::design)).
//!
//! # Structure
//!
//! A module may use the modules left of its arrow, and no others (`tests/architecture` checks it):
//!
//! ```text
//!                                  <- manual       what the modules say together, as pages
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
//!    (`tests/registry/faults.rs`). Publication does not wait for the rename to become durable:
//!    until the next checkpoint the index also records the staging number, and up to 64 KiB are
//!    logged with the facts.
//! 2. No manifest is linked by us whose bytes do not parse, whose digest differs, or whose
//!    references are missing (`tests/mount/manifests.rs`), unless the user who mounts turns that
//!    off; manifests that registries link are audited by the same rules.
//! 3. Every fact has exactly one path, and every path at most one fact ([layout]).
//! 4. A stock registry cannot tell the mount from a plain disk, by answers or by the tree
//!    (`tests/distribution/differential.rs`), with one exception: a repository that holds a
//!    manifest always shows `_layers` and `_manifests`, without which distribution's own
//!    garbage collection would destroy it.
//! 5. An imported tree is exported byte for byte, and a stock registry runs on it
//!    (`tests/distribution/adoption.rs`, `tests/adoption/`).
//! 6. After any failed write, reopening finds everything acknowledged and nothing half-done, and
//!    fsck finds nothing wrong (`tests/registry/faults.rs`, `tests/registry/io.rs`,
//!    `tests/distribution/crash.rs`, `tests/distribution/powercut.rs`).
//! 7. Only [fuse] knows the kernel, only `index/redb.rs` and the files below it know redb, and
//!    only the files that `tests/architecture` names make bytes durable.
//! 8. Nothing done through the mount makes it panic, hang, or show an invalid link
//!    (`tests/mount/fuzz.rs`). Unsafe code stands only in the files that `tests/architecture`
//!    names.
//! 9. No user of the mount reaches a file of the host, or what a mode does not let them reach: no
//!    symbolic link is followed below the store (`tests/mount/plain.rs`), and the daemon checks
//!    owner and mode as POSIX says (`tests/mount/ownership.rs`, `tests/mount/walk.rs`).
//! 10. What cannot be known is an I/O error, never "not there": registries take `ENOENT` for
//!     absence, and their garbage collection removes what is absent (`tests/mount/damage.rs`).

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
pub mod manual;
pub mod name;
pub mod printable;
pub mod registry;
pub mod tree;

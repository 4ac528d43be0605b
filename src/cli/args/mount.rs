//! The arguments of `regfs mount` and `regfs check`.

use std::path::PathBuf;

use clap::Args;

use super::adoption::ROOT;

/// The mount options, for the help.
const MOUNT_OPTIONS: &str = "\
Mount options (-o), separated by commas; of contradicting options the last one applies:

 Access
  ro, rw                      Read-only or read-write [default: rw]
  allow_other                 Give other users access, as the mode bits say. Needed if the registry
                              runs as another user than the one who mounts
  uid=N, gid=N                Owner and group of all files that have not been given others
                              [default: the user who mounts]
  control_gid=N               A group that may read .regfs, besides the user who mounts
  existing                    Fail if there is no store yet, instead of creating one. For fstab and
                              units, where the store's disk may not be mounted

 Removal
  delete=permissive|guarded   guarded refuses (EPERM) to remove bytes that a manifest references
                              [default: permissive]
  trash=TIME                  How long removed blobs can be restored by regfs undelete, as in 30m,
                              12h or 7d; 0 for no trash [default: 7d]

 Admission of manifests that people write
  references=require|skip     require: the repository must hold what the manifest references,
                              in the size that it states [default: require]
  schema1=refuse|accept       Docker schema 1 manifests; signed ones need valid signatures
                              [default: refuse]
  max_manifest_size=BYTES     The largest manifest, as in 512K or 4M [default and maximum: 4M]

 Manifests that registries write
  audit=off|warn|enforce      What happens to one that would be refused. off: not validated; warn:
                              linked, with a warning in the log; enforce: refused, except that
                              missing references may still be pushed [default: warn]

 Durability (what fsync does not wait for is durable about 100 ms later, in order)
  sync=always|data|lazy       What fsync waits for. always: all earlier changes; data: the bytes of
                              uploads and blobs, not links and tags; lazy: nothing [default: always]
  uploads=durable|fast        fast: fsync of upload metadata (start time, hash states) waits for
                              nothing [default: durable]
  recover=refuse|accept       accept: mount a store whose journal is damaged, without the
                              transactions that it no longer holds [default: refuse]

 Kernel
  uring=auto|off              FUSE over io_uring, if the kernel offers it [default: auto]
  passthrough=auto|off        The kernel reads blobs and writes uploads directly, if it can
                              [default: auto]

 As on every filesystem: exec, noexec, suid, nosuid, dev, nodev (suid and dev for root only), sync,
 async, dirsync. Access times are not stored: atime, relatime and the like change nothing.";

#[derive(Debug, Args)]
#[command(after_long_help = MOUNT_OPTIONS)]
pub(in crate::cli) struct MountArgs {
    /// The store directory; a missing or empty one becomes a new store
    pub(in crate::cli) store: PathBuf,
    /// An existing directory: the rootdirectory of the registry
    pub(in crate::cli) mountpoint: PathBuf,
    /// Mount options, separated by commas; --help lists them
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(in crate::cli) options: Vec<String>,
    /// Path of the directory that holds v2, relative to the mountpoint; may be empty
    #[arg(long, value_name = "PATH", default_value = ROOT)]
    pub(in crate::cli) root: String,
    /// Serve the mount in this process instead of in the background
    #[arg(short, long, overrides_with = "foreground")]
    pub(in crate::cli) foreground: bool,
    /// Append the log to this file [default: STORE/regfs.log; in the foreground stderr]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) log: Option<PathBuf>,
    /// Append the log to the one in the store; `regfs mount` starts its daemon with this
    #[arg(long, hide = true, conflicts_with = "log")]
    pub(in crate::cli) log_in_store: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// The file with the manifest; - for the standard input
    pub(in crate::cli) file: PathBuf,
    /// A repository that must hold what the manifest references
    #[arg(long, requires = "store")]
    pub(in crate::cli) repository: Option<crate::name::RepositoryName>,
    /// The store directory with that repository, mounted or not
    #[arg(long, requires = "repository")]
    pub(in crate::cli) store: Option<PathBuf>,
    #[arg(
        short = 'o',
        value_name = "OPTIONS",
        help = "Mount options that apply: references=, schema1=, max_manifest_size=",
        long_help = "Mount options that apply: references=, schema1=, max_manifest_size= (see \
                     regfs mount --help). A mounted store applies its own instead"
    )]
    pub(in crate::cli) options: Vec<String>,
    /// Print the verdict as one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

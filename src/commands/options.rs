//! Mount options: the lists that follow `-o`, in the syntax of mount(8).

use std::time::Duration;

use super::{CommandError, IfMissing};
use crate::fuse::{Generic, Offers};
use crate::registry::{
    Audit, Policy, Recover, ReferenceCheck, Removal, Schema1, Sync, UploadDurability,
};

/// Options about access times. They are accepted and ignored: regfs stores no access times.
const ATIME_OPTIONS: [&str; 8] = [
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// The options of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `ro`: the mount is read-only.
    pub read_only: bool,
    /// `allow_other`: users other than the one who mounts have access, as the mode bits say.
    pub allow_other: bool,
    /// `uid=`: the owner of every file without one of its own; the user who mounts if `None`.
    pub uid: Option<u32>,
    /// `gid=`: the group of every file without one of its own; that of the user who mounts if
    /// `None`.
    pub gid: Option<u32>,
    /// Removal: `delete=guarded|permissive`, `trash=TIME`. Admission: `references=require|skip`,
    /// `schema1=refuse|accept`, `audit=off|warn|enforce`, `max_manifest_size=BYTES`. Durability:
    /// `sync=always|data|lazy`, `uploads=durable|fast`.
    pub policy: Policy,
    /// `recover=refuse|accept`: accept the loss of transactions that a damaged journal no longer
    /// holds.
    pub recover: Recover,
    /// `uring=auto|off`: take requests over `io_uring` if the kernel offers it;
    /// `passthrough=auto|off`: let the kernel read blobs and write uploads directly if it can.
    pub offers: Offers,
    /// The options of every filesystem: `exec`, `noexec`, `suid`, `nosuid`, `dev`, `nodev`,
    /// `sync`, `async`, `dirsync`.
    pub generic: Generic,
    /// `control_gid=`: a group that may read `.regfs`, besides the user who mounts.
    pub control_gid: Option<u32>,
    /// `existing`: fail if there is no store yet.
    pub if_missing: IfMissing,
}

impl MountOptions {
    /// Parses lists of options separated by commas; of contradicting options the last one applies.
    ///
    /// # Errors
    /// [`CommandError::Usage`] for an unknown option or an invalid value.
    pub fn parse(lists: &[String]) -> Result<Self, CommandError> {
        let mut options = Self::default();
        for option in lists
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|one| !one.is_empty())
        {
            options.add(option)?;
        }
        Ok(options)
    }

    /// Applies one option.
    fn add(&mut self, option: &str) -> Result<(), CommandError> {
        if self.add_policy(option)? {
            return Ok(());
        }
        let number = |text: &str| {
            let expected = || CommandError::Usage(format!("-o {option}: expected a number"));
            text.parse::<u32>().map(Some).map_err(|_| expected())
        };
        match option.split_once('=').unwrap_or((option, "")) {
            ("ro", "") => self.read_only = true,
            ("rw", "") => self.read_only = false,
            ("allow_other", "") => self.allow_other = true,
            ("uid", text) => self.uid = number(text)?,
            ("gid", text) => self.gid = number(text)?,
            ("control_gid", text) => self.control_gid = number(text)?,
            ("recover", "refuse") => self.recover = Recover::Refuse,
            ("recover", "accept") => self.recover = Recover::Accept,
            ("uring", "auto") => self.offers.rings = true,
            ("uring", "off") => self.offers.rings = false,
            ("passthrough", "auto") => self.offers.passthrough = true,
            ("passthrough", "off") => self.offers.passthrough = false,
            ("existing", "") => self.if_missing = IfMissing::Fail,
            (name, "") if ATIME_OPTIONS.contains(&name) || self.add_generic(name)? => {}
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    /// Applies an option of the registry's policy. Returns `false` for another option.
    fn add_policy(&mut self, option: &str) -> Result<bool, CommandError> {
        let policy = &mut self.policy;
        match option.split_once('=').unwrap_or((option, "")) {
            ("delete", "guarded") => policy.removal = Removal::Guarded,
            ("delete", "permissive") => policy.removal = Removal::Permissive,
            ("trash", text) => policy.trash = trash(option, text)?,
            ("references", "require") => policy.references = ReferenceCheck::Require,
            ("references", "skip") => policy.references = ReferenceCheck::Skip,
            ("schema1", "refuse") => policy.schema1 = Schema1::Refuse,
            ("schema1", "accept") => policy.schema1 = Schema1::Accept,
            ("audit", "off") => policy.audit = Audit::Off,
            ("audit", "warn") => policy.audit = Audit::Warn,
            ("audit", "enforce") => policy.audit = Audit::Enforce,
            ("sync", "always") => policy.sync = Sync::Always,
            ("sync", "data") => policy.sync = Sync::Data,
            ("sync", "lazy") => policy.sync = Sync::Lazy,
            ("uploads", "durable") => policy.uploads = UploadDurability::Durable,
            ("uploads", "fast") => policy.uploads = UploadDurability::Fast,
            ("max_manifest_size", text) => policy.manifest_bytes_max = bytes(option, text)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Applies an option that every filesystem has. Returns `false` for another option.
    fn add_generic(&mut self, option: &str) -> Result<bool, CommandError> {
        let generic = &mut self.generic;
        match option {
            "exec" => generic.exec = true,
            "noexec" => generic.exec = false,
            "sync" => generic.sync = true,
            "async" => generic.sync = false,
            "dirsync" => generic.dirsync = true,
            "nosuid" => generic.suid = false,
            "nodev" => generic.dev = false,
            "suid" | "dev" if !rustix::process::geteuid().is_root() => {
                let text = format!("-o {option}: only root may use this option");
                return Err(CommandError::Usage(text));
            }
            "suid" => generic.suid = true,
            "dev" => generic.dev = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Returns the error for an option that does not exist, or not with that value.
fn unknown(option: &str) -> CommandError {
    CommandError::Usage(format!(
        "-o {option}: unknown option or value; known are ro, rw, allow_other, uid=N, gid=N, \
         control_gid=N, delete=guarded|permissive, trash=TIME, references=require|skip, \
         schema1=refuse|accept, audit=off|warn|enforce, max_manifest_size=BYTES, \
         sync=always|data|lazy, uploads=durable|fast, uring=auto|off, passthrough=auto|off, \
         recover=refuse|accept, existing, exec, noexec, suid, nosuid, dev, nodev, sync, async, \
         dirsync, {}",
        ATIME_OPTIONS.join(", ")
    ))
}

/// Parses how long the trash keeps blobs: a duration, or 0 for no trash.
fn trash(option: &str, text: &str) -> Result<Duration, CommandError> {
    let time = if text == "0" { "0s" } else { text };
    duration(time).map_err(|why| CommandError::Usage(format!("-o {option}: {why}, or 0")))
}

/// Parses a number of bytes, with an optional suffix K (1,024) or M (1,048,576).
fn bytes(option: &str, text: &str) -> Result<usize, CommandError> {
    let (number, unit) = match text.strip_suffix(['K', 'k']) {
        Some(number) => (number, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 1 << 20),
            None => (text, 1),
        },
    };
    let bytes = number
        .parse::<usize>()
        .ok()
        .and_then(|one| one.checked_mul(unit));
    let admitted = bytes.filter(|bytes| (1..=Policy::MANIFEST_BYTES_MOST).contains(bytes));
    admitted.ok_or_else(|| {
        let most = Policy::MANIFEST_BYTES_MOST;
        CommandError::Usage(format!(
            "-o {option}: expected a number of bytes from 1 to {most} (the most that registries \
             accept), as in 512K or 4M"
        ))
    })
}

/// Parses a duration such as `90s`, `30m`, `12h` or `7d`.
///
/// # Errors
/// A message that says what is expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .unwrap_or_default();
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let number = digits.parse::<u64>().ok().filter(|_| seconds > 0);
    let seconds = number.and_then(|number| number.checked_mul(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a number and s, m, h or d, as in 7d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lists: &[&str]) -> Result<MountOptions, String> {
        let lists: Vec<String> = lists.iter().map(|list| (*list).to_owned()).collect();
        MountOptions::parse(&lists).map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_of_contradicting_options_applies() {
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(parse(&["dev"]).is_ok(), is_root, "for root alone");
        let devices = if is_root { "dev,nodev" } else { "nodev" };
        let options = parse(&[
            &format!("ro,allow_other,uid=7,{devices},relatime"),
            "rw,gid=8,noexec,delete=guarded,trash=12h",
        ]);
        let expected = MountOptions {
            read_only: false,
            allow_other: true,
            uid: Some(7),
            gid: Some(8),
            policy: Policy {
                removal: Removal::Guarded,
                trash: Duration::from_hours(12),
                ..Policy::default()
            },
            generic: Generic {
                exec: false,
                ..Generic::default()
            },
            ..MountOptions::default()
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(parse(&[]), Ok(MountOptions::default()));
    }

    #[test]
    fn an_unknown_option_is_refused_and_the_known_ones_are_listed() {
        assert!(
            parse(&["uid=root"])
                .unwrap_err()
                .contains("expected a number")
        );
        assert!(
            parse(&["delete=all"])
                .unwrap_err()
                .contains("delete=guarded")
        );
        assert_eq!(parse(&["trash=0"]).unwrap().policy.trash, Duration::ZERO);
        for time in ["trash", "trash=", "trash=7", "trash=7w", "trash=-1d"] {
            let refused = parse(&[time]).unwrap_err();
            assert!(refused.contains("as in 7d, or 0"), "{refused}");
        }
        assert!(parse(&["cache"]).unwrap_err().contains("known are ro"));
        assert!(parse(&["ro=1"]).is_err());
        assert!(parse(&["max_manifest_size=5M"]).is_err());
        assert!(parse(&["max_manifest_size="]).is_err());
    }

    #[test]
    fn options_set_the_policy() {
        let options = parse(&[
            "references=skip,schema1=accept,audit=enforce,sync=data,uploads=fast,max_manifest_size=64K",
        ]);
        let expected = Policy {
            removal: Removal::Permissive,
            trash: Policy::default().trash,
            references: ReferenceCheck::Skip,
            schema1: Schema1::Accept,
            audit: Audit::Enforce,
            sync: Sync::Data,
            uploads: UploadDurability::Fast,
            manifest_bytes_max: 65_536,
        };
        assert_eq!(options.map(|options| options.policy), Ok(expected));
    }
}

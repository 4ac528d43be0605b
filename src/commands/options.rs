//! Mount options: what follows `-o`, as mount(8) has it.

use std::time::Duration;

use super::{Absent, CommandError};
use crate::fuse::{Generic, Offers};
use crate::registry::{
    Audit, Policy, Recover, ReferenceCheck, Removal, Schema1, Sync, UploadDurability,
};

/// Options about access times, which are not kept: they are taken, and change nothing.
const TIMES: [&str; 8] = [
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

/// What follows `-o`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `ro`: nothing may be changed.
    pub read_only: bool,
    /// `allow_other`: other users may see what the mode bits let them.
    pub allow_other: bool,
    /// `uid=`: to whom everything belongs; the one who mounts if not given.
    pub uid: Option<u32>,
    /// `gid=`: to which group.
    pub gid: Option<u32>,
    /// `delete=guarded|permissive`, `trash=7d`: what may be removed, and how long it is kept;
    /// `references=require|skip`, `schema1=refuse|accept`, `audit=off|warn|enforce`,
    /// `max_manifest_size=BYTES`: what is admitted;
    /// `sync=always|data|lazy`, `uploads=durable|fast`: what fsync waits for.
    pub policy: Policy,
    /// `recover=refuse|accept`: whether the loss of commits is accepted.
    pub recover: Recover,
    /// `uring=auto|off`: whether requests go by `io_uring` where the kernel offers it;
    /// `passthrough=auto|off`: whether the kernel reads and writes blobs by itself.
    pub offers: Offers,
    /// `exec`, `noexec`, `suid`, `nosuid`, `dev`, `nodev`, `sync`, `async`, `dirsync`: what every
    /// filesystem has.
    pub generic: Generic,
    /// `control_gid=`: a group that may read `.regfs` besides the one who mounts.
    pub control_gid: Option<u32>,
    /// `existing`: what to do where there is no store yet.
    pub absent: Absent,
}

impl MountOptions {
    /// Reads options, given in one or several lists separated by commas; later ones win.
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

    fn add(&mut self, option: &str) -> Result<(), CommandError> {
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
            ("delete", "guarded") => self.policy.removal = Removal::Guarded,
            ("delete", "permissive") => self.policy.removal = Removal::Permissive,
            ("trash", text) => {
                let time = if text == "0" { "0s" } else { text };
                self.policy.trash = duration(time)
                    .map_err(|why| CommandError::Usage(format!("-o {option}: {why}, or 0")))?;
            }
            ("references", "require") => self.policy.references = ReferenceCheck::Require,
            ("references", "skip") => self.policy.references = ReferenceCheck::Skip,
            ("schema1", "refuse") => self.policy.schema1 = Schema1::Refuse,
            ("schema1", "accept") => self.policy.schema1 = Schema1::Accept,
            ("audit", "off") => self.policy.audit = Audit::Off,
            ("audit", "warn") => self.policy.audit = Audit::Warn,
            ("audit", "enforce") => self.policy.audit = Audit::Enforce,
            ("sync", "always") => self.policy.sync = Sync::Always,
            ("sync", "data") => self.policy.sync = Sync::Data,
            ("sync", "lazy") => self.policy.sync = Sync::Lazy,
            ("uploads", "durable") => self.policy.uploads = UploadDurability::Durable,
            ("uploads", "fast") => self.policy.uploads = UploadDurability::Fast,
            ("recover", "refuse") => self.recover = Recover::Refuse,
            ("recover", "accept") => self.recover = Recover::Accept,
            ("uring", "auto") => self.offers.rings = true,
            ("uring", "off") => self.offers.rings = false,
            ("passthrough", "auto") => self.offers.passthrough = true,
            ("passthrough", "off") => self.offers.passthrough = false,
            ("max_manifest_size", text) => self.policy.manifest_bytes_max = bytes(option, text)?,
            ("existing", "") => self.absent = Absent::Refuse,
            (name, "") if TIMES.contains(&name) || self.add_generic(name)? => {}
            _ => {
                return Err(CommandError::Usage(format!(
                    "-o {option}: unknown; known are ro, rw, allow_other, uid=N, gid=N, control_gid=N, \
                     delete=guarded|permissive, trash=TIME, references=require|skip, schema1=refuse|accept, \
                     audit=off|warn|enforce, sync=always|data|lazy, uploads=durable|fast, uring=auto|off, passthrough=auto|off, \
                     max_manifest_size=BYTES, recover=refuse|accept, existing, exec, suid, dev, \
                     sync, async, dirsync, noexec, nosuid, nodev, {}",
                    TIMES.join(", ")
                )));
            }
        }
        Ok(())
    }
}

impl MountOptions {
    /// Reads an option that every filesystem has. Returns `false` if it is none.
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
                let text = format!("-o {option}: only root may mount so");
                return Err(CommandError::Usage(text));
            }
            "suid" => generic.suid = true,
            "dev" => generic.dev = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A number of bytes, perhaps with K or M behind it.
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
            "-o {option}: expected 1 to {most} bytes (registries take no more), or with K or M"
        ))
    })
}

/// Reads a time as people write it: `90s`, `30m`, `12h`, `7d`.
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
    fn options_come_in_lists_and_later_ones_win() {
        let options = parse(&[
            "ro,allow_other,uid=7,dev,nodev,relatime",
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
    fn what_is_unknown_is_refused_with_what_is_known() {
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
    fn what_is_admitted_can_be_chosen() {
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

//! Ownership: to whom a directory of a plain tree belongs, as a store keeps that. It changes
//! nothing.

use std::io;

use rustix::fs::fstat;
use rustix::process::{getegid, geteuid};

use crate::adoption::access::bits;
use crate::dir::Dir;
use crate::registry::Ownership;
use crate::tree::Permissions;

/// What a store is to keep of a directory's owner, group and mode; nothing where that is what it
/// shows anyhow. As with tar and cp, files belong to whoever takes them, unless that is root.
pub(super) fn ownership(dir: &Dir) -> io::Result<Option<Ownership>> {
    let stat = fstat(dir)?;
    let root = geteuid().is_root();
    let given = |id, own| Some(id).filter(|id| root && *id != own);
    let ownership = Ownership {
        uid: given(stat.st_uid, geteuid().as_raw()),
        gid: given(stat.st_gid, getegid().as_raw()),
        mode: u16::try_from(bits(&stat).as_raw_mode()).unwrap_or_default(),
    };
    Ok((ownership != Permissions::DIRECTORY.into()).then_some(ownership))
}

//! Owner and mode of a directory of a plain tree, as a store records them.

use std::io;

use rustix::fs::fstat;
use rustix::process::{getegid, geteuid};

use crate::adoption::access::copied_bits;
use crate::dir::Dir;
use crate::registry::Ownership;
use crate::tree::Permissions;

/// Returns the owner, group and mode of a directory to record; `None` if they are the default. As
/// with tar and cp, only root records owners: otherwise the tree belongs to the importing user.
pub(super) fn ownership(dir: &Dir) -> io::Result<Option<Ownership>> {
    let stat = fstat(dir)?;
    let root = geteuid().is_root();
    let given = |id, ours| Some(id).filter(|id| root && *id != ours);
    let ownership = Ownership {
        uid: given(stat.st_uid, geteuid().as_raw()),
        gid: given(stat.st_gid, getegid().as_raw()),
        mode: u16::try_from(copied_bits(&stat).as_raw_mode()).unwrap_or_default(),
    };
    Ok((ownership != Permissions::DIRECTORY.into()).then_some(ownership))
}

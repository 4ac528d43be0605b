//! What `scripts/install` has put in place for the tests: registries, clients, a specification.

use std::path::PathBuf;

/// Where something that it installs is.
pub fn tool(name: &str) -> PathBuf {
    let directory = std::env::var_os("REGFS_TOOLS")
        .map_or_else(|| PathBuf::from("/var/cache/regfs-tools"), PathBuf::from);
    let path = directory.join(name);
    assert!(
        path.exists(),
        "{} is missing: run scripts/install",
        path.display()
    );
    path
}

//! Tools that `scripts/install` installs for the tests: registries, clients, a specification.

use std::path::PathBuf;

/// Returns the path of a tool that `scripts/install` installs.
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

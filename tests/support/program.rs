//! The program, as cargo has built it beside the tests.

use std::path::PathBuf;
use std::process::Command;

/// Where it is: beside the directory in which the test itself is.
///
/// # Panics
/// If it was not built.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("regfs");
    assert!(built.exists(), "{} was not built", built.display());
    built
}

/// A command of it.
pub fn regfs() -> Command {
    Command::new(path())
}

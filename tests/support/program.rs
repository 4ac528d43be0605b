//! The program that cargo has built together with the tests.

use std::path::PathBuf;
use std::process::Command;

/// Returns the path of the program: beside the directory of the test binary.
///
/// # Panics
/// The program was not built.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("regfs");
    assert!(built.exists(), "{} was not built", built.display());
    built
}

/// Returns a command that runs the program.
pub fn regfs() -> Command {
    Command::new(path())
}

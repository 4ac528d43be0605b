//! The log: where it goes, what is logged, and the format of a line.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::commands::CommandError;
use crate::printable;

/// The default of `RUST_LOG`: warnings, errors and refusals. fuser's warnings (replies to
/// interrupted requests, the end of a mount) are of no use to anybody.
const FILTER: &str = "warn,refused=info,fuser=off";

/// Starts the log, on stderr if there is no file.
pub(super) fn start(file: Option<File>) {
    let environment = env_logger::Env::default().default_filter_or(FILTER);
    let mut builder = env_logger::Builder::from_env(environment);
    if let Some(file) = file {
        builder.target(env_logger::Target::Pipe(Box::new(file)));
    }
    // One line for each record, whatever characters the names in it have.
    builder.format(|to, record| {
        let text = printable::line(&record.args().to_string());
        let (level, target) = (record.level(), record.target());
        writeln!(to, "[{} {level:<5} {target}] {text}", to.timestamp())
    });
    builder.init();
}

/// Opens a file for appending to the log, and creates it if it does not exist.
pub(super) fn open(path: &Path) -> Result<File, CommandError> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(|error| CommandError::Path {
        path: path.into(),
        error,
    })
}

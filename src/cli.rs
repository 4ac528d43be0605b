//! The command line: words in, a command called, an exit code out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{self, CommandError, MountOptions, Mounting};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything was done.
    Success,
    /// Something could not be done; the text says what.
    Failure,
    /// The words do not fit.
    Usage,
    /// The store is in use by another process.
    InUse,
}

impl ExitCode {
    /// The number that the caller of the program sees.
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::InUse => 3,
        }
    }

    fn of(error: &CommandError) -> Self {
        match error {
            CommandError::InUse { .. } => Self::InUse,
            CommandError::Usage(_) => Self::Usage,
            CommandError::Path { .. }
            | CommandError::Registry(_)
            | CommandError::Tree(_)
            | CommandError::Background(_) => Self::Failure,
        }
    }
}

/// A filesystem that is a container registry's storage.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 store in use."
)]
struct Cli {
    #[command(subcommand)]
    command: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Show a store at a mountpoint, as a registry's storage
    Mount(MountArguments),
}

#[derive(Debug, Args)]
struct MountArguments {
    /// Directory that keeps index and blobs; made if it does not exist
    store: PathBuf,
    /// Existing directory to mount at: the registry's rootdirectory
    mountpoint: PathBuf,
    /// Options: ro, `allow_other`, uid=N, gid=N, delete=guarded|permissive, noexec
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Path of the registry's root below the mountpoint; empty to put v2 at the top
    #[arg(long, default_value = "docker/registry")]
    root: String,
    /// Serve in this process instead of in the background
    #[arg(short, long, overrides_with = "foreground")]
    foreground: bool,
    /// Write the log here; in the background, STORE/regfs.log otherwise
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Does what the program's arguments say.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nobody may be listening.
            let _gone = error.print();
            return if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Success
            };
        }
    };
    let done = match cli.command {
        Word::Mount(arguments) => mount(arguments),
    };
    match done {
        Ok(()) => ExitCode::Success,
        Err(error) => {
            eprintln!("regfs: {error}");
            ExitCode::of(&error)
        }
    }
}

fn mount(arguments: MountArguments) -> Result<(), CommandError> {
    let options = MountOptions::parse(&arguments.options)?;
    if arguments.foreground {
        log_to(arguments.log.as_deref())?;
    }
    commands::mount(&Mounting {
        store: arguments.store,
        mountpoint: arguments.mountpoint,
        root: arguments.root,
        options,
        foreground: arguments.foreground,
        log_given: arguments.log.is_some(),
    })
}

/// What is logged unless `RUST_LOG` says otherwise: warnings and worse. What fuser warns of
/// (answers to requests that were interrupted, the end of a mount) is none of ours.
const LOGGED: &str = "warn,fuser=off";

/// Starts the log.
fn log_to(file: Option<&std::path::Path>) -> Result<(), CommandError> {
    let environment = env_logger::Env::default().default_filter_or(LOGGED);
    let mut builder = env_logger::Builder::from_env(environment);
    if let Some(path) = file {
        let opened = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        let opened = opened.map_err(|error| CommandError::Path {
            path: path.into(),
            error,
        })?;
        builder.target(env_logger::Target::Pipe(Box::new(opened)));
    }
    builder.init();
    Ok(())
}

//! The command line: words in, a command called, an exit code out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{self, Checking, CommandError, MountOptions, Mounting};

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
    /// What was checked would be refused.
    Refused,
}

impl ExitCode {
    /// The number that the caller of the program sees.
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::InUse => 3,
            Self::Refused => 4,
        }
    }

    fn of(error: &CommandError) -> Self {
        match error {
            CommandError::InUse { .. } => Self::InUse,
            CommandError::Usage(_) => Self::Usage,
            CommandError::Path { .. }
            | CommandError::Registry(_)
            | CommandError::Tree(_)
            | CommandError::NoRepository { .. }
            | CommandError::Served { .. }
            | CommandError::Background(_) => Self::Failure,
        }
    }
}

/// A filesystem that is a container registry's storage.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 store in use, 4 refused by a check."
)]
struct Cli {
    #[command(subcommand)]
    command: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Show a store at a mountpoint, as a registry's storage
    Mount(MountArguments),
    /// Tell whether a manifest would be admitted, and if not, why
    Check(CheckArguments),
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The manifest; - for the standard input
    file: PathBuf,
    /// Repository that must hold what the manifest references
    #[arg(long, requires = "store")]
    repository: Option<crate::name::RepositoryName>,
    /// Store that keeps the repository, mounted or not
    #[arg(long, requires = "repository")]
    store: Option<PathBuf>,
    /// Options as for mount: references=, schema1=, `max_manifest_size=`; of a mounted store its
    /// mount's own apply
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MountArguments {
    /// Directory that keeps index and blobs; made if it does not exist
    store: PathBuf,
    /// Existing directory to mount at: the registry's rootdirectory
    mountpoint: PathBuf,
    /// Options: ro, `allow_other`, uid=N, gid=N, delete=guarded|permissive,
    /// references=require|skip, schema1=refuse|accept, audit=off|warn|enforce,
    /// sync=always|data|lazy, `max_manifest_size=BYTES`, noexec
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
        Word::Mount(arguments) => mount(arguments).map(|()| ExitCode::Success),
        Word::Check(arguments) => check(arguments),
    };
    match done {
        Ok(code) => code,
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

fn check(arguments: CheckArguments) -> Result<ExitCode, CommandError> {
    log_to(None)?;
    let verdict = commands::check(&Checking {
        file: arguments.file,
        within: arguments.store.zip(arguments.repository),
        policy: MountOptions::parse(&arguments.options)?.policy,
    })?;
    if arguments.json {
        let json = serde_json::to_string(&verdict);
        println!("{}", json.unwrap_or_default());
    } else {
        println!("{verdict}");
    }
    Ok(if verdict.is_admitted() {
        ExitCode::Success
    } else {
        ExitCode::Refused
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

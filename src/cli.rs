//! The command line: words in, a command called, an exit code out.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{self, Checking, CommandError, Done, MountOptions, Mounting, Way, Work};

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
    /// Something is wrong with a store, and was not repaired.
    Found,
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
            Self::Found => 5,
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
            | CommandError::Adoption(_)
            | CommandError::Failed(_)
            | CommandError::Background(_) => Self::Failure,
        }
    }
}

/// A filesystem that is a container registry's storage.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 store in use, 4 refused by a check, 5 a store has faults."
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
    /// Take in the plain tree of a registry
    Import(ImportArguments),
    /// Check a store: facts against each other and against the bytes
    Fsck(FsckArguments),
    /// Give a store back as a registry's plain tree
    Export(ExportArguments),
}

/// How a work on a store is answered.
#[derive(Debug, Args)]
struct Answering {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How blobs come, one of these; hard links if none is given, copies where those cannot be.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Ways {
    /// Share files by hard links where the filesystem can (the default)
    #[arg(long)]
    hardlink: bool,
    /// Copy by reference, on filesystems that can (xfs, btrfs)
    #[arg(long)]
    reflink: bool,
    /// Copy
    #[arg(long)]
    copy: bool,
}

#[derive(Debug, Args)]
struct ImportArguments {
    /// The registry's rootdirectory
    plain: PathBuf,
    /// Directory that keeps index and blobs; made if it does not exist
    store: PathBuf,
    #[command(flatten)]
    ways: Ways,
    /// Move blobs instead: the tree is not a registry's any more afterwards
    #[arg(long = "move", conflicts_with_all = ["hardlink", "reflink", "copy"])]
    moving: bool,
    /// Verify every blob; otherwise only those of up to 16 KiB, which are read anyway
    #[arg(long)]
    verify: bool,
    /// Only tell what is there and what is odd about it
    #[arg(long)]
    dry_run: bool,
    /// Path of the registry's root below its rootdirectory; empty if v2 stands at the top
    #[arg(long, default_value = ROOT)]
    root: String,
    /// Threads; as many as fit the machine if not given
    #[arg(long)]
    jobs: Option<usize>,
    #[command(flatten)]
    answering: Answering,
}

#[derive(Debug, Args)]
struct FsckArguments {
    /// Directory that keeps index and blobs, mounted or not
    store: PathBuf,
    /// Print what can be repaired, then do it; bytes that are taken out go to the trash
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    answering: Answering,
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// Directory that keeps index and blobs, mounted or not
    store: PathBuf,
    /// New or empty directory: the rootdirectory of a registry from then on
    directory: PathBuf,
    #[command(flatten)]
    ways: Ways,
    /// Path of the registry's root below it; empty to put v2 at the top
    #[arg(long, default_value = ROOT)]
    root: String,
    /// Threads; as many as fit the machine if not given
    #[arg(long)]
    jobs: Option<usize>,
    #[command(flatten)]
    answering: Answering,
}

/// Where distribution puts `v2` below its rootdirectory.
const ROOT: &str = "docker/registry";

impl Ways {
    fn way(&self) -> Way {
        match (self.reflink, self.copy) {
            (true, _) => Way::Reflink,
            (_, true) => Way::Copy,
            _ => Way::Link,
        }
    }
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
    #[arg(long, default_value = ROOT)]
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
        Word::Import(arguments) => import(arguments),
        Word::Fsck(arguments) => fsck(&arguments),
        Word::Export(arguments) => export(arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("regfs: {error}");
            ExitCode::of(&error)
        }
    }
}

fn import(arguments: ImportArguments) -> Result<ExitCode, CommandError> {
    log_to(None)?;
    let (root, jobs) = (arguments.root, threads(arguments.jobs));
    let plain = commands::absolute(&arguments.plain)?;
    if arguments.dry_run {
        let report = commands::survey(&plain, &root, jobs)?;
        return arguments.answering.answer(&Done::Imported(report));
    }
    let way = if arguments.moving {
        Way::Move
    } else {
        arguments.ways.way()
    };
    let work = Work::Import {
        plain,
        root,
        way,
        verify: arguments.verify,
        jobs,
    };
    let done = commands::work(&arguments.store, &work)?;
    arguments.answering.answer(&done)
}

fn fsck(arguments: &FsckArguments) -> Result<ExitCode, CommandError> {
    log_to(None)?;
    let examine = |repair| commands::work(&arguments.store, &Work::Fsck { repair });
    let mut done = examine(false)?;
    if arguments.repair {
        if !arguments.answering.json {
            arguments.answering.answer(&done)?;
        }
        done = examine(true)?;
    }
    arguments.answering.answer(&done)?;
    Ok(match done {
        Done::Examined(examination) if !examination.is_clean() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

fn export(arguments: ExportArguments) -> Result<ExitCode, CommandError> {
    log_to(None)?;
    let work = Work::Export {
        target: commands::absolute(&arguments.directory)?,
        root: arguments.root,
        way: arguments.ways.way(),
        jobs: threads(arguments.jobs),
    };
    let done = commands::work(&arguments.store, &work)?;
    arguments.answering.answer(&done)
}

/// Threads to work with: some wait for the disk while others work.
fn threads(wanted: Option<usize>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(processors.saturating_mul(2)).clamp(1, 64)
}

impl Answering {
    /// Prints what came of a work, for people or machines.
    fn answer(&self, done: &Done) -> Result<ExitCode, CommandError> {
        let text = if self.json {
            serde_json::to_string(done).unwrap_or_default()
        } else {
            done.to_string()
        };
        let mut out = std::io::stdout().lock();
        // Who asked may have gone.
        let _gone = writeln!(out, "{text}");
        Ok(ExitCode::Success)
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

//! The command line: parses the arguments, calls a command, prints its result, and returns the
//! exit code.

use std::io::Write;
use std::path::Path;

use clap::{CommandFactory, Parser};

use crate::commands::{
    self, CheckRequest, CommandError, ExitCode, Inquiry, Job, JobResult, MountOptions,
    MountRequest, TransferMode,
};
use crate::printable;

mod args;
mod logger;

use args::{
    BackupArgs, CheckArgs, Cli, Command, ExportArgs, FsckArgs, ImportArgs, MountArgs, OutputArgs,
    RestoreArgs, ScrubArgs,
};

/// Runs the program with its arguments. Prints results on stdout and errors on stderr.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap returns the texts of --help and --version as errors too. A closed stdout is no
            // failure.
            let _closed = error.print();
            return if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Success
            };
        }
    };
    // A mount chooses where its log goes.
    if !matches!(cli.command, Command::Mount(_)) {
        logger::start(None);
    }
    match execute(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("regfs: {}", error_text(&error));
            ExitCode::of(&error)
        }
    }
}

/// Runs a command and prints its result.
fn execute(command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Mount(args) => mount(args),
        Command::Check(args) => check(args),
        Command::Import(args) => import(args),
        Command::Export(args) => export(args),
        Command::Fsck(args) => fsck(&args),
        Command::Scrub(args) => scrub(&args),
        Command::Backup(args) => backup(&args),
        Command::Restore(args) => restore(&args),
        Command::Man { directory } => write_man_pages(&directory),
        Command::Undelete(args) => {
            let digests = args.digests;
            run_job(&args.store, &Job::Undelete { digests }, &args.output)
        }
        Command::Ls(args) => {
            let inquiry = list_inquiry(args.name.as_deref());
            run_job(&args.store, &Job::Inquiry(inquiry), &args.output)
        }
        Command::Du(args) => {
            let inquiry = Inquiry::Sizes(args.repository);
            run_job(&args.store, &Job::Inquiry(inquiry), &args.output)
        }
        Command::History(args) => {
            let inquiry = history_inquiry(&args.image)?;
            run_job(&args.store, &Job::Inquiry(inquiry), &args.output)
        }
        Command::Stats(args) => {
            let store = commands::resolve_store(&args.store);
            run_job(&store, &Job::Inquiry(Inquiry::Totals), &args.output)
        }
    }
}

/// Returns the text of an error, escaped for a terminal.
fn error_text(error: &CommandError) -> String {
    let text = error.to_string();
    match error {
        // Several lines, which the daemon has printed.
        CommandError::Background(_) => printable::lines(&text),
        _ => printable::line(&text),
    }
}

fn import(args: ImportArgs) -> Result<ExitCode, CommandError> {
    let (root, jobs) = (args.root, threads(args.jobs));
    let plain = commands::absolute(&args.plain)?;
    if args.dry_run {
        let report = commands::survey(&plain, &root, args.follow_links, jobs)?;
        args.output.print(&JobResult::Import(report));
        return Ok(ExitCode::Success);
    }
    let moving = args.moving.then_some(TransferMode::Move);
    let job = Job::Import {
        plain,
        root,
        transfer: moving.or(args.transfer.method()),
        follow_links: args.follow_links,
        verify: args.verify,
        jobs,
    };
    run_job(&args.store, &job, &args.output)
}

fn export(args: ExportArgs) -> Result<ExitCode, CommandError> {
    let job = Job::Export {
        target: commands::absolute(&args.directory)?,
        root: args.root,
        transfer: args.transfer.method(),
        jobs: threads(args.jobs),
    };
    run_job(&args.store, &job, &args.output)
}

fn fsck(args: &FsckArgs) -> Result<ExitCode, CommandError> {
    let mut result = commands::run(&args.store, &Job::Fsck { repair: false })?;
    if args.repair {
        // What is about to be repaired, for people.
        if !args.output.json {
            args.output.print(&result);
        }
        result = commands::run(&args.store, &Job::Fsck { repair: true })?;
    }
    args.output.print(&result);
    Ok(ExitCode::of_result(&result))
}

fn scrub(args: &ScrubArgs) -> Result<ExitCode, CommandError> {
    let job = Job::Scrub {
        rate: args.rate,
        age: args.age.as_secs(),
    };
    run_job(&args.store, &job, &args.output)
}

fn backup(args: &BackupArgs) -> Result<ExitCode, CommandError> {
    let target = commands::absolute(&args.directory)?;
    run_job(&args.store, &Job::Backup { target }, &args.output)
}

fn restore(args: &RestoreArgs) -> Result<ExitCode, CommandError> {
    let method = args.transfer.method();
    let report = commands::restore(&args.directory, &args.store, method)?;
    println!("{report}");
    Ok(ExitCode::Success)
}

/// Writes a man page for the program and one for each of its commands.
fn write_man_pages(directory: &Path) -> Result<ExitCode, CommandError> {
    let written = clap_mangen::generate_to(Cli::command(), directory);
    written.map_err(|error| CommandError::Path {
        path: directory.to_owned(),
        error,
    })?;
    Ok(ExitCode::Success)
}

/// Runs a job on a store and prints its result.
fn run_job(store: &Path, job: &Job, output: &OutputArgs) -> Result<ExitCode, CommandError> {
    let result = commands::run(store, job)?;
    output.print(&result);
    Ok(ExitCode::of_result(&result))
}

/// Returns the inquiry of `regfs ls`: all repositories, the tags of one, or an image.
fn list_inquiry(name: Option<&str>) -> Inquiry {
    match name.map(|name| (name, name.rsplit_once(':'))) {
        None => Inquiry::Repositories,
        Some((_, Some((name, tag)))) => Inquiry::Image(name.into(), tag.into()),
        Some((name, None)) => Inquiry::Tags(name.into()),
    }
}

/// Returns the inquiry of `regfs history`.
fn history_inquiry(image: &str) -> Result<Inquiry, CommandError> {
    let (name, tag) = image.rsplit_once(':').ok_or_else(|| {
        CommandError::Usage(format!("history of {image}: expected REPOSITORY:TAG"))
    })?;
    Ok(Inquiry::History(name.into(), tag.into()))
}

/// Returns the number of threads of a job: more than processors, since some wait for the disk.
fn threads(wanted: Option<usize>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(processors.saturating_mul(2)).clamp(1, 64)
}

impl OutputArgs {
    /// Prints the result of a job, as text or as JSON.
    fn print(&self, result: &JobResult) {
        let text = if self.json {
            result.json().to_string()
        } else {
            printable::lines(&result.to_string())
        };
        let mut out = std::io::stdout().lock();
        // A closed stdout is no failure.
        let _closed = writeln!(out, "{text}");
    }
}

fn mount(args: MountArgs) -> Result<ExitCode, CommandError> {
    let options = MountOptions::parse(&args.options)?;
    if args.log_in_store {
        logger::start(Some(commands::open_store_log(&args.store)?));
    } else if args.foreground {
        logger::start(args.log.as_deref().map(logger::open).transpose()?);
    }
    commands::mount(&MountRequest {
        store: args.store,
        mountpoint: args.mountpoint,
        root: args.root,
        options,
        foreground: args.foreground,
        log_given: args.log.is_some(),
    })?;
    Ok(ExitCode::Success)
}

fn check(args: CheckArgs) -> Result<ExitCode, CommandError> {
    let verdict = commands::check(&CheckRequest {
        file: args.file,
        within: args.store.zip(args.repository),
        policy: MountOptions::parse(&args.options)?.policy,
    })?;
    if args.json {
        let json = serde_json::to_string(&verdict);
        println!("{}", json.unwrap_or_default());
    } else {
        println!("{}", printable::lines(&verdict.to_string()));
    }
    Ok(if verdict.is_admitted() {
        ExitCode::Success
    } else {
        ExitCode::Refused
    })
}

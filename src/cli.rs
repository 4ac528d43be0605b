//! The command line: words in, a command called, an exit code out.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use clap::Parser;

use crate::commands::{
    self, Checking, CommandError, ExitCode, Inquiry, Job, JobResult, MountOptions, Mounting,
    TransferMode,
};

use crate::printable;

mod args;

use args::{
    BackupArgs, CheckArgs, Cli, Command, ExportArgs, FsckArgs, ImportArgs, InquiryArgs, MountArgs,
    OutputArgs, ScrubArgs,
};

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
    // The mount's own log may go elsewhere.
    if !matches!(cli.command, Command::Mount(_)) {
        log_to(None);
    }
    let done = match cli.command {
        Command::Mount(arguments) => mount(arguments).map(|()| ExitCode::Success),
        Command::Check(arguments) => check(arguments),
        Command::Import(arguments) => import(arguments),
        Command::Fsck(arguments) => fsck(&arguments),
        Command::Scrub(arguments) => scrub(&arguments),
        Command::Ls(arguments) => inquire(&arguments, Ok(list(arguments.name.as_deref()))),
        Command::Du(arguments) => inquire(&arguments, Ok(Inquiry::Sizes(arguments.name.clone()))),
        Command::History(arguments) => inquire(&arguments, history(arguments.name.as_deref())),
        Command::Stats(arguments) => {
            let store = commands::store_of(&arguments.store);
            answer(&store, &Job::Inquire(Inquiry::Totals), &arguments.output)
        }
        Command::Undelete(arguments) => {
            let digests = arguments.digests;
            answer(
                &arguments.store,
                &Job::Undelete { digests },
                &arguments.output,
            )
        }
        Command::Backup(arguments) => backup(&arguments),
        Command::Man { directory } => man(&directory),
        Command::Restore(arguments) => {
            let way = arguments.transfer.way();
            let restored = commands::restore(&arguments.directory, &arguments.store, way);
            restored.map(|restored| {
                println!("{restored}");
                ExitCode::Success
            })
        }
        Command::Export(arguments) => export(arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("regfs: {}", shown(&error));
            ExitCode::of(&error)
        }
    }
}

/// An error, for a terminal.
fn shown(error: &CommandError) -> String {
    let text = error.to_string();
    match error {
        // The lines that another process has printed.
        CommandError::Background(_) => printable::lines(&text),
        _ => printable::line(&text),
    }
}

fn import(arguments: ImportArgs) -> Result<ExitCode, CommandError> {
    let (root, jobs) = (arguments.root, threads(arguments.jobs));
    let plain = commands::absolute(&arguments.plain)?;
    if arguments.dry_run {
        let report = commands::survey(&plain, &root, arguments.follow_links, jobs)?;
        arguments.output.print(&JobResult::Imported(report));
        return Ok(ExitCode::Success);
    }
    let moving = arguments.moving.then_some(TransferMode::Move);
    let work = Job::Import {
        plain,
        root,
        way: moving.or(arguments.transfer.way()),
        follow_links: arguments.follow_links,
        verify: arguments.verify,
        jobs,
    };
    answer(&arguments.store, &work, &arguments.output)
}

fn fsck(arguments: &FsckArgs) -> Result<ExitCode, CommandError> {
    let examine = |repair| commands::run(&arguments.store, &Job::Fsck { repair });
    let mut done = examine(false)?;
    if arguments.repair {
        if !arguments.output.json {
            arguments.output.print(&done);
        }
        done = examine(true)?;
    }
    arguments.output.print(&done);
    Ok(match done {
        JobResult::Examined(examination) if !examination.is_clean() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

fn backup(arguments: &BackupArgs) -> Result<ExitCode, CommandError> {
    let target = commands::absolute(&arguments.directory)?;
    let done = commands::run(&arguments.store, &Job::Backup { target })?;
    arguments.output.print(&done);
    Ok(match done {
        JobResult::BackedUp(backed_up) if backed_up.is_of_a_damaged_store() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

/// Writes a page for the program and one for each of its words.
fn man(directory: &std::path::Path) -> Result<ExitCode, CommandError> {
    let command = <Cli as clap::CommandFactory>::command();
    let written = clap_mangen::generate_to(command, directory);
    written.map_err(|error| CommandError::Path {
        path: directory.to_owned(),
        error,
    })?;
    Ok(ExitCode::Success)
}

/// Has a work done, and prints what came of it.
fn answer(
    store: &std::path::Path,
    work: &Job,
    output: &OutputArgs,
) -> Result<ExitCode, CommandError> {
    output.print(&commands::run(store, work)?);
    Ok(ExitCode::Success)
}

fn inquire(
    arguments: &InquiryArgs,
    inquiry: Result<Inquiry, CommandError>,
) -> Result<ExitCode, CommandError> {
    let work = Job::Inquire(inquiry?);
    answer(&arguments.store, &work, &arguments.output)
}

/// What a listing is of: everything, a repository, or an image.
fn list(name: Option<&str>) -> Inquiry {
    match name.map(|name| (name, name.rsplit_once(':'))) {
        None => Inquiry::Repositories,
        Some((_, Some((name, tag)))) => Inquiry::Image(name.into(), tag.into()),
        Some((name, None)) => Inquiry::Tags(name.into()),
    }
}

fn history(name: Option<&str>) -> Result<Inquiry, CommandError> {
    let image = name.and_then(|name| name.rsplit_once(':'));
    let (name, tag) = image.ok_or_else(|| {
        CommandError::Usage("history is of a tag: expected REPOSITORY:TAG".into())
    })?;
    Ok(Inquiry::History(name.into(), tag.into()))
}

fn scrub(arguments: &ScrubArgs) -> Result<ExitCode, CommandError> {
    let work = Job::Scrub {
        rate: arguments.rate,
        age: arguments.age.as_secs(),
    };
    let done = commands::run(&arguments.store, &work)?;
    arguments.output.print(&done);
    Ok(match done {
        JobResult::Scrubbed(scrubbed) if !scrubbed.damaged.is_empty() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

fn export(arguments: ExportArgs) -> Result<ExitCode, CommandError> {
    let work = Job::Export {
        target: commands::absolute(&arguments.directory)?,
        root: arguments.root,
        way: arguments.transfer.way(),
        jobs: threads(arguments.jobs),
    };
    let done = commands::run(&arguments.store, &work)?;
    arguments.output.print(&done);
    Ok(match done {
        JobResult::Exported(exported) if !exported.is_whole() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

/// Threads to work with: some wait for the disk while others work.
fn threads(wanted: Option<usize>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(processors.saturating_mul(2)).clamp(1, 64)
}

impl OutputArgs {
    /// Prints what came of a work, for people or machines.
    fn print(&self, result: &JobResult) {
        let text = if self.json {
            result.json().to_string()
        } else {
            printable::lines(&result.to_string())
        };
        let mut out = std::io::stdout().lock();
        // Who asked may have gone.
        let _gone = writeln!(out, "{text}");
    }
}

fn mount(arguments: MountArgs) -> Result<(), CommandError> {
    let options = MountOptions::parse(&arguments.options)?;
    if arguments.log_in_store {
        log_to(Some(commands::log_of(&arguments.store)?));
    } else if arguments.foreground {
        log_to(arguments.log.as_deref().map(log_file).transpose()?);
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

fn check(arguments: CheckArgs) -> Result<ExitCode, CommandError> {
    let verdict = commands::check(&Checking {
        file: arguments.file,
        within: arguments.store.zip(arguments.repository),
        policy: MountOptions::parse(&arguments.options)?.policy,
    })?;
    if arguments.json {
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

/// What is logged unless `RUST_LOG` says otherwise: warnings and worse, and what was refused. What
/// fuser warns of (answers to requests that were interrupted, the end of a mount) is none of ours.
const LOGGED: &str = "warn,refused=info,fuser=off";

/// Starts the log.
fn log_to(file: Option<File>) {
    let environment = env_logger::Env::default().default_filter_or(LOGGED);
    let mut builder = env_logger::Builder::from_env(environment);
    if let Some(file) = file {
        builder.target(env_logger::Target::Pipe(Box::new(file)));
    }
    // One line each, whatever names are in it.
    builder.format(|to, record| {
        let text = printable::line(&record.args().to_string());
        let (level, from) = (record.level(), record.target());
        writeln!(to, "[{} {level:<5} {from}] {text}", to.timestamp())
    });
    builder.init();
}

/// Opens the log that was asked for.
fn log_file(path: &Path) -> Result<File, CommandError> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(|error| CommandError::Path {
        path: path.into(),
        error,
    })
}

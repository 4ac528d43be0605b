//! The command line: words in, a command called, an exit code out.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use clap::Parser;

use crate::commands::{
    self, Checking, CommandError, Done, Inquiry, MountOptions, Mounting, Way, Work,
};

use crate::printable;

mod words;

use words::{
    Answering, BackupArguments, CheckArguments, Cli, ExportArguments, FsckArguments,
    ImportArguments, InquiryArguments, MountArguments, ScrubArguments, Word,
};

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
            error if error.is_refusal() => Self::Refused,
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
            CommandError::Refused(_) => Self::Refused,
        }
    }
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
    // The mount's own log may go elsewhere.
    if !matches!(cli.command, Word::Mount(_)) {
        log_to(None);
    }
    let done = match cli.command {
        Word::Mount(arguments) => mount(arguments).map(|()| ExitCode::Success),
        Word::Check(arguments) => check(arguments),
        Word::Import(arguments) => import(arguments),
        Word::Fsck(arguments) => fsck(&arguments),
        Word::Scrub(arguments) => scrub(&arguments),
        Word::Ls(arguments) => inquire(&arguments, Ok(list(arguments.name.as_deref()))),
        Word::Du(arguments) => inquire(&arguments, Ok(Inquiry::Sizes(arguments.name.clone()))),
        Word::History(arguments) => inquire(&arguments, history(arguments.name.as_deref())),
        Word::Stats(arguments) => {
            let store = commands::store_of(&arguments.store);
            answer(
                &store,
                &Work::Inquire(Inquiry::Totals),
                &arguments.answering,
            )
        }
        Word::Undelete(arguments) => {
            let digests = arguments.digests;
            answer(
                &arguments.store,
                &Work::Undelete { digests },
                &arguments.answering,
            )
        }
        Word::Backup(arguments) => backup(&arguments),
        Word::Man { directory } => man(&directory),
        Word::Restore(arguments) => {
            let way = arguments.ways.way();
            let restored = commands::restore(&arguments.directory, &arguments.store, way);
            restored.map(|restored| {
                println!("{restored}");
                ExitCode::Success
            })
        }
        Word::Export(arguments) => export(arguments),
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

fn import(arguments: ImportArguments) -> Result<ExitCode, CommandError> {
    let (root, jobs) = (arguments.root, threads(arguments.jobs));
    let plain = commands::absolute(&arguments.plain)?;
    if arguments.dry_run {
        let report = commands::survey(&plain, &root, arguments.follow_links, jobs)?;
        arguments.answering.answer(&Done::Imported(report));
        return Ok(ExitCode::Success);
    }
    let moving = arguments.moving.then_some(Way::Move);
    let work = Work::Import {
        plain,
        root,
        way: moving.or(arguments.ways.way()),
        follow_links: arguments.follow_links,
        verify: arguments.verify,
        jobs,
    };
    answer(&arguments.store, &work, &arguments.answering)
}

fn fsck(arguments: &FsckArguments) -> Result<ExitCode, CommandError> {
    let examine = |repair| commands::work(&arguments.store, &Work::Fsck { repair });
    let mut done = examine(false)?;
    if arguments.repair {
        if !arguments.answering.json {
            arguments.answering.answer(&done);
        }
        done = examine(true)?;
    }
    arguments.answering.answer(&done);
    Ok(match done {
        Done::Examined(examination) if !examination.is_clean() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

fn backup(arguments: &BackupArguments) -> Result<ExitCode, CommandError> {
    let target = commands::absolute(&arguments.directory)?;
    let done = commands::work(&arguments.store, &Work::Backup { target })?;
    arguments.answering.answer(&done);
    Ok(match done {
        Done::BackedUp(backed_up) if backed_up.is_of_a_damaged_store() => ExitCode::Found,
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
    work: &Work,
    answering: &Answering,
) -> Result<ExitCode, CommandError> {
    answering.answer(&commands::work(store, work)?);
    Ok(ExitCode::Success)
}

fn inquire(
    arguments: &InquiryArguments,
    inquiry: Result<Inquiry, CommandError>,
) -> Result<ExitCode, CommandError> {
    let work = Work::Inquire(inquiry?);
    answer(&arguments.store, &work, &arguments.answering)
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

fn scrub(arguments: &ScrubArguments) -> Result<ExitCode, CommandError> {
    let work = Work::Scrub {
        rate: arguments.rate,
        age: arguments.age.as_secs(),
    };
    let done = commands::work(&arguments.store, &work)?;
    arguments.answering.answer(&done);
    Ok(match done {
        Done::Scrubbed(scrubbed) if !scrubbed.damaged.is_empty() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

fn export(arguments: ExportArguments) -> Result<ExitCode, CommandError> {
    let work = Work::Export {
        target: commands::absolute(&arguments.directory)?,
        root: arguments.root,
        way: arguments.ways.way(),
        jobs: threads(arguments.jobs),
    };
    let done = commands::work(&arguments.store, &work)?;
    arguments.answering.answer(&done);
    Ok(match done {
        Done::Exported(exported) if !exported.is_whole() => ExitCode::Found,
        _ => ExitCode::Success,
    })
}

/// Threads to work with: some wait for the disk while others work.
fn threads(wanted: Option<usize>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or(processors.saturating_mul(2)).clamp(1, 64)
}

impl Answering {
    /// Prints what came of a work, for people or machines.
    fn answer(&self, done: &Done) {
        let text = if self.json {
            done.json().to_string()
        } else {
            printable::lines(&done.to_string())
        };
        let mut out = std::io::stdout().lock();
        // Who asked may have gone.
        let _gone = writeln!(out, "{text}");
    }
}

fn mount(arguments: MountArguments) -> Result<(), CommandError> {
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

fn check(arguments: CheckArguments) -> Result<ExitCode, CommandError> {
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

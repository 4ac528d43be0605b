//! The progress bar of a long job, shown on stderr if that is a terminal.

use std::io::{IsTerminal, Write};

use super::CommandError;
use crate::maintenance::{Progress, ProgressSnapshot};

/// The width of the bar in columns, without the text beside it.
const WIDTH: usize = 30;

/// A line of the terminal that each new state overwrites. Dropping this clears the line.
#[derive(Debug)]
pub(super) struct ProgressBar {
    shown: bool,
    terminal: bool,
}

impl ProgressBar {
    /// Returns a bar, which shows nothing unless stderr is a terminal.
    pub(super) fn new() -> Self {
        Self {
            shown: false,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows the progress of the job.
    pub(super) fn show(&mut self, progress: &ProgressSnapshot) {
        if self.terminal {
            self.shown = true;
            let mut out = std::io::stderr();
            // A terminal that was closed needs no bar.
            let _gone = write!(out, "\r\x1b[K{}", line(progress));
            let _gone = out.flush();
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        if self.shown {
            let _gone = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Runs a job in this process and shows its progress. Returns the result of the job.
pub(super) fn with_progress_bar<T>(
    progress: &Progress,
    job: impl FnOnce() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let mut bar = ProgressBar::new();
    progress.report_while(move |snapshot| bar.show(snapshot), job)
}

/// Returns the line to show, as in `###... 50 % 1000 blobs (100/s), 10 s left`.
fn line(progress: &ProgressSnapshot) -> String {
    let full = (0..WIDTH).map(|column| {
        let at = f64::from(u32::try_from(column).unwrap_or_default());
        let width = f64::from(u32::try_from(WIDTH).unwrap_or(1));
        if at / width < progress.done { '#' } else { '.' }
    });
    let full: String = full.collect();
    let left = match progress.seconds_left() {
        Some(seconds) => format!("{seconds:.0} s left"),
        None => "...".into(),
    };
    format!(
        "{full} {:3.0} % {} {} ({:.0}/s), {left}",
        progress.done * 100.0,
        progress.items,
        progress.what,
        progress.rate(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_share_count_rate_and_time_left() {
        let progress = ProgressSnapshot {
            done: 0.5,
            items: 1_000,
            what: "blobs".into(),
            seconds: 10.0,
        };
        let line = line(&progress);
        assert!(line.contains(&"#".repeat(15)) && !line.contains(&"#".repeat(16)));
        assert!(
            line.ends_with(" 50 % 1000 blobs (100/s), 10 s left"),
            "{line}"
        );
    }
}

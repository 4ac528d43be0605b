//! The progress bar of a long job, on a terminal.

use std::io::{IsTerminal, Write};

use super::CommandError;
use crate::maintenance::{Progress, Standing};

/// Columns of the bar itself.
const WIDTH: usize = 30;

/// A line of the terminal that is overwritten with each state.
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

    /// Shows the state of the job.
    pub(super) fn show(&mut self, standing: &Standing) {
        if self.terminal {
            self.shown = true;
            let mut out = std::io::stderr();
            // A terminal that is gone needs no bar.
            let _gone = write!(out, "\r\x1b[K{}", line(standing));
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

/// Runs a job in this process and shows its progress.
pub(super) fn watched<T>(
    progress: &Progress,
    job: impl FnOnce() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let mut bar = ProgressBar::new();
    progress.watched(move |standing| bar.show(standing), job)
}

/// The line that is shown.
fn line(standing: &Standing) -> String {
    let full = (0..WIDTH).map(|column| {
        let at = f64::from(u32::try_from(column).unwrap_or_default());
        let width = f64::from(u32::try_from(WIDTH).unwrap_or(1));
        if at / width < standing.done { '#' } else { '.' }
    });
    let full: String = full.collect();
    let left = match standing.seconds_left() {
        Some(seconds) => format!("{seconds:.0} s left"),
        None => "...".into(),
    };
    format!(
        "{full} {:3.0} % {} {} ({:.0}/s), {left}",
        standing.done * 100.0,
        standing.items,
        standing.what,
        standing.rate(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_much_at_which_rate_and_how_long() {
        let standing = Standing {
            done: 0.5,
            items: 1_000,
            what: "blobs".into(),
            seconds: 10.0,
        };
        let line = line(&standing);
        assert!(line.contains(&"#".repeat(15)) && !line.contains(&"#".repeat(16)));
        assert!(
            line.ends_with(" 50 % 1000 blobs (100/s), 10 s left"),
            "{line}"
        );
    }
}

//! The bar: how far a long work is, for who watches a terminal.

use std::io::{IsTerminal, Write};

use crate::maintenance::Standing;

/// Columns of the bar itself.
const WIDTH: usize = 30;

/// A line of the terminal that is written again and again.
#[derive(Debug)]
pub(super) struct Bar {
    shown: bool,
    terminal: bool,
}

impl Bar {
    /// A bar, which shows nothing unless somebody watches.
    pub(super) fn new() -> Self {
        Self {
            shown: false,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows how far it is.
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

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown {
            let _gone = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
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

//! Printable text: names and values chosen by others, escaped for terminals, logs and reports.
//!
//! A control character could end a line or command a terminal, a bidirectional control could
//! disguise a name, and bytes that are not UTF-8 would be lost. All of them are escaped, and so is
//! the backslash, so that different names are always shown differently.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// Returns a name or path with everything unprintable escaped.
pub fn printable(name: impl AsRef<OsStr>) -> String {
    let mut shown = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        // Writing to a string does not fail.
        let _ok = write_escaped(&mut shown, chunk.valid(), |one| {
            is_printable(one) && one != '\\'
        });
        for byte in chunk.invalid() {
            let _ok = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Escapes everything unprintable in a finished line. Names in it are escaped already, so
/// backslashes are left alone.
pub fn line(text: &str) -> String {
    let mut shown = String::new();
    let _ok = write_escaped(&mut shown, text, is_printable);
    shown
}

/// Escapes finished lines as [`line()`] does; newlines and tabs are left alone.
pub fn lines(text: &str) -> String {
    let mut shown = String::new();
    let _ok = write_escaped(&mut shown, text, |one| {
        matches!(one, '\n' | '\t') || is_printable(one)
    });
    shown
}

fn write_escaped(to: &mut String, text: &str, as_it_is: impl Fn(char) -> bool) -> fmt::Result {
    for one in text.chars() {
        if as_it_is(one) {
            to.write_char(one)?;
        } else {
            write!(to, "{}", one.escape_default())?;
        }
    }
    Ok(())
}

/// Returns `false` for control characters, line separators and bidirectional controls.
fn is_printable(one: char) -> bool {
    let turns = matches!(one,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !one.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_on_one_line_without_control_sequences() {
        let shown = |bytes: &[u8]| printable(OsStr::from_bytes(bytes));
        assert_eq!(shown("team/äpp-1".as_bytes()), "team/äpp-1");
        assert_eq!(shown(b"a\nb\r\x1b[2Jc\x7f"), r"a\nb\r\u{1b}[2Jc\u{7f}");
        assert_eq!(shown(b"caf\xe9"), r"caf\xe9");
        assert_eq!(
            shown("exe\u{202e}gpj.\u{9b}".as_bytes()),
            r"exe\u{202e}gpj.\u{9b}"
        );
    }

    #[test]
    fn different_names_are_shown_differently() {
        assert_ne!(printable("a\nb"), printable(r"a\nb"));
        assert_ne!(printable(OsStr::from_bytes(b"\xe9")), printable(r"\xe9"));
    }

    #[test]
    fn escapes_are_not_escaped_again() {
        let shown = printable("a\nb");
        assert_eq!(line(&shown), shown);
        assert_eq!(line("two\nlines"), r"two\nlines");
        assert_eq!(lines("two\nlines \x1b[0m"), "two\nlines \\u{1b}[0m");
    }
}

//! JSON values as spans of a document whose syntax was checked before: nothing is built, so that
//! the deepest and widest document costs a reader no more than passing over it.
//!
//! Numbers, strings and names mean what Go's `encoding/json` takes them for, since registries
//! read them with it. Which grammar a document must keep is in [`scan`].

use std::borrow::Cow;
use std::fmt;

mod scan;
mod text;

pub(super) use scan::{DEPTH_MAX, DuplicateNames, SyntaxError, SyntaxErrorKind, scan};

/// A value: its bytes in the document, which begin and end with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Json<'a>(&'a [u8]);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonType {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'a> Json<'a> {
    /// The value of a document that [`scan`] has found to be one.
    pub(super) fn of(document: &'a [u8]) -> Self {
        Cursor(document).value()
    }

    /// What it is.
    pub(super) fn json_type(self) -> JsonType {
        match self.0.first() {
            Some(b'{') => JsonType::Object,
            Some(b'[') => JsonType::Array,
            Some(b'"') => JsonType::String,
            Some(b't' | b'f') => JsonType::Bool,
            Some(b'-' | b'0'..=b'9') => JsonType::Number,
            Some(_) | None => JsonType::Null,
        }
    }

    /// The text of a string; `None` if it is something else.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let within = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(text::decode(within))
    }

    /// A number without a fraction and an exponent that fits 64 bits, as Go reads one into an
    /// integer; `None` if it is something else.
    pub(super) fn integer(self) -> Option<i64> {
        let literal = (self.json_type() == JsonType::Number).then_some(self.0)?;
        std::str::from_utf8(literal).ok()?.parse().ok()
    }

    /// Names and values of an object in the document's order; none of another value.
    pub(super) fn members(self) -> Members<'a> {
        let within = self.0.strip_prefix(b"{").unwrap_or_default();
        Members(Cursor(within))
    }

    /// The values of an array; none of another value.
    pub(super) fn elements(self) -> Elements<'a> {
        let within = self.0.strip_prefix(b"[").unwrap_or_default();
        Elements(Cursor(within))
    }
}

/// Shows a value as it stands in a document; of what is large only how much there is.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.json_type() {
            JsonType::Null | JsonType::Bool | JsonType::Number => {
                f.write_str(&String::from_utf8_lossy(self.0))
            }
            JsonType::String => write!(f, "{:?}", self.text().unwrap_or_default()),
            JsonType::Array => write!(f, "an array of {}", self.elements().count()),
            JsonType::Object => write!(f, "an object of {}", self.members().count()),
        }
    }
}

/// The members of an object.
pub(super) struct Members<'a>(Cursor<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.item()?;
        let value = self.0.item().unwrap_or(Json(b"null"));
        Some((name.text().unwrap_or_default(), value))
    }
}

/// The values of an array.
pub(super) struct Elements<'a>(Cursor<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.item()
    }
}

/// What of a document is still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The next name or value of an object or array, behind what separates it from the one
    /// before; `None` at the end.
    fn item(&mut self) -> Option<Json<'a>> {
        let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let at = self.0.iter().position(|byte| !separates(byte))?;
        self.0 = self.0.get(at..)?;
        (!matches!(self.0.first(), Some(b'}' | b']'))).then(|| self.value())
    }

    fn value(&mut self) -> Json<'a> {
        let spaces = self.0.iter().position(|byte| !byte.is_ascii_whitespace());
        let text = self.0.get(spaces.unwrap_or_default()..).unwrap_or_default();
        let (value, rest) = text.split_at_checked(len(text)).unwrap_or((text, &[]));
        self.0 = rest;
        Json(value)
    }
}

/// How many bytes the value is long with which a text begins.
fn len(text: &[u8]) -> usize {
    match text.first() {
        Some(b'"') => string_len(text),
        Some(b'{' | b'[') => nested_len(text),
        Some(_) | None => {
            let ends =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            text.iter().position(ends).unwrap_or(text.len())
        }
    }
}

fn string_len(text: &[u8]) -> usize {
    let mut escaped = true;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |at| at + 1)
}

fn nested_len(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += string_len(text.get(at..).unwrap_or_default());
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The pointer to a member of what `pointer` leads to (RFC 6901).
pub(super) fn below(pointer: &str, name: &str) -> String {
    if name.contains(['~', '/']) {
        return format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    }
    format!("{pointer}/{name}")
}

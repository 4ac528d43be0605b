//! JSON values as spans of a document with valid syntax. No tree is built, so the deepest and
//! widest document costs a reader no more than skipping it.
//!
//! Numbers, strings and names are interpreted as Go's `encoding/json` does, since registries read
//! them with it. [`mod@scan`] checks the grammar.

use std::borrow::Cow;
use std::fmt;

mod scan;
mod text;

pub(super) use scan::{DEPTH_MAX, DuplicateNames, SyntaxError, SyntaxErrorKind, scan};

/// A value: its bytes in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Json<'a>(&'a [u8]);

/// The type of a value.
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
    /// The value of a document that [`scan()`] has accepted.
    pub(super) fn of(document: &'a [u8]) -> Self {
        Cursor(document).value()
    }

    /// The type of the value.
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

    /// The text of a string; `None` for another type.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let within = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(text::decode(within))
    }

    /// The value of a number without fraction and exponent that fits 64 bits, as Go decodes an
    /// integer; `None` for anything else.
    pub(super) fn integer(self) -> Option<i64> {
        let literal = (self.json_type() == JsonType::Number).then_some(self.0)?;
        std::str::from_utf8(literal).ok()?.parse().ok()
    }

    /// The names and values of an object in document order; empty for another type.
    pub(super) fn members(self) -> Members<'a> {
        let within = self.0.strip_prefix(b"{").unwrap_or_default();
        Members(Cursor(within))
    }

    /// The values of an array; empty for another type.
    pub(super) fn elements(self) -> Elements<'a> {
        let within = self.0.strip_prefix(b"[").unwrap_or_default();
        Elements(Cursor(within))
    }
}

/// Shows a scalar as in the document, and of a container only its size.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.json_type() {
            JsonType::Null | JsonType::Bool | JsonType::Number => {
                f.write_str(&String::from_utf8_lossy(self.0))
            }
            JsonType::String => write!(f, "{:?}", self.text().unwrap_or_default()),
            JsonType::Array => write!(f, "an array of length {}", self.elements().count()),
            JsonType::Object => write!(f, "an object with {} members", self.members().count()),
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

/// The elements of an array.
pub(super) struct Elements<'a>(Cursor<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.item()
    }
}

/// The unread rest of a document.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The next name or value of a container, after its separator; `None` at the end.
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

/// The length in bytes of the value at the start of `text`.
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

/// The pointer to a member of the value at `pointer` (RFC 6901).
pub(super) fn below(pointer: &str, name: &str) -> String {
    if name.contains(['~', '/']) {
        return format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    }
    format!("{pointer}/{name}")
}

//! A scanner for the grammar of JSON (RFC 8259) as Go's `encoding/json` checks it. A stack on the
//! heap replaces recursion, so time and memory are bounded by the length of the document.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};

use super::text;

/// Deepest nesting that Go's decoder, and so every registry, reads.
pub(in crate::manifest) const DEPTH_MAX: usize = 10_000;

/// Whether an object may have duplicate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manifest) enum DuplicateNames {
    /// No: readers differ in which member counts.
    Refuse,
    /// Yes.
    Allow,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manifest) enum SyntaxErrorKind {
    /// Something other than this.
    Unexpected(&'static str),
    /// More than [`DEPTH_MAX`] levels.
    TooDeep,
    /// A duplicate name.
    DuplicateName,
}

/// A syntax error and its place.
#[derive(Debug)]
pub(in crate::manifest) struct SyntaxError {
    pub(in crate::manifest) kind: SyntaxErrorKind,
    /// The offset in the document.
    pub(in crate::manifest) at: usize,
    /// The names and positions that lead to it.
    pub(in crate::manifest) path: Vec<String>,
}

/// An open array or object.
struct Container {
    is_array: bool,
    /// In an array the position of the current element, in an object the offset of the current
    /// member's name.
    place: usize,
    /// The length of the scanner's `names` when it was opened.
    names: usize,
}

/// Checks that a document is one JSON value.
///
/// # Errors
/// The first syntax error; with [`DuplicateNames::Refuse`] also a duplicate name.
pub(in crate::manifest) fn scan(document: &[u8], names: DuplicateNames) -> Result<(), SyntaxError> {
    let mut scanner = Scanner {
        document,
        at: 0,
        open: Vec::new(),
        names: Vec::new(),
        hashes: (names == DuplicateNames::Refuse).then(RandomState::new),
    };
    scanner.value()?;
    while scanner.next_value()? {
        scanner.value()?;
    }
    Ok(())
}

struct Scanner<'a> {
    document: &'a [u8],
    at: usize,
    open: Vec<Container>,
    /// The names in the open objects: hash and offset.
    names: Vec<(u64, usize)>,
    /// Hashes names, if they must be unique.
    hashes: Option<RandomState>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    /// Skips a byte if it is this one.
    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn pass(&mut self, admitted: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&admitted) {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        self.pass(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, SyntaxError> {
        Err(self.fault(SyntaxErrorKind::Unexpected(expected)))
    }

    fn fault(&self, kind: SyntaxErrorKind) -> SyntaxError {
        let steps = self.open.iter().map(|one| {
            if one.is_array {
                one.place.to_string()
            } else {
                self.name(one.place).into_owned()
            }
        });
        SyntaxError {
            kind,
            at: self.at,
            path: steps.collect(),
        }
    }

    /// Reads values down to the first without children.
    fn value(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.space();
            match self.peek() {
                Some(b'{') => {
                    self.open(false)?;
                    if self.eat(b'}') {
                        self.open.pop();
                        return Ok(());
                    }
                    self.member()?;
                }
                Some(b'[') => {
                    self.open(true)?;
                    if self.eat(b']') {
                        self.open.pop();
                        return Ok(());
                    }
                }
                Some(b'"') => return self.string(),
                Some(b'-' | b'0'..=b'9') => return self.number(),
                Some(b't') => return self.literal(b"true"),
                Some(b'f') => return self.literal(b"false"),
                Some(b'n') => return self.literal(b"null"),
                Some(_) | None => return self.unexpected("a value"),
            }
        }
    }

    fn open(&mut self, is_array: bool) -> Result<(), SyntaxError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(self.fault(SyntaxErrorKind::TooDeep));
        }
        self.at += 1;
        self.open.push(Container {
            is_array,
            place: if is_array { 0 } else { self.at },
            names: self.names.len(),
        });
        self.space();
        Ok(())
    }

    /// Reads the name of a member and its colon.
    fn member(&mut self) -> Result<(), SyntaxError> {
        self.space();
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.unexpected("a name in quotes");
        }
        self.string()?;
        if let Some(hashes) = &self.hashes {
            let hash = hashes.hash_one(&*self.name(start));
            self.names.push((hash, start));
        }
        if let Some(object) = self.open.last_mut() {
            object.place = start;
        }
        self.space();
        if self.eat(b':') {
            Ok(())
        } else {
            self.unexpected("a colon")
        }
    }

    /// The name at an offset.
    fn name(&self, start: usize) -> Cow<'_, str> {
        let text = self.document.get(start..).unwrap_or_default();
        let text = text.get(..super::string_len(text)).unwrap_or_default();
        let within = text
            .strip_prefix(b"\"")
            .and_then(|text| text.strip_suffix(b"\""));
        text::decode(within.unwrap_or_default())
    }

    /// Reads what follows a value. Returns `true` if another value follows.
    fn next_value(&mut self) -> Result<bool, SyntaxError> {
        loop {
            self.space();
            let Some(is_array) = self.open.last().map(|one| one.is_array) else {
                return if self.at == self.document.len() {
                    Ok(false)
                } else {
                    self.unexpected("the end of the document")
                };
            };
            if self.eat(b',') {
                if is_array {
                    if let Some(array) = self.open.last_mut() {
                        array.place += 1;
                    }
                } else {
                    self.member()?;
                }
                return Ok(true);
            }
            let (end, expected) = if is_array {
                (b']', "a comma or the end of the array")
            } else {
                (b'}', "a comma or the end of the object")
            };
            if !self.eat(end) {
                return self.unexpected(expected);
            }
            self.close()?;
        }
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let first = self.open.last().map_or(0, |object| object.names);
        if let Some(twice) = self.duplicate(first) {
            if let Some(object) = self.open.last_mut() {
                object.place = twice;
            }
            self.at = twice;
            return Err(self.fault(SyntaxErrorKind::DuplicateName));
        }
        self.names.truncate(first);
        self.open.pop();
        Ok(())
    }

    /// The offset of a duplicate among the names from `first` on.
    fn duplicate(&mut self, first: usize) -> Option<usize> {
        let names = self.names.get_mut(first..)?;
        names.sort_unstable();
        let equal = self.names.get(first..)?.windows(2).filter_map(|pair| {
            let [(hash, one), (other_hash, other)] = pair else {
                return None;
            };
            let same = hash == other_hash && self.name(*one) == self.name(*other);
            same.then_some(*other)
        });
        equal.min()
    }

    fn string(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        loop {
            self.pass(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.unexpected("an escaped control character"),
                None => return self.unexpected("the end of a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.unexpected("a hexadecimal digit");
                    }
                    self.at += 1;
                }
                Ok(())
            }
            Some(_) | None => self.unexpected("an escape of JSON"),
        }
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let first = self.at;
        self.pass(|byte| byte.is_ascii_digit());
        if self.at == first {
            return self.unexpected("a digit");
        }
        Ok(())
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), SyntaxError> {
        let rest = self.document.get(self.at..).unwrap_or_default();
        if !rest.starts_with(literal) {
            return self.unexpected("a value");
        }
        self.at += literal.len();
        Ok(())
    }
}

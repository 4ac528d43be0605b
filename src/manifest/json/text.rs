//! JSON strings, decoded as Go's `encoding/json` does.

use std::borrow::Cow;

/// Decodes the text between two quotes. Half of a surrogate pair and each byte that is not UTF-8
/// become U+FFFD.
pub(super) fn decode(within: &[u8]) -> Cow<'_, str> {
    if !within.contains(&b'\\')
        && let Ok(text) = std::str::from_utf8(within)
    {
        return Cow::Borrowed(text);
    }
    let (mut text, mut rest) = (String::with_capacity(within.len()), within);
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or_default();
        push_plain(&mut text, plain);
        rest = push_escape(&mut text, escape);
    }
    push_plain(&mut text, rest);
    Cow::Owned(text)
}

fn push_plain(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// Decodes the escape at the start of `from`; returns the rest.
fn push_escape<'a>(text: &mut String, from: &'a [u8]) -> &'a [u8] {
    let [_, kind, rest @ ..] = from else {
        return &[];
    };
    text.push(match kind {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return push_unit(text, rest),
        other => char::from(*other),
    });
    rest
}

/// Decodes the four digits of a UTF-16 unit, and a second unit if needed.
fn push_unit<'a>(text: &mut String, from: &'a [u8]) -> &'a [u8] {
    let Some((unit, rest)) = unit(from) else {
        return from;
    };
    if (0xd800..0xdc00).contains(&unit)
        && let [b'\\', b'u', second @ ..] = rest
        && let Some((low, behind)) = self::unit(second)
        && (0xdc00..0xe000).contains(&low)
    {
        let both = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        text.extend(char::from_u32(both));
        return behind;
    }
    text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

fn unit(from: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = from.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

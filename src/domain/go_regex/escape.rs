//! Escapes of one character (`\n`, `\101`, `\x{1F525}`, `\.`), and how a character is written for the `regex` crate.

use super::{Fault, RegexError, read_part};

/// Matches no character.
pub(super) const NEVER: &str = r"[^\x{0}-\x{10FFFF}]";
const LAST_CODE_POINT: u32 = 0x10_FFFF;

/// The code point of the escape `text` begins with, and what follows it. It may be a surrogate, which no text holds.
pub(super) fn read_escape(text: &str) -> Result<(u32, &str), RegexError> {
    let mut chars = text.chars();
    chars.next();
    let Some(kind) = chars.next() else {
        return Err(Fault::TrailingBackslash.at(""));
    };
    let rest = chars.as_str();
    let refuse = |rest: &str| Err(Fault::Escape.at(read_part(text, rest)));
    match kind {
        '1'..='7' if !rest.starts_with(is_octal) => refuse(rest),
        '0'..='7' => Ok(read_octal(kind, rest)),
        'x' => read_hex(rest).or_else(refuse),
        'a' => Ok((0x07, rest)),
        'f' => Ok((0x0C, rest)),
        'n' => Ok((0x0A, rest)),
        'r' => Ok((0x0D, rest)),
        't' => Ok((0x09, rest)),
        'v' => Ok((0x0B, rest)),
        _ if kind.is_ascii() && !kind.is_ascii_alphanumeric() => Ok((u32::from(kind), rest)),
        _ => refuse(rest),
    }
}

fn is_octal(c: char) -> bool {
    c.is_digit(8)
}

/// Up to three octal digits, of which `first` is read.
fn read_octal(first: char, text: &str) -> (u32, &str) {
    let mut value = first.to_digit(8).unwrap_or(0);
    let mut rest = text;
    for _ in 1..3 {
        let mut chars = rest.chars();
        let Some(digit) = chars.next().and_then(|c| c.to_digit(8)) else {
            break;
        };
        value = value * 8 + digit;
        rest = chars.as_str();
    }
    (value, rest)
}

/// `41` or `{1F525}`; on failure, what was left when it showed.
fn read_hex(text: &str) -> Result<(u32, &str), &str> {
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return Err(text);
    };
    if first == '{' {
        return read_braced_hex(chars.as_str());
    }
    let second = chars.next();
    let digits = first.to_digit(16).zip(second.and_then(|c| c.to_digit(16)));
    match digits {
        Some((high, low)) => Ok((high * 16 + low, chars.as_str())),
        None => Err(chars.as_str()),
    }
}

fn read_braced_hex(text: &str) -> Result<(u32, &str), &str> {
    let mut value = 0;
    let mut n_digits = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '}' && n_digits > 0 {
            return Ok((value, chars.as_str()));
        }
        let Some(digit) = c.to_digit(16) else {
            return Err(chars.as_str());
        };
        value = value * 16 + digit;
        n_digits += 1;
        if value > LAST_CODE_POINT {
            return Err(chars.as_str());
        }
    }
    Err("")
}

/// The expression that matches this one code point.
pub(super) fn written(code_point: u32) -> String {
    match char::from_u32(code_point) {
        None => NEVER.to_owned(),
        Some(c) if c.is_ascii_alphanumeric() || !c.is_ascii() => c.to_string(),
        Some(_) => format!(r"\x{{{code_point:X}}}"),
    }
}

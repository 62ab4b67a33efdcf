//! Alertmanager's UTF-8 grammar of matchers: names and values of any characters, quoted where one is reserved.
//!
//! It answers yes or no: what Alertmanager says of a text that no grammar reads are the words of the classic one.

use super::{Matcher, Op, read_op};

/// Reads a list of exactly one.
pub(super) fn parse_one(text: &str) -> Option<Matcher> {
    let mut matchers = parse_list(text)?;
    let only = matchers.pop()?;
    matchers.is_empty().then_some(only)
}

/// Braces come in a pair or not at all, and the last matcher may have a comma after it.
pub(super) fn parse_list(text: &str) -> Option<Vec<Matcher>> {
    let text = text.trim();
    let body = match text.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}')?,
        None => text,
    };
    let mut matchers = Vec::new();
    let mut rest = body.trim_start();
    while !rest.is_empty() {
        let (matcher, after) = read_matcher(rest)?;
        matchers.push(matcher);
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(matchers)
}

/// Whether a name or value has to be quoted to hold `c`.
pub(super) fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

fn read_matcher(text: &str) -> Option<(Matcher, &str)> {
    let (name, rest) = read_text(text)?;
    let (op, rest): (Op, &str) = read_op(rest.trim_start())?;
    let (value, rest) = read_text(rest.trim_start())?;
    let matcher = Matcher::new(op, name, value).ok()?;
    Some((matcher, rest.trim_start()))
}

/// A name or value, quoted or not.
fn read_text(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return read_quoted(quoted);
    }
    let end = text.find(is_reserved).unwrap_or(text.len());
    let (bare, rest) = text.split_at_checked(end)?;
    (!bare.is_empty()).then(|| (bare.to_owned(), rest))
}

/// Reads to the closing quote with the escapes of a Go string; they may write the bytes of a character one by one.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let mut chars = rest.chars();
        match chars.next()? {
            '"' => return Some((String::from_utf8(bytes).ok()?, chars.as_str())),
            '\n' => return None,
            '\\' => rest = read_escape(chars.as_str(), &mut bytes)?,
            c => {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                rest = chars.as_str();
            }
        }
    }
}

/// Adds what the escape after a backslash stands for; what follows it.
fn read_escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    let byte = match chars.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0C,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return read_byte(chars.as_str(), 2, 16, bytes),
        '0'..='7' => return read_byte(text, 3, 8, bytes),
        'u' => return read_code_point(chars.as_str(), 4, bytes),
        'U' => return read_code_point(chars.as_str(), 8, bytes),
        _ => return None,
    };
    bytes.push(byte);
    Some(chars.as_str())
}

fn read_byte<'a>(
    text: &'a str,
    n_digits: usize,
    radix: u32,
    bytes: &mut Vec<u8>,
) -> Option<&'a str> {
    let (number, rest) = read_number(text, n_digits, radix)?;
    bytes.push(u8::try_from(number).ok()?);
    Some(rest)
}

fn read_code_point<'a>(text: &'a str, n_digits: usize, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (number, rest) = read_number(text, n_digits, 16)?;
    let c = char::from_u32(number)?;
    bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
    Some(rest)
}

/// Exactly `n_digits` digits.
fn read_number(text: &str, n_digits: usize, radix: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(n_digits)?;
    let is_number = digits.chars().all(|c| c.is_digit(radix));
    let number = is_number.then(|| u32::from_str_radix(digits, radix))?;
    Some((number.ok()?, rest))
}

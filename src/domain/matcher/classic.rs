//! Alertmanager's classic grammar of matchers: names of ASCII, and a value that runs to the end, quoted or not.

use super::{Matcher, MatcherError, read_op};

/// Splits at the commas outside of quotes and reads each part. One brace is taken off either end, whether or not the other has one.
pub(super) fn parse_list(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    split(text).into_iter().map(parse_one).collect()
}

/// The parts between the commas outside of quotes; a last one that is blank is no part.
/// A backslash before a comma stays in force behind it, as in Alertmanager.
fn split(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let mut parts: Vec<&str> = text
        .split(|c| {
            match c {
                ',' => return !is_quoted,
                '"' if is_escaped => is_escaped = false,
                '"' => is_quoted = !is_quoted,
                '\\' => is_escaped = !is_escaped,
                _ => is_escaped = false,
            }
            false
        })
        .collect();
    let last = parts.pop().unwrap_or_default().trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

pub(super) fn parse_one(text: &str) -> Result<Matcher, MatcherError> {
    let bad = || MatcherError::Format(text.to_owned());
    let (name, rest) = read_name(text.trim_start_matches(is_blank)).ok_or_else(bad)?;
    let (op, rest) = read_op(rest.trim_start_matches(is_blank)).ok_or_else(bad)?;
    let raw = rest.trim_matches(is_blank);
    let value = read_value(raw).ok_or_else(|| MatcherError::UnescapedQuote(raw.to_owned()))?;
    Ok(Matcher::new(op, name, value)?)
}

/// What `\s` is in Go.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0C' | '\r' | ' ')
}

fn read_name(text: &str) -> Option<(&str, &str)> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let end = text.find(|c| !is_inner(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    let is_name = name.starts_with(|c: char| !c.is_ascii_digit());
    is_name.then_some((name, rest))
}

/// The value without quotes and escapes; none where a quote stands alone. A backslash before anything but `n`, `"` and `\` is itself.
fn read_value(raw: &str) -> Option<String> {
    let (is_quoted, body) = match raw.strip_prefix('"') {
        Some(body) => (true, body),
        None => (false, raw),
    };
    let mut value = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '"' => return (is_quoted && chars.as_str().is_empty()).then_some(value),
            _ => value.push(c),
        }
    }
    (!is_quoted).then_some(value)
}

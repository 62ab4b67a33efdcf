//! The syntax of a body: encoding, depth, and what is not quite JSON, told with where it stands.

use super::super::{Unusable, cut};
use super::segment;
use serde_json::value::RawValue;
use std::borrow::Cow;

const MAX_DEPTH: usize = 128;

/// The whole body as one value of sound syntax, and a note where it had to be mended.
pub(in super::super) fn read(body: &[u8]) -> Result<(Cow<'_, RawValue>, Option<String>), Unusable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(body, error.valid_up_to())),
    };
    if text.trim().is_empty() {
        return Err(unusable("$", "the body is empty".to_owned()));
    }
    if let Some(at) = too_deep(text) {
        let reason = format!("nested deeper than {MAX_DEPTH} at {}", position(text, at));
        return Err(unusable("$", reason));
    }
    let error = match serde_json::from_str::<&RawValue>(text) {
        Ok(root) => return Ok((Cow::Borrowed(root), None)),
        Err(error) => error,
    };
    let Some((mended, n)) = with_quoted_non_numbers(text) else {
        let at = offset(text, &error);
        return Err(syntax(text, at, &error));
    };
    match serde_json::from_str::<Box<RawValue>>(&mended) {
        Ok(root) => {
            let note = format!("NaN or Infinity without quotes, read as text ({n} times)");
            Ok((Cow::Owned(root), Some(note)))
        }
        Err(error) => {
            let at = before_mending(text, offset(&mended, &error));
            Err(syntax(text, at, &error))
        }
    }
}

fn unusable(path: &str, reason: String) -> Unusable {
    Unusable {
        path: path.to_owned(),
        reason,
    }
}

fn not_utf8(body: &[u8], at: usize) -> Unusable {
    let sound = body.get(..at).unwrap_or_default();
    let sound = std::str::from_utf8(sound).unwrap_or_default();
    let place = position(sound, at);
    unusable("$", format!("the body is not UTF-8 at {place}"))
}

fn syntax(text: &str, at: usize, error: &serde_json::Error) -> Unusable {
    let whole = error.to_string();
    let (line, column) = (error.line(), error.column());
    let what = whole
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&whole);
    let reason = format!("not JSON: {what} at {}", position(text, at));
    unusable(&path_to(text, at), reason)
}

/// `line 3 column 7`, both from 1, columns in bytes.
fn position(text: &str, at: usize) -> String {
    let before = cut(text, at);
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |n| n + 1) + 1;
    format!("line {line} column {column}")
}

/// Where an error stands, in bytes from the start.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    line_start + error.column().saturating_sub(1)
}

fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for token in tokens(text) {
        match token.first {
            b'{' | b'[' if depth == MAX_DEPTH => return Some(token.at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _other => {}
        }
    }
    None
}

/// The path of what stands at `at` in a text that may be unsound from there on.
fn path_to(text: &str, at: usize) -> String {
    enum Step<'a> {
        Key(Option<&'a str>),
        Index(usize),
    }
    let mut steps = Vec::new();
    for token in tokens(text).take_while(|token| token.at < at) {
        match (token.first, steps.last_mut()) {
            (b'{', _) => steps.push(Step::Key(None)),
            (b'[', _) => steps.push(Step::Index(0)),
            (b'}' | b']', _) => {
                steps.pop();
            }
            (b',', Some(Step::Key(key))) => *key = None,
            (b',', Some(Step::Index(n))) => *n += 1,
            (b'"', Some(Step::Key(key @ None))) => *key = Some(token.text),
            _value => {}
        }
    }
    let mut path = "$".to_owned();
    for step in steps {
        match step {
            Step::Key(None) => {}
            Step::Key(Some(quoted)) => match serde_json::from_str::<String>(quoted) {
                Ok(key) => path.push_str(&segment(&key)),
                Err(_half_a_key) => return path,
            },
            Step::Index(n) => path.push_str(&format!("[{n}]")),
        }
    }
    path
}

/// What Python writes for floats that are no numbers.
const NON_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
/// What quoting one adds.
const QUOTES: usize = 2;

/// The text with quotes around each NaN and Infinity that has none, and how many; none where there is no such.
fn with_quoted_non_numbers(text: &str) -> Option<(String, usize)> {
    let mut mended = String::new();
    let (mut copied, mut n) = (0, 0);
    for token in non_numbers(text) {
        mended.push_str(text.get(copied..token.at).unwrap_or_default());
        mended.push('"');
        mended.push_str(token.text);
        mended.push('"');
        copied = token.at + token.text.len();
        n += 1;
    }
    mended.push_str(text.get(copied..).unwrap_or_default());
    (n > 0).then_some((mended, n))
}

fn non_numbers(text: &str) -> impl Iterator<Item = Token<'_>> {
    tokens(text).filter(|token| NON_NUMBERS.contains(&token.text))
}

/// The place in the text as it came of a place in the mended one.
fn before_mending(text: &str, at: usize) -> usize {
    let mut added = 0;
    for token in non_numbers(text) {
        if token.at + added >= at {
            break;
        }
        added += QUOTES;
    }
    at.saturating_sub(added)
}

/// A bracket, brace, comma, colon, a string with its quotes, or a run of anything else.
pub(super) struct Token<'a> {
    at: usize,
    first: u8,
    pub(super) text: &'a str,
}

/// The tokens of a text, sound or not; what a string holds is never taken for one.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let bytes = text.as_bytes();
    let mut next = 0;
    std::iter::from_fn(move || {
        while bytes.get(next).is_some_and(u8::is_ascii_whitespace) {
            next += 1;
        }
        let (at, first) = (next, *bytes.get(next)?);
        next = match first {
            b'"' => end_of_string(bytes, at),
            _ if stands_alone(first) => at + 1,
            _word => end_of_word(bytes, at),
        };
        let text = text.get(at..next).unwrap_or_default();
        Some(Token { at, first, text })
    })
}

fn stands_alone(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':')
}

fn end_of_string(bytes: &[u8], opening: usize) -> usize {
    let mut at = opening + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| stands_alone(*byte) || *byte == b'"' || byte.is_ascii_whitespace();
    let rest = bytes.get(start..).unwrap_or_default();
    rest.iter()
        .position(ends)
        .map_or(bytes.len(), |n| start + n)
}

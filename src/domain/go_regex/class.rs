//! Character classes (`[a-z]`, `\d`, `[[:word:]]`), written so that the `regex` crate reads the same characters in them.

use super::escape::{NEVER, read_escape};
use super::property::read_property;
use super::{Fault, RegexError, read_part};

/// Last code point before the surrogates and first one after them; a range for the `regex` crate ends at neither side within them.
const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);

/// The items a class is made of, and what follows the class. Folding of case is left to the flag around the class:
/// Go folds each item and then negates, the `regex` crate folds each inner class, negates it, and folds the whole,
/// and a set closed under folding stays so when negated.
pub(super) fn read_class(text: &str) -> Result<(String, &str), RegexError> {
    let mut rest = text.strip_prefix('[').unwrap_or(text);
    let mut class = "[".to_owned();
    if let Some(after) = rest.strip_prefix('^') {
        class.push('^');
        rest = after;
    }
    let mut is_first = true;
    while is_first || !rest.starts_with(']') {
        is_first = false;
        let (item, after) = match read_group(rest)? {
            Some(group) => group,
            None => read_range(rest, text)?,
        };
        class.push_str(&item);
        rest = after;
    }
    class.push(']');
    Ok((class, rest.strip_prefix(']').unwrap_or(rest)))
}

/// A named set of characters, where `text` begins with one.
fn read_group(text: &str) -> Result<Option<(String, &str)>, RegexError> {
    if let Some(group) = read_posix_group(text)? {
        return Ok(Some(group));
    }
    if let Some(property) = read_property(text)? {
        return Ok(Some(property));
    }
    Ok(read_perl_group(text))
}

/// `\d`, `\s`, `\w` and their opposites: ASCII, and `\s` is without the vertical tab.
pub(super) fn read_perl_group(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('\\')?.chars();
    let item = match chars.next()? {
        'd' => r"[0-9]",
        'D' => r"[^0-9]",
        's' => r"[\t\n\x0C\r\x20]",
        'S' => r"[^\t\n\x0C\r\x20]",
        'w' => r"[0-9A-Za-z_]",
        'W' => r"[^0-9A-Za-z_]",
        _ => return None,
    };
    Some((item.to_owned(), chars.as_str()))
}

/// `[:alpha:]`, `[:^alpha:]`; an unknown name is refused, and a `[:` without an end is two characters.
fn read_posix_group(text: &str) -> Result<Option<(String, &str)>, RegexError> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|t| t.split_once(":]")) else {
        return Ok(None);
    };
    let (sign, bare) = match name.strip_prefix('^') {
        Some(bare) => ("^", bare),
        None => ("", name),
    };
    let set = match bare {
        "alnum" => r"0-9A-Za-z",
        "alpha" => r"A-Za-z",
        "ascii" => r"\x00-\x7F",
        "blank" => r"\t\x20",
        "cntrl" => r"\x00-\x1F\x7F",
        "digit" => r"0-9",
        "graph" => r"\x21-\x7E",
        "lower" => r"a-z",
        "print" => r"\x20-\x7E",
        "punct" => r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E",
        "space" => r"\t\n\x0B\x0C\r\x20",
        "upper" => r"A-Z",
        "word" => r"0-9A-Za-z_",
        "xdigit" => r"0-9A-Fa-f",
        _ => return Err(Fault::CharRange.at(read_part(text, rest))),
    };
    Ok(Some((format!("[{sign}{set}]"), rest)))
}

/// One character, or a range of them.
fn read_range<'a>(text: &'a str, class: &str) -> Result<(String, &'a str), RegexError> {
    let (low, rest) = read_char(text, class)?;
    let upper = rest
        .strip_prefix('-')
        .filter(|after| !after.is_empty() && !after.starts_with(']'));
    let Some(upper) = upper else {
        return Ok((range(low, low), rest));
    };
    let (high, rest) = read_char(upper, class)?;
    if high < low {
        return Err(Fault::CharRange.at(read_part(text, rest)));
    }
    Ok((range(low, high), rest))
}

fn read_char<'a>(text: &'a str, class: &str) -> Result<(u32, &'a str), RegexError> {
    if text.starts_with('\\') {
        return read_escape(text);
    }
    let mut chars = text.chars();
    match chars.next() {
        Some(c) => Ok((u32::from(c), chars.as_str())),
        None => Err(Fault::MissingBracket.at(class)),
    }
}

fn range(low: u32, high: u32) -> String {
    let (first, last) = SURROGATES;
    let low = if (first..=last).contains(&low) {
        last + 1
    } else {
        low
    };
    let high = if (first..=last).contains(&high) {
        first - 1
    } else {
        high
    };
    if low > high {
        return NEVER.to_owned();
    }
    format!(r"\x{{{low:X}}}-\x{{{high:X}}}")
}

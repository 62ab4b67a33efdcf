//! Regular expressions as Go writes them (RE2), compiled by the `regex` crate with Go's meaning and Go's refusals.

mod class;
mod escape;
mod parser;
mod piece;
mod property;

use regex::{Regex, RegexBuilder};
use std::fmt;

/// Longest pattern, in bytes: reading one stays a matter of milliseconds.
pub const PATTERN_LIMIT_BYTES: usize = 64 * 1024;
/// How deep groups and what is in them may nest, as in Go.
pub const NESTING_LIMIT: usize = 1000;
/// How deep repetitions, alternations and sequences may nest, which is less than in Go.
///
/// The `regex` crate recurses that far while it compiles, with up to 13 KB a level in a debug build; a thread has 2 MB.
pub const COMPILED_NESTING_LIMIT: usize = 80;
/// Most copies a repetition, with those around it, may ask for; Go's limit.
pub const REPEAT_LIMIT: u32 = 1000;
/// Most memory one compiled expression may take.
pub const COMPILED_LIMIT_BYTES: usize = 10 * 1024 * 1024;
/// Compiles `pattern` so that it must match the whole text, as Alertmanager anchors it: `^(?:pattern)$`.
///
/// The anchors are put around the text before it is read. So `a)|(?:b` is an expression, and errors quote the anchors, both as in Alertmanager.
pub fn compile_anchored(pattern: &str) -> Result<Regex, RegexError> {
    if pattern.len() > PATTERN_LIMIT_BYTES {
        return Err(RegexError::TooLong {
            length: pattern.len(),
        });
    }
    let whole = format!("^(?:{pattern})$");
    let translated = parser::translate(&whole)?;
    RegexBuilder::new(&translated)
        .size_limit(COMPILED_LIMIT_BYTES)
        .build()
        .map_err(|error| refused(error, whole))
}

fn refused(error: regex::Error, whole: String) -> RegexError {
    if let regex::Error::CompiledTooBig(_) = error {
        return Fault::TooLarge.at(&whole);
    }
    RegexError::Untranslatable {
        pattern: whole,
        source: error,
    }
}

/// Why a pattern is no expression.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RegexError {
    /// What Go refuses, in Go's words, and the part of the pattern it is about.
    #[error("error parsing regexp: {fault}: `{part}`")]
    Refused { fault: Fault, part: String },
    #[error("error parsing regexp: at most {PATTERN_LIMIT_BYTES} bytes are wanted, found {length}")]
    TooLong { length: usize },
    /// Go takes the pattern but it has no equal here; no such pattern is known.
    #[error("error parsing regexp: no equal expression is known: `{pattern}`")]
    Untranslatable {
        pattern: String,
        source: regex::Error,
    },
}

/// The kinds of refusal Go knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    CharRange,
    Escape,
    NamedCapture,
    PerlSyntax,
    NestedRepetition,
    RepeatCount,
    MissingBracket,
    MissingParen,
    MissingRepeatArgument,
    TrailingBackslash,
    UnexpectedParen,
    NestsTooDeeply,
    TooLarge,
}

impl Fault {
    fn at(self, part: &str) -> RegexError {
        RegexError::Refused {
            fault: self,
            part: part.to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CharRange => "invalid character class range",
            Self::Escape => "invalid escape sequence",
            Self::NamedCapture => "invalid named capture",
            Self::PerlSyntax => "invalid or unsupported Perl syntax",
            Self::NestedRepetition => "invalid nested repetition operator",
            Self::RepeatCount => "invalid repeat count",
            Self::MissingBracket => "missing closing ]",
            Self::MissingParen => "missing closing )",
            Self::MissingRepeatArgument => "missing argument to repetition operator",
            Self::TrailingBackslash => "trailing backslash at end of expression",
            Self::UnexpectedParen => "unexpected )",
            Self::NestsTooDeeply => "expression nests too deeply",
            Self::TooLarge => "expression too large",
        })
    }
}

/// What was read of `before` when `after` is left.
fn read_part<'a>(before: &'a str, after: &str) -> &'a str {
    before
        .len()
        .checked_sub(after.len())
        .and_then(|end| before.get(..end))
        .unwrap_or(before)
}

//! Label matchers (`severity=~"critical|page"`), read as Alertmanager reads them since 0.27.

mod classic;
mod utf8;

use crate::domain::alert::Labels;
use crate::domain::go_regex::{RegexError, compile_anchored};
use regex::Regex;
use std::fmt;
use std::sync::Arc;

/// A condition on one label, or on an attribute where the name begins with `@`.
#[derive(Clone)]
pub struct Matcher {
    name: String,
    value: String,
    test: Test,
}

/// How the value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

/// The operator with what it needs; a compiled expression is shared among clones.
#[derive(Clone)]
enum Test {
    Equal,
    NotEqual,
    Regex(Arc<Regex>),
    NotRegex(Arc<Regex>),
}

/// Why a text is no matcher.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MatcherError {
    #[error("unexpected open or close brace: {0}")]
    Brace(String),
    #[error("bad matcher format: {0}")]
    Format(String),
    #[error("matcher value contains unescaped double quote: {0}")]
    UnescapedQuote(String),
    #[error(transparent)]
    Regex(#[from] RegexError),
}

impl Matcher {
    /// A matcher of these parts; refused where the value has to be an expression and is none.
    pub fn new(
        op: Op,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, RegexError> {
        let value = value.into();
        let test = match op {
            Op::Equal => Test::Equal,
            Op::NotEqual => Test::NotEqual,
            Op::Regex => Test::Regex(Arc::new(compile_anchored(&value)?)),
            Op::NotRegex => Test::NotRegex(Arc::new(compile_anchored(&value)?)),
        };
        Ok(Self {
            name: name.into(),
            value,
            test,
        })
    }

    /// Reads one matcher. Braces around it are refused, although a list may have them.
    ///
    /// Alertmanager tries its UTF-8 grammar, then the classic one, and lets the classic one win where both
    /// read the text but differ. That is the classic one first, and its error where neither reads the text.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        if text.starts_with('{') || text.ends_with('}') {
            return Err(MatcherError::Brace(text.to_owned()));
        }
        classic::parse_one(text).or_else(|error| utf8::parse_one(text).ok_or(error))
    }

    /// Reads matchers separated by commas, with or without braces around them; there may be none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, MatcherError> {
        classic::parse_list(text).or_else(|error| utf8::parse_list(text).ok_or(error))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn op(&self) -> Op {
        match self.test {
            Test::Equal => Op::Equal,
            Test::NotEqual => Op::NotEqual,
            Test::Regex(_) => Op::Regex,
            Test::NotRegex(_) => Op::NotRegex,
        }
    }

    /// What is compared with, as written; of an expression its source.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The values that fit, where these are texts written out: of `=` its value, of `=~"a|b"` each. None where others may fit.
    pub fn literals(&self) -> Option<Vec<&str>> {
        match self.test {
            Test::Equal | Test::Regex(_) => self.words(),
            Test::NotEqual | Test::NotRegex(_) => None,
        }
    }

    /// The values that it names, also those that must not be: of an expression its alternatives, where these are texts written out.
    pub fn words(&self) -> Option<Vec<&str>> {
        match self.test {
            Test::Equal | Test::NotEqual => Some(vec![&self.value]),
            Test::Regex(_) | Test::NotRegex(_) => {
                let is_plain = !self.value.contains(has_meaning);
                is_plain.then(|| self.value.split('|').collect())
            }
        }
    }

    /// The attribute this is about, without its `@`; none where it is about a label.
    pub fn attribute(&self) -> Option<&str> {
        self.name.strip_prefix('@')
    }

    /// Whether an alert with these labels and attributes matches.
    pub fn fits(&self, labels: &Labels, attributes: &Labels) -> bool {
        match self.attribute() {
            Some(attribute) => self.matches(attributes.get(attribute)),
            None => self.matches(labels.get(&self.name)),
        }
    }

    /// Whether a label of this value matches. An absent one is matched as the empty text.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let value = value.unwrap_or_default();
        match &self.test {
            Test::Equal => self.value == value,
            Test::NotEqual => self.value != value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.op() == other.op() && self.name == other.name && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matcher({self})")
    }
}

/// `name="value"`, which [`Matcher::parse`] reads back: the escapes used mean the same in both grammars.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() || self.name.contains(utf8::is_reserved) {
            write_quoted(f, &self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        write!(f, "{}", self.op())?;
        write_quoted(f, &self.value)
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let escaped = text
        .replace('\\', r"\\")
        .replace('\n', r"\n")
        .replace('"', r#"\""#);
    write!(f, "\"{escaped}\"")
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// Whether a character of an expression stands for more than itself; `|` apart.
fn has_meaning(c: char) -> bool {
    matches!(
        c,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$'
    )
}

/// The operator `text` begins with, and what follows it.
fn read_op(text: &str) -> Option<(Op, &str)> {
    [
        ("=~", Op::Regex),
        ("!~", Op::NotRegex),
        ("!=", Op::NotEqual),
        ("=", Op::Equal),
    ]
    .into_iter()
    .find_map(|(sign, op)| Some((op, text.strip_prefix(sign)?)))
}

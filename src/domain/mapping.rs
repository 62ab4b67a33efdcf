//! Mappings: how the JSON of a sender that we have no reader for becomes alerts, as an operator wrote it down.

pub mod nested;
pub mod path;

use crate::domain::confirmation::HostPattern;
use crate::domain::mapping::nested::Nested;
use crate::domain::mapping::path::Path;
use crate::domain::matcher::Matcher;
use crate::domain::signature::Scheme;
use crate::domain::template::Template;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// What templates of a mapping may name.
pub const ROOTS: [&str; 4] = ["item", "body", "headers", "query"];

/// How what a source posts is read.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub name: String,
    /// Where the items are: one alert each. The first that leads to something counts; without any the body is the item.
    pub items: Vec<Path>,
    /// Texts that are JSON themselves.
    pub nested: Nested,
    /// Texts that stand for nothing, as a variable that its sender did not fill in.
    pub absent: Vec<Regex>,
    /// An item that does not fit is none.
    pub when: Vec<Condition>,
    /// At least one. The first that fits an item says what it is.
    pub cases: Vec<Case>,
    /// How its senders sign, where they do.
    pub signature: Option<Scheme>,
    /// Where a confirmation may lead, unless the source says otherwise.
    pub confirm_hosts: Vec<HostPattern>,
}

/// One shape of an item.
#[derive(Clone, Debug)]
pub struct Case {
    pub when: Vec<Condition>,
    pub then: Then,
}

/// A matcher over what a path leads to.
#[derive(Clone, Debug)]
pub struct Condition {
    pub path: Path,
    pub matcher: Matcher,
}

/// What an item is.
#[derive(Clone, Debug)]
pub enum Then {
    Alert(Box<Fields>),
    /// It says nothing of an alert; a note about it goes to the log.
    Ignore {
        note: Option<Template>,
    },
    /// Its sender wants this address fetched before it sends anything.
    Confirm {
        url: Path,
    },
}

/// What an alert is made of.
#[derive(Clone, Debug)]
pub struct Fields {
    pub status: StatusRule,
    pub severity: Option<Text>,
    pub labels: BTreeMap<String, Text>,
    pub annotations: BTreeMap<String, Text>,
    pub attributes: BTreeMap<String, Text>,
    /// Of what fires.
    pub starts_at: Option<Text>,
    /// Of what is resolved.
    pub ends_at: Option<Text>,
}

/// A text made of what was posted.
#[derive(Clone, Debug)]
pub struct Text {
    pub of: TextOf,
    /// What is written for what was found; what is not in it stays, or is `default` where there is one.
    pub map: BTreeMap<String, String>,
    /// For nothing found, too.
    pub default: Option<String>,
}

#[derive(Clone, Debug)]
pub enum TextOf {
    Template(Template),
    /// The first that says something.
    Paths(Vec<Path>),
}

/// What the sender says of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Firing,
    /// Fires, and somebody works on it.
    Acknowledged,
    Resolved,
    /// Nothing.
    Ignore,
}

/// How it is told whether an alert fires.
#[derive(Clone, Debug)]
pub enum StatusRule {
    Always(Word),
    Told {
        of: Text,
        words: BTreeMap<String, Word>,
        /// For every other word, and for none; without it such an item is rejected.
        otherwise: Option<Word>,
    },
}

impl StatusRule {
    /// What a word means; none where it means nothing here.
    pub fn meaning(&self, found: Option<&str>) -> Option<Word> {
        match self {
            Self::Always(word) => Some(*word),
            Self::Told {
                words, otherwise, ..
            } => found
                .and_then(|found| words.get(found))
                .or(otherwise.as_ref())
                .copied(),
        }
    }

    /// The words that mean something.
    pub fn known(&self) -> BTreeSet<&str> {
        match self {
            Self::Always(_) => BTreeSet::new(),
            Self::Told { words, .. } => words.keys().map(String::as_str).collect(),
        }
    }
}

impl Text {
    /// What is said instead of what was found; an empty text is nothing.
    pub fn said(&self, found: Option<String>) -> Option<String> {
        let found = found.filter(|text| !text.is_empty());
        let mapped = match found {
            Some(text) if self.map.is_empty() => Some(text),
            Some(text) => match self.map.get(&text) {
                Some(mapped) => Some(mapped.clone()),
                None => Some(self.default.clone().unwrap_or(text)),
            },
            None => self.default.clone(),
        };
        mapped.filter(|text| !text.is_empty())
    }
}

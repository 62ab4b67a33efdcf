//! A table that is being read: the keys that are asked for are the keys there are.

use crate::toml_file::nearest::{nearest, unknown};
use crate::toml_file::value::Value;
use crate::toml_file::{Entry, Node, Place, Report, Shape};
use std::cell::RefCell;

/// A table. Ask for every key it may have, then call [`Section::done`].
#[derive(Debug)]
pub struct Section<'a> {
    place: &'a Place,
    entries: &'a [Entry],
    report: &'a Report,
    asked: RefCell<Vec<&'static str>>,
}

/// A name that an operator chose, as in `[people.ana]`.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub text: &'a str,
    pub place: &'a Place,
}

impl<'a> Section<'a> {
    /// The whole of a file.
    pub fn root(node: &'a Node, report: &'a Report) -> Self {
        let entries = match &node.shape {
            Shape::Table(entries) => entries.as_slice(),
            _ => &[],
        };
        Self::new(&node.place, entries, report)
    }

    pub(super) fn new(place: &'a Place, entries: &'a [Entry], report: &'a Report) -> Self {
        Self {
            place,
            entries,
            report,
            asked: RefCell::default(),
        }
    }

    pub fn place(&self) -> &'a Place {
        self.place
    }

    pub fn report(&self) -> &'a Report {
        self.report
    }

    /// The value of a key, where it is there.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Value::new(&entry.node, self.report))
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.error(format!("\"{key}\" is missing"));
        }
        value
    }

    /// The table of a key; one with nothing in it where it is not there, or is none.
    pub fn section(&self, key: &'static str) -> Self {
        let found = self.get(key).and_then(Value::section);
        found.unwrap_or_else(|| Self::new(self.place, &[], self.report))
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// A key that is right and does nothing yet.
    pub fn not_yet(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            let message = format!("\"{key}\" is not yet in effect");
            self.report.warn(&entry.place, message);
        }
    }

    /// A key that is an error here, and why.
    pub fn refuse(&self, key: &'static str, why: &str) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            self.asked.borrow_mut().push(key);
            self.report.error(&entry.place, why);
        }
    }

    /// Where a key stands; the table where it does not.
    pub fn place_of(&self, key: &str) -> &'a Place {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map_or(self.place, |entry| &entry.place)
    }

    /// Names chosen by the operator, with what each stands for.
    pub fn each(&self) -> impl Iterator<Item = (Name<'a>, Value<'a>)> + use<'a> {
        let report = self.report;
        self.entries.iter().map(move |entry| {
            let name = Name {
                text: &entry.key,
                place: &entry.place,
            };
            (name, Value::new(&entry.node, report))
        })
    }

    /// The same where each must be a table. A problem of the whole of it is told at its name.
    pub fn each_section(&self) -> impl Iterator<Item = (Name<'a>, Self)> + use<'a> {
        self.each().filter_map(|(name, value)| {
            let section = value.section()?;
            let named = Self::new(name.place, section.entries, section.report);
            Some((name, named))
        })
    }

    pub fn error(&self, message: impl Into<String>) {
        self.report.error(self.place, message);
    }

    pub fn warn(&self, message: impl Into<String>) {
        self.report.warn(self.place, message);
    }

    /// Every key that was not asked for is an error, which names the nearest that was.
    pub fn done(self) {
        let mut known = self.asked.into_inner();
        known.sort_unstable();
        known.dedup();
        for entry in self.entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            // A secret under a key with a slip in it is still a secret.
            if nearest(&entry.key, &known).is_some_and(names_a_secret) {
                self.report.hide(&entry.node.place);
            }
            let message = unknown("key", &entry.key, known.iter().copied());
            self.report.error(&entry.place, message);
        }
    }
}

fn names_a_secret(key: &str) -> bool {
    matches!(
        key,
        "secret" | "password" | "bearer" | "value" | "url" | "smtp"
    )
}

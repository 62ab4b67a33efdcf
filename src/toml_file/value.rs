//! A value that is being read as what is wanted; where it is something else, that is noted and there is none.

use crate::domain::time::{Timestamp, parse_span};
use crate::toml_file::section::Section;
use crate::toml_file::{Node, Place, Report, Shape};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A value in a file or from the environment.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    node: &'a Node,
    report: &'a Report,
}

impl<'a> Value<'a> {
    pub(super) fn new(node: &'a Node, report: &'a Report) -> Self {
        Self { node, report }
    }

    pub fn place(self) -> &'a Place {
        &self.node.place
    }

    pub fn report(self) -> &'a Report {
        self.report
    }

    pub fn error(self, message: impl Into<String>) {
        self.report.error(self.place(), message);
    }

    pub fn warn(self, message: impl Into<String>) {
        self.report.warn(self.place(), message);
    }

    /// An error `offset` bytes into a string, where that can be found in what was written; else at its beginning.
    pub fn error_at(self, offset: Option<usize>, message: impl Into<String>) {
        let inside = offset.and_then(|offset| self.inside(offset));
        self.report
            .error(inside.as_ref().unwrap_or(self.place()), message);
    }

    /// What is read is a secret: no finding shows it.
    pub fn hide(self) {
        self.report.hide(self.place());
    }

    pub fn string(self) -> Option<&'a str> {
        match &self.node.shape {
            Shape::String(text) => Some(text),
            _ => self.wanted("a string"),
        }
    }

    /// A string with something in it.
    pub fn text(self) -> Option<String> {
        let text = self.string()?;
        if text.trim().is_empty() {
            self.error("a text is wanted, found an empty string");
            return None;
        }
        Some(text.to_owned())
    }

    /// A string, number or boolean, as the text that it is.
    pub fn word(self) -> Option<String> {
        match (&self.node.shape, &self.typed().shape) {
            (Shape::String(text) | Shape::Number(text), _) => Some(text.clone()),
            (_, Shape::Integer(number)) => Some(number.to_string()),
            (_, Shape::Boolean(yes)) => Some(yes.to_string()),
            _ => self.wanted("a string, number or boolean"),
        }
    }

    pub fn boolean(self) -> Option<bool> {
        match self.typed().shape {
            Shape::Boolean(yes) => Some(yes),
            _ => self.wanted("true or false"),
        }
    }

    pub fn integer<T>(self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + fmt::Display + PartialOrd,
    {
        let wanted = || format!("an integer from {} to {}", range.start(), range.end());
        let found = match &self.typed().shape {
            Shape::Integer(number) => *number,
            Shape::Number(number) => {
                return self.refuse(format!("{} is wanted, found {number}", wanted()));
            }
            _ => return self.wanted(&wanted()),
        };
        match T::try_from(found) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.refuse(format!("{} is wanted, found {found}", wanted())),
        }
    }

    /// A string that is read by `T`, whose error says what is wanted.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(self) -> Option<T> {
        match self.string()?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => self.refuse(error.to_string()),
        }
    }

    /// One of several words.
    pub fn one_of<T: Clone>(self, what: &str, words: &[(&str, T)]) -> Option<T> {
        let found = self.string()?;
        let meant = words.iter().find(|(word, _)| *word == found);
        if meant.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(format!(
                "{what} \"{found}\" is not one of {}",
                all.join(", ")
            ));
        }
        meant.map(|(_, value)| value.clone())
    }

    /// A span such as `5m`; zero is one.
    pub fn span(self) -> Option<Duration> {
        let Shape::String(text) = &self.node.shape else {
            return self.wanted("a duration such as \"90s\", \"5m\" or \"14d\"");
        };
        match parse_span(text) {
            Ok(span) => Some(span),
            Err(error) => self.refuse(error.to_string()),
        }
    }

    /// A span that lasts.
    pub fn lasting(self) -> Option<Duration> {
        let span = self.span()?;
        if span.is_zero() {
            return self
                .refuse("a duration of more than nothing is wanted, found \"0s\"".to_owned());
        }
        Some(span)
    }

    /// `8MiB`, `64kB`, or a number of bytes; never zero.
    pub fn size(self) -> Option<usize> {
        const WANTED: &str = "a size such as \"8MiB\" or \"512KiB\"";
        if let Shape::Integer(number) = self.typed().shape {
            let bytes = usize::try_from(number).ok().filter(|bytes| *bytes > 0);
            return bytes.or_else(|| self.refuse(format!("{WANTED} is wanted, found {number}")));
        }
        let Shape::String(text) = &self.node.shape else {
            return self.wanted(WANTED);
        };
        parse_size(text).or_else(|| self.refuse(format!("{WANTED} is wanted, found \"{text}\"")))
    }

    /// The name of a time zone.
    pub fn zone(self) -> Option<chrono_tz::Tz> {
        let found = self.string()?;
        match found.parse() {
            Ok(zone) => Some(zone),
            Err(_unknown) => self.refuse(format!(
                "a time zone such as \"UTC\" or \"Europe/Berlin\" is wanted, found \"{found}\""
            )),
        }
    }

    /// A local date and time: a string or a date of TOML.
    pub fn local_time(self) -> Option<chrono::NaiveDateTime> {
        const WANTED: &str = "a local time such as \"2026-01-05T09:00\"";
        let (Shape::String(found) | Shape::Date(found)) = &self.node.shape else {
            return self.wanted(WANTED);
        };
        let read = |form| chrono::NaiveDateTime::parse_from_str(found, form).ok();
        read("%Y-%m-%dT%H:%M")
            .or_else(|| read("%Y-%m-%dT%H:%M:%S"))
            .or_else(|| self.refuse(format!("{WANTED} is wanted, found \"{found}\"")))
    }

    /// An instant: a string, or a date of TOML that has its offset.
    pub fn instant(self) -> Option<Timestamp> {
        let (Shape::String(found) | Shape::Date(found)) = &self.node.shape else {
            return self.wanted("a time such as \"2026-03-02T09:00:00Z\"");
        };
        match found.parse() {
            Ok(at) => Some(at),
            Err(_no_time) => self.refuse(format!(
                "a time such as \"2026-03-02T09:00:00Z\" is wanted, found \"{found}\""
            )),
        }
    }

    /// A time of day.
    pub fn time_of_day(self) -> Option<chrono::NaiveTime> {
        const WANTED: &str = "a time of day such as \"09:00\"";
        let (Shape::String(found) | Shape::Date(found)) = &self.node.shape else {
            return self.wanted(WANTED);
        };
        let found = if found == "24:00" {
            "00:00"
        } else {
            found.as_str()
        };
        let read = |form| chrono::NaiveTime::parse_from_str(found, form).ok();
        read("%H:%M")
            .or_else(|| read("%H:%M:%S"))
            .or_else(|| self.refuse(format!("{WANTED} is wanted, found \"{found}\"")))
    }

    pub fn list(self) -> Option<Vec<Self>> {
        match &self.typed().shape {
            Shape::List(items) => Some(
                items
                    .iter()
                    .map(|item| Value::new(item, self.report))
                    .collect(),
            ),
            _ => self.wanted("a list"),
        }
    }

    pub fn strings(self) -> Option<Vec<String>> {
        let items = self.list()?;
        items.into_iter().map(Self::text).collect()
    }

    pub fn section(self) -> Option<Section<'a>> {
        let node = self.typed();
        match &node.shape {
            Shape::Table(entries) => Some(Section::new(&self.node.place, entries, self.report)),
            _ => self.wanted("a table"),
        }
    }

    /// The table that this is; of anything else nothing is noted.
    pub fn peek(self) -> Option<Section<'a>> {
        self.is_table().then(|| self.section()).flatten()
    }

    /// The items of the list that this is; of anything else nothing is noted.
    pub fn items(self) -> Vec<Self> {
        self.is_list()
            .then(|| self.list())
            .flatten()
            .unwrap_or_default()
    }

    pub fn is_string(self) -> bool {
        matches!(self.node.shape, Shape::String(_)) && !self.is_table() && !self.is_list()
    }

    pub fn is_list(self) -> bool {
        matches!(self.typed().shape, Shape::List(_))
    }

    pub fn is_table(self) -> bool {
        matches!(self.typed().shape, Shape::Table(_))
    }

    /// Notes that something else was wanted.
    pub fn wanted<T>(self, wanted: &str) -> Option<T> {
        let found = match self.node.shape {
            Shape::String(_) => "a string",
            Shape::Integer(_) => "an integer",
            Shape::Number(_) => "a number",
            Shape::Boolean(_) => "a boolean",
            Shape::Date(_) => "a date",
            Shape::List(_) => "a list",
            Shape::Table(_) => "a table",
        };
        self.refuse(format!("{wanted} is wanted, found {found}"))
    }

    pub fn refuse<T>(self, message: String) -> Option<T> {
        self.error(message);
        None
    }

    /// What was written, or what a variable's text is as TOML.
    fn typed(self) -> &'a Node {
        self.node.typed.as_deref().unwrap_or(self.node)
    }

    fn inside(self, offset: usize) -> Option<Place> {
        let Shape::String(text) = &self.node.shape else {
            return None;
        };
        let span = &self.node.place.span;
        let written = self.node.place.source.text.get(span.clone())?;
        let opening = ["\"\"\"\n", "'''\n", "\"\"\"", "'''", "\"", "'", ""]
            .into_iter()
            .find(|quote| written.starts_with(quote))?;
        let is_as_written = written.get(opening.len()..)?.starts_with(text.as_str());
        let at = span.start + opening.len() + offset.min(text.len());
        is_as_written.then(|| Place::new(&self.node.place.source, at..at + 1))
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number.parse::<usize>().ok()?.checked_mul(factor)?;
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("8MiB"), Some(8 << 20));
        assert_eq!(parse_size("64 kB"), Some(64_000));
        assert_eq!(parse_size("100"), Some(100));
        for bad in ["", "MiB", "8 MiBs", "-1", "0", "99999999999999999999"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}

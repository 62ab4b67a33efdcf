//! TOML with positions: a file is read as a whole, and every problem in it is noted with its place, not only the first.

mod hide;
pub mod nearest;
mod section;
mod value;

pub use crate::toml_file::section::{Name, Section};
pub use crate::toml_file::value::Value;

use crate::domain::finding::{Finding, Level};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use toml::de::{DeTable, DeValue};

/// A text somebody wrote: a file, or one variable of the environment.
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
    origin: Origin,
    /// Where each line begins; sought once something is found.
    lines: OnceLock<Vec<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    File,
    /// Its text is never shown: it may be a secret.
    Environment,
}

/// Where in a source something stands.
#[derive(Clone, Debug)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

/// A value with its place, and that of every value in it.
#[derive(Clone, Debug)]
pub struct Node {
    place: Place,
    shape: Shape,
    /// What the text of a variable is when it is read as TOML; asked where something else than a string is wanted.
    typed: Option<Box<Self>>,
}

#[derive(Clone, Debug)]
enum Shape {
    String(String),
    Integer(i64),
    /// A fraction, or an integer beyond what we can hold.
    Number(String),
    Boolean(bool),
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    place: Place,
    node: Node,
}

/// What was found while reading; becomes [`Finding`]s at the end, when it is known what must not be shown.
#[derive(Debug, Default)]
pub struct Report {
    notes: RefCell<Vec<Note>>,
    hidden: RefCell<Vec<Place>>,
}

#[derive(Debug)]
struct Note {
    place: Place,
    level: Level,
    message: String,
}

/// The tree of a file. A slip in the syntax is noted, all of them where there are several; then there is no tree.
pub fn parse(name: &str, text: &str, report: &Report) -> Option<Node> {
    let source = Source::file(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        report.error(
            &Place::new(&source, span),
            format!("bad TOML: {}", error.message()),
        );
    }
    let shape = Shape::Table(entries(&source, table.get_ref()));
    errors.is_empty().then(|| Node {
        place: Place::new(&source, 0..0),
        shape,
        typed: None,
    })
}

/// Why a file could not be read, without the number of the error.
pub fn why_unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

impl Place {
    fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self {
            source: Arc::clone(source),
            span,
        }
    }

    /// The beginning of a file that need not exist.
    pub fn of_file(name: &str) -> Self {
        Self::new(&Source::file(name, ""), 0..0)
    }

    fn finding(&self, level: Level, message: String, hidden: &[Self]) -> Finding {
        let text = &self.source.text;
        let start = text.floor_char_boundary(self.span.start);
        let (number, line_start) = self.source.line_of(start);
        let line = text.get(line_start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line_end = line_start + line.len();
        let width = text.get(start..self.span.end.min(line_end));
        let shown = || {
            let spans = hidden
                .iter()
                .filter(|place| Arc::ptr_eq(&place.source, &self.source));
            hide::blot_out(line, line_start, spans.map(|place| &place.span))
        };
        let has_text = self.source.origin == Origin::File && !text.is_empty();
        Finding {
            file: self.source.name.clone(),
            line: number,
            column: text
                .get(line_start..start)
                .map_or(0, |part| part.chars().count())
                + 1,
            level,
            message,
            text: has_text.then(shown),
            width: width.map_or(1, |part| part.chars().count().max(1)),
        }
    }

    /// A finding at what is a secret: no text is shown.
    pub fn secretive(&self, level: Level, message: String) -> Finding {
        Finding {
            text: None,
            ..self.finding(level, message, &[])
        }
    }

    pub fn warning(&self, message: String) -> Finding {
        self.finding(Level::Warning, message, &[])
    }

    /// `rules/payments.toml:14:12`.
    pub fn show(&self) -> String {
        self.finding(Level::Error, String::new(), &[]).place()
    }
}

impl Source {
    fn file(name: &str, text: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            origin: Origin::File,
            lines: OnceLock::new(),
        })
    }

    /// The number of the line that has this place, and where it begins.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.match_indices('\n');
            std::iter::once(0)
                .chain(ends.map(|(end, _)| end + 1))
                .collect()
        });
        let number = lines.partition_point(|begins| *begins <= at).max(1);
        (number, lines.get(number - 1).copied().unwrap_or_default())
    }
}

impl Report {
    pub fn error(&self, place: &Place, message: impl Into<String>) {
        self.note(place, Level::Error, message.into());
    }

    pub fn warn(&self, place: &Place, message: impl Into<String>) {
        self.note(place, Level::Warning, message.into());
    }

    fn note(&self, place: &Place, level: Level, message: String) {
        let place = place.clone();
        self.notes.borrow_mut().push(Note {
            place,
            level,
            message,
        });
    }

    /// What stands at `place` is shown in no finding.
    fn hide(&self, place: &Place) {
        self.hidden.borrow_mut().push(place.clone());
    }

    pub fn has_errors(&self) -> bool {
        self.notes
            .borrow()
            .iter()
            .any(|note| note.level == Level::Error)
    }

    /// Everything found, by file and position.
    pub fn into_findings(self) -> Vec<Finding> {
        let hidden = self.hidden.into_inner();
        let notes = self.notes.into_inner().into_iter();
        let mut findings: Vec<Finding> = notes
            .map(|note| note.place.finding(note.level, note.message, &hidden))
            .collect();
        findings.sort();
        findings.dedup();
        findings
    }
}

impl Node {
    /// A table with nothing in it, for a file that is not there.
    pub fn empty(name: &str) -> Self {
        Self {
            place: Place::of_file(name),
            shape: Shape::Table(Vec::new()),
            typed: None,
        }
    }

    /// A value of the environment: a string, or TOML where something else is wanted.
    pub fn of_variable(variable: &str, text: &str) -> Self {
        let source = Arc::new(Source {
            name: format!("environment:{variable}"),
            text: text.to_owned(),
            origin: Origin::Environment,
            lines: OnceLock::new(),
        });
        let typed = DeValue::parse(text).ok();
        Self {
            place: Place::new(&source, 0..text.len()),
            shape: Shape::String(text.to_owned()),
            typed: typed.map(|value| Box::new(node(&source, value.span(), value.get_ref()))),
        }
    }

    /// Puts `value` at `path`, over what is there. A name fits whatever its case, and `_` in it stands for `-` where nothing else fits.
    pub fn overlay(&mut self, path: &[&str], value: Self) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if let Some(typed) = self
            .typed
            .take_if(|typed| matches!(typed.shape, Shape::Table(_)))
        {
            *self = *typed;
        }
        if !matches!(self.shape, Shape::Table(_)) {
            self.shape = Shape::Table(Vec::new());
            self.typed = None;
        }
        if let Shape::Table(entries) = &mut self.shape {
            let at = entry_for(entries, first).unwrap_or_else(|| {
                entries.push(Entry {
                    key: (*first).to_owned(),
                    place: value.place.clone(),
                    node: Self {
                        place: value.place.clone(),
                        shape: Shape::Table(Vec::new()),
                        typed: None,
                    },
                });
                entries.len() - 1
            });
            if let Some(entry) = entries.get_mut(at) {
                entry.node.overlay(rest, value);
            }
        }
    }
}

fn entry_for(entries: &[Entry], name: &str) -> Option<usize> {
    let exact = |entry: &Entry| entry.key == name;
    let caseless = |entry: &Entry| entry.key.to_lowercase() == name.to_lowercase();
    let dashed = |entry: &Entry| entry.key.to_lowercase().replace('-', "_") == name.to_lowercase();
    let position = |fits: &dyn Fn(&Entry) -> bool| entries.iter().position(fits);
    position(&exact)
        .or_else(|| position(&caseless))
        .or_else(|| position(&dashed))
}

fn entries(source: &Arc<Source>, table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            place: Place::new(source, key.span()),
            node: node(source, value.span(), value.get_ref()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.place.span.start);
    entries
}

fn node(source: &Arc<Source>, span: Range<usize>, value: &DeValue<'_>) -> Node {
    let shape = match value {
        DeValue::String(text) => Shape::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Shape::Integer(number),
            Err(_too_large) => Shape::Number(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Shape::Number(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Shape::Boolean(*yes),
        DeValue::Datetime(date) => Shape::Date(date.to_string()),
        DeValue::Array(items) => Shape::List(
            items
                .iter()
                .map(|item| node(source, item.span(), item.get_ref()))
                .collect(),
        ),
        DeValue::Table(table) => Shape::Table(entries(source, table)),
    };
    Node {
        place: Place::new(source, span),
        shape,
        typed: None,
    }
}

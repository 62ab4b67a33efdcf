//! What is printed: tables in Markdown, or the same as JSON.

use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    /// A number, and the digits behind its point.
    Number(f64, usize),
    Nothing,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn count(n: u64) -> Self {
        Self::Number(as_f64(n), 0)
    }

    pub(crate) fn ms(us: u64) -> Self {
        Self::Number(as_f64(us) / 1e3, 2)
    }

    pub(crate) fn mib(bytes: u64) -> Self {
        Self::Number(as_f64(bytes) / f64::from(1 << 20), 1)
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number, digits) => grouped(*number, *digits),
            Self::Nothing => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number, _) => json!(number),
            Self::Nothing => Value::Null,
        }
    }
}

/// Counts here are far below what a floating-point number holds exactly.
pub(crate) fn as_f64(n: u64) -> f64 {
    n as f64
}

/// `1234567.8` as `1 234 567.8`.
fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut shown = String::new();
    for (nth, digit) in whole.chars().enumerate() {
        if nth > 0 && (whole.len() - nth) % 3 == 0 && whole.len() > 4 {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown + rest
}

/// A table with its title.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, head: &[&'static str]) -> Self {
        Self {
            title: title.into(),
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.head.len());
        self.rows.push(cells);
    }

    fn markdown(&self) -> String {
        let shown = |row: &Vec<Cell>| row.iter().map(Cell::shown).collect::<Vec<_>>();
        let mut rows = vec![self.head.iter().map(|name| (*name).to_owned()).collect()];
        rows.extend(self.rows.iter().map(shown));
        let width = |nth: usize| rows.iter().map(|row| row[nth].chars().count()).max();
        let widths: Vec<usize> = (0..self.head.len())
            .map(|nth| width(nth).unwrap_or(0))
            .collect();
        let rule = widths
            .iter()
            .map(|width| "-".repeat(width + 2))
            .collect::<Vec<_>>()
            .join("|");
        let mut lines = vec![self.title.clone(), String::new()];
        for (nth, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| self.padded(column, cell, *width));
            lines.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
            if nth == 0 {
                lines.push(format!("|{rule}|"));
            }
        }
        lines.join("\n") + "\n"
    }

    /// Text to the left, numbers to the right.
    fn padded(&self, column: usize, cell: &str, width: usize) -> String {
        let is_text = self
            .rows
            .iter()
            .any(|row| matches!(row[column], Cell::Text(_)));
        if is_text {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    }

    fn json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let fields = self.head.iter().zip(row);
            fields
                .map(|(name, cell)| ((*name).to_owned(), cell.json()))
                .collect::<Map<_, _>>()
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(object).collect::<Vec<_>>() })
    }
}

/// Prints what a mode found.
pub(crate) fn print(output: Output, tables: &[Table]) {
    match output {
        Output::Text => {
            for table in tables {
                println!("{}", table.markdown());
            }
        }
        Output::Json => {
            let tables: Vec<Value> = tables.iter().map(Table::json).collect();
            println!("{:#}", Value::Array(tables));
        }
    }
}

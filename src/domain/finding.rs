//! Findings: what is wrong in a file that somebody wrote, with its place, as `check` prints it.

use std::fmt;

/// Whether what was read can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem at one place. Sorts by file, then by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// A path, or `environment:NAME` for what came from a variable.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub level: Level,
    pub message: String,
    /// The line as it stands in the file, secrets blotted out; none where there is no file to show.
    pub text: Option<String>,
    /// Characters that the caret underlines.
    pub width: usize,
}

impl Finding {
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }

    /// `rules/payments.toml:14:12`.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

const INDENT: &str = "    ";

/// `file:line:column: error: message`, then the line and a caret under the column.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = printable(&self.message);
        write!(f, "{}: {}: {message}", self.place(), self.level)?;
        let Some(text) = &self.text else {
            return Ok(());
        };
        let text = printable(text);
        write!(f, "\n{INDENT}{text}\n{INDENT}")?;
        let before = self.column.saturating_sub(1);
        for c in text.chars().take(before) {
            match c {
                '\t' => f.write_str("\t")?,
                c => f.write_str(" ".repeat(cells(c)).as_str())?,
            }
        }
        let under: usize = text.chars().skip(before).take(self.width).map(cells).sum();
        f.write_str(&"^".repeat(under.max(1)))
    }
}

/// The text with each control character but the tab replaced, so that a file cannot steer the terminal.
fn printable(text: &str) -> String {
    let visible = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(visible).collect()
}

/// How many cells of a terminal a character takes: none, one or two.
fn cells(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, column: usize, width: usize) -> String {
        let finding = Finding {
            file: "a.toml".to_owned(),
            line: 2,
            column,
            level: Level::Error,
            message: "no".to_owned(),
            text: Some(text.to_owned()),
            width,
        };
        finding.to_string()
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        assert_eq!(
            shown("a = 'x'", 5, 3),
            "a.toml:2:5: error: no\n    a = 'x'\n        ^^^"
        );
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_caret_in_place() {
        assert_eq!(
            shown("\ta = 1", 6, 1),
            "a.toml:2:6: error: no\n    \ta = 1\n    \t    ^"
        );
        assert_eq!(
            shown("'日本' = '語'", 8, 3),
            "a.toml:2:8: error: no\n    '日本' = '語'\n             ^^^^"
        );
        assert_eq!(
            shown("'größe' = 1", 11, 9),
            "a.toml:2:11: error: no\n    'größe' = 1\n              ^"
        );
    }

    #[test]
    fn a_file_cannot_steer_the_terminal() {
        assert!(!shown("a = '\u{1b}[2J'", 1, 1).contains('\u{1b}'));
    }

    #[test]
    fn at_the_end_of_a_line_there_is_still_a_caret() {
        assert_eq!(
            shown("a =", 4, 0),
            "a.toml:2:4: error: no\n    a =\n       ^"
        );
    }
}

//! Paths into what was posted: `$.a.b[0]`, `$.a[*]`, `$["odd name"]`, `body.a`, `headers.x-name`.

use std::fmt;
use std::str::FromStr;

/// Steps of one path.
const MAX_STEPS: usize = 32;

/// Where something is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    pub root: Root,
    pub steps: Vec<Step>,
}

/// What a path begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `$`: the item, or the body for what the item lacks.
    Here,
    Item,
    Body,
    Headers,
    Query,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Name(String),
    /// From the end where it is negative.
    Index(i64),
    /// Each element of a list.
    Each,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a path such as \"$.a.b[0]\" is wanted: {message}")]
pub struct NotAPath {
    pub message: String,
    /// Bytes from the start of the text.
    pub offset: usize,
}

impl Path {
    /// Whether it may lead to several things.
    pub fn is_plural(&self) -> bool {
        self.steps.contains(&Step::Each)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Path {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let (word, _) = text.split_at_checked(end).unwrap_or((text, ""));
        let root = match word {
            "$" => Root::Here,
            "item" => Root::Item,
            "body" => Root::Body,
            "headers" => Root::Headers,
            "query" => Root::Query,
            _other => {
                let message = format!(
                    "it begins with \"$\", \"item\", \"body\", \"headers\" or \"query\", found \"{word}\""
                );
                return Err(NotAPath { message, offset: 0 });
            }
        };
        let mut reader = Reader { text, at: end };
        let mut steps = Vec::new();
        while let Some(step) = reader.step()? {
            if steps.len() == MAX_STEPS {
                return Err(reader.bad(format!("it has more than {MAX_STEPS} steps")));
            }
            steps.push(step);
        }
        let is_of_request = matches!(root, Root::Headers | Root::Query);
        if is_of_request && !matches!(steps.as_slice(), [Step::Name(_)]) {
            return Err(reader.bad(format!("after \"{word}\" one name is wanted")));
        }
        if let (Root::Headers, Some(Step::Name(name))) = (root, steps.first_mut()) {
            name.make_ascii_lowercase();
        }
        Ok(Self {
            text: text.to_owned(),
            root,
            steps,
        })
    }
}

struct Reader<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
}

impl<'t> Reader<'t> {
    fn step(&mut self) -> Result<Option<Step>, NotAPath> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(None);
        }
        if let Some(rest) = rest.strip_prefix('.') {
            self.at += 1;
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            if name.is_empty() {
                return Err(self.bad("a name is wanted after \".\"".to_owned()));
            }
            self.at += end;
            return Ok(Some(Step::Name(name.to_owned())));
        }
        let Some(inner) = rest.strip_prefix('[') else {
            return Err(self.bad(format!("\".\" or \"[\" is wanted, found \"{rest}\"")));
        };
        self.at += 1;
        if let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let name = self.quoted(quote)?;
            self.close()?;
            return Ok(Some(Step::Name(name)));
        }
        let end = inner.find(']').unwrap_or(inner.len());
        let within = inner.get(..end).unwrap_or_default();
        let step = match (within, within.parse()) {
            ("*", _) => Step::Each,
            (_, Ok(index)) => Step::Index(index),
            (_, Err(_no_number)) => {
                let what = format!("a number, \"*\" or a name in quotes, found \"{within}\"");
                return Err(self.bad(format!("in brackets is wanted {what}")));
            }
        };
        self.at += end;
        self.close()?;
        Ok(Some(step))
    }

    /// A name in quotes; a backslash takes the next character as it is.
    fn quoted(&mut self, quote: char) -> Result<String, NotAPath> {
        let mut name = String::new();
        let mut is_escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\\' if !is_escaped => is_escaped = true,
                c if c == quote && !is_escaped => {
                    self.at += at + 1;
                    return Ok(name);
                }
                c => {
                    name.push(c);
                    is_escaped = false;
                }
            }
        }
        Err(self.bad(format!("the closing {quote} is missing")))
    }

    fn close(&mut self) -> Result<(), NotAPath> {
        if !self.rest().starts_with(']') {
            return Err(self.bad("\"]\" is missing".to_owned()));
        }
        self.at += 1;
        Ok(())
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn bad(&self, message: String) -> NotAPath {
        NotAPath {
            message,
            offset: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Step {
        Step::Name(text.to_owned())
    }

    fn read(text: &str) -> (Root, Vec<Step>) {
        let path: Path = text.parse().expect(text);
        assert_eq!(path.to_string(), text);
        (path.root, path.steps)
    }

    #[test]
    fn a_path_is_read_step_by_step() {
        assert_eq!(read("$"), (Root::Here, vec![]));
        assert_eq!(
            read("$.a.b[0]"),
            (Root::Here, vec![name("a"), name("b"), Step::Index(0)])
        );
        assert_eq!(read("$.a[*]"), (Root::Here, vec![name("a"), Step::Each]));
        assert_eq!(
            read(r#"$["odd \"name\""]['x]'][-1]"#),
            (
                Root::Here,
                vec![name("odd \"name\""), name("x]"), Step::Index(-1)]
            )
        );
        assert_eq!(read("item.größe"), (Root::Item, vec![name("größe")]));
        assert_eq!(
            read("headers.X-Name"),
            (Root::Headers, vec![name("x-name")])
        );
        assert_eq!(read("query.Team"), (Root::Query, vec![name("Team")]));
        assert_eq!(read("body[1]"), (Root::Body, vec![Step::Index(1)]));
    }

    #[test]
    fn what_is_no_path_is_told_with_its_place() {
        let many = format!("${}", ".a".repeat(MAX_STEPS + 1));
        let table = [
            ("", 0, "found \"\""),
            ("state", 0, "found \"state\""),
            ("$a", 0, "found \"$a\""),
            ("$.", 2, "a name is wanted after \".\""),
            ("$..a", 2, "a name is wanted after \".\""),
            ("$.a b", 3, "\".\" or \"[\" is wanted, found \" b\""),
            ("$.a[", 4, "in brackets is wanted"),
            ("$.a[x]", 4, "found \"x\""),
            ("$.a[0", 5, "\"]\" is missing"),
            ("$[\"a]", 2, "the closing \" is missing"),
            ("$[\"a\"", 5, "\"]\" is missing"),
            ("headers", 7, "after \"headers\" one name is wanted"),
            ("query.a.b", 9, "after \"query\" one name is wanted"),
            (&many, many.len(), "it has more than 32 steps"),
        ];
        for (text, offset, message) in table {
            let bad = text.parse::<Path>().expect_err(text);
            assert!(bad.message.contains(message), "{text}: {bad}");
            assert_eq!(bad.offset, offset, "{text}");
        }
    }
}

//! Reads Go's grammar of expressions (its Perl flags) and writes an equal expression for the `regex` crate.
//!
//! Groups stand on a stack of our own, so no pattern overflows the thread's. Whether a repetition is greedy, and
//! which group captured what, change nothing in the answer to "does it match" and are dropped.

use super::class::{read_class, read_perl_group};
use super::escape::{read_escape, written};
use super::piece::{Piece, Shape, alternation, concatenation};
use super::property::read_property;
use super::{COMPILED_NESTING_LIMIT, Fault, NESTING_LIMIT, REPEAT_LIMIT, RegexError, read_part};

/// An expression for the `regex` crate that matches what the Go expression `whole` matches.
pub(super) fn translate(whole: &str) -> Result<String, RegexError> {
    let mut parser = Parser {
        whole,
        flags: Flags::default(),
        group: Group::default(),
        outer: Vec::new(),
        last_repeat: None,
    };
    let mut rest = whole;
    while !rest.is_empty() {
        rest = parser.read(rest)?;
    }
    parser.finish()
}

/// What `(?ims)` switches. `U` is read and forgotten.
#[derive(Clone, Copy, Default)]
struct Flags {
    folds_case: bool,
    multi_line: bool,
    dot_takes_newline: bool,
}

struct Parser<'a> {
    whole: &'a str,
    flags: Flags,
    /// The group that is being read, and those around it.
    group: Group,
    outer: Vec<Group>,
    /// Where the repetition operator began that was read last, if nothing stands between.
    last_repeat: Option<&'a str>,
}

/// A group whose end is not read yet.
#[derive(Default)]
struct Group {
    /// What it is put back to when the group ends.
    flags_around: Flags,
    kind: GroupKind,
    /// Alternatives that are complete, and the pieces of the one that is not.
    branches: Vec<Piece>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum GroupKind {
    #[default]
    Plain,
    Capturing,
}

/// How often: the fewest, and the most if there is a most.
#[derive(Clone, Copy)]
struct Count {
    min: u32,
    max: Option<u32>,
}

impl<'a> Parser<'a> {
    /// Reads one element of the grammar; what is left.
    fn read(&mut self, text: &'a str) -> Result<&'a str, RegexError> {
        let last_repeat = self.last_repeat.take();
        let mut chars = text.chars();
        let Some(first) = chars.next() else {
            return Ok("");
        };
        let rest = chars.as_str();
        match first {
            '(' if rest.starts_with('?') => return self.read_perl_group_start(text),
            '(' => self.open(GroupKind::Capturing, self.flags)?,
            ')' => self.close()?,
            '|' => self.end_branch()?,
            '^' if self.flags.multi_line => self.push(Piece::atom("(?m:^)")),
            '^' => self.push(Piece::atom(r"\A")),
            '$' if self.flags.multi_line => self.push(Piece::atom("(?m:$)")),
            '$' => self.push(Piece::atom(r"\z")),
            '.' if self.flags.dot_takes_newline => self.push(Piece::atom("(?s:.)")),
            '.' => self.push(Piece::atom(r"[^\n]")),
            '[' => {
                let (class, rest) = read_class(text)?;
                self.push_class(&class);
                return Ok(rest);
            }
            '*' => return self.repeat("*", text, rest, last_repeat),
            '+' => return self.repeat("+", text, rest, last_repeat),
            '?' => return self.repeat("?", text, rest, last_repeat),
            '{' => {
                if let Some((count, rest)) = read_count(rest) {
                    return self.repeat_counted(count, text, rest, last_repeat);
                }
                self.push_char('{'.into());
            }
            '\\' => return self.read_backslash(text, rest),
            _ => self.push_char(first.into()),
        }
        Ok(rest)
    }

    fn read_backslash(&mut self, text: &'a str, rest: &'a str) -> Result<&'a str, RegexError> {
        let mut chars = rest.chars();
        let assertion = match chars.next() {
            Some('A') => Some(r"\A"),
            Some('z') => Some(r"\z"),
            Some('b') => Some(r"(?-u:\b)"),
            Some('B') => Some(r"(?-u:\B)"),
            Some('Q') => {
                let quoted = chars.as_str();
                let (literal, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                literal.chars().for_each(|c| self.push_char(c.into()));
                return Ok(rest);
            }
            Some(_) | None => None,
        };
        if let Some(assertion) = assertion {
            self.push(Piece::atom(assertion));
            return Ok(chars.as_str());
        }
        let set = match read_property(text)? {
            Some(set) => Some(set),
            None => read_perl_group(text),
        };
        if let Some((item, rest)) = set {
            self.push_class(&format!("[{item}]"));
            return Ok(rest);
        }
        let (code_point, rest) = read_escape(text)?;
        self.push_char(code_point);
        Ok(rest)
    }

    fn push(&mut self, piece: Piece) {
        self.group.pieces.push(piece);
    }

    fn push_char(&mut self, code_point: u32) {
        let mut text = written(code_point);
        let may_fold = !text.starts_with(|c: char| c == '\\' || c == '[' || c.is_ascii_digit());
        if self.flags.folds_case && may_fold {
            text = format!("(?i:{text})");
        }
        self.push(Piece {
            shape: Shape::Char,
            ..Piece::atom(text)
        });
    }

    fn push_class(&mut self, class: &str) {
        let text = if self.flags.folds_case {
            format!("(?i:{class})")
        } else {
            class.to_owned()
        };
        self.push(Piece::atom(text));
    }

    /// `(?:`, `(?i)`, `(?i-s:`, `(?P<name>`, `(?<name>`.
    fn read_perl_group_start(&mut self, text: &'a str) -> Result<&'a str, RegexError> {
        let named = text.strip_prefix("(?P<").or(text.strip_prefix("(?<"));
        if let Some(named) = named.filter(|name| !name.is_empty()) {
            let Some((name, rest)) = named.split_once('>') else {
                return Err(Fault::NamedCapture.at(text));
            };
            let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(is_word) {
                return Err(Fault::NamedCapture.at(read_part(text, rest)));
            }
            self.open(GroupKind::Capturing, self.flags)?;
            return Ok(rest);
        }
        let mut flags = self.flags;
        let mut on = true;
        let mut saw_flag = false;
        let mut chars = text.strip_prefix("(?").unwrap_or(text).chars();
        while let Some(c) = chars.next() {
            match c {
                'i' => flags.folds_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_takes_newline = on,
                'U' => {}
                '-' if on => on = false,
                ':' | ')' if on || saw_flag => {
                    if c == ':' {
                        self.open(GroupKind::Plain, flags)?;
                    }
                    self.flags = flags;
                    return Ok(chars.as_str());
                }
                _ => break,
            }
            saw_flag = c != '-';
        }
        Err(Fault::PerlSyntax.at(read_part(text, chars.as_str())))
    }

    fn open(&mut self, kind: GroupKind, flags: Flags) -> Result<(), RegexError> {
        if self.outer.len() >= NESTING_LIMIT {
            return Err(Fault::NestsTooDeeply.at(self.whole));
        }
        let group = Group {
            flags_around: self.flags,
            kind,
            ..Group::default()
        };
        self.outer.push(std::mem::replace(&mut self.group, group));
        self.flags = flags;
        Ok(())
    }

    fn close(&mut self) -> Result<(), RegexError> {
        let Some(around) = self.outer.pop() else {
            return Err(Fault::UnexpectedParen.at(self.whole));
        };
        self.end_branch()?;
        let group = std::mem::replace(&mut self.group, around);
        let mut piece = self.checked(alternation(group.branches))?;
        if group.kind == GroupKind::Capturing {
            let text = piece.grouped();
            piece = self.checked(piece.wrapped(text, Shape::Atom))?;
        }
        self.flags = group.flags_around;
        self.push(piece);
        Ok(())
    }

    fn end_branch(&mut self) -> Result<(), RegexError> {
        let pieces = std::mem::take(&mut self.group.pieces);
        let branch = self.checked(concatenation(pieces))?;
        self.group.branches.push(branch);
        Ok(())
    }

    fn finish(mut self) -> Result<String, RegexError> {
        if !self.outer.is_empty() {
            return Err(Fault::MissingParen.at(self.whole));
        }
        self.end_branch()?;
        let branches = std::mem::take(&mut self.group.branches);
        Ok(self.checked(alternation(branches))?.text)
    }

    fn checked(&self, piece: Piece) -> Result<Piece, RegexError> {
        if piece.height > NESTING_LIMIT || piece.depth > COMPILED_NESTING_LIMIT {
            return Err(Fault::NestsTooDeeply.at(self.whole));
        }
        Ok(piece)
    }

    /// Puts `operator` behind the last piece. `before` begins with it, `after` follows it.
    fn repeat(
        &mut self,
        operator: &str,
        before: &'a str,
        after: &'a str,
        last_repeat: Option<&'a str>,
    ) -> Result<&'a str, RegexError> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if let Some(first) = last_repeat {
            return Err(Fault::NestedRepetition.at(read_part(first, after)));
        }
        let Some(piece) = self.group.pieces.pop() else {
            return Err(Fault::MissingRepeatArgument.at(read_part(before, after)));
        };
        let text = piece.grouped() + operator;
        let piece = self.checked(piece.wrapped(text, Shape::Repetition))?;
        self.push(piece);
        self.last_repeat = Some(before);
        Ok(after)
    }

    fn repeat_counted(
        &mut self,
        count: Count,
        before: &'a str,
        after: &'a str,
        last_repeat: Option<&'a str>,
    ) -> Result<&'a str, RegexError> {
        let Count { min, max } = count;
        let most = max.unwrap_or(min);
        if min > REPEAT_LIMIT || most > REPEAT_LIMIT || min > most {
            return Err(Fault::RepeatCount.at(read_part(before, after)));
        }
        let operator = match max {
            Some(max) => format!("{{{min},{max}}}"),
            None => format!("{{{min},}}"),
        };
        let rest = self.repeat(&operator, before, after, last_repeat)?;
        if let Some(piece) = self.group.pieces.last_mut() {
            piece.copies = match max {
                Some(0) => 1,
                Some(_) | None => piece.copies.saturating_mul(most.max(1)),
            };
            if most >= 2 && piece.copies > REPEAT_LIMIT {
                return Err(Fault::RepeatCount.at(read_part(before, rest)));
            }
        }
        Ok(rest)
    }
}

/// `2}`, `2,}` or `2,5}` and what follows; none where the brace before it is a plain character.
fn read_count(text: &str) -> Option<(Count, &str)> {
    let (min, rest) = read_number(text)?;
    if let Some(rest) = rest.strip_prefix('}') {
        let max = Some(min);
        return Some((Count { min, max }, rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((Count { min, max: None }, rest));
    }
    let (max, rest) = read_number(rest)?;
    let max = Some(max);
    Some((Count { min, max }, rest.strip_prefix('}')?))
}

/// A decimal number without leading zeros; the largest there is for one that is larger.
fn read_number(text: &str) -> Option<(u32, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = read_part(text, rest);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

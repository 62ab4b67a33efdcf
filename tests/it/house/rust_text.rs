//! Just enough reading of Rust for the checks: its words without comments and strings, and the paths it names.

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Token {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// A path as it is named at a line, its braces written out.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) parts: Vec<String>,
}

/// Words, `::` and single signs; comments, strings, characters and lifetimes are left out.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut scan = Scan {
        rest: text,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(first) = scan.rest.chars().next() {
        let line = scan.line;
        if scan.skip_unread() {
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let size = match first {
            c if is_word(c) => scan.rest.find(|c| !is_word(c)).unwrap_or(scan.rest.len()),
            ':' if scan.rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        let text = scan.take(size);
        if !text.trim().is_empty() {
            let text = text.to_owned();
            tokens.push(Token { line, text });
        }
    }
    tokens
}

struct Scan<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scan<'a> {
    fn take(&mut self, size: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(size);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Leaves out one comment, string, character or lifetime; false where none begins.
    fn skip_unread(&mut self) -> bool {
        let rest = self.rest;
        let size = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_size(rest)
        } else if let Some(size) = raw_string_size(rest) {
            size
        } else if rest.starts_with('"') {
            quoted_size(rest, '"')
        } else if rest.starts_with('\'') {
            quote_size(rest)
        } else {
            return false;
        };
        self.take(size);
        true
    }
}

fn block_comment_size(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, _) in text.char_indices() {
        let rest = text.split_at(at).1;
        if rest.starts_with("/*") {
            depth += 1;
        } else if rest.starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    text.len()
}

fn raw_string_size(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let body = after_r.trim_start_matches('#');
    let hashes = after_r.len() - body.len();
    let inner = body.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - inner.len();
    let size = inner
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len());
    Some(size)
}

fn quoted_size(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// The size of a character, or of a lifetime.
fn quote_size(text: &str) -> usize {
    let mut inner = text.chars().skip(1);
    let is_char = inner.next() == Some('\\') || inner.next() == Some('\'');
    if is_char {
        return quoted_size(text, '\'');
    }
    let name = text.trim_start_matches('\'');
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
    1 + end.unwrap_or(name.len())
}

/// Every path that is imported or written out; of a written one, the part before any generics.
pub(super) fn paths_in(tokens: &[Token]) -> Vec<Named> {
    let mut paths = Vec::new();
    let mut rest = tokens.iter().peekable();
    let mut before = "";
    while let Some(token) = rest.next() {
        let follows = rest.peek().map_or("", |next| next.text());
        if token.text == "use" && follows != "<" {
            import(&mut rest, &[], &mut paths);
        } else if is_name(&token.text) && follows == "::" && before != "::" {
            let mut parts = vec![token.text.clone()];
            while rest.next_if(|next| next.text == "::").is_some() {
                let Some(name) = rest.next_if(|next| is_name(&next.text)) else {
                    break;
                };
                parts.push(name.text.clone());
            }
            let line = token.line;
            paths.push(Named { line, parts });
        }
        before = token.text();
    }
    paths
}

/// Reads one import up to its `,`, `}` or `;` and writes each path of it out.
fn import<'a>(
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a Token>>,
    above: &[String],
    paths: &mut Vec<Named>,
) {
    let mut parts = above.to_vec();
    let mut line = None;
    while let Some(token) = rest.next_if(|next| !matches!(next.text(), "," | "}" | ";")) {
        match token.text() {
            "{" => {
                while rest.next_if(|next| next.text == "}").is_none() {
                    import_one_of(rest, &parts, paths);
                    if rest.peek().is_none() {
                        return;
                    }
                }
                return;
            }
            "as" => {
                rest.next();
            }
            "::" => {}
            name => {
                line.get_or_insert(token.line);
                parts.push(name.to_owned());
            }
        }
    }
    if let Some(line) = line {
        paths.push(Named { line, parts });
    }
}

fn import_one_of<'a>(
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a Token>>,
    above: &[String],
    paths: &mut Vec<Named>,
) {
    import(rest, above, paths);
    rest.next_if(|next| matches!(next.text(), "," | ";"));
}

fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Drops each `#[cfg(test)] mod … { … }`.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((first, after)) = rest.split_first() {
        let marked = rest.iter().take(MARK.len()).map(Token::text).eq(MARK);
        if marked {
            rest = after_block(rest);
        } else {
            kept.push(first.clone());
            rest = after;
        }
    }
    kept
}

/// What follows the next block in braces, or the next `;` where that comes first.
fn after_block(tokens: &[Token]) -> &[Token] {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(token.text(), "}" | ";") {
            return tokens.split_at(at + 1).1;
        }
    }
    &[]
}

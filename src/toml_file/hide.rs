//! Keeps secrets out of the lines that findings show, also where the line could not be read.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A string after a key that names a secret; the end may be missing.
static AFTER_KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b\w*(?:secret|passw|token|bearer|hmac|value|credential)[\w.-]*["']?\s*=\s*("[^"]*"?|'[^']*'?|[^\s"'{\[][^\s,}\]]*)"#)
        .expect("a constant pattern that its test compiles")
});

/// A password in a URL, which may be cut off.
static IN_URL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"://[^/@\s"']*?:([^\s"']+)(?:@|\s|$)"#)
        .expect("a constant pattern that its test compiles")
});

/// `line`, which begins at byte `starts_at` of its text, with every character of a secret as `*`, but for the quotes around it.
pub(super) fn blot_out<'a>(
    line: &str,
    starts_at: usize,
    hidden: impl Iterator<Item = &'a Range<usize>>,
) -> String {
    let lexical = [&*AFTER_KEY, &*IN_URL]
        .into_iter()
        .flat_map(|pattern| pattern.captures_iter(line))
        .filter_map(|captures| captures.get(1))
        .map(|found| found.range());
    let known =
        hidden.map(|span| span.start.saturating_sub(starts_at)..span.end.saturating_sub(starts_at));
    let spans: Vec<Range<usize>> = lexical.chain(known).collect();
    let is_edge = |at: usize, c: char| {
        let ends_at = at + c.len_utf8();
        matches!(c, '"' | '\'')
            && spans
                .iter()
                .any(|span| span.start == at || span.end == ends_at)
    };
    line.char_indices()
        .map(|(at, c)| {
            let is_secret = spans.iter().any(|span| span.contains(&at));
            if is_secret && !is_edge(at, c) { '*' } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        let shown = |line: &str| blot_out(line, 0, std::iter::empty());
        assert_eq!(shown("password = \"abc\""), "password = \"***\"");
        assert_eq!(
            shown("auth = { bearer = 'abc', x = 1 }"),
            "auth = { bearer = '***', x = 1 }"
        );
        assert_eq!(shown("SECRET = \"abc"), "SECRET = \"***");
        assert_eq!(shown("secret = abc"), "secret = ***");
        assert_eq!(shown("client_secret=\"abc\""), "client_secret=\"***\"");
        assert_eq!(
            shown("url = \"postgres://wk:abc@db/w\""),
            "url = \"postgres://wk:***@db/w\""
        );
        assert_eq!(
            shown("secret = { env = \"NAME\" }"),
            "secret = { env = \"NAME\" }"
        );
        assert_eq!(
            shown("listen = \"127.0.0.1:9095\""),
            "listen = \"127.0.0.1:9095\""
        );
    }

    #[test]
    fn what_is_known_as_a_secret_is_not_shown() {
        assert_eq!(
            blot_out("k = \"abc\"", 100, std::iter::once(&(104..109))),
            "k = \"***\""
        );
    }
}

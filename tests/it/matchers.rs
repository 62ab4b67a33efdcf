//! Matchers against what Alertmanager and Go answered for the same texts.

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use serde::Deserialize;
use std::collections::BTreeMap;
use watchkeeper::domain::go_regex::{COMPILED_NESTING_LIMIT, NESTING_LIMIT, PATTERN_LIMIT_BYTES};
use watchkeeper::domain::matcher::{Matcher, MatcherError, Op};

const MATCHERS: &str = include_str!("fixtures/cases/matchers.json");
const MATCHING: &str = include_str!("fixtures/cases/matching.json");
const GO_AND_RUST: &str = include_str!("fixtures/cases/regex_go_vs_rust.json");

#[derive(Deserialize)]
struct ParseTable {
    cases: Vec<ParseCase>,
}

#[derive(Deserialize)]
struct ParseCase {
    input: String,
    fallback_single: Answer,
    fallback_matchers: Answer,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    matchers: Vec<Parts>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Parts {
    name: String,
    op: String,
    value: String,
}

#[derive(Deserialize)]
struct MatchTable {
    cases: Vec<MatchCase>,
}

#[derive(Deserialize)]
struct MatchCase {
    op: String,
    pattern: String,
    matches: Option<BTreeMap<String, bool>>,
    compile_error: Option<String>,
}

#[derive(Deserialize)]
struct GoCase {
    pattern: String,
    op: Option<String>,
    value: Option<String>,
    go: serde_json::Value,
}

/// `name op value` of each, or the error.
fn shown(parsed: Result<Vec<Matcher>, MatcherError>) -> Result<Vec<String>, String> {
    let show = |m: &Matcher| format!("{} {} {}", m.name(), m.op(), m.value());
    match parsed {
        Ok(matchers) => Ok(matchers.iter().map(show).collect()),
        Err(error) => Err(error.to_string()),
    }
}

fn wanted(answer: &Answer) -> Result<Vec<String>, String> {
    if !answer.ok {
        return Err(answer.error.clone().expect("a refusal has its error"));
    }
    let show = |m: &Parts| format!("{} {} {}", m.name, m.op, m.value);
    Ok(answer.matchers.iter().map(show).collect())
}

fn one(text: &str) -> Result<Vec<String>, String> {
    shown(Matcher::parse(text).map(|matcher| vec![matcher]))
}

fn list(text: &str) -> Result<Vec<String>, String> {
    shown(Matcher::parse_list(text))
}

fn op(sign: &str) -> Op {
    [Op::Equal, Op::NotEqual, Op::Regex, Op::NotRegex]
        .into_iter()
        .find(|op| op.to_string() == sign)
        .expect("the tables know four operators")
}

/// Whether `pattern` matches `value`, or Go's words why it is no expression.
fn matches(pattern: &str, value: &str) -> Result<bool, String> {
    match Matcher::new(Op::Regex, "a", pattern) {
        Ok(matcher) => Ok(matcher.matches(Some(value))),
        Err(error) => Err(error.to_string()),
    }
}

fn refusal(pattern: &str) -> String {
    matches(pattern, "").expect_err(pattern)
}

#[test]
fn one_matcher_is_read_as_alertmanager_reads_it() {
    let table: ParseTable = serde_json::from_str(MATCHERS).unwrap();
    assert_eq!(table.cases.len(), 139);
    for case in table.cases {
        assert_eq!(
            one(&case.input),
            wanted(&case.fallback_single),
            "{}",
            case.input
        );
    }
}

#[test]
fn a_list_of_matchers_is_read_as_alertmanager_reads_it() {
    let table: ParseTable = serde_json::from_str(MATCHERS).unwrap();
    for case in table.cases {
        assert_eq!(
            list(&case.input),
            wanted(&case.fallback_matchers),
            "{}",
            case.input
        );
    }
}

#[test]
fn values_match_as_they_do_in_alertmanager() {
    let table: MatchTable = serde_json::from_str(MATCHING).unwrap();
    assert_eq!(table.cases.len(), 253);
    for case in table.cases {
        let matcher = match Matcher::new(op(&case.op), "a", case.pattern.as_str()) {
            Ok(matcher) => matcher,
            Err(error) => {
                assert_eq!(Some(error.to_string()), case.compile_error);
                continue;
            }
        };
        assert_eq!(case.compile_error, None, "{}", case.pattern);
        for (value, wanted) in case.matches.expect("what compiles has answers") {
            let found = matcher.matches(Some(&value));
            assert_eq!(found, wanted, "{} {} {value:?}", case.op, case.pattern);
        }
    }
}

#[test]
fn where_go_and_rust_differ_an_expression_means_what_it_means_in_go() {
    let cases: Vec<GoCase> = serde_json::from_str(GO_AND_RUST).unwrap();
    assert_eq!(cases.len(), 80);
    for case in cases {
        let sign = op(case.op.as_deref().unwrap_or("=~"));
        let matcher = Matcher::new(sign, "a", case.pattern.as_str());
        let found = match (matcher, case.value.as_deref()) {
            (Ok(matcher), Some(value)) => matcher.matches(Some(value)).into(),
            (Ok(_), None) => "compiles".into(),
            (Err(error), _) => serde_json::Value::from(error.to_string()),
        };
        assert_eq!(found, case.go, "{} {:?}", case.pattern, case.value);
    }
}

#[test]
fn the_grammars_agree_with_alertmanager_beyond_the_tables() {
    let read = |parts: &[&str]| -> Result<Vec<String>, String> {
        Ok(parts.iter().map(|&part| part.to_owned()).collect())
    };
    for (text, wanted) in [
        ("", read(&[])),
        ("{}", read(&[])),
        (" {} ", read(&[])),
        ("{foo=,bar=}}", read(&["foo = ", "bar = }"])),
        ("{foo=}b", read(&["foo = }b"])),
        ("{foo=bar}}", read(&["foo = bar}"])),
        ("{ä=b,}", read(&["ä = b"])),
        (" { ä = b , } ", read(&["ä = b"])),
        (r#""a b"!~"x y""#, read(&["a b !~ x y"])),
        (r#""\u00e4\xc3\xa4\303\244"=x"#, read(&["äää = x"])),
        (
            r#"ä="\a\b\f\n\r\t\v\\\"""#,
            read(&["ä = \x07\x08\x0C\n\r\t\x0B\\\""]),
        ),
        ("\u{2003}ä=b\u{a0}", read(&["ä = b"])),
        (r#"""="x""#, read(&[" = x"])),
        // The backslash before the comma takes the quote behind it out of force.
        (r#"a=\,"b=c"#, Err(r#"bad matcher format: "b=c"#.to_owned())),
        (r#"ä="\'""#, Err(r#"bad matcher format: ä="\'""#.to_owned())),
        (
            r#"ä="\ud800""#,
            Err(r#"bad matcher format: ä="\ud800""#.to_owned()),
        ),
        (
            r#"ä="\400""#,
            Err(r#"bad matcher format: ä="\400""#.to_owned()),
        ),
        (
            "ä=\"b\nc\"",
            Err("bad matcher format: ä=\"b\nc\"".to_owned()),
        ),
        ("ä=b}", Err("bad matcher format: ä=b".to_owned())),
        ("{ä=b", Err("bad matcher format: ä=b".to_owned())),
        ("ä=b,,", Err("bad matcher format: ä=b".to_owned())),
        ("a\u{b}=b", read(&["a = b"])),
        ("1a", Err("bad matcher format: 1a".to_owned())),
    ] {
        assert_eq!(list(text), wanted, "{text}");
    }
    assert_eq!(
        one("ä=b,c=d"),
        Err("bad matcher format: ä=b,c=d".to_owned())
    );
    assert_eq!(one(""), Err("bad matcher format: ".to_owned()));
}

#[test]
fn a_name_with_an_at_sign_addresses_an_attribute() {
    let matcher = Matcher::parse(r#"@source=~"prom.*""#).unwrap();
    assert_eq!(matcher.attribute(), Some("source"));
    assert!(matcher.matches(Some("prometheus")));
    assert_eq!(Matcher::parse("source=x").unwrap().attribute(), None);
}

#[test]
fn an_absent_label_is_matched_as_the_empty_text() {
    for (text, wanted) in [
        ("a=", true),
        ("a!=", false),
        ("a!=b", true),
        ("a=~.*", true),
        ("a=~.+", false),
        ("a!~.+", true),
    ] {
        assert_eq!(
            Matcher::parse(text).unwrap().matches(None),
            wanted,
            "{text}"
        );
    }
}

#[test]
fn expressions_mean_what_they_mean_in_go_beyond_the_tables() {
    for (pattern, value, wanted) in [
        ("x{1001", "x{1001", true),
        ("x{2,1", "x{2,1", true),
        ("x{01}", "x{01}", true),
        ("a*{", "aa{", true),
        ("a(?i)*", "aaa", true),
        ("a(?i)b(?-i)c", "aBc", true),
        ("a(?i)b(?-i)c", "aBC", false),
        ("(?i:a)b", "AB", false),
        ("(?i)(?-i:a)B", "ab", true),
        ("()*", "", true),
        ("^*a$*", "a", true),
        (r"\Qab\E+", "abb", true),
        (r"\Q\\E", r"\", true),
        (r"(?:\Qa)\E)", "a)", true),
        (r"[\012-\234]\141", "\u{9c}a", true),
        (r"[\x{41}-\x7a]\x61", "Ba", true),
        (r"[a-b-c]", "-", true),
        (r"[\d-z]", "-", true),
        (r"[]-a]", "_", true),
        (r"[^]a]", "]", false),
        (r"[[:x]", ":", true),
        (r"[a\-z]", "b", false),
        (r"[\x{d800}-\x{e000}]", "\u{e000}", true),
        (r"\x{d800}", "\u{fffd}", false),
        (r"[^\x{0}-\x{10FFFF}]*", "", true),
        (r"(?i)[[:lower:]]", "\u{212a}", true),
        (r"(?i)[^[:lower:]]", "\u{17f}", false),
        (r"(?i)[[:^lower:]]", "\u{17f}", false),
        (r"(?i)\w", "\u{17f}", true),
        (r"(?i)\W", "\u{17f}", false),
        (r"(?i)[\W]", "s", false),
        (r"(?i)[\W\d]", "S", false),
        (r"(?i)\p{Lu}", "a", true),
        (r"(?i)\P{Lu}", "a", false),
        (r"(?i)\p{ascii}", "\u{17f}", true),
        (r"(?i)Δ", "δ", true),
        (r"\p{^Greek}", "α", false),
        (r"\P{^Greek}", "α", true),
        (r"[\p{^Greek}]", "a", true),
        (r"\p{upper case-let ter}", "A", true),
        (r"\p{Canadian_Aboriginal}", "\u{1401}", true),
        (r"\p{Any}", "\n", true),
        (r"\p{^Any}*", "", true),
        (r"\p{Cs}", "a", false),
        (r"\P{Cs}", "a", true),
        (r"\p{Assigned}", "\u{378}", false),
        (r"a\Bé|b\bé", "bé", true),
        (r"é\Bé", "éé", true),
        ("(?m)a$\n^b", "a\nb", true),
        ("a$\nb", "a\nb", false),
        ("[^a]", "\n", true),
        (".", "\n", false),
        ("(?s).", "\n", true),
        ("(?s-s).", "\n", false),
        ("(?)a", "a", true),
        ("a)(?:b", "ab", true),
        ("a)|(?:b", "axyz", true),
        ("(?U)a+?", "aa", true),
        ("(?P<n>a)(?<n>b)", "ab", true),
        ("(?:[a-z]{4}){0,250}", "abcdabcd", true),
        (
            "((((((((((x{1}){2}){2}){2}){2}){2}){2}){2}){2}){2})",
            "x",
            false,
        ),
        ("(x{0}){1000}", "", true),
        ("a|(b|(c|d)e)f", "cef", true),
        ("(?:a|b)(?:c|d)", "bd", true),
        ("(?:ab)*(?:a*)*", "ababaa", true),
    ] {
        assert_eq!(matches(pattern, value), Ok(wanted), "{pattern} on {value}");
    }
}

#[test]
fn expressions_are_refused_in_gos_words() {
    for (pattern, wanted) in [
        ("[a", "missing closing ]: `[a)$`"),
        ("[a-", "invalid character class range: `a-)`"),
        ("(?i", "missing closing ): `^(?:(?i)$`"),
        ("(?-)a", "invalid or unsupported Perl syntax: `(?-)`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?--i)a", "invalid or unsupported Perl syntax: `(?--`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?P<x y>a)", "invalid named capture: `(?P<x y>`"),
        ("(?P<>a)", "invalid named capture: `(?P<>`"),
        ("(?P<n", "invalid named capture: `(?P<n)$`"),
        (r"a\", "missing closing ): `^(?:a\\)$`"),
        (r"\Qa", r"missing closing ): `^(?:\Qa)$`"),
        (r"\Q\E*", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("(*)", "missing argument to repetition operator: `*`"),
        ("{2}", "missing argument to repetition operator: `{2}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{2}{3}?", "invalid nested repetition operator: `{2}{3}?`"),
        ("a??*", "invalid nested repetition operator: `??*`"),
        ("x{9876543210}", "invalid repeat count: `{9876543210}`"),
        ("x{1,9876543210}", "invalid repeat count: `{1,9876543210}`"),
        ("a{1001,}", "invalid repeat count: `{1001,}`"),
        ("(?:[a-z]{4}){0,251}", "invalid repeat count: `{0,251}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\xg", r"invalid escape sequence: `\xg)`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"[a-\d]", r"invalid escape sequence: `\d`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p{Grek}", r"invalid character class range: `\p{Grek}`"),
        (
            r"\p{Alphabetic}",
            r"invalid character class range: `\p{Alphabetic}`",
        ),
        (r"\p{L", r"invalid character class range: `\p{L)$`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[a-Z]", "invalid character class range: `a-Z`"),
        ("a))", "unexpected ): `^(?:a)))$`"),
    ] {
        assert_eq!(refusal(pattern), format!("error parsing regexp: {wanted}"));
    }
}

#[test]
fn an_expression_of_hostile_size_is_refused_and_a_large_honest_one_is_not() {
    let nested = |open: &str, close: &str, n: usize| {
        let pattern = format!("{}z{}", open.repeat(n), close.repeat(n));
        matches(&pattern, "\n").map_err(|error| error.chars().take(47).collect::<String>())
    };
    // The levels each of these adds; the anchors are one more.
    for (open, close, levels) in [
        ("(?:", ")*", 1),
        ("(?:", "){0,1}", 1),
        ("(?:", "){1}", 1),
        ("(?:a", "b)+", 2),
        ("(a|b", "c)?d", 3),
        ("(?:a|b(?:", "c)*)d", 4),
    ] {
        let deepest = COMPILED_NESTING_LIMIT / levels - 1;
        assert_eq!(nested(open, close, deepest), Ok(false), "{open}");
        for n in [deepest + 2, 3000] {
            let too_deep = "error parsing regexp: expression nests too deep".to_owned();
            assert_eq!(nested(open, close, n), Err(too_deep), "{open}");
        }
    }
    assert_eq!(nested("(", ")", NESTING_LIMIT - 2), Ok(false));
    assert!(nested("(", ")", NESTING_LIMIT - 1).is_err());
    assert!(nested("(?:", ")", NESTING_LIMIT + 1).is_err());
    assert_eq!(
        refusal(r"(?:\pL{500}){2}"),
        r"error parsing regexp: expression too large: `^(?:(?:\pL{500}){2})$`"
    );
    let hosts: Vec<String> = (0..2000).map(|n| format!("host-{n}.example.com")).collect();
    let hosts = hosts.join("|");
    assert_eq!(matches(&hosts, "host-1999.example.com"), Ok(true));
    assert_eq!(matches(&hosts, "host-2000.example.com"), Ok(false));
    assert_eq!(
        refusal(&"a".repeat(PATTERN_LIMIT_BYTES + 1)),
        "error parsing regexp: at most 65536 bytes are wanted, found 65537"
    );
}

/// Texts in which the signs of the grammars are frequent.
fn text() -> impl Strategy<Value = String> {
    let sign = prop_oneof![
        proptest::sample::select(
            "{}=!~,\"\\'` \n\tanx:@_-0123é.*+?()[]|^$pQEiPLdbU<>"
                .chars()
                .collect::<Vec<_>>()
        ),
        any::<char>(),
    ];
    proptest::collection::vec(sign, 0..24).prop_map(String::from_iter)
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Equal),
        Just(Op::NotEqual),
        Just(Op::Regex),
        Just(Op::NotRegex),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in text(), pattern in text()) {
        for text in [text.clone(), format!("a=~{text}"), format!("{{ä=\"{text}\"}}")] {
            let _one = Matcher::parse(&text);
            let _list = Matcher::parse_list(&text);
        }
        // What Go takes has an equal: the `regex` crate refuses nothing that was translated.
        if let Err(error) = Matcher::new(Op::Regex, "a", pattern) {
            assert!(!error.to_string().contains("no equal"), "{error}");
        }
    }

    #[test]
    fn a_matcher_is_read_back_from_what_it_shows(op in any_op(), name in text(), value in text()) {
        let matcher = Matcher::new(op, name.as_str(), value.as_str())
            .or_else(|_no_expression| Matcher::new(Op::Equal, name, value))
            .unwrap();
        let shown = matcher.to_string();
        prop_assert_eq!(Matcher::parse(&shown), Ok(matcher.clone()));
        prop_assert_eq!(Matcher::parse_list(&format!("{{{shown},{shown}}}")), Ok(vec![matcher.clone(), matcher]));
    }
}

//! Rule tests as they are written: `rules/tests/*.toml` → suites of cases, with file, line and column in every finding.

use crate::domain::alert::{Labels, Outcome, Run, Said, Sighting, Signal};
use crate::domain::finding::Finding;
use crate::domain::page::PageKind;
use crate::domain::phase::Phase;
use crate::domain::severity::Severity;
use crate::domain::source::Kind;
use crate::domain::time::{Timestamp, show_span};
use crate::toml_file::nearest::unknown;
use crate::toml_file::{Place, Report, Section, Value, parse, why_unreadable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder beside rules where their tests are.
const FOLDER: &str = "tests";

/// A step comes no later after the start: each simulated minute takes time.
const AFTER_MAX: Duration = Duration::from_secs(400 * 86_400);

/// The attributes that are ours to set.
const BUILT_IN: [&str; 4] = ["source", "kind", "outcome", "severity"];

const STATUSES: [(&str, Signal); 2] = [("firing", Signal::Firing), ("resolved", Signal::Resolved)];

const OUTCOMES: [(&str, Outcome); 5] = [
    ("pass", Outcome::Pass),
    ("warn", Outcome::Warn),
    ("fail", Outcome::Fail),
    ("error", Outcome::Error),
    ("skip", Outcome::Skip),
];

/// The kind of each source that a test may name.
pub type Sources = BTreeMap<String, &'static str>;

/// The tests of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    pub file: String,
    pub cases: Vec<Case>,
}

/// One `[[test]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// `rules/tests/checkout.toml:1:1`.
    pub place: String,
    /// The clock at the start.
    pub at: Timestamp,
    pub steps: Vec<Step>,
}

/// What arrives at an instant, and what must be so afterwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub place: String,
    /// Since the start.
    pub after: Duration,
    pub alerts: Vec<Arrival>,
    /// All incidents there are; none where the test does not say.
    pub incidents: Option<Vec<Wanted>>,
    /// All that went out since the step before; none where the test does not say.
    pub pages: Option<Vec<Wanted>>,
}

/// One alert of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    pub source: String,
    pub kind: &'static str,
    pub sighting: Sighting,
}

/// What an incident or a page must be, by key, in the words in which it is shown; a key that is not here may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(pub Vec<(&'static str, String)>);

#[derive(Debug)]
pub struct LoadedCases {
    /// Only good where no finding is an error.
    pub suites: Vec<Suite>,
    /// By file and position.
    pub findings: Vec<Finding>,
}

/// The test files of a rules directory, in order of name; none where it has no folder of them.
pub fn files_of(rules: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let folder = rules.join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    super::rule_files_of(&folder)
}

/// Reads test files, in the order given.
pub fn load_files(files: &[PathBuf], sources: &Sources) -> LoadedCases {
    let report = Report::default();
    let mut texts: Vec<(String, String)> = Vec::new();
    for path in files {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                let message = format!("cannot be read: {}", why_unreadable(&error));
                report.error(&Place::of_file(&name), message);
            }
        }
    }
    read_all(&texts, sources, report)
}

/// The same from texts that were read before, each with its file name.
pub fn load_texts(texts: &[(&str, &str)], sources: &Sources) -> LoadedCases {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let texts: Vec<(String, String)> = texts.iter().map(owned).collect();
    read_all(&texts, sources, Report::default())
}

fn read_all(texts: &[(String, String)], sources: &Sources, report: Report) -> LoadedCases {
    let mut suites = Vec::new();
    for (name, text) in texts {
        let Some(tree) = parse(name, text, &report) else {
            continue;
        };
        let section = Section::root(&tree, &report);
        let tests = section.get("test").and_then(Value::list);
        if tests.as_ref().is_none_or(Vec::is_empty) && !section.has("test") {
            report.warn(&Place::of_file(name), "there is no [[test]] in it");
        }
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        let mut cases = Vec::new();
        for test in tests.unwrap_or_default() {
            let Some(case) = test.section().and_then(|section| case(section, sources)) else {
                continue;
            };
            if let Some(first) = names.get(&case.name) {
                let first = first.show();
                test.error(format!(
                    "there is another test \"{}\" at {first}",
                    case.name
                ));
            }
            names.insert(case.name.clone(), test.place().clone());
            cases.push(case);
        }
        section.done();
        suites.push(Suite {
            file: name.clone(),
            cases,
        });
    }
    LoadedCases {
        suites,
        findings: report.into_findings(),
    }
}

/// What has an error is left out; nothing is run then.
fn case(section: Section<'_>, sources: &Sources) -> Option<Case> {
    let place = section.place().show();
    let name = section.required("name").and_then(Value::text);
    let at = section.required("at").and_then(Value::instant);
    let written = section.required("step").and_then(Value::list);
    let mut steps: Vec<Step> = Vec::new();
    for value in written.unwrap_or_default() {
        let Some(read) = value.section().and_then(|section| step(section, sources)) else {
            continue;
        };
        if let Some(before) = steps.last().filter(|before| before.after > read.after) {
            let (this, before) = (show_span(read.after), show_span(before.after));
            value.error(format!(
                "steps are in order of their time since the start: {this} comes after {before}"
            ));
        }
        steps.push(read);
    }
    let expects = |step: &Step| step.incidents.is_some() || step.pages.is_some();
    if !section.report().has_errors() && !steps.iter().any(expects) {
        section
            .error("a test expects something: \"incidents\" or \"pages\" in \"expect\" of a step");
    }
    section.done();
    Some(Case {
        name: name?,
        place,
        at: at?,
        steps,
    })
}

fn step(section: Section<'_>, sources: &Sources) -> Option<Step> {
    let place = section.place().show();
    let after = section.required("after").and_then(since_start);
    let alerts = section.get("alerts").map(Value::list);
    let alerts = alerts.flatten().unwrap_or_default();
    let alerts = alerts.into_iter().filter_map(|value| {
        value
            .section()
            .and_then(|section| arrival(section, sources))
    });
    let alerts: Vec<Arrival> = alerts.collect();
    let expect = section.get("expect").and_then(Value::section);
    let mut wanted = (None, None);
    if let Some(expect) = expect {
        wanted.0 = expect
            .get("incidents")
            .and_then(|value| rows(value, incident));
        wanted.1 = expect.get("pages").and_then(|value| rows(value, page));
        expect.done();
    }
    section.done();
    Some(Step {
        place,
        after: after?,
        alerts,
        incidents: wanted.0,
        pages: wanted.1,
    })
}

fn since_start(value: Value<'_>) -> Option<Duration> {
    let span = value.span()?;
    if span > AFTER_MAX {
        let (most, found) = (show_span(AFTER_MAX), show_span(span));
        return value.refuse(format!(
            "at most {most} after the start is wanted, found {found}"
        ));
    }
    Some(span)
}

/// What the alerts of a kind say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Status,
    Outcome,
    Either,
}

fn says(kind: &str) -> Says {
    match kind.parse() {
        Ok(Kind::Check | Kind::GreatExpectations | Kind::Dbt | Kind::Soda | Kind::Evidently) => {
            Says::Outcome
        }
        Ok(Kind::Cloudevents | Kind::DbtCloud | Kind::Mlflow | Kind::Change) => Says::Either,
        Ok(
            Kind::Alertmanager | Kind::Grafana | Kind::Pagerduty | Kind::Opsgenie | Kind::Mapped,
        )
        | Err(_) => Says::Status,
    }
}

fn arrival(section: Section<'_>, sources: &Sources) -> Option<Arrival> {
    let source = section.required("source");
    let source = source.and_then(|value| named(value, sources));
    let labels = section.required("labels").and_then(pairs);
    let annotations = section.get("annotations").map(pairs);
    let attributes = section.get("attributes").map(pairs);
    if let Some(attributes) = section.get("attributes").and_then(Value::peek) {
        for name in BUILT_IN {
            attributes.refuse(
                name,
                &format!("@{name} is made from what else is said here"),
            );
        }
    }
    let severity = section.get("severity").and_then(Value::text);
    let said = said(&section, source.map(|(_, kind)| kind));
    section.done();
    let (source, kind) = source?;
    let labels = labels?;
    // As these senders are read.
    let by_label = matches!(kind.parse(), Ok(Kind::Alertmanager | Kind::Grafana));
    let severity = match labels.get("severity") {
        Some(word) if by_label && severity.is_none() => Some(word.to_owned()),
        _ => severity,
    };
    Some(Arrival {
        source: source.to_owned(),
        kind,
        sighting: Sighting {
            labels,
            annotations: annotations.unwrap_or(Some(Labels::default()))?,
            attributes: attributes.unwrap_or(Some(Labels::default()))?,
            severity,
            starts_at: None,
            ends_at: None,
            said: said?,
        },
    })
}

fn named<'a>(value: Value<'_>, sources: &'a Sources) -> Option<(&'a str, &'static str)> {
    let found = value.string()?;
    match sources.get_key_value(found) {
        Some((_, kind)) if *kind == Kind::Change.as_str() => value.refuse(format!(
            "source \"{found}\" is of kind change, which opens no incident"
        )),
        Some((source, kind)) => Some((source, kind)),
        None => value.refuse(unknown("source", found, sources.keys().map(String::as_str))),
    }
}

fn said(section: &Section<'_>, kind: Option<&'static str>) -> Option<Said> {
    let status = section.get("status");
    let outcome = section.get("outcome");
    let says = kind.map_or(Says::Either, says);
    match (status, outcome) {
        (Some(value), None) if says == Says::Outcome => value.refuse(format!(
            "a source of kind {} says the \"outcome\" of a check, no \"status\"",
            kind.unwrap_or_default()
        )),
        (None, Some(value)) if says == Says::Status => value.refuse(format!(
            "a source of kind {} says a \"status\", no \"outcome\" of a check",
            kind.unwrap_or_default()
        )),
        (Some(value), None) => value.one_of("status", &STATUSES).map(Said::Signal),
        (None, Some(value)) => {
            let outcome = value.one_of("outcome", &OUTCOMES)?;
            let run = Run::default();
            Some(Said::Check { outcome, run })
        }
        (Some(_), Some(value)) => value.refuse("there is a \"status\" already".to_owned()),
        (None, None) => {
            let wanted = match says {
                Says::Outcome => "\"outcome\" is missing",
                Says::Status => "\"status\" is missing",
                Says::Either => "\"status\" is missing, or the \"outcome\" of a check",
            };
            section.error(wanted);
            None
        }
    }
}

fn pairs(value: Value<'_>) -> Option<Labels> {
    let section = value.section()?;
    let pair = |(name, value): (crate::toml_file::Name<'_>, Value<'_>)| {
        Some((name.text.to_owned(), value.word()?))
    };
    let pairs: Option<Vec<(String, String)>> = section.each().map(pair).collect();
    Some(pairs?.into_iter().collect())
}

fn rows(value: Value<'_>, row: fn(&Row<'_>)) -> Option<Vec<Wanted>> {
    let mut all = Vec::new();
    for value in value.list()? {
        let Some(section) = value.section() else {
            continue;
        };
        let read = Row {
            section,
            keys: std::cell::RefCell::default(),
        };
        row(&read);
        let Row { section, keys } = read;
        section.done();
        all.push(Wanted(keys.into_inner()));
    }
    Some(all)
}

/// A row of an expectation that is being read.
struct Row<'a> {
    section: Section<'a>,
    keys: std::cell::RefCell<Vec<(&'static str, String)>>,
}

impl Row<'_> {
    fn key(&self, key: &'static str, read: impl FnOnce(Value<'_>) -> Option<String>) {
        if let Some(text) = self.section.get(key).and_then(read) {
            self.keys.borrow_mut().push((key, text));
        }
    }
}

fn incident(row: &Row<'_>) {
    row.key("rule", text);
    row.key("severity", |value| {
        let severity: Severity = value.parsed()?;
        Some(severity.to_string())
    });
    row.key("dedup_key", text);
    row.key("status", |value| word(value, "status", &["open", "closed"]));
    row.key("title", text);
    row.key("team", text);
    row.key("phase", |value| {
        word(value, "phase", &Phase::ALL.map(Phase::as_str))
    });
    row.key("muted", |value| Some(value.boolean()?.to_string()));
}

fn page(row: &Row<'_>) {
    row.key("to", text);
    row.key("at", |value| value.span().map(show_span));
    row.key("channel", text);
    row.key("kind", |value| {
        let kinds = [PageKind::Page, PageKind::Update, PageKind::Bundle];
        word(value, "kind", &kinds.map(PageKind::as_str))
    });
}

fn text(value: Value<'_>) -> Option<String> {
    value.string().map(str::to_owned)
}

fn word(value: Value<'_>, what: &str, words: &[&str]) -> Option<String> {
    let words: Vec<(&str, String)> = words
        .iter()
        .map(|word| (*word, (*word).to_owned()))
        .collect();
    value.one_of(what, &words)
}

//! `[mappings]`: how the JSON of a sender becomes alerts; and the mappings that ship with the program.

use crate::config::sources::signed_as;
use crate::domain::confirmation::HostPattern;
use crate::domain::go_regex::compile_anchored;
use crate::domain::mapping::nested::Nested;
use crate::domain::mapping::path::{Path, Root};
use crate::domain::mapping::{
    Case, Condition, Fields, Mapping, ROOTS, StatusRule, Text, TextOf, Then, Word,
};
use crate::domain::matcher::Matcher;
use crate::domain::signature::Scheme;
use crate::domain::template::Template;
use crate::toml_file::nearest::unknown;
use crate::toml_file::{Report, Section, Value, parse};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The attributes that say where an alert came from, which no mapping sets.
const BUILT_IN: [&str; 4] = ["source", "kind", "outcome", "severity"];

/// The ready mappings: their names, and the files they are read from.
pub const READY: [(&str, &str); 5] = [
    (
        "datadog",
        include_str!("../../config/mappings/datadog.toml"),
    ),
    ("sentry", include_str!("../../config/mappings/sentry.toml")),
    ("sns", include_str!("../../config/mappings/sns.toml")),
    (
        "uptime-kuma",
        include_str!("../../config/mappings/uptime-kuma.toml"),
    ),
    ("zabbix", include_str!("../../config/mappings/zabbix.toml")),
];

/// The mappings of `[mappings]`, and by their names those that are ready.
pub(super) struct Mappings(BTreeMap<String, Arc<Mapping>>);

pub(super) fn read(section: &Section<'_>) -> Mappings {
    let own = section.each_section().map(|(name, section)| {
        let mapping = read_one(name.text, section);
        (name.text.to_owned(), Arc::new(mapping))
    });
    Mappings(own.collect())
}

impl Mappings {
    /// The mapping that is named; one in the configuration goes before a ready one.
    pub(super) fn named(&self, value: Value<'_>) -> Option<Arc<Mapping>> {
        let name = value.string()?;
        if let Some(own) = self.0.get(name) {
            return Some(Arc::clone(own));
        }
        if let Some(ready) = ready(name) {
            return Some(Arc::new(ready));
        }
        let own = self.0.keys().map(String::as_str);
        let known = own.chain(READY.map(|(name, _)| name));
        value.refuse(unknown("mapping", name, known))
    }
}

/// A mapping that ships with the program.
pub fn ready(name: &str) -> Option<Mapping> {
    let (_, text) = READY.iter().find(|(known, _)| *known == name)?;
    let report = Report::default();
    let tree = parse(&format!("config/mappings/{name}.toml"), text, &report)?;
    let mappings = Section::root(&tree, &report).section("mappings");
    let mut named = mappings.each_section();
    named.find_map(|(found, section)| (found.text == name).then(|| read_one(name, section)))
}

/// What has an error is left out or means nothing; the whole is not used then.
fn read_one(name: &str, section: Section<'_>) -> Mapping {
    let items = section.get("items").map(paths).unwrap_or_default();
    let nested = section.get("parse").map(paths).unwrap_or_default();
    for (key, paths) in [("items", &items), ("parse", &nested)] {
        let in_body = |path: &Path| matches!(path.root, Root::Here | Root::Body);
        if let (Some(value), false) = (section.get(key), paths.iter().all(in_body)) {
            value.error("a path into the body is wanted, which begins with \"$\" or \"body\"");
        }
    }
    let absent = section.get("absent").map(regexes).unwrap_or_default();
    let when = section.get("when").map(conditions).unwrap_or_default();
    let signature = section.get("signature").and_then(signature);
    let confirm_hosts = section.get("confirm_hosts").and_then(hosts);
    let shared = Parts::read(&section);
    let cases = match section.get("case") {
        Some(value) => cases(value, &shared),
        None => vec![Case {
            when: Vec::new(),
            then: shared.alert(&section),
        }],
    };
    section.done();
    Mapping {
        name: name.to_owned(),
        items,
        nested: Nested::of(&nested),
        absent,
        when,
        cases,
        signature,
        confirm_hosts: confirm_hosts.unwrap_or_default(),
    }
}

fn cases(value: Value<'_>, shared: &Parts) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let sections = value.list().unwrap_or_default().into_iter();
    for section in sections.filter_map(Value::section) {
        if cases.last().is_some_and(|before| before.when.is_empty()) {
            section.warn("this case is never tried: the one before it fits everything");
        }
        cases.push(case(section, shared));
    }
    if cases.is_empty() {
        value.error("at least one case is wanted");
    }
    cases
}

fn case(section: Section<'_>, shared: &Parts) -> Case {
    let when = section.get("when").map(conditions).unwrap_or_default();
    let then = match (section.get("ignore"), section.get("confirm")) {
        (Some(_), Some(_)) => {
            section.error("one of ignore and confirm is wanted, found both");
            Then::Ignore { note: None }
        }
        (Some(value), None) => ignore(value),
        (None, Some(value)) => match path(value) {
            Some(url) => Then::Confirm { url },
            None => Then::Ignore { note: None },
        },
        (None, None) => Parts::read(&section).under(shared).alert(&section),
    };
    section.done();
    Case { when, then }
}

/// `true`, or what is said of it in the log.
fn ignore(value: Value<'_>) -> Then {
    if value.is_string() {
        let note = template(value);
        return Then::Ignore { note };
    }
    if value.boolean() == Some(false) {
        value.error("true or a text for the log is wanted, found false");
    }
    Then::Ignore { note: None }
}

/// What a case, or all cases of a mapping, say of an alert.
#[derive(Default)]
struct Parts {
    status: Option<StatusRule>,
    severity: Option<Text>,
    labels: BTreeMap<String, Text>,
    annotations: BTreeMap<String, Text>,
    attributes: BTreeMap<String, Text>,
    starts_at: Option<Text>,
    ends_at: Option<Text>,
}

impl Parts {
    fn read(section: &Section<'_>) -> Self {
        let texts = |key| texts(section, key);
        let attributes = section.section("attributes");
        for (name, _) in attributes.each() {
            if BUILT_IN.contains(&name.text) {
                let what = match name.text {
                    "severity" => "write severity = … beside labels",
                    _other => "it is always there",
                };
                let message = format!("the attribute \"{}\" is built in: {what}", name.text);
                section.report().error(name.place, message);
            }
        }
        Self {
            status: section.get("status").and_then(status),
            severity: section.get("severity").and_then(text),
            labels: texts("labels"),
            annotations: texts("annotations"),
            attributes: texts("attributes"),
            starts_at: section.get("starts_at").and_then(time),
            ends_at: section.get("ends_at").and_then(time),
        }
    }

    /// With what is shared for what is not said here.
    fn under(self, shared: &Self) -> Self {
        let merged = |own: BTreeMap<String, Text>, shared: &BTreeMap<String, Text>| {
            let mut all = shared.clone();
            all.extend(own);
            all
        };
        Self {
            status: self.status.or_else(|| shared.status.clone()),
            severity: self.severity.or_else(|| shared.severity.clone()),
            labels: merged(self.labels, &shared.labels),
            annotations: merged(self.annotations, &shared.annotations),
            attributes: merged(self.attributes, &shared.attributes),
            starts_at: self.starts_at.or_else(|| shared.starts_at.clone()),
            ends_at: self.ends_at.or_else(|| shared.ends_at.clone()),
        }
    }

    fn alert(self, section: &Section<'_>) -> Then {
        let is_missing = |key: &str, has: bool| {
            if !has && !section.has(key) {
                section.error(format!("\"{key}\" is missing"));
            }
        };
        is_missing("status", self.status.is_some());
        is_missing("labels", !self.labels.is_empty());
        if section.has("labels") && self.labels.is_empty() {
            section.error("at least one label is wanted");
        }
        Then::Alert(Box::new(Fields {
            status: self.status.unwrap_or(StatusRule::Always(Word::Ignore)),
            severity: self.severity,
            labels: self.labels,
            annotations: self.annotations,
            attributes: self.attributes,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
        }))
    }
}

fn texts(section: &Section<'_>, key: &'static str) -> BTreeMap<String, Text> {
    let mut texts = BTreeMap::new();
    for (name, value) in section.section(key).each() {
        if name.text.is_empty() {
            value.error("a name is wanted, found an empty one");
        }
        texts.extend(text(value).map(|text| (name.text.to_owned(), text)));
    }
    texts
}

/// A template; or a path or template with a map of words.
fn text(value: Value<'_>) -> Option<Text> {
    if value.is_string() {
        return template(value).map(|template| plain(TextOf::Template(template)));
    }
    if !value.is_table() {
        return value.wanted("a template, or a table with path or template");
    }
    let section = value.section()?;
    let text = text_of(&section);
    section.done();
    text
}

/// The same where a text by itself is a path, unless it is a template.
fn time(value: Value<'_>) -> Option<Text> {
    let is_path = value.is_string() && !value.string()?.contains("{{");
    match is_path {
        true => path(value).map(|path| plain(TextOf::Paths(vec![path]))),
        false => text(value),
    }
}

fn plain(of: TextOf) -> Text {
    Text {
        of,
        map: BTreeMap::new(),
        default: None,
    }
}

fn text_of(section: &Section<'_>) -> Option<Text> {
    let of = source_of(section);
    let mut map = BTreeMap::new();
    for (name, value) in section.section("map").each() {
        map.extend(value.word().map(|word| (name.text.to_owned(), word)));
    }
    let default = section.get("default").and_then(Value::word);
    Some(Text {
        of: of?,
        map,
        default,
    })
}

fn source_of(section: &Section<'_>) -> Option<TextOf> {
    match (section.get("path"), section.get("template")) {
        (Some(value), None) => Some(TextOf::Paths(paths(value))),
        (None, Some(value)) => template(value).map(TextOf::Template),
        (Some(_), Some(_)) => {
            section.error("one of path and template is wanted, found both");
            None
        }
        (None, None) => {
            section.error("one of path and template is wanted");
            None
        }
    }
}

const WORDS: [(&str, Word); 3] = [
    ("firing", Word::Firing),
    ("resolved", Word::Resolved),
    ("ignore", Word::Ignore),
];

fn status(value: Value<'_>) -> Option<StatusRule> {
    if value.is_string() {
        return value.one_of("status", &WORDS).map(StatusRule::Always);
    }
    if !value.is_table() {
        return value.wanted("\"firing\", \"resolved\" or a table with path or template");
    }
    let section = value.section()?;
    let of = source_of(&section);
    let mut words = BTreeMap::new();
    for (key, meaning) in [
        ("firing", Word::Firing),
        ("acknowledged", Word::Acknowledged),
        ("resolved", Word::Resolved),
        ("ignore", Word::Ignore),
    ] {
        let items = section.get(key).and_then(Value::list).unwrap_or_default();
        for item in items {
            let Some(word) = item.word() else { continue };
            if words.insert(word.clone(), meaning).is_some() {
                item.error(format!("\"{word}\" stands here for the second time"));
            }
        }
    }
    let otherwise = section
        .get("otherwise")
        .and_then(|value| value.one_of("status", &WORDS));
    if !section.has("firing") && !section.has("otherwise") {
        section.error("\"firing\" is missing: the words of which an alert fires");
    }
    section.done();
    Some(StatusRule::Told {
        of: plain(of?),
        words,
        otherwise,
    })
}

fn template(value: Value<'_>) -> Option<Template> {
    let text = value.string()?;
    let template = match Template::parse_over_values(text) {
        Ok(template) => template,
        Err(error) => {
            value.error_at(error.offset, error.message);
            return None;
        }
    };
    for name in template.names() {
        if !ROOTS.contains(&name.as_str()) {
            value.error_at(text.find(&name), unknown("name", &name, ROOTS));
        }
    }
    if let Some(error) = template.flaw() {
        value.error_at(error.offset, error.message);
    }
    Some(template)
}

fn path(value: Value<'_>) -> Option<Path> {
    match value.string()?.parse::<Path>() {
        Ok(path) => Some(path),
        Err(bad) => {
            value.error_at(Some(bad.offset), bad.to_string());
            None
        }
    }
}

/// One, or a list of which the first that leads to something counts.
fn paths(value: Value<'_>) -> Vec<Path> {
    if !value.is_list() {
        return path(value).into_iter().collect();
    }
    let items = value.items();
    if items.is_empty() {
        value.error("at least one path is wanted");
    }
    items.into_iter().filter_map(path).collect()
}

fn conditions(value: Value<'_>) -> Vec<Condition> {
    let items = value.list().unwrap_or_default();
    items.into_iter().filter_map(condition).collect()
}

/// `$.a.b=~"x|y"`: a matcher whose name is a path.
fn condition(value: Value<'_>) -> Option<Condition> {
    let matcher = match Matcher::parse(value.string()?) {
        Ok(matcher) => matcher,
        Err(error) => return value.refuse(error.to_string()),
    };
    match matcher.name().parse::<Path>() {
        Ok(path) => Some(Condition { path, matcher }),
        Err(bad) => value.refuse(bad.to_string()),
    }
}

fn regexes(value: Value<'_>) -> Vec<Regex> {
    let items = value.list().unwrap_or_default();
    let regex = |item: Value<'_>| match compile_anchored(item.string()?) {
        Ok(regex) => Some(regex),
        Err(error) => item.refuse(error.to_string()),
    };
    items.into_iter().filter_map(regex).collect()
}

/// Hosts that may be asked to confirm.
pub(super) fn hosts(value: Value<'_>) -> Option<Vec<HostPattern>> {
    let items = value.list()?;
    items.into_iter().map(Value::parsed).collect()
}

fn signature(value: Value<'_>) -> Option<Scheme> {
    let section = value.section()?;
    let scheme = signed_as(&section, None);
    section.done();
    scheme
}

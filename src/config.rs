//! Configuration: `watchkeeper.toml` and `oncall.toml` with the environment laid over them, as a validated [`Config`].
//! The only reader of the environment.

mod analysis;
pub mod auth;
pub mod channels;
mod environment;
pub mod heartbeats;
pub mod log;
pub mod mappings;
mod names;
mod people;
mod policies;
mod process;
pub mod readiness;
pub mod retention;
mod schedules;
mod secrets;
pub mod server;
pub mod severity;
pub mod sources;
pub mod store;
mod storm;

pub use crate::config::environment::Environment;

use crate::config::auth::Token;
use crate::config::channels::{Channel, LOG_CHANNEL};
use crate::config::environment::ONCALL_SECTIONS;
use crate::config::log::Log;
use crate::config::names::Names;
use crate::config::retention::Retention;
use crate::config::server::Server;
use crate::config::severity::Definitions;
use crate::config::sources::Source;
use crate::config::store::Store;
use crate::domain::escalation::{DEFAULT_TIMEOUT, EscalationPolicy, Step, Target};
use crate::domain::finding::Finding;
use crate::domain::oncall::{Book, Contact, DEFAULT_POLICY, Person};
use crate::domain::severity::Matrix;
use crate::toml_file::{Node, Place, Report, Section, Value, parse, why_unreadable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WATCHKEEPER_FILE: &str = "watchkeeper.toml";
const ONCALL_FILE: &str = "oncall.toml";

/// The person whom the built-in policy pages.
const LOG_PERSON: &str = "log";

/// Everything an operator sets but the rules, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub store: Store,
    pub tokens: BTreeMap<String, Token>,
    /// With those that are built in.
    pub sources: BTreeMap<String, Source>,
    pub heartbeats: BTreeMap<String, heartbeats::Configured>,
    pub builtin_sources: bool,
    pub channels: BTreeMap<String, Channel>,
    pub book: Book,
    pub definitions: Definitions,
    pub matrix: Matrix,
    pub log: Log,
    pub retention: Retention,
    pub rules: RulesFrom,
}

/// Where the rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesFrom {
    Directory(PathBuf),
    /// The default rules in this program: no directory is configured, and none is where it would be.
    BuiltIn,
}

/// What a reading of the configuration gives.
#[derive(Debug)]
pub struct Loaded {
    /// None where a finding is an error.
    pub config: Option<Config>,
    /// Where there are errors: what could be read, with defaults for the rest. Only good for finding more errors.
    pub remains: Option<Config>,
    /// By file and position.
    pub findings: Vec<Finding>,
    pub places: Places,
}

/// Where people, schedules and steps of policies are written, for what is found out about them later.
#[derive(Clone, Debug)]
pub struct Places {
    oncall: Place,
    by_path: BTreeMap<String, Place>,
}

impl Places {
    /// The place of `people.ana` or `policies.default.1` (its first step); the beginning of `oncall.toml` for what is built in.
    pub fn of(&self, path: &str) -> &Place {
        self.by_path.get(path).unwrap_or(&self.oncall)
    }
}

/// The configuration directory where none is named: `config`, else `/etc/watchkeeper`, else none.
pub fn default_directory() -> Option<PathBuf> {
    ["config", "/etc/watchkeeper"]
        .into_iter()
        .map(PathBuf::from)
        .find(|directory| directory.is_dir())
}

/// The files of a directory that are read, whether they are there or not.
pub fn files_of(directory: &Path) -> [PathBuf; 2] {
    [WATCHKEEPER_FILE, ONCALL_FILE].map(|file| directory.join(file))
}

/// Reads the files of a directory, each of which may be missing, with the environment over them. Without a directory: the built-in defaults.
pub fn load(directory: Option<&Path>, environment: &Environment) -> Loaded {
    let report = Report::default();
    let watchkeeper = read_tree(directory, WATCHKEEPER_FILE, &report);
    let oncall = read_tree(directory, ONCALL_FILE, &report);
    let mut places = Places {
        oncall: Place::of_file(&file_name(directory, ONCALL_FILE)),
        by_path: BTreeMap::new(),
    };
    // Where a file cannot be read at all, what refers to it would only be found unknown.
    let (Some(mut watchkeeper), Some(mut oncall)) = (watchkeeper, oncall) else {
        return Loaded {
            config: None,
            remains: None,
            findings: report.into_findings(),
            places,
        };
    };
    let of_environment = environment.overlay(&mut watchkeeper, &mut oncall);
    let watchkeeper = Section::root(&watchkeeper, &report);
    let oncall = Section::root(&oncall, &report);
    note_places(&oncall, &mut places);
    let config = read(watchkeeper, oncall, directory, environment);
    let is_usable = !report.has_errors() && of_environment.is_empty();
    let mut findings = report.into_findings();
    findings.extend(of_environment);
    findings.sort();
    let (config, remains) = match is_usable {
        true => (Some(config), None),
        false => (None, Some(config)),
    };
    Loaded {
        config,
        remains,
        findings,
        places,
    }
}

fn file_name(directory: Option<&Path>, file: &str) -> String {
    let path = directory.map_or_else(|| file.into(), |directory| directory.join(file));
    path.display().to_string()
}

/// The tree of a file, an empty one where it is not there, none where it cannot be read.
fn read_tree(directory: Option<&Path>, file: &str, report: &Report) -> Option<Node> {
    let name = file_name(directory, file);
    let Some(directory) = directory else {
        return Some(Node::empty(&name));
    };
    if !directory.is_dir() {
        let place = Place::of_file(&directory.display().to_string());
        report.error(&place, "no such directory");
        return None;
    }
    match std::fs::read_to_string(directory.join(file)) {
        Ok(text) => parse(&name, &text, report),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Node::empty(&name)),
        Err(error) => {
            let message = format!("cannot be read: {}", why_unreadable(&error));
            report.error(&Place::of_file(&name), message);
            None
        }
    }
}

fn note_places(oncall: &Section<'_>, places: &mut Places) {
    for (kind, value) in oncall.each() {
        let Some(section) = value.peek() else {
            continue;
        };
        for (name, value) in section.each() {
            let path = format!("{}.{}", kind.text, name.text);
            let steps = value.peek().and_then(|policy| policy.get("steps"));
            for (n, step) in steps
                .map(Value::items)
                .unwrap_or_default()
                .into_iter()
                .enumerate()
            {
                places
                    .by_path
                    .insert(format!("{path}.{}", n + 1), step.place().clone());
            }
            places.by_path.insert(path, name.place.clone());
        }
    }
}

/// Reads both files; what has an error has its default here, and the whole is not used.
fn read(
    watchkeeper: Section<'_>,
    oncall: Section<'_>,
    directory: Option<&Path>,
    environment: &Environment,
) -> Config {
    let auth = watchkeeper.section("auth");
    let has_tokens = auth.section("tokens").each().next().is_some();
    let tokens = auth::read(auth, environment);
    let server = server::read(watchkeeper.section("server"), has_tokens);
    let store = store::read(watchkeeper.section("store"), environment);
    let builtin_sources = watchkeeper
        .get("builtin_sources")
        .and_then(Value::boolean)
        .unwrap_or(true);
    let heartbeats = heartbeats::read(&watchkeeper.section("heartbeats"), &server, environment);
    let mappings = mappings::read(&watchkeeper.section("mappings"));
    let sources = sources::read(
        &watchkeeper.section("sources"),
        &server,
        builtin_sources,
        &mappings,
        environment,
    );
    let (channels, channel_names) = channels::read(&watchkeeper.section("channels"), environment);
    let (definitions, matrix) = severity::read(watchkeeper.section("severity"));
    let names = names(&oncall, &channels, channel_names);
    let processes = process::read(watchkeeper.section("process"), server.zone, &names);
    let analysis = analysis::read(watchkeeper.section("analysis"));
    let log = log::read(watchkeeper.section("log"));
    let retention = retention::read(watchkeeper.section("retention"));
    let rules = rules_from(watchkeeper.get("rules_dir"), directory);
    let storm = storm::read(watchkeeper.get("storm"));
    for section in ["prometheus", "limits", "heartbeat", "reviews"] {
        watchkeeper.not_yet(section);
    }
    for section in ONCALL_SECTIONS {
        watchkeeper.refuse(section, &format!("\"{section}\" belongs in {ONCALL_FILE}"));
    }
    watchkeeper.done();

    let mut book = Book {
        people: people::read_people(&oncall.section("people"), &names),
        teams: people::read_teams(&oncall.section("teams"), &names),
        schedules: schedules::read(&oncall.section("schedules"), server.zone, &names),
        policies: policies::read(&oncall.section("policies"), &names),
        processes,
        weaknesses: analysis.weaknesses,
        detection_gaps: analysis.detection_gaps,
        stale_after: stale_after(&sources),
        storm,
        heartbeats: heartbeats
            .iter()
            .map(|(name, one)| (name.clone(), one.heartbeat.clone()))
            .collect(),
    };
    oncall.done();
    add_builtin(&mut book);
    Config {
        server,
        store,
        tokens,
        sources,
        heartbeats,
        builtin_sources,
        channels,
        book,
        definitions,
        matrix,
        log,
        retention,
        rules,
    }
}

fn names(oncall: &Section<'_>, channels: &BTreeMap<String, Channel>, all: Vec<String>) -> Names {
    let keys = |section| -> Vec<String> {
        let section: Section<'_> = oncall.section(section);
        section
            .each()
            .map(|(name, _)| name.text.to_owned())
            .collect()
    };
    let of_kind = |kind: &str| -> Vec<String> {
        let fits = channels
            .iter()
            .filter(|(_, channel)| channel.kind() == kind);
        fits.map(|(name, _)| name.clone()).collect()
    };
    let mut names = Names {
        channels: all,
        email_channels: of_kind("email"),
        log_channels: of_kind("log"),
        people: keys("people"),
        schedules: keys("schedules"),
        policies: keys("policies"),
    };
    if !names.policies.iter().any(|name| name == DEFAULT_POLICY) {
        names.policies.push(DEFAULT_POLICY.to_owned());
        if !names.people.iter().any(|name| name == LOG_PERSON) {
            names.people.push(LOG_PERSON.to_owned());
        }
    }
    names
}

fn stale_after(sources: &BTreeMap<String, Source>) -> BTreeMap<String, Duration> {
    let said = sources.iter();
    said.filter_map(|(name, source)| Some((name.clone(), source.stale_after?)))
        .collect()
}

/// The policy `default` and the person it pages, where no policy `default` is configured.
fn add_builtin(book: &mut Book) {
    if book.policies.contains_key(DEFAULT_POLICY) {
        return;
    }
    let log_contact = Contact {
        channel: LOG_CHANNEL.to_owned(),
        address: LOG_PERSON.to_owned(),
        after: Duration::ZERO,
    };
    book.people
        .entry(LOG_PERSON.to_owned())
        .or_insert_with(|| Person {
            name: "Log".to_owned(),
            zone: None,
            notify: vec![log_contact],
            notify_low: None,
            manager: None,
        });
    let policy = EscalationPolicy {
        name: DEFAULT_POLICY.to_owned(),
        steps: vec![Step {
            targets: vec![Target::Person(LOG_PERSON.to_owned())],
            timeout: DEFAULT_TIMEOUT,
        }],
        repeat: 0,
        acknowledge_timeout_ms: None,
        fallback: Vec::new(),
    };
    book.policies.insert(DEFAULT_POLICY.to_owned(), policy);
}

/// The directory that is written, which must be there; else `rules` beside a directory `config` and within any other, where it is there.
fn rules_from(written: Option<Value<'_>>, directory: Option<&Path>) -> RulesFrom {
    if let Some(value) = written {
        let Some(path) = value.text() else {
            return RulesFrom::BuiltIn;
        };
        if !Path::new(&path).is_dir() {
            value.error(format!("no such directory: {path}"));
        }
        return RulesFrom::Directory(path.into());
    }
    let Some(directory) = directory else {
        return RulesFrom::BuiltIn;
    };
    let is_config = directory.file_name().is_some_and(|name| name == "config");
    let rules = match directory.parent() {
        Some(parent) if is_config => parent.join("rules"),
        _ => directory.join("rules"),
    };
    if rules.is_dir() {
        RulesFrom::Directory(rules)
    } else {
        RulesFrom::BuiltIn
    }
}

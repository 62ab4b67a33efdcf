//! Rules: `rules/*.toml` → [`RuleSet`], with file, line and column in every finding.

pub mod cases;
pub mod explain;
mod inhibit;
mod interval;
mod lint;
mod rule;
mod severity;

use crate::domain::finding::Finding;
use crate::domain::inhibition::Inhibition;
use crate::domain::interval::Interval;
use crate::domain::oncall::Book;
use crate::domain::rule::{Rule, RuleSet};
use crate::domain::severity::Matrix;
use crate::toml_file::{Node, Place, Report, Section, Value, parse, why_unreadable};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The rules of an installation that has none of its own.
const BUILT_IN: &str = include_str!("../rules/default.toml");
const BUILT_IN_NAME: &str = "built-in/default.toml";

/// Hexadecimal digits of a revision.
const REVISION_DIGITS: usize = 16;

/// What rules refer to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Of the server: that of a verification that names none.
    pub zone: Tz,
    pub matrix: &'a Matrix,
    pub book: &'a Book,
}

#[derive(Debug)]
pub struct LoadedRules {
    /// None where a finding is an error.
    pub rules: Option<RuleSet>,
    /// By file and position.
    pub findings: Vec<Finding>,
}

/// The `*.toml` of a directory, in order of file name; what is in directories below it is not read.
pub fn load_dir(directory: &Path, context: Context<'_>) -> LoadedRules {
    let report = Report::default();
    let mut texts: Vec<(String, String)> = Vec::new();
    for path in rule_files(directory, &report) {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                let message = format!("cannot be read: {}", why_unreadable(&error));
                report.error(&Place::of_file(&name), message);
            }
        }
    }
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let loaded = read_all(&texts, context, report);
    if loaded.findings.is_empty()
        && loaded
            .rules
            .as_ref()
            .is_some_and(|set| set.rules().is_empty())
    {
        let place = Place::of_file(&directory.display().to_string());
        let none = place.warning(
            "no rules here: every alert is recorded, and none opens an incident".to_owned(),
        );
        return LoadedRules {
            findings: vec![none],
            ..loaded
        };
    }
    loaded
}

/// Rules from texts that were read before, each with its file name, in the order given.
pub fn load_texts(texts: &[(&str, &str)], context: Context<'_>) -> LoadedRules {
    read_all(texts, context, Report::default())
}

/// The file of the default rules: its name and its text.
pub fn builtin() -> (String, String) {
    (BUILT_IN_NAME.to_owned(), BUILT_IN.to_owned())
}

/// The default rules.
pub fn load_builtin(context: Context<'_>) -> LoadedRules {
    load_texts(&[(BUILT_IN_NAME, BUILT_IN)], context)
}

/// The files of a directory that are read, in order.
pub fn rule_files_of(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.retain(|path| is_rule_file(path));
    paths.sort();
    Ok(paths)
}

fn rule_files(directory: &Path, report: &Report) -> Vec<PathBuf> {
    match rule_files_of(directory) {
        Ok(paths) => paths,
        Err(error) => {
            let place = Place::of_file(&directory.display().to_string());
            report.error(
                &place,
                format!("cannot be read: {}", why_unreadable(&error)),
            );
            Vec::new()
        }
    }
}

fn is_rule_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let is_visible = name.is_some_and(|name| !name.starts_with('.'));
    is_visible
        && path
            .extension()
            .is_some_and(|extension| extension == "toml")
        && !path.is_dir()
}

fn read_all(texts: &[(&str, &str)], context: Context<'_>, report: Report) -> LoadedRules {
    let trees: Vec<Node> = texts
        .iter()
        .filter_map(|(name, text)| parse(name, text, &report))
        .collect();
    let roots = || trees.iter().map(|tree| Section::root(tree, &report));
    // A rule may name an interval of any file.
    let mut intervals = Intervals::default();
    let has_all = trees.len() == texts.len();
    for section in roots() {
        let written = section.get("interval").and_then(Value::list);
        for value in written.unwrap_or_default() {
            intervals.read(value, context.zone);
        }
    }
    let mut reader = Reader {
        context,
        intervals: has_all.then_some(&intervals),
        rules: Vec::new(),
        inhibitions: Vec::new(),
        names: BTreeMap::new(),
        catch_all: None,
        earlier: lint::Earlier::default(),
    };
    for section in roots() {
        let rules = section
            .get("rule")
            .and_then(Value::list)
            .unwrap_or_default();
        for rule in rules {
            reader.read(rule);
        }
        let inhibitions = section
            .get("inhibit")
            .and_then(Value::list)
            .unwrap_or_default();
        let read = inhibitions
            .into_iter()
            .filter_map(|value| value.section().and_then(inhibit::read));
        reader.inhibitions.extend(read);
        // Read above.
        let _read = section.get("interval");
        section.done();
    }
    let (rules, inhibitions) = (reader.rules, reader.inhibitions);
    intervals.warn_of_idle(&rules, &report);
    let rules = (!report.has_errors()).then(|| {
        RuleSet::new(rules, context.matrix.clone(), revision(texts)).inhibiting(inhibitions)
    });
    LoadedRules {
        rules,
        findings: report.into_findings(),
    }
}

/// The intervals of all files by name; none of those that have an error.
#[derive(Default)]
struct Intervals {
    by_name: BTreeMap<String, Option<Arc<Interval>>>,
    places: BTreeMap<String, Place>,
}

impl Intervals {
    fn read(&mut self, value: Value<'_>, zone: Tz) {
        let Some(section) = value.section() else {
            return;
        };
        let written = section.get("name");
        let (Some(name), interval) = interval::read(section, zone) else {
            return;
        };
        let Some(written) = written else {
            return;
        };
        if let Some(first) = self.places.get(&name) {
            let first = first.show();
            written.error(format!("there is another interval \"{name}\" at {first}"));
            return;
        }
        self.places.insert(name.clone(), written.place().clone());
        self.by_name.insert(name, interval.map(Arc::new));
    }
}

impl Intervals {
    fn warn_of_idle(&self, rules: &[Rule], report: &Report) {
        let named: BTreeSet<&str> = rules
            .iter()
            .flat_map(|rule| rule.active.iter().map(|interval| interval.name.as_str()))
            .collect();
        for (name, place) in &self.places {
            if !report.has_errors() && !named.contains(name.as_str()) {
                report.warn(place, format!("no rule is active in interval \"{name}\""));
            }
        }
    }
}

/// What is known of the rules read so far.
struct Reader<'c> {
    context: Context<'c>,
    /// None where a file could not be read: it may have those that are missing.
    intervals: Option<&'c Intervals>,
    rules: Vec<Rule>,
    inhibitions: Vec<Inhibition>,
    names: BTreeMap<String, Place>,
    /// The first rule that matches everything and decides: those after it are never tried.
    catch_all: Option<String>,
    earlier: lint::Earlier,
}

impl Reader<'_> {
    fn read(&mut self, value: Value<'_>) {
        let Some(section) = value.section() else {
            return;
        };
        let name = section.get("name");
        let Some(rule) = rule::read(section, self.context, self.intervals) else {
            return;
        };
        if let Some(name) = name {
            self.check_name(name, &rule.name);
        }
        if let Some(earlier) = &self.catch_all {
            value.warn(format!(
                "rule \"{}\" is never tried: rule \"{earlier}\" before it matches everything",
                rule.name
            ));
            self.rules.push(rule);
            return;
        }
        if rule::matches_everything(&rule) && !rule.continues {
            self.catch_all = Some(rule.name.clone());
        }
        lint::rule(value, &rule, &mut self.earlier);
        self.rules.push(rule);
    }

    fn check_name(&mut self, value: Value<'_>, name: &str) {
        if let Some(first) = self.names.get(name) {
            value.error(format!(
                "there is another rule \"{name}\" at {}",
                first.show()
            ));
            return;
        }
        self.names.insert(name.to_owned(), value.place().clone());
    }
}

/// A hash of the names and contents of the files: where replicas differ in it, they differ in their rules.
fn revision(texts: &[(&str, &str)]) -> String {
    let mut hash = Sha256::new();
    for (name, text) in texts {
        let file = Path::new(name).file_name().unwrap_or_default();
        for part in [file.to_string_lossy().as_bytes(), text.as_bytes()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    let mut revision = hex::encode(hash.finalize());
    revision.truncate(REVISION_DIGITS);
    revision
}

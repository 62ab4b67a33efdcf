//! `rules`: what the rules on disk make of what a source would post, and their tests.

mod backtest;
mod test;

use crate::app::BadFiles;
use crate::app::files::{Files, read};
use crate::cli::{Exit, Output, WrongCall, print, print_json};
use crate::clock;
use crate::config::Environment;
use crate::domain::alert::{Labels, Outcome, Said, Sighting, Signal};
use crate::domain::template::Facts;
use crate::domain::time::Timestamp;
use crate::ingest::{Parsed, Post, Rejected, Unusable, parse};
use crate::rules::explain::{Explanation, Looked, Match, Ruling, Settled, explain};
use crate::store::InForce;
use crate::toml_file::nearest::unknown;
use crate::toml_file::why_unreadable;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Rules {
    /// Show what a source makes of a payload, and of each alert in it which rules were tried, why, and the verdict; exit 1 if
    /// nothing of it could be read
    Explain(Explain),
    /// Run rule tests against the rules on disk; exit 1 if one fails, 2 if one cannot be read
    Test(test::Test),
    /// Judge stored history by the rules on disk, and show what would differ from what happened: incidents, pages, severities, noise
    Backtest(backtest::Backtest),
}

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// A body as the source posts it; - reads standard input
    file: PathBuf,
    /// The source that posts it, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    source: String,
    /// A header of the request, for formats that are told by those; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A parameter of the address; may be repeated
    #[arg(long = "query", value_name = "NAME=VALUE")]
    query: Vec<String>,
    /// When it arrives, as 2026-03-02T09:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Rules {
    pub(super) fn run(
        self,
        directory: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Exit> {
        match self {
            Self::Explain(asked) => asked.run(directory, environment),
            Self::Test(asked) => asked.run(directory, environment),
            Self::Backtest(asked) => asked.run(directory, environment),
        }
    }
}

impl Explain {
    fn run(self, directory: Option<&Path>, environment: &Environment) -> anyhow::Result<Exit> {
        let now = self.at.unwrap_or_else(clock::wall);
        let Files {
            config, current, ..
        } = read(directory, environment, now).map_err(BadFiles)?;
        let Some(source) = config.sources.get(&self.source) else {
            let known = config.sources.keys().map(String::as_str);
            return Err(WrongCall(unknown("source", &self.source, known)).into());
        };
        let headers = pairs(&self.headers, ':', "a header such as \"Name: value\"")?;
        let lower = |(name, text): (String, String)| (name.to_ascii_lowercase(), text);
        let headers: Vec<(String, String)> = headers.into_iter().map(lower).collect();
        let query = pairs(&self.query, '=', "a parameter such as name=value")?;
        let body = body(&self.file, config.server.max_body_bytes)?;
        let post = Post {
            body: &body,
            headers: &headers,
            query: &query,
            now,
            mapping: source.mapping.as_deref(),
        };
        let shown = Shown {
            file: &self.file,
            source: &self.source,
            kind: source.kind.as_str(),
            mapping: source.mapping.as_ref().map(|mapping| mapping.name.as_str()),
            in_force: &current.in_force,
            now,
        };
        let (parsed, unusable) = match parse(source.kind, &post) {
            Ok(parsed) => (parsed, None),
            Err(unusable) => (Parsed::default(), Some(unusable)),
        };
        match self.output {
            Output::Text => print(&shown.text(&parsed, unusable.as_ref()))?,
            Output::Json => print_json(&shown.json(&parsed, unusable.as_ref()))?,
        }
        let is_nothing = parsed.sightings.is_empty() && parsed.acknowledged.is_empty();
        let is_refused = unusable.is_some() || (is_nothing && !parsed.rejected.is_empty());
        Ok(match is_refused {
            true => Exit::No,
            false => Exit::Done,
        })
    }
}

/// Each `name{separator}value`, without blanks around them.
fn pairs(
    written: &[String],
    separator: char,
    wanted: &str,
) -> anyhow::Result<Vec<(String, String)>> {
    let pair = |text: &String| match text.split_once(separator) {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _without => Err(WrongCall(format!("{wanted} is wanted, found {text:?}")).into()),
    };
    written.iter().map(pair).collect()
}

/// As much as the daemon would take.
fn body(file: &Path, most_bytes: usize) -> anyhow::Result<Vec<u8>> {
    let limit = u64::try_from(most_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut body = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(limit).read_to_end(&mut body),
        false => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut body)),
    };
    if let Err(error) = read {
        let why = why_unreadable(&error);
        return Err(WrongCall(format!("{} cannot be read: {why}", file.display())).into());
    }
    if body.len() > most_bytes {
        let what = file.display();
        anyhow::bail!("{what} is larger than {most_bytes} bytes, which is server.max_body");
    }
    Ok(body)
}

/// What is shown of a payload.
struct Shown<'s> {
    file: &'s Path,
    source: &'s str,
    kind: &'static str,
    mapping: Option<&'s str>,
    in_force: &'s InForce,
    now: Timestamp,
}

/// One alert as the rules see it.
struct Alert {
    labels: Labels,
    annotations: Labels,
    attributes: Labels,
    /// What its sender said, and whether that fires.
    said: &'static str,
    status: Option<&'static str>,
    explained: Explanation,
    /// When it is judged.
    now: Timestamp,
}

impl Shown<'_> {
    fn alert(&self, sighting: &Sighting) -> Alert {
        let (said, status, outcome) = match &sighting.said {
            Said::Signal(Signal::Firing | Signal::FiringUntil(_)) => {
                ("firing", Some("firing"), None)
            }
            Said::Signal(Signal::Resolved) => ("resolved", Some("resolved"), None),
            Said::Check { outcome, .. } => (outcome.as_str(), status_of(*outcome), Some(*outcome)),
        };
        let labels = match outcome {
            Some(Outcome::Error) => sighting.labels.twin(),
            _other => sighting.labels.clone(),
        };
        let attributes = sighting.attributes_from(self.source, self.kind, outcome);
        let facts = Facts {
            labels: &labels,
            annotations: &sighting.annotations,
            attributes: &attributes,
        };
        let InForce { rules, book } = self.in_force;
        let explained = explain(rules, book, facts, labels.fingerprint(), self.now);
        Alert {
            annotations: sighting.annotations.clone(),
            said,
            status,
            explained,
            now: self.now,
            labels,
            attributes,
        }
    }

    fn json(&self, parsed: &Parsed, unusable: Option<&Unusable>) -> Value {
        let alert = |sighting: &Sighting| {
            let alert = self.alert(sighting);
            let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
            json!({
                "fingerprint": alert.labels.fingerprint(),
                "labels": alert.labels,
                "annotations": alert.annotations,
                "attributes": alert.attributes,
                "said": alert.said,
                "status": alert.status,
                "starts_at": at(sighting.starts_at),
                "ends_at": at(sighting.ends_at),
                "rules": alert.explained.rules,
                "verdict": alert.explained.verdict,
            })
        };
        let rejected = |item: &Rejected| json!({ "path": item.path, "reason": item.reason, "item": item.item });
        json!({
            "source": self.source,
            "kind": self.kind,
            "mapping": self.mapping,
            "alerts": parsed.sightings.iter().map(alert).collect::<Vec<_>>(),
            "acknowledged": parsed.acknowledged,
            "rejected": parsed.rejected.iter().map(rejected).collect::<Vec<_>>(),
            "notes": parsed.notes,
            "confirm": parsed.confirm.as_ref().map(|asked| json!({ "path": asked.path, "url": asked.url })),
            "unusable": unusable.map(|why| json!({ "path": why.path, "reason": why.reason })),
        })
    }

    fn text(&self, parsed: &Parsed, unusable: Option<&Unusable>) -> String {
        let mapping = self
            .mapping
            .map_or_else(String::new, |name| format!(", mapping {name}"));
        let n = parsed.sightings.len();
        let alerts = if n == 1 { "alert" } else { "alerts" };
        let file = match self.file.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => self.file.display().to_string(),
        };
        let mut text = format!(
            "{file} as {} posts it (kind {}{mapping}): {n} {alerts}, {} rejected\n",
            self.source,
            self.kind,
            parsed.rejected.len()
        );
        if let Some(why) = unusable {
            text.push_str(&format!("\nnothing of it can be read: {why}\n"));
        }
        for (at, sighting) in parsed.sightings.iter().enumerate() {
            let times = [("starts", sighting.starts_at), ("ends", sighting.ends_at)];
            let times = times
                .map(|(name, at)| at.map_or_else(String::new, |at| line(name, &at.to_string())));
            text.push_str(&alert_text(at + 1, &self.alert(sighting), &times.concat()));
        }
        for labels in &parsed.acknowledged {
            text.push_str(&format!("\nacknowledged by its sender: {labels}\n"));
        }
        for Rejected {
            path, reason, item, ..
        } in &parsed.rejected
        {
            text.push_str(&format!("\nrejected at {path}: {reason}\n  {item}\n"));
        }
        if let Some(asked) = &parsed.confirm {
            text.push_str(&format!(
                "\nasks for a confirmation at {}: {:?}\n",
                asked.path, asked.url
            ));
        }
        for note in &parsed.notes {
            text.push_str(&format!("\nnote: {}\n", note.escape_debug()));
        }
        text
    }
}

fn status_of(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Warn | Outcome::Fail | Outcome::Error => Some("firing"),
        Outcome::Pass => Some("resolved"),
        Outcome::Skip => None,
    }
}

fn line(name: &str, text: &str) -> String {
    format!("  {name:<13}{text}\n")
}

fn alert_text(number: usize, alert: &Alert, times: &str) -> String {
    let mut text = format!("\nalert {number}: {}\n", alert.said);
    text.push_str(&line("labels", &alert.labels.to_string()));
    text.push_str(&line(
        "fingerprint",
        &alert.labels.fingerprint().to_string(),
    ));
    for (title, sign, labels) in [
        ("annotations", "", &alert.annotations),
        ("attributes", "@", &alert.attributes),
    ] {
        for (n, (name, value)) in labels.iter().enumerate() {
            let title = if n == 0 { title } else { "" };
            text.push_str(&line(title, &format!("{sign}{name}={value:?}")));
        }
    }
    text.push_str(times);
    text.push_str(&rules_text(&alert.explained, alert.now));
    let by = match alert.status {
        Some("firing") => "",
        Some(_resolved) => {
            "  (were it firing: a resolve finds its alert by its labels, and no rule is asked)\n"
        }
        None => "  (were it firing: a skipped check changes nothing)\n",
    };
    text.push_str(by);
    text + &verdict_text(&alert.explained.verdict) + &inhibitions_text(&alert.explained)
}

/// Who may mute it, and whom it mutes; what fires now, only a running daemon knows.
fn inhibitions_text(explained: &Explanation) -> String {
    let some = |title: &str, all: &[String]| -> String {
        let titles = std::iter::once(title).chain(std::iter::repeat(""));
        let lines = titles.zip(all).map(|(title, one)| line(title, one));
        lines.collect()
    };
    some("muted while", &explained.inhibited_by) + &some("it mutes", &explained.inhibits)
}

fn rules_text(explained: &Explanation, now: Timestamp) -> String {
    let mut text = String::new();
    let mut not_tried: Vec<&str> = Vec::new();
    for tried in &explained.rules {
        let failing = tried.matchers.iter().filter(|looked| !looked.matches);
        let all = tried.matchers.iter();
        let (word, looked): (String, Vec<&Looked>) = match tried.outcome {
            Match::Decides => ("yes, and decides".to_owned(), all.collect()),
            Match::Continues => ("yes, and lets later rules go on".to_owned(), all.collect()),
            Match::NoMatch => ("no".to_owned(), failing.collect()),
            Match::NotActive => {
                let intervals = tried.active.join(", ");
                (
                    format!("no, not active at {now} ({intervals})"),
                    all.collect(),
                )
            }
            Match::NotTried => {
                not_tried.push(&tried.rule);
                continue;
            }
        };
        let title = if text.is_empty() { "rules" } else { "" };
        text.push_str(&line(title, &format!("{}: {word}", tried.rule)));
        for Looked {
            matcher,
            found,
            matches,
        } in looked
        {
            let fits = if *matches { "fits" } else { "does not fit" };
            let found = match found {
                Some(found) => format!(" {found:?}"),
                None => ": the alert has none".to_owned(),
            };
            text.push_str(&line("", &format!("  {matcher} {fits}{found}")));
        }
    }
    if explained.rules.is_empty() {
        text.push_str(&line("rules", "there are none"));
    }
    if !not_tried.is_empty() {
        text.push_str(&line(
            "",
            &format!("not tried after that: {}", not_tried.join(", ")),
        ));
    }
    text
}

fn verdict_text(verdict: &Ruling) -> String {
    match verdict {
        Ruling::Unrouted => line(
            "verdict",
            "unrouted: no rule matches; kept, and opens nothing",
        ),
        Ruling::Record { rule } => line(
            "verdict",
            &format!("recorded by {rule}: kept, and opens nothing"),
        ),
        Ruling::Drop { rule } => line("verdict", &format!("dropped by {rule}: counted only")),
        Ruling::Open(settled) => settled_text(settled),
    }
}

fn settled_text(settled: &Settled) -> String {
    let by = |key: &str| match settled.set_by.get(key) {
        Some(rule) => format!("  (by {rule})"),
        None => "  (default)".to_owned(),
    };
    let of = settled.severity_of.as_ref();
    let of = of.map_or_else(String::new, |of| format!(", of {of}"));
    let quoted = |text: &Option<String>| {
        text.as_ref()
            .map_or("none".to_owned(), |text| format!("{text:?}"))
    };
    let mut text = line(
        "verdict",
        &format!("opens or joins an incident, by {}", settled.rule),
    );
    for (name, key, value) in [
        ("severity", "severity", format!("{}{of}", settled.severity)),
        ("dedup key", "dedup_key", format!("{:?}", settled.dedup_key)),
        ("title", "title", format!("{:?}", settled.title)),
        (
            "description",
            "description",
            format!("{:?}", settled.description),
        ),
        ("runbook", "runbook", quoted(&settled.runbook)),
        ("team", "team", quoted(&settled.team)),
        ("policy", "policy", settled.policy.clone()),
        ("opens", "open", settled.open.clone()),
        (
            "clear after",
            "resolve_after",
            settled.resolve_after.clone(),
        ),
        ("reopens in", "reopen_within", settled.reopen_within.clone()),
    ] {
        text.push_str(&line("", &format!("{name:<13}{value}{}", by(key))));
    }
    if let Some(warning) = &settled.warning {
        text.push_str(&line("", &format!("warning: {}", warning.escape_debug())));
    }
    text
}

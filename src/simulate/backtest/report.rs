//! What a backtest found: sums of both sides, and the keys that differ, the most different first; as data, and in words.

use crate::domain::severity::Severity;
use crate::domain::time::show_span;
use crate::simulate::backtest::Compare;
use crate::simulate::backtest::sums::{Dictionary, Fired, Side, Sum};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Keys that a report names; of more it says how many they are.
pub const KEYS_MAX: usize = 10_000;

/// Other keys that are named for one.
const SHARED_MAX: usize = 10;

/// Noise that differs by less is not told: the engine looks once a second.
const NOISE_TOLD_MS: u64 = 60_000;

const MINUTE_MS: u64 = 60_000;

/// What was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Revision of the rules that were tried, and of those they are compared with.
    pub tried: String,
    pub against: Option<String>,
    pub acknowledge_after: Duration,
    /// Live rules that drop.
    pub dropping: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub since: String,
    pub until: String,
    pub revision: String,
    /// Of the rules that these are compared with; what happened, where there are none.
    pub against: Option<String>,
    /// Alerts that fired, each time counted, and how many different ones there were in the span.
    pub fired: u64,
    pub alerts: u64,
    /// Keys of both sides.
    pub keys_seen: u64,
    /// What was taken for granted.
    pub assumed: Vec<String>,
    /// What this cannot know.
    pub notes: Vec<String>,
    pub then: Totals,
    pub now: Totals,
    /// How many keys differ.
    pub differ: u64,
    pub keys: Vec<KeyReport>,
}

/// Sums of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub incidents: Counted,
    /// What became of alerts when they fired; all but the first where it is known.
    pub joined: u64,
    pub without_incident: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_these: Option<Without>,
}

/// Why alerts opened nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Without {
    pub recorded: u64,
    pub unrouted: u64,
    pub inhibited: u64,
    pub dropped: u64,
}

/// Incidents of a key, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub opened: u64,
    /// Those that were open when the span began.
    pub carried: u64,
    pub severities: BTreeMap<String, u64>,
    pub pages: u64,
    pub paged: BTreeMap<String, u64>,
    pub noise_minutes: u64,
    pub noise_by_severity: BTreeMap<String, u64>,
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    pub key: String,
    pub then: Counted,
    pub now: Counted,
    /// Keys under which alerts of this one were, and how many.
    pub was_part_of: Vec<Shared>,
    /// Those under which alerts of this one are now.
    pub is_part_of: Vec<Shared>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    pub key: String,
    pub alerts: u64,
}

/// How different a key is, its name and its number.
type Differing<'k> = (Reverse<(u64, u64)>, &'k str, u32);

/// Alerts that are of another key than they were: by the one they had and the one they have, and the other way round.
#[derive(Default)]
struct Moves(Pairs, Pairs);

/// How many there are of a first and a second key.
type Pairs = BTreeMap<(u32, u32), u64>;

impl Report {
    pub fn of(compare: &Compare<'_>) -> Self {
        let Compare {
            then,
            now,
            dictionary,
            compared,
            ..
        } = compare;
        let moves = moves(then, now);
        let keys: BTreeSet<u32> = then.keys.keys().chain(now.keys.keys()).copied().collect();
        let nothing = Sum::default();
        let sums = |key: &u32| {
            let (then, now) = (then.keys.get(key), now.keys.get(key));
            (then.unwrap_or(&nothing), now.unwrap_or(&nothing))
        };
        let mut differing: Vec<Differing<'_>> = keys
            .iter()
            .filter_map(|key| {
                let (then, now) = sums(key);
                let weight = weight(then, now);
                (weight != (0, 0)).then(|| (Reverse(weight), dictionary.keys.name(*key), *key))
            })
            .collect();
        differing.sort_unstable();
        let told = differing.iter().take(KEYS_MAX).map(|(_, name, key)| {
            let (then, now) = sums(key);
            KeyReport {
                key: (*name).to_owned(),
                then: counted(then, dictionary),
                now: counted(now, dictionary),
                was_part_of: shared(&moves.1, dictionary, *key),
                is_part_of: shared(&moves.0, dictionary, *key),
            }
        });
        Self {
            since: compare.span.since.to_string(),
            until: compare.span.until.to_string(),
            revision: compared.tried.clone(),
            against: compared.against.clone(),
            fired: compare.n_fired,
            alerts: number(compare.survey_alerts),
            keys_seen: number(keys.len()),
            assumed: assumed(compared),
            notes: notes(compared),
            then: totals(then, dictionary, compared.against.is_some()),
            now: totals(now, dictionary, true),
            differ: number(differing.len()),
            keys: told.collect(),
        }
    }
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// How different they are: incidents, severities and pages, then minutes of noise. Nothing where nobody would see it.
fn weight(then: &Sum, now: &Sum) -> (u64, u64) {
    let severities = then.severities.iter().zip(&now.severities);
    let severities: u64 = severities.map(|(then, now)| then.abs_diff(*now)).sum();
    let people: BTreeSet<&u32> = then.pages.keys().chain(now.pages.keys()).collect();
    let n = |sum: &Sum, person: &u32| sum.pages.get(person).copied().unwrap_or(0);
    let pages = people.into_iter();
    let pages: u64 = pages
        .map(|person| n(then, person).abs_diff(n(now, person)))
        .sum();
    let noise = then.noise_total_ms().abs_diff(now.noise_total_ms());
    let noise = match noise < NOISE_TOLD_MS {
        true => 0,
        false => noise,
    };
    (then.opened.abs_diff(now.opened) + severities + pages, noise)
}

fn moves(then: &Side, now: &Side) -> Moves {
    let mut moves = Moves::default();
    // Both are in order of their alerts.
    let mut were = then.of.iter().peekable();
    for (fingerprint, is) in &now.of {
        while were.next_if(|(of, _)| of < fingerprint).is_some() {}
        if let Some((_, was)) = were.next_if(|(of, _)| of == fingerprint)
            && was != is
        {
            *moves.0.entry((*was, *is)).or_default() += 1;
        }
    }
    let back = moves.0.iter().map(|((was, is), n)| ((*is, *was), *n));
    moves.1 = back.collect();
    moves
}

/// The keys that have most alerts in common.
fn shared(pairs: &Pairs, dictionary: &Dictionary, first: u32) -> Vec<Shared> {
    let found = pairs.range((first, 0)..=(first, u32::MAX));
    let mut found: Vec<Shared> = found
        .map(|((_, second), alerts)| Shared {
            key: dictionary.keys.name(*second).to_owned(),
            alerts: *alerts,
        })
        .collect();
    found.sort_by(|one, next| {
        (Reverse(one.alerts), &one.key).cmp(&(Reverse(next.alerts), &next.key))
    });
    found.truncate(SHARED_MAX);
    found
}

fn totals(side: &Side, dictionary: &Dictionary, is_known: bool) -> Totals {
    let Fired {
        joined,
        recorded,
        unrouted,
        inhibited,
        dropped,
    } = side.fired;
    Totals {
        incidents: counted(&side.all, dictionary),
        joined,
        without_incident: recorded + unrouted + inhibited + dropped,
        of_these: is_known.then_some(Without {
            recorded,
            unrouted,
            inhibited,
            dropped,
        }),
    }
}

fn counted(sum: &Sum, dictionary: &Dictionary) -> Counted {
    let by_severity = |all: &[u64; 5]| -> BTreeMap<String, u64> {
        let all = Severity::ALL.iter().zip(all);
        let some = all.filter(|(_, n)| **n > 0);
        some.map(|(severity, n)| (severity.to_string(), *n))
            .collect()
    };
    let paged = sum.pages.iter();
    let paged = paged.map(|(person, n)| (dictionary.people.name(*person).to_owned(), *n));
    let minutes = by_severity(&sum.noise_ms).into_iter();
    let minutes = minutes.map(|(severity, ms)| (severity, ms / MINUTE_MS));
    Counted {
        opened: sum.opened,
        carried: sum.carried,
        severities: by_severity(&sum.severities),
        pages: sum.n_pages(),
        paged: paged.collect(),
        noise_minutes: sum.noise_total_ms() / MINUTE_MS,
        noise_by_severity: minutes.filter(|(_, minutes)| *minutes > 0).collect(),
    }
}

fn assumed(compared: &Compared) -> Vec<String> {
    vec![
        "each page arrives at once; one person called by one step is one page".to_owned(),
        "an incident is acknowledged, led and closed as the one of its key was, else one with its alerts"
            .to_owned(),
        format!(
            "one without is acknowledged {} after each first page, and closed when clear for its window",
            show_span(compared.acknowledge_after)
        ),
        "alerts go stale and lapse when they did; people and schedules are those of today".to_owned(),
    ]
}

fn notes(compared: &Compared) -> Vec<String> {
    let dropping = compared.dropping.iter();
    dropping
        .map(|rule| {
            format!(
                "rule \"{rule}\" drops what it matches: that was never stored, and is not in this"
            )
        })
        .collect()
}

// ---- in words ----

/// A report as it is printed, with at most so many keys.
#[derive(Clone, Copy, Debug)]
pub struct InWords<'r> {
    pub report: &'r Report,
    pub limit: usize,
}

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let then = match &report.against {
            None => "what happened".to_owned(),
            Some(revision) => format!("rules {revision}"),
        };
        writeln!(
            f,
            "rules {} against {then}, {} to {}",
            report.revision, report.since, report.until
        )?;
        writeln!(
            f,
            "{} fired, {}; {}, of which {} {}",
            n_of(report.fired, "alert"),
            n_of(report.alerts, "different one"),
            n_of(report.keys_seen, "dedup key"),
            report.differ,
            if report.differ == 1 {
                "differs"
            } else {
                "differ"
            }
        )?;
        for note in &report.notes {
            writeln!(f, "note: {}", note.escape_debug())?;
        }
        let (were, are) = match report.against.is_some() {
            true => ("against", "rules"),
            false => ("happened", "would"),
        };
        writeln!(f, "\n{:<34}{were:>12}{are:>12}", "")?;
        let (then, now) = (&report.then, &report.now);
        let (were, are) = (&then.incidents, &now.incidents);
        row(f, "incidents opened", were.opened, are.opened)?;
        rows(f, &were.severities, &are.severities, "")?;
        if were.carried + are.carried > 0 {
            row(f, "incidents open before", were.carried, are.carried)?;
        }
        row(f, "pages", were.pages, are.pages)?;
        rows(f, &were.paged, &are.paged, "to ")?;
        row(f, "minutes of noise", were.noise_minutes, are.noise_minutes)?;
        rows(f, &were.noise_by_severity, &are.noise_by_severity, "")?;
        row(f, "alerts of an incident", then.joined, now.joined)?;
        row(
            f,
            "alerts without one",
            then.without_incident,
            now.without_incident,
        )?;
        if let Some(of_these) = now.of_these {
            let was = then.of_these;
            for (name, is, was) in [
                ("recorded", of_these.recorded, was.map(|of| of.recorded)),
                ("unrouted", of_these.unrouted, was.map(|of| of.unrouted)),
                ("inhibited", of_these.inhibited, was.map(|of| of.inhibited)),
                ("dropped", of_these.dropped, was.map(|of| of.dropped)),
            ] {
                if is > 0 || was.is_some_and(|was| was > 0) {
                    let was = was.map_or(String::new(), |was| was.to_string());
                    writeln!(f, "  {name:<32}{was:>12}{is:>12}")?;
                }
            }
        }
        writeln!(f, "\ntaken for granted:")?;
        for assumed in &report.assumed {
            writeln!(f, "- {assumed}")?;
        }
        self.keys(f)
    }
}

impl InWords<'_> {
    fn keys(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        if report.differ == 0 {
            return writeln!(f, "\nnothing differs");
        }
        for key in report.keys.iter().take(self.limit) {
            writeln!(f, "\n{}", key.key.escape_debug())?;
            line(f, "incidents", key.then.opened, key.now.opened)?;
            lines(f, &key.then.severities, &key.now.severities, "")?;
            line(f, "pages", key.then.pages, key.now.pages)?;
            lines(f, &key.then.paged, &key.now.paged, "to ")?;
            line(f, "minutes", key.then.noise_minutes, key.now.noise_minutes)?;
            for (what, shared) in [
                ("was part of", &key.was_part_of),
                ("is part of", &key.is_part_of),
            ] {
                for Shared { key, alerts } in shared {
                    let alerts = n_of(*alerts, "alert");
                    writeln!(f, "  {what} {} ({alerts})", key.escape_debug())?;
                }
            }
        }
        let shown = number(report.keys.len().min(self.limit));
        match report.differ.saturating_sub(shown) {
            0 => Ok(()),
            more => writeln!(f, "\n{} more differ; --limit shows more", n_of(more, "key")),
        }
    }
}

fn n_of(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn difference(then: u64, now: u64) -> String {
    match now.checked_sub(then) {
        Some(0) => String::new(),
        Some(more) => format!("+{more}"),
        None => format!("-{}", then.saturating_sub(now)),
    }
}

fn row(f: &mut fmt::Formatter<'_>, what: &str, then: u64, now: u64) -> fmt::Result {
    let difference = difference(then, now);
    let line = format!("{what:<34}{then:>12}{now:>12}{difference:>12}");
    writeln!(f, "{}", line.trim_end())
}

fn rows(
    f: &mut fmt::Formatter<'_>,
    then: &BTreeMap<String, u64>,
    now: &BTreeMap<String, u64>,
    before: &str,
) -> fmt::Result {
    for (name, then, now) in both(then, now) {
        row(f, &format!("  {before}{}", name.escape_debug()), then, now)?;
    }
    Ok(())
}

/// What differs of a key, on a line.
fn line(f: &mut fmt::Formatter<'_>, what: &str, then: u64, now: u64) -> fmt::Result {
    match then == now {
        true => Ok(()),
        false => writeln!(f, "  {what} {then} -> {now} ({})", difference(then, now)),
    }
}

fn lines(
    f: &mut fmt::Formatter<'_>,
    then: &BTreeMap<String, u64>,
    now: &BTreeMap<String, u64>,
    before: &str,
) -> fmt::Result {
    for (name, then, now) in both(then, now) {
        line(f, &format!("  {before}{}", name.escape_debug()), then, now)?;
    }
    Ok(())
}

fn both<'b>(
    then: &'b BTreeMap<String, u64>,
    now: &'b BTreeMap<String, u64>,
) -> impl Iterator<Item = (&'b str, u64, u64)> {
    let names: BTreeSet<&str> = then.keys().chain(now.keys()).map(String::as_str).collect();
    let n = |of: &BTreeMap<String, u64>, name: &str| of.get(name).copied().unwrap_or(0);
    names
        .into_iter()
        .map(move |name| (name, n(then, name), n(now, name)))
}

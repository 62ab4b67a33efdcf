//! Rule tests, run: each on a program of its own in memory, what was expected beside what was found.

use crate::domain::incident::Incident;
use crate::domain::time::{Timestamp, show_span};
use crate::rules::cases::{Arrival, Case, Step, Wanted};
use crate::simulate::{Sent, Simulation};
use crate::store::report::Report;
use crate::store::{Error, InForce};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A step after which something was not as expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    pub place: String,
    /// Since the start.
    pub after: Duration,
    pub differences: Vec<Difference>,
}

/// Where what was expected and what was found differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `incidents` or `pages`.
    pub what: &'static str,
    /// What both have, as it was found.
    pub both: Vec<Found>,
    /// Expected and not there, with what the nearest of those that were not expected has instead.
    pub missing: Vec<(Wanted, Vec<Instead>)>,
    /// There and not expected.
    pub unexpected: Vec<Found>,
}

/// What an incident or a page is, by key, in the words in which it is shown; none where it has no such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found(pub Vec<(&'static str, Option<String>)>);

/// A key that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    pub key: &'static str,
    pub expected: String,
    pub found: Option<String>,
}

/// Runs a test under these rules and this book. Heartbeats are left out: nobody pings in a test.
pub fn run(case: &Case, in_force: &InForce) -> Result<Vec<Failed>, Error> {
    let mut in_force = in_force.clone();
    Arc::make_mut(&mut in_force.book).heartbeats = BTreeMap::new();
    let mut simulation = Simulation::new(in_force, case.at);
    let mut failed = Vec::new();
    let mut n_sent = 0;
    for step in &case.steps {
        let at = case.at.plus(step.after);
        simulation.advance(at.since(simulation.now()))?;
        for report in reports(&step.alerts) {
            simulation.receive(report)?;
        }
        let sent = simulation.sent().get(n_sent..).unwrap_or_default();
        let differences = differences(step, &incidents(&simulation)?, &pages(sent, case.at));
        n_sent = simulation.sent().len();
        if !differences.is_empty() {
            failed.push(Failed {
                place: step.place.clone(),
                after: step.after,
                differences,
            });
        }
    }
    Ok(failed)
}

/// One report for those that one source says in a row.
fn reports(alerts: &[Arrival]) -> Vec<Report> {
    let rows = alerts.chunk_by(|one, next| one.source == next.source);
    rows.filter_map(|row| {
        let first = row.first()?;
        Some(Report {
            source: first.source.clone(),
            kind: first.kind,
            sightings: row.iter().map(|alert| alert.sighting.clone()).collect(),
            acknowledged: Vec::new(),
            changes: Vec::new(),
            rejected: Vec::new(),
            scope: None,
        })
    })
    .collect()
}

fn incidents(simulation: &Simulation) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    // They are numbered without a gap.
    for number in 1.. {
        let Some(incident) = simulation.incident(number)? else {
            break;
        };
        all.push(incident_found(&incident));
    }
    Ok(all)
}

fn incident_found(incident: &Incident) -> Found {
    let opened = &incident.opened;
    Found(vec![
        ("rule", opened.rule.clone()),
        ("severity", Some(incident.severity.to_string())),
        ("dedup_key", opened.dedup_key.clone()),
        ("status", Some(incident.status.as_str().to_owned())),
        ("title", Some(opened.title.clone())),
        ("team", opened.team.clone()),
        ("phase", Some(incident.phase.as_str().to_owned())),
        // As the API has it.
        ("muted", Some(incident.is_muted().to_string())),
    ])
}

/// Whatever went out, also what did not arrive.
fn pages(sent: &[Sent], start: Timestamp) -> Vec<Found> {
    let found = |sent: &Sent| {
        let message = &sent.message;
        Found(vec![
            ("to", Some(message.to.clone())),
            ("at", Some(show_span(sent.at.since(start)))),
            ("channel", Some(message.channel.clone())),
            ("kind", Some(message.kind.as_str().to_owned())),
        ])
    };
    sent.iter().map(found).collect()
}

fn differences(step: &Step, incidents: &[Found], pages: &[Found]) -> Vec<Difference> {
    let both = [
        ("incidents", &step.incidents, incidents),
        ("pages", &step.pages, pages),
    ];
    both.into_iter()
        .filter_map(|(what, wanted, found)| difference(what, wanted.as_deref()?, found))
        .collect()
}

/// How a list differs from what was expected of it, in whatever order; none where it does not.
fn difference(what: &'static str, wanted: &[Wanted], found: &[Found]) -> Option<Difference> {
    let taken = pairs(wanted, found);
    let is_taken = |at: usize| taken.iter().any(|pair| pair.1 == at);
    let is_met = |at: usize| taken.iter().any(|pair| pair.0 == at);
    let (both, unexpected): (Vec<_>, Vec<_>) =
        found.iter().enumerate().partition(|(at, _)| is_taken(*at));
    let strip = |all: Vec<(usize, &Found)>| -> Vec<Found> {
        all.into_iter().map(|(_, found)| found.clone()).collect()
    };
    let (both, unexpected) = (strip(both), strip(unexpected));
    let missing = wanted.iter().enumerate();
    let missing = missing.filter(|(at, _)| !is_met(*at)).map(|(_, wanted)| {
        let nearest = unexpected
            .iter()
            .map(|found| wanted.instead(found))
            .filter(|instead| instead.len() < wanted.0.len())
            .min_by_key(Vec::len);
        (wanted.clone(), nearest.unwrap_or_default())
    });
    let missing: Vec<_> = missing.collect();
    let differs = !missing.is_empty() || !unexpected.is_empty();
    differs.then_some(Difference {
        what,
        both,
        missing,
        unexpected,
    })
}

/// As many pairs of wanted and found as there can be, each at most once: what fits several is given to one that fits nothing
/// else.
fn pairs(wanted: &[Wanted], found: &[Found]) -> Vec<(usize, usize)> {
    let fits: Vec<Vec<usize>> = wanted
        .iter()
        .map(|wanted| {
            let all = found.iter().enumerate();
            let all = all.filter(|(_, found)| wanted.instead(found).is_empty());
            all.map(|(at, _)| at).collect()
        })
        .collect();
    let mut holder: BTreeMap<usize, usize> = BTreeMap::new();
    for at in 0..wanted.len() {
        make_room(at, &fits, &mut holder);
    }
    holder.into_iter().map(|(found, at)| (at, found)).collect()
}

/// Gives one that is wanted something that fits, by moving others to what else fits them, searched breadth first.
fn make_room(start: usize, fits: &[Vec<usize>], holder: &mut BTreeMap<usize, usize>) {
    // Of each that was found, by which of the wanted it was reached.
    let mut reached_by: BTreeMap<usize, usize> = BTreeMap::new();
    let mut waiting = vec![start];
    let mut free = None;
    while let Some(at) = waiting.pop() {
        for found in fits.get(at).into_iter().flatten() {
            if reached_by.contains_key(found) {
                continue;
            }
            reached_by.insert(*found, at);
            match holder.get(found) {
                Some(held_by) => waiting.push(*held_by),
                None => free = Some(*found),
            }
        }
        if free.is_some() {
            break;
        }
    }
    // Back along the way that led there.
    while let Some(found) = free {
        let Some(at) = reached_by.get(&found).copied() else {
            return;
        };
        free = holder
            .iter()
            .find(|(_, held_by)| **held_by == at)
            .map(|(found, _)| *found);
        if let Some(left) = free {
            holder.remove(&left);
        }
        holder.insert(found, at);
    }
}

impl Wanted {
    /// The keys that are not as wanted.
    fn instead(&self, found: &Found) -> Vec<Instead> {
        let instead = |(key, expected): &(&'static str, String)| {
            let found = found.get(key);
            (found != Some(expected)).then(|| Instead {
                key,
                expected: expected.clone(),
                found: found.cloned(),
            })
        };
        self.0.iter().filter_map(instead).collect()
    }
}

impl Found {
    fn get(&self, key: &str) -> Option<&String> {
        let known = self.0.iter().find(|(known, _)| *known == key);
        known.and_then(|(_, text)| text.as_ref())
    }
}

/// Lines as of a `diff`: `-` is missing, `+` was not expected.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} after the start",
            self.place,
            show_span(self.after)
        )?;
        for difference in &self.differences {
            write!(f, "\n{difference}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_both = self.both.len();
        let (expected, found) = (n_both + self.missing.len(), n_both + self.unexpected.len());
        write!(f, "  {}: {expected} expected, {found} found", self.what)?;
        for found in &self.both {
            write!(f, "\n      {found}")?;
        }
        for (wanted, instead) in &self.missing {
            write!(f, "\n    - {wanted}")?;
            for Instead {
                key,
                expected,
                found,
            } in instead
            {
                let found = found.as_ref();
                let found = found.map_or("none".to_owned(), |found| format!("{found:?}"));
                write!(f, "\n        {key}: expected {expected:?}, found {found}")?;
            }
        }
        for found in &self.unexpected {
            write!(f, "\n    + {found}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("any");
        }
        write_pairs(f, self.0.iter().map(|(key, text)| (*key, text)))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.0.iter();
        write_pairs(
            f,
            there.filter_map(|(key, text)| Some((*key, text.as_ref()?))),
        )
    }
}

fn write_pairs<'a>(
    f: &mut fmt::Formatter<'_>,
    pairs: impl Iterator<Item = (&'static str, &'a String)>,
) -> fmt::Result {
    for (n, (key, text)) in pairs.enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        write!(f, "{comma}{key} = {text:?}")?;
    }
    Ok(())
}

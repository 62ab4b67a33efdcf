//! What is said of incidents once they are gone: sums for each dedup key, and of all.

use crate::domain::alert::Fingerprint;
use crate::domain::incident::event::PageIssue;
use crate::domain::incident::{Entry, Event};
use crate::domain::severity::Severity;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Names that are told from each other; those of later ones are counted as one.
const NAMES_MAX: usize = 500_000;

/// What stands for names after the last that is told apart.
const OTHERS: &str = "(other keys)";

/// The span that is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub since: Timestamp,
    pub until: Timestamp,
}

/// One incident as far as the span goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    pub number: u64,
    pub dedup_key: String,
    pub opened_at: Timestamp,
    /// It opened in the span; else it was open when that began.
    pub is_new: bool,
    /// The last that it had.
    pub severity: Severity,
    /// How often each person was called.
    pub pages: BTreeMap<String, u64>,
    pub first_page: Option<(Timestamp, String)>,
    /// For how long it was not clear.
    pub noise: Duration,
}

/// What the log of an incident says as far as it has been read. Nothing is said of one that no alert opened.
#[derive(Clone, Debug)]
pub struct Draft {
    brief: Brief,
    noisy_since: Option<Timestamp>,
}

impl Draft {
    /// By the first entry of a log.
    pub fn begin(first: &Entry, span: Span) -> Option<Self> {
        let Event::Opened(opened) = &first.event else {
            return None;
        };
        let brief = Brief {
            number: opened.number,
            dedup_key: opened.dedup_key.clone()?,
            opened_at: first.at,
            is_new: first.at >= span.since,
            severity: opened.severity,
            pages: BTreeMap::new(),
            first_page: None,
            noise: Duration::ZERO,
        };
        Some(Self {
            brief,
            noisy_since: Some(first.at),
        })
    }

    /// By the next one.
    pub fn add(&mut self, entry: &Entry, span: Span) {
        if entry.at > span.until {
            return;
        }
        let brief = &mut self.brief;
        match &entry.event {
            Event::SeverityRaised { to, .. } | Event::SeveritySet { to, .. } => {
                brief.severity = *to;
            }
            Event::StepRan { pages, .. } | Event::Exhausted { pages, .. } => {
                brief.pages(pages, entry.at, span);
            }
            Event::Cleared { since } => brief.quiet(self.noisy_since.take(), *since, span),
            Event::FiredAgain { .. }
            | Event::FlappingBegan { .. }
            | Event::Recurred { .. }
            | Event::Reopened { .. } => {
                self.noisy_since = self.noisy_since.or(Some(entry.at));
            }
            Event::Closed => brief.quiet(self.noisy_since.take(), entry.at, span),
            _other => {}
        }
    }

    /// All of it.
    pub fn end(mut self, span: Span) -> Brief {
        self.brief.quiet(self.noisy_since, span.until, span);
        self.brief
    }
}

/// What the log of an incident says; none of one that no alert opened.
pub fn brief(entries: &[Entry], span: Span) -> Option<Brief> {
    let (first, others) = entries.split_first()?;
    let mut draft = Draft::begin(first, span)?;
    others.iter().for_each(|entry| draft.add(entry, span));
    Some(draft.end(span))
}

impl Brief {
    /// Each person once for each step, by however many contacts.
    fn pages(&mut self, pages: &[PageIssue], at: Timestamp, span: Span) {
        if at < span.since {
            return;
        }
        if let Some(first) = pages.first()
            && self.first_page.is_none()
        {
            self.first_page = Some((at, first.person.clone()));
        }
        let people: BTreeSet<&str> = pages.iter().map(|page| page.person.as_str()).collect();
        for person in people {
            *self.pages.entry(person.to_owned()).or_default() += 1;
        }
    }

    fn quiet(&mut self, since: Option<Timestamp>, at: Timestamp, span: Span) {
        if let Some(since) = since {
            let (from, to) = (since.max(span.since), at.min(span.until));
            self.noise += to.since(from);
        }
    }
}

/// Names as numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    numbers: BTreeMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        if self.names.len() >= NAMES_MAX && name != OTHERS {
            return self.number(OTHERS);
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    pub fn name(&self, number: u32) -> &str {
        let at = usize::try_from(number).ok();
        at.and_then(|at| self.names.get(at)).map_or("", |name| name)
    }

    pub fn known(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

/// What is said of the incidents of one key, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Incidents that opened in the span.
    pub opened: u64,
    /// Those that were open when it began.
    pub carried: u64,
    /// Both by severity, SEV1 first.
    pub severities: [u64; 5],
    /// How often each person was called, by their numbers.
    pub pages: BTreeMap<u32, u64>,
    /// Milliseconds in which incidents were not clear, by severity.
    pub noise_ms: [u64; 5],
}

impl Sum {
    fn add(&mut self, brief: &Brief, people: &mut Names) {
        match brief.is_new {
            true => self.opened += 1,
            false => self.carried += 1,
        }
        let at = usize::from(brief.severity.number().saturating_sub(1));
        if let Some(n) = self.severities.get_mut(at) {
            *n += 1;
        }
        if let Some(ms) = self.noise_ms.get_mut(at) {
            *ms += u64::try_from(brief.noise.as_millis()).unwrap_or(u64::MAX);
        }
        for (person, n) in &brief.pages {
            *self.pages.entry(people.number(person)).or_default() += n;
        }
    }

    pub fn n_pages(&self) -> u64 {
        self.pages.values().sum()
    }

    pub fn noise_total_ms(&self) -> u64 {
        self.noise_ms.iter().sum()
    }
}

/// What became of alerts when they fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    pub joined: u64,
    pub recorded: u64,
    pub unrouted: u64,
    pub inhibited: u64,
    pub dropped: u64,
}

/// One of the two that are compared.
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub all: Sum,
    pub keys: BTreeMap<u32, Sum>,
    pub fired: Fired,
    /// The key that each alert was last of, in order of their fingerprints.
    pub of: Vec<(Fingerprint, u32)>,
}

/// Names of keys and of people.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    pub keys: Names,
    pub people: Names,
}

impl Side {
    pub fn add(&mut self, brief: &Brief, dictionary: &mut Dictionary) {
        let key = dictionary.keys.number(&brief.dedup_key);
        self.all.add(brief, &mut dictionary.people);
        self.keys
            .entry(key)
            .or_default()
            .add(brief, &mut dictionary.people);
    }
}

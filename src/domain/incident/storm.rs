//! A storm: so many keys of one team fire at once that an incident each would hide the first of them. Further keys join one
//! incident, where the first alert of each service still pages; when it is over, what still fires moves to incidents of its own,
//! which take over whoever acknowledged and where the escalation stood.

use crate::domain::alert::Labels;
use crate::domain::escalation::EscalationPolicy;
use crate::domain::incident::event::{Event, HandedOver, PageIssue, StoodAt};
use crate::domain::incident::paging::Stage;
use crate::domain::incident::{Acknowledgement, Incident};
use crate::domain::time::{Timestamp, show_span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Keys and services that are shown of a storm; all of them stand in its timeline.
const SHOWN_MAX: usize = 100;

/// Services that a page names.
const NAMED_IN_PAGE_MAX: usize = 10;

/// Labels of which the first that is there says of which service an alert is.
const SERVICE_LABELS: [&str; 3] = ["service", "dataset", "model"];

/// New incidents of one team within a span, past which further keys join its storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormCap {
    pub incidents: u32,
    pub within_ms: u64,
}

impl StormCap {
    pub fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms)
    }
}

/// What a storm's incident knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    pub n_keys: usize,
    /// The first of them.
    pub keys: Arc<Vec<String>>,
    /// Each service of which an alert paged; empty where alerts name none.
    pub services: Arc<BTreeSet<String>>,
    pub over_at: Option<Timestamp>,
}

/// What an incident hands over to those that its alerts move to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handing {
    pub from: u64,
    pub policy: EscalationPolicy,
    pub over: HandedOver,
    /// Contacts of the step that ran last which are under way or yet to be tried: a storm that is over drops them.
    untried: Vec<PageIssue>,
}

/// Of which service an alert is, as far as a storm asks; empty where it does not say.
pub fn service_of(labels: &Labels) -> &str {
    let mut values = SERVICE_LABELS.iter().filter_map(|label| labels.get(label));
    values.next().unwrap_or_default()
}

impl Incident {
    pub fn is_storm(&self) -> bool {
        self.opened.storm.is_some()
    }

    /// What it is the storm of, while it is one or after that; none of any other incident.
    pub fn storm(&self) -> Option<&Storm> {
        self.opened.storm.map(|_cap| &self.storm)
    }

    /// A storm that is over takes no alert any more, also while it is open.
    pub fn is_storm_over(&self) -> bool {
        self.is_storm() && (self.storm.over_at.is_some() || !self.is_open())
    }

    /// An alert of this service joins the storm, under a key that may be new to it. The first that is not muted calls.
    pub(super) fn storm_grows(
        &self,
        key: Option<&str>,
        service: &str,
        is_muted: bool,
        now: Timestamp,
    ) -> Vec<Event> {
        if !self.is_storm() || !self.is_open() {
            return Vec::new();
        }
        let is_first = !is_muted && !self.storm.services.contains(service);
        if key.is_none() && !is_first {
            return Vec::new();
        }
        // The very first is paged by its being opened.
        let calls = is_first && !self.storm.services.is_empty();
        let resumes = calls && self.acknowledged.is_none() && self.paging.is_escalating(now);
        vec![Event::StormGrew {
            key: key.map(str::to_owned),
            service: is_first.then(|| service.to_owned()),
            calls,
            resumes,
        }]
    }

    pub(super) fn apply_storm_grew(
        &mut self,
        key: Option<&str>,
        service: Option<&str>,
        calls: bool,
        resumes: bool,
        at: Timestamp,
    ) {
        if let Some(key) = key {
            self.storm.n_keys += 1;
            if self.storm.keys.len() < SHOWN_MAX {
                Arc::make_mut(&mut self.storm.keys).push(key.to_owned());
            }
        }
        if let Some(service) = service {
            Arc::make_mut(&mut self.storm.services).insert(service.to_owned());
        }
        if !calls {
            return;
        }
        self.acknowledged = None;
        match resumes {
            true => self.paging_mut().page_again(at),
            false => self.paging_mut().begin(None),
        }
    }

    pub(super) fn ends_storm(&self) -> Vec<Event> {
        match self.is_storm() && self.storm.over_at.is_none() {
            true => vec![Event::StormEnded],
            false => Vec::new(),
        }
    }

    /// What a page of a storm says beside its title.
    pub(super) fn storm_in_words(&self) -> Option<String> {
        let cap = self.opened.storm?;
        let storm = &self.storm;
        let (incidents, within) = (cap.incidents, show_span(cap.within()));
        let keys = match storm.n_keys {
            1 => "1 key".to_owned(),
            n => format!("{n} keys"),
        };
        let named = storm.services.iter().filter(|service| !service.is_empty());
        let first: Vec<&str> = named.map(String::as_str).take(NAMED_IN_PAGE_MAX).collect();
        let more = match storm.services.len().saturating_sub(first.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let of = match first.is_empty() {
            true => String::new(),
            false => format!(" of {}{more}", first.join(", ")),
        };
        Some(format!(
            "{keys}{of}, past {incidents} incidents within {within}"
        ))
    }

    /// Who acknowledged it and where its escalation stands, for the incidents that its alerts move to.
    pub fn handing(&self) -> Handing {
        let started_at = self.paging.started_at;
        let over = HandedOver {
            acknowledged_by: self.acknowledged.as_ref().map(|held| held.by.clone()),
            acknowledged_at: self.acknowledged.as_ref().map(|held| held.at),
            held_since: self.acknowledged.as_ref().map(|held| held.held_since),
            started_at,
            stood_at: match self.paging.stage {
                _ if self.is_muted() => None,
                Stage::Waiting {
                    round,
                    step,
                    next_at,
                    ..
                } => Some(StoodAt::Step {
                    round,
                    step,
                    next_at,
                    reached: self.paging.reached_step().is_some(),
                }),
                Stage::Exhausted {
                    exhaustion,
                    next_at,
                } => Some(StoodAt::Exhausted {
                    exhaustion,
                    next_at,
                    delivered: self.paging.is_loud(),
                }),
                Stage::Idle | Stage::Starting | Stage::Running { .. } => None,
            },
        };
        Handing {
            from: self.number(),
            policy: self.opened.policy.clone(),
            over,
            untried: self.paging.untried().cloned().collect(),
        }
    }

    /// By another policy it begins at its own first step, unless somebody acknowledged.
    pub(super) fn takes_over_from(&self, handing: &Handing) -> Vec<Event> {
        let mut over = handing.over.clone();
        if handing.policy != self.opened.policy || over.acknowledged_at.is_some() {
            over.stood_at = None;
        }
        let issued = over.stood_at.filter(|_at| !handing.untried.is_empty());
        let issued = issued.map(|stood_at| self.tries_on(stood_at, &handing.untried));
        let took = Event::TookOver {
            from: handing.from,
            over,
        };
        std::iter::once(took).chain(issued).collect()
    }

    /// These contacts are tried for this incident, each when it would have been.
    fn tries_on(&self, stood_at: StoodAt, untried: &[PageIssue]) -> Event {
        let pages = self.paging.numbered(untried);
        match stood_at {
            StoodAt::Step {
                round,
                step,
                next_at,
                ..
            } => Event::StepRan {
                round,
                step,
                next_at,
                pages,
            },
            StoodAt::Exhausted {
                exhaustion,
                next_at,
                ..
            } => Event::Exhausted {
                exhaustion,
                next_at,
                pages,
            },
        }
    }

    pub(super) fn apply_took_over(&mut self, over: &HandedOver) {
        if let (Some(by), Some(at)) = (&over.acknowledged_by, over.acknowledged_at) {
            self.acknowledged = Some(Acknowledgement {
                at,
                by: by.clone(),
                also: Vec::new(),
                held_since: over.held_since.unwrap_or(at),
            });
        } else if let Some(stood_at) = over.stood_at {
            self.paging_mut().take_over(over.started_at, stood_at);
        }
    }
}

//! Heartbeats: jobs and watchdogs that must say that they live. One that stays away, fails or runs for too long is an alert.

use crate::domain::alert::Labels;
use crate::domain::cron_spec::CronSpec;
use crate::domain::matcher::Matcher;
use crate::domain::template::Facts;
use crate::domain::time::{Timestamp, show_span};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The kind of alerts of heartbeats; no source has it.
pub const KIND: &str = "heartbeat";

/// How late a ping may be, where nothing else is said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(60);

/// A heartbeat as it is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    pub wanted: Wanted,
    pub grace: Duration,
    /// How long a run may take from its start to its end.
    pub max_run: Option<Duration>,
    /// Labels of its alert, beside `alertname`, which is its name.
    pub labels: Labels,
    /// Alerts that are its pings while they fire; none where the list is empty.
    pub fed_by: Vec<Matcher>,
}

/// When pings are wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// This long after the last one.
    Every(Duration),
    At {
        cron: CronSpec,
        zone: Tz,
    },
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(span) => write!(f, "every {}", show_span(*span)),
            Self::At { cron, zone } => write!(f, "at \"{cron}\" {zone}"),
        }
    }
}

impl Heartbeat {
    /// When the next ping is wanted after one at `last`.
    pub fn wanted_after(&self, last: Timestamp) -> Timestamp {
        match &self.wanted {
            Wanted::Every(span) => last.plus(*span),
            // A cron that never runs is refused when it is read.
            Wanted::At { cron, zone } => cron.next_after(last, *zone).unwrap_or(last),
        }
    }

    /// The identity of its alert.
    pub fn alert(&self, name: &str) -> Labels {
        let named = [("alertname", name)];
        named.into_iter().chain(self.labels.iter()).collect()
    }

    /// Whether an alert that fires is a ping of it.
    pub fn is_fed_by(&self, facts: Facts<'_>) -> bool {
        let fits = |matcher: &Matcher| matcher.fits(facts.labels, facts.attributes);
        !self.fed_by.is_empty() && self.fed_by.iter().all(fits)
    }
}

/// What a ping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// A run begins.
    Start,
    /// All is well; the run, if one had begun, is over.
    Success,
    Fail,
    /// The exit status of the job: 0 is well.
    Exit(u8),
    /// No more than that it is there.
    Log,
}

/// Where a heartbeat stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not been heard of yet, and need not have been.
    #[default]
    New,
    Up,
    /// The last run failed.
    Failed,
    /// It stays away.
    Missing,
    /// A run does not end.
    Overrun,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Overrun => "overrun",
        }
    }
}

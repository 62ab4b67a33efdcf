//! Changes: deployments and changes of configuration. They open no incident; they are what people look at first when one
//! has begun.

pub mod related;

use crate::domain::alert::Labels;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Labels of one change.
pub const MAX_LABELS: usize = 32;

/// The labels that name what is changed or watched. The value of one is looked for in all of them: what a pipeline calls its
/// service may be the dataset of a check.
pub const SUBJECTS: [&str; 5] = ["service", "app", "dataset", "model", "pipeline"];

/// The same, said again without an id and without a time of its own, is the same change for so long.
pub const SAID_AGAIN_WITHIN: Duration = Duration::from_secs(10 * 60);

/// By so much the clocks of those who tell of one change may differ.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(5 * 60);

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending,
    InProgress,
    Succeeded,
    Failed,
    RolledBack,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Succeeded,
        Self::Failed,
        Self::RolledBack,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::InProgress => false,
            Self::Succeeded | Self::Failed | Self::RolledBack | Self::Cancelled => true,
        }
    }
}

/// What makes several messages tell of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The id that its sender gave it.
    Named(String),
    /// A hash of what it is, where neither an id nor a time tells it from another such change: it holds for a while.
    Made(String),
}

/// What is known of a change beside how far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default)]
    pub labels: Labels,
}

impl About {
    /// Adds what another message says; where both say something, the newer one holds.
    fn learn(&mut self, said: &Self, is_newer: bool) {
        let fields = [
            (&mut self.kind, &said.kind),
            (&mut self.service, &said.service),
            (&mut self.environment, &said.environment),
            (&mut self.summary, &said.summary),
            (&mut self.version, &said.version),
            (&mut self.url, &said.url),
            (&mut self.by, &said.by),
        ];
        for (known, said) in fields {
            if said.is_some() && (is_newer || known.is_none()) {
                known.clone_from(said);
            }
        }
        self.labels = match is_newer {
            true => merged(&said.labels, &self.labels),
            false => merged(&self.labels, &said.labels),
        };
    }
}

/// The first, with as many of the others as there is room for.
fn merged(first: &Labels, others: &Labels) -> Labels {
    let room = MAX_LABELS.saturating_sub(first.len());
    let more = others.iter().filter(|(name, _)| first.get(name).is_none());
    first.iter().chain(more.take(room)).collect()
}

/// One change as one message of a sender shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    pub identity: Identity,
    pub status: Status,
    /// When it came to be so, where its sender says that.
    pub at: Option<Timestamp>,
    pub about: About,
}

/// A change as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// One for each change of a source.
    pub id: String,
    pub source: String,
    pub status: Status,
    /// When it came to that status.
    pub at: Timestamp,
    pub started_at: Timestamp,
    /// When we first heard of it.
    pub received_at: Timestamp,
    /// When something new was last heard of it.
    pub heard_at: Timestamp,
    #[serde(flatten)]
    pub about: About,
}

impl Change {
    /// The change that its first mention makes.
    pub fn first(mention: &Mention, id: String, source: &str, now: Timestamp) -> Self {
        let at = said_at(mention, now);
        Self {
            id,
            source: source.to_owned(),
            status: mention.status,
            at,
            started_at: at,
            received_at: now,
            heard_at: now,
            about: mention.about.clone(),
        }
    }

    /// Takes what one more mention of it says, which may be older than what is known. Returns whether that was something new.
    pub fn hear(&mut self, mention: &Mention, now: Timestamp) -> bool {
        let before = self.clone();
        let at = said_at(mention, now);
        let moves = self.is_moved_by(mention, now);
        let begins_anew = moves && self.status.has_ended() && !mention.status.has_ended();
        if begins_anew {
            self.started_at = at;
        } else if !mention.status.has_ended() {
            self.started_at = self.started_at.min(at);
        }
        let is_as_new = mention.status == before.status && mention.at.is_none_or(|_| at >= self.at);
        self.about.learn(&mention.about, moves || is_as_new);
        if moves {
            self.status = mention.status;
            // Told by another clock, the end may seem to be before the beginning.
            self.at = match begins_anew {
                true => at,
                false => at.max(self.at),
            };
        }
        let is_new = *self != before;
        if is_new {
            self.heard_at = now;
        }
        is_new
    }

    /// Messages come in any order and more than once: the status goes where the newest of them says.
    fn is_moved_by(&self, mention: &Mention, now: Timestamp) -> bool {
        let at = said_at(mention, now);
        if mention.status == self.status {
            return match mention.at {
                Some(_) => at > self.at,
                None => now.since(self.heard_at) > SAID_AGAIN_WITHIN,
            };
        }
        match (self.status.has_ended(), mention.status.has_ended()) {
            (false, true) => at.plus(CLOCKS_DIFFER_BY) >= self.started_at,
            (true, false) => at > self.at,
            (true, true) | (false, false) => (at, mention.status) > (self.at, self.status),
        }
    }

    /// What sort of change it is, in a word.
    pub fn kind(&self) -> &str {
        let usual = match self.about.version {
            Some(_) => "deployment",
            None => "change",
        };
        self.about.kind.as_deref().unwrap_or(usual)
    }

    /// What its sender calls it, else what it is: `deployment of checkout 1.4.2 to production`.
    pub fn summary(&self) -> String {
        if let Some(summary) = &self.about.summary {
            return summary.clone();
        }
        let about = &self.about;
        let parts = [
            (" of ", &about.service),
            (" ", &about.version),
            (" to ", &about.environment),
        ];
        let parts = parts.map(|(before, part)| match part {
            Some(part) => format!("{before}{part}"),
            None => String::new(),
        });
        format!("{}{}", self.kind(), parts.concat())
    }

    pub fn ended_at(&self) -> Option<Timestamp> {
        self.status.has_ended().then_some(self.at)
    }

    /// The instants by which it is found: when it began, and when it last came to another status.
    pub fn moments(&self) -> BTreeSet<Timestamp> {
        BTreeSet::from([self.started_at, self.at])
    }

    /// What it changes, each name as [`folded`].
    pub fn subjects(&self) -> BTreeSet<String> {
        let known = self.labels();
        let named = known.filter(|(name, _)| SUBJECTS.contains(name));
        named.map(|(name, value)| folded(name, value)).collect()
    }

    /// All its labels, service and environment among them.
    fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = [
            ("service", self.about.service.as_deref()),
            ("environment", self.about.environment.as_deref()),
        ];
        let is_own = move |name: &str| {
            own.iter()
                .any(|(known, value)| *known == name && value.is_some())
        };
        let labels = self.about.labels.iter();
        let labels = labels.map(|(name, value)| (plain_name(name), value));
        let others = labels.filter(move |(name, _)| !is_own(name));
        let own = own
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        own.chain(others)
    }
}

/// What lies ahead of our clock is read as the arrival.
fn said_at(mention: &Mention, now: Timestamp) -> Timestamp {
    mention.at.map_or(now, |at| at.min(now))
}

/// One name for what has two.
fn plain_name(name: &str) -> &str {
    match name {
        "env" => "environment",
        other => other,
    }
}

/// A label's value in the form in which two that mean the same are equal: `Prod` and `production`.
pub fn folded(name: &str, value: &str) -> String {
    let small = value.trim().to_lowercase();
    if plain_name(name) != "environment" {
        return small;
    }
    let long = match small.as_str() {
        "prod" | "prd" | "live" => "production",
        "stage" | "stg" => "staging",
        "dev" => "development",
        _other => return small,
    };
    long.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_772_442_000_000).shifted(minute * 60_000)
    }

    fn mention(status: Status, minute: Option<i64>) -> Mention {
        Mention {
            identity: Identity::Named("17".to_owned()),
            status,
            at: minute.map(at),
            about: About::default(),
        }
    }

    /// `in_progress 0-0`: status, and the minutes of start and status.
    fn shown(change: &Change) -> String {
        let minute = |instant: Timestamp| (instant.as_millis() - at(0).as_millis()) / 60_000;
        let (from, to) = (minute(change.started_at), minute(change.at));
        format!("{} {from}-{to}", change.status.as_str())
    }

    /// A status, and the minute it says.
    type Told = (Status, Option<i64>);

    /// Mentions, each with the minute it says, that come a minute after the other from the hundredth on.
    fn heard(mentions: &[Told]) -> String {
        let mut arrivals = (100..).map(at);
        let mut change: Option<Change> = None;
        for (status, minute) in mentions {
            let now = arrivals.next().expect("there is always another minute");
            let mention = mention(*status, *minute);
            match &mut change {
                None => change = Some(Change::first(&mention, "17".to_owned(), "ci", now)),
                Some(change) => drop(change.hear(&mention, now)),
            }
        }
        change.map(|change| shown(&change)).unwrap_or_default()
    }

    #[test]
    fn a_status_goes_where_the_newest_message_says_whatever_the_order() {
        use Status::{Cancelled, Failed, InProgress, Pending, RolledBack, Succeeded};
        let table: &[(&[Told], &str)] = &[
            (
                &[(InProgress, Some(0)), (Succeeded, Some(9))],
                "succeeded 0-9",
            ),
            (
                &[(Succeeded, Some(9)), (InProgress, Some(0))],
                "succeeded 0-9",
            ),
            (
                &[(Succeeded, Some(9)), (Succeeded, Some(9))],
                "succeeded 9-9",
            ),
            (
                &[(Pending, Some(0)), (InProgress, Some(4)), (Failed, Some(9))],
                "failed 0-9",
            ),
            (
                &[(Failed, Some(9)), (Pending, Some(0)), (InProgress, Some(4))],
                "failed 0-9",
            ),
            (
                &[(Succeeded, Some(9)), (RolledBack, Some(12))],
                "rolled_back 9-12",
            ),
            (
                &[(RolledBack, Some(12)), (Succeeded, Some(9))],
                "rolled_back 12-12",
            ),
            // Within one second of the clock, the end is after the beginning.
            (
                &[(Succeeded, Some(3)), (InProgress, Some(3))],
                "succeeded 3-3",
            ),
            (
                &[(InProgress, Some(3)), (Cancelled, Some(3))],
                "cancelled 3-3",
            ),
            // Ours began it, and another clock, which is behind, ended it.
            (
                &[(InProgress, None), (Succeeded, Some(98))],
                "succeeded 100-100",
            ),
            (
                &[(InProgress, None), (Succeeded, Some(9))],
                "in_progress 100-100",
            ),
            // A second run under the same id.
            (
                &[(Failed, Some(9)), (InProgress, Some(20))],
                "in_progress 20-20",
            ),
            (
                &[(Succeeded, Some(9)), (Succeeded, Some(20))],
                "succeeded 9-20",
            ),
            // Without times, the order in which they come is that in which they happened.
            (
                &[(InProgress, None), (Succeeded, None)],
                "succeeded 100-101",
            ),
            (&[(Succeeded, None), (Succeeded, None)], "succeeded 100-100"),
            (&[(Succeeded, Some(7_000))], "succeeded 100-100"),
        ];
        for (mentions, expected) in table {
            assert_eq!(heard(mentions), *expected, "{mentions:?}");
        }
    }

    #[test]
    fn a_message_adds_what_it_says_and_takes_away_nothing() {
        let said = |version: &str, by: Option<&str>, label: &str| {
            let mut mention = mention(Status::Succeeded, Some(9));
            mention.about.version = Some(version.to_owned());
            mention.about.by = by.map(str::to_owned);
            mention.about.labels = Labels::from_iter([("region", label)]);
            mention
        };
        let first = said("1.4.2", Some("ana"), "eu");
        let mut change = Change::first(&first, "17".to_owned(), "ci", at(100));
        assert!(!change.hear(&first, at(101)), "nothing of it is new");
        assert_eq!(change.heard_at, at(100));
        let mut older = said("1.4.1", None, "us");
        older.at = Some(at(3));
        older.about.url = Some("https://ci.example/17".to_owned());
        assert!(change.hear(&older, at(102)));
        assert_eq!(change.about.version.as_deref(), Some("1.4.2"));
        assert_eq!(change.about.by.as_deref(), Some("ana"));
        assert_eq!(change.about.labels.get("region"), Some("eu"));
        assert_eq!(change.about.url.as_deref(), Some("https://ci.example/17"));
        let many: Labels = (0..40)
            .map(|n| (format!("l{n:02}"), "x".to_owned()))
            .collect();
        let mut newer = said("1.4.3", None, "us");
        newer.at = Some(at(20));
        newer.about.labels = many.iter().take(MAX_LABELS).collect();
        assert!(change.hear(&newer, at(103)));
        assert_eq!(change.about.labels.len(), MAX_LABELS);
        assert_eq!(change.about.labels.get("region"), None, "there was no room");
    }

    #[test]
    fn one_that_nobody_described_is_called_by_what_it_is() {
        let mut change = Change::first(&mention(Status::Succeeded, None), "17".into(), "ci", at(0));
        assert_eq!(
            (change.kind(), change.summary().as_str()),
            ("change", "change")
        );
        change.about.service = Some("checkout".to_owned());
        change.about.environment = Some("production".to_owned());
        assert_eq!(change.summary(), "change of checkout to production");
        change.about.version = Some("1.4.2".to_owned());
        assert_eq!(
            change.summary(),
            "deployment of checkout 1.4.2 to production"
        );
        change.about.kind = Some("rollback".to_owned());
        assert_eq!(change.summary(), "rollback of checkout 1.4.2 to production");
        change.about.summary = Some("back to what worked".to_owned());
        assert_eq!(change.summary(), "back to what worked");
    }
}

//! What is stored beside events and alerts. Versioned by their fields: a new one has a default, none is renamed.

use crate::domain::alert::{Alert, Fingerprint, Labels, Outcome, Status as AlertStatus};
use crate::domain::incident::Incident;
use crate::domain::incident::event::{AttemptOutcome, PageIssue};
use crate::domain::phase::Phase;
use crate::domain::severity::Severity;
use crate::domain::time::{Served, Timestamp};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

/// How often something was received, and when last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(rename = "n")]
    pub received: u64,
    #[serde(rename = "at")]
    pub last_at: Timestamp,
    /// The same in served time, where that is another.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Served>,
    /// Until when it fires, as its sender said last.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub lapses_at: Option<Served>,
}

/// An alert that is there was seen once; only more than that is written down.
pub(crate) const FIRST_SIGHTING: u64 = 1;

impl Seen {
    /// When it was heard last, in served time.
    pub fn heard(&self) -> Served {
        self.heard_at
            .unwrap_or_else(|| Served::of_instant(self.last_at))
    }

    /// Of an alert of which no more than its being there says that it was seen.
    pub fn first_of(alert: &Alert) -> Self {
        Self {
            received: FIRST_SIGHTING,
            last_at: alert.changed_at,
            heard_at: alert.watch.and_then(|watch| watch.heard_at),
            lapses_at: alert.watch.and_then(|watch| watch.lapses_at),
        }
    }
}

/// What one transaction adds to a log is one record: a single one as it is, several as a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

/// By the first byte which it is: a derived one would hold all of it twice to find out.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore::More)
            }

            fn visit_map<A: MapAccess<'de>>(self, one: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(one)).map(OneOrMore::One)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// Two such records, encoded, as one.
pub(crate) fn joined(one: &[u8], other: &[u8]) -> Vec<u8> {
    let inner = |record| {
        let list = <[u8]>::strip_prefix(record, b"[");
        list.and_then(|list| list.strip_suffix(b"]"))
            .unwrap_or(record)
    };
    let (one, other) = (inner(one), inner(other));
    let mut joined = Vec::with_capacity(one.len() + other.len() + 3);
    joined.push(b'[');
    joined.extend_from_slice(one);
    joined.push(b',');
    joined.extend_from_slice(other);
    joined.push(b']');
    joined
}

impl<T> OneOrMore<T> {
    pub fn of(mut all: Vec<T>) -> Self {
        match all.pop() {
            Some(one) if all.is_empty() => Self::One(one),
            Some(last) => {
                all.push(last);
                Self::More(all)
            }
            None => Self::More(all),
        }
    }

    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(all) => all,
        }
    }
}

/// What lists filter incidents by, without replaying them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last event: the version of the incident.
    pub seq: u64,
    pub open: bool,
    pub severity: Severity,
    pub phase: Phase,
    #[serde(default)]
    pub team: Option<String>,
    pub title: String,
    #[serde(default)]
    pub dedup_key: Option<String>,
    /// When the engine must look at it; the same instant stands in the due index.
    #[serde(default)]
    pub due_at: Option<Timestamp>,
    /// It was a storm, and takes no alerts any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub storm_over: bool,
}

impl Head {
    pub(crate) fn of(incident: &Incident) -> Self {
        Self {
            seq: incident.seq,
            open: incident.is_open(),
            severity: incident.severity,
            phase: incident.phase,
            team: incident.opened.team.clone(),
            title: incident.opened.title.clone(),
            dedup_key: incident.opened.dedup_key.clone(),
            due_at: incident.next_due(),
            storm_over: incident.is_storm_over(),
        }
    }

    /// The same of what an incident can change.
    pub(crate) fn follow(&mut self, incident: &Incident) {
        self.seq = incident.seq;
        self.open = incident.is_open();
        self.severity = incident.severity;
        self.phase = incident.phase;
        self.due_at = incident.next_due();
        self.storm_over = incident.is_storm_over();
    }
}

/// The runs of a check that were counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// The latest finish that was counted.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    #[serde(default)]
    pub runs: Vec<CountedRun>,
}

/// A run by its identity, and when it was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedRun {
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub attempt: Option<i64>,
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    pub counted_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    Waiting,
    /// Claimed by a delivery, until its lease ends.
    Sending,
    Delivered,
    Failed,
    Dropped,
    Muted,
}

impl PageState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Muted => "muted",
        }
    }

    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Sending)
    }
}

/// One try to deliver a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub outcome: AttemptOutcome,
    pub detail: String,
}

/// A page in the outbox, from being written down to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRecord {
    #[serde(flatten)]
    pub issue: PageIssue,
    pub written_at: Timestamp,
    pub state: PageState,
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Claims so far: the fencing number of the present one.
    #[serde(default)]
    pub claims: u32,
    /// Which of several processes claimed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<u64>,
    /// Where it stands in the outbox: when it may be sent; while it is being sent, when the claim ends.
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    #[serde(default)]
    pub first_attempt_at: Option<Timestamp>,
    /// Kept back while nothing of its incident fires.
    #[serde(default)]
    pub held: bool,
    /// Why no further attempt is wanted, where one was under way when it was dropped.
    #[serde(default)]
    pub dropped: Option<String>,
    /// That it is muted is why.
    #[serde(default, skip_serializing_if = "is_false")]
    pub muted: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl PageRecord {
    /// How it ends once nobody wants it any more.
    pub(crate) fn unwanted(&self) -> PageState {
        match self.muted {
            true => PageState::Muted,
            false => PageState::Dropped,
        }
    }
}

/// Something received that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub at: Timestamp,
    pub source: String,
    pub kind: String,
    pub reason: String,
    pub path: String,
    /// The item, cut to a limit; of what is not in an envelope, the whole body.
    pub item: String,
    /// What the item lacks of what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<Lack>,
    /// What stands before the item and after it in a body that can be read again; none where there is no such body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<(String, String)>,
    /// What the kind of its source reads besides a body: headers, and parameters of the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    /// That it was read again, and taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
}

/// Why what is kept of something that was sent is less than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// What may hold rows of data.
    Rows,
    /// What was longer than is kept.
    End,
    /// What was no text.
    Text,
}

/// What came of reading a dead letter again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    pub at: Timestamp,
    pub by: String,
    pub accepted: usize,
    pub rejected: usize,
    pub opened: BTreeSet<u64>,
    pub joined: BTreeSet<u64>,
}

impl DeadLetter {
    /// The body that is read again, or why there is none.
    pub fn body(&self) -> Result<String, NoBody> {
        match (self.lacks, &self.around) {
            (Some(lack), _) => Err(NoBody::Lacks(lack)),
            (None, None) => Err(NoBody::NotAlone),
            (None, Some((before, after))) => Ok([before, self.item.as_str(), after].concat()),
        }
    }
}

/// Why a dead letter cannot be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBody {
    #[error("{}", match .0 {
        Lack::Rows => "what may hold rows of data was left out of it",
        Lack::End => "it was longer than is kept",
        Lack::Text => "not all of it was text",
    })]
    Lacks(Lack),
    #[error("it cannot be read without what came with it, which was not kept")]
    NotAlone,
}

/// What became of an alert at an instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub fingerprint: Fingerprint,
    pub change: Change,
    pub status: AlertStatus,
    pub source: String,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    #[serde(default)]
    pub starts_at: Option<Timestamp>,
    #[serde(default)]
    pub incident: Option<u64>,
    /// What it says otherwise than before, where it said something before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reworded: Option<Box<Reworded>>,
    /// How it stood before, where it fired without an incident and nothing else here says how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Was>,
    /// Under which key it waited before, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<String>,
}

/// How an alert stood that fired and had no incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Was {
    /// A cause held it.
    Held,
    /// No rule had opened it, and it was judged again.
    Unopened,
}

impl Was {
    pub(crate) fn of(before: &Alert, change: Change) -> Option<Self> {
        match (before.held_by, change) {
            (Some(_), _) if before.is_live() => Some(Self::Held),
            (None, Change::Fired) if before.is_live() && before.incident.is_none() => {
                Some(Self::Unopened)
            }
            (Some(_) | None, _) => None,
        }
    }
}

/// What an alert says otherwise than before: by name what it said and what it says, of both none where it says nothing.
///
/// The alert itself has what it said last; what it said at any time follows from that and from these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reworded {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Turns,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Turns,
}

/// By name what was said before and after.
pub type Turns = BTreeMap<String, (Option<String>, Option<String>)>;

/// Bytes of a text that are kept of what an alert no longer says.
const TURN_MAX_BYTES: usize = 2 << 10;

impl Reworded {
    /// None where both say the same.
    pub(crate) fn between(before: &Alert, after: &Alert) -> Option<Box<Self>> {
        if before.annotations == after.annotations && before.attributes == after.attributes {
            return None;
        }
        Some(Box::new(Self {
            annotations: turns(&before.annotations, &after.annotations),
            attributes: turns(&before.attributes, &after.attributes),
        }))
    }
}

fn turns(before: &Labels, after: &Labels) -> Turns {
    let names = before.iter().chain(after.iter()).map(|(name, _)| name);
    let names: BTreeSet<&str> = names.collect();
    names
        .into_iter()
        .map(|name| (name, before.get(name), after.get(name)))
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| (name.to_owned(), (before.map(kept), after.map(kept))))
        .collect()
}

fn kept(text: &str) -> String {
    let end = text.floor_char_boundary(TURN_MAX_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Fired,
    Changed,
    Resolved,
    Stale,
}

/// Alerts of one key that fire and have not met their rule's `open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Since when the key has had a firing alert at every moment.
    pub since: Timestamp,
    /// What each alert waits for.
    pub members: BTreeMap<Fingerprint, Wait>,
    /// When alerts of the key began, also such as have ended since, as far as a rule counts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Start>,
    /// As it stands in the index. None while it only waits for more alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// What an alert waits for under its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wait {
    /// So many milliseconds in which the key fires.
    Elapsed(u64),
    Starts {
        count: u32,
        within_ms: u64,
    },
}

/// An alert that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub alert: Fingerprint,
    /// As its sender says; no later than it was received.
    pub at: Timestamp,
    /// By our clock it is of no use from then on.
    pub until: Timestamp,
}

/// The last incident of a dedup key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHolder {
    pub incident: u64,
    /// The last incident before a storm took the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// An incident that could not be stepped: it is left alone, and shouted about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    pub at: Timestamp,
    pub why: String,
    /// When people are paged for it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shout_at: Option<Timestamp>,
    /// The first serial number of the pages that were written the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shouted_from: Option<u32>,
}

impl Quarantined {
    /// Whether people are to be paged for it again.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.shout_at.is_none_or(|at| at <= now)
    }
}

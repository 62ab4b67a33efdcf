//! Alerts: their labels and fingerprint, one sighting of an alert, and the alert as it is remembered.

use crate::domain::time::{Served, Timestamp};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Names and values, sorted by the bytes of the name, each name once, no value empty (an empty label is an absent one).
///
/// In one piece, shared by all copies: an alert is copied often, and its labels never change.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<Packed>);

#[derive(PartialEq, Eq)]
struct Packed {
    /// Every name and its value, one after the other.
    text: Box<str>,
    /// Where each name and its value end in `text`.
    ends: Box<[(u32, u32)]>,
}

impl Labels {
    /// The value of a label, or none where it is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            let (known, value) = self.at(middle)?;
            match known.as_bytes().cmp(name.as_bytes()) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Some(value),
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).filter_map(|at| self.at(at))
    }

    pub fn len(&self) -> usize {
        self.0.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    fn at(&self, at: usize) -> Option<(&str, &str)> {
        let start = match at.checked_sub(1) {
            Some(before) => self.0.ends.get(before)?.1,
            None => 0,
        };
        let (middle, end) = *self.0.ends.get(at)?;
        let part = |from: u32, to: u32| {
            let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
            self.0.text.get(from..to)
        };
        Some((part(start, middle)?, part(middle, end)?))
    }

    /// The same labels with one more, or with another value for it.
    pub fn with(&self, name: &str, value: &str) -> Self {
        self.iter().chain([(name, value)]).collect()
    }

    /// The labels of the alert that says that a check could not run.
    pub fn twin(&self) -> Self {
        self.with("check", "error")
    }

    /// Alertmanager's fingerprint: FNV-1a over name, 0xFF, value, 0xFF of each label in order of name.
    pub fn fingerprint(&self) -> Fingerprint {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        const SEPARATOR: u8 = 0xff;
        let mut hash = OFFSET;
        let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        for (name, value) in self.iter() {
            name.bytes().for_each(&mut mix);
            mix(SEPARATOR);
            value.bytes().for_each(&mut mix);
            mix(SEPARATOR);
        }
        Fingerprint(hash)
    }
}

/// Of a name that comes twice the last value counts.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut all: Vec<(N, V)> = pairs.into_iter().collect();
        let is_sorted =
            all.is_sorted_by(|(a, _), (b, _)| a.as_ref().as_bytes() < b.as_ref().as_bytes());
        if !is_sorted {
            all.sort_by(|(a, _), (b, _)| a.as_ref().as_bytes().cmp(b.as_ref().as_bytes()));
        }
        let size = all
            .iter()
            .map(|(name, value)| name.as_ref().len() + value.as_ref().len());
        let mut text = String::with_capacity(size.sum());
        let mut ends: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (at, (name, value)) in all.iter().enumerate() {
            let (name, value) = (name.as_ref(), value.as_ref());
            let is_said_again = all
                .get(at + 1)
                .is_some_and(|(next, _)| next.as_ref() == name);
            if is_said_again || value.is_empty() {
                continue;
            }
            text.push_str(name);
            let middle = text.len();
            text.push_str(value);
            ends.push((offset(middle), offset(text.len())));
        }
        Self(Arc::new(Packed {
            text: text.into(),
            ends: ends.into(),
        }))
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("names and values are limited far below 4 GiB")
}

impl Default for Labels {
    fn default() -> Self {
        Self::from_iter::<[(&str, &str); 0]>([])
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::with_capacity(16);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A text of JSON, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// `{alertname="Down", service="api"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// The identity of an alert: a hash of its labels, shown and stored as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint of 16 hexadecimal digits is wanted, found \"{0}\"")]
pub struct NotAFingerprint(pub String);

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(hash) if digits => Ok(Self(hash)),
            _ => Err(NotAFingerprint(text.to_owned())),
        }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        text.as_ref().parse().map_err(serde::de::Error::custom)
    }
}

/// What a sender says of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Firing,
    /// And so until then, unless it is said again.
    FiringUntil(Timestamp),
    Resolved,
}

/// What a check said, worst last: of several results with one fingerprint in one report the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Skip,
    Pass,
    Warn,
    Fail,
    /// The check itself could not run.
    Error,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

/// What a report of checks is complete for: a name that its tool chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The tool.
    pub source: String,
    pub scope: String,
}

/// One execution of a check, by which repeats and late results are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: Option<String>,
    pub attempt: Option<i64>,
    pub finished_at: Option<Timestamp>,
}

/// One alert as one message of a sender shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Identity.
    pub labels: Labels,
    /// Words for people.
    pub annotations: Labels,
    /// Known of the alert and matched as `@name`, but no identity; the built-in ones are not in here.
    pub attributes: Labels,
    /// The sender's own word for how bad it is, matched as `@severity`.
    pub severity: Option<String>,
    pub starts_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    pub said: Said,
}

impl Sighting {
    /// What rules see of it beside its labels and words: what its sender said, and what we know of the sender.
    pub fn attributes_from(&self, source: &str, kind: &str, outcome: Option<Outcome>) -> Labels {
        let built_in = [
            ("source", Some(source)),
            ("kind", Some(kind)),
            ("outcome", outcome.map(Outcome::as_str)),
            ("severity", self.severity.as_deref()),
        ];
        let own = self
            .attributes
            .iter()
            .filter(|(name, _)| built_in.iter().all(|(built_in, _)| built_in != name));
        own.chain(
            built_in
                .iter()
                .filter_map(|(name, value)| Some((*name, (*value)?))),
        )
        .collect()
    }
}

/// What a sighting says: a monitoring system's firing or resolved, or the outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Signal(Signal),
    /// The outcome of one run of a check. Its labels are those of the check, without `check="error"`.
    Check {
        outcome: Outcome,
        run: Run,
    },
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Fires, and has not met its rule's `open` yet.
    Pending,
    Firing,
    Resolved,
    /// Fired, and was not heard of for long: not fixed.
    Stale,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Stale => "stale",
        }
    }
}

/// One alert as it is remembered. Repeats are counted apart from it, so that they write little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub labels: Labels,
    #[serde(default)]
    pub annotations: Labels,
    /// With the built-in ones.
    #[serde(default)]
    pub attributes: Labels,
    pub status: Status,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    pub source: String,
    pub kind: String,
    pub starts_at: Timestamp,
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// When its status last changed here.
    pub changed_at: Timestamp,
    /// The incident it belongs to, or last did.
    #[serde(default)]
    pub incident: Option<u64>,
    /// The rule by which it was routed.
    #[serde(default)]
    pub rule: Option<String>,
    /// What that rule did with it.
    pub routed: Routed,
    /// The key under which it waits, while it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_key: Option<String>,
    /// Until when it must be heard of, while it is not resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// The rule set that did not open it, and which of its intervals it was judged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<String>,
    /// The cause because of which it has no incident: it is judged anew once none inhibits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Fingerprint>,
}

/// Until when an alert must be heard of.
///
/// What is heard is noted apart from the alert; a watch that is due looks there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// When it is looked at next, as it stands in the index.
    #[serde(rename = "due")]
    pub due_at: Served,
    /// When the alert began, where that is not what the clock showed.
    #[serde(rename = "heard", default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Served>,
    /// Until when it fires, as its sender said when it began.
    #[serde(rename = "lapses", default, skip_serializing_if = "Option::is_none")]
    pub lapses_at: Option<Served>,
}

/// What the rules did with an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routed {
    Open,
    Record,
    /// No rule matched.
    Unrouted,
}

impl Alert {
    /// It fires, or nobody knows that it does not.
    pub fn is_live(&self) -> bool {
        matches!(self.status, Status::Firing | Status::Stale)
    }

    /// Its name, for titles and timelines.
    pub fn name(&self) -> &str {
        name_of(&self.labels)
    }

    /// Whether one more sighting of it firing is a mere repeat, under rules that stand so.
    pub fn is_heard_again(&self, standing: impl FnOnce() -> String) -> bool {
        match self.status {
            Status::Pending => true,
            Status::Firing => self
                .judged_by
                .as_deref()
                .is_none_or(|judged| judged == standing()),
            Status::Resolved | Status::Stale => false,
        }
    }
}

/// The `alertname`, or what stands for it where it is missing.
pub fn name_of(labels: &Labels) -> &str {
    labels.get("alertname").unwrap_or("unnamed alert")
}

//! Silences: a person mutes alerts that match, for a span. One that starts in the future is a maintenance window.

use crate::domain::alert::Labels;
use crate::domain::matcher::{Matcher, Op};
use crate::domain::time::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A silence that ends within this is soon to expire.
pub const EXPIRES_SOON: Duration = Duration::from_secs(24 * 3600);

/// A silence that has muted nothing for so long is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

/// A silence as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// A UUID in its usual form.
    pub id: String,
    /// All of them must match.
    #[serde(serialize_with = "write_matchers", deserialize_with = "read_matchers")]
    pub matchers: Vec<Matcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    /// Who made it, in the words of whoever did.
    pub created_by: String,
    /// Why.
    pub comment: String,
    pub updated_at: Timestamp,
    /// Whose token made it, where that is not who is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Active,
    Pending,
    Expired,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

/// Why there can be no such silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("start time must be before end time")]
    EndsBeforeItStarts,
    #[error("end time can't be in the past")]
    EndsInThePast,
}

impl Silence {
    /// Half-open: it mutes at its start, and at its end no more.
    pub fn state(&self, now: Timestamp) -> State {
        if now >= self.ends_at {
            State::Expired
        } else if now < self.starts_at {
            State::Pending
        } else {
            State::Active
        }
    }

    /// Whether an alert of these labels and attributes is one that it mutes while it is active.
    pub fn fits(&self, labels: &Labels, attributes: &Labels) -> bool {
        let mut matchers = self.matchers.iter();
        matchers.all(|matcher| matcher.fits(labels, attributes))
    }

    /// Why it can neither be made nor be changed to this at `now`.
    pub fn unfit(&self, now: Timestamp) -> Option<Unfit> {
        if self.starts_at >= self.ends_at {
            Some(Unfit::EndsBeforeItStarts)
        } else if self.ends_at < now {
            Some(Unfit::EndsInThePast)
        } else {
            None
        }
    }

    /// Whether it can become `changed` and stay the same silence; else it ends, and another one begins. What was muted, and since
    /// when, is never changed.
    pub fn can_become(&self, changed: &Self, now: Timestamp) -> bool {
        let same_matchers = self.matchers == changed.matchers;
        same_matchers
            && match self.state(now) {
                State::Active => changed.starts_at == self.starts_at && changed.ends_at >= now,
                State::Pending => changed.starts_at >= now,
                State::Expired => false,
            }
    }

    /// The same, over at `now`.
    pub fn ended(&self, now: Timestamp) -> Self {
        Self {
            starts_at: self.starts_at.min(now),
            ends_at: now,
            updated_at: now,
            ..self.clone()
        }
    }

    /// Whether it is active and ends soon.
    pub fn expires_soon(&self, now: Timestamp) -> bool {
        self.state(now) == State::Active && self.ends_at <= now.plus(EXPIRES_SOON)
    }

    /// Whether it is active and has muted nothing for long: since `muted_at`, or ever.
    pub fn is_forgotten(&self, muted_at: Option<Timestamp>, now: Timestamp) -> bool {
        let since = muted_at.unwrap_or(self.starts_at).max(self.starts_at);
        self.state(now) == State::Active && now.since(since) >= FORGOTTEN_AFTER
    }
}

/// Whether these matchers fit whatever comes, as far as their texts tell: none asks for more than that there is an alert.
pub fn mutes_everything(matchers: &[Matcher]) -> bool {
    matchers.iter().all(asks_nothing)
}

/// Whether each of these matchers fits an alert without the label: Alertmanager takes no such silence.
pub fn fits_without_labels(matchers: &[Matcher]) -> bool {
    matchers.iter().all(fits_the_empty)
}

fn fits_the_empty(matcher: &Matcher) -> bool {
    match matcher.op() {
        Op::Equal | Op::Regex => matcher.matches(None),
        Op::NotEqual | Op::NotRegex => false,
    }
}

fn asks_nothing(matcher: &Matcher) -> bool {
    let is_of_all = matcher.name() == "alertname";
    let fits_any_text = match matcher.op() {
        Op::NotEqual => matcher.value().is_empty(),
        Op::Regex => [".+", ".*", "..*", "(.+)", "(.*)"].contains(&matcher.value()),
        Op::NotRegex => ["", "^$"].contains(&matcher.value()),
        Op::Equal => false,
    };
    fits_the_empty(matcher) || (is_of_all && fits_any_text)
}

fn write_matchers<S: Serializer>(matchers: &[Matcher], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(matchers.iter().map(ToString::to_string))
}

fn read_matchers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Matcher>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = texts.iter().map(|text| Matcher::parse(text));
    read.map(|matcher| matcher.map_err(D::Error::custom))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(starts_at: i64, ends_at: i64) -> Silence {
        Silence {
            id: "1".to_owned(),
            matchers: vec![Matcher::parse("a=\"b\"").unwrap()],
            starts_at: Timestamp::from_millis(starts_at),
            ends_at: Timestamp::from_millis(ends_at),
            created_by: "ana".to_owned(),
            comment: "deploy".to_owned(),
            updated_at: Timestamp::EPOCH,
            token: None,
            annotations: Labels::default(),
        }
    }

    #[test]
    fn a_silence_is_pending_then_active_then_expired() {
        let silence = silence(10, 20);
        let states = [9, 10, 19, 20].map(|at| silence.state(Timestamp::from_millis(at)));
        let wanted = [State::Pending, State::Active, State::Active, State::Expired];
        assert_eq!(states, wanted);
    }

    #[test]
    fn what_would_mute_everything_is_told_by_its_text() {
        for (text, everything) in [
            ("a=\"b\"", false),
            ("a=\"\"", true),
            ("a=~\".*\"", true),
            ("a=~\".+\"", false),
            ("alertname=~\".+\"", true),
            ("alertname!=\"\"", true),
            ("alertname!=\"x\"", false),
            ("alertname=~\"x|\"", true),
            ("a!=\"\"", false),
        ] {
            let matchers = [Matcher::parse(text).unwrap()];
            assert_eq!(mutes_everything(&matchers), everything, "{text}");
        }
        let both = ["alertname=~\".*\"", "service=\"api\""].map(|of| Matcher::parse(of).unwrap());
        assert!(!mutes_everything(&both));
        assert!(mutes_everything(&[]));
    }

    #[test]
    fn matchers_are_stored_as_their_text_and_read_back() {
        let mut silence = silence(10, 20);
        silence.matchers = [
            r#"a="with \"quotes\" and \\""#,
            r#"@kind=~"alert.*""#,
            r#""a name"!="x""#,
            "b!~\"1|2\"",
        ]
        .map(|text| Matcher::parse(text).unwrap())
        .to_vec();
        let stored = serde_json::to_string(&silence).unwrap();
        let read: Silence = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, silence);
    }
}

//! Escalation policies: ordered steps of people to page, with timeouts, repeats and a fallback.

use crate::domain::time::span_ms;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A step's `timeout` where none is written.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long after each exhausted attempt the next one follows.
pub const EXHAUSTED_EVERY: Duration = Duration::from_secs(10 * 60);

/// Whom a step pages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Whoever is on call by this schedule when the step runs.
    Schedule(String),
    Person(String),
    /// The first step of another policy; only in `leadership` and `POST …/page`.
    Policy(String),
}

/// `schedule:payments`, as it is written in the configuration.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule(name) => write!(f, "schedule:{name}"),
            Self::Person(name) => write!(f, "person:{name}"),
            Self::Policy(name) => write!(f, "policy:{name}"),
        }
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a target such as \"person:ana\", \"schedule:payments\" or \"policy:payments\" is wanted, found \"{0}\""
)]
pub struct NotATarget(pub String);

impl std::str::FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        match text.split_once(':') {
            Some((_, "")) | None => Err(NotATarget(text.to_owned())),
            Some(("schedule", name)) => Ok(Self::Schedule(name.to_owned())),
            Some(("person", name)) => Ok(Self::Person(name.to_owned())),
            Some(("policy", name)) => Ok(Self::Policy(name.to_owned())),
            Some(_) => Err(NotATarget(text.to_owned())),
        }
    }
}

/// One level of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub targets: Vec<Target>,
    #[serde(with = "span_ms")]
    pub timeout: Duration,
}

/// Whom to page in which order. An incident keeps the policy as it was when it opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationPolicy {
    pub name: String,
    /// At least one.
    pub steps: Vec<Step>,
    /// Rounds after the first.
    pub repeat: u32,
    #[serde(default)]
    pub acknowledge_timeout_ms: Option<u64>,
    /// Paged when steps and repeats are spent.
    #[serde(default)]
    pub fallback: Vec<Target>,
}

impl EscalationPolicy {
    /// How long an acknowledgement holds in triage and response.
    pub fn acknowledge_timeout(&self) -> Option<Duration> {
        self.acknowledge_timeout_ms.map(Duration::from_millis)
    }
}

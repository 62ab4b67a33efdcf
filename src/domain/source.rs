//! Sources: the configured senders, and the formats they speak.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long an alert may fire without being heard of, where its sender says again and again that it fires.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How often something may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub within: Duration,
}

/// The format a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Alertmanager,
    Grafana,
    GreatExpectations,
    Dbt,
    DbtCloud,
    Soda,
    Evidently,
    Mlflow,
    Check,
    Cloudevents,
    Pagerduty,
    Opsgenie,
    Mapped,
    Change,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::Alertmanager,
        Self::Grafana,
        Self::GreatExpectations,
        Self::Dbt,
        Self::DbtCloud,
        Self::Soda,
        Self::Evidently,
        Self::Mlflow,
        Self::Check,
        Self::Cloudevents,
        Self::Pagerduty,
        Self::Opsgenie,
        Self::Mapped,
        Self::Change,
    ];

    /// Whether neither headers nor the address of a request say more than its body does.
    pub fn is_told_by_its_body(self) -> bool {
        matches!(
            self,
            Self::Alertmanager | Self::Grafana | Self::GreatExpectations | Self::Soda | Self::Check
        )
    }

    /// Whether what its senders post may hold rows of data, so that a body that cannot be read is not kept.
    pub fn may_hold_rows(self) -> bool {
        matches!(
            self,
            Self::GreatExpectations | Self::Dbt | Self::Soda | Self::Evidently
        )
    }

    /// How long an alert may fire without being heard of, where nothing else is said; none of senders that say once that it fires,
    /// and of checks, which run when they run.
    pub fn stale_after(self) -> Option<Duration> {
        matches!(self, Self::Alertmanager | Self::Grafana).then_some(STALE_AFTER)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Grafana => "grafana",
            Self::GreatExpectations => "great_expectations",
            Self::Dbt => "dbt",
            Self::DbtCloud => "dbt_cloud",
            Self::Soda => "soda",
            Self::Evidently => "evidently",
            Self::Mlflow => "mlflow",
            Self::Check => "check",
            Self::Cloudevents => "cloudevents",
            Self::Pagerduty => "pagerduty",
            Self::Opsgenie => "opsgenie",
            Self::Mapped => "mapped",
            Self::Change => "change",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kind \"{found}\" is not one of {}", all_names())]
pub struct NotAKind {
    pub found: String,
}

fn all_names() -> String {
    Kind::ALL.map(Kind::as_str).join(", ")
}

impl FromStr for Kind {
    type Err = NotAKind;

    fn from_str(text: &str) -> Result<Self, NotAKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| NotAKind {
                found: text.to_owned(),
            })
    }
}

//! Severity, from SEV1 (worst) to SEV5, and the process that each severity asks for.

use crate::domain::verification::Plan;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Impact class of an incident. SEV1 is the worst; compare with [`Severity::is_more_severe_than`], not with `<`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Severity {
    #[serde(rename = "SEV1")]
    Sev1,
    #[serde(rename = "SEV2")]
    Sev2,
    #[serde(rename = "SEV3")]
    Sev3,
    #[serde(rename = "SEV4")]
    Sev4,
    #[serde(rename = "SEV5")]
    Sev5,
}

impl Severity {
    pub const ALL: [Self; 5] = [Self::Sev1, Self::Sev2, Self::Sev3, Self::Sev4, Self::Sev5];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sev1 => "SEV1",
            Self::Sev2 => "SEV2",
            Self::Sev3 => "SEV3",
            Self::Sev4 => "SEV4",
            Self::Sev5 => "SEV5",
        }
    }

    /// 1 for SEV1 to 5 for SEV5.
    pub fn number(self) -> u8 {
        match self {
            Self::Sev1 => 1,
            Self::Sev2 => 2,
            Self::Sev3 => 3,
            Self::Sev4 => 4,
            Self::Sev5 => 5,
        }
    }

    pub fn is_more_severe_than(self, other: Self) -> bool {
        self.number() < other.number()
    }

    /// The worse of two.
    pub fn worst(self, other: Self) -> Self {
        if other.is_more_severe_than(self) {
            other
        } else {
            self
        }
    }

    /// One worse, at most SEV1.
    pub fn raised(self) -> Self {
        match self {
            Self::Sev1 | Self::Sev2 => Self::Sev1,
            Self::Sev3 => Self::Sev2,
            Self::Sev4 => Self::Sev3,
            Self::Sev5 => Self::Sev4,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("severity \"{0}\" is not one of SEV1…SEV5")]
pub struct NotASeverity(pub String);

impl FromStr for Severity {
    type Err = NotASeverity;

    fn from_str(text: &str) -> Result<Self, NotASeverity> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| NotASeverity(text.to_owned()))
    }
}

/// How a severity pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// By `notify`, through all steps.
    High,
    /// By `notify_low`, the first step that reaches somebody.
    Low,
    /// Nobody is paged.
    None,
}

impl Urgency {
    fn rank(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Low => 1,
            Self::High => 2,
        }
    }

    pub fn is_lower_than(self, other: Self) -> bool {
        self.rank() < other.rank()
    }

    pub fn pages(self) -> bool {
        self != Self::None
    }
}

/// How much of the lifecycle people must walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Every output of every phase.
    Full,
    /// Nobody need walk it: it verifies and closes by itself.
    Light,
}

impl Profile {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Light => "light",
        }
    }
}

/// What one severity asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub outputs: Profile,
    pub urgency: Urgency,
    /// The policy whose first step is told when an incident opens at this severity or rises to it.
    pub leadership: Option<String>,
    /// Unless the rule has its own.
    pub verification: Plan,
}

/// The process of every severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes([Process; 5]);

impl Processes {
    /// The processes of SEV1 to SEV5, in that order.
    pub fn new(of_each: [Process; 5]) -> Self {
        Self(of_each)
    }

    pub fn of(&self, severity: Severity) -> &Process {
        let [sev1, sev2, sev3, sev4, sev5] = &self.0;
        match severity {
            Severity::Sev1 => sev1,
            Severity::Sev2 => sev2,
            Severity::Sev3 => sev3,
            Severity::Sev4 => sev4,
            Severity::Sev5 => sev5,
        }
    }
}

/// A row of the `[severity]` matrix; what is missing fits anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixRow {
    pub impact: Option<String>,
    pub scope: Option<String>,
    pub urgency: Option<String>,
    pub severity: Severity,
}

/// What a severity was derived from, as it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeverityInputs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<String>,
}

impl SeverityInputs {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Impact × scope × urgency: the first row that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix(pub Vec<MatrixRow>);

impl Matrix {
    pub fn severity(&self, inputs: &SeverityInputs) -> Option<Severity> {
        let fits =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.0
            .iter()
            .find(|row| {
                fits(&row.impact, &inputs.impact)
                    && fits(&row.scope, &inputs.scope)
                    && fits(&row.urgency, &inputs.urgency)
            })
            .map(|row| row.severity)
    }
}

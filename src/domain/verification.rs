//! Verification: the plan of recurrence checks, the window they run in, and whether it has passed.

use crate::domain::cron_spec::CronSpec;
use crate::domain::time::{Timestamp, span_ms};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When to look whether an incident came back, and for how long. Fixed for an incident when verification is entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub check: CronSpec,
    pub zone: Tz,
    #[serde(with = "span_ms")]
    pub window: Duration,
}

impl Eq for Plan {}

/// What a recurrence check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Passed,
    Failed,
    /// The check itself could not run.
    Error,
}

impl CheckResult {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

/// One occurrence of the plan and what was found at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The slot: with the incident's number the identity of the check.
    pub at: Timestamp,
    pub ran_at: Timestamp,
    pub result: CheckResult,
    pub detail: String,
}

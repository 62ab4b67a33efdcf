//! `[retention]`: how long history is kept.

use crate::toml_file::{Section, Value};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// History of alerts.
    pub alerts_for: Duration,
    /// Changes.
    pub changes_for: Duration,
    pub n_dead_letters: usize,
}

const ALERTS_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
const CHANGES_FOR: Duration = ALERTS_FOR;
const N_DEAD_LETTERS: usize = 10_000;
const N_DEAD_LETTERS_MAX: usize = 10_000_000;

pub(super) fn read(section: Section<'_>) -> Retention {
    let alerts_for = section.get("alerts").and_then(Value::lasting);
    let changes_for = section.get("changes").and_then(Value::lasting);
    let n_dead_letters = section
        .get("dead_letters")
        .and_then(|value| value.integer(0..=N_DEAD_LETTERS_MAX));
    section.not_yet("incidents");
    section.done();
    Retention {
        alerts_for: alerts_for.unwrap_or(ALERTS_FOR),
        changes_for: changes_for.unwrap_or(CHANGES_FOR),
        n_dead_letters: n_dead_letters.unwrap_or(N_DEAD_LETTERS),
    }
}

//! Where the records of each key lie in the database, and the statements for them.
//!
//! What grows for ever lies apart from what is small and changes all the time, so that the upkeep of one (vacuum)
//! is no burden for the other.

use crate::store::engine::Order;
use crate::store::keys;
use std::ops::RangeInclusive;

/// One SQL table of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Indexes of what is due, counters, what waits: small, and rewritten all the time.
    Work,
    /// What there is: alerts, incidents' heads, pages.
    State,
    /// The logs of incidents: added to, rarely removed.
    Event,
    /// The history of alerts: added to at its end, removed from its beginning.
    History,
}

/// The statements of one table.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) get: &'static str,
    /// Records that are there already are changed.
    pub(super) put: &'static str,
    /// None of them is there yet.
    pub(super) add: &'static str,
    pub(super) remove: &'static str,
    pub(super) forward: &'static str,
    pub(super) reverse: &'static str,
}

macro_rules! statements {
    ($table:literal) => {
        Statements {
            get: concat!("SELECT key, value FROM ", $table, " WHERE key = ANY($1)"),
            put: concat!(
                "INSERT INTO ",
                $table,
                " (key, value) SELECT unnest($1::bytea[]), unnest($2::bytea[]) ",
                "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value"
            ),
            add: concat!(
                "INSERT INTO ",
                $table,
                " (key, value) SELECT unnest($1::bytea[]), unnest($2::bytea[])"
            ),
            remove: concat!("DELETE FROM ", $table, " WHERE key = ANY($1)"),
            forward: concat!(
                "SELECT key, value FROM ",
                $table,
                " WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3"
            ),
            reverse: concat!(
                "SELECT key, value FROM ",
                $table,
                " WHERE key >= $1 AND key < $2 ORDER BY key DESC LIMIT $3"
            ),
        }
    };
}

const WORK: Statements = statements!("wk_work");
const STATE: Statements = statements!("wk_state");
const EVENT: Statements = statements!("wk_event");
const HISTORY: Statements = statements!("wk_history");

impl Table {
    pub(super) const ALL: [Self; 4] = [Self::Work, Self::State, Self::Event, Self::History];

    /// Where the record of a key lies.
    pub(super) fn of(key: &[u8]) -> Self {
        match key.first() {
            Some(byte) => Self::of_byte(*byte),
            None => Self::State,
        }
    }

    fn of_byte(byte: u8) -> Self {
        if keys::WORK.contains(&byte) {
            Self::Work
        } else if byte == keys::EVENT {
            Self::Event
        } else if byte == keys::TRANSITION {
            Self::History
        } else {
            Self::State
        }
    }

    /// Where it stands among all.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Work => 0,
            Self::State => 1,
            Self::Event => 2,
            Self::History => 3,
        }
    }

    pub(super) fn statements(self) -> &'static Statements {
        match self {
            Self::Work => &WORK,
            Self::State => &STATE,
            Self::Event => &EVENT,
            Self::History => &HISTORY,
        }
    }
}

/// The part of a range that lies in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) table: Table,
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
}

/// The parts of `from <= key < to`, in the order in which they are to be read.
pub(super) fn parts(from: &[u8], to: &[u8], order: Order) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    if from >= to {
        return parts;
    }
    let first = from.first().copied().unwrap_or(0);
    let last = to.first().copied().unwrap_or(u8::MAX);
    for run in runs(first..=last) {
        let starts = [*run.start()];
        let ends = run.end().checked_add(1).map(|end| [end]);
        let from = from.max(&starts);
        let to = ends.as_ref().map_or(to, |ends| to.min(ends));
        if from < to {
            parts.push(Part {
                table: Table::of_byte(*run.start()),
                from: from.to_vec(),
                to: to.to_vec(),
            });
        }
    }
    if order == Order::Reverse {
        parts.reverse();
    }
    parts
}

/// Table bytes that follow each other and lie in one table.
fn runs(bytes: RangeInclusive<u8>) -> Vec<RangeInclusive<u8>> {
    let mut runs: Vec<RangeInclusive<u8>> = Vec::new();
    for byte in bytes {
        match runs.last_mut() {
            Some(run) if Table::of_byte(*run.start()) == Table::of_byte(byte) => {
                *run = *run.start()..=byte;
            }
            Some(_) | None => runs.push(byte..=byte),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_table_by_table_in_its_order() {
        let tables = |from: &[u8], to: &[u8], order| -> Vec<String> {
            let shown = |part: Part| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                format!("{:?} {}..{}", part.table, text(&part.from), text(&part.to))
            };
            parts(from, to, order).into_iter().map(shown).collect()
        };
        assert_eq!(tables(b"D1", b"D9", Order::Forward), ["Work D1..D9"]);
        assert_eq!(
            tables(b"D1", b"H2", Order::Forward),
            ["Work D1..E", "Event E..F", "State F..H2"]
        );
        assert_eq!(
            tables(b"D1", b"H2", Order::Reverse),
            ["State F..H2", "Event E..F", "Work D1..E"]
        );
        assert_eq!(tables(b"D", b"E", Order::Forward), ["Work D..E"]);
        assert!(tables(b"H", b"D", Order::Forward).is_empty());
    }
}

//! Dead letters as they are answered: in lists, and whole.

use crate::http::openapi::words;
use crate::http::view::Instant;
use crate::store::records;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Something received that could not be used.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    pub id: u64,
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    pub source: String,
    pub kind: String,
    pub reason: String,
    /// Where in the body it stood.
    pub path: String,
    /// The item as it was sent; in lists, of a long one the start.
    pub item: String,
    /// It lacks something of what was sent.
    pub cut: bool,
    pub replayable: bool,
    #[schema(required = true)]
    pub replayed: Option<Replayed>,
}

/// What came of reading a dead letter again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    pub by: String,
    pub accepted: usize,
    pub rejected: usize,
    pub opened: BTreeSet<u64>,
    pub joined: BTreeSet<u64>,
}

pub fn dead_letter(id: u64, letter: &records::DeadLetter) -> DeadLetter {
    DeadLetter {
        id,
        at: letter.at.into(),
        source: letter.source.clone(),
        kind: letter.kind.clone(),
        reason: letter.reason.clone(),
        path: letter.path.clone(),
        item: letter.item.clone(),
        cut: letter.lacks.is_some(),
        replayable: letter.replayed.is_none() && letter.body().is_ok(),
        replayed: letter.replayed.as_ref().map(replayed),
    }
}

/// One dead letter with all that is kept of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct WholeDeadLetter {
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// What stands before the item and after it in a body that can be read again.
    #[schema(required = true)]
    pub around: Option<(String, String)>,
    /// What its source reads besides the body.
    pub headers: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    #[schema(required = true)]
    pub not_replayable_because: Option<String>,
}

pub fn whole_dead_letter(id: u64, letter: &records::DeadLetter) -> WholeDeadLetter {
    let pairs = |pairs: &[(String, String)]| pairs.iter().cloned().collect();
    WholeDeadLetter {
        letter: dead_letter(id, letter),
        around: letter.around.clone(),
        headers: pairs(&letter.headers),
        query: pairs(&letter.query),
        not_replayable_because: letter.body().err().map(|why| why.to_string()),
    }
}

fn replayed(replayed: &records::Replayed) -> Replayed {
    Replayed {
        at: replayed.at.into(),
        by: replayed.by.clone(),
        accepted: replayed.accepted,
        rejected: replayed.rejected,
        opened: replayed.opened.clone(),
        joined: replayed.joined.clone(),
    }
}

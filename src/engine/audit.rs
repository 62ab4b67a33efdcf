//! The audit: every open incident that should page has a page in flight, a step in the future or a loud exhaustion, and
//! what its log says stands in the indexes, too.

use crate::domain::time::Timestamp;
use crate::store::{Error, Reader, lists};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why nothing else can be said of an incident.
pub const UNREADABLE: &str = "it is listed and cannot be read";

/// An incident that nobody may ever hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub incident: u64,
    pub why: &'static str,
}

/// All violations at `now`.
pub fn audit(reader: &Reader<'_>, now: Timestamp) -> Result<Vec<Violation>, Error> {
    let mut violations = Vec::new();
    let open = lists::open_incidents(reader)?;
    for number in lists::foreseeing(reader, &open) {
        let number = number?;
        let found = catch_unwind(AssertUnwindSafe(|| audit_one(reader, number, now)));
        let why = match found {
            Ok(Err(Error::Corrupt { .. })) | Err(_) => Some(UNREADABLE),
            Ok(audited) => audited?,
        };
        if let Some(why) = why {
            violations.push(Violation {
                incident: number,
                why,
            });
        }
    }
    Ok(violations)
}

fn audit_one(
    reader: &Reader<'_>,
    number: u64,
    now: Timestamp,
) -> Result<Option<&'static str>, Error> {
    let Some(incident) = reader.incident(number)? else {
        return Ok(Some(UNREADABLE));
    };
    if let Some(why) = incident.unserved(now) {
        return Ok(Some(why));
    }
    if let Some(due) = incident.next_due()
        && !lists::is_due_at(reader, number, due)?
    {
        return Ok(Some("what is due is not in the due index"));
    }
    for live in incident.paging.unfinished() {
        if !lists::is_in_outbox(reader, number, live.issue.serial)? {
            return Ok(Some("a page that has not ended is not in the outbox"));
        }
    }
    Ok(None)
}

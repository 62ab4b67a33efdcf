//! The outbox follows the log: every entry that issues, drops or moves pages changes their records in the same transaction.

use crate::domain::incident::event::{Event, PageIssue};
use crate::domain::incident::{Entry, Incident};
use crate::domain::time::Timestamp;
use crate::store::error::Error;
use crate::store::records::{PageRecord, PageState};
use crate::store::tx::Tx;

/// Brings the outbox of an incident to what its new entries say. Pages are kept back only while nothing fires; where something did
/// before the entries, there are none to release.
pub(crate) fn follow(
    tx: &mut Tx<'_, '_>,
    incident: &Incident,
    entries: &[Entry],
    was_silent: bool,
) -> Result<(), Error> {
    let number = incident.number();
    let mut may_hold = was_silent;
    for entry in entries {
        match &entry.event {
            Event::StepRan { pages, .. }
            | Event::Exhausted { pages, .. }
            | Event::Paged { pages }
            | Event::Told { pages, .. } => issue(tx, number, pages, entry.at),
            Event::PagesDropped { serials, why } => drop_pages(tx, number, serials, why, false)?,
            Event::PagesMuted { serials, why } => drop_pages(tx, number, serials, why, true)?,
            Event::Hastened { serial } => hasten(tx, number, *serial, entry.at)?,
            Event::AlertJoined { .. } | Event::AlertFired { .. } if may_hold => {
                release_held(tx, incident)?;
                may_hold = false;
            }
            Event::ClockJumped { by_ms } => shift(tx, incident, *by_ms)?,
            _ => {}
        }
    }
    Ok(())
}

/// Writes pages down: from here on they are sent, whatever happens.
pub(crate) fn issue(tx: &mut Tx<'_, '_>, number: u64, pages: &[PageIssue], at: Timestamp) {
    for issue in pages {
        let page = PageRecord {
            issue: issue.clone(),
            written_at: at,
            state: PageState::Waiting,
            attempts: Vec::new(),
            claims: 0,
            claimed_by: None,
            next_at: Some(issue.due_at),
            first_attempt_at: None,
            held: false,
            dropped: None,
            muted: false,
        };
        tx.put_page(number, None, &page);
    }
}

/// One that is being sent ends when its attempt does: the provider may have it already.
fn drop_pages(
    tx: &mut Tx<'_, '_>,
    number: u64,
    serials: &[u32],
    why: &str,
    muted: bool,
) -> Result<(), Error> {
    for serial in serials {
        let Some(before) = tx.read().page(number, *serial)? else {
            continue;
        };
        let mut page = before.clone();
        page.dropped = Some(why.to_owned());
        page.muted = muted;
        if page.state == PageState::Waiting {
            page.state = page.unwanted();
            page.next_at = None;
        }
        tx.put_page(number, Some(&before), &page);
    }
    Ok(())
}

fn hasten(tx: &mut Tx<'_, '_>, number: u64, serial: u32, at: Timestamp) -> Result<(), Error> {
    let Some(before) = tx.read().page(number, serial)? else {
        return Ok(());
    };
    if before.state != PageState::Waiting {
        return Ok(());
    }
    let mut page = before.clone();
    page.issue.due_at = at;
    page.next_at = Some(at);
    tx.put_page(number, Some(&before), &page);
    Ok(())
}

/// Something fires again: what was kept back while nothing did may go out at its own time.
fn release_held(tx: &mut Tx<'_, '_>, incident: &Incident) -> Result<(), Error> {
    change_unfinished(
        tx,
        incident,
        |page| page.held,
        |page| {
            page.held = false;
            page.next_at = Some(page.issue.due_at);
        },
    )
}

/// The wall clock jumped; what waits is of elapsed time and moves with it.
fn shift(tx: &mut Tx<'_, '_>, incident: &Incident, by_ms: i64) -> Result<(), Error> {
    change_unfinished(tx, incident, |_page| true, |page| move_by(page, by_ms))
}

/// Moves everything a page waits for.
pub(crate) fn move_by(page: &mut PageRecord, by_ms: i64) {
    let shift = |at: &mut Timestamp| *at = at.shifted(by_ms);
    shift(&mut page.issue.due_at);
    page.next_at.iter_mut().for_each(shift);
    page.first_attempt_at.iter_mut().for_each(shift);
}

fn change_unfinished(
    tx: &mut Tx<'_, '_>,
    incident: &Incident,
    wanted: impl Fn(&PageRecord) -> bool,
    change: impl Fn(&mut PageRecord),
) -> Result<(), Error> {
    for live in incident.paging.unfinished() {
        let Some(before) = tx.read().page(incident.number(), live.issue.serial)? else {
            continue;
        };
        if before.state.has_ended() || !wanted(&before) {
            continue;
        }
        let mut page = before.clone();
        change(&mut page);
        tx.put_page(incident.number(), Some(&before), &page);
    }
    Ok(())
}

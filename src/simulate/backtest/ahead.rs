//! Reading ahead: what is stored is read and decoded on threads of their own, a bounded way before what judges it.

use crate::domain::alert::{Alert, Fingerprint};
use crate::domain::incident::{Entry, Event};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::lives::{Act, Live, Of, is_act};
use crate::simulate::backtest::sums::{Brief, Span, brief};
use crate::store::history::{self, Page, Place, Standing};
use crate::store::records::{Change, Transition};
use crate::store::{Error, Store};
use std::collections::BTreeMap;
use std::sync::mpsc::{IntoIter, Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

/// Pages of transitions that are read before they are asked for.
const PAGES_AHEAD: usize = 2;

/// The same of incidents.
const INCIDENTS_AHEAD: usize = 64;

/// A page of transitions, with the alerts that said something in it as they are remembered.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) some: Vec<(Timestamp, Transition)>,
    pub(super) known: BTreeMap<Fingerprint, Alert>,
}

/// An incident that happened, as its log has it up to the end of the span.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) number: u64,
    pub(super) opened_at: Timestamp,
    pub(super) brief: Option<Brief>,
    pub(super) live: Live,
    /// What was done with it in the span, with the place of each in its log.
    pub(super) acts: Vec<(Timestamp, u64, Act)>,
    /// What its log had before the span began, where it began before that.
    pub(super) before: Vec<Entry>,
}

/// The same of pages of alerts, of which few are wanted.
const LASTING_AHEAD: usize = 256;

/// What a thread reads, one after the other.
pub(super) struct Ahead<T>(IntoIter<Result<T, Error>>);

impl<T> std::fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ahead")
    }
}

impl<T> Ahead<T> {
    /// The next one; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<T>, Error> {
        self.0.next().transpose()
    }
}

/// The transitions of a span; `with_alerts` as well.
pub(super) fn transitions<'s>(
    scope: &'s Scope<'s, '_>,
    history: &'s Store,
    span: Span,
    with_alerts: bool,
) -> Result<Ahead<Told>, Error> {
    reads(scope, PAGES_AHEAD, move |to| {
        let mut place: Option<Place> = Some(history::transitions_from(span.since));
        while let Some(from) = place.take() {
            let read = page(history, &from, span, with_alerts);
            let read = read.map(|(told, next)| {
                place = next;
                told
            });
            let failed = read.is_err();
            if to.send(read).is_err() || failed {
                return;
            }
        }
    })
}

fn page(
    history: &Store,
    from: &Place,
    span: Span,
    with_alerts: bool,
) -> Result<(Told, Option<Place>), Error> {
    let page: Page<_> = history.read(|reader| history::transitions(reader, from, span.until))?;
    let (some, next) = page;
    let speaks = |of: &Transition| matches!(of.change, Change::Fired | Change::Changed);
    let speak = some.iter().filter(|(_, of)| with_alerts && speaks(of));
    let speak = speak.map(|(_, of)| of.fingerprint);
    let known = history.read(|reader| history::alerts(reader, speak))?;
    Ok((Told { some, known }, next))
}

/// Alerts without an incident that are not resolved and have come to that before an instant, of those between two places.
pub(super) fn lasting<'s>(
    scope: &'s Scope<'s, '_>,
    history: &'s Store,
    (first, last): (Place, Place),
    before: Timestamp,
) -> Result<Ahead<Vec<(Fingerprint, Standing)>>, Error> {
    reads(scope, LASTING_AHEAD, move |to| {
        let mut place = Some(first);
        while let Some(from) = place.take() {
            let read = history.read(|reader| history::lasting(reader, &from, &last, before));
            let read = read.map(|(some, next)| {
                place = next;
                some
            });
            let failed = read.is_err();
            if to.send(read).is_err() || failed {
                return;
            }
        }
    })
}

/// Incidents by their numbers, but for those that opened after the span, and for those that no alert opened.
pub(super) fn incidents<'s>(
    scope: &'s Scope<'s, '_>,
    history: &'s Store,
    span: Span,
    numbers: Vec<u64>,
) -> Result<Ahead<Happened>, Error> {
    reads(scope, INCIDENTS_AHEAD, move |to| {
        for number in numbers {
            let read = match happened(history, span, number) {
                Ok(Some(happened)) => Ok(happened),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if to.send(read).is_err() || failed {
                return;
            }
        }
    })
}

fn happened(history: &Store, span: Span, number: u64) -> Result<Option<Happened>, Error> {
    let mut entries = history.read(|reader| reader.entries(number, 1, u64::MAX))?;
    entries.retain(|entry| entry.at <= span.until);
    let Some(first) = entries.first() else {
        return Ok(None);
    };
    let opened_at = first.at;
    let of = match &first.event {
        Event::Opened(opened) => Of::by(opened),
        _other => None,
    };
    let Some(of) = of else {
        return Ok(None);
    };
    let in_span = entries.iter().filter(|entry| entry.at >= span.since);
    let acts = in_span.filter(|entry| is_act(entry)).map(|entry| {
        let (by, event) = (entry.by.clone(), entry.event.clone());
        (entry.at, entry.seq, Act { by, event })
    });
    Ok(Some(Happened {
        number,
        opened_at,
        brief: brief(&entries, span),
        acts: acts.collect(),
        live: Live::of(&entries, of),
        before: {
            entries.retain(|entry| entry.at < span.since);
            entries
        },
    }))
}

/// Nobody waits any more where the receiver is gone: the thread ends with its next record.
fn reads<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    ahead: usize,
    read: impl FnOnce(SyncSender<Result<T, Error>>) + Send + 's,
) -> Result<Ahead<T>, Error> {
    let (to, from): (_, Receiver<Result<T, Error>>) = sync_channel(ahead);
    let thread = thread::Builder::new().name("backtest-ahead".to_owned());
    thread
        .spawn_scoped(scope, move || read(to))
        .map_err(|source| Error::Io {
            what: "start a thread that reads ahead".to_owned(),
            source,
        })?;
    Ok(Ahead(from.into_iter()))
}

//! Watches: alerts that fire must be heard of again, else they are stale, or resolved where their sender said until when they fire.
//!
//! A watch is set when an alert begins, and looked at when it is due. What is heard meanwhile costs it nothing: the count of what
//! was heard says when that was, and a watch that finds that it was not long ago is set anew.

use crate::domain::alert::{Alert, Fingerprint, Scope, Status, Watch};
use crate::domain::incident::event::{Unsaid, WATCHKEEPER};
use crate::domain::incident::{Command, Resolution};
use crate::domain::severity::Profile;
use crate::domain::time::{Served, Timestamp, show_span};
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::intake::unharmed;
use crate::store::joining::{facts_of, opening_by_all, resolve};
use crate::store::read::Reader;
use crate::store::records::{Change, Seen};
use crate::store::served::first_due;
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

/// Alerts that one transaction looks at.
const LOOKED_AT_MAX: usize = 500;

/// How long an alert stays stale before it counts as resolved, where nothing says after how long it is stale.
const ASSUMED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// When the next watch is due, by the wall clock.
pub fn next_due(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    first_due(reader, &keys::all_watches())
}

/// Looks at the watches that are due, as many as one transaction takes.
pub fn look(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    unharmed(tx, in_force, now, |tx| look_once(tx, in_force, now))
}

fn look_once(tx: &mut Tx<'_, '_>, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    let served = tx.unserved()?.at(now);
    for (key, alerts) in due(&tx.read(), served)? {
        let due_at = keys::read_watch(&key);
        tx.remove(key);
        let asked = alerts
            .iter()
            .flat_map(|of| [keys::alert(*of), keys::seen(*of)]);
        tx.read().foresee(&asked.collect::<Vec<Key>>())?;
        for fingerprint in alerts {
            let Some(alert) = tx.read().alert(fingerprint)? else {
                continue;
            };
            // It may be watched otherwise by now, or not at all.
            if alert
                .watch
                .is_some_and(|watch| Some(watch.due_at) == due_at)
            {
                look_at(tx, fingerprint, &alert, served, in_force, now)?;
            }
        }
    }
    tx.settle(in_force, now)
}

/// The records that are due, until they hold as many alerts as one transaction looks at.
fn due(reader: &Reader<'_>, served: Served) -> Result<Vec<(Key, Vec<Fingerprint>)>, Error> {
    let mut found: Vec<(Key, Vec<Fingerprint>)> = Vec::new();
    let mut n_alerts = 0;
    reader.scan(
        &keys::all_watches(),
        &keys::after(&keys::watches_before(served)),
        Order::Forward,
        &mut |key, alerts: Vec<Fingerprint>| {
            n_alerts += alerts.len();
            found.push((Key::from_slice(key), alerts));
            Ok(match n_alerts < LOOKED_AT_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        },
    )?;
    Ok(found)
}

fn look_at(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    alert: &Alert,
    served: Served,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let seen = tx.read().seen(fingerprint)?;
    let seen = seen.unwrap_or_else(|| Seen::first_of(alert));
    let patience = patience(in_force, alert, now);
    match alert.status {
        Status::Resolved => Ok(()),
        Status::Stale => assume(tx, fingerprint, alert, in_force, now),
        Status::Firing | Status::Pending => {
            if let Some(at) = seen.lapses_at
                && at <= served
            {
                tx.keep_count(fingerprint, alert)?;
                let ended = tx.unserved()?.wall(at);
                let how = Resolution::Unsaid(Unsaid::Lapsed);
                return resolve(
                    tx,
                    fingerprint,
                    alert,
                    Some(ended),
                    how,
                    WATCHKEEPER,
                    in_force,
                    now,
                );
            }
            let is_silent = patience.is_some_and(|patience| seen.heard().plus(patience) <= served);
            // One that waits for its rule's `open` goes stale once it fires.
            let heard = match is_silent && alert.status == Status::Pending {
                true => served,
                false => seen.heard(),
            };
            if let (true, Status::Firing, Some(patience)) = (is_silent, alert.status, patience) {
                let why = format!("not heard of for {}", show_span(patience));
                return go_stale(tx, fingerprint, alert, &why, in_force, now);
            }
            let due_at = earliest(seen.lapses_at, patience, heard);
            let mut watched = alert.clone();
            tx.watch_until(fingerprint, &mut watched, due_at);
            tx.put_alert(fingerprint, Some(alert), &watched, None, now)
        }
    }
}

/// Nobody said that it is resolved: where nobody is led through its incident, it counts as that.
fn assume(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    alert: &Alert,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let is_walked = match alert.incident {
        Some(number) if tx.avoids(number) => true,
        Some(number) => tx
            .with(number, |incident| {
                incident.is_open() && incident.profile == Profile::Full
            })?
            .unwrap_or(false),
        None => false,
    };
    if is_walked {
        return Ok(());
    }
    let how = Resolution::Unsaid(Unsaid::Assumed);
    resolve(
        tx,
        fingerprint,
        alert,
        None,
        how,
        WATCHKEEPER,
        in_force,
        now,
    )
}

/// A firing alert of which nobody knows whether it still fires.
pub(crate) fn go_stale(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    before: &Alert,
    why: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    tx.keep_count(fingerprint, before)?;
    let patience = patience(in_force, before, now).unwrap_or(ASSUMED_AFTER);
    let due_at = tx.unserved()?.at(now).plus(patience).rounded_up();
    let mut alert = before.clone();
    alert.status = Status::Stale;
    alert.changed_at = now;
    alert.watch = Some(Watch {
        due_at,
        heard_at: None,
        lapses_at: None,
    });
    tx.add_watch(fingerprint, due_at);
    tx.put_alert(fingerprint, Some(before), &alert, Some(Change::Stale), now)?;
    let Some(number) = alert.incident else {
        return Ok(());
    };
    if tx.is_open(number)? {
        let command = Command::AlertGoesStale {
            fingerprint,
            name: alert.name().to_owned(),
            why: why.to_owned(),
        };
        let _refused = tx.command(number, &command, WATCHKEEPER, in_force, now)?;
    }
    Ok(())
}

/// How long an alert may fire without being heard of: as its rule has it, else its source, else its kind.
fn patience(in_force: &InForce, alert: &Alert, now: Timestamp) -> Option<Duration> {
    let rules = &in_force.rules;
    let own = alert
        .rule
        .as_deref()
        .and_then(|rule| rules.opening_of(rule)?.stale_after());
    let by_rule = own.or_else(|| opening_by_all(rules, facts_of(alert), now)?.stale_after());
    by_rule.or_else(|| in_force.book.stale_after(&alert.source, &alert.kind))
}

/// What comes first: what its sender said, or that it was not heard of for too long.
fn earliest(
    lapses_at: Option<Served>,
    patience: Option<Duration>,
    heard: Served,
) -> Option<Served> {
    let silent_at = patience.map(|patience| heard.plus(patience));
    [lapses_at, silent_at].into_iter().flatten().min()
}

impl Tx<'_, '_> {
    /// An alert begins to fire, and is watched from now on.
    pub(crate) fn begin_watch(
        &mut self,
        fingerprint: Fingerprint,
        alert: &mut Alert,
        by_rule: Option<Duration>,
        until: Option<Timestamp>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        let unserved = self.unserved()?;
        let (heard, lapses_at) = (unserved.at(now), until.map(|until| unserved.at(until)));
        let patience = by_rule.or_else(|| in_force.book.stale_after(&alert.source, &alert.kind));
        self.watch_until(fingerprint, alert, earliest(lapses_at, patience, heard));
        if let Some(watch) = &mut alert.watch {
            watch.heard_at = (heard != Served::of_instant(now)).then_some(heard);
            watch.lapses_at = lapses_at;
        }
        Ok(())
    }

    /// A firing alert was heard again. Its watch finds that out by itself, unless it comes too late or there is none.
    pub(crate) fn keep_watch(
        &mut self,
        fingerprint: Fingerprint,
        alert: &mut Alert,
        until: Option<Timestamp>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        if until.is_none() && alert.watch.is_some() {
            return Ok(());
        }
        let unserved = self.unserved()?;
        let patience = match alert.watch {
            Some(_) => None,
            None => patience(in_force, alert, now),
        };
        let lapses_at = until.map(|until| unserved.at(until));
        let due_at = earliest(lapses_at, patience, unserved.at(now)).map(Served::rounded_up);
        let is_in_time = match (alert.watch, due_at) {
            (Some(watch), Some(due_at)) => watch.due_at <= due_at,
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if !is_in_time {
            self.watch_until(fingerprint, alert, due_at);
        }
        Ok(())
    }

    /// Sets when an alert is looked at next.
    fn watch_until(&mut self, fingerprint: Fingerprint, alert: &mut Alert, due_at: Option<Served>) {
        let Some(due_at) = due_at.map(Served::rounded_up) else {
            alert.watch = None;
            return;
        };
        let before = alert.watch.take();
        alert.watch = Some(Watch {
            due_at,
            heard_at: before.and_then(|watch| watch.heard_at),
            lapses_at: before.and_then(|watch| watch.lapses_at),
        });
        self.add_watch(fingerprint, due_at);
    }

    /// An alert that reports of a scope tell of fires.
    pub(crate) fn add_to_scope(
        &mut self,
        scope: &Scope,
        fingerprint: Fingerprint,
    ) -> Result<(), Error> {
        let key = keys::scope(&scope.source, &scope.scope, fingerprint);
        if self.get::<Scope>(&key)?.is_none() {
            self.put(key, scope);
        }
        Ok(())
    }

    /// A report was complete for its scope: what fires of it and was not in the report is stale.
    pub(crate) fn end_scope(
        &mut self,
        scope: &Scope,
        reported: &BTreeSet<Fingerprint>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        let all = keys::scope_of(&scope.source, &scope.scope);
        let mut absent: Vec<Key> = Vec::new();
        self.read()
            .scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
                let fingerprint = keys::last_number(key).map(Fingerprint);
                if fingerprint.is_some_and(|of| !reported.contains(&of)) {
                    absent.push(Key::from_slice(key));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        for key in absent {
            let Some(fingerprint) = keys::last_number(&key).map(Fingerprint) else {
                continue;
            };
            match self.read().alert(fingerprint)? {
                Some(alert) if alert.status == Status::Firing => {
                    let why = format!(
                        "the last complete report of \"{}\" by {} says nothing of it",
                        scope.scope, scope.source
                    );
                    go_stale(self, fingerprint, &alert, &why, in_force, now)?;
                }
                Some(alert) if alert.status != Status::Resolved => {}
                // It is entered again when it fires again.
                Some(_) | None => self.remove(key),
            }
        }
        Ok(())
    }
}

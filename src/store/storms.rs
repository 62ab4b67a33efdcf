//! Storms: how many new incidents each team had of late, and the one incident that further keys join while these are too many.
//!
//! A storm that is over hands on what still fires, a bounded step at a time: each alert moves to the incident of its own key.

use crate::domain::alert::{Alert, Fingerprint, Routed, Status};
use crate::domain::incident::event::{Opened, Origin, WATCHKEEPER};
use crate::domain::incident::{Command, Member, Members, Resolution, StormCap, service_of};
use crate::domain::severity::{Severity, SeverityInputs};
use crate::domain::time::{Timestamp, show_span};
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::intake::unharmed;
use crate::store::joining::{Target, facts_of, join_own, opening_by_all, policy_of};
use crate::store::muting::muting;
use crate::store::pending::mature_key;
use crate::store::read::Reader;
use crate::store::records::Change;
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

/// Alerts that one transaction moves out of a storm.
const MOVED_MAX: usize = 100;

/// Storms that one transaction ends.
const ENDED_MAX: usize = 20;

/// Members of a storm that are looked at together to find those that still fire.
const LOOKED_AT_TOGETHER: usize = 1_000;

/// A storm whose incident cannot be asked now is asked again after this.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// New incidents of one team of late, and keys that joined its storm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Openings {
    /// The last ones, as many as the cap has.
    pub recent: VecDeque<Timestamp>,
    /// The incident of its storm, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<u64>,
    /// As it stands in the index: when the rate will have fallen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl Openings {
    /// Another one. Whether it is past the cap.
    fn add(&mut self, cap: StormCap, now: Timestamp) -> bool {
        let most = usize::try_from(cap.incidents).unwrap_or(usize::MAX);
        let excess = self.recent.len().saturating_sub(most);
        self.recent.drain(..excess);
        // The oldest of as many as the cap has: is it young, all of them are.
        let is_past = self.recent.len() >= most
            && self
                .recent
                .front()
                .is_some_and(|at| now.since(*at) < cap.within());
        if self.recent.len() >= most {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        is_past
    }

    /// When fewer than the cap will have come within its span, if none comes.
    fn falls_at(&self, cap: StormCap) -> Option<Timestamp> {
        self.recent.front().map(|at| at.plus(cap.within()))
    }
}

/// When a storm is to be ended, or to hand on more.
pub fn next_due(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    let mut first = None;
    for all in [keys::all_storm_ends(), keys::all_storms_handing()] {
        reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
            let at = keys::instant_at(key, 2);
            first = [first, at].into_iter().flatten().min();
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(first)
}

/// How many storms are on.
pub fn n_on(reader: &Reader<'_>) -> Result<usize, Error> {
    let all = keys::all_storm_ends();
    let mut n = 0;
    reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |_key| {
        n += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(n)
}

/// The record that opening an incident of a team asks for, where storms are handled.
pub(crate) fn foreseen(team: Option<&str>, in_force: &InForce) -> Option<Key> {
    in_force.book.storm.map(|_cap| keys::openings(team))
}

/// Counts that a key of a team is about to open or reopen an incident. Returns the storm that it joins instead, if that is one
/// too many; with whether it is new.
pub(crate) fn turn_aside(
    tx: &mut Tx<'_, '_>,
    team: Option<&str>,
    severity: Severity,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Option<(u64, bool)>, Error> {
    let Some(cap) = in_force.book.storm else {
        return Ok(None);
    };
    let key = keys::openings(team);
    let before: Openings = tx.get(&key)?.unwrap_or_default();
    let mut openings = before.clone();
    let is_past = openings.add(cap, now);
    let mut joined = None;
    if is_past {
        let known = match before.storm {
            Some(number) if tx.takes_alerts(number)? => Some(number),
            Some(_) | None => None,
        };
        let (number, is_new) = match known {
            Some(number) => (number, false),
            None => {
                let start = opened_by(team, severity, cap, in_force);
                (tx.open(start, WATCHKEEPER, now)?, true)
            }
        };
        openings.storm = Some(number);
        joined = Some((number, is_new));
    }
    put(tx, team, &before, openings, cap);
    Ok(joined)
}

/// Takes over from another store when a team had incidents of late, in order, and the storm that is on, with its cap. One of which
/// nothing says when the rate falls ends now.
pub(crate) fn take_over(
    tx: &mut Tx<'_, '_>,
    team: Option<&str>,
    recent: &[Timestamp],
    storm: Option<(u64, StormCap)>,
    in_force: &InForce,
    now: Timestamp,
) {
    let Some(cap) = in_force.book.storm.or(storm.map(|(_, cap)| cap)) else {
        return;
    };
    let most = usize::try_from(cap.incidents).unwrap_or(usize::MAX);
    let earlier = recent.len().saturating_sub(most);
    let mut is = Openings {
        recent: recent.iter().skip(earlier).copied().collect(),
        storm: storm.map(|(number, _)| number),
        ends_at: None,
    };
    if is.storm.is_some() {
        let ends_at = is.falls_at(cap).unwrap_or(now).max(now);
        tx.put(keys::storm_ends(ends_at, team), &());
        is.ends_at = Some(ends_at);
    }
    tx.put(keys::openings(team), &is);
}

fn put(
    tx: &mut Tx<'_, '_>,
    team: Option<&str>,
    before: &Openings,
    mut is: Openings,
    cap: StormCap,
) {
    is.ends_at = is.storm.and_then(|_number| is.falls_at(cap));
    if before.ends_at != is.ends_at {
        if let Some(at) = before.ends_at {
            tx.remove(keys::storm_ends(at, team));
        }
        if let Some(at) = is.ends_at {
            tx.put(keys::storm_ends(at, team), &());
            tx.wake_engine();
        }
    }
    tx.put(keys::openings(team), &is);
}

fn opened_by(team: Option<&str>, severity: Severity, cap: StormCap, in_force: &InForce) -> Opened {
    let book = &in_force.book;
    let process = book.processes.of(severity);
    let of = match team {
        Some(team) => format!("team {team}"),
        None => "no team".to_owned(),
    };
    let within = show_span(cap.within());
    Opened {
        number: 0,
        origin: Origin::Alert,
        title: match team {
            Some(team) => format!("Storm: {team}"),
            None => "Storm".to_owned(),
        },
        description: format!(
            "More than {} incidents of {of} within {within}. Until the rate has fallen, further keys join this one; the first alert of each service pages.",
            cap.incidents
        ),
        severity,
        inputs: SeverityInputs::default(),
        urgency: process.urgency,
        profile: process.outputs,
        leadership: process.leadership.clone(),
        dedup_key: None,
        rule: None,
        revision: in_force.rules.revision.clone(),
        team: team.map(str::to_owned),
        runbook: None,
        policy: policy_of(book, None, team),
        resolve_after_ms: 0,
        reopen_within_ms: 0,
        verification: None,
        flapping: None,
        storm: Some(cap),
        recurrence_of: None,
    }
}

/// A firing alert joins the storm of its team, under a key that may be new to it.
pub(crate) fn join(
    tx: &mut Tx<'_, '_>,
    number: u64,
    alert: (Fingerprint, &Alert),
    severity: Severity,
    key: Option<&str>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let (fingerprint, alert) = alert;
    let is_muted = muting(&tx.read(), &in_force.rules, fingerprint, alert, now)?.is_muted();
    let fires = Command::AlertFires {
        fingerprint,
        name: alert.name().to_owned(),
        severity,
    };
    let _refused = tx.command(number, &fires, WATCHKEEPER, in_force, now)?;
    let grows = Command::StormGrows {
        key: key.map(str::to_owned),
        service: service_of(&alert.labels).to_owned(),
        is_muted,
    };
    let _refused = tx.command(number, &grows, WATCHKEEPER, in_force, now)?;
    match is_muted {
        true => Ok(()),
        // A page for each service, also where one report brings them all.
        false => tx.settle_one(number, in_force, now),
    }
}

/// Ends storms whose rate has fallen, and moves some of what still fires in those that are over.
pub fn step(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    unharmed(tx, in_force, now, |tx| {
        for team in due(&tx.read(), now)? {
            end(tx, team.as_deref(), in_force, now)?;
        }
        hand_on(tx, in_force, now)?;
        tx.settle(in_force, now)
    })
}

fn due(reader: &Reader<'_>, now: Timestamp) -> Result<Vec<Option<String>>, Error> {
    let mut teams = Vec::new();
    let (from, to) = (
        keys::all_storm_ends(),
        keys::storm_ends(now.shifted(1), None),
    );
    reader.scan_keys(&from, &to, Order::Forward, &mut |key| {
        teams.extend(keys::read_storm_team(key, 10));
        Ok(match teams.len() < ENDED_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(teams)
}

fn end(
    tx: &mut Tx<'_, '_>,
    team: Option<&str>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let before: Openings = tx.get(&keys::openings(team))?.unwrap_or_default();
    if let Some(at) = before.ends_at {
        tx.remove(keys::storm_ends(at, team));
    }
    let Some(number) = before.storm else {
        return Ok(());
    };
    let _refused = tx.command(number, &Command::EndStorm, WATCHKEEPER, in_force, now)?;
    let is = Openings {
        storm: None,
        ends_at: None,
        ..before
    };
    tx.put(keys::openings(team), &is);
    tx.put(keys::storm_hands(now, number), &());
    Ok(())
}

fn hand_on(tx: &mut Tx<'_, '_>, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    let (from, to) = (
        keys::all_storms_handing(),
        keys::storm_hands(now.shifted(1), 0),
    );
    let mut first = None;
    tx.read()
        .scan_keys(&from, &to, Order::Forward, &mut |key| {
            first = keys::last_number(key).zip(keys::instant_at(key, 2));
            Ok(ControlFlow::Break(()))
        })?;
    let Some((number, at)) = first else {
        return Ok(());
    };
    let still = tx.with(number, |incident| match incident.is_open() {
        true => firing(&incident.members),
        false => Vec::new(),
    })?;
    match still {
        // It is stuck: its alerts are not lost, and are moved when it can be asked again.
        None => {
            tx.remove(keys::storm_hands(at, number));
            tx.put(keys::storm_hands(now.plus(ASKED_AGAIN_AFTER), number), &());
        }
        Some(still) => {
            for fingerprint in &still {
                move_on(tx, number, *fingerprint, in_force, now)?;
            }
            if still.len() < MOVED_MAX {
                tx.remove(keys::storm_hands(at, number));
            }
        }
    }
    Ok(())
}

/// The first alerts of a storm that keep it from being clear.
fn firing(members: &Members) -> Vec<Fingerprint> {
    let (mut found, mut after) = (Vec::new(), None);
    if members.counts().firing + members.counts().stale == 0 {
        return found;
    }
    loop {
        let some = members.after(after, LOOKED_AT_TOGETHER);
        let some: Vec<(Fingerprint, Member)> = some.collect();
        let Some((last, _)) = some.last().copied() else {
            return found;
        };
        after = Some(last);
        for (fingerprint, member) in some {
            if matches!(member, Member::Firing | Member::Stale) {
                found.push(fingerprint);
            }
            if found.len() >= MOVED_MAX {
                return found;
            }
        }
    }
}

/// An alert that still fires moves to the incident of its own key.
fn move_on(
    tx: &mut Tx<'_, '_>,
    storm: u64,
    fingerprint: Fingerprint,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let resolves = |how: Resolution| Command::AlertResolves { fingerprint, how };
    let known = tx.read().alert(fingerprint)?;
    let Some(before) = known.filter(|alert| alert.incident == Some(storm) && alert.is_live())
    else {
        let gone = resolves(Resolution::Said);
        let _refused = tx.command(storm, &gone, WATCHKEEPER, in_force, now)?;
        return Ok(());
    };
    let rules = &in_force.rules;
    let own = before
        .rule
        .as_deref()
        .and_then(|rule| rules.opening_of(rule));
    let opening = own.or_else(|| opening_by_all(rules, facts_of(&before), now));
    let mut alert = before.clone();
    alert.changed_at = now;
    let Some(opening) = opening else {
        // Edited away meanwhile: kept, as any alert that no rule opens.
        alert.incident = None;
        alert.routed = Routed::Unrouted;
        let _refused = tx.command(
            storm,
            &resolves(Resolution::Said),
            WATCHKEEPER,
            in_force,
            now,
        )?;
        let change = Some(Change::Changed);
        return tx.put_alert(fingerprint, Some(&before), &alert, change, now);
    };
    let key = opening.dedup_key(facts_of(&before), fingerprint).key;
    let target = tx.target(&key, now)?;
    let handing = tx.with(storm, |incident| incident.handing())?;
    let joined = join_own(
        tx,
        &alert,
        fingerprint,
        &opening,
        key.clone(),
        target,
        in_force,
        now,
    )?;
    if let (Target::New { .. } | Target::Closed(_), Some(handing)) = (target, handing) {
        let takes = Command::TakeOverFrom(Box::new(handing));
        let _refused = tx.command(joined.number, &takes, WATCHKEEPER, in_force, now)?;
    }
    let received = tx.keep_count(fingerprint, &before)?;
    tx.count_for(joined.number, received, now);
    alert.incident = Some(joined.number);
    let change = Some(Change::Changed);
    tx.put_alert(fingerprint, Some(&before), &alert, change, now)?;
    if alert.status == Status::Stale {
        let stale = Command::AlertGoesStale {
            fingerprint,
            name: alert.name().to_owned(),
            why: format!("not heard of for long, in the storm of incident {storm}"),
        };
        let _refused = tx.command(joined.number, &stale, WATCHKEEPER, in_force, now)?;
    }
    let moved = resolves(Resolution::Moved(joined.number));
    let _refused = tx.command(storm, &moved, WATCHKEEPER, in_force, now)?;
    mature_key(tx, &key, in_force, now).map(drop)
}

/// The wall clock jumped: spans are of elapsed time and move with it.
pub fn shift(tx: &mut Tx<'_, '_>, by_ms: i64) -> Result<(), Failure<Infallible>> {
    let all = keys::all_openings();
    let mut known: Vec<(Option<String>, Openings)> = Vec::new();
    tx.read().scan(
        &all,
        &keys::after(&all),
        Order::Forward,
        &mut |key, openings: Openings| {
            if let Some(team) = keys::read_storm_team(key, 2) {
                known.push((team, openings));
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    for (team, before) in known {
        let mut is = before.clone();
        is.recent.iter_mut().for_each(|at| *at = at.shifted(by_ms));
        is.ends_at = before.ends_at.map(|at| at.shifted(by_ms));
        if let Some(at) = before.ends_at {
            tx.remove(keys::storm_ends(at, team.as_deref()));
        }
        if let Some(at) = is.ends_at {
            tx.put(keys::storm_ends(at, team.as_deref()), &());
            tx.wake_engine();
        }
        tx.put(keys::openings(team.as_deref()), &is);
    }
    let all = keys::all_storms_handing();
    let mut handing: Vec<(u64, Timestamp)> = Vec::new();
    tx.read()
        .scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
            handing.extend(keys::last_number(key).zip(keys::instant_at(key, 2)));
            Ok(ControlFlow::Continue(()))
        })?;
    for (number, at) in handing {
        tx.remove(keys::storm_hands(at, number));
        tx.put(keys::storm_hands(at.shifted(by_ms), number), &());
    }
    Ok(())
}

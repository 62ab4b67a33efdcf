//! Heartbeats as they stand: when each was heard of, which runs are under way, and by when it must be heard of again.

use crate::domain::alert::{Labels, Said, Sighting, Signal};
use crate::domain::heartbeat::{Heartbeat, KIND, Ping, State};
use crate::domain::incident::Resolution;
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::time::{Served, Timestamp, millis, show_span};
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::intake::unharmed;
use crate::store::joining::resolve;
use crate::store::read::Reader;
use crate::store::report::{Recorded, Report, record_once};
use crate::store::served::first_due;
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ops::ControlFlow;

/// Runs of one heartbeat that are under way; of more, those that began first are forgotten.
const RUNS_MAX: usize = 20;

/// Heartbeats that one transaction looks at.
const LOOKED_AT_MAX: usize = 200;

/// What is known of a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beats {
    /// How it was configured when this began.
    pub shape: String,
    /// The labels of its alert.
    pub alert: Labels,
    pub state: State,
    #[serde(default)]
    pub last_ping_at: Option<Timestamp>,
    #[serde(default)]
    pub last_success_at: Option<Timestamp>,
    /// When the next ping is wanted; without the grace.
    #[serde(default)]
    pub wanted_at: Option<Timestamp>,
    #[serde(default)]
    pub received: u64,
    #[serde(default)]
    pub runs: Vec<Run>,
    #[serde(default)]
    pub last_run_ms: Option<u64>,
    /// When it is missing; none once it is.
    #[serde(default)]
    misses_at: Option<Served>,
    /// When it is looked at next, as it stands in the index.
    #[serde(default)]
    due_at: Option<Served>,
}

/// A run that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// As its pings name it.
    #[serde(default)]
    pub id: Option<String>,
    pub started_at: Timestamp,
    /// When it takes too long; none once it has, or where it may take any time.
    #[serde(default)]
    overruns_at: Option<Served>,
}

/// A ping, with what came along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub ping: Ping,
    /// Which run it is of.
    pub run: Option<String>,
    /// What the job said.
    pub output: Option<String>,
}

impl Heard {
    pub fn of(ping: Ping) -> Self {
        Self {
            ping,
            run: None,
            output: None,
        }
    }
}

/// One heartbeat of the configuration, as it stands; none that was never armed.
pub fn of(reader: &Reader<'_>, name: &str) -> Result<Option<Beats>, Error> {
    reader.get(&keys::heartbeat(name))
}

/// When the next one must be heard of, by the wall clock.
pub fn next_due(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    first_due(reader, &keys::all_heartbeats_due())
}

/// Waits from now on for those that are new or were changed, and no longer for those that are gone.
pub fn arm(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    unharmed(tx, in_force, now, |tx| {
        let heartbeats = &in_force.book.heartbeats;
        for (name, heartbeat) in heartbeats {
            armed(tx, name, heartbeat, in_force, now)?;
        }
        for name in all_names(&tx.read())? {
            if !heartbeats.contains_key(&name) {
                forget(tx, &name, in_force, now)?;
            }
        }
        tx.settle(in_force, now)
    })
}

/// A ping came. Once this is durable, it counts.
pub fn ping(
    tx: &mut Tx<'_, '_>,
    name: &str,
    heard: &Heard,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    let Some(heartbeat) = in_force.book.heartbeats.get(name) else {
        return Ok(());
    };
    unharmed(tx, in_force, now, |tx| {
        beat(tx, name, heartbeat, heard, in_force, now).map(drop)
    })
}

/// Looks at those that should have been heard of by now.
pub fn look(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    unharmed(tx, in_force, now, |tx| {
        for name in due(tx, now)? {
            look_at(tx, &name, in_force, now)?;
        }
        tx.settle(in_force, now)
    })
}

/// The same within a transaction that records something else.
pub(crate) fn beat(
    tx: &mut Tx<'_, '_>,
    name: &str,
    heartbeat: &Heartbeat,
    heard: &Heard,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Recorded, Error> {
    let before = armed(tx, name, heartbeat, in_force, now)?;
    let mut beats = before.clone();
    beats.received = beats.received.saturating_add(1);
    beats.last_ping_at = Some(now);
    let failed = match heard.ping {
        Ping::Log => {
            put(tx, name, &before, beats);
            return Ok(Recorded::default());
        }
        Ping::Start => {
            start(tx, &mut beats, heartbeat, heard, now)?;
            None
        }
        Ping::Success | Ping::Exit(0) => {
            beats.end(heard.run.as_deref(), now);
            beats.last_success_at = Some(now);
            beats.state = State::Up;
            None
        }
        Ping::Fail => {
            beats.end(heard.run.as_deref(), now);
            beats.state = State::Failed;
            Some("it says that it failed".to_owned())
        }
        Ping::Exit(status) => {
            beats.end(heard.run.as_deref(), now);
            beats.state = State::Failed;
            Some(format!("exit status {status}"))
        }
    };
    let wanted_at = heartbeat.wanted_after(now);
    beats.wanted_at = Some(wanted_at);
    beats.misses_at = Some(tx.unserved()?.at(wanted_at.plus(heartbeat.grace)));
    let state = beats.state;
    let alert = beats.alert.clone();
    put(tx, name, &before, beats);
    let said = match (heard.ping, failed) {
        (_, Some(why)) => {
            let title = format!("heartbeat {name} failed");
            fires(&alert, &title, &why, state, heard.output.as_deref(), now)
        }
        (Ping::Success | Ping::Exit(_), None) => Sighting {
            labels: alert,
            annotations: Labels::default(),
            attributes: Labels::default(),
            severity: None,
            starts_at: None,
            ends_at: Some(now),
            said: Said::Signal(Signal::Resolved),
        },
        (Ping::Start | Ping::Fail | Ping::Log, None) => return Ok(Recorded::default()),
    };
    tell(tx, name, said, in_force, now)
}

fn start(
    tx: &mut Tx<'_, '_>,
    beats: &mut Beats,
    heartbeat: &Heartbeat,
    heard: &Heard,
    now: Timestamp,
) -> Result<(), Error> {
    let unserved = tx.unserved()?;
    beats.runs.retain(|run| run.id != heard.run);
    beats.runs.push(Run {
        id: heard.run.clone(),
        started_at: now,
        overruns_at: heartbeat.max_run.map(|span| unserved.at(now).plus(span)),
    });
    let excess = beats.runs.len().saturating_sub(RUNS_MAX);
    beats.runs.drain(..excess);
    if beats.state == State::New {
        beats.state = State::Up;
    }
    Ok(())
}

impl Beats {
    /// A run ends: the one that is named, else those without a name.
    fn end(&mut self, id: Option<&str>, now: Timestamp) {
        let is_it = |run: &Run| run.id.as_deref() == id;
        if let Some(run) = self.runs.iter().rev().find(|run| is_it(run)) {
            let took = millis(now.since(run.started_at));
            self.last_run_ms = u64::try_from(took).ok();
        }
        self.runs.retain(|run| !is_it(run));
    }
}

fn look_at(
    tx: &mut Tx<'_, '_>,
    name: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(before) = of(&tx.read(), name)? else {
        return Ok(());
    };
    let Some(heartbeat) = in_force.book.heartbeats.get(name) else {
        return forget(tx, name, in_force, now);
    };
    let served = tx.unserved()?.at(now);
    let is_over = |at: Option<Served>| at.is_some_and(|at| at <= served);
    let mut beats = before.clone();
    let mut said = None;
    for run in beats.runs.iter_mut().filter(|run| is_over(run.overruns_at)) {
        run.overruns_at = None;
        beats.state = State::Overrun;
        let most = heartbeat.max_run.unwrap_or_default();
        let why = format!(
            "a run that began at {} has not ended, {} is the most it may take",
            run.started_at,
            show_span(most)
        );
        let title = format!("a run of heartbeat {name} does not end");
        said = Some(fires(
            &before.alert,
            &title,
            &why,
            State::Overrun,
            None,
            now,
        ));
    }
    if is_over(beats.misses_at) {
        beats.misses_at = None;
        beats.state = State::Missing;
        let last = match beats.last_ping_at {
            Some(last) => format!("the last ping came at {last}"),
            None => "no ping has come yet".to_owned(),
        };
        let why = format!(
            "{last}; one is wanted {}, with {} of grace",
            heartbeat.wanted,
            show_span(heartbeat.grace)
        );
        let title = format!("heartbeat {name} is missing");
        let since = beats.wanted_at.unwrap_or(now);
        said = Some(fires(
            &before.alert,
            &title,
            &why,
            State::Missing,
            None,
            since,
        ));
    }
    put(tx, name, &before, beats);
    match said {
        Some(said) => tell(tx, name, said, in_force, now).map(drop),
        None => Ok(()),
    }
}

/// Its alert fires; under one identity whatever the reason is.
fn fires(
    alert: &Labels,
    title: &str,
    why: &str,
    state: State,
    output: Option<&str>,
    since: Timestamp,
) -> Sighting {
    let annotations = [
        ("summary", title),
        ("description", why),
        ("output", output.unwrap_or_default()),
    ];
    let attributes = [("title", title), ("reason", state.as_str())];
    Sighting {
        labels: alert.clone(),
        annotations: annotations.into_iter().collect(),
        attributes: attributes.into_iter().collect(),
        severity: None,
        starts_at: Some(since),
        ends_at: None,
        said: Said::Signal(Signal::Firing),
    }
}

fn tell(
    tx: &mut Tx<'_, '_>,
    name: &str,
    said: Sighting,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Recorded, Error> {
    let report = Report {
        source: name.to_owned(),
        kind: KIND,
        sightings: vec![said],
        acknowledged: Vec::new(),
        changes: Vec::new(),
        rejected: Vec::new(),
        scope: None,
    };
    record_once(tx, &report, in_force, now)
}

/// What is known of a heartbeat; waited for from now on, where it is new or was changed.
fn armed(
    tx: &mut Tx<'_, '_>,
    name: &str,
    heartbeat: &Heartbeat,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Beats, Error> {
    let known = of(&tx.read(), name)?;
    let shape = format!(
        "{}, grace {}, run {}",
        heartbeat.wanted,
        show_span(heartbeat.grace),
        show_span(heartbeat.max_run.unwrap_or_default())
    );
    let alert = heartbeat.alert(name);
    if let Some(known) = &known {
        if known.alert != alert {
            let why = "the labels of the heartbeat were changed";
            resolve_alert(tx, &known.alert, why, in_force, now)?;
        }
        if known.shape == shape && known.alert == alert {
            return Ok(known.clone());
        }
    }
    let before = known.unwrap_or_default();
    let wanted_at = heartbeat.wanted_after(now);
    let misses_at = tx.unserved()?.at(wanted_at.plus(heartbeat.grace));
    let beats = Beats {
        shape,
        alert,
        wanted_at: Some(wanted_at),
        // One that is missing is waited for, and fires already.
        misses_at: (before.state != State::Missing).then_some(misses_at),
        ..before.clone()
    };
    put(tx, name, &before, beats);
    Ok(of(&tx.read(), name)?.unwrap_or_default())
}

/// It is no longer configured.
fn forget(
    tx: &mut Tx<'_, '_>,
    name: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(beats) = of(&tx.read(), name)? else {
        return Ok(());
    };
    if let Some(due_at) = beats.due_at {
        tx.remove(keys::heartbeat_due(due_at, name));
    }
    tx.remove(keys::heartbeat(name));
    let why = "the heartbeat is no longer configured";
    resolve_alert(tx, &beats.alert, why, in_force, now)
}

fn resolve_alert(
    tx: &mut Tx<'_, '_>,
    labels: &Labels,
    why: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let fingerprint = labels.fingerprint();
    let Some(alert) = tx.read().alert(fingerprint)? else {
        return Ok(());
    };
    if alert.kind != KIND || alert.status == crate::domain::alert::Status::Resolved {
        return Ok(());
    }
    let how = Resolution::ByHand(why.to_owned());
    resolve(
        tx,
        fingerprint,
        &alert,
        None,
        how,
        WATCHKEEPER,
        in_force,
        now,
    )
}

/// Writes what is known of it, and when it is looked at next.
fn put(tx: &mut Tx<'_, '_>, name: &str, before: &Beats, mut beats: Beats) {
    let overruns = beats.runs.iter().filter_map(|run| run.overruns_at);
    beats.due_at = overruns.chain(beats.misses_at).min();
    if beats.due_at != before.due_at {
        if let Some(due_at) = before.due_at {
            tx.remove(keys::heartbeat_due(due_at, name));
        }
        if let Some(due_at) = beats.due_at {
            tx.put(keys::heartbeat_due(due_at, name), &());
        }
    }
    tx.put(keys::heartbeat(name), &beats);
}

fn due(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<Vec<String>, Error> {
    let served = tx.unserved()?.at(now);
    let to = keys::heartbeat_due(served, "");
    let mut found = Vec::new();
    tx.read().scan_keys(
        &keys::all_heartbeats_due(),
        &keys::after(&to),
        Order::Forward,
        &mut |key| {
            let name = key.get(9..).and_then(|name| std::str::from_utf8(name).ok());
            found.extend(name.map(str::to_owned));
            Ok(match found.len() < LOOKED_AT_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        },
    )?;
    Ok(found)
}

fn all_names(reader: &Reader<'_>) -> Result<Vec<String>, Error> {
    let all = keys::all_heartbeats();
    let mut found = Vec::new();
    reader.scan_keys(
        &all,
        &keys::after(&all),
        Order::Forward,
        &mut |key: &[u8]| {
            let name = Key::from_slice(key);
            let name = name
                .get(1..)
                .and_then(|name| std::str::from_utf8(name).ok());
            found.extend(name.map(str::to_owned));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(found)
}

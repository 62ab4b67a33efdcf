//! Silences as they are kept: made, changed, ended, listed. What they mute is looked at by the engine.

use crate::domain::alert::Labels;
use crate::domain::incident::event::MutedBy;
use crate::domain::matcher::Matcher;
use crate::domain::silence::{Silence, State, Unfit};
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::lists::{LOOKED_AT_MAX, LOOKED_AT_TOGETHER, foreseeing, open_incidents};
use crate::store::muting::begin_lap;
use crate::store::read::Reader;
use crate::store::tx::{Counter, Tx};
use crate::store::{Failure, keys};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

/// Silences that have not ended; each is looked at for each alert.
pub const SILENCES_MAX: usize = 2_000;

/// A silence as somebody wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The one that is to become this.
    pub id: Option<String>,
    /// The id that a new one takes.
    pub new_id: String,
    pub matchers: Vec<Matcher>,
    /// At once, where it is past.
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: String,
    pub comment: String,
    pub token: Option<String>,
    pub annotations: Labels,
}

/// Why a silence is not made, or not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unset {
    #[error("there is no silence {0}")]
    NoSuchSilence(String),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(
        "there are {SILENCES_MAX} silences that have not ended, which is as many as there may be"
    )]
    TooMany,
}

impl From<Unset> for Failure<Unset> {
    fn from(why: Unset) -> Self {
        Self::Refused(why)
    }
}

/// Makes a silence, or changes one. Where what it mutes, or since when, is changed, the old one ends and a new one begins.
/// Once this returns, it holds, and survives a crash.
pub fn set(tx: &mut Tx<'_, '_>, wanted: Wanted, now: Timestamp) -> Result<Silence, Failure<Unset>> {
    // Asked for once more under the same key.
    if let Some(known) = find(&tx.read(), &wanted.new_id)? {
        return Ok(known);
    }
    let before = match &wanted.id {
        None => None,
        Some(id) => match find(&tx.read(), id)? {
            None => return Err(Unset::NoSuchSilence(id.clone()).into()),
            known => known,
        },
    };
    let mut silence = Silence {
        id: wanted.new_id,
        matchers: wanted.matchers,
        starts_at: wanted.starts_at,
        ends_at: wanted.ends_at,
        created_by: wanted.created_by,
        comment: wanted.comment,
        updated_at: now,
        token: wanted.token,
        annotations: wanted.annotations,
    };
    if let Some(why) = silence.unfit(now) {
        return Err(Unset::Unfit(why).into());
    }
    if let Some(before) = &before
        && before.can_become(&silence, now)
    {
        silence.id.clone_from(&before.id);
        put(tx, Some(before), &silence, now)?;
        return Ok(silence);
    }
    silence.starts_at = silence.starts_at.max(now);
    if silence.starts_at >= silence.ends_at {
        return Err(Unset::Unfit(Unfit::EndsInThePast).into());
    }
    let lasting = tx.read().silences()?;
    let n_lasting = lasting
        .iter()
        .filter(|known| known.state(now) != State::Expired)
        .count();
    if n_lasting >= SILENCES_MAX {
        return Err(Unset::TooMany.into());
    }
    if let Some(before) = &before
        && before.state(now) != State::Expired
    {
        put(tx, Some(before), &before.ended(now), now)?;
    }
    put(tx, None, &silence, now)?;
    Ok(silence)
}

/// Ends a silence; one that has ended stays as it is.
pub fn expire(tx: &mut Tx<'_, '_>, id: &str, now: Timestamp) -> Result<Silence, Failure<Unset>> {
    let Some(before) = find(&tx.read(), id)? else {
        return Err(Unset::NoSuchSilence(id.to_owned()).into());
    };
    if before.state(now) == State::Expired {
        return Ok(before);
    }
    let ended = before.ended(now);
    put(tx, Some(&before), &ended, now)?;
    Ok(ended)
}

pub(crate) fn put(
    tx: &mut Tx<'_, '_>,
    before: Option<&Silence>,
    silence: &Silence,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(before) = before {
        tx.remove(keys::silence_ends(before.ends_at, &before.id));
        for key in alarms(before) {
            tx.remove(key);
        }
    }
    tx.put(keys::silence(&silence.id), silence);
    tx.put(keys::silence_ends(silence.ends_at, &silence.id), &());
    rearm_one(tx, silence, now);
    tx.next(Counter::Silence)?;
    tx.wake_engine();
    let is_active = silence.state(now) == State::Active;
    let was_active = before.is_some_and(|before| before.state(now) == State::Active);
    if is_active != was_active {
        begin_lap(tx)?;
    }
    Ok(())
}

fn alarms(silence: &Silence) -> [Key; 2] {
    [silence.starts_at, silence.ends_at].map(|at| keys::silence_alarm(at, &silence.id))
}

fn rearm_one(tx: &mut Tx<'_, '_>, silence: &Silence, now: Timestamp) {
    for at in [silence.starts_at, silence.ends_at] {
        if at > now {
            tx.put(keys::silence_alarm(at, &silence.id), &());
        }
    }
}

/// The wall clock was set: silences start and end by it, and one that had ended may have not.
pub fn clock_was_set(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<(), Failure<Infallible>> {
    let from = keys::silence_ends(now.shifted(1), "");
    let end = keys::after(&keys::all_silence_ends());
    let mut ids: Vec<String> = Vec::new();
    tx.read()
        .scan_keys(&from, &end, Order::Forward, &mut |key| {
            ids.extend(keys::read_silence_at(key).map(|(_, id)| id));
            Ok(ControlFlow::Continue(()))
        })?;
    if ids.is_empty() && tx.read().silences()?.is_empty() {
        return Ok(());
    }
    for id in &ids {
        if let Some(silence) = find(&tx.read(), id)? {
            rearm_one(tx, &silence, now);
        }
    }
    tx.next(Counter::Silence)?;
    Ok(begin_lap(tx)?)
}

pub fn find(reader: &Reader<'_>, id: &str) -> Result<Option<Silence>, Error> {
    reader.get(&keys::silence(id))
}

/// A silence as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub silence: Silence,
    /// When it last began or ceased to mute an incident.
    pub muted_at: Option<Timestamp>,
    /// Incidents that are muted by it now.
    pub mutes: Vec<u64>,
}

impl Listed {
    /// Whether it is active and has muted nothing for long.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        self.mutes.is_empty() && self.silence.is_forgotten(self.muted_at, now)
    }
}

/// Silences as people look for them: those that are active by their ends, those to come by their starts, then the others, the last
/// ended first.
pub fn list(
    reader: &Reader<'_>,
    is_wanted: impl Fn(&Silence) -> bool,
    now: Timestamp,
) -> Result<Vec<Silence>, Error> {
    let all = keys::all_silence_ends();
    let mut ids: Vec<String> = Vec::new();
    reader.scan_keys(&all, &keys::after(&all), Order::Reverse, &mut |key| {
        ids.extend(keys::read_silence_at(key).map(|(_, id)| id));
        Ok(match ids.len() < LOOKED_AT_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    let mut silences: Vec<Silence> = Vec::with_capacity(ids.len());
    for some in ids.chunks(LOOKED_AT_TOGETHER) {
        reader.foresee(
            &some
                .iter()
                .map(|id| keys::silence(id))
                .collect::<Vec<Key>>(),
        )?;
        for id in some {
            let found = find(reader, id)?;
            silences.extend(found.filter(|silence| is_wanted(silence)));
        }
    }
    silences.sort_by_cached_key(|silence| {
        let state = silence.state(now);
        let order = match state {
            State::Active => silence.ends_at.as_millis(),
            State::Pending => silence.starts_at.as_millis(),
            State::Expired => -silence.ends_at.as_millis(),
        };
        (state, order, silence.id.clone())
    });
    Ok(silences)
}

/// These silences, with what they mute.
pub fn listed(reader: &Reader<'_>, silences: Vec<Silence>) -> Result<Vec<Listed>, Error> {
    let mut muted = muted(reader)?;
    let each = silences.into_iter().map(|silence| {
        Ok(Listed {
            muted_at: reader.get(&keys::silence_muted(&silence.id))?,
            mutes: muted.remove(&silence.id).unwrap_or_default(),
            silence,
        })
    });
    each.collect()
}

/// The incidents that each silence mutes now.
fn muted(reader: &Reader<'_>) -> Result<BTreeMap<String, Vec<u64>>, Error> {
    let mut muted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    if reader.silences()?.is_empty() {
        return Ok(muted);
    }
    let open = open_incidents(reader)?;
    for number in foreseeing(reader, &open) {
        let number = number?;
        let Some(incident) = reader.readable_incident(number) else {
            continue;
        };
        for by in incident.mute().iter().flat_map(|mute| &mute.by) {
            if let MutedBy::Silence { id, .. } = by {
                muted.entry(id.clone()).or_default().push(number);
            }
        }
    }
    Ok(muted)
}

/// Removes silences that ended before `end`, at most `most`. Returns how many it removed.
pub(crate) fn sweep(tx: &mut Tx<'_, '_>, end: Timestamp, most: usize) -> Result<usize, Error> {
    let from = keys::all_silence_ends();
    let to = keys::silence_ends(end, "");
    let mut old: Vec<(Key, String)> = Vec::new();
    if from >= to {
        return Ok(0);
    }
    tx.read()
        .scan_keys(&from, &to, Order::Forward, &mut |key| {
            let id = keys::read_silence_at(key).map(|(_, id)| id);
            old.extend(id.map(|id| (Key::from_slice(key), id)));
            Ok(match old.len() < most {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
    let removed = old.len();
    for (key, id) in old {
        tx.remove(key);
        tx.remove(keys::silence(&id));
        tx.remove(keys::silence_muted(&id));
    }
    Ok(removed)
}

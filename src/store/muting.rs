//! Which alerts are muted, and which incidents: looked at wherever an incident changes, and again where a silence begins or ends or
//! a cause does.
//!
//! An incident that is not muted has an alert that is not, which is remembered: one look suffices as long as that holds. One that
//! is muted stays so while what mutes it holds and what was said of it since is muted, too. Causes and effects of inhibitions lie
//! in buckets of equal values, so that a cause that begins or ends concerns its own effects and no others.

mod again;

pub use crate::store::muting::again::{
    Standing, arm, has_upkeep, held_by, keep_up, look, next_due,
};

pub(crate) use crate::store::muting::again::{begin_lap, look_at_held};

use crate::domain::alert::{Alert, Fingerprint, Status};
use crate::domain::incident::event::{MutedBy, WATCHKEEPER};
use crate::domain::incident::{Command, Member, Members, Mute};
use crate::domain::inhibition::{Inhibition, Sides};
use crate::domain::rule::RuleSet;
use crate::domain::silence::{Silence, State};
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::joining::sides_of;
use crate::store::keys::{Bucket, Fits};
use crate::store::lists::LOOKED_AT_TOGETHER;
use crate::store::read::Reader;
use crate::store::tx::{Matched, Moved, Tx};
use crate::store::{InForce, keys};
use std::ops::ControlFlow;

/// What an incident is said to be muted by; where it is more, the first of them are named.
const NAMED_MAX: usize = 20;

/// Alerts of one incident that are looked at to find one that is not muted. One of more pages.
const MEMBERS_LOOKED_AT_MAX: usize = 100_000;

/// Causes of one bucket that are looked at for one alert; all but those that have just ended inhibit.
const CAUSES_LOOKED_AT_MAX: usize = 100;

/// By what an alert is muted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Muting {
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    pub inhibited_by: Option<Fingerprint>,
}

impl Muting {
    pub fn is_muted(&self) -> bool {
        !self.silenced_by.is_empty() || self.inhibited_by.is_some()
    }
}

/// By what an alert is muted at `now`; by nothing while it does not fire.
pub fn muting(
    reader: &Reader<'_>,
    rules: &RuleSet,
    fingerprint: Fingerprint,
    alert: &Alert,
    now: Timestamp,
) -> Result<Muting, Error> {
    if alert.status == Status::Resolved {
        return Ok(Muting::default());
    }
    let silences = reader.silences()?;
    let fitting = silences.iter().filter(|of| silences_it(of, alert, now));
    Ok(Muting {
        silenced_by: fitting.map(|silence| silence.id.clone()).collect(),
        inhibited_by: inhibited_by(reader, rules, fingerprint, alert)?.map(|(cause, _)| cause),
    })
}

fn silences_it(silence: &Silence, alert: &Alert, now: Timestamp) -> bool {
    silence.state(now) == State::Active && silence.fits(&alert.labels, &alert.attributes)
}

/// The cause that inhibits an alert; none where nothing does.
pub(crate) fn inhibited_by(
    reader: &Reader<'_>,
    rules: &RuleSet,
    fingerprint: Fingerprint,
    alert: &Alert,
) -> Result<Option<(Fingerprint, Alert)>, Error> {
    let sides = sides_of(alert);
    for inhibition in &rules.inhibitions {
        if !inhibition.is_effect(sides) {
            continue;
        }
        let of = bucket(inhibition, sides);
        // One that fits both sides is inhibited by none that does so, too.
        let all = match inhibition.is_cause(sides) {
            true => keys::causes_that_fit(of, Fits::One),
            false => keys::causes(of),
        };
        let mut causes: Vec<Fingerprint> = Vec::new();
        reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
            let cause = keys::last_number(key).map(Fingerprint);
            causes.extend(cause.filter(|cause| *cause != fingerprint));
            Ok(match causes.len() < CAUSES_LOOKED_AT_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
        for cause in causes {
            if let Some(known) = reader.alert(cause)?
                && known.is_live()
                && inhibition.inhibits(sides_of(&known), sides)
            {
                return Ok(Some((cause, known)));
            }
        }
    }
    Ok(None)
}

fn bucket(inhibition: &Inhibition, sides: Sides<'_>) -> Bucket {
    Bucket {
        inhibition: inhibition.id,
        equal: inhibition.equal_hash(sides),
    }
}

/// How thoroughly an incident is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// What muted it before is believed as long as it is there.
    AtWhatIsNew,
    /// The rules were changed.
    AtAll,
}

/// What an incident is, as far as muting goes.
struct Scene {
    members: Members,
    mute: Option<Mute>,
    /// Alerts of which it was told, the last first.
    told: Vec<Fingerprint>,
    /// One that was not muted when it was last looked at.
    witness: Option<Fingerprint>,
}

/// One look at one incident.
struct Looking<'a> {
    silences: &'a [Silence],
    in_force: &'a InForce,
    now: Timestamp,
}

/// What was found.
enum Found {
    Muted(Vec<MutedBy>),
    /// This one is not.
    Unmuted(Fingerprint),
    /// It has more alerts than are looked at.
    TooMany,
}

impl Tx<'_, '_> {
    /// Says to each incident that is about to settle whether it is muted.
    pub(crate) fn look_at_muting(
        &mut self,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.follow_inhibitions(in_force)?;
        for (number, told) in self.take_told() {
            self.look_at(number, &told, Look::AtWhatIsNew, in_force, now)?;
        }
        Ok(())
    }

    /// The same of one of them.
    pub(crate) fn look_at_muting_of(
        &mut self,
        number: u64,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.follow_inhibitions(in_force)?;
        let told = self.take_told_of(number);
        self.look_at(number, &told, Look::AtWhatIsNew, in_force, now)
    }

    fn look_at(
        &mut self,
        number: u64,
        told: &[Fingerprint],
        look: Look,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        let silences = self.read().silences()?;
        let nothing_mutes = silences.is_empty() && in_force.rules.inhibitions.is_empty();
        let Some(scene) = self.scene(number, told, nothing_mutes)? else {
            return Ok(());
        };
        let looking = Looking {
            silences: &silences,
            in_force,
            now,
        };
        let reader = self.read();
        let believed = match (&scene.mute, look) {
            (Some(mute), Look::AtWhatIsNew) if looking.holds(&reader, mute)? => Some(&mute.by),
            (Some(_) | None, Look::AtWhatIsNew | Look::AtAll) => None,
        };
        let found = match believed {
            Some(by) => looking.at(&reader, scene.told.iter().copied(), by.clone())?,
            None => looking.at_members(&reader, &scene)?,
        };
        let command = match found {
            Found::Muted(by) => Command::Mute { by },
            Found::Unmuted(witness) => {
                self.keep_witness(number, witness);
                Command::Unmute
            }
            Found::TooMany => Command::Unmute,
        };
        self.say(number, &command, scene.mute.as_ref(), in_force, now)
    }

    /// None where there is nothing to be muted, or nothing that mutes.
    fn scene(
        &self,
        number: u64,
        told: &[Fingerprint],
        nothing_mutes: bool,
    ) -> Result<Option<Scene>, Error> {
        let witness = match nothing_mutes {
            true => None,
            false => self.witness(number),
        };
        let scene = self.with(number, |incident| {
            let mute = incident.last_mute().cloned();
            let counts = incident.members.counts();
            let is_asked = incident.is_open()
                && !incident.is_clear()
                && counts.firing + counts.stale > 0
                && !(nothing_mutes && mute.is_none());
            is_asked.then(|| Scene {
                members: incident.members.clone(),
                mute,
                told: told.iter().rev().copied().collect(),
                witness,
            })
        })?;
        let Some(Some(mut scene)) = scene else {
            return Ok(None);
        };
        let members = &scene.members;
        let is_held_by = |of: &Fingerprint| holds(members.get(*of));
        scene.told.retain(is_held_by);
        scene.witness = scene.witness.filter(is_held_by);
        Ok(Some(scene))
    }

    fn say(
        &mut self,
        number: u64,
        command: &Command,
        before: Option<&Mute>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        if *command == Command::Unmute && before.is_none() {
            return Ok(());
        }
        let by = match command {
            Command::Mute { by } => by.as_slice(),
            _unmuted => before.map(|mute| mute.by.as_slice()).unwrap_or_default(),
        };
        let is_news = |by: &MutedBy| {
            let mut known = before.iter().flat_map(|mute| &mute.by);
            *command == Command::Unmute || !known.any(|known| known.is_same(by))
        };
        for by in by.iter().filter(|by| is_news(by)) {
            if let MutedBy::Silence { id, .. } = by {
                self.put(keys::silence_muted(id), &now);
            }
        }
        let _refused = self.command(number, command, WATCHKEEPER, in_force, now)?;
        Ok(())
    }

    /// Brings causes, effects and what is held by causes to what became of alerts.
    pub(crate) fn follow_inhibitions(&mut self, in_force: &InForce) -> Result<(), Error> {
        for moved in self.take_moved() {
            let held = |of: &Option<Matched>| of.as_ref().and_then(|of| of.held_by);
            let (was_held, is_held) = (held(&moved.was), held(&moved.is));
            if was_held != is_held {
                if let Some(cause) = was_held {
                    self.remove(keys::held(cause, moved.fingerprint));
                }
                if let Some(cause) = is_held {
                    self.put(keys::held(cause, moved.fingerprint), &());
                }
            }
            for inhibition in &in_force.rules.inhibitions {
                self.follow(inhibition, &moved)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, inhibition: &Inhibition, moved: &Moved) -> Result<(), Error> {
        let (was, is) = (
            Places::of(inhibition, moved.was.as_ref(), moved.fingerprint),
            Places::of(inhibition, moved.is.as_ref(), moved.fingerprint),
        );
        if was.effect != is.effect {
            was.effect.into_iter().for_each(|key| self.remove(key));
            is.effect.into_iter().for_each(|key| self.put(key, &()));
        }
        if was.cause == is.cause {
            return Ok(());
        }
        if let Some((key, of)) = was.cause {
            self.remove(key);
            self.stir(of)?;
        }
        if let Some((key, of)) = is.cause {
            self.put(key, &());
            self.stir(of)?;
        }
        Ok(())
    }

    /// The effects of a bucket are to be looked at, where there are any.
    fn stir(&mut self, of: Bucket) -> Result<(), Error> {
        let all = keys::effects(of);
        let mut has_any = false;
        self.read()
            .scan_keys(&all, &keys::after(&all), Order::Forward, &mut |_key| {
                has_any = true;
                Ok(ControlFlow::Break(()))
            })?;
        if has_any {
            self.put(keys::stirred(of), &None::<Fingerprint>);
            self.wake_engine();
        }
        Ok(())
    }
}

fn holds(member: Option<Member>) -> bool {
    matches!(member, Some(Member::Firing | Member::Stale))
}

/// Where an alert stands among causes and effects of an inhibition.
struct Places {
    cause: Option<(Key, Bucket)>,
    effect: Option<Key>,
}

impl Places {
    fn of(inhibition: &Inhibition, of: Option<&Matched>, fingerprint: Fingerprint) -> Self {
        let sides = of.map(|of| Sides {
            labels: &of.labels,
            attributes: &of.attributes,
        });
        let is_cause = sides.is_some_and(|sides| inhibition.is_cause(sides));
        let is_effect = sides.is_some_and(|sides| inhibition.is_effect(sides));
        let of = sides.filter(|_| is_cause || is_effect);
        let of = of.map(|sides| bucket(inhibition, sides));
        let fits = match is_effect {
            true => Fits::Both,
            false => Fits::One,
        };
        Self {
            cause: of
                .filter(|_| is_cause)
                .map(|of| (keys::cause(of, fits, fingerprint), of)),
            effect: of
                .filter(|_| is_effect)
                .map(|of| keys::effect(of, fingerprint)),
        }
    }
}

impl Looking<'_> {
    /// Whether all that muted an incident is still there; not where there was more than is named.
    fn holds(&self, reader: &Reader<'_>, mute: &Mute) -> Result<bool, Error> {
        if mute.by.len() >= NAMED_MAX {
            return Ok(false);
        }
        for by in &mute.by {
            let is_there = match by {
                MutedBy::Silence { id, .. } => {
                    let mut known = self.silences.iter();
                    known.any(|of| of.id == *id && of.state(self.now) == State::Active)
                }
                MutedBy::Inhibition { fingerprint, .. } => {
                    let cause = reader.alert(*fingerprint)?;
                    cause.is_some_and(|cause| cause.is_live() && self.is_cause(&cause))
                }
            };
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_cause(&self, alert: &Alert) -> bool {
        let mut inhibitions = self.in_force.rules.inhibitions.iter();
        inhibitions.any(|of| of.is_cause(sides_of(alert)))
    }

    /// What mutes these alerts, besides what is known of the others; or the first that nothing does.
    fn at(
        &self,
        reader: &Reader<'_>,
        alerts: impl Iterator<Item = Fingerprint>,
        mut by: Vec<MutedBy>,
    ) -> Result<Found, Error> {
        for fingerprint in alerts {
            match self.muted_by(reader, fingerprint)? {
                None => return Ok(Found::Unmuted(fingerprint)),
                Some(more) => add(&mut by, more),
            }
        }
        Ok(Found::Muted(by))
    }

    /// The same of all that keep an incident from being clear, those first that are likely to be muted by nothing.
    fn at_members(&self, reader: &Reader<'_>, scene: &Scene) -> Result<Found, Error> {
        let first = scene.witness.into_iter().chain(scene.told.iter().copied());
        let mut by = Vec::new();
        match self.at(reader, first.take(2), Vec::new())? {
            Found::Muted(known) => by.extend(known),
            other => return Ok(other),
        }
        let (mut after, mut looked_at) = (None, 0);
        loop {
            let some = scene.members.after(after, LOOKED_AT_TOGETHER);
            let some: Vec<(Fingerprint, Member)> = some.collect();
            let Some((last, _)) = some.last().copied() else {
                return Ok(Found::Muted(by));
            };
            if looked_at >= MEMBERS_LOOKED_AT_MAX {
                return Ok(Found::TooMany);
            }
            looked_at += some.len();
            after = Some(last);
            let its = some.into_iter().filter(|(_, member)| holds(Some(*member)));
            let its: Vec<Fingerprint> = its.map(|(fingerprint, _)| fingerprint).collect();
            reader.foresee(&its.iter().copied().map(keys::alert).collect::<Vec<Key>>())?;
            match self.at(reader, its.into_iter(), by)? {
                Found::Muted(known) => by = known,
                other => return Ok(other),
            }
        }
    }

    /// An alert of which nothing is known is muted by nothing.
    fn muted_by(
        &self,
        reader: &Reader<'_>,
        fingerprint: Fingerprint,
    ) -> Result<Option<MutedBy>, Error> {
        let Some(alert) = reader.alert(fingerprint)? else {
            return Ok(None);
        };
        let rules = &self.in_force.rules;
        if let Some(silence) = self
            .silences
            .iter()
            .find(|of| silences_it(of, &alert, self.now))
        {
            return Ok(Some(MutedBy::Silence {
                id: silence.id.clone(),
                by: silence.created_by.clone(),
                reason: silence.comment.clone(),
            }));
        }
        let inhibited = inhibited_by(reader, rules, fingerprint, &alert)?;
        Ok(inhibited.map(|(fingerprint, cause)| MutedBy::Inhibition {
            fingerprint,
            name: cause.name().to_owned(),
        }))
    }
}

fn add(all: &mut Vec<MutedBy>, by: MutedBy) {
    if all.len() < NAMED_MAX && !all.iter().any(|known| known.is_same(&by)) {
        all.push(by);
    }
}

//! Recording a sender's report: every sighting is counted, routed by the rules, and joined to the incident of its key,
//! in one transaction with the pages that follow.

mod checks;

use crate::domain::alert::{
    Alert, Fingerprint, Labels, Outcome, Routed, Run, Said, Scope, Sighting, Signal, Status,
};
use crate::domain::change::Mention;
use crate::domain::heartbeat::{KIND, Ping};
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::incident::{Ask, Command, Resolution};
use crate::domain::inhibition::Sides;
use crate::domain::rule::{Opening, Verdict};
use crate::domain::source::Kind;
use crate::domain::template::Facts;
use crate::domain::time::Timestamp;
use crate::store::changes;
use crate::store::engine::Key;
use crate::store::error::Error;
use crate::store::heartbeats::{Heard, beat};
use crate::store::joining::{
    Joined, Target, facts_of, held_by, join, opening_by_all, resolve, severity_by_its_rule, waits,
};
use crate::store::pending::{mature_key, wait_of};
use crate::store::records::{Change, DeadLetter, Wait};
use crate::store::tx::Tx;
use crate::store::{InForce, keys, storms};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a source sent, read by its kind.
#[derive(Clone, Debug)]
pub struct Report {
    pub source: String,
    pub kind: &'static str,
    pub sightings: Vec<Sighting>,
    /// Alerts on which, as their sender says, somebody works.
    pub acknowledged: Vec<Labels>,
    /// What it tells of changes.
    pub changes: Vec<Mention>,
    pub rejected: Vec<DeadLetter>,
    /// What its checks are all of.
    pub scope: Option<Scope>,
}

/// What became of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Incidents that it opened.
    pub opened: BTreeSet<u64>,
    /// Other open incidents that alerts in it belong to.
    pub joined: BTreeSet<u64>,
    pub n_repeats: u64,
    pub n_late: u64,
    pub n_unrouted: u64,
    pub n_dropped: u64,
    pub n_unknown_resolved: u64,
    /// Why a dedup key is not what its template says.
    pub warnings: Vec<String>,
}

/// Records a report, unless an incident in it fails.
pub(crate) fn record_once(
    tx: &mut Tx<'_, '_>,
    report: &Report,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Recorded, Error> {
    let mut recorder = Recorder {
        tx,
        report,
        in_force,
        now,
        recorded: Recorded::default(),
    };
    for letter in &report.rejected {
        recorder.tx.put_dead_letter(letter)?;
    }
    for mention in &report.changes {
        let is_new = changes::record(recorder.tx, &report.source, mention, now)?;
        recorder.recorded.n_repeats += u64::from(!is_new);
    }
    let mut checks: BTreeMap<Fingerprint, Vec<(&Sighting, Outcome, &Run)>> = BTreeMap::new();
    let mut order: Vec<Fingerprint> = Vec::new();
    for sighting in recorder.causes_first() {
        let fingerprint = sighting.labels.fingerprint();
        match &sighting.said {
            Said::Signal(Signal::Firing | Signal::FiringUntil(_)) => {
                if recorder.feeds_heartbeat(sighting)? {
                    continue;
                }
                recorder.fires(sighting, &sighting.labels, fingerprint, None)?;
            }
            Said::Signal(Signal::Resolved) => recorder.resolves(sighting, fingerprint)?,
            Said::Check { outcome, run } => {
                let results = checks.entry(fingerprint).or_default();
                if results.is_empty() {
                    order.push(fingerprint);
                }
                results.push((sighting, *outcome, run));
            }
        }
    }
    for fingerprint in order {
        let results = checks
            .get(&fingerprint)
            .map(Vec::as_slice)
            .unwrap_or_default();
        recorder.check(fingerprint, results)?;
    }
    recorder.ends_scope(&checks)?;
    for labels in &report.acknowledged {
        recorder.acknowledges(labels.fingerprint())?;
    }
    let mut recorded = recorder.recorded;
    tx.settle(in_force, now)?;
    let opened = recorded.opened.clone();
    recorded.joined.retain(|number| !opened.contains(number));
    Ok(recorded)
}

struct Recorder<'r, 't, 's> {
    tx: &'r mut Tx<'t, 's>,
    report: &'r Report,
    in_force: &'r InForce,
    now: Timestamp,
    recorded: Recorded,
}

/// Records that recording a report will ask for, so far as that can be told without any.
pub fn foreseen(report: &Report, in_force: &InForce, now: Timestamp) -> Vec<Key> {
    let mut keys = Tx::always_asked();
    keys.extend(changes::foreseen(&report.source, &report.changes, now));
    if !report.rejected.is_empty() {
        keys.push(Tx::dead_letters_asked());
    }
    let acknowledged = report.acknowledged.iter();
    keys.extend(acknowledged.map(|labels| keys::alert(labels.fingerprint())));
    for sighting in &report.sightings {
        let fingerprint = sighting.labels.fingerprint();
        keys.extend([keys::alert(fingerprint), keys::seen(fingerprint)]);
        let outcome = match &sighting.said {
            Said::Signal(Signal::Resolved) => continue,
            Said::Signal(Signal::Firing | Signal::FiringUntil(_)) => None,
            Said::Check { outcome, .. } => {
                let twin = sighting.labels.twin().fingerprint();
                keys.extend([keys::check(fingerprint), keys::alert(twin)]);
                let scope = report.scope.as_ref();
                keys.extend(scope.into_iter().flat_map(|of| {
                    [fingerprint, twin].map(|alert| keys::scope(&of.source, &of.scope, alert))
                }));
                Some(*outcome)
            }
        };
        let attributes = sighting.attributes_from(&report.source, report.kind, outcome);
        let facts = Facts {
            labels: &sighting.labels,
            annotations: &sighting.annotations,
            attributes: &attributes,
        };
        if let Some(opening) = opening_by_all(&in_force.rules, facts, now) {
            keys.push(keys::dedup(&opening.dedup_key(facts, fingerprint).key));
            keys.extend(storms::foreseen(opening.team(), in_force));
        }
    }
    keys
}

/// Until when an alert fires, as its sender says.
fn until(sighting: &Sighting) -> Option<Timestamp> {
    match sighting.said {
        Said::Signal(Signal::FiringUntil(until)) => Some(until),
        Said::Signal(Signal::Firing | Signal::Resolved) | Said::Check { .. } => None,
    }
}

impl<'r> Recorder<'r, '_, '_> {
    /// What was seen, in its order; but what may inhibit comes before what it may inhibit, in whichever order both were sent.
    fn causes_first(&self) -> Vec<&'r Sighting> {
        let mut all: Vec<&Sighting> = self.report.sightings.iter().collect();
        let inhibitions = &self.in_force.rules.inhibitions;
        if !inhibitions.is_empty() && all.len() > 1 {
            all.sort_by_cached_key(|sighting| {
                let attributes = self.attributes(sighting, None);
                let sides = Sides {
                    labels: &sighting.labels,
                    attributes: &attributes,
                };
                let is_cause = inhibitions.iter().any(|of| of.is_cause(sides));
                let is_effect = inhibitions.iter().any(|of| of.is_effect(sides));
                (!is_cause, is_effect)
            });
        }
        all
    }

    /// Whether an alert is the ping of a heartbeat: then it is no alert, and that it stays away is one.
    fn feeds_heartbeat(&mut self, sighting: &Sighting) -> Result<bool, Error> {
        let fed = self.in_force.book.heartbeats.iter();
        let mut fed = fed
            .filter(|(_, heartbeat)| !heartbeat.fed_by.is_empty())
            .peekable();
        if fed.peek().is_none() || self.report.kind == KIND {
            return Ok(false);
        }
        let attributes = self.attributes(sighting, None);
        let facts = Facts {
            labels: &sighting.labels,
            annotations: &sighting.annotations,
            attributes: &attributes,
        };
        let mut feeds = false;
        for (name, heartbeat) in fed {
            if heartbeat.is_fed_by(facts) {
                let heard = Heard::of(Ping::Success);
                beat(self.tx, name, heartbeat, &heard, self.in_force, self.now)?;
                feeds = true;
            }
        }
        Ok(feeds)
    }

    fn joined_if_open(&mut self, incident: Option<u64>) -> Result<(), Error> {
        if let Some(number) = incident
            && !self.recorded.joined.contains(&number)
            && self.tx.is_open(number)?
        {
            self.recorded.joined.insert(number);
        }
        Ok(())
    }

    fn fires(
        &mut self,
        sighting: &Sighting,
        labels: &Labels,
        fingerprint: Fingerprint,
        outcome: Option<Outcome>,
    ) -> Result<(), Error> {
        let attributes = self.attributes(sighting, outcome);
        if let (Some(scope), Some(_)) = (&self.report.scope, outcome) {
            self.tx.add_to_scope(scope, fingerprint)?;
        }
        match self.tx.read().alert(fingerprint)? {
            // One that no rule opened is judged again once the rules, which of them are active, or its words have changed.
            Some(alert)
                if alert.is_heard_again(|| self.in_force.rules.standing(self.now))
                    && !self.is_opened_by_its_words(&alert, sighting, &attributes) =>
            {
                self.repeats(fingerprint, &alert, sighting, attributes, outcome)
            }
            known => self.begins(
                fingerprint,
                known.as_ref(),
                sighting,
                labels,
                attributes,
                outcome,
            ),
        }
    }

    /// An alert that opened nothing says something else now, and that opens: a check that warned and fails.
    fn is_opened_by_its_words(
        &self,
        alert: &Alert,
        sighting: &Sighting,
        attributes: &Labels,
    ) -> bool {
        let changed = alert.attributes != *attributes || alert.annotations != sighting.annotations;
        let facts = Facts {
            labels: &alert.labels,
            annotations: &sighting.annotations,
            attributes,
        };
        alert.routed != Routed::Open
            && changed
            && opening_by_all(&self.in_force.rules, facts, self.now).is_some()
    }

    fn attributes(&self, sighting: &Sighting, outcome: Option<Outcome>) -> Labels {
        sighting.attributes_from(&self.report.source, self.report.kind, outcome)
    }

    /// Firing already: counted; written only where its words or attributes changed.
    fn repeats(
        &mut self,
        fingerprint: Fingerprint,
        before: &Alert,
        sighting: &Sighting,
        attributes: Labels,
        outcome: Option<Outcome>,
    ) -> Result<(), Error> {
        self.recorded.n_repeats += 1;
        let until = until(sighting);
        let mut alert = before.clone();
        self.tx
            .keep_watch(fingerprint, &mut alert, until, self.in_force, self.now)?;
        let lapses_at = match until {
            Some(until) => Some(self.tx.unserved()?.at(until)),
            None => None,
        };
        self.tx.count(
            fingerprint,
            Some(before),
            before.incident,
            lapses_at,
            self.now,
        )?;
        self.joined_if_open(before.incident)?;
        if let (Some(key), Some(starts_at)) = (&before.pending_key, sighting.starts_at)
            && starts_at != before.starts_at
            && self.tx.begins_anew(key, fingerprint, starts_at, self.now)?
        {
            return self.releases(key);
        }
        let same_words = before.annotations == sighting.annotations && before.outcome == outcome;
        if same_words && same_but_sender(&before.attributes, &attributes) {
            if alert.watch != before.watch {
                self.tx
                    .put_alert(fingerprint, Some(before), &alert, None, self.now)?;
            }
            return Ok(());
        }
        alert.annotations = sighting.annotations.clone();
        alert.attributes = attributes;
        alert.outcome = outcome;
        self.tx.put_alert(
            fingerprint,
            Some(before),
            &alert,
            Some(Change::Changed),
            self.now,
        )?;
        let (Some(number), Status::Firing) = (alert.incident, alert.status) else {
            return Ok(());
        };
        let severity = severity_by_its_rule(&self.in_force.rules, &alert, self.now);
        self.command(
            number,
            &Command::AlertRejudged {
                fingerprint,
                severity,
            },
        )
    }

    /// Fires, and did not before.
    fn begins(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        sighting: &Sighting,
        labels: &Labels,
        attributes: Labels,
        outcome: Option<Outcome>,
    ) -> Result<(), Error> {
        let mut alert = Alert {
            labels: labels.clone(),
            annotations: sighting.annotations.clone(),
            attributes,
            status: Status::Firing,
            outcome,
            source: self.report.source.clone(),
            kind: self.report.kind.to_owned(),
            starts_at: sighting.starts_at.unwrap_or(self.now),
            ends_at: None,
            changed_at: self.now,
            incident: None,
            rule: None,
            routed: Routed::Unrouted,
            pending_key: None,
            watch: None,
            judged_by: None,
            held_by: None,
        };
        let rules = std::sync::Arc::clone(&self.in_force.rules);
        let of_incident = match before.and_then(|before| before.incident) {
            Some(number) if self.tx.takes_alerts(number)? => Some(number),
            _ => None,
        };
        if let (Some(number), Some(before)) = (of_incident, before) {
            alert.incident = Some(number);
            alert.rule.clone_from(&before.rule);
            alert.routed = Routed::Open;
        }
        // The labels are shared: a copy costs little.
        let said = alert.clone();
        let facts = facts_of(&said);
        let own = alert
            .rule
            .as_deref()
            .filter(|_| of_incident.is_some())
            .and_then(|rule| rules.opening_of(rule));
        let opening = match own {
            Some(opening) => opening,
            None => match rules.judge(facts, self.now) {
                Verdict::Open(opening) => opening,
                // Its rule is gone and no other opens; it stays with its incident all the same.
                Verdict::Record { .. } | Verdict::Drop { .. } | Verdict::Unrouted
                    if of_incident.is_some() =>
                {
                    self.watches(fingerprint, &mut alert, None, sighting)?;
                    return self.fires_again(fingerprint, before, &mut alert, None);
                }
                Verdict::Record { rule } => {
                    alert.rule = Some(rule.to_owned());
                    alert.routed = Routed::Record;
                    let patience = rules.opening_of(rule).and_then(|rule| rule.stale_after());
                    self.watches(fingerprint, &mut alert, patience, sighting)?;
                    return self.keep(fingerprint, before, alert);
                }
                Verdict::Drop { .. } => {
                    self.recorded.n_dropped += 1;
                    return Ok(());
                }
                Verdict::Unrouted => {
                    self.recorded.n_unrouted += 1;
                    self.watches(fingerprint, &mut alert, None, sighting)?;
                    return self.keep(fingerprint, before, alert);
                }
            },
        };
        alert.routed = Routed::Open;
        alert.rule = Some(opening.rule().to_owned());
        self.watches(fingerprint, &mut alert, opening.stale_after(), sighting)?;
        if of_incident.is_some() {
            return self.fires_again(fingerprint, before, &mut alert, Some(&opening));
        }
        let key = opening.dedup_key(facts, fingerprint);
        self.recorded.warnings.extend(key.warning);
        let target = self.tx.target(&key.key, self.now)?;
        if let Some(cause) = held_by(self.tx, &alert, fingerprint, target, self.in_force)? {
            alert.held_by = Some(cause);
            self.tx
                .put_alert(fingerprint, before, &alert, Some(Change::Fired), self.now)?;
            return self.counts_one(fingerprint, before, &alert);
        }
        if let Some(wait) = wait_of(opening.open())
            && waits(self.tx, target)?
        {
            return self.waits_for(fingerprint, before, alert, &key.key, wait, target);
        }
        self.joins(fingerprint, before, alert, &opening, &key.key, target)
    }

    /// An alert of an open incident fires again; from stabilization on, once it has met its rule's `open`.
    fn fires_again(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        alert: &mut Alert,
        opening: Option<&Opening<'_>>,
    ) -> Result<(), Error> {
        let Some(number) = alert.incident else {
            return Ok(());
        };
        let target = Target::Open(number);
        if let Some(wait) = opening.and_then(|opening| wait_of(opening.open()))
            && waits(self.tx, target)?
        {
            let key = self
                .tx
                .with(number, |incident| incident.opened.dedup_key.clone())?;
            if let Some(key) = key.flatten() {
                return self.waits_for(fingerprint, before, alert.clone(), &key, wait, target);
            }
        }
        let severity = match opening {
            Some(opening) => opening.severity(facts_of(alert)).0,
            None => severity_by_its_rule(&self.in_force.rules, alert, self.now),
        };
        self.tx
            .put_alert(fingerprint, before, alert, Some(Change::Fired), self.now)?;
        self.counts_one(fingerprint, before, alert)?;
        self.recorded.joined.insert(number);
        let name = alert.name().to_owned();
        self.command(
            number,
            &Command::AlertFires {
                fingerprint,
                name,
                severity,
            },
        )?;
        let key = self
            .tx
            .with(number, |incident| incident.opened.dedup_key.clone())?;
        match key.flatten() {
            Some(key) => self.releases(&key),
            None => Ok(()),
        }
    }

    /// Alerts that waited under this key join what is open now, as they would had they come after it.
    fn releases(&mut self, key: &str) -> Result<(), Error> {
        for joined in mature_key(self.tx, key, self.in_force, self.now)? {
            self.note(&joined);
        }
        Ok(())
    }

    fn note(&mut self, joined: &Joined) {
        match joined.opened {
            true => self.recorded.opened.insert(joined.number),
            false => self.recorded.joined.insert(joined.number),
        };
    }

    fn waits_for(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        mut alert: Alert,
        key: &str,
        wait: Wait,
        target: Target,
    ) -> Result<(), Error> {
        alert.status = Status::Pending;
        alert.pending_key = Some(key.to_owned());
        self.tx
            .put_alert(fingerprint, before, &alert, Some(Change::Fired), self.now)?;
        self.counts_one(fingerprint, before, &alert)?;
        self.joined_if_open(alert.incident)?;
        let this = (fingerprint, &alert);
        match self.tx.add_pending(key, this, wait, target, self.now)? {
            true => self.releases(key),
            false => Ok(()),
        }
    }

    fn joins(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        mut alert: Alert,
        opening: &Opening<'_>,
        key: &str,
        target: Target,
    ) -> Result<(), Error> {
        let joined = join(
            self.tx,
            &alert,
            fingerprint,
            opening,
            key.to_owned(),
            target,
            self.in_force,
            self.now,
        )?;
        self.note(&joined);
        alert.incident = Some(joined.number);
        self.tx
            .put_alert(fingerprint, before, &alert, Some(Change::Fired), self.now)?;
        self.counts_one(fingerprint, before, &alert)?;
        self.releases(key)
    }

    fn keep(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        mut alert: Alert,
    ) -> Result<(), Error> {
        alert.judged_by = Some(self.in_force.rules.standing(self.now));
        let alert = &alert;
        self.tx
            .put_alert(fingerprint, before, alert, Some(Change::Fired), self.now)?;
        self.counts_one(fingerprint, before, alert)
    }

    fn watches(
        &mut self,
        fingerprint: Fingerprint,
        alert: &mut Alert,
        by_rule: Option<Duration>,
        sighting: &Sighting,
    ) -> Result<(), Error> {
        let until = until(sighting);
        self.tx
            .begin_watch(fingerprint, alert, by_rule, until, self.in_force, self.now)
    }

    /// Counts the sighting with which an alert began.
    fn counts_one(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        alert: &Alert,
    ) -> Result<(), Error> {
        let lapses_at = alert.watch.and_then(|watch| watch.lapses_at);
        self.tx
            .count(fingerprint, before, alert.incident, lapses_at, self.now)
    }

    /// A resolve finds its alert by fingerprint, never by judging again.
    fn resolves(&mut self, sighting: &Sighting, fingerprint: Fingerprint) -> Result<(), Error> {
        let Some(before) = self.tx.read().alert(fingerprint)? else {
            self.recorded.n_unknown_resolved += 1;
            return Ok(());
        };
        self.joined_if_open(before.incident)?;
        if before.status == Status::Resolved {
            return Ok(());
        }
        resolve(
            self.tx,
            fingerprint,
            &before,
            sighting.ends_at,
            Resolution::Said,
            WATCHKEEPER,
            self.in_force,
            self.now,
        )
    }

    /// Somebody works on an alert, as its sender says: its incident is acknowledged in the sender's name.
    fn acknowledges(&mut self, fingerprint: Fingerprint) -> Result<(), Error> {
        let Some(alert) = self.tx.read().alert(fingerprint)? else {
            return Ok(());
        };
        self.joined_if_open(alert.incident)?;
        if let (Some(number), Status::Firing) = (alert.incident, alert.status) {
            let ask = Command::Ask(Ask::Acknowledge);
            let _refused =
                self.tx
                    .command(number, &ask, &self.report.source, self.in_force, self.now)?;
        }
        Ok(())
    }

    fn command(&mut self, number: u64, command: &Command) -> Result<(), Error> {
        // A refusal here is an incident that closed or lost the alert meanwhile: the alert is recorded all the same.
        let _refused = self
            .tx
            .command(number, command, WATCHKEEPER, self.in_force, self.now)?;
        Ok(())
    }
}

/// Tells once more of an alert that fires, saying what it said `then`. When one began that fires already its sender did not say, where
/// that was just when it came: judged again, it begins then.
pub(crate) fn fires_as_then(
    tx: &mut Tx<'_, '_>,
    then: &Alert,
    fingerprint: Fingerprint,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let was_unsaid = tx.read().with_alert(fingerprint, |known| {
        let came_at = known.changed_at;
        known.is_live() && (known.starts_at, then.starts_at) == (came_at, came_at)
    })?;
    // Nor does one that waits begin anew with it.
    let is_unsaid = was_unsaid.unwrap_or(false) || then.starts_at == now;
    let sighting = Sighting {
        labels: then.labels.clone(),
        annotations: then.annotations.clone(),
        attributes: then.attributes.clone(),
        severity: then.attributes.get("severity").map(str::to_owned),
        starts_at: (!is_unsaid).then_some(then.starts_at),
        ends_at: None,
        said: Said::Signal(Signal::Firing),
    };
    let report = Report {
        source: then.source.clone(),
        kind: kind_named(&then.kind),
        sightings: Vec::new(),
        acknowledged: Vec::new(),
        changes: Vec::new(),
        rejected: Vec::new(),
        scope: None,
    };
    let mut recorder = Recorder {
        tx,
        report: &report,
        in_force,
        now,
        recorded: Recorded::default(),
    };
    recorder.fires(&sighting, &then.labels, fingerprint, then.outcome)
}

fn kind_named(name: &str) -> &'static str {
    match name.parse::<Kind>() {
        Ok(kind) => kind.as_str(),
        Err(_of_no_source) => KIND,
    }
}

/// Attributes that say by which way an alert came.
const BY_THE_WAY: &[&str] = &["source", "kind", "receiver"];

/// The same alert by two senders is one alert: that it came by the other one is no change of it.
fn same_but_sender(before: &Labels, after: &Labels) -> bool {
    let of_sender = |(name, _): &(&str, &str)| !BY_THE_WAY.contains(name);
    before
        .iter()
        .filter(of_sender)
        .eq(after.iter().filter(of_sender))
}

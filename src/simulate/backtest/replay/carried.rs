//! Incidents that were open when the span began, and their alerts, as they were.

use crate::domain::alert::{Alert, Fingerprint, Routed, Status};
use crate::domain::incident::{Entry, Event, Incident, Member};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::Ended;
use crate::simulate::backtest::replay::{Replay, TOGETHER_MAX};
use crate::store::{history, replay};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An alert of an incident that was open when the span began.
pub(super) struct Carried {
    number: u64,
    fired_at: Timestamp,
    member: Member,
    rule: Option<Arc<str>>,
}

pub(super) type Members = BTreeMap<Fingerprint, Carried>;

impl Replay<'_> {
    /// Takes over an incident as it was, and notes its alerts: one that several had is of the one that it last fired in.
    pub(super) fn carry(
        &mut self,
        incident: Incident,
        entries: Vec<Entry>,
        members: &mut Members,
    ) -> Result<(), Ended> {
        let rule = incident.opened.rule.as_deref().map(Arc::from);
        for entry in &entries {
            let (Event::AlertJoined { fingerprint, .. } | Event::AlertFired { fingerprint, .. }) =
                &entry.event
            else {
                continue;
            };
            let is_later = members
                .get(fingerprint)
                .is_none_or(|known| known.fired_at <= entry.at);
            if let (true, Some(member)) = (is_later, incident.members.get(*fingerprint)) {
                let carried = Carried {
                    number: incident.number(),
                    fired_at: entry.at,
                    member,
                    rule: Option::clone(&rule),
                };
                members.insert(*fingerprint, carried);
            }
        }
        self.pair(incident.number(), incident.number());
        self.transact(move |tx, _its, _now| replay::adopt(tx, incident, entries))
    }

    /// Takes over the alerts of those. Returns which of them fire or are stale.
    pub(super) fn carry_alerts(
        &mut self,
        members: &Members,
    ) -> Result<BTreeSet<Fingerprint>, Ended> {
        let history = self.past.history;
        let all: Vec<Fingerprint> = members.keys().copied().collect();
        let mut seeded = BTreeSet::new();
        for some in all.chunks(TOGETHER_MAX) {
            let known = history.read(|reader| history::alerts(reader, some.iter().copied()))?;
            let mut alerts: Vec<(Fingerprint, Alert)> = Vec::new();
            for (fingerprint, alert) in known {
                let Some(carried) = members.get(&fingerprint) else {
                    continue;
                };
                // One that ended may have fired since without an incident: then nothing ties it to this one.
                let last_of = match self.past.survey.alerts.get(fingerprint) {
                    Some(known) => known.first_of,
                    None => alert.incident,
                };
                if carried.member == Member::Resolved && last_of != Some(carried.number) {
                    continue;
                }
                let alert = self.words.then(self.past.survey, fingerprint, alert);
                // One that has left a storm since keeps the rule by which it came to that.
                let rule = match (alert.incident == Some(carried.number), &carried.rule) {
                    (true, _) | (false, None) => alert.rule.clone(),
                    (false, Some(rule)) => Some(rule.as_ref().to_owned()),
                };
                let status = match carried.member {
                    Member::Firing => Status::Firing,
                    Member::Stale => Status::Stale,
                    Member::Resolved => Status::Resolved,
                };
                if status != Status::Resolved {
                    seeded.insert(fingerprint);
                }
                let alert = Alert {
                    status,
                    rule,
                    changed_at: self.at,
                    incident: Some(carried.number),
                    routed: Routed::Open,
                    pending_key: None,
                    watch: None,
                    judged_by: None,
                    held_by: None,
                    ..alert
                };
                alerts.push((fingerprint, alert));
            }
            self.transact(move |tx, its, now| {
                alerts
                    .iter()
                    .try_for_each(|(of, alert)| replay::put_alert(tx, *of, alert, its, now))
            })?;
        }
        Ok(seeded)
    }
}

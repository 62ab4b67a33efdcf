//! Records that are kept as they are, of a store that no disk holds and that nobody else reads: that of a replay. Nothing is encoded,
//! an incident is handed out rather than copied, and what is written cannot be taken back.

use crate::domain::alert::{Alert, Fingerprint, Labels, Routed, Status};
use crate::domain::incident::{Entry, Incident};
use crate::domain::time::Timestamp;
use crate::store::keys;
use crate::store::records::{Head, KeyHolder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a transaction added to the log of an incident.
pub(crate) type Said = (u64, Vec<Entry>);

/// Those records.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Those that have not ended.
    pub(crate) alerts: BTreeMap<Fingerprint, Alert>,
    ended: Ended,
    /// Names of rules, each once.
    rules: BTreeSet<Arc<str>>,
    pub(crate) holders: BTreeMap<String, KeyHolder>,
    heads: BTreeMap<u64, Head>,
    /// But for those that a transaction works on.
    incidents: BTreeMap<u64, Arc<Incident>>,
    /// What was added to logs, until somebody asks: the logs themselves are not kept.
    said: Vec<Said>,
}

#[expect(
    clippy::disallowed_types,
    reason = "asked for each of millions of alerts, and never gone through"
)]
type Ended = std::collections::HashMap<Fingerprint, EndedAlert>;

/// What is left of an alert that ended.
#[derive(Debug)]
struct EndedAlert {
    incident: Option<u64>,
    rule: Option<Arc<str>>,
}

impl EndedAlert {
    fn as_alert(&self) -> Alert {
        Alert {
            labels: Labels::default(),
            annotations: Labels::default(),
            attributes: Labels::default(),
            status: Status::Resolved,
            outcome: None,
            source: String::new(),
            kind: String::new(),
            starts_at: Timestamp::EPOCH,
            ends_at: None,
            changed_at: Timestamp::EPOCH,
            incident: self.incident,
            rule: self.rule.as_deref().map(str::to_owned),
            routed: Routed::Open,
            pending_key: None,
            watch: None,
            judged_by: None,
            held_by: None,
        }
    }
}

impl Kept {
    /// Whether nothing is kept of the table of a key: a replay reads it nowhere.
    pub(crate) fn forgets(key: &[u8]) -> bool {
        key.first()
            .is_some_and(|table| keys::NOT_REPLAYED.contains(table))
    }

    /// An alert. One that has ended says nothing but to which incident it belonged, and by which rule: should it fire again, its words
    /// are told with that.
    pub(crate) fn alert(&self, fingerprint: Fingerprint) -> Option<Alert> {
        match self.alerts.get(&fingerprint) {
            Some(alert) => Some(alert.clone()),
            None => self.ended.get(&fingerprint).map(EndedAlert::as_alert),
        }
    }

    pub(crate) fn put_alert(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<Status>,
        alert: &Alert,
    ) {
        match alert.status {
            Status::Resolved => {
                self.alerts.remove(&fingerprint);
                let ended = EndedAlert {
                    incident: alert.incident,
                    rule: alert.rule.as_deref().map(|rule| self.rule(rule)),
                };
                self.ended.insert(fingerprint, ended);
            }
            Status::Firing | Status::Pending | Status::Stale => {
                if before == Some(Status::Resolved) {
                    self.ended.remove(&fingerprint);
                }
                self.alerts.insert(fingerprint, alert.clone());
            }
        }
    }

    pub(crate) fn forget_alert(&mut self, fingerprint: Fingerprint) {
        self.alerts.remove(&fingerprint);
        self.ended.remove(&fingerprint);
    }

    fn rule(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.rules.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.rules.insert(Arc::clone(&name));
        name
    }

    pub(crate) fn head(&self, number: u64) -> Option<&Head> {
        self.heads.get(&number)
    }

    /// What a head says beside its version stays as it was, but for what an incident can change.
    pub(crate) fn put_head(&mut self, number: u64, incident: &Incident) {
        match self.heads.get_mut(&number) {
            Some(known) => known.follow(incident),
            None => {
                self.heads.insert(number, Head::of(incident));
            }
        }
    }

    pub(crate) fn incident(&self, number: u64) -> Option<&Arc<Incident>> {
        self.incidents.get(&number)
    }

    /// Hands an incident out, until it is put back.
    pub(crate) fn take(&mut self, number: u64) -> Option<Arc<Incident>> {
        self.incidents.remove(&number)
    }

    pub(crate) fn put_back(&mut self, incident: Arc<Incident>, entries: Vec<Entry>) {
        let number = incident.number();
        self.incidents.insert(number, incident);
        if !entries.is_empty() {
            self.said.push((number, entries));
        }
    }

    /// What was added to logs since this was last asked.
    pub(crate) fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// Numbers of all incidents that are kept.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.incidents.keys().copied().collect()
    }

    /// Nothing can ask for an incident any more, nor for the alerts of which it was the last.
    pub(crate) fn forget(&mut self, number: u64) {
        self.heads.remove(&number);
        let Some(incident) = self.incidents.remove(&number) else {
            return;
        };
        for (fingerprint, _) in incident.members.after(None, usize::MAX) {
            let ended = self.ended.get(&fingerprint);
            if ended.is_some_and(|ended| ended.incident == Some(number)) {
                self.ended.remove(&fingerprint);
            }
        }
        if let Some(dedup_key) = &incident.opened.dedup_key
            && self.holders.get(dedup_key).map(|holder| holder.incident) == Some(number)
        {
            self.holders.remove(dedup_key);
        }
    }
}

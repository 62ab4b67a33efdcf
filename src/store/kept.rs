//! Records that are kept as they are, of a store that no disk holds and that nobody else reads: that of a replay. Nothing is encoded,
//! an incident is handed out rather than copied, and what is written cannot be taken back.

use crate::domain::alert::{Alert, Fingerprint};
use crate::domain::incident::{Entry, Incident};
use crate::store::keys;
use crate::store::records::{Head, KeyHolder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a transaction added to the log of an incident.
pub(crate) type Said = (u64, Vec<Entry>);

/// Those records.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) alerts: BTreeMap<Fingerprint, Alert>,
    pub(crate) holders: BTreeMap<String, KeyHolder>,
    heads: BTreeMap<u64, Head>,
    /// But for those that a transaction works on.
    incidents: BTreeMap<u64, Arc<Incident>>,
    /// What was added to logs, until somebody asks: the logs themselves are not kept.
    said: Vec<Said>,
}

impl Kept {
    /// Whether nothing is kept of the table of a key: a replay reads it nowhere.
    pub(crate) fn forgets(key: &[u8]) -> bool {
        key.first()
            .is_some_and(|table| keys::NOT_REPLAYED.contains(table))
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

    pub(crate) fn put_back(&mut self, incident: Incident, entries: Vec<Entry>) {
        let number = incident.number();
        self.incidents.insert(number, Arc::new(incident));
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

    pub(crate) fn forget(&mut self, number: u64) {
        self.heads.remove(&number);
        self.incidents.remove(&number);
    }
}

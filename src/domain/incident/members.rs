//! The alerts of an incident. Shared in parts, so that a transaction that works on an incident of thousands copies only
//! what it changes.

use crate::domain::alert::Fingerprint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parts that are copied one by one. Fingerprints are hashes: their last bits spread them.
const PARTS: u64 = 64;

/// What an incident knows of an alert that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Firing,
    Resolved,
    Stale,
}

/// How many members there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub firing: usize,
    pub resolved: usize,
    pub stale: usize,
}

impl Counts {
    fn of(&mut self, member: Member) -> &mut usize {
        match member {
            Member::Firing => &mut self.firing,
            Member::Resolved => &mut self.resolved,
            Member::Stale => &mut self.stale,
        }
    }
}

/// The alerts that belong to an incident, each with where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    parts: BTreeMap<u64, Arc<BTreeMap<Fingerprint, Member>>>,
    counts: Counts,
}

impl Members {
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Member> {
        self.parts
            .get(&part(fingerprint))?
            .get(&fingerprint)
            .copied()
    }

    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.get(fingerprint).is_some()
    }

    pub fn len(&self) -> usize {
        let Counts {
            firing,
            resolved,
            stale,
        } = self.counts;
        firing + resolved + stale
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many keep the incident from being clear: what fires, and what is stale.
    pub(super) fn n_holding(&self) -> usize {
        self.counts.firing + self.counts.stale
    }

    pub(super) fn set(&mut self, fingerprint: Fingerprint, member: Member) {
        let part = self.parts.entry(part(fingerprint)).or_default();
        if let Some(before) = Arc::make_mut(part).insert(fingerprint, member) {
            *self.counts.of(before) -= 1;
        }
        *self.counts.of(member) += 1;
    }
}

fn part(fingerprint: Fingerprint) -> u64 {
    fingerprint.0 % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_counted_by_where_they_stand() {
        let mut members = Members::default();
        (0..1000).for_each(|n| members.set(Fingerprint(n), Member::Firing));
        let before = members.clone();
        members.set(Fingerprint(7), Member::Resolved);
        members.set(Fingerprint(7), Member::Resolved);
        assert_eq!(
            members.counts(),
            Counts {
                firing: 999,
                resolved: 1,
                stale: 0
            }
        );
        assert_eq!((members.len(), members.n_holding()), (1000, 999));
        assert_eq!(
            before.get(Fingerprint(7)),
            Some(Member::Firing),
            "a copy keeps what it had"
        );
    }
}

//! The alerts of an incident, in sorted layers that copies share: a transaction that works on an incident of thousands copies
//! a list of layers, and what it adds costs no more than the logarithm of what is there.

use crate::domain::alert::Fingerprint;
use std::collections::BTreeMap;
use std::sync::Arc;

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
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Each sorted by fingerprint, the newest last; what a newer one says hides what an older one does. Each is more than
    /// twice as long as the next.
    layers: Vec<Layer>,
    counts: Counts,
}

type Layer = Arc<[(Fingerprint, Member)]>;

impl Members {
    pub fn get(&self, fingerprint: Fingerprint) -> Option<Member> {
        self.layers.iter().rev().find_map(|layer| {
            let at = layer.binary_search_by_key(&fingerprint, |(known, _)| *known);
            layer.get(at.ok()?).map(|(_, member)| *member)
        })
    }

    /// The first of them after a fingerprint, in order.
    pub fn after(
        &self,
        after: Option<Fingerprint>,
        most: usize,
    ) -> impl Iterator<Item = (Fingerprint, Member)> {
        let mut first: BTreeMap<Fingerprint, Member> = BTreeMap::new();
        // The first of each layer have the first of all among them.
        for layer in &self.layers {
            let from =
                layer.partition_point(|(known, _)| after.is_some_and(|after| *known <= after));
            first.extend(layer.iter().skip(from).take(most).copied());
        }
        first.into_iter().take(most)
    }

    /// All of them, in order of their fingerprints.
    pub fn sorted(&self) -> BTreeMap<Fingerprint, Member> {
        let oldest_first = self.layers.iter().flat_map(|layer| layer.iter());
        oldest_first.copied().collect()
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
        if let Some(before) = self.get(fingerprint) {
            *self.counts.of(before) -= 1;
        }
        *self.counts.of(member) += 1;
        let mut top = vec![(fingerprint, member)];
        while let Some(under) = self.layers.pop_if(|under| under.len() <= 2 * top.len()) {
            top = over(&under, &top);
        }
        self.layers.push(top.into());
    }
}

/// The same alerts in the same places, however the layers fell.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.sorted() == other.sorted()
    }
}

/// Two sorted layers as one; what `top` says holds.
fn over(
    under: &[(Fingerprint, Member)],
    top: &[(Fingerprint, Member)],
) -> Vec<(Fingerprint, Member)> {
    let mut both = Vec::with_capacity(under.len() + top.len());
    let mut under = under.iter().peekable();
    for newer in top {
        while let Some(older) = under.next_if(|older| older.0 < newer.0) {
            both.push(*older);
        }
        under.next_if(|older| older.0 == newer.0);
        both.push(*newer);
    }
    both.extend(under);
    both
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
        assert!(
            members
                .sorted()
                .keys()
                .copied()
                .eq((0..1000).map(Fingerprint))
        );
        assert_eq!(
            members.sorted().get(&Fingerprint(7)),
            Some(&Member::Resolved)
        );
        assert!(
            members.layers.len() <= 11,
            "{} layers",
            members.layers.len()
        );
        let page: Vec<_> = members.after(Some(Fingerprint(5)), 3).collect();
        let wanted = [
            (6, Member::Firing),
            (7, Member::Resolved),
            (8, Member::Firing),
        ];
        assert_eq!(page, wanted.map(|(n, member)| (Fingerprint(n), member)));
        let mut again = before;
        again.set(Fingerprint(7), Member::Resolved);
        assert_eq!(again, members, "whatever came in between");
    }
}

//! Muting of one incident: while each alert that keeps it from being clear is muted, nobody is paged, reminded or escalated to.
//! Who looks at silences and inhibitions says so; here stands what follows from it.

use crate::domain::incident::Incident;
use crate::domain::incident::event::{Event, MutedBy};
use crate::domain::time::Timestamp;

/// That an incident is muted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    pub by: Vec<MutedBy>,
    /// Moves with jumps of the clock.
    pub since: Timestamp,
}

impl Incident {
    /// It has an alert that fires or is stale, and each of these is muted.
    pub fn is_muted(&self) -> bool {
        self.mute().is_some()
    }

    /// By what it is muted, while it is.
    pub fn mute(&self) -> Option<&Mute> {
        let holds = self.is_open() && self.members.n_holding() > 0;
        self.muted.as_ref().filter(|_| holds)
    }

    /// The same also while none of its alerts fires: they are muted when they do again, unless somebody has looked anew.
    pub fn last_mute(&self) -> Option<&Mute> {
        self.muted.as_ref()
    }

    pub(super) fn has_mute(&self) -> bool {
        self.muted.is_some()
    }

    pub(super) fn muted_by_in_words(&self) -> String {
        let by = self.muted.iter().flat_map(|mute| &mute.by);
        by.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// That it is muted is the only reason not to page.
    pub(super) fn may_only_be_muted(&self) -> bool {
        self.is_muted() && !self.is_clear() && self.acknowledged.is_none() && self.urgency.pages()
    }

    pub(super) fn mute_by(&self, by: &[MutedBy]) -> Vec<Event> {
        if !self.is_open() || self.is_clear() || self.members.n_holding() == 0 || by.is_empty() {
            return Vec::new();
        }
        let is_known = |mute: &Mute| {
            let has = |by: &MutedBy| mute.by.iter().any(|known| known.is_same(by));
            mute.by.len() == by.len() && by.iter().all(has)
        };
        if self.muted.as_ref().is_some_and(is_known) {
            return Vec::new();
        }
        vec![Event::Muted {
            causes: by.to_vec(),
        }]
    }

    pub(super) fn unmute(&self) -> Vec<Event> {
        match self.muted {
            Some(_) if self.is_open() => vec![Event::Unmuted],
            Some(_) | None => Vec::new(),
        }
    }

    /// Whatever the escalation was at, it begins anew once this ends, unless somebody acknowledged.
    pub(super) fn apply_muted(&mut self, by: &[MutedBy], at: Timestamp) {
        let since = self.muted.as_ref().map_or(at, |mute| mute.since);
        self.muted = Some(Mute {
            by: by.to_vec(),
            since,
        });
        if self.acknowledged.is_none() {
            self.paging_mut().begin(None);
        }
    }

    /// Paging that has yet to begin begins; the acknowledgement's time goes on where it stood.
    pub(super) fn apply_unmuted(&mut self, at: Timestamp) {
        let Some(mute) = self.muted.take() else {
            return;
        };
        match &mut self.acknowledged {
            Some(held) => {
                let stood_for = at.since(mute.since.max(held.held_since));
                held.held_since = held.held_since.plus(stood_for);
            }
            None => self.paging_mut().begin(None),
        }
    }

    /// It is clear, and no longer muted by anything.
    pub(super) fn forget_mute(&mut self) {
        if self.muted.take().is_some() {
            self.paging_mut().forget_leadership();
        }
    }
}

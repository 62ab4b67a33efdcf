//! Who is on call at an instant, over a span, and until when: layers of rotations, and overrides above them.

pub mod layer;
pub mod overrides;
pub(crate) mod wall_clock;

pub use crate::domain::schedule::layer::{Layer, Rotation};
pub use crate::domain::schedule::overrides::{Override, OverrideKind};

use crate::domain::schedule::overrides::{Cause, Standing};
use crate::domain::time::Timestamp;
use chrono_tz::Tz;

/// Spans between two possible changes that are looked at for one list of shifts: twenty years of an hourly rotation.
const SPANS_MAX: usize = 200_000;

/// Possible changes that are looked at to find the next real one.
const CHANGES_MAX: usize = 5_000;

/// Who is on call when. A later layer is above an earlier one and replaces it while it has somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub name: String,
    pub zone: Tz,
    pub layers: Vec<Layer>,
}

/// One person on call from an instant up to, and without, another; and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    pub person: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// The layer that puts the person on call as the shift begins; none where an override does.
    pub layer: Option<String>,
    /// The override that puts the person on call as the shift begins.
    pub override_id: Option<u64>,
}

impl Schedule {
    /// The people on call at `at`; one at most, unless overrides add some.
    pub fn on_call(&self, overrides: &[Override], at: Timestamp) -> Vec<String> {
        self.standing(overrides, at)
            .iter()
            .map(|standing| standing.person().to_owned())
            .collect()
    }

    /// The shifts between `from` and `to`, cut there, in order of their beginning. What touches for one person is one
    /// shift. The list ends early after [`SPANS_MAX`] spans: ask for less at a time.
    pub fn shifts(&self, overrides: &[Override], from: Timestamp, to: Timestamp) -> Vec<Shift> {
        let mut ended: Vec<Shift> = Vec::new();
        let mut running: Vec<Shift> = Vec::new();
        let mut at = from;
        for _ in 0..SPANS_MAX {
            if at >= to {
                break;
            }
            let until = self
                .next_boundary(overrides, at)
                .map_or(to, |next| next.min(to));
            let standing = self.standing(overrides, at);
            let goes_on = |shift: &Shift| standing.iter().any(|one| one.person() == shift.person);
            let (staying, gone) = running.into_iter().partition(goes_on);
            ended.extend(gone);
            running = staying;
            for one in &standing {
                match running
                    .iter_mut()
                    .find(|shift| shift.person == one.person())
                {
                    Some(shift) => shift.to = until,
                    None => running.push(one.shift(at, until)),
                }
            }
            at = until;
        }
        ended.extend(running);
        ended.sort_by(|a, b| (a.from, &a.person).cmp(&(b.from, &b.person)));
        ended
    }

    /// The first instant after `after` at which other people are on call than before; none where that never changes, or
    /// not within [`CHANGES_MAX`] possible changes.
    pub fn next_change(&self, overrides: &[Override], after: Timestamp) -> Option<Timestamp> {
        let now = self.on_call(overrides, after);
        let boundary = |at: &Timestamp| self.next_boundary(overrides, *at);
        std::iter::successors(boundary(&after), boundary)
            .take(CHANGES_MAX)
            .find(|at| self.on_call(overrides, *at) != now)
    }

    fn standing<'a>(&'a self, overrides: &'a [Override], at: Timestamp) -> Vec<Standing<'a>> {
        let of_layers = self
            .layer_at(at)
            .map(|(layer, person)| Standing::new(person, Cause::Layer(&layer.name)));
        overrides::apply(of_layers, overrides, at)
    }

    /// The highest layer that has somebody. One that has not started yet stands behind all that have, so that a layer
    /// written for next month takes over next month, and yet nobody is missing before the first one starts.
    fn layer_at(&self, at: Timestamp) -> Option<(&Layer, &str)> {
        let highest = |started: bool| {
            self.layers
                .iter()
                .rev()
                .filter(|layer| layer.has_started(at) == started)
                .find_map(|layer| Some((layer, layer.person(at)?)))
        };
        highest(true).or_else(|| highest(false))
    }

    /// The next instant at which something may change: before it, nothing does.
    fn next_boundary(&self, overrides: &[Override], after: Timestamp) -> Option<Timestamp> {
        let of_layers = self
            .layers
            .iter()
            .filter_map(|layer| layer.next_boundary(after));
        let of_overrides = overrides
            .iter()
            .flat_map(|one| [one.from, one.to])
            .filter(|at| *at > after);
        of_layers.chain(of_overrides).min()
    }
}

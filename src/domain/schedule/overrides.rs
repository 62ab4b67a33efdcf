//! Overrides: people put on call, taken off, or put in another's place, for a span.

use crate::domain::schedule::Shift;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What an override does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideKind {
    /// `person` is on call too.
    Add,
    /// `person` is not on call.
    Remove,
    /// `person` is on call in place of `instead_of` while that one would be; where it names nobody, in place of
    /// everybody, and also where nobody would be on call.
    Replace,
}

/// An exception to a schedule, for a span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    pub id: u64,
    pub kind: OverrideKind,
    pub person: String,
    #[serde(default)]
    pub instead_of: Option<String>,
    pub from: Timestamp,
    pub to: Timestamp,
    pub reason: String,
    pub by: String,
    pub made_at: Timestamp,
}

impl Override {
    fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// Why somebody is on call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause<'a> {
    Layer(&'a str),
    Override(&'a Override),
}

/// A place on call: who holds it, and whom that one stands in for.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    person: &'a str,
    /// Those who were replaced here, the first one first.
    replaced: Vec<&'a str>,
    cause: Cause<'a>,
}

impl<'a> Standing<'a> {
    pub(super) fn new(person: &'a str, cause: Cause<'a>) -> Self {
        Self {
            person,
            replaced: Vec::new(),
            cause,
        }
    }

    pub(super) fn person(&self) -> &'a str {
        self.person
    }

    pub(super) fn shift(&self, from: Timestamp, to: Timestamp) -> Shift {
        let (layer, override_id) = match self.cause {
            Cause::Layer(name) => (Some(name.to_owned()), None),
            Cause::Override(one) => (None, Some(one.id)),
        };
        Shift {
            person: self.person.to_owned(),
            from,
            to,
            layer,
            override_id,
        }
    }

    fn is_added(&self) -> bool {
        matches!(self.cause, Cause::Override(one) if one.kind == OverrideKind::Add)
    }

    /// Puts the override's person in the place of `absent`, who holds it or was replaced in it before.
    fn replace(&mut self, absent: &str, by: &'a Override) {
        if self.person == absent {
            self.replaced.push(self.person);
        } else if let Some(at) = self.replaced.iter().position(|name| *name == absent) {
            self.replaced.truncate(at + 1);
        } else {
            return;
        }
        self.person = &by.person;
        self.cause = Cause::Override(by);
    }
}

/// Who is on call at `at`, each once, after the overrides. They count in the order in which they were made, so that the
/// last word holds; only removals come last, and leave alone whom another override added: add wins over remove.
pub(super) fn apply<'a>(
    of_layers: Option<Standing<'a>>,
    overrides: &'a [Override],
    at: Timestamp,
) -> Vec<Standing<'a>> {
    let mut places: Vec<Standing<'a>> = of_layers.into_iter().collect();
    let mut holding: Vec<&Override> = overrides.iter().filter(|one| one.holds(at)).collect();
    if holding.is_empty() {
        return places;
    }
    holding.sort_by_key(|one| (one.made_at, one.id));
    for one in &holding {
        match (one.kind, &one.instead_of) {
            (OverrideKind::Remove, _) => {}
            // Beside a place that the person may hold already: that one may be taken away.
            (OverrideKind::Add, _) => {
                places.push(Standing::new(&one.person, Cause::Override(one)));
            }
            (OverrideKind::Replace, None) => {
                places = vec![Standing::new(&one.person, Cause::Override(one))];
            }
            (OverrideKind::Replace, Some(absent)) => {
                for place in &mut places {
                    place.replace(absent, one);
                }
            }
        }
    }
    let is_removed = |place: &Standing<'_>| {
        let mut removals = holding
            .iter()
            .filter(|one| one.kind == OverrideKind::Remove);
        !place.is_added() && removals.any(|one| one.person == place.person)
    };
    places.retain(|place| !is_removed(place));
    each_once(places)
}

fn each_once(places: Vec<Standing<'_>>) -> Vec<Standing<'_>> {
    let mut once: Vec<Standing<'_>> = Vec::new();
    for place in places {
        if !once.iter().any(|other| other.person == place.person) {
            once.push(place);
        }
    }
    once
}

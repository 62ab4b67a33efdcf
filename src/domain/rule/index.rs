//! Which rules an alert can match at all: by the values that their matchers want, so that thousands of rules for other services
//! cost an alert nothing.

use crate::domain::matcher::Matcher;
use crate::domain::rule::Rule;
use crate::domain::template::Facts;
#[expect(
    clippy::disallowed_types,
    reason = "looked up for every alert and never walked: its order is never seen"
)]
use std::collections::HashMap;

/// The places of some rules, in order.
type Places = Vec<usize>;

#[expect(clippy::disallowed_types, reason = "looked up, never walked")]
type Table<T> = HashMap<String, T>;

/// Rules by what an alert must have to match them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    labels: Table<Table<Places>>,
    attributes: Table<Table<Places>>,
    /// Those that have no matcher by which they can be found.
    others: Places,
    by_name: Table<usize>,
}

impl Index {
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut counts: Table<usize> = Table::default();
        for key in rules.iter().flat_map(all_keys) {
            *counts.entry(key).or_default() += 1;
        }
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            index.by_name.entry(rule.name.clone()).or_insert(at);
            // The one whose values the fewest rules want.
            let matchers = rule.matchers.iter().filter_map(|matcher| {
                let values = wanted(matcher)?;
                let crowd = values
                    .iter()
                    .map(|value| counts.get(&key(matcher.name(), value)).unwrap_or(&0))
                    .sum::<usize>();
                Some((crowd, matcher, values))
            });
            let Some((_, matcher, mut values)) = matchers.min_by_key(|(crowd, ..)| *crowd) else {
                index.others.push(at);
                continue;
            };
            values.sort_unstable();
            values.dedup();
            let (table, name) = match matcher.attribute() {
                Some(attribute) => (&mut index.attributes, attribute),
                None => (&mut index.labels, matcher.name()),
            };
            let table = table.entry(name.to_owned()).or_default();
            for value in values {
                table.entry(value.to_owned()).or_default().push(at);
            }
        }
        index
    }

    /// The rule of a name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The rules that an alert may match, in order; all others do not match it.
    pub(super) fn candidates<'r>(
        &'r self,
        rules: &'r [Rule],
        facts: Facts<'_>,
    ) -> impl Iterator<Item = &'r Rule> + use<'r> {
        let mut lists: Vec<&'r [usize]> = vec![&self.others];
        for (table, has) in [
            (&self.labels, facts.labels),
            (&self.attributes, facts.attributes),
        ] {
            // Most names are those of no matcher; a set without any has nothing to look up.
            let found = has
                .iter()
                .filter_map(|(name, value)| table.get(name)?.get(value));
            if !table.is_empty() {
                lists.extend(found.map(Vec::as_slice));
            }
        }
        Merged(lists).filter_map(|at| rules.get(at))
    }
}

/// The values one of which an alert must have; none where it may lack the label and match all the same.
fn wanted(matcher: &Matcher) -> Option<Vec<&str>> {
    let values = matcher.literals()?;
    values
        .iter()
        .all(|value| !value.is_empty())
        .then_some(values)
}

fn all_keys(rule: &Rule) -> impl Iterator<Item = String> {
    let matchers = rule.matchers.iter();
    matchers.flat_map(|matcher| {
        let values = wanted(matcher).unwrap_or_default();
        let keys = values.into_iter().map(|value| key(matcher.name(), value));
        keys.collect::<Vec<_>>()
    })
}

fn key(name: &str, value: &str) -> String {
    format!("{name}\0{value}")
}

/// Several sorted lists, none of which has what another has, as one.
struct Merged<'r>(Vec<&'r [usize]>);

impl Iterator for Merged<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let heads = self.0.iter_mut().filter(|list| !list.is_empty());
        let first = heads.min_by_key(|list| list.first().copied())?;
        let (at, rest) = first.split_first()?;
        *first = rest;
        Some(*at)
    }
}

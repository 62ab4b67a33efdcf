//! Which changes are worth a look when an incident has begun, in which order, and why, in words.

use super::{Change, SUBJECTS, Status, folded, plain_name};
use crate::domain::alert::Labels;
use crate::domain::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Changes that are shown with an incident.
pub const SHOWN_MAX: usize = 10;

/// The labels that say where something runs. One that is said on both sides and differs speaks against a connection.
const PLACES: [&str; 3] = ["environment", "cluster", "namespace"];

/// A longer value is none that a change could have.
const MAX_VALUE_BYTES: usize = 512;

/// Names that a reason lists.
const NAMED_MAX: usize = 3;

/// Where the words of a title stand among the labels; a label of this name is none of them.
const TITLE: &str = "the title";

/// What an incident is about, and when it began.
#[derive(Clone, Debug)]
pub struct Scene {
    pub began_at: Timestamp,
    /// What it began with, in words.
    began_with: &'static str,
    known: BTreeMap<String, BTreeSet<String>>,
}

impl Scene {
    /// Of an incident that was opened by a person: all there is to go by is what they called it.
    pub fn of_title(title: &str, opened_at: Timestamp) -> Self {
        let is_apart = |c: char| !(c.is_alphanumeric() || "-_./".contains(c));
        let words = title.split(is_apart).map(|word| word.trim_matches('.'));
        let words = words.filter(|word| !word.is_empty() && word.len() <= MAX_VALUE_BYTES);
        let words = words.map(|word| folded(TITLE, word)).collect();
        Self {
            began_at: opened_at,
            began_with: "the opening of the incident",
            known: BTreeMap::from([(TITLE.to_owned(), words)]),
        }
    }

    /// Of one that has alerts.
    pub fn of_alerts<'a>(
        alerts: impl IntoIterator<Item = &'a Labels>,
        began_at: Timestamp,
    ) -> Self {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for labels in alerts {
            let fits =
                |(name, value): &(&str, &str)| *name != TITLE && value.len() <= MAX_VALUE_BYTES;
            for (name, value) in labels.iter().filter(fits) {
                let values = known.entry(plain_name(name).to_owned()).or_default();
                values.insert(folded(name, value));
            }
        }
        Self {
            began_at,
            began_with: "the first alert",
            known,
        }
    }

    /// What it is about, each name as [`folded`].
    pub fn subjects(&self) -> BTreeSet<String> {
        let named = SUBJECTS.iter().chain([&TITLE]);
        let values = named.filter_map(|name| self.known.get(*name)).flatten();
        values.cloned().collect()
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.known
            .get(name)
            .is_some_and(|values| values.contains(value))
    }
}

/// A change beside an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    pub change: Change,
    /// From 1 to 100: over 59 it is of the same service in the same place, below 40 it only has a label in common.
    pub relevance: u64,
    pub why: String,
}

/// Those that have something in common with an incident, the most relevant first.
pub fn related(scene: &Scene, changes: impl IntoIterator<Item = Change>) -> Vec<Related> {
    let mut found: Vec<(Duration, Related)> = Vec::new();
    for change in changes {
        if let Some(agreement) = Agreement::of(scene, &change) {
            found.push(weighed(scene, &agreement, change));
        }
    }
    found.sort_by_cached_key(|(distance, related)| {
        let Related {
            change, relevance, ..
        } = related;
        let (newest, id) = (Reverse(change.at), change.id.clone());
        (Reverse(*relevance), *distance, newest, id)
    });
    let shown = found.into_iter().take(SHOWN_MAX);
    shown.map(|(_, related)| related).collect()
}

/// In what a change and an incident agree, and in what not.
struct Agreement {
    /// The labels of the incident that name what was changed.
    subjects: Vec<String>,
    others: Vec<String>,
    /// Where the change was made, and the incident is not.
    elsewhere: Vec<(String, String)>,
}

impl Agreement {
    /// None where they have nothing in common.
    fn of(scene: &Scene, change: &Change) -> Option<Self> {
        let mut subjects: Vec<String> = Vec::new();
        let (mut others, mut elsewhere) = (Vec::new(), Vec::new());
        for (name, value) in change.labels() {
            let wanted = folded(name, value);
            if SUBJECTS.contains(&name) {
                // Under its own name, if it stands there, too.
                let names = [name].into_iter().chain(SUBJECTS).chain([TITLE]);
                let mut found = names.filter(|name| scene.has(name, &wanted));
                let found = found.next().map(str::to_owned);
                subjects.extend(found.filter(|name| !subjects.contains(name)));
            } else if scene.has(name, &wanted) {
                others.push(name.to_owned());
            } else if PLACES.contains(&name) && scene.known.contains_key(name) {
                elsewhere.push((name.to_owned(), value.to_owned()));
            }
        }
        let is_any = !subjects.is_empty() || !others.is_empty();
        is_any.then_some(Self {
            subjects,
            others,
            elsewhere,
        })
    }

    /// `same service and environment`, `same service, but environment staging`.
    fn words(&self) -> String {
        let is_titled = self.subjects.iter().any(|name| name == TITLE);
        let names = self.subjects.iter().filter(|name| *name != TITLE);
        let names: Vec<&str> = names.chain(&self.others).map(String::as_str).collect();
        let named = listed(names.get(..NAMED_MAX).unwrap_or(&names));
        let mut words = match (is_titled, named.is_empty()) {
            (true, true) => "named in the title".to_owned(),
            (true, false) => format!("named in the title, same {named}"),
            (false, _) => format!("same {named}"),
        };
        if let Some((name, value)) = self.elsewhere.first() {
            words.push_str(&format!(", but {name} {value}"));
        }
        words
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// The relevance of a change, and how far it is from the beginning of the incident.
fn weighed(scene: &Scene, agreement: &Agreement, change: Change) -> (Duration, Related) {
    let began = scene.began_at;
    let moments = change.moments();
    // What came before may be the cause; what came after may be the remedy.
    let before = moments.range(..=began).next_back();
    let moment = before.or(moments.first()).copied().unwrap_or(change.at);
    let is_before = moment <= began;
    let distance = began.since(moment).max(moment.since(began));
    let is_of_it = !agreement.subjects.is_empty();
    let (base, near, trouble) = match (is_of_it, agreement.elsewhere.is_empty()) {
        (true, true) => (60, 30, 10),
        (true, false) => (40, 10, 5),
        (false, true) => (5 * small(agreement.others.len().min(4)), 10, 5),
        (false, false) => (1, 2, 1),
    };
    let near = match (change.status, is_before) {
        (Status::Pending, _) => 0,
        (_, true) => nearness(near, distance),
        (_, false) => nearness(near, distance) / 2,
    };
    let trouble = match change.status {
        Status::Failed | Status::RolledBack => trouble,
        Status::Pending | Status::InProgress | Status::Succeeded | Status::Cancelled => 0,
    };
    let span = match distance < Duration::from_secs(1) {
        true => "at the time of ".to_owned(),
        false if is_before => format!("{} before ", in_words(distance)),
        false => format!("{} after ", in_words(distance)),
    };
    let so_far = match change.status {
        Status::Succeeded => "",
        Status::Pending => ", not begun",
        Status::InProgress => ", still in progress",
        Status::Failed => ", failed",
        Status::RolledBack => ", rolled back",
        Status::Cancelled => ", cancelled",
    };
    let why = format!("{}, {span}{}{so_far}", agreement.words(), scene.began_with);
    let relevance = base + near + trouble;
    (
        distance,
        Related {
            change,
            relevance,
            why,
        },
    )
}

fn small(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// All of it at once, half of it after an hour, and ever less.
fn nearness(most: u64, distance: Duration) -> u64 {
    const HALF: u64 = 3600;
    most * HALF / HALF.saturating_add(distance.as_secs())
}

/// The largest unit of which there are two, as people say it.
fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let (n, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _days => (seconds / 86_400, "day"),
    };
    match n {
        1 => format!("1 {unit}"),
        n => format!("{n} {unit}s"),
    }
}

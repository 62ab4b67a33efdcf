//! Inhibition: while a cause fires, its effects page nobody. As in Alertmanager: a label that is missing is an empty one, and an
//! alert that fits both sides is inhibited by none that does so, too.

use crate::domain::alert::Labels;
use crate::domain::matcher::Matcher;

/// One `[[inhibit]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibition {
    /// A hash of its text: the same text, the same inhibition.
    pub id: u64,
    /// All of them must match a cause.
    source: Vec<Matcher>,
    /// All of them must match an effect.
    target: Vec<Matcher>,
    /// Labels, or attributes where the name begins with `@`, that cause and effect have alike.
    equal: Vec<String>,
}

/// What an inhibition looks at of an alert.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    pub labels: &'a Labels,
    pub attributes: &'a Labels,
}

impl Inhibition {
    pub fn new(source: Vec<Matcher>, target: Vec<Matcher>, equal: Vec<String>) -> Self {
        let texts = |matchers: &[Matcher]| -> Vec<String> {
            matchers.iter().map(ToString::to_string).collect()
        };
        let (sources, targets) = (texts(&source), texts(&target));
        let parts = [&sources, &targets, &equal].into_iter().flat_map(|list| {
            let texts = list.iter().map(String::as_str);
            texts.chain([END_OF_LIST])
        });
        Self {
            id: hash(parts),
            source,
            target,
            equal,
        }
    }

    pub fn is_cause(&self, of: Sides<'_>) -> bool {
        fits(&self.source, of)
    }

    pub fn is_effect(&self, of: Sides<'_>) -> bool {
        fits(&self.target, of)
    }

    /// A hash of the values that cause and effect must have alike: where it differs, they do.
    pub fn equal_hash(&self, of: Sides<'_>) -> u64 {
        hash(self.equal_values(of))
    }

    fn equal_values<'a>(&'a self, of: Sides<'a>) -> impl Iterator<Item = &'a str> {
        let value = move |name: &String| match name.strip_prefix('@') {
            Some(attribute) => of.attributes.get(attribute),
            None => of.labels.get(name),
        };
        self.equal
            .iter()
            .map(move |name| value(name).unwrap_or_default())
    }

    /// What a cause of `effect` must be: its matchers, and the values it must have alike.
    pub fn cause_in_words(&self, effect: Sides<'_>) -> String {
        self.side_in_words(&self.source, effect)
    }

    /// What an effect of `cause` must be.
    pub fn effect_in_words(&self, cause: Sides<'_>) -> String {
        self.side_in_words(&self.target, cause)
    }

    fn side_in_words(&self, matchers: &[Matcher], other: Sides<'_>) -> String {
        let values = self.equal.iter().zip(self.equal_values(other));
        let alike = values.map(|(name, value)| format!("{name}={value:?}"));
        let all: Vec<String> = matchers
            .iter()
            .map(ToString::to_string)
            .chain(alike)
            .collect();
        all.join(", ")
    }

    /// Whether `cause`, while it fires or is stale, inhibits `effect`, which is another alert.
    pub fn inhibits(&self, cause: Sides<'_>, effect: Sides<'_>) -> bool {
        let is_two_sided = self.is_cause(effect) && self.is_effect(cause);
        self.is_cause(cause)
            && self.is_effect(effect)
            && !is_two_sided
            && self.equal_values(cause).eq(self.equal_values(effect))
    }
}

/// No text of a matcher, and no name of a label, that could stand in a file.
const END_OF_LIST: &str = "\0";

/// FNV-1a, with a byte after each part that no text has.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const SEPARATOR: u8 = 0xff;
    parts
        .into_iter()
        .flat_map(|part| part.bytes().chain([SEPARATOR]))
        .fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(PRIME)
        })
}

fn fits(matchers: &[Matcher], of: Sides<'_>) -> bool {
    let mut matchers = matchers.iter();
    matchers.all(|matcher| matcher.fits(of.labels, of.attributes))
}

//! Alertmanager's message in its ordinary form, read in one pass over the body. What is unusual in any way is left to the careful reader,
//! which says what is wrong and where; of what both read, both say the same.

use super::{MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, Parsed, calendar_time};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use crate::domain::time::Timestamp;
use chrono::Datelike;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What a message says, where all of it is ordinary.
pub(super) fn parse(body: &[u8], most: usize) -> Option<Parsed> {
    let text = std::str::from_utf8(body).ok()?;
    let message: Message<'_> = serde_json::from_str(text).ok()?;
    if message.version.0 != "4" || message.truncated != 0 || message.alerts.0.len() > most {
        return None;
    }
    let receiver = message.receiver.0.as_ref();
    if receiver.len() > MAX_NAME_BYTES {
        return None;
    }
    let alerts = message.alerts.0.into_iter();
    let sightings = alerts.map(|item| item.sighting(receiver));
    Some(Parsed {
        sightings: sightings.collect::<Option<_>>()?,
        ..Parsed::default()
    })
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    alerts: Items<'a>,
    #[serde(borrow, default)]
    receiver: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(rename = "truncatedAlerts", default)]
    truncated: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    labels: Pairs<'a>,
    #[serde(borrow, default)]
    annotations: Pairs<'a>,
    #[serde(borrow, default)]
    starts_at: Text<'a>,
    #[serde(borrow, default)]
    ends_at: Text<'a>,
    #[serde(borrow, default, rename = "generatorURL")]
    generator_url: Text<'a>,
}

impl Item<'_> {
    fn sighting(&self, receiver: &str) -> Option<Sighting> {
        let signal = match self.status.0.as_ref() {
            "firing" => Signal::Firing,
            "resolved" => Signal::Resolved,
            _other => return None,
        };
        let labels = self.labels.labels();
        if labels.is_empty() {
            return None;
        }
        Some(Sighting {
            severity: labels.get("severity").map(str::to_owned),
            labels,
            annotations: self.annotations.labels(),
            attributes: Labels::from_iter([
                ("generator_url", self.generator_url.0.as_ref()),
                ("receiver", receiver),
            ]),
            starts_at: time(&self.starts_at.0)?,
            ends_at: time(&self.ends_at.0)?,
            said: Said::Signal(signal),
        })
    }
}

/// An instant, or that it is unset.
#[expect(clippy::option_option, reason = "unset is something else than unusual")]
fn time(text: &str) -> Option<Option<Timestamp>> {
    if text.is_empty() {
        return Some(None);
    }
    let instant = calendar_time(text)?;
    Some((instant.year() > 1).then(|| instant.into()))
}

/// A text, borrowed from the body where it has no escapes.
#[derive(Default, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Alerts: as many as there are, so that one too many is seen.
struct Items<'a>(Vec<Item<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::with_capacity(8);
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Names and texts within their limits.
#[derive(Default)]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl Pairs<'_> {
    fn labels(&self) -> Labels {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (&name.0, &value.0)).collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::with_capacity(12);
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    let fits = !name.0.is_empty()
                        && name.0.len() <= MAX_NAME_BYTES
                        && value.0.len() <= MAX_VALUE_BYTES
                        && pairs.len() < MAX_LABELS;
                    if !fits {
                        return Err(A::Error::custom("not within the limits"));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

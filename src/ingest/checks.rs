//! What the formats of checks have in common: one run of a tool, many results, each a sighting.

use super::json::{self, Bad, Field};
use super::{
    MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, Notes, Parsed, Post, Rejected, at_most, cut,
};
use crate::domain::alert::{Labels, Outcome, Run, Said, Sighting};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) const MAX_CHECKS: usize = 10_000;
pub(super) const MAX_SOURCE_CHARS: usize = 64;
pub(super) const MAX_RUN_ID_CHARS: usize = 256;
const MAX_CHECK_ID_CHARS: usize = 512;
const MAX_MESSAGE_BYTES: usize = 8 * 1024;
/// Of what was observed and expected: enough for a number or a condition, too little for rows of data.
pub(super) const MAX_OBSERVED_BYTES: usize = 1024;

/// Of what a report says once for all of its checks, for all of them together: each check has it as its own.
const MAX_SHARED_BYTES: usize = 32 << 20;

/// Tells the twin of an alert whose check could not run, and so is no sender's to set.
pub(super) const TWIN: &str = "check";
/// The attributes that are ours to set.
const BUILT_IN: [&str; 4] = ["source", "kind", "outcome", "severity"];

/// What holds for each check of a report.
pub(super) struct Report<'a> {
    /// The tool, as the label `tool`.
    pub(super) source: Cow<'a, str>,
    pub(super) owner: Option<Cow<'a, str>>,
    /// Identity that every check of it has, under that of the check.
    pub(super) labels: Labels,
    pub(super) run: Run,
    pub(super) run_url: Option<Cow<'a, str>>,
    /// When it came: no alert of it began later, whatever the clock of its sender shows.
    pub(super) now: Timestamp,
}

/// What one check found.
#[derive(Debug, Default)]
pub(super) struct Finding<'a> {
    /// What the check is, wherever and whenever it runs: the label `alertname`.
    pub(super) check_id: Cow<'a, str>,
    pub(super) subject: Subject<'a>,
    /// Identity of the check's own, under that of its report.
    pub(super) labels: Labels,
    /// The sender's own word for how bad it is.
    pub(super) severity: Option<Cow<'a, str>>,
    /// Names and texts of the check's own that rules may match and that are no identity.
    pub(super) attributes: Labels,
    /// Words of the check's own for people; ours win.
    pub(super) annotations: Labels,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) sort: Option<Cow<'a, str>>,
    pub(super) message: Option<Cow<'a, str>>,
    pub(super) owner: Option<Cow<'a, str>>,
    pub(super) observed: Option<String>,
    pub(super) expected: Option<String>,
    pub(super) failing: Option<&'a str>,
    pub(super) total: Option<&'a str>,
}

/// What a check looked at.
#[derive(Debug, Default)]
pub(super) struct Subject<'a> {
    /// The name of the label; none without a name.
    pub(super) kind: &'static str,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) version: Option<Cow<'a, str>>,
    pub(super) part: Option<Cow<'a, str>>,
}

impl Report<'_> {
    /// Refuses a report whose labels and words would take too much where every check has them: a small body could say a
    /// lot of them once, and have many checks.
    pub(super) fn fits(&self, n_checks: usize) -> Result<(), Bad> {
        let labels = self.labels.iter();
        let words = self.owner.iter().chain(&self.run_url);
        let bytes = labels
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            + words.map(|text| text.len()).sum::<usize>();
        if bytes.saturating_mul(n_checks) <= MAX_SHARED_BYTES {
            return Ok(());
        }
        let most = MAX_SHARED_BYTES / n_checks.max(1);
        let reason = format!(
            "labels, owner and run url of at most {most} bytes are wanted for {n_checks} checks, found {bytes}; \
            send fewer checks at a time"
        );
        Err(Bad::here(reason))
    }

    /// The sightings of all items that can be read, and those that cannot, without their fields `private`, which may hold rows.
    /// An item without a result says nothing.
    pub(super) fn read_all<'i>(
        &self,
        items: impl IntoIterator<Item = (String, &'i RawValue)>,
        private: &[&str],
        notes: &mut Notes,
        read: impl Fn(&'i RawValue, &str, &mut Notes) -> Result<Option<(Outcome, Finding<'i>)>, Bad>,
    ) -> Parsed {
        let mut parsed = Parsed::default();
        for (place, item) in items {
            let found = read(item, &place, notes).and_then(|found| {
                found
                    .map(|found| self.sighting(found, &place, notes))
                    .transpose()
            });
            match found {
                Ok(sighting) => parsed.sightings.extend(sighting),
                Err(bad) => {
                    let path = place + &bad.path;
                    let rejected = Rejected::new(path, bad.reason, item, private);
                    parsed.rejected.push(rejected);
                }
            }
        }
        parsed
    }

    /// What a check found, as a sighting of its alert.
    pub(super) fn sighting(
        &self,
        (outcome, found): (Outcome, Finding<'_>),
        place: &str,
        notes: &mut Notes,
    ) -> Result<Sighting, Bad> {
        if found.check_id.chars().nth(MAX_CHECK_ID_CHARS).is_some() {
            let reason = format!("a check id of at most {MAX_CHECK_ID_CHARS} characters is wanted");
            return Err(Bad::here(reason));
        }
        let message = found.message.as_deref().unwrap_or_default();
        let message = message_kept(message, place, notes);
        let owner = found.owner.as_ref().or(self.owner.as_ref());
        let words = [
            ("check_name", found.name.as_deref()),
            ("check_type", found.sort.as_deref()),
            ("message", Some(message)),
            ("observed", found.observed.as_deref()),
            ("expected", found.expected.as_deref()),
            ("failing_rows", found.failing),
            ("total_rows", found.total),
            ("owner", owner.map(Cow::as_ref)),
            ("run_url", self.run_url.as_deref()),
            ("severity", found.severity.as_deref()),
            ("version", found.subject.version.as_deref()),
        ];
        let words = words.map(|(name, text)| (name, text.unwrap_or_default()));
        let attributes = found.attributes.iter();
        Ok(Sighting {
            labels: self.identity(&found),
            annotations: merged(&found.annotations, &words),
            attributes: attributes
                .filter(|(name, _)| !BUILT_IN.contains(name))
                .collect(),
            severity: found.severity.map(Cow::into_owned),
            starts_at: self.run.finished_at.map(|at| at.min(self.now)),
            ends_at: None,
            said: Said::Check {
                outcome,
                run: self.run.clone(),
            },
        })
    }

    /// The check's labels under those of its report, and both under our own, which win.
    fn identity(&self, found: &Finding<'_>) -> Labels {
        let subject = &found.subject;
        let ours = [
            (subject.kind, subject.name.as_deref().unwrap_or_default()),
            ("part", subject.part.as_deref().unwrap_or_default()),
            ("tool", &self.source),
            ("alertname", &found.check_id),
        ];
        let theirs = found.labels.iter().chain(self.labels.iter());
        let theirs = theirs.filter(|(name, _)| *name != TWIN);
        let ours = ours.into_iter().filter(|(_, value)| !value.is_empty());
        theirs.chain(ours).collect()
    }
}

fn message_kept<'m>(message: &'m str, place: &str, notes: &mut Notes) -> &'m str {
    let kept = cut(message, MAX_MESSAGE_BYTES);
    if kept.len() < message.len() {
        let (from, to) = (message.len(), kept.len());
        notes.add(|| format!("{place}.message: cut from {from} bytes to {to}"));
    }
    kept
}

/// The first, with those of the others that say something.
fn merged(under: &Labels, over: &[(&str, &str)]) -> Labels {
    let over = over.iter().copied().filter(|(_, value)| !value.is_empty());
    under.iter().chain(over).collect()
}

/// The labels that the address of the request gives to each check: its parameters `label.<name>`.
pub(super) fn labels_of_address(post: &Post<'_>, notes: &mut Notes) -> Result<Labels, Bad> {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    for (name, value) in post.query {
        let Some(name) = name.strip_prefix("label.").filter(|name| !name.is_empty()) else {
            continue;
        };
        if name == TWIN {
            notes.add(|| format!("label.{TWIN} of the address: left out, the name is taken"));
            continue;
        }
        at_most(
            "a label of the address with a name",
            MAX_NAME_BYTES,
            name.len(),
        )?;
        at_most(
            "a label of the address with a value",
            MAX_VALUE_BYTES,
            value.len(),
        )?;
        labels.push((name, value.trim()));
    }
    if labels.len() > MAX_LABELS {
        let n = labels.len();
        let reason = format!("at most {MAX_LABELS} labels in the address are wanted, found {n}");
        return Err(Bad::here(reason));
    }
    Ok(labels.into_iter().collect())
}

/// A text that must be there.
pub(super) fn required<'a>(field: Field<'a>, what: &str, most: usize) -> Result<Cow<'a, str>, Bad> {
    let text = field.text()?.ok_or_else(|| field.wrong(what))?;
    no_longer(field, &text, what, most)?;
    Ok(text)
}

/// What the word of a field means.
pub(super) fn one_of<T: Copy>(field: Field<'_>, known: &[(&str, T)]) -> Result<T, Bad> {
    // What is no text is told as what was found, like any other.
    let text = field.text().ok().flatten().unwrap_or_default();
    let meant = known.iter().find(|(word, _)| *word == text);
    meant.map(|(_, meant)| *meant).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        field.wrong(&format!("one of {}", words.join(", ")))
    })
}

pub(super) fn required_boolean(field: Field<'_>) -> Result<bool, Bad> {
    let found = field.read(json::boolean)?;
    found.ok_or_else(|| field.wrong("true or false"))
}

/// The identity of a check as its tool names it.
pub(super) fn required_id(field: Field<'_>) -> Result<Cow<'_, str>, Bad> {
    required(field, "a check id", MAX_CHECK_ID_CHARS)
}

pub(super) fn no_longer(field: Field<'_>, text: &str, what: &str, most: usize) -> Result<(), Bad> {
    if text.chars().nth(most).is_some() {
        return Err(field.wrong(&format!("{what} of at most {most} characters")));
    }
    Ok(())
}

/// What was observed or expected: a text as it is, anything else as JSON; short either way.
pub(super) fn short(value: &RawValue) -> Result<String, Bad> {
    match json::text(value) {
        Ok(text) if text.len() > MAX_OBSERVED_BYTES => {
            Ok(format!("{}…", cut(&text, MAX_OBSERVED_BYTES)))
        }
        Ok(text) => Ok(text.into_owned()),
        Err(_no_text) => Ok(json::compact(value, MAX_OBSERVED_BYTES)),
    }
}

/// What was measured, where it is a number or says that it is none. A text or a list may be the values of rows.
pub(super) fn measured(value: &RawValue) -> Option<Cow<'_, str>> {
    const NO_NUMBERS: [&str; 6] = ["NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"];
    let text = json::text_or_number(value).ok()?;
    let is_kept = json::is_number(value) || NO_NUMBERS.contains(&&*text);
    (is_kept && text.len() <= MAX_OBSERVED_BYTES).then_some(text)
}

/// Whether one of them says more than a warning.
pub(super) fn any_failed(sightings: &[Sighting]) -> bool {
    let failed = |said: &Said| match said {
        Said::Check { outcome, .. } => matches!(outcome, Outcome::Fail | Outcome::Error),
        Said::Signal(_) => false,
    };
    sightings.iter().any(|sighting| failed(&sighting.said))
}

//! Any JSON, read as an operator's mapping says: items are found by path, each is one alert of texts made by templates.
//!
//! What a mapping asks for is looked up in place and remembered; no tree of the body is built.

mod form;
mod node;

use super::json::{self, Bad};
use super::{
    Confirm, MAX_ITEM_BYTES, MAX_LABELS, MAX_NAME_BYTES, NoTime, Notes, Parsed, Post, Rejected,
    Unusable, cut, time_in,
};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use crate::domain::mapping::path::{Path, Root, Step};
use crate::domain::mapping::{Condition, Fields, Mapping, StatusRule, Text, TextOf, Then, Word};
use crate::domain::template::RENDERED_MAX_BYTES;
use crate::domain::time::Timestamp;
use minijinja::{Value, context};
use node::{MAX_ELEMENTS, Node};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Texts of all alerts of a body together: a small one could say a lot once, and have many items that repeat it.
const MAX_TEXTS_BYTES: usize = 32 << 20;

/// What stands between the texts that a path with `[*]` leads to.
const BETWEEN: &str = ",";

pub(super) fn parse(post: &Post<'_>) -> Result<Parsed, Unusable> {
    let Some(mapping) = post.mapping else {
        let reason =
            "this source has no mapping: name one in its [sources.NAME], as mapping = \"…\"";
        return Err(Bad::here(reason).unusable());
    };
    let of_form = form::read(post)?;
    let text = of_form.as_ref().map_or(post.body, |form| form.as_bytes());
    let (root, flag) = json::read(text)?;
    let reading = Reading {
        mapping,
        post,
        body: Node::of_body(root.get(), &mapping.nested, &mapping.absent),
        headers: Value::from_pairs(post.headers.iter().cloned()),
        query: Value::from_pairs(post.query.iter().cloned()),
        n_bytes: Cell::new(0),
    };
    let mut parsed = Parsed::default();
    let mut notes = Notes::default();
    for item in reading.items().map_err(Bad::unusable)? {
        match reading.read(&item, &mut notes) {
            Ok(read) => take(&mut parsed, read),
            Err(bad) => {
                let path = format!("${}{}", item.place, bad.path);
                let is_whole = item.place.is_empty() && of_form.is_none();
                parsed.rejected.push(match is_whole {
                    true => Rejected::new(path, bad.reason, &root, &[]).alone(),
                    // What a mapping reads of the rest of a body is not told by the item.
                    false => Rejected {
                        path,
                        reason: bad.reason,
                        item: item.node.shown(MAX_ITEM_BYTES),
                        lacks: None,
                        around: None,
                    },
                });
            }
        }
    }
    parsed.notes = notes.0;
    parsed.notes.extend(flag);
    Ok(parsed)
}

fn take(parsed: &mut Parsed, read: Read) {
    match read {
        Read::Nothing => {}
        Read::Confirm(confirm) => parsed.confirm = Some(confirm),
        Read::Alert {
            sighting,
            is_acknowledged,
        } => {
            if is_acknowledged {
                parsed.acknowledged.push(sighting.labels.clone());
                parsed.n_seen_and_acknowledged += 1;
            }
            parsed.sightings.push(*sighting);
        }
    }
}

/// What an item was.
enum Read {
    Nothing,
    Confirm(Confirm),
    Alert {
        sighting: Box<Sighting>,
        is_acknowledged: bool,
    },
}

struct Item {
    /// From the body downwards: `.events[2]`.
    place: String,
    node: Node,
}

/// One body under one mapping.
struct Reading<'p> {
    mapping: &'p Mapping,
    post: &'p Post<'p>,
    body: Node,
    headers: Value,
    query: Value,
    /// Of texts of alerts, so far.
    n_bytes: Cell<usize>,
}

impl Reading<'_> {
    /// What there is one alert for, each.
    fn items(&self) -> Result<Vec<Item>, Bad> {
        let body = || Item {
            place: String::new(),
            node: self.body.clone(),
        };
        if self.mapping.items.is_empty() {
            return elements_of(body());
        }
        for path in &self.mapping.items {
            let mut found = vec![body()];
            for step in &path.steps {
                found = one_step(found, step)?;
            }
            if let (false, [_one]) = (path.is_plural(), found.as_slice()) {
                let one = found.pop().map(elements_of);
                return one.unwrap_or_else(|| Ok(Vec::new()));
            }
            // An empty list is there, and has no items.
            if !found.is_empty() || (path.is_plural() && self.has_list_of(path)?) {
                return Ok(found);
            }
        }
        let paths: Vec<String> = self.mapping.items.iter().map(Path::to_string).collect();
        let paths = paths.join(" or ");
        Err(Bad::here(format!(
            "items are wanted at {paths}, found none"
        )))
    }

    /// Whether what stands before the first `[*]` of a path is a list.
    fn has_list_of(&self, path: &Path) -> Result<bool, Bad> {
        let mut at = self.body.clone();
        for step in path.steps.iter().take_while(|step| **step != Step::Each) {
            match at.step(step)? {
                Some(next) => at = next,
                None => return Ok(false),
            }
        }
        Ok(at.is_list())
    }

    /// Refuses what would be too much for one body.
    fn takes(&self, texts: &[&Labels]) -> Result<(), Bad> {
        let pairs = texts.iter().flat_map(|labels| labels.iter());
        let bytes: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
        let all = self.n_bytes.get().saturating_add(bytes);
        if all > MAX_TEXTS_BYTES {
            let reason = format!(
                "the texts of all items are more than {MAX_TEXTS_BYTES} bytes; send fewer items at a time"
            );
            return Err(Bad::here(reason));
        }
        self.n_bytes.set(all);
        Ok(())
    }

    fn read(&self, item: &Item, notes: &mut Notes) -> Result<Read, Bad> {
        let scope = Scope {
            reading: self,
            item: &item.node,
            values: context! {
                item => item.node.value(),
                body => self.body.value(),
                headers => self.headers.clone(),
                query => self.query.clone(),
            },
        };
        if !scope.fits(&self.mapping.when)? {
            return Ok(Read::Nothing);
        }
        for case in &self.mapping.cases {
            if scope.fits(&case.when)? {
                return scope.read(&case.then, &item.place, notes);
            }
        }
        let name = &self.mapping.name;
        Err(Bad::here(format!("no case of the mapping \"{name}\" fits")))
    }
}

/// The elements of a list, or the one thing that is none.
fn elements_of(one: Item) -> Result<Vec<Item>, Bad> {
    if !one.node.is_list() {
        return Ok(vec![one]);
    }
    one_step(vec![one], &Step::Each)
}

fn one_step(from: Vec<Item>, step: &Step) -> Result<Vec<Item>, Bad> {
    let mut found: Vec<Item> = Vec::new();
    for Item { place, node } in from {
        if *step != Step::Each {
            let next = node.step(step)?;
            let next = next.filter(|next| !matches!(next.is_nothing(), Ok(true)));
            found.extend(next.map(|node| Item {
                place: format!("{place}{}", shown(step)),
                node,
            }));
            continue;
        }
        let elements = node.elements()?;
        if elements.is_none() && node.is_list() {
            return Err(too_many());
        }
        let elements = elements.unwrap_or_default().into_iter().enumerate();
        found.extend(elements.map(|(n, node)| Item {
            place: format!("{place}[{n}]"),
            node,
        }));
        if found.len() > MAX_ELEMENTS {
            return Err(too_many());
        }
    }
    Ok(found)
}

fn too_many() -> Bad {
    Bad::here(format!(
        "at most {MAX_ELEMENTS} items are wanted, found more"
    ))
}

fn shown(step: &Step) -> String {
    match step {
        Step::Name(name) => json::segment(name),
        Step::Index(index) => format!("[{index}]"),
        Step::Each => "[*]".to_owned(),
    }
}

/// What the texts of one item are made of.
struct Scope<'s> {
    reading: &'s Reading<'s>,
    item: &'s Node,
    values: Value,
}

impl Scope<'_> {
    fn fits(&self, conditions: &[Condition]) -> Result<bool, Bad> {
        for condition in conditions {
            let text = self.at(&condition.path)?;
            if !condition.matcher.matches(text.as_deref()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&self, then: &Then, place: &str, notes: &mut Notes) -> Result<Read, Bad> {
        match then {
            Then::Alert(fields) => self.alert(fields, place, notes),
            Then::Ignore { note } => {
                if let Some(note) = note {
                    let said = note.render_over(&self.values);
                    let said = said.unwrap_or_else(|error| error.message);
                    notes.add(|| cut(&said, RENDERED_MAX_BYTES).to_owned());
                }
                Ok(Read::Nothing)
            }
            Then::Confirm { url } => {
                let steps: String = url.steps.iter().map(shown).collect();
                let found = self.at(url)?.ok_or_else(|| Bad {
                    path: steps.clone(),
                    reason: "an address to confirm is wanted, found nothing".to_owned(),
                })?;
                Ok(Read::Confirm(Confirm {
                    path: format!("$.{}", steps.trim_start_matches('.')),
                    url: found,
                }))
            }
        }
    }

    fn alert(&self, fields: &Fields, place: &str, notes: &mut Notes) -> Result<Read, Bad> {
        let word = self.status(&fields.status)?;
        let signal = match word {
            Word::Firing | Word::Acknowledged => Signal::Firing,
            Word::Resolved => Signal::Resolved,
            Word::Ignore => return Ok(Read::Nothing),
        };
        let labels = self.labels(&fields.labels)?;
        let place = format!("${place}");
        let (starts_at, ends_at) = match signal {
            Signal::Firing | Signal::FiringUntil(_) => (fields.starts_at.as_ref(), None),
            Signal::Resolved => (None, fields.ends_at.as_ref()),
        };
        let mut time = |name: &str, text: Option<&Text>| match text {
            Some(text) => self.time(name, text, &place, notes),
            None => Ok(None),
        };
        let (starts_at, ends_at) = (time("starts_at", starts_at)?, time("ends_at", ends_at)?);
        let severity = match &fields.severity {
            Some(text) => self.words_of("severity", text, &place, notes)?,
            None => None,
        };
        let annotations = self.words("annotations", &fields.annotations, &place, notes)?;
        let attributes = self.words("attributes", &fields.attributes, &place, notes)?;
        self.reading.takes(&[&labels, &annotations, &attributes])?;
        Ok(Read::Alert {
            sighting: Box::new(Sighting {
                labels,
                annotations,
                attributes,
                severity,
                starts_at,
                ends_at,
                said: Said::Signal(signal),
            }),
            is_acknowledged: word == Word::Acknowledged,
        })
    }

    fn status(&self, rule: &StatusRule) -> Result<Word, Bad> {
        let found = match rule {
            StatusRule::Always(_) => None,
            StatusRule::Told { of, .. } => self.text(of).map_err(|bad| named("status", bad))?,
        };
        if let Some(word) = rule.meaning(found.as_deref()) {
            return Ok(word);
        }
        let known: Vec<&str> = rule.known().into_iter().collect();
        let shown = found.map_or("nothing".to_owned(), |text| json::shown_text(&text));
        let reason = format!("one of {} is wanted, found {shown}", known.join(", "));
        Err(match rule {
            StatusRule::Told { of, .. } => match &of.of {
                TextOf::Paths(paths) => Bad {
                    path: paths.first().map_or_else(String::new, below),
                    reason: format!("status: {reason}"),
                },
                TextOf::Template(_) => Bad::here(format!("status: {reason}")),
            },
            StatusRule::Always(_) => Bad::here(reason),
        })
    }

    /// The identity. What is too long refuses the item: a label that is cut would be another alert.
    fn labels(&self, texts: &BTreeMap<String, Text>) -> Result<Labels, Bad> {
        let mut labels: Vec<(&str, String)> = Vec::with_capacity(texts.len());
        for (name, text) in texts.iter().take(MAX_LABELS) {
            let label = || format!("label \"{name}\"");
            let found = self.text(text).map_err(|bad| named(&label(), bad))?;
            let Some(value) = found else {
                // It is what the alert is: without it, those of many things would be one.
                if name == "alertname" {
                    return Err(Bad::here("the label \"alertname\" is empty"));
                }
                continue;
            };
            if value.len() > RENDERED_MAX_BYTES {
                let n = value.len();
                let reason = format!(
                    "{}: at most {RENDERED_MAX_BYTES} bytes are wanted, found {n}",
                    label()
                );
                return Err(Bad::here(reason));
            }
            labels.push((name, value));
        }
        if labels.is_empty() {
            return Err(Bad::here("every label is empty"));
        }
        Ok(labels.into_iter().collect())
    }

    /// Texts that are no identity: what cannot be made is left out, what is too long is cut, both with a note.
    fn words(
        &self,
        what: &str,
        texts: &BTreeMap<String, Text>,
        place: &str,
        notes: &mut Notes,
    ) -> Result<Labels, Bad> {
        let mut words: Vec<(&str, String)> = Vec::with_capacity(texts.len());
        for (name, text) in texts.iter().take(MAX_LABELS) {
            let found = self.words_of(&format!("{what}.{name}"), text, place, notes)?;
            words.extend(found.map(|text| (name.as_str(), text)));
        }
        Ok(words.into_iter().collect())
    }

    fn words_of(
        &self,
        what: &str,
        text: &Text,
        place: &str,
        notes: &mut Notes,
    ) -> Result<Option<String>, Bad> {
        let found = match self.text(text) {
            Ok(found) => found,
            Err(bad) => {
                notes.add(|| format!("{place}: {what} is left out: {}", bad.reason));
                None
            }
        };
        Ok(found.map(|text| {
            let kept = cut(&text, RENDERED_MAX_BYTES).to_owned();
            if kept.len() < text.len() {
                let (from, to) = (text.len(), kept.len());
                notes.add(|| format!("{place}: {what} is cut from {from} bytes to {to}"));
            }
            kept
        }))
    }

    /// An instant; what is none is worth no rejected alert: its arrival stands for it.
    fn time(
        &self,
        what: &str,
        text: &Text,
        place: &str,
        notes: &mut Notes,
    ) -> Result<Option<Timestamp>, Bad> {
        let Some(found) = self.words_of(what, text, place, notes)? else {
            return Ok(None);
        };
        Ok(time_in(&found).unwrap_or_else(|NoTime| {
            let shown = json::shown_text(&found);
            notes.add(|| {
                format!(
                    "{place}: {what}: an RFC 3339 or Unix time is wanted, found {shown}; the arrival is taken"
                )
            });
            None
        }))
    }

    /// A text without blanks around it; none where it is empty.
    fn text(&self, text: &Text) -> Result<Option<String>, Bad> {
        let found = match &text.of {
            TextOf::Template(template) => {
                let rendered = template.render_over(&self.values);
                Some(rendered.map_err(|error| Bad::here(error.message))?)
            }
            TextOf::Paths(paths) => {
                let mut found = None;
                for path in paths {
                    found = self.at(path)?;
                    if found.is_some() {
                        break;
                    }
                }
                found
            }
        };
        Ok(text.said(found.map(|text| text.trim().to_owned())))
    }

    /// The text that a path leads to; none where it leads to nothing.
    fn at(&self, path: &Path) -> Result<Option<String>, Bad> {
        let body = &self.reading.body;
        let text = match path.root {
            Root::Headers => named_in(path, |name| self.reading.post.header(name)),
            Root::Query => named_in(path, |name| self.reading.post.parameter(name)),
            Root::Body => found_in(body, path)?,
            Root::Item => found_in(self.item, path)?,
            Root::Here => match found_in(self.item, path)? {
                Some(found) => Some(found),
                None => found_in(body, path)?,
            },
        };
        Ok(text.filter(|text| !text.is_empty()))
    }
}

fn named_in<'p>(path: &Path, find: impl Fn(&str) -> Option<&'p str>) -> Option<String> {
    match path.steps.as_slice() {
        [Step::Name(name)] if name.len() <= MAX_NAME_BYTES => find(name).map(str::to_owned),
        _other => None,
    }
}

fn found_in(from: &Node, path: &Path) -> Result<Option<String>, Bad> {
    if !path.is_plural() {
        let mut at = from.clone();
        for step in &path.steps {
            match at.step(step)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        return at.text();
    }
    let mut found = vec![Item {
        place: String::new(),
        node: from.clone(),
    }];
    for step in &path.steps {
        found = one_step(found, step)?;
    }
    let mut texts = Vec::new();
    for item in found {
        texts.extend(item.node.text()?);
    }
    Ok((!texts.is_empty()).then(|| texts.join(BETWEEN)))
}

/// Where a path leads, seen from the item.
fn below(path: &Path) -> String {
    match path.root {
        Root::Here | Root::Item => path.steps.iter().map(shown).collect(),
        Root::Body | Root::Headers | Root::Query => String::new(),
    }
}

fn named(what: &str, bad: Bad) -> Bad {
    Bad {
        path: bad.path,
        reason: format!("{what}: {}", bad.reason),
    }
}

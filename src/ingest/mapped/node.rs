//! Parts of what was posted, read only as far as they are asked for. What reading one body may cost is bounded by its size.

use super::super::json::{self, Bad};
use crate::domain::mapping::nested::Nested;
use crate::domain::mapping::path::Step;
use crate::domain::template::RENDERED_MAX_BYTES;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Value};
use regex::Regex;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Items of a body, and elements of a list that is looked at.
pub(super) const MAX_ELEMENTS: usize = 10_000;

/// Members of an object that are found without looking through all of it again.
const MAX_KNOWN_MEMBERS: usize = 1024;

/// What reading may cost: bytes looked at, for each byte of the body, and beside them for small ones.
const WORK_PER_BYTE: u64 = 32;
const WORK_FOR_ALL: u64 = 1 << 20;

/// What a look at a part costs beside its bytes.
const WORK_PER_LOOK: u64 = 64;

/// Levels of texts of JSON in texts of JSON.
const MAX_NESTED: u32 = 4;

/// What all parts of one body share.
#[derive(Debug)]
struct Reader {
    absent: Vec<Regex>,
    work_left: AtomicU64,
}

/// Reading went on for too long.
fn too_much() -> Bad {
    Bad::here("reading this takes more work than a body of this size may")
}

impl Reader {
    fn works(&self, bytes: usize) -> Result<(), Bad> {
        let work = u64::try_from(bytes).unwrap_or(u64::MAX);
        let work = work.saturating_add(WORK_PER_LOOK);
        let left = self
            .work_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(work)
            });
        left.map(drop).map_err(|_spent| too_much())
    }
}

/// A value somewhere in a body.
#[derive(Clone)]
pub(super) struct Node(Arc<Part>);

struct Part {
    /// Sound JSON that it is a part of.
    whole: Arc<str>,
    at: Range<usize>,
    nested: Option<Arc<Nested>>,
    n_nested: u32,
    reader: Arc<Reader>,
    members: OnceLock<Members>,
    elements: OnceLock<Option<Vec<Slot>>>,
    /// What templates see of a text: of the body's it may be asked for by every item.
    seen: OnceLock<Value>,
}

/// The members of an object; none where they are too many to be remembered.
type Members = Option<Vec<(String, Slot)>>;

/// A part of a part, made when it is asked for.
struct Slot {
    at: Range<usize>,
    node: OnceLock<Node>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json::compact_in(self.json(), RENDERED_MAX_BYTES))
    }
}

impl Node {
    /// The whole of a body, which is sound JSON.
    pub(super) fn of_body(body: &str, nested: &Nested, absent: &[Regex]) -> Self {
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let reader = Reader {
            absent: absent.to_vec(),
            work_left: AtomicU64::new(bytes.saturating_mul(WORK_PER_BYTE) + WORK_FOR_ALL),
        };
        let part = Part {
            whole: body.into(),
            at: 0..body.len(),
            nested: Some(Arc::new(nested.clone())),
            n_nested: 0,
            reader: Arc::new(reader),
            members: OnceLock::new(),
            elements: OnceLock::new(),
            seen: OnceLock::new(),
        };
        part.read_as_text_of_json()
    }

    pub(super) fn is_list(&self) -> bool {
        self.0.json().starts_with('[')
    }

    /// Null, or a text that stands for nothing.
    pub(super) fn is_nothing(&self) -> Result<bool, Bad> {
        match self.0.json().as_bytes().first() {
            Some(b'n') => Ok(true),
            Some(b'"') => Ok(self.text()?.is_none()),
            _other => Ok(false),
        }
    }

    /// One step on; nothing where there is none.
    pub(super) fn step(&self, step: &Step) -> Result<Option<Self>, Bad> {
        match step {
            Step::Name(name) => self.0.member(name),
            Step::Index(index) => {
                let Some(elements) = self.0.elements()? else {
                    return Ok(None);
                };
                let from_end = || {
                    let back = usize::try_from(index.unsigned_abs()).ok()?;
                    elements.len().checked_sub(back)
                };
                let at = match usize::try_from(*index) {
                    Ok(at) => Some(at),
                    Err(_negative) => from_end(),
                };
                Ok(at.and_then(|at| self.0.element(elements, at)))
            }
            Step::Each => Ok(None),
        }
    }

    /// The elements of a list; none where it is none, or has more than anybody looks at.
    pub(super) fn elements(&self) -> Result<Option<Vec<Self>>, Bad> {
        let Some(elements) = self.0.elements()? else {
            return Ok(None);
        };
        let nested = self.0.nested_element();
        // Not remembered: each is looked at once, and then it is gone.
        let each = elements.iter();
        let each = each.map(|slot| self.0.below(slot.at.clone(), nested));
        Ok(Some(each.collect()))
    }

    /// A text as it is, a number as it is written, anything else as JSON; none where it stands for nothing.
    pub(super) fn text(&self) -> Result<Option<String>, Bad> {
        let json = self.0.json();
        self.0.reader.works(json.len())?;
        let text = match json.as_bytes().first() {
            Some(b'n') => return Ok(None),
            // Half a character is all that can be wrong with it.
            Some(b'"') => json::text_in(json).unwrap_or_default().into_owned(),
            _other => json::compact_in(json, json.len()),
        };
        let stands_for_nothing = self
            .0
            .reader
            .absent
            .iter()
            .any(|regex| regex.is_match(&text));
        Ok((!stands_for_nothing).then_some(text))
    }

    /// As JSON without blanks, cut where it is long.
    pub(super) fn shown(&self, most_bytes: usize) -> String {
        json::compact_in(self.0.json(), most_bytes)
    }

    /// What templates see.
    pub(super) fn value(&self) -> Value {
        let json = self.0.json();
        match json.as_bytes().first() {
            Some(b'{' | b'[') => Value::from_dyn_object(Arc::clone(&self.0)),
            Some(b't') => Value::from(true),
            Some(b'f') => Value::from(false),
            Some(b'n') => Value::UNDEFINED,
            Some(b'"') => self.0.seen.get_or_init(|| self.seen()).clone(),
            _digit => number(json),
        }
    }

    fn seen(&self) -> Value {
        match self.text() {
            Ok(Some(text)) => Value::from(seen(&text)),
            Ok(None) => Value::UNDEFINED,
            Err(bad) => invalid(bad),
        }
    }
}

/// As much of a text as a template needs to see: whatever renders more than a rendering may have is too long already.
fn seen(text: &str) -> &str {
    super::super::cut(text, RENDERED_MAX_BYTES + 4)
}

/// A number, where it can be held as one; else as it is written.
fn number(json: &str) -> Value {
    if let Ok(whole) = json.parse::<i64>() {
        return Value::from(whole);
    }
    let is_fraction = json.contains(['.', 'e', 'E']);
    match json.parse::<f64>() {
        Ok(number) if is_fraction && number.is_finite() => Value::from(number),
        _beyond => Value::from(seen(json)),
    }
}

fn invalid(bad: Bad) -> Value {
    Value::from(Error::new(ErrorKind::OutOfFuel, bad.reason))
}

impl Part {
    fn json(&self) -> &str {
        self.whole.get(self.at.clone()).unwrap_or_default()
    }

    /// Itself, or what its text is, where that is known to be JSON and is.
    fn read_as_text_of_json(self) -> Node {
        let is_text_of_json = self.nested.as_ref().is_some_and(|nested| nested.is_json)
            && self.n_nested < MAX_NESTED
            && self.json().starts_with('"')
            && self.reader.works(self.json().len()).is_ok();
        if !is_text_of_json {
            return Node(Arc::new(self));
        }
        let text = json::text_in(self.json()).unwrap_or_default();
        let read = json::read(text.as_bytes());
        let whole: Option<Arc<str>> = read.ok().map(|(root, _flag)| root.get().into());
        let Some(whole) = whole else {
            return Node(Arc::new(self));
        };
        Node(Arc::new(Self {
            at: 0..whole.len(),
            whole,
            nested: self.nested.clone(),
            n_nested: self.n_nested + 1,
            reader: Arc::clone(&self.reader),
            members: OnceLock::new(),
            elements: OnceLock::new(),
            seen: OnceLock::new(),
        }))
    }

    /// A part of this one.
    fn below(&self, at: Range<usize>, nested: Option<&Arc<Nested>>) -> Node {
        let part = Self {
            whole: Arc::clone(&self.whole),
            at,
            nested: nested.map(Arc::clone),
            n_nested: self.n_nested,
            reader: Arc::clone(&self.reader),
            members: OnceLock::new(),
            elements: OnceLock::new(),
            seen: OnceLock::new(),
        };
        part.read_as_text_of_json()
    }

    fn slot(&self, part: &str) -> Slot {
        Slot {
            at: self.place_of(part),
            node: OnceLock::new(),
        }
    }

    /// Where in the whole a part of this stands.
    fn place_of(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr().addr() - self.whole.as_ptr().addr();
        start..start + part.len()
    }

    fn member(&self, name: &str) -> Result<Option<Node>, Bad> {
        let json = self.json();
        if !json.starts_with('{') {
            return Ok(None);
        }
        self.reader.works(0)?;
        let nested = self.nested.as_ref().and_then(|nested| nested.under(name));
        if let Some(members) = self.members()? {
            // Of a name that comes twice the last counts.
            let found = members.iter().rev().find(|(known, _)| known == name);
            let node = |slot: &Slot| {
                let made = || self.below(slot.at.clone(), nested);
                slot.node.get_or_init(made).clone()
            };
            return Ok(found.map(|(_, slot)| node(slot)));
        }
        self.reader.works(json.len())?;
        let found = json::member_in(json, name).ok().flatten();
        Ok(found.map(|value| self.below(self.place_of(value.get()), nested)))
    }

    fn members(&self) -> Result<Option<&Vec<(String, Slot)>>, Bad> {
        if let Some(known) = self.members.get() {
            return Ok(known.as_ref());
        }
        let json = self.json();
        self.reader.works(json.len())?;
        let known = self.members.get_or_init(|| {
            let pairs = json::pairs_in(json, MAX_KNOWN_MEMBERS).ok()?;
            if pairs.n_found > MAX_KNOWN_MEMBERS {
                return None;
            }
            let kept = pairs.kept.into_iter();
            Some(
                kept.map(|(name, value)| (name, self.slot(value.get())))
                    .collect(),
            )
        });
        Ok(known.as_ref())
    }

    fn elements(&self) -> Result<Option<&Vec<Slot>>, Bad> {
        let json = self.json();
        if !json.starts_with('[') {
            return Ok(None);
        }
        self.reader.works(0)?;
        if let Some(known) = self.elements.get() {
            return Ok(known.as_ref());
        }
        self.reader.works(json.len())?;
        let known = self.elements.get_or_init(|| {
            let elements = json::list_in(json, MAX_ELEMENTS).ok()?;
            Some(elements.iter().map(|one| self.slot(one.get())).collect())
        });
        Ok(known.as_ref())
    }

    fn nested_element(&self) -> Option<&Arc<Nested>> {
        self.nested.as_ref().and_then(|nested| nested.element())
    }

    fn element(&self, elements: &[Slot], at: usize) -> Option<Node> {
        let slot = elements.get(at)?;
        let made = || self.below(slot.at.clone(), self.nested_element());
        Some(slot.node.get_or_init(made).clone())
    }
}

impl Object for Part {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.json().starts_with('[') {
            true => ObjectRepr::Seq,
            false => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = match (key.as_str(), key.as_usize()) {
            (Some(name), _) => self.member(name),
            (None, Some(at)) => self.elements().map(|elements| self.element(elements?, at)),
            (None, None) => Ok(None),
        };
        match found {
            Ok(found) => found.map(|node| node.value()),
            Err(bad) => Some(invalid(bad)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.json().starts_with('[') {
            let elements = self.elements();
            return match elements {
                Ok(Some(elements)) => Enumerator::Seq(elements.len()),
                Ok(None) | Err(_) => Enumerator::NonEnumerable,
            };
        }
        match self.members() {
            Ok(Some(members)) => {
                let names = members.iter().map(|(name, _)| Value::from(name.as_str()));
                Enumerator::Values(names.collect())
            }
            Ok(None) | Err(_) => Enumerator::NonEnumerable,
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        let inner = self.json().get(1..).unwrap_or_default();
        !inner.trim_start().starts_with(['}', ']'])
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json::compact_in(self.json(), RENDERED_MAX_BYTES + 4))
    }
}

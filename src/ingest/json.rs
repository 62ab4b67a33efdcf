//! JSON from strangers: the syntax is checked once, then only the wanted fields are looked at, in place.
//! No tree of values is built, so neither depth nor size costs more than the body itself.

mod body;

pub(super) use body::read;

use super::{Around, Lack, MAX_AROUND_BYTES, Unusable, cut};
use body::tokens;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Of what was found, in a reason.
const SHOWN_BYTES: usize = 64;

/// Why a value could not be used. Its path is put together on the way out, so that what is well costs nothing.
#[derive(Debug)]
pub(super) struct Bad {
    /// From the value at hand downwards: `.labels.foo`.
    pub(super) path: String,
    pub(super) reason: String,
}

impl Bad {
    pub(super) fn here(reason: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            reason: reason.into(),
        }
    }

    /// The same, seen from the object that holds the value as `name`.
    pub(super) fn under(mut self, name: &str) -> Self {
        self.path.insert_str(0, &segment(name));
        self
    }

    /// The same, seen from the list that holds the value.
    pub(super) fn at(mut self, n: usize) -> Self {
        self.path.insert_str(0, &format!("[{n}]"));
        self
    }

    pub(super) fn unusable(self) -> Unusable {
        Unusable {
            path: format!("${}", self.path),
            reason: self.reason,
        }
    }
}

/// One step of a path: `.labels`, or `["a b"]` where the name is no word.
pub(super) fn segment(name: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts_well = name.starts_with(|c: char| word(c) && !c.is_ascii_digit());
    if starts_well && name.chars().all(word) && name.len() <= SHOWN_BYTES {
        return format!(".{name}");
    }
    format!("[{}]", shown_text(name))
}

/// A field of an object, by its name; null is as good as absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    name: &'static str,
    value: Option<&'a RawValue>,
}

impl<'a> Field<'a> {
    pub(super) fn is_absent(self) -> bool {
        self.value.is_none()
    }

    pub(super) fn read<T>(
        self,
        reader: impl FnOnce(&'a RawValue) -> Result<T, Bad>,
    ) -> Result<Option<T>, Bad> {
        let Some(value) = self.value else {
            return Ok(None);
        };
        reader(value).map(Some).map_err(|bad| bad.under(self.name))
    }

    /// The text, none where it is empty or absent.
    pub(super) fn text(self) -> Result<Option<Cow<'a, str>>, Bad> {
        let text = self.read(text)?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// `{wanted} is wanted, found …`, at this field.
    pub(super) fn wrong(self, wanted: &str) -> Bad {
        wrong(wanted, self.value).under(self.name)
    }

    pub(super) fn value(self) -> Option<&'a RawValue> {
        self.value
    }

    /// The value as it is written, for a comparison.
    pub(super) fn as_written(self) -> Option<&'a str> {
        self.value.map(RawValue::get)
    }
}

/// The fields of these names; of one that comes twice the last counts, others are passed over.
pub(super) fn fields<'a, const N: usize>(
    object: &'a RawValue,
    names: [&'static str; N],
) -> Result<[Field<'a>; N], Bad> {
    if !starts_with(object, b'{') {
        return Err(mismatch("an object", object));
    }
    let fields = names.map(|name| Field { name, value: None });
    let mut reader = serde_json::Deserializer::from_str(object.get());
    reader
        .deserialize_map(Fields(fields))
        .map_err(|error| unreadable(&error))
}

struct Fields<'a, const N: usize>([Field<'a>; N]);

impl<'de, const N: usize> Visitor<'de> for Fields<'de, N> {
    type Value = [Field<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(wanted) = map.next_key_seed(Wanted(&mut self.0, PhantomData))? {
            let Some(field) = wanted else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &'de RawValue = map.next_value()?;
            field.value = Some(value).filter(|value| !is_null(value));
        }
        Ok(self.0)
    }
}

/// Reads a key as the field it names, if one of those that are wanted.
struct Wanted<'f, 'de, 'a>(&'f mut [Field<'a>], PhantomData<&'de ()>);

impl<'f, 'de, 'a> DeserializeSeed<'de> for Wanted<'f, 'de, 'a> {
    type Value = Option<&'f mut Field<'a>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'f, 'de, 'a> Visitor<'de> for Wanted<'f, 'de, 'a> {
    type Value = Option<&'f mut Field<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter_mut().find(|field| field.name == name))
    }
}

/// The items of a list; refuses one of more than `most`.
pub(super) fn list(list: &RawValue, most: usize) -> Result<Vec<&RawValue>, Bad> {
    if !starts_with(list, b'[') {
        return Err(mismatch("a list", list));
    }
    list_in(list.get(), most)
}

/// The same of the text of a list, which is known to be one.
pub(super) fn list_in(list: &str, most: usize) -> Result<Vec<&RawValue>, Bad> {
    let mut reader = serde_json::Deserializer::from_str(list);
    let items = reader
        .deserialize_seq(Items(most))
        .map_err(|error| unreadable(&error))?;
    items.ok_or_else(|| Bad::here(format!("at most {most} items are wanted, found more")))
}

/// The texts of a list; refuses more than `most`, and what is no text.
pub(super) fn texts(value: &RawValue, most: usize) -> Result<Vec<Cow<'_, str>>, Bad> {
    let items = list(value, most)?.into_iter().enumerate();
    items
        .map(|(n, item)| text(item).map_err(|bad| bad.at(n)))
        .collect()
}

struct Items(usize);

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() < self.0 {
                items.push(item);
                continue;
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        }
        Ok(Some(items))
    }
}

/// The first pairs of an object, and how many it has.
pub(super) struct Pairs<'a> {
    pub(super) kept: Vec<(String, &'a RawValue)>,
    pub(super) n_found: usize,
}

pub(super) fn pairs(object: &RawValue, most: usize) -> Result<Pairs<'_>, Bad> {
    if !starts_with(object, b'{') {
        return Err(mismatch("an object", object));
    }
    pairs_in(object.get(), most)
}

/// The same of the text of an object, which is known to be one.
pub(super) fn pairs_in(object: &str, most: usize) -> Result<Pairs<'_>, Bad> {
    let mut reader = serde_json::Deserializer::from_str(object);
    reader
        .deserialize_map(FirstPairs(most))
        .map_err(|error| unreadable(&error))
}

/// What the text of an object has under a name, the last of several, also where that is null.
pub(super) fn member_in<'a>(object: &'a str, name: &str) -> Result<Option<&'a RawValue>, Bad> {
    let mut reader = serde_json::Deserializer::from_str(object);
    reader
        .deserialize_map(Member(name))
        .map_err(|error| unreadable(&error))
}

struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            match is_it {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Reads a key, and says whether it is this one.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0 == name)
    }
}

struct FirstPairs(usize);

impl<'de> Visitor<'de> for FirstPairs {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Pairs {
            kept: Vec::new(),
            n_found: 0,
        };
        while pairs.n_found < self.0 {
            let Some(pair) = map.next_entry()? else {
                return Ok(pairs);
            };
            pairs.kept.push(pair);
            pairs.n_found += 1;
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            pairs.n_found += 1;
        }
        Ok(pairs)
    }
}

pub(super) fn text(value: &RawValue) -> Result<Cow<'_, str>, Bad> {
    if !starts_with(value, b'"') {
        return Err(mismatch("a string", value));
    }
    text_in(value.get())
}

/// The same of a text with its quotes, which is known to be one.
pub(super) fn text_in(value: &str) -> Result<Cow<'_, str>, Bad> {
    if let Ok(text) = serde_json::from_str::<&str>(value) {
        return Ok(Cow::Borrowed(text));
    }
    match serde_json::from_str::<String>(value) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(error) => Err(unreadable(&error)),
    }
}

/// The text; an empty one for null.
pub(super) fn text_or_nothing(value: &RawValue) -> Result<Cow<'_, str>, Bad> {
    if is_null(value) {
        return Ok(Cow::Borrowed(""));
    }
    text(value)
}

/// A text, or a number as it is written.
pub(super) fn text_or_number(value: &RawValue) -> Result<Cow<'_, str>, Bad> {
    if is_number(value) {
        return Ok(Cow::Borrowed(value.get()));
    }
    text(value)
}

/// A number as it is written, of any size.
pub(super) fn number(value: &RawValue) -> Result<&str, Bad> {
    if is_number(value) {
        return Ok(value.get());
    }
    Err(mismatch("a number", value))
}

pub(super) fn boolean(value: &RawValue) -> Result<bool, Bad> {
    match value.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _other => Err(mismatch("true or false", value)),
    }
}

pub(super) fn whole_number(value: &RawValue) -> Result<i64, Bad> {
    number(value)?
        .parse()
        .map_err(|_beyond: std::num::ParseIntError| wrong("a whole number", Some(value)))
}

pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

pub(super) fn is_number(value: &RawValue) -> bool {
    value
        .get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// The value as JSON without blanks, cut with an ellipsis where it is longer than `most` bytes.
pub(super) fn compact(value: &RawValue, most: usize) -> String {
    compact_in(value.get(), most)
}

/// The same of the text of a value.
pub(super) fn compact_in(value: &str, most: usize) -> String {
    let mut text = String::new();
    for token in tokens(value) {
        text.push_str(token.text);
        if text.len() > most {
            return format!("{}…", cut(&text, most));
        }
    }
    text
}

/// The same of an object without some of its fields.
pub(super) fn compact_without(names: &[&str], value: &RawValue, most: usize) -> String {
    let Ok(pairs) = pairs(value, most) else {
        return compact(value, most);
    };
    let mut text = String::new();
    let kept = pairs.kept.iter();
    for (key, value) in kept.filter(|(key, _)| !names.contains(&key.as_str())) {
        let comma = if text.is_empty() { '{' } else { ',' };
        let key = serde_json::Value::from(key.as_str());
        text.push_str(&format!("{comma}{key}:{}", compact(value, most)));
        if text.len() > most {
            return format!("{}…", cut(&text, most));
        }
    }
    let brace = if text.is_empty() { "{}" } else { "}" };
    text + brace
}

/// What is kept of an item: as JSON without blanks and without some of its fields, at most so many bytes; and what that lacks.
pub(super) fn kept(value: &RawValue, private: &[&str], most: usize) -> (String, Option<Lack>) {
    let text = compact_without(private, value, most);
    let is_private = |name: &str| private.contains(&name);
    let lacks = match pairs(value, most) {
        // That it goes on is said by three bytes at its end.
        _any if text.len() > most => Some(Lack::End),
        Ok(pairs) if pairs.kept.iter().any(|(name, _)| is_private(name)) => Some(Lack::Rows),
        Ok(_) | Err(_) => None,
    };
    (text, lacks)
}

/// What is to stand around one item of the list `list` of an object that has these fields besides; none where it is too much.
pub(super) fn around(fields: &[Field<'_>], list: &str) -> Option<Around> {
    enclosed(fields, &format!("\"{list}\":["), "]}")
}

/// The same around the value of the field `name`.
pub(super) fn around_value(fields: &[Field<'_>], name: &str) -> Option<Around> {
    enclosed(fields, &format!("\"{name}\":"), "}")
}

fn enclosed(fields: &[Field<'_>], opening: &str, closing: &str) -> Option<Around> {
    let mut before = "{".to_owned();
    for field in fields {
        if let Some(value) = field.value {
            before.push_str(&format!("\"{}\":{},", field.name, value.get()));
        }
        if before.len() > MAX_AROUND_BYTES {
            return None;
        }
    }
    before.push_str(opening);
    Some(Around {
        before,
        after: closing.to_owned(),
    })
}

/// `{wanted} is wanted, found …`, with what was found where that is short.
pub(super) fn wrong(wanted: &str, found: Option<&RawValue>) -> Bad {
    let found = found.map_or_else(|| "nothing".to_owned(), shown);
    Bad::here(format!("{wanted} is wanted, found {found}"))
}

fn shown(value: &RawValue) -> String {
    if let Ok(text) = text(value) {
        return shown_text(&text);
    }
    if is_number(value) {
        return cut(value.get(), SHOWN_BYTES).to_owned();
    }
    sort_of(value).to_owned()
}

pub(super) fn shown_text(text: &str) -> String {
    let start = cut(text, SHOWN_BYTES);
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", start.escape_debug())
}

fn mismatch(wanted: &str, found: &RawValue) -> Bad {
    Bad::here(format!("expected {wanted}, found {}", sort_of(found)))
}

fn sort_of(value: &RawValue) -> &'static str {
    match value.get().bytes().next() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't') => "true",
        Some(b'f') => "false",
        Some(b'n') => "null",
        _digit => "a number",
    }
}

fn starts_with(value: &RawValue, first: u8) -> bool {
    value.get().as_bytes().first() == Some(&first)
}

/// What is left to go wrong in sound syntax: an escape that is half a character.
fn unreadable(error: &serde_json::Error) -> Bad {
    let whole = error.to_string();
    let what = whole.split(" at line ").next().unwrap_or(&whole);
    Bad::here(format!("not readable: {what}"))
}

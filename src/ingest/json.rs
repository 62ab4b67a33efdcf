//! JSON from strangers: the syntax is checked once, then only the wanted fields are looked at, in place.
//! No tree of values is built, so neither depth nor size costs more than the body itself.

use super::{Unusable, cut};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

const MAX_DEPTH: usize = 128;
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

// Reading a body: syntax, encoding, depth, and what is not quite JSON.

/// The whole body as one value of sound syntax, and a note where it had to be mended.
pub(super) fn read(body: &[u8]) -> Result<(Cow<'_, RawValue>, Option<String>), Unusable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(body, error.valid_up_to())),
    };
    if text.trim().is_empty() {
        return Err(unusable("$", "the body is empty".to_owned()));
    }
    if let Some(at) = too_deep(text) {
        let reason = format!("nested deeper than {MAX_DEPTH} at {}", position(text, at));
        return Err(unusable("$", reason));
    }
    let error = match serde_json::from_str::<&RawValue>(text) {
        Ok(root) => return Ok((Cow::Borrowed(root), None)),
        Err(error) => error,
    };
    let Some((mended, n)) = with_quoted_non_numbers(text) else {
        let at = offset(text, &error);
        return Err(syntax(text, at, &error));
    };
    match serde_json::from_str::<Box<RawValue>>(&mended) {
        Ok(root) => {
            let note = format!("NaN or Infinity without quotes, read as text ({n} times)");
            Ok((Cow::Owned(root), Some(note)))
        }
        Err(error) => {
            let at = before_mending(text, offset(&mended, &error));
            Err(syntax(text, at, &error))
        }
    }
}

fn unusable(path: &str, reason: String) -> Unusable {
    Unusable {
        path: path.to_owned(),
        reason,
    }
}

fn not_utf8(body: &[u8], at: usize) -> Unusable {
    let sound = body.get(..at).unwrap_or_default();
    let sound = std::str::from_utf8(sound).unwrap_or_default();
    let place = position(sound, at);
    unusable("$", format!("the body is not UTF-8 at {place}"))
}

fn syntax(text: &str, at: usize, error: &serde_json::Error) -> Unusable {
    let whole = error.to_string();
    let (line, column) = (error.line(), error.column());
    let what = whole
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&whole);
    let reason = format!("not JSON: {what} at {}", position(text, at));
    unusable(&path_to(text, at), reason)
}

/// `line 3 column 7`, both from 1, columns in bytes.
fn position(text: &str, at: usize) -> String {
    let before = cut(text, at);
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |n| n + 1) + 1;
    format!("line {line} column {column}")
}

/// Where an error stands, in bytes from the start.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    line_start + error.column().saturating_sub(1)
}

fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for token in tokens(text) {
        match token.first {
            b'{' | b'[' if depth == MAX_DEPTH => return Some(token.at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _other => {}
        }
    }
    None
}

/// The path of what stands at `at` in a text that may be unsound from there on.
fn path_to(text: &str, at: usize) -> String {
    enum Step<'a> {
        Key(Option<&'a str>),
        Index(usize),
    }
    let mut steps = Vec::new();
    for token in tokens(text).take_while(|token| token.at < at) {
        match (token.first, steps.last_mut()) {
            (b'{', _) => steps.push(Step::Key(None)),
            (b'[', _) => steps.push(Step::Index(0)),
            (b'}' | b']', _) => {
                steps.pop();
            }
            (b',', Some(Step::Key(key))) => *key = None,
            (b',', Some(Step::Index(n))) => *n += 1,
            (b'"', Some(Step::Key(key @ None))) => *key = Some(token.text),
            _value => {}
        }
    }
    let mut path = "$".to_owned();
    for step in steps {
        match step {
            Step::Key(None) => {}
            Step::Key(Some(quoted)) => match serde_json::from_str::<String>(quoted) {
                Ok(key) => path.push_str(&segment(&key)),
                Err(_half_a_key) => return path,
            },
            Step::Index(n) => path.push_str(&format!("[{n}]")),
        }
    }
    path
}

/// What Python writes for floats that are no numbers.
const NON_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
/// What quoting one adds.
const QUOTES: usize = 2;

/// The text with quotes around each NaN and Infinity that has none, and how many; none where there is no such.
fn with_quoted_non_numbers(text: &str) -> Option<(String, usize)> {
    let mut mended = String::new();
    let (mut copied, mut n) = (0, 0);
    for token in non_numbers(text) {
        mended.push_str(text.get(copied..token.at).unwrap_or_default());
        mended.push('"');
        mended.push_str(token.text);
        mended.push('"');
        copied = token.at + token.text.len();
        n += 1;
    }
    mended.push_str(text.get(copied..).unwrap_or_default());
    (n > 0).then_some((mended, n))
}

fn non_numbers(text: &str) -> impl Iterator<Item = Token<'_>> {
    tokens(text).filter(|token| NON_NUMBERS.contains(&token.text))
}

/// The place in the text as it came of a place in the mended one.
fn before_mending(text: &str, at: usize) -> usize {
    let mut added = 0;
    for token in non_numbers(text) {
        if token.at + added >= at {
            break;
        }
        added += QUOTES;
    }
    at.saturating_sub(added)
}

/// A bracket, brace, comma, colon, a string with its quotes, or a run of anything else.
struct Token<'a> {
    at: usize,
    first: u8,
    text: &'a str,
}

/// The tokens of a text, sound or not; what a string holds is never taken for one.
fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let bytes = text.as_bytes();
    let mut next = 0;
    std::iter::from_fn(move || {
        while bytes.get(next).is_some_and(u8::is_ascii_whitespace) {
            next += 1;
        }
        let (at, first) = (next, *bytes.get(next)?);
        next = match first {
            b'"' => end_of_string(bytes, at),
            _ if stands_alone(first) => at + 1,
            _word => end_of_word(bytes, at),
        };
        let text = text.get(at..next).unwrap_or_default();
        Some(Token { at, first, text })
    })
}

fn stands_alone(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':')
}

fn end_of_string(bytes: &[u8], opening: usize) -> usize {
    let mut at = opening + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| stands_alone(*byte) || *byte == b'"' || byte.is_ascii_whitespace();
    let rest = bytes.get(start..).unwrap_or_default();
    rest.iter()
        .position(ends)
        .map_or(bytes.len(), |n| start + n)
}

// Looking at values of sound syntax.

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
    let mut reader = serde_json::Deserializer::from_str(list.get());
    let items = reader
        .deserialize_seq(Items(most))
        .map_err(|error| unreadable(&error))?;
    items.ok_or_else(|| Bad::here(format!("at most {most} items are wanted, found more")))
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
    let mut reader = serde_json::Deserializer::from_str(object.get());
    reader
        .deserialize_map(FirstPairs(most))
        .map_err(|error| unreadable(&error))
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
    if let Ok(text) = serde_json::from_str::<&str>(value.get()) {
        return Ok(Cow::Borrowed(text));
    }
    match serde_json::from_str::<String>(value.get()) {
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
    let mut text = String::new();
    for token in tokens(value.get()) {
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

fn shown_text(text: &str) -> String {
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

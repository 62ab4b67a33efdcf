//! One line of an incident's log, and how it is written: what happened stands beside when and by whom, in one object.
//!
//! `{"seq":2,"at":"2026-03-02T09:02:10Z","by":"watchkeeper","event":"alert_joined","fingerprint":"5f2c…",…}`: the kind
//! comes before what the kind says, so that an entry is read in one pass. Derived code for such a shape holds all of it
//! back, twice, to look for the kind; that took longer than everything else about reading a log.

use crate::domain::incident::event::Event;
use crate::domain::time::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, IgnoredAny, MapAccess, VariantAccess, Visitor};
use serde::ser::{Impossible, SerializeMap, SerializeStruct, SerializeStructVariant};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de, forward_to_deserialize_any, ser,
};
use std::fmt;

/// One line of an incident's log. Order is that of `seq`, never that of `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    pub by: String,
    pub event: Event,
}

/// The name of the kind.
const KIND: &str = "event";

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("seq", &self.seq)?;
        object.serialize_entry("at", &self.at)?;
        object.serialize_entry("by", &self.by)?;
        self.event.serialize(Beside(&mut object))?;
        object.end()
    }
}

/// Writes an event, which is an enum, into an object that has begun.
struct Beside<'o, O>(&'o mut O);

impl<O: SerializeMap> Beside<'_, O> {
    fn refused(what: &str) -> O::Error {
        ser::Error::custom(format!("an event has fields, and is not {what}"))
    }
}

/// What no event is.
macro_rules! refused {
    ($($method:ident($($argument:ty),*))*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<(), O::Error> {
            Err(Self::refused(stringify!($method).trim_start_matches("serialize_")))
        }
    )*};
}

impl<'o, O: SerializeMap> Serializer for Beside<'o, O> {
    type Ok = ();
    type Error = O::Error;
    type SerializeSeq = Impossible<(), O::Error>;
    type SerializeTuple = Impossible<(), O::Error>;
    type SerializeTupleStruct = Impossible<(), O::Error>;
    type SerializeTupleVariant = Impossible<(), O::Error>;
    type SerializeMap = Impossible<(), O::Error>;
    type SerializeStruct = Fields<'o, O>;
    type SerializeStructVariant = Fields<'o, O>;

    fn serialize_unit_variant(
        self,
        _enum: &'static str,
        _index: u32,
        kind: &'static str,
    ) -> Result<(), O::Error> {
        self.0.serialize_entry(KIND, kind)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _enum: &'static str,
        _index: u32,
        kind: &'static str,
        says: &T,
    ) -> Result<(), O::Error> {
        self.0.serialize_entry(KIND, kind)?;
        says.serialize(self)
    }

    fn serialize_struct_variant(
        self,
        _enum: &'static str,
        _index: u32,
        kind: &'static str,
        _fields: usize,
    ) -> Result<Fields<'o, O>, O::Error> {
        self.0.serialize_entry(KIND, kind)?;
        Ok(Fields(self.0))
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _fields: usize,
    ) -> Result<Fields<'o, O>, O::Error> {
        Ok(Fields(self.0))
    }

    refused! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_f32(f32) serialize_f64(f64) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_none() serialize_unit() serialize_unit_struct(&'static str)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<(), O::Error> {
        Err(Self::refused("an option"))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _value: &T,
    ) -> Result<(), O::Error> {
        Err(Self::refused("one value"))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, O::Error> {
        Err(Self::refused("a list"))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, O::Error> {
        Err(Self::refused("a tuple"))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, O::Error> {
        Err(Self::refused("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _enum: &'static str,
        _index: u32,
        _kind: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, O::Error> {
        Err(Self::refused("a tuple"))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, O::Error> {
        Err(Self::refused("a map"))
    }
}

/// The fields of an event, into the object of its entry.
struct Fields<'o, O>(&'o mut O);

impl<O: SerializeMap> SerializeStruct for Fields<'_, O> {
    type Ok = ();
    type Error = O::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), O::Error> {
        self.0.serialize_entry(name, value)
    }

    fn end(self) -> Result<(), O::Error> {
        Ok(())
    }
}

impl<O: SerializeMap> SerializeStructVariant for Fields<'_, O> {
    type Ok = ();
    type Error = O::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), O::Error> {
        SerializeStruct::serialize_field(self, name, value)
    }

    fn end(self) -> Result<(), O::Error> {
        Ok(())
    }
}

/// What comes before the fields of an event.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Head {
    Seq,
    At,
    By,
    Event,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OneEntry)
    }
}

struct OneEntry;

impl<'de> Visitor<'de> for OneEntry {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of a log: seq, at, by, event and what the event says")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Entry, A::Error> {
        let (mut seq, mut at, mut by) = (None, None, None);
        while let Some(head) = object.next_key()? {
            match head {
                Head::Seq => seq = Some(object.next_value()?),
                Head::At => at = Some(object.next_value()?),
                Head::By => by = Some(object.next_value()?),
                Head::Event => {
                    let event = Event::deserialize(Told(object))?;
                    return Ok(Entry {
                        seq: seq.ok_or_else(|| lacks("seq"))?,
                        at: at.ok_or_else(|| lacks("at"))?,
                        by: by.ok_or_else(|| lacks("by"))?,
                        event,
                    });
                }
            }
        }
        Err(lacks(KIND))
    }
}

fn lacks<E: de::Error>(field: &str) -> E {
    E::custom(format_args!(
        "`{field}` is missing, or stands behind what the event says"
    ))
}

/// An object whose next value is the kind of an event, and the rest what it says: as an enum is read.
struct Told<A>(A);

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Told<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Told<A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<(S::Value, Self), A::Error> {
        let kind = self.0.next_value_seed(seed)?;
        Ok((kind, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Told<A> {
    type Error = A::Error;

    fn unit_variant(mut self) -> Result<(), A::Error> {
        while self.0.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        seed.deserialize(MapAccessDeserializer::new(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _: V) -> Result<V::Value, A::Error> {
        Err(de::Error::custom("an event has fields, and is not a tuple"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.0)
    }
}

//! The words of the vocabulary as the description of the API has them: which there are, the vocabulary itself says when it is read.

use crate::domain::action_item;
use crate::domain::alert;
use crate::domain::change;
use crate::domain::heartbeat;
use crate::domain::incident::event;
use crate::domain::phase;
use crate::domain::schedule;
use crate::domain::severity;
use crate::domain::silence;
use crate::domain::verification;
use crate::store::records;
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use std::borrow::Cow;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{Object, OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Words by their name in the description, and where the program reads them.
macro_rules! words {
    ($($name:ident: $of:ty,)*) => {
        $(described!($name: words_of::<$of>());)*
    };
}

/// A schema by its name.
macro_rules! described {
    ($name:ident: $schema:expr) => {
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}

words! {
    ActionKind: action_item::ActionKind,
    ActionState: action_item::ActionState,
    AlertStatus: alert::Status,
    AttemptOutcome: event::AttemptOutcome,
    Audience: event::Audience,
    Cause: event::Cause,
    ChangeStatus: change::Status,
    CheckResult: verification::CheckResult,
    HeartbeatState: heartbeat::State,
    Origin: event::Origin,
    Outcome: alert::Outcome,
    Output: phase::Output,
    OverrideKind: schedule::OverrideKind,
    PageState: records::PageState,
    Phase: phase::Phase,
    Priority: action_item::Priority,
    Profile: severity::Profile,
    Role: event::Role,
    Routed: alert::Routed,
    Severity: severity::Severity,
    SilenceState: silence::State,
    Urgency: severity::Urgency,
}

described!(IncidentStatus: one_of(&["open", "closed"]));
described!(SentKind: one_of(&["page", "update"]));
described!(ClusterStatus: one_of(&["ready", "settling", "disabled"]));
described!(ShownState: one_of(&["unprocessed", "active", "suppressed"]));
described!(SilenceId: text_of(KnownFormat::Uuid, "Of a silence."));
described!(Switch: switch());
described!(IdentifierType: one_of(&["id", "alias", "tiny"]));
described!(RuleAction: one_of(&["open", "record", "drop"]));
described!(ReportedBy: one_of(&["engineering", "customer"]));
described!(Statement: one_of(&phase::Output::STATEMENTS.map(phase::Output::as_str)));
described!(Instant: text_of(KnownFormat::DateTime, "RFC 3339; answered in UTC, with milliseconds."));
described!(Day: day());
described!(Labels: labels());
described!(Fingerprint: text_like("^[0-9a-fA-F]{16}$", "Of an alert: 16 hexadecimal digits."));
described!(Span: text_like("^([0-9]{1,9}(ms|s|m|h|d|w))+$", "`90s`, `5m`, `2h30m`, `14d`."));
described!(Target: text_like("^(person|schedule|policy):(.|\\n)+$", "Whom to page: `person:ana`, `schedule:primary`, `policy:default`."));
described!(Answered: text_like("^(weakness:[0-9]{1,9}|detection_gap|immediate_cause)$", "What an action answers."));

/// Yes unless it is said that it is not; what is no such word says so, too.
fn switch() -> Object {
    let kinds = SchemaType::from_iter([Type::Boolean, Type::String]);
    let switch = ObjectBuilder::new().schema_type(kinds);
    switch.default(Some(true.into())).build()
}

/// Texts by name.
fn labels() -> Object {
    let labels = ObjectBuilder::new().schema_type(Type::Object);
    let text = ObjectBuilder::new().schema_type(Type::String);
    labels.additional_properties(Some(text)).build()
}

/// An instant, or a day.
fn day() -> Schema {
    let texts = [KnownFormat::DateTime, KnownFormat::Date].map(|format| {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.format(Some(SchemaFormat::KnownFormat(format)))
    });
    let mut either = OneOfBuilder::new();
    for text in texts {
        either = either.item(text);
    }
    either.build().into()
}

fn text_of(format: KnownFormat, description: &str) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.format(Some(SchemaFormat::KnownFormat(format)))
        .description(Some(description))
        .build()
}

fn text_like(pattern: &str, description: &str) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.pattern(Some(pattern))
        .description(Some(description))
        .build()
}

fn one_of(words: &[&str]) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(words.iter().copied())).build()
}

fn words_of<'de, T: Deserialize<'de>>() -> Object {
    let mut words: &'static [&'static str] = &[];
    // It is asked for its words and given none.
    drop(T::deserialize(Listening(&mut words)));
    one_of(words)
}

/// Hears which words are expected.
struct Listening<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Listening<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("one of several words is expected"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = words;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

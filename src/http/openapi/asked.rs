//! What is asked, as far as the type that is read does not say it: which fields must be there, and the key under which a command is done
//! once.

use utoipa::IntoParams;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AllOfBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};

/// A body as another is, of which some fields must be there, or exactly one of several.
macro_rules! asked {
    ($name:ident as $shown:literal: $of:ty, $which:ident($($field:literal),+)) => {
        #[doc = concat!("What `", $shown, "` is, as it is described.")]
        #[derive(Debug)]
        pub struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let of = <$of as utoipa::PartialSchema>::schema();
                $crate::http::openapi::asked::$which(of, &[$($field),+])
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $shown.into()
            }

            fn schemas(all: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
                <$of as utoipa::ToSchema>::schemas(all);
            }
        }
    };
}
pub(in crate::http) use asked;

/// A schema of which exactly one of these fields must be there.
pub(in crate::http) fn one_of(schema: RefOr<Schema>, fields: &[&str]) -> RefOr<Schema> {
    let fields = fields.iter().map(|field| with([*field]));
    let either = fields.fold(OneOfBuilder::new(), OneOfBuilder::item);
    AllOfBuilder::new().item(schema).item(either).into()
}

/// A schema of which all of these fields must be there.
pub(in crate::http) fn all_of(schema: RefOr<Schema>, fields: &[&str]) -> RefOr<Schema> {
    let all = with(fields.iter().copied());
    AllOfBuilder::new().item(schema).item(all).into()
}

/// Fields that are there, which null is not.
fn with<'a>(fields: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    let kinds = [
        Type::String,
        Type::Number,
        Type::Boolean,
        Type::Object,
        Type::Array,
    ];
    let is_there = || ObjectBuilder::new().schema_type(SchemaType::from_iter(kinds.clone()));
    fields
        .into_iter()
        .fold(ObjectBuilder::new(), |object, field| {
            object.required(field).property(field, is_there())
        })
}

/// The key under which a command is done once, however often it comes.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Once {
    /// The same command under the same key of the same caller is done once.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 256,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    _key: Option<String>,
}

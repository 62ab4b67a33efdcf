//! Problems as the description of the API has them: by status, and by which operations answer them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::IntoResponses;
use utoipa::openapi::{Ref, RefOr};

/// Problems that an operation may answer beside those that all may.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($code:literal)*;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
                    problems_of(&[$($code),*])
                }
            }
        )*
    };
}

problems! {
    /// Something is wrong with the question.
    Misasked: 400;
    /// What is asked for may not be there.
    Missing: 400 404;
    /// A body may be wrong.
    Misread: 400 413;
    /// So may it, and what it is for may not be there.
    Mistold: 400 404 413;
    /// The state of something may not allow it.
    Unmet: 400 404 409 413;
    /// What was read may be of no use.
    Unusable: 400 404 409 413 422;
    /// Files may have errors.
    Refused: 422;
    /// A source may not be known by what is shown, or send too much.
    SourceProblems: 401 413;
    /// Nor be there, nor be read.
    SourceMistold: 400 401 404 413;
    /// It may not be there, either.
    SourceMissing: 401 404 413;
    /// A part of the path may be no text.
    NotText: 400;
    /// A body may be too long.
    TooLong: 413;
    /// Rules may have errors.
    Untried: 400 413 422;
    /// So may they, and one is under way.
    Unjudged: 400 409 413 422;
}

fn problems_of(codes: &[u16]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let named = codes.iter().filter_map(|code| {
        let problem = Ref::from_response_name(named(*code)?);
        Some((code.to_string(), problem.into()))
    });
    named.collect()
}

/// Problems by status: their name, and when they are answered.
const PROBLEMS: [(u16, &str, &str); 11] = [
    (
        400,
        "BadRequest",
        "Something in path, query or body cannot be read, or cannot be so; `path` says where in the body",
    ),
    (
        401,
        "Unauthorized",
        "A bearer token is missing, or is not known",
    ),
    (
        403,
        "Forbidden",
        "The token's role does not allow it, or it may not act as somebody else",
    ),
    (404, "NotFound", "There is no such thing"),
    (408, "RequestTimeout", "The request took too long"),
    (
        409,
        "Conflict",
        "It cannot be done as things stand; `missing` lists outputs that are missing",
    ),
    (413, "ContentTooLarge", "The body is too long"),
    (
        415,
        "UnsupportedMediaType",
        "The body is compressed in a way that is not read, or is of another type than is wanted",
    ),
    (
        422,
        "UnprocessableContent",
        "What was sent can be read and cannot be used; `errors` lists why",
    ),
    (
        500,
        "InternalServerError",
        "It could not be answered, which is a fault of the program; nothing was changed",
    ),
    (
        503,
        "ServiceUnavailable",
        "Overloaded, or the store is failing; nothing was taken, and it may be tried again after `Retry-After` seconds",
    ),
];

/// What everything may answer that is asked.
pub(super) const EVERYWHERE: [u16; 3] = [408, 500, 503];

/// The name of the problem of this status.
pub(super) fn named(code: u16) -> Option<&'static str> {
    let found = PROBLEMS.iter().find(|(known, _, _)| *known == code);
    found.map(|(_, name, _)| *name)
}

/// All of them, by their names.
pub(super) fn responses() -> Value {
    let all = PROBLEMS.iter().map(|(code, name, about)| {
        let header = |about: &str| json!({ "description": about, "schema": { "type": "string" }, "required": true });
        let headers = match code {
            401 => json!({ "WWW-Authenticate": header("How a token is shown") }),
            503 => json!({ "Retry-After": header("Seconds") }),
            _other => json!({}),
        };
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let response = json!({
            "description": about,
            "headers": headers,
            "content": { "application/problem+json": { "schema": schema } },
        });
        ((*name).to_owned(), response)
    });
    Value::Object(all.collect())
}

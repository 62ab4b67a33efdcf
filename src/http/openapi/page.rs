//! The description of the API as a page to read: every operation with what it takes and answers. It is made from the same document, and
//! needs nothing from elsewhere.

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

/// How deep schemas are followed: none of ours is deeper, and one that named itself would end.
const DEPTH_MAX: usize = 8;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
    h1,h2{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}\
    details{border:1px solid #d0d7de;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}summary{cursor:pointer}\
    code,pre{font:13px/1.5 ui-monospace,monospace}pre{overflow-x:auto;background:#f6f8fa;padding:.6rem;border-radius:6px}\
    .method{display:inline-block;min-width:4.2rem;font-weight:600}.role{float:right}.role,.about{color:#57606a}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}\
    @media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}\
    details,h2{border-color:#30363d}.role,.about{color:#8b949e}a{color:#58a6ff}}";

/// Nothing is loaded, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page as an answer.
pub(super) fn shown(page: Bytes) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let policy = HeaderValue::from_static(POLICY);
    (
        [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)],
        page,
    )
        .into_response()
}

/// The page of a description.
pub fn rendered(document: &Value) -> Markup {
    let part_of = |operation: &Value| operation.pointer("/tags/0").cloned().unwrap_or_default();
    let tags = list(document, "/tags");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "The API of " (text(document, "/info/title")) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { (text(document, "/info/title")) " " (text(document, "/info/version")) }
                @for paragraph in text(document, "/info/description").split("\n\n") { p { (prose(paragraph)) } }
                p { "For programs: " a href="openapi.json" { "openapi.json" } "." }
                @for tag in tags {
                    h2 { (text(tag, "/name")) }
                    p { (prose(text(tag, "/description"))) "." }
                    @for (path, item) in fields(document, "/paths") {
                        @for (method, operation) in fields(item, "") {
                            @if Some(&part_of(operation)) == tag.get("name") { (shown_operation(document, path, method, operation)) }
                        }
                    }
                }
            }
        }
    }
}

fn shown_operation(document: &Value, path: &str, method: &str, operation: &Value) -> Markup {
    let body = operation.pointer("/requestBody/content");
    html! {
        details id=(text(operation, "/operationId")) {
            summary {
                span.role { (text(operation, "/security/0/bearer/0")) }
                span.method { (method.to_uppercase()) } " " code { (path) }
                div.about { (prose(text(operation, "/summary"))) }
            }
            p { (prose(text(operation, "/description"))) }
            @let parameters = list(operation, "/parameters");
            @if !parameters.is_empty() {
                table {
                    @for parameter in parameters {
                        tr {
                            td { code { (text(parameter, "/name")) } }
                            td { (text(parameter, "/in")) @if parameter.get("required") == Some(&Value::Bool(true)) { ", required" } }
                            td { (outline(document, parameter.get("schema"), 0)) }
                            td { (prose(text(parameter, "/description"))) }
                        }
                    }
                }
            }
            @if let Some(body) = body { @for (kind, content) in fields(body, "") {
                p { "Takes " code { (kind) } ":" }
                pre { (outline(document, content.get("schema"), 0)) }
            } }
            table {
                @for (code, response) in fields(operation, "/responses") {
                    @let response = resolved(document, response);
                    tr { td { (code) } td { (prose(text(response, "/description"))) } }
                }
            }
            @for (code, response) in fields(operation, "/responses") {
                @if code.starts_with('2') { @for (kind, content) in fields(response, "/content") {
                    p { (code) ", " code { (kind) } ":" }
                    pre { (outline(document, content.get("schema"), 0)) }
                } }
            }
        }
    }
}

/// Words, of which those between backquotes are code.
fn prose(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A schema in few words: `{ name: text, … }`.
fn outline(document: &Value, schema: Option<&Value>, depth: usize) -> String {
    let Some(schema) = schema.map(|schema| resolved(document, schema)) else {
        return String::new();
    };
    if depth > DEPTH_MAX {
        return "…".to_owned();
    }
    let of = |schema: &Value| outline(document, Some(schema), depth + 1);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return joined(words.iter().map(Value::to_string), " | ");
    }
    for (either, between) in [("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")] {
        if let Some(all) = schema.get(either).and_then(Value::as_array) {
            return joined(all.iter().map(of), between);
        }
    }
    if let Some(items) = schema.get("items") {
        return format!("[{}]", of(items));
    }
    let required = list(schema, "/required");
    let fields: Vec<String> = fields(schema, "/properties")
        .map(|(name, of_it)| {
            let is_required = required.iter().any(|one| one == name);
            let mark = if is_required { "" } else { "?" };
            format!("{}{name}{mark}: {}", "  ".repeat(depth + 1), of(of_it))
        })
        .collect();
    if !fields.is_empty() {
        return format!("{{\n{}\n{}}}", fields.join(",\n"), "  ".repeat(depth));
    }
    if let Some(values) = schema
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        return format!("{{ …: {} }}", of(values));
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => joined(
            kinds.iter().filter_map(Value::as_str).map(str::to_owned),
            " | ",
        ),
        _anything => "any".to_owned(),
    };
    match schema.get("format").and_then(Value::as_str) {
        Some(format) => format!("{kind} ({format})"),
        None => kind,
    }
}

fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<String>>().join(between)
}

/// What a reference names, or the thing itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let named = value.get("$ref").and_then(Value::as_str);
    let named = named.and_then(|named| document.pointer(named.trim_start_matches('#')));
    named.unwrap_or(value)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn fields<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

//! The description of the API: that it has every route, that it is sound, who may read it, and that what is answered is as it says.
//! Every answer of every story of the HTTP face is held against it.

mod asked;
mod page;
mod routes;

use crate::api::Answer;
use axum::http::Method;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The description.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = watchkeeper::http::openapi::text();
    serde_json::from_slice(&text).expect("the description is JSON")
});

/// Every operation: path, method, and what is said of it.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("there are paths");
    paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path has operations");
        let item = item.iter();
        item.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// The described path that this one is of; of several the one with the fewest parameters.
fn described_path(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("there are paths");
    let is_of = |described: &str| {
        let (mut of, mut parts) = (described.split('/'), path.split('/'));
        loop {
            match (of.next(), parts.next()) {
                (None, None) => return true,
                (Some(of), Some(part)) if of == part => {}
                (Some(of), Some(part)) if of.starts_with('{') && !part.is_empty() => {}
                _other => return false,
            }
        }
    };
    let fitting = paths.keys().map(String::as_str).filter(|path| is_of(path));
    fitting.min_by_key(|path| path.matches('{').count())
}

/// Fails where an answer is not as the description says.
pub(crate) fn must_describe(method: &Method, path: &str, answer: &Answer) {
    let Some(described) = described_path(path) else {
        return;
    };
    let method = method.as_str().to_lowercase();
    let operation = &DOCUMENT["paths"][described][&method];
    if operation.is_null() {
        // `HEAD` is answered where `GET` is.
        let is_refused = answer.status == 405 || method == "head" || method == "options";
        assert!(is_refused, "{method} {described} is not described");
        return;
    }
    let status = answer.status.to_string();
    let at = format!("{method} {path}: {status}");
    let response = resolved(&operation["responses"][&status]);
    assert!(
        !response.is_null(),
        "{at} is not described: {}",
        answer.text
    );
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let is_there = answer.headers.contains_key(name.as_str());
        assert!(
            is_there || header["required"] != json!(true),
            "{at} lacks {name}"
        );
    }
    let kind = answer
        .header("content-type")
        .split(';')
        .next()
        .unwrap_or_default();
    let Some(content) = response["content"].as_object() else {
        assert_eq!(answer.text, "", "{at} has no body");
        return;
    };
    let content = content.get(kind);
    let content = content.unwrap_or_else(|| panic!("{at} is not described as {kind:?}"));
    let value = match kind.ends_with("json") && kind != "application/x-ndjson" {
        true => answer.json(),
        // Lines of JSON are no JSON.
        false => Value::from(answer.text.as_str()),
    };
    let faults = faults(
        &format!("{method} {described} {status} {kind}"),
        &content["schema"],
        &value,
    );
    assert_eq!(faults, Vec::<String>::new(), "{at}: {}", answer.text);
}

/// What is wrong with a value by a schema, which may not have fields that the schema lacks; schemas are remembered by their names.
fn faults(name: &str, schema: &Value, value: &Value) -> Vec<String> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = known.entry(name.to_owned()).or_insert_with(|| {
        let strict = strict(schema);
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        Arc::new(options.build(&strict).expect("a schema"))
    });
    let validator = Arc::clone(validator);
    drop(known);
    let faults = validator.iter_errors(value);
    faults
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

/// What a reference names, or the thing itself.
fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(named) => DOCUMENT
            .pointer(named.trim_start_matches('#'))
            .expect("what is named is there"),
        None => value,
    }
}

/// A schema with everything that it names in it, that takes no field which it does not name.
fn strict(schema: &Value) -> Value {
    let mut whole = inlined(schema);
    close(&mut whole);
    whole
}

fn inlined(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => match object.get("$ref").and_then(Value::as_str) {
            Some(named) => inlined(
                DOCUMENT
                    .pointer(named.trim_start_matches('#'))
                    .expect("what is named is there"),
            ),
            None => Value::Object(
                object
                    .iter()
                    .map(|(name, part)| (name.clone(), inlined(part)))
                    .collect(),
            ),
        },
        Value::Array(parts) => parts.iter().map(inlined).collect(),
        other => other.clone(),
    }
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("allOf") {
                object.insert("unevaluatedProperties".to_owned(), json!(false));
                close_below(object);
                return;
            }
            if object.contains_key("properties") && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _plain => {}
    }
}

/// Parts of one object are closed together.
fn close_below(object: &mut Map<String, Value>) {
    for part in object
        .get_mut("allOf")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        for (_, property) in part["properties"].as_object_mut().into_iter().flatten() {
            close(property);
        }
    }
}

#[test]
fn what_is_named_is_there_and_no_name_is_used_twice() {
    let mut ids: Vec<&str> = operations()
        .map(|(_, _, operation)| operation["operationId"].as_str().expect("an id"))
        .collect();
    let n = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), n);
    for (path, method, operation) in operations() {
        strict(operation);
        let tags = operation["tags"].as_array().map_or(0, Vec::len);
        assert_eq!(tags, 1, "{method} {path}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path = parameters
            .filter(|parameter| parameter["in"] == "path")
            .count();
        assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
    }
    let schemas = DOCUMENT["components"]["schemas"]
        .as_object()
        .expect("there are schemas");
    for (name, schema) in schemas {
        strict(schema);
        assert_ne!(schema["enum"], json!([]), "{name}");
    }
}

#[test]
fn words_are_those_of_the_vocabulary() {
    let words = |name: &str| DOCUMENT["components"]["schemas"][name]["enum"].clone();
    assert_eq!(
        words("Severity"),
        json!(["SEV1", "SEV2", "SEV3", "SEV4", "SEV5"])
    );
    let phases = watchkeeper::domain::phase::Phase::ALL.map(|phase| phase.as_str());
    assert_eq!(words("Phase"), json!(phases));
    assert_eq!(
        words("AlertStatus"),
        json!(["pending", "firing", "resolved", "stale"])
    );
}

#[test]
fn a_list_has_as_many_items_as_is_described() {
    let most = watchkeeper::http::incidents::LIMIT_MAX;
    let mut n = 0;
    for (path, _, operation) in operations().filter(|(path, ..)| path.starts_with("/api/v1/")) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for limit in parameters.filter(|parameter| parameter["name"] == "limit") {
            let schema = &limit["schema"];
            assert_eq!(
                (&schema["minimum"], &schema["maximum"]),
                (&json!(1), &json!(most)),
                "{path}"
            );
            n += 1;
        }
    }
    assert!(n > 5, "{n} lists");
}

#[test]
fn an_answer_that_is_not_as_described_is_seen() {
    let schema = json!({ "$ref": "#/components/schemas/Silences" });
    let sound = json!({ "silences": [], "next": null });
    assert_eq!(faults("sound", &schema, &sound), Vec::<String>::new());
    let cases = [
        (
            json!({ "silences": [] }),
            ": \"next\" is a required property",
        ),
        (
            json!({ "silences": [], "next": 7 }),
            "/next: 7 is not of types \"null\", \"string\"",
        ),
        (
            json!({ "silences": [], "next": null, "more": 1 }),
            ": Additional properties are not allowed ('more' was unexpected)",
        ),
    ];
    for (odd, wanted) in cases {
        assert_eq!(faults("sound", &schema, &odd), [wanted], "{odd}");
    }
}

#[test]
fn answers_of_the_alertmanager_api_are_what_its_own_description_says() {
    let theirs: Value =
        serde_json::from_str(include_str!("fixtures/cases/alertmanager_openapi.json"))
            .expect("JSON");
    let mut api = crate::api::Api::new();
    api.fires("Down");
    api.fires("Slow");
    let silence = json!({ "matchers": ["alertname=\"Slow\""], "reason": "known", "for": "2h" });
    let id = api.post("/api/v1/silences", &silence).at("/id");
    let id = id.as_str().expect("an id");
    let cases = [
        ("/status", "alertmanagerStatus", false),
        ("/receivers", "receiver", true),
        ("/alerts", "gettableAlert", true),
        ("/alerts/groups", "alertGroup", true),
        ("/silences", "gettableSilence", true),
        (&format!("/silence/{id}"), "gettableSilence", false),
    ];
    for (path, name, is_list) in cases {
        let of = json!({ "$ref": format!("#/definitions/{name}") });
        let schema = match is_list {
            true => json!({ "type": "array", "minItems": 1, "items": of }),
            false => json!({ "allOf": [of] }),
        };
        let mut schema = schema;
        schema["definitions"] = theirs["definitions"].clone();
        let validator = jsonschema::draft4::options()
            .should_validate_formats(true)
            .build(&schema);
        let validator = validator.expect("a schema");
        let answer = api.get(&format!("/api/v2{path}")).json();
        let faults: Vec<String> = validator
            .iter_errors(&answer)
            .map(|fault| fault.to_string())
            .collect();
        assert_eq!(faults, Vec::<String>::new(), "{path}: {answer}");
    }
}

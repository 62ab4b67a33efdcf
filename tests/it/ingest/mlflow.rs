//! Webhooks of MLflow's registry: one tag of a version of a model is a check, and all else is none.

use super::{fixture, headers, labels, lines, now, pairs, read, refusal};
use watchkeeper::domain::alert::{Run, Said};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, parse};

const KIND: Kind = Kind::Mlflow;

/// The tag of a version of the model `churn`.
fn tag(action: &str, fields: &str) -> String {
    format!(
        r#"{{"entity":"model_version_tag","action":"{action}","timestamp":"2026-11-23T08:22:58.705317+00:00",
            "data":{{"name":"churn","version":"1","key":"validation_status"{fields}}}}}"#
    )
}

fn delivered(body: &[u8], headers: &[(String, String)]) -> Parsed {
    let post = Post {
        headers,
        ..Post::of(body, now())
    };
    parse(KIND, &post).expect("a usable body")
}

#[test]
fn the_real_tag_of_a_validated_version_is_a_check() {
    let sent = headers("mlflow/webhook_tag_set_validation_passed.http.json");
    let body = fixture("mlflow/webhook_tag_set_validation_passed.json");
    let parsed = delivered(&body, &sent);
    assert_eq!(
        lines(&parsed),
        [
            "pass {alertname=\"validation_status\", model=\"churn\", tool=\"mlflow\", version=\"1\"} run=caa295fb-031e-4a1f-96e0-e2d4e979e41b"
        ]
    );
    let check = &parsed.sightings[0];
    assert_eq!(check.annotations, labels(&[("observed", "passed")]));
    assert_eq!(check.severity, None);
    let Said::Check { run, .. } = &check.said else {
        panic!("a check")
    };
    let expected = Run {
        id: Some("caa295fb-031e-4a1f-96e0-e2d4e979e41b".to_owned()),
        attempt: None,
        finished_at: Some("2026-11-23T08:22:58.705Z".parse().expect("a time")),
    };
    assert_eq!(*run, expected);
    assert_eq!(check.starts_at, expected.finished_at);
    // A retry has the same id and the same body.
    assert_eq!(delivered(&body, &sent), parsed);
}

#[test]
fn whatever_else_happens_in_the_registry_is_well_formed_and_no_alert() {
    for name in [
        "alias_created",
        "alias_deleted",
        "model_version_created",
        "registered_model_created_signed",
        "retry_same_delivery_id",
        "tag_deleted",
        "test",
    ] {
        let body = fixture(&format!("mlflow/webhook_{name}.json"));
        assert_eq!(delivered(&body, &[]), Parsed::default(), "{name}");
    }
    for body in [
        r#"{"entity":"budget_policy","action":"exceeded","data":{"amount":5}}"#,
        r#"{"entity":"prompt_version_tag","action":"set","data":{"key":"validation_status","value":"failed"}}"#,
        r#"{"entity":"registered_model","action":"created","data":[]}"#,
    ] {
        assert_eq!(read(KIND, body), Parsed::default());
    }
}

#[test]
fn a_version_that_passes_after_all_resolves_what_its_failure_fired() {
    let table: [(&str, &str, &str); 7] = [
        ("set", "failed", "fail"),
        ("set", "passed", "pass"),
        ("set", "Rejected", "fail"),
        ("set", "approved", "pass"),
        ("set", "pending", "skip"),
        ("set", " FAILED ", "fail"),
        ("deleted", "failed", "skip"),
    ];
    for (action, value, outcome) in table {
        let body = tag(action, &format!(r#","value":"{value}""#));
        assert_eq!(
            lines(&read(KIND, &body)),
            [format!(
                "{outcome} {{alertname=\"validation_status\", model=\"churn\", tool=\"mlflow\", version=\"1\"}} run=-"
            )]
        );
    }
}

#[test]
fn a_tag_that_is_taken_away_changes_nothing() {
    assert_eq!(
        lines(&read(KIND, &tag("deleted", ""))),
        [
            "skip {alertname=\"validation_status\", model=\"churn\", tool=\"mlflow\", version=\"1\"} run=-"
        ]
    );
}

#[test]
fn another_version_is_another_alert() {
    let first = tag("set", r#","value":"failed""#);
    let second = first.replace(r#""version":"1""#, r#""version":2"#);
    let of = |body: &str| read(KIND, body).sightings.remove(0).labels;
    assert_eq!(of(&second).get("version"), Some("2"));
    assert_ne!(of(&first), of(&second));
}

#[test]
fn a_long_delivery_id_is_kept_short() {
    let sent = pairs(&[("x-mlflow-delivery-id", &"d".repeat(5000))]);
    let body = tag("set", r#","value":"failed""#);
    let Said::Check { run, .. } = delivered(body.as_bytes(), &sent).sightings.remove(0).said else {
        panic!("a check")
    };
    assert_eq!(run.id.map(|id| id.len()), Some(256));
}

#[test]
fn an_event_that_cannot_be_read_is_refused_with_its_place() {
    let set = |fields: &str| {
        format!(r#"{{"entity":"model_version_tag","action":"set","data":{{{fields}}}}}"#)
    };
    let table: [(String, &str, &str); 16] = [
        ("5".to_owned(), "$", "expected an object, found a number"),
        (
            "{}".to_owned(),
            "$.entity",
            "an entity is wanted, found nothing",
        ),
        (
            r#"{"entity":["model_version_tag"]}"#.to_owned(),
            "$.entity",
            "expected a string, found a list",
        ),
        (
            r#"{"entity":"registered_model"}"#.to_owned(),
            "$.action",
            "an action is wanted, found nothing",
        ),
        (
            r#"{"entity":"registered_model","action":1}"#.to_owned(),
            "$.action",
            "expected a string, found a number",
        ),
        (
            r#"{"entity":"model_version_tag","action":"set"}"#.to_owned(),
            "$.data",
            "a tag is wanted, found nothing",
        ),
        (
            r#"{"entity":"model_version_tag","action":"set","data":"x"}"#.to_owned(),
            "$.data",
            "expected an object, found a string",
        ),
        (
            set(""),
            "$.data.key",
            "the key of a tag is wanted, found nothing",
        ),
        (
            set(r#""key":7"#),
            "$.data.key",
            "expected a string, found a number",
        ),
        (
            set(r#""key":"validation_status""#),
            "$.data.value",
            "one of passed, approved, failed, rejected, pending is wanted, found nothing",
        ),
        (
            set(r#""key":"validation_status","value":"maybe""#),
            "$.data.value",
            "one of passed, approved, failed, rejected, pending is wanted, found \"maybe\"",
        ),
        (
            set(r#""key":"validation_status","value":false"#),
            "$.data.value",
            "one of passed, approved, failed, rejected, pending is wanted, found false",
        ),
        (
            set(r#""key":"validation_status","value":"failed","version":"1""#),
            "$.data.name",
            "a model's name is wanted, found nothing",
        ),
        (
            set(r#""key":"validation_status","value":"failed","name":"m""#),
            "$.data.version",
            "a version is wanted, found nothing",
        ),
        (
            set(r#""key":"validation_status","value":"failed","name":"m","version":[1]"#),
            "$.data.version",
            "expected a string, found a list",
        ),
        (
            tag("set", r#","value":"failed""#)
                .replace("\"2026-11-23T08:22:58.705317+00:00\"", "\"soon\""),
            "$.timestamp",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
    ];
    for (body, path, reason) in table {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(KIND, body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn nothing_else_of_a_tag_is_kept() {
    let body = tag("set", r#","value":"failed","description":"SECRET""#);
    assert!(!format!("{:?}", read(KIND, &body)).contains("SECRET"));
}

//! What could not be used is kept so that it can be read again after a fix, once, as if its source had sent it then.

use crate::api::{Answer, Api, access, access_with_source_of, access_with_tokens, alerts};
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::source::Kind;
use watchkeeper::http::Current;
use watchkeeper::http::auth::{Access, Credential, Role, Source};
use watchkeeper::store::engine::{Class, Order};
use watchkeeper::store::records::{DeadLetter, Lack};
use watchkeeper::store::{Failure, Tx};

const LETTERS: &str = "/api/v1/dead-letters";

fn with(access: Access) -> Api {
    Api::with(access, book(&[("ana", 5), ("ben", 10)]), rules(|_| {}))
}

/// A source `prod` of this kind, beside the open ones.
fn prod(kind: Kind) -> Access {
    let mut access = access();
    let source = Source::new(kind, vec![Credential::Open]);
    access.sources.insert("prod".to_owned(), Arc::new(source));
    access
}

fn reloads(api: &Api, access: Access) {
    let current = api.live.load();
    api.live.swap(Current {
        access,
        ..Current::clone(&current)
    });
}

fn replays(api: &mut Api, id: u64) -> Answer {
    let path = format!("{LETTERS}/{id}/replay");
    api.post(&path, &json!({ "by": "ana" }))
}

fn letter(api: &mut Api, id: u64) -> Value {
    let answer = api.get(&format!("{LETTERS}/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// As a version before this one left it, which could not read this item.
fn left_behind(api: &Api, source: &str, item: &str) {
    let letter = DeadLetter {
        at: "2026-03-02T08:00:00Z".parse().expect("a time"),
        source: source.to_owned(),
        kind: "alertmanager".to_owned(),
        reason: "not understood".to_owned(),
        path: "$.alerts[3]".to_owned(),
        item: item.to_owned(),
        lacks: None,
        around: Some((r#"{"version":"4","alerts":["#.to_owned(), "]}".to_owned())),
        headers: Vec::new(),
        query: Vec::new(),
        replayed: None,
    };
    let store = api.simulation.store();
    let put = move |tx: &mut Tx<'_, '_>| -> Result<u64, Failure<Infallible>> {
        Ok(tx.put_dead_letter(&letter)?)
    };
    store
        .transact_blocking(Class::Intake, put)
        .expect("the store works");
}

fn an_alert(name: &str) -> String {
    alerts(&[(name, "firing")])["alerts"][0].to_string()
}

#[test]
fn a_body_that_came_to_a_source_of_the_wrong_kind_is_replayed_when_that_is_right() {
    let mut api = with(prod(Kind::Check));
    let body = alerts(&[("Down", "firing"), ("Slow", "firing")]);
    let refused = api.post("/hooks/prod", &body);
    assert_eq!(
        refused.problem(),
        "400 $.source: a source is wanted, found nothing"
    );
    let still = replays(&mut api, 1);
    assert_eq!(
        still.problem(),
        "422 $.source: a source is wanted, found nothing"
    );
    assert_eq!(letter(&mut api, 1)["replayed"], Value::Null);

    reloads(&api, prod(Kind::Alertmanager));
    api.advance(std::time::Duration::from_secs(60));
    let replayed = replays(&mut api, 1);
    assert_eq!(replayed.status, 200, "{}", replayed.text);
    let done = json!({
        "at": "2026-03-02T09:01:00.000Z", "by": "ana", "accepted": 2, "rejected": 0, "opened": [1, 2], "joined": [],
    });
    assert_eq!(replayed.at("/replayed"), done);
    assert_eq!(replayed.at("/replayable"), false);
    assert_eq!(letter(&mut api, 1), replayed.json());
    let incident = api.get("/api/v1/incidents/1");
    assert_eq!(incident.at("/title"), "Down: checkout");
    assert_eq!(incident.at("/opened_at"), "2026-03-02T09:01:00.000Z");
    let alert = api.get("/api/v1/alerts").at("/alerts/0");
    assert_eq!(
        (&alert["source"], &alert["kind"]),
        (&json!("prod"), &json!("alertmanager"))
    );

    assert_eq!(
        replays(&mut api, 1).problem(),
        "409 dead letter 1 was replayed by ana at 2026-03-02T09:01:00.000Z already"
    );
    assert_eq!(
        api.get("/api/v1/incidents")
            .each("incidents", "number")
            .len(),
        2
    );
}

/// One bad item among good ones, by kind, headers and body; and how its place is said when it comes alone.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

const CASES: &[Case] = &[
    (
        "alertmanager",
        &[],
        r#"{"receiver":"r","version":"4","groupKey":"k","alerts":[{"status":"firing","labels":{"a":"1"}},{"status":"odd","labels":{"a":"2"}}]}"#,
        "$.alerts[0].status",
    ),
    (
        "grafana",
        &[],
        r#"{"version":"1","orgId":1,"alerts":[{"status":"firing","labels":{"a":"1"}},{"status":"firing","labels":{}}]}"#,
        "$.alerts[0].labels",
    ),
    (
        "check",
        &[],
        r#"{"version":"1","source":"pandera","scope":"all","rows":[[1]],"run":{"id":"7"},"labels":{"env":"prod"},"checks":[{"check_id":"a","status":"pass"},{"check_id":"b","status":"odd","details":{"rows":[1]}}]}"#,
        "$.checks[0].status",
    ),
    (
        "check",
        &[],
        r#"{"source":"job","check_id":"b","status":"odd"}"#,
        "$.status",
    ),
    (
        "cloudevents",
        &[],
        r#"[{"specversion":"1.0","id":"1","source":"s","type":"t"},{"specversion":"1.0","id":"2","source":"s","type":"t","severitynumber":99}]"#,
        "$.severitynumber",
    ),
    (
        "cloudevents",
        &[],
        r#"[{"specversion":"1.0","id":"1","source":"s","type":"t","more":{},"data":[{"status":"firing","labels":{"a":"1"}},{"status":"odd","labels":{"a":"2"}}]}]"#,
        "$.data.status",
    ),
    (
        "cloudevents",
        &[],
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"version":"1","source":"x","checks":[{"check_id":"a","status":"pass"},{"check_id":"b","status":"odd"}]}}"#,
        "$.data.checks[0].status",
    ),
    (
        "cloudevents",
        &[
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "s"),
            ("ce-type", "t"),
            ("content-type", "application/json"),
        ],
        r#"[{"status":"firing","labels":{"a":"1"}},{"status":"odd","labels":{"a":"2"}}]"#,
        "$.status",
    ),
];

#[test]
fn an_item_is_kept_with_what_it_takes_to_read_it_alone() {
    for (kind, headers, body, path) in CASES {
        let mut api = Api::new();
        let hook = format!("/hooks/{kind}");
        api.send(Method::POST, &hook, headers, *body);
        let kept = letter(&mut api, 1);
        assert_eq!(
            (&kept["cut"], &kept["replayable"]),
            (&json!(false), &json!(true)),
            "{kept}"
        );
        let part = |at: &str| {
            kept.pointer(at)
                .and_then(Value::as_str)
                .expect("a text")
                .to_owned()
        };
        let alone = [part("/around/0"), part("/item"), part("/around/1")].concat();
        let read: Value = serde_json::from_str(&alone).expect("it is JSON");
        assert!(!read.to_string().contains("rows"), "{alone}");
        assert_eq!(read.get("scope"), None, "{alone}");
        let again = api.send(Method::POST, &hook, headers, alone);
        assert_eq!(
            again.problem(),
            format!("400 {path}: {}", part("/reason")),
            "{body}"
        );
        // The same by a replay, which leaves everything as it was.
        let n = api.get(LETTERS).each("dead_letters", "id").len();
        assert_eq!(
            replays(&mut api, 1).problem(),
            format!("422 {path}: {}", part("/reason"))
        );
        assert_eq!(api.get(LETTERS).each("dead_letters", "id").len(), n);
        assert_eq!(letter(&mut api, 1), kept);
    }
}

#[test]
fn a_replayed_item_joins_what_it_would_have_joined() {
    let mut api = Api::new();
    api.fires("Down");
    left_behind(&api, "alertmanager", &an_alert("Down"));
    left_behind(&api, "alertmanager", &an_alert("Slow"));
    assert_eq!(replays(&mut api, 1).at("/replayed/joined"), json!([1]));
    assert_eq!(replays(&mut api, 2).at("/replayed/opened"), json!([2]));
    assert_eq!(api.get("/api/v1/incidents/1").at("/alerts/received"), 2);
    // Both page as any alert does: the last one, a new incident.
    assert_eq!(api.simulation.sent().len(), 2);
}

#[test]
fn what_was_cut_or_may_hold_rows_is_not_replayed_and_says_why() {
    let long = format!(
        r#"{{"version":"4","alerts":[{{"status":"odd","pad":"{}"}}]}}"#,
        "x".repeat(256 << 10)
    );
    let rows = r#"[{"specversion":"1.0","id":"1","type":"t","data":{"rows":[1]}},{"specversion":"1.0","id":"2","source":"s","type":"t"}]"#;
    let seven = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":[{"status":"firing","labels":{"a":"1"}},7]}"#;
    let cases: [(&str, Vec<u8>, bool, &str); 7] = [
        (
            "great_expectations",
            b"{}".to_vec(),
            true,
            "what may hold rows of data was left out of it",
        ),
        (
            "alertmanager",
            format!("{{{}", " ".repeat(256 << 10)).into_bytes(),
            true,
            "it was longer than is kept",
        ),
        (
            "alertmanager",
            long.into_bytes(),
            true,
            "it was longer than is kept",
        ),
        (
            "alertmanager",
            b"{\"alerts\":[\xff]}".to_vec(),
            true,
            "not all of it was text",
        ),
        ("pagerduty", b"{".to_vec(), true, "not all of it was text"),
        (
            "cloudevents",
            rows.into(),
            true,
            "what may hold rows of data was left out of it",
        ),
        (
            "cloudevents",
            seven.into(),
            false,
            "it cannot be read without what came with it, which was not kept",
        ),
    ];
    for (kind, body, is_cut, why) in cases {
        let mut api = Api::new();
        api.send(Method::POST, &format!("/hooks/{kind}"), &[], body);
        let kept = letter(&mut api, 1);
        assert_eq!(kept["not_replayable_because"], why, "{kind}");
        assert_eq!(
            (&kept["cut"], &kept["replayable"]),
            (&json!(is_cut), &json!(false))
        );
        let item = kept["item"].as_str().expect("a text");
        assert!(item.len() <= (256 << 10) + 3, "{}", item.len());
        assert_eq!(
            replays(&mut api, 1).problem(),
            format!("409 dead letter 1 cannot be replayed: {why}")
        );
        // A list shows the start of a long one.
        let listed = api.get(LETTERS).at("/dead_letters/0/item");
        assert_eq!(listed.as_str().map(str::len), Some(item.len().min(8 << 10)));
    }
}

#[test]
fn a_body_of_a_quarter_of_a_mebibyte_is_kept_whole() {
    let mut api = with(prod(Kind::Check));
    let body = alerts(&[("Down", "firing")]).to_string();
    let body = format!("{body}{}", " ".repeat((256 << 10) - body.len()));
    assert_eq!(
        api.send(Method::POST, "/hooks/prod", &[], body.clone())
            .status,
        400
    );
    assert_eq!(letter(&mut api, 1)["item"], body);
    reloads(&api, prod(Kind::Alertmanager));
    assert_eq!(replays(&mut api, 1).at("/replayed/opened"), json!([1]));
}

#[test]
fn no_credential_is_kept_with_a_letter() {
    let query = Credential::Query {
        name: "owner-token".to_owned(),
        value: Secret::new("s3cret"),
    };
    let mut api = with(access_with_source_of(
        Kind::Cloudevents,
        "prod",
        vec![query],
    ));
    let headers = [
        ("authorization", "Bearer s3cret"),
        ("cookie", "s3cret"),
        ("x-signature", "s3cret"),
        ("ce-specversion", "0.3"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", "t"),
        ("content-type", "text/plain"),
    ];
    let path = "/hooks/prod?owner-token=s3cret&action=close";
    let refused = api.send(Method::POST, path, &headers, "hello");
    assert_eq!(refused.status, 400, "{}", refused.text);
    let kept = letter(&mut api, 1);
    assert_eq!(
        kept["headers"],
        json!({ "ce-specversion": "0.3", "ce-id": "1", "ce-source": "s", "ce-type": "t", "content-type": "text/plain" })
    );
    assert_eq!(kept["query"], json!({}));
    assert!(!kept.to_string().contains("s3cret"), "{kept}");

    // The routing key of PagerDuty stands in the body itself.
    let credentials = vec![Credential::Bearer(Secret::new("r0uting"))];
    let mut api = with(access_with_source_of(Kind::Pagerduty, "prod", credentials));
    let event = json!({ "routing_key": "r0uting", "event_action": "trigger", "payload": {} });
    assert_eq!(api.post("/v2/enqueue", &event).status, 400);
    let kept = letter(&mut api, 1);
    assert_eq!(kept["item"], r#"{"event_action":"trigger","payload":{}}"#);
    assert_eq!(
        (&kept["cut"], &kept["replayable"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn what_the_address_said_is_said_again_by_a_replay() {
    let mut api = Api::new();
    let body = json!({ "message": "m", "alias": "a" });
    let key = [("authorization", "GenieKey x")];
    api.send(Method::POST, "/v2/alerts", &key, body.to_string());
    let refused = api.send(Method::POST, "/v2/alerts/a/close", &key, "[]]");
    assert_eq!(refused.status, 422);
    let kept = letter(&mut api, 1);
    assert_eq!(kept["query"], json!({ "action": "close", "alias": "a" }));
    // A later version may not mind.
    let store = api.simulation.store();
    let mended = |tx: &mut Tx<'_, '_>| -> Result<u64, Failure<Infallible>> {
        let known = watchkeeper::store::letters::letter(&tx.read(), 1)?;
        let mut letter = known.expect("it is there");
        letter.item = "{}".to_owned();
        Ok(tx.put_dead_letter(&letter)?)
    };
    let id = store
        .transact_blocking(Class::Intake, mended)
        .expect("the store works");
    assert_eq!(replays(&mut api, id).at("/replayed/joined"), json!([1]));
    assert_eq!(api.get("/api/v1/incidents/1").at("/alerts/resolved"), 1);
}

#[test]
fn all_letters_of_a_source_are_replayed_the_oldest_first_so_many_in_one_call() {
    let mut api = with(prod(Kind::Alertmanager));
    for n in 1..=120 {
        match n {
            7 => left_behind(&api, "prod", r#"{"status":"odd"}"#),
            9 => left_behind(&api, "alertmanager", &an_alert("Another")),
            _ => left_behind(&api, "prod", &an_alert(&format!("Down{n:03}"))),
        }
    }
    let all = format!("{LETTERS}/replay?source=prod");
    let first = api.post(&all, &json!({ "by": "ana" })).json();
    assert_eq!(first["replayed"].as_array().map(Vec::len), Some(99));
    assert_eq!(
        first["failed"],
        json!([{ "id": 7, "reason": "$.alerts[0].status: one of firing, resolved is wanted, found \"odd\"" }])
    );
    assert_eq!(
        (&first["left"], &first["next"]),
        (&json!(19), &json!("101"))
    );
    let rest = api.post(&format!("{all}&cursor=101"), &json!({})).json();
    assert_eq!(rest["replayed"].as_array().map(Vec::len), Some(19));
    assert_eq!((&rest["left"], &rest["next"]), (&json!(0), &Value::Null));
    // What failed still waits, and so does what is another's.
    let again = api.post(&all, &json!({})).json();
    assert_eq!(
        (&again["replayed"], &again["left"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(again["failed"][0]["id"], 7);
    assert_eq!(letter(&mut api, 9)["replayable"], true);
    assert_eq!(
        api.get("/api/v1/incidents/1").at("/title"),
        "Down001: checkout"
    );
}

#[test]
fn a_replay_that_the_store_does_not_take_loses_nothing() {
    let mut api = Api::in_memory();
    left_behind(&api, "alertmanager", &an_alert("Down"));
    api.simulation.memory().fail_at(1);
    assert_eq!(
        replays(&mut api, 1).problem(),
        "503 the store is failing; nothing was taken"
    );
    assert_eq!(letter(&mut api, 1)["replayable"], true);
    assert_eq!(api.get("/api/v1/incidents").at("/incidents"), json!([]));
    assert_eq!(replays(&mut api, 1).at("/replayed/opened"), json!([1]));
}

#[test]
fn who_may_not_or_asks_for_what_is_not_there_is_told() {
    let mut api = with(access_with_tokens(&[
        ("vic", Role::Viewer),
        ("rob", Role::Responder),
    ]));
    left_behind(&api, "gone", &an_alert("Down"));
    let mut asks = |method: Method, token: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        api.send(
            method,
            &format!("{LETTERS}{path}"),
            &[("authorization", &bearer)],
            "",
        )
    };
    let (get, post) = (Method::GET, Method::POST);
    for path in ["/1/replay", "/replay?source=gone"] {
        assert_eq!(
            asks(post.clone(), "vic", path).problem(),
            "403 this needs a token with the role responder"
        );
        assert_eq!(
            asks(post.clone(), "rob", path).problem(),
            "409 there is no source \"gone\" any more"
        );
    }
    assert_eq!(asks(get.clone(), "vic", "/1").status, 200);
    assert_eq!(
        asks(get, "vic", "/2").problem(),
        "404 there is no dead letter 2"
    );
    assert_eq!(
        asks(post.clone(), "rob", "/2/replay").problem(),
        "404 there is no dead letter 2"
    );
    let bad = asks(post, "rob", "/replay?source=prod&cursor=x");
    assert_eq!(bad.problem(), "400 bad cursor \"x\"");
}

#[test]
fn an_item_of_a_source_that_is_of_another_kind_now_is_not_replayed() {
    let mut api = with(prod(Kind::Check));
    left_behind(&api, "prod", &an_alert("Down"));
    assert_eq!(
        replays(&mut api, 1).problem(),
        "409 dead letter 1 is an item of kind alertmanager, and source \"prod\" is of kind check now"
    );
}

#[test]
fn what_an_earlier_version_kept_is_shown_and_not_replayed() {
    let stored =
        r#"{"at":1772442000000,"source":"ge","kind":"check","reason":"r","path":"$","item":"{}"}"#;
    let letter: DeadLetter = serde_json::from_str(stored).expect("it is read");
    assert_eq!(
        letter.body().map_err(|why| why.to_string()),
        Err("it cannot be read without what came with it, which was not kept".to_owned())
    );
    let cut = DeadLetter {
        lacks: Some(Lack::End),
        around: Some((String::new(), String::new())),
        ..letter
    };
    assert!(cut.body().is_err());
}

#[test]
fn of_dead_letters_the_newest_are_kept_and_nothing_waits_for_those_that_left() {
    let mut api = Api::in_memory();
    let body = json!({ "version": "4", "alerts": vec![json!({ "status": "odd" }); 10_300] });
    assert_eq!(api.post("/hooks/alertmanager", &body).status, 400);
    api.advance(std::time::Duration::from_secs(180));
    let count = |table: u8| {
        let view = api.simulation.store().engine().view();
        let mut n = 0;
        view.scan(
            &[table],
            &[table + 1],
            Order::Forward,
            &mut |_key, _record| {
                n += 1;
                Ok(ControlFlow::Continue(()))
            },
        )
        .expect("the memory store reads");
        n
    };
    assert_eq!((count(b'X'), count(b'x')), (10_000, 10_000));
}

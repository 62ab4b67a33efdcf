//! Lists: pages with a cursor, filters, and what is beside incidents.

use crate::api::{Api, access, access_with_source};
use crate::world::{book, rules};
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use watchkeeper::domain::alert::Labels;
use watchkeeper::domain::oncall::Book;
use watchkeeper::domain::schedule::{Layer, Rotation, Schedule};
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::source::Kind;
use watchkeeper::http::auth::Credential;

/// A body with `n` alerts, each of its own name.
fn many(n: usize, status: &str) -> Value {
    let alerts: Vec<Value> = (1..=n)
        .map(|n| json!({ "status": status, "labels": { "alertname": format!("Down{n:03}") } }))
        .collect();
    json!({ "version": "4", "alerts": alerts })
}

/// One field of every item of a list, page by page, and the number of each page's items.
fn whole(api: &mut Api, path: &str, noun: &str, field: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut all, mut sizes) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("{path}{cursor}"));
        assert_eq!(page.status, 200, "{}", page.text);
        let values = page.each(noun, field);
        sizes.push(values.len());
        all.extend(values);
        match page.at("/next").as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (all, sizes),
        }
    }
}

#[test]
fn two_hundred_and_fifty_incidents_are_listed_page_by_page_newest_first() {
    let mut api = Api::new();
    api.post("/hooks/alertmanager", &many(250, "firing"));
    let newest_first: Vec<Value> = (1..=250).rev().map(Value::from).collect();
    let (numbers, sizes) = whole(
        &mut api,
        "/api/v1/incidents?limit=100",
        "incidents",
        "number",
    );
    assert_eq!((numbers, sizes), (newest_first.clone(), vec![100, 100, 50]));
    let (numbers, sizes) = whole(
        &mut api,
        "/api/v1/incidents?limit=125",
        "incidents",
        "number",
    );
    assert_eq!((numbers, sizes), (newest_first.clone(), vec![125, 125]));
    let (numbers, _) = whole(
        &mut api,
        "/api/v1/incidents?status=open&limit=7",
        "incidents",
        "number",
    );
    assert_eq!(numbers, newest_first);
    assert_eq!(
        api.get("/api/v1/incidents")
            .each("incidents", "number")
            .len(),
        100
    );
    assert_eq!(
        api.get("/api/v1/incidents?limit=1000")
            .each("incidents", "number")
            .len(),
        250
    );
}

#[test]
fn alerts_are_listed_page_by_page_by_their_last_change() {
    let mut api = Api::new();
    api.post("/hooks/alertmanager", &many(250, "firing"));
    api.advance(std::time::Duration::from_secs(60));
    api.post("/hooks/alertmanager", &many(3, "resolved"));
    let (names, sizes) = whole(
        &mut api,
        "/api/v1/alerts?limit=100",
        "alerts",
        "fingerprint",
    );
    assert_eq!(sizes, [100, 100, 50]);
    let distinct: std::collections::BTreeSet<String> = names.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 250);
    let first = api.get("/api/v1/alerts?limit=3").each("alerts", "status");
    assert_eq!(first, ["resolved", "resolved", "resolved"]);
    let (resolved, _) = whole(
        &mut api,
        "/api/v1/alerts?status=resolved&limit=2",
        "alerts",
        "incident",
    );
    assert_eq!(resolved.len(), 3);
    let (firing, _) = whole(
        &mut api,
        "/api/v1/alerts?status=firing&limit=100",
        "alerts",
        "status",
    );
    assert_eq!(firing.len(), 247);
}

#[test]
fn the_alerts_of_an_incident_are_listed_page_by_page() {
    let mut api = Api::with(
        access(),
        book(&[("ana", 5)]),
        rules(|settings| {
            settings.dedup_key =
                Some(watchkeeper::domain::template::Template::parse("one").unwrap());
        }),
    );
    api.post("/hooks/alertmanager", &many(25, "firing"));
    let path = "/api/v1/incidents/1/alerts?limit=10";
    let (found, sizes) = whole(&mut api, path, "alerts", "fingerprint");
    assert_eq!(sizes, [10, 10, 5]);
    let distinct: std::collections::BTreeSet<String> = found.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 25);
}

#[test]
fn dead_letters_are_listed_page_by_page() {
    let mut api = Api::new();
    api.post("/hooks/alertmanager", &many(25, "broken"));
    let (ids, sizes) = whole(
        &mut api,
        "/api/v1/dead-letters?limit=10",
        "dead_letters",
        "id",
    );
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(ids, (1..=25).rev().map(Value::from).collect::<Vec<_>>());
}

#[test]
fn incidents_are_filtered() {
    let mut api = Api::new();
    api.fires("Down");
    api.fires("Slow");
    api.post(
        "/api/v1/incidents",
        &json!({ "title": "The till is stuck", "source": "customer", "severity": "SEV3" }),
    );
    let waive = [
        "severity_confirmed",
        "escalation_decided",
        "commander",
        "first_communication",
    ]
    .map(|output| json!({ "output": output, "reason": "x" }));
    let take = json!({ "waive": waive });
    assert_eq!(api.post("/api/v1/incidents/2/advance", &take).status, 200);
    let cases: [(&str, &[u64]); 13] = [
        ("", &[3, 2, 1]),
        ("status=open", &[3, 2, 1]),
        ("status=closed", &[]),
        ("severity=SEV1", &[2, 1]),
        ("severity=SEV3", &[3]),
        ("phase=triage", &[3, 1]),
        ("phase=response", &[2]),
        ("team=none", &[]),
        ("q=TILL", &[3]),
        ("q=slow", &[2]),
        ("q=%232", &[2]),
        ("q=checkout&severity=SEV1&phase=triage", &[1]),
        ("q=nothing", &[]),
    ];
    for (query, wanted) in cases {
        let found = api
            .get(&format!("/api/v1/incidents?{query}"))
            .each("incidents", "number");
        let wanted: Vec<Value> = wanted.iter().copied().map(Value::from).collect();
        assert_eq!(found, wanted, "{query}");
    }
}

#[test]
fn sources_are_listed_without_their_secrets() {
    let secret = Credential::Bearer(Secret::new("s3cret".to_owned()));
    let mut api = Api::with(
        access_with_source("prod", vec![secret]),
        book(&[("ana", 5)]),
        rules(|_| {}),
    );
    let answer = api.get("/api/v1/sources");
    let kinds = Kind::ALL.into_iter();
    let named = kinds.map(|kind| (kind.as_str(), kind.as_str()));
    let mut wanted: Vec<(&str, &str)> = named.chain([("prod", "alertmanager")]).collect();
    wanted.sort_unstable();
    let source = |(name, kind): (&str, &str)| json!({ "name": name, "kind": kind, "path": format!("/hooks/{name}") });
    let wanted: Vec<Value> = wanted.into_iter().map(source).collect();
    assert_eq!(answer.json(), json!({ "next": null, "sources": wanted }));
}

#[test]
fn rules_are_listed_in_order_with_their_revision() {
    let mut api = Api::new();
    assert_eq!(
        api.get("/api/v1/rules").json(),
        json!({ "next": null, "revision": "r1", "loaded_at": "2026-03-02T09:00:00.000Z", "refused": null, "rules": [{
            "name": "all", "match": [], "active": [], "action": "open", "continue": false, "team": null, "escalation_policy": null,
        }] })
    );
}

/// Ana, then ben, a week each.
fn weekly() -> Book {
    let start = NaiveDate::from_ymd_opt(2026, 3, 2)
        .and_then(|day| day.and_hms_opt(9, 0, 0))
        .expect("a day");
    let layer = Layer {
        name: "weekly".to_owned(),
        people: vec!["ana".to_owned(), "ben".to_owned()],
        rotation: Rotation::Weekly,
        every: 1,
        start,
        zone: chrono_tz::UTC,
        days: None,
        from: None,
        to: None,
    };
    let schedule = Schedule {
        name: "primary".to_owned(),
        zone: chrono_tz::UTC,
        layers: vec![layer],
    };
    Book {
        schedules: BTreeMap::from([("primary".to_owned(), schedule)]),
        ..book(&[("ana", 5), ("ben", 5)])
    }
}

#[test]
fn who_is_on_call_is_told_by_schedule() {
    let mut api = Api::with(access(), weekly(), rules(|_| {}));
    assert_eq!(
        api.get("/api/v1/oncall").json(),
        json!({ "next": null, "oncall": [{
            "schedule": "primary",
            "timezone": "UTC",
            "people": [{ "person": "ana", "name": "ana" }],
            "until": "2026-03-09T09:00:00.000Z",
        }] })
    );
    assert_eq!(
        api.get("/api/v1/schedules/primary?from=2026-03-02T09:00:00Z&to=2026-03-16T09:00:00Z")
            .json(),
        json!({ "next": null, "shifts": [
            { "person": "ana", "from": "2026-03-02T09:00:00.000Z", "to": "2026-03-09T09:00:00.000Z" },
            { "person": "ben", "from": "2026-03-09T09:00:00.000Z", "to": "2026-03-16T09:00:00.000Z" },
        ] })
    );
    let cases = [
        (
            "from=x",
            "400 from: an RFC 3339 time is wanted, found \"x\"",
        ),
        (
            "from=2026-03-02T09:00:00Z&to=2026-03-02T09:00:00Z",
            "400 to lies after from, by at most 400 days",
        ),
        (
            "from=2026-03-02T09:00:00Z&to=2028-03-02T09:00:00Z",
            "400 to lies after from, by at most 400 days",
        ),
    ];
    for (query, wanted) in cases {
        let path = format!("/api/v1/schedules/primary?{query}");
        assert_eq!(api.get(&path).problem(), wanted);
    }
}

#[test]
fn an_override_puts_somebody_else_on_call() {
    let mut api = Api::with(access(), weekly(), rules(|_| {}));
    let path = "/api/v1/schedules/primary/overrides";
    let body = json!({
        "kind": "replace", "person": "ben", "instead_of": "ana", "from": "2026-03-02T08:00:00Z",
        "to": "2026-03-02T12:00:00Z", "reason": "dentist", "by": "ana",
    });
    let made = json!({
        "id": 1, "kind": "replace", "person": "ben", "instead_of": "ana", "from": "2026-03-02T08:00:00.000Z",
        "to": "2026-03-02T12:00:00.000Z", "reason": "dentist", "by": "ana", "made_at": "2026-03-02T09:00:00.000Z",
    });
    let answer = api.post(path, &body);
    assert_eq!((answer.status, answer.json()), (201, made.clone()));
    assert_eq!(
        api.get(path).json(),
        json!({ "next": null, "overrides": [made] })
    );
    assert_eq!(
        api.get("/api/v1/oncall").at("/oncall/0/people/0/person"),
        "ben"
    );
    let changed = |name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    let cases = [
        (
            changed("person", json!("nobody")),
            "400 there is nobody called \"nobody\"",
        ),
        (
            changed("instead_of", json!("nobody")),
            "400 there is nobody called \"nobody\"",
        ),
        (
            changed("to", json!("2026-03-02T08:00:00Z")),
            "400 $.to: to lies after from",
        ),
        (
            changed("from", json!("soon")),
            "400 from: an RFC 3339 time is wanted, found \"soon\"",
        ),
    ];
    for (body, wanted) in cases {
        assert_eq!(api.post(path, &body).problem(), wanted);
    }
    let none = api.post("/api/v1/schedules/none/overrides", &body);
    assert_eq!(none.problem(), "404 there is no schedule \"none\"");
}

#[test]
fn labels_are_answered_as_they_came() {
    let mut api = Api::new();
    let labels: Labels = [("alertname", "Ünïcode \"quoted\" <b>"), ("path", "a\\b/c")]
        .into_iter()
        .collect();
    api.post(
        "/hooks/alertmanager",
        &json!({ "version": "4", "alerts": [{ "status": "firing", "labels": labels }] }),
    );
    assert_eq!(
        api.get("/api/v1/alerts").at("/alerts/0/labels"),
        json!({ "alertname": "Ünïcode \"quoted\" <b>", "path": "a\\b/c" })
    );
    assert_eq!(
        api.get("/api/v1/incidents?q=%C3%BCn%C3%AFcode")
            .each("incidents", "number"),
        [1]
    );
}

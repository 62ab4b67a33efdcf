//! Silences over HTTP: our own API, and Alertmanager's on the same ones.

use crate::api::{Answer, Api, access, access_with_tokens};
use crate::world::{at, book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use watchkeeper::domain::inhibition::Inhibition;
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::rule::RuleSet;
use watchkeeper::http::auth::Role;

fn inhibitions(source: &str, target: &str, equal: &[&str]) -> RuleSet {
    let list = |text: &str| Matcher::parse_list(text).expect("matchers");
    let equal = equal.iter().map(|name| (*name).to_owned()).collect();
    let inhibition = Inhibition::new(list(source), list(target), equal);
    rules(|_| {}).inhibiting(vec![inhibition])
}

fn silence(matchers: &[&str]) -> Value {
    json!({ "matchers": matchers, "by": "ana", "reason": "deploy", "for": "2h" })
}

fn add(api: &mut Api, body: &Value) -> Answer {
    api.post("/api/v1/silences", body)
}

#[test]
fn a_silence_is_made_shown_listed_and_ended() {
    let mut api = Api::new();
    let made = add(
        &mut api,
        &silence(&["alertname=\"Down\"", "service=~\"check.*\""]),
    );
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.at("/id").as_str().expect("an id").to_owned();
    let wanted = json!({
        "id": id,
        "state": "active",
        "matchers": ["alertname=\"Down\"", "service=~\"check.*\""],
        "by": "ana",
        "token": null,
        "reason": "deploy",
        "starts_at": "2026-03-02T09:00:00.000Z",
        "ends_at": "2026-03-02T11:00:00.000Z",
        "updated_at": "2026-03-02T09:00:00.000Z",
        "expires_soon": true,
        "forgotten": false,
        "muted_at": null,
        "incidents": [],
    });
    assert_eq!(made.json(), wanted);
    assert_eq!(api.get(&format!("/api/v1/silences/{id}")).json(), wanted);

    api.fires("Down");
    let incident = api.get("/api/v1/incidents/1");
    assert_eq!(incident.at("/muted"), true);
    assert_eq!(incident.at("/muted_since"), "2026-03-02T09:00:00.000Z");
    assert_eq!(
        incident.at("/muted_by"),
        json!([{ "silence": id, "by": "ana", "reason": "deploy" }])
    );
    let alerts = api.get("/api/v1/incidents/1/alerts");
    assert_eq!(alerts.each("alerts", "silenced_by"), [json!([id])]);
    let listed = api.get("/api/v1/silences?state=active");
    assert_eq!(listed.each("silences", "incidents"), [json!([1])]);
    assert_eq!(
        listed.each("silences", "muted_at"),
        ["2026-03-02T09:00:00.000Z"]
    );

    let ended = api.send(
        Method::DELETE,
        &format!("/api/v1/silences/{id}?by=ben"),
        &[],
        "",
    );
    assert_eq!((ended.status, ended.at("/state")), (200, json!("expired")));
    assert_eq!(api.get("/api/v1/incidents/1").at("/muted"), false);
    assert_eq!(api.simulation.sent().len(), 1, "ana is paged");
    let expired = api.get("/api/v1/silences?state=expired");
    assert_eq!(expired.each("silences", "id"), [json!(id)]);
    assert_eq!(
        api.get("/api/v1/silences?state=active").at("/silences"),
        json!([])
    );
}

#[test]
fn a_maintenance_window_is_pending_until_it_starts() {
    let mut api = Api::new();
    let mut window = silence(&["alertname=\"Down\""]);
    window["starts_at"] = json!("2026-03-02T10:00:00Z");
    let made = add(&mut api, &window);
    assert_eq!(made.at("/state"), "pending");
    assert_eq!(
        made.at("/ends_at"),
        "2026-03-02T12:00:00.000Z",
        "from its start"
    );
    api.advance(Duration::from_secs(3600));
    api.fires("Down");
    assert_eq!(api.get("/api/v1/incidents/1").at("/muted"), true);
}

#[test]
fn what_is_wrong_with_a_silence_is_said_with_its_place() {
    let mut api = Api::new();
    let all =
        "these matchers fit every alert; to mute every alert, send \"everything\": true with it";
    let rows: &[(Value, &str)] = &[
        (
            json!({ "matchers": ["a=\"b\"", "service"], "reason": "x", "for": "1h" }),
            "400 $.matchers[1]: bad matcher format: service",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": "x" }),
            "400 $.ends_at: either \"ends_at\" or \"for\" is wanted",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": "x", "for": "1h", "ends_at": "2026-03-02T10:00:00Z" }),
            "400 $.ends_at: either \"ends_at\" or \"for\" is wanted",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": " ", "for": "1h" }),
            "400 $.reason: reason wants a text, found none",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": "x", "for": "soon" }),
            "400 $.for: a duration such as \"90s\", \"5m\" or \"14d\" is wanted, found \"soon\"",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": "x", "ends_at": "tomorrow" }),
            "400 $.ends_at: an RFC 3339 time is wanted, found \"tomorrow\"",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": "x", "ends_at": "2026-03-02T08:00:00Z" }),
            "400 $.ends_at: start time must be before end time",
        ),
        (
            json!({ "matchers": ["a=\"b\""], "reason": "x", "for": "0s" }),
            "400 $.ends_at: start time must be before end time",
        ),
    ];
    for (body, wanted) in rows {
        assert_eq!(add(&mut api, body).problem(), *wanted, "{body}");
    }
    for matchers in [json!([]), json!(["alertname=~\".+\""]), json!(["a=\"\""])] {
        let mut body = json!({ "matchers": matchers, "reason": "x", "for": "1h" });
        let refused = add(&mut api, &body).problem();
        assert_eq!(refused, format!("400 $.matchers: {all}"));
        body["everything"] = json!(true);
        assert_eq!(add(&mut api, &body).status, 201);
    }
    api.fires("Down");
    assert_eq!(api.get("/api/v1/incidents/1").at("/muted"), true);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let path = format!("/api/v1/silences/{unknown}");
    let wanted = format!("404 there is no silence {unknown}");
    assert_eq!(api.get(&path).problem(), wanted);
    assert_eq!(api.send(Method::DELETE, &path, &[], "").problem(), wanted);
    assert_eq!(
        api.get("/api/v1/silences?cursor=x").problem(),
        "400 bad cursor \"x\""
    );
}

#[test]
fn silences_are_listed_in_pages_the_next_to_end_first() {
    let mut api = Api::new();
    for hours in [3, 1, 2] {
        let mut body = silence(&["alertname=\"Down\""]);
        body["for"] = json!(format!("{hours}h"));
        add(&mut api, &body);
    }
    let (mut path, mut ends) = ("/api/v1/silences?limit=1".to_owned(), Vec::new());
    loop {
        let page = api.get(&path);
        ends.extend(page.each("silences", "ends_at"));
        match page.at("/next").as_str() {
            Some(next) => path = format!("/api/v1/silences?limit=1&cursor={next}"),
            None => break,
        }
    }
    let wanted = [10, 11, 12].map(|hour| json!(format!("2026-03-02T{hour}:00:00.000Z")));
    assert_eq!(ends, wanted);
}

#[test]
fn the_same_key_makes_one_silence() {
    let mut api = Api::new();
    let body = silence(&["alertname=\"Down\""]).to_string();
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let headers = [("idempotency-key", "deploy-7")];
        let made = api.send(Method::POST, "/api/v1/silences", &headers, body.clone());
        assert_eq!(made.status, 201);
        ids.insert(made.at("/id").to_string());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(api.get("/api/v1/silences").each("silences", "id").len(), 1);
}

#[test]
fn a_viewer_reads_and_a_responder_mutes_in_the_tokens_name() {
    let access = access_with_tokens(&[("view", Role::Viewer), ("ci", Role::Responder)]);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let view = [("authorization", "Bearer view")];
    let ci = [
        ("authorization", "Bearer ci"),
        ("content-type", "application/json"),
    ];
    let mut body = silence(&["alertname=\"Down\""]);
    body["by"] = json!("ci");
    let send = |api: &mut Api, method, path: &str, headers: &[(&str, &str)], body: &Value| {
        api.send(method, path, headers, body.to_string()).status
    };
    let own = "/api/v1/silences";
    assert_eq!(send(&mut api, Method::POST, own, &[], &body), 401);
    assert_eq!(send(&mut api, Method::POST, own, &view, &body), 403);
    assert_eq!(send(&mut api, Method::POST, own, &ci, &body), 201);
    assert_eq!(send(&mut api, Method::GET, own, &view, &body), 200);
    let theirs = "/api/v2/silences";
    let posted = posted("alertname", "Down");
    assert_eq!(send(&mut api, Method::POST, theirs, &[], &posted), 401);
    assert_eq!(send(&mut api, Method::POST, theirs, &view, &posted), 403);
    assert_eq!(send(&mut api, Method::GET, theirs, &view, &posted), 200);
    assert_eq!(send(&mut api, Method::POST, theirs, &ci, &posted), 200);
    let listed = api.send(Method::GET, own, &view, "");
    let who: Vec<(Value, Value)> = listed
        .each("silences", "by")
        .into_iter()
        .zip(listed.each("silences", "token"))
        .collect();
    assert!(who.contains(&(json!("ci"), Value::Null)), "{who:?}");
    assert!(who.contains(&(json!("ops"), json!("ci"))), "{who:?}");
    let id = listed.at("/silences/0/id");
    let path = format!("/api/v2/silence/{}", id.as_str().expect("an id"));
    assert_eq!(send(&mut api, Method::DELETE, &path, &view, &body), 403);
    assert_eq!(send(&mut api, Method::DELETE, &path, &ci, &body), 200);
    for path in [
        "/api/v2/alerts",
        "/api/v2/alerts/groups",
        "/api/v2/receivers",
    ] {
        assert_eq!(send(&mut api, Method::GET, path, &[], &body), 401, "{path}");
        assert_eq!(
            send(&mut api, Method::GET, path, &view, &body),
            200,
            "{path}"
        );
    }
}

fn posted(name: &str, value: &str) -> Value {
    json!({
        "comment": "maint",
        "createdBy": "ops",
        "startsAt": "2026-03-02T09:00:00.000Z",
        "endsAt": "2026-03-02T10:00:00.000Z",
        "matchers": [{ "isEqual": true, "isRegex": false, "name": name, "value": value }],
    })
}

#[test]
fn what_a_cause_keeps_from_an_incident_is_listed_behind_it() {
    let rules = inhibitions(
        "alertname=\"Cluster\"",
        "alertname!=\"Cluster\"",
        &["service"],
    );
    let mut api = Api::with(access(), book(&[("ana", 5)]), rules);
    api.fires("Cluster");
    for name in ["One", "Two", "Three"] {
        let answer = api.fires(name);
        assert_eq!(answer.at("/opened"), json!([]), "{}", answer.text);
    }
    let all = api.get("/api/v1/incidents/1/alerts");
    let fingerprints = all.each("alerts", "fingerprint");
    assert_eq!(fingerprints.len(), 4);
    let cause = fingerprints[0].clone();
    assert_eq!(
        all.each("alerts", "inhibited_by"),
        [Value::Null, cause.clone(), cause.clone(), cause.clone()]
    );
    assert_eq!(
        all.each("alerts", "incident")[1..],
        [Value::Null, Value::Null, Value::Null]
    );
    let (mut path, mut found) = ("/api/v1/incidents/1/alerts?limit=1".to_owned(), Vec::new());
    loop {
        let page = api.get(&path);
        found.extend(page.each("alerts", "fingerprint"));
        match page.at("/next").as_str() {
            Some(next) => path = format!("/api/v1/incidents/1/alerts?limit=1&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, fingerprints);
    let theirs = api.get("/api/v2/alerts?inhibited=false").json();
    assert_eq!(theirs.as_array().map(Vec::len), Some(1));
    let theirs = api.get("/api/v2/alerts?filter=alertname%3DOne").json();
    assert_eq!(theirs[0]["status"]["state"], "suppressed");
    assert_eq!(theirs[0]["status"]["inhibitedBy"], json!([cause]));
}

#[test]
fn an_alert_is_shown_as_the_successor_of_alertmanager_shows_it() {
    let mut api = Api::new();
    api.fires("Down");
    let shown = api.get("/api/v2/alerts").json();
    assert_eq!(
        shown,
        json!([{
            "annotations": { "summary": "Down is down" },
            "endsAt": "0001-01-01T00:00:00.000Z",
            "fingerprint": shown[0]["fingerprint"],
            "receivers": [{ "name": "watchkeeper" }],
            "startsAt": "2026-03-02T08:58:00.000Z",
            "status": { "inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active" },
            "updatedAt": "2026-03-02T09:00:00.000Z",
            "labels": { "alertname": "Down", "service": "checkout" },
        }])
    );
    let groups = api.get("/api/v2/alerts/groups").json();
    assert_eq!(
        groups,
        json!([{
            "alerts": shown,
            "labels": { "alertname": "Down" },
            "routeLabels": {},
            "receiver": { "name": "watchkeeper" },
        }])
    );
    assert_eq!(
        api.get("/api/v2/receivers").json(),
        json!([{ "name": "watchkeeper" }])
    );
    for none in [
        "receiver_matchers=team%3Da",
        "receiver=other",
        "filter=a%3Db",
    ] {
        let none = api.get(&format!("/api/v2/alerts/groups?{none}"));
        assert_eq!(none.json(), json!([]));
    }
    add(&mut api, &silence(&["alertname=\"Down\""]));
    assert_eq!(
        api.get("/api/v2/alerts/groups?muted=false").json(),
        json!([])
    );
    assert_eq!(api.get("/-/healthy").text, "OK");
    assert_eq!(api.get("/-/ready").text, "OK");
}

#[test]
fn the_successors_parameters_of_silences_are_known() {
    let mut api = Api::new();
    let json_body = [("content-type", "application/json")];
    let body = posted("alertname", "Down").to_string();
    let made = api.send(Method::POST, "/api/v2/silences", &json_body, body);
    let id = made.at("/silenceID").as_str().expect("an id").to_owned();
    let mut mixed = id.to_uppercase();
    mixed.insert_str(0, "/api/v2/silence/");
    assert_eq!(api.get(&mixed).at("/status/state"), "active", "of any case");
    assert_eq!(api.get("/api/v2/silences?active=false").json(), json!([]));
    assert_eq!(
        api.get("/api/v2/silences?pending=false&expired=false")
            .at("/0/annotations"),
        json!({})
    );
    api.send(Method::DELETE, &format!("/api/v2/silence/{id}"), &[], "");
    assert_eq!(api.get("/api/v2/silences?expired=false").json(), json!([]));
}

const CASES: &str = include_str!("fixtures/cases/alertmanager_api.json");

/// When the first alerts of the cases were posted, and when the first silence was.
const RECORDED_AT: &str = "2026-11-23T08:10:57.900Z";
const SILENCED_AT: &str = "2026-11-23T08:11:02.636Z";

/// Cases that ask something else than Alertmanager's API v2.
const NOT_ASKED: &[(&str, &str)] = &[
    (
        "GET /api/v1/alerts",
        "ours is another; theirs was removed in 0.27",
    ),
    ("GET /api/v1/receivers", "the same"),
    ("GET /", "we have no page there"),
    ("POST reload", "ours is POST /api/v1/reload"),
    ("GET reload", "the same"),
];

/// Where we answer otherwise than 0.25 did, and why.
const OTHERWISE: &[(&str, u16, &str)] = &[
    ("GET /api/v2", 404, "there is nothing to be led to"),
    ("GET /api/v2/alerts/", 404, "an address is one address"),
    ("expire unknown id", 404, "as its successor"),
    (
        "silence: bad label name",
        200,
        "as since 0.27: any name of UTF-8",
    ),
];

/// Where only the words differ, and why.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("GET /api/v2/status", "it is another program"),
    ("GET /api/v2/receivers", "there is one receiver"),
    (
        "GET /api/v2/",
        "a problem, as at any path where there is nothing",
    ),
    (
        "silence: matcher empty equals only",
        "it says how to mute everything",
    ),
    ("silence: matcher regex .* only", "the same"),
    ("silence: bad date", "said of Go's types"),
    ("silence: list body", "the same"),
    ("silence: bad json", "the same"),
    (
        "filter {alertname=\"F1\"}",
        "a brace is what is wrong with it",
    ),
];

/// Alerts of another receiver are none of ours.
const OF_RECEIVERS: &[&str] = &[
    "groups by receiver",
    "alerts query receiver=team-a",
    "alerts query receiver=team.*",
    "alerts query receiver=default&filter=alertname=F2",
];

#[test]
fn alertmanagers_api_is_answered_as_alertmanager_answered_it() {
    let rules = inhibitions(
        "severity=\"critical\"",
        "severity=\"warning\"",
        &["alertname", "dev", "instance"],
    );
    let mut api = Api::with(access(), book(&[("ana", 5)]), rules);
    let jump = |api: &mut Api, to: &str| {
        let by_ms = at(to).as_millis() - api.simulation.now().as_millis();
        api.simulation.jump(by_ms).expect("the store works");
    };
    jump(&mut api, RECORDED_AT);
    let cases: Value = serde_json::from_str(CASES).expect("JSON");
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let (mut n_seen, mut complaints) = (0, Vec::new());
    for case in cases["cases"].as_array().expect("a list") {
        let name = case["name"].as_str().expect("a name");
        if NOT_ASKED.iter().any(|(of, _why)| *of == name) {
            continue;
        }
        if name == "merge: first" {
            jump(&mut api, SILENCED_AT);
        }
        let (request, theirs) = (&case["request"], &case["response"]);
        let known = |text: &str| {
            let mut text = text.to_owned();
            ids.iter()
                .for_each(|(their, our)| text = text.replace(their, our));
            text
        };
        let path = known(request["path"].as_str().expect("a path")).replace(' ', "%20");
        let path = path
            .replace('(', "%28")
            .replace('[', "%5B")
            .replace(']', "%5D");
        let body = known(request["body"].as_str().unwrap_or_default());
        let headers = request["headers"].as_object().cloned().unwrap_or_default();
        let mut headers: Vec<(String, String)> = headers
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let has_type = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !has_type {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let method = request["method"].as_str().expect("a method");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let is_alerts = method == Method::POST && path == "/api/v2/alerts";
        let answer = api.send(method, &path, &headers, body);
        if is_alerts {
            // Those are compared where alerts are what it is about.
            continue;
        }
        n_seen += 1;
        let otherwise = OTHERWISE.iter().find(|(of, _, _)| *of == name);
        let wanted = otherwise.map_or(theirs["status"].as_u64(), |(_, ours, _)| {
            Some(u64::from(*ours))
        });
        if Some(u64::from(answer.status)) != wanted {
            complaints.push(format!("{name}: {} {}", answer.status, answer.text));
            continue;
        }
        if let Some(their_id) = silence_id(theirs)
            && let Some(our_id) = answer.at("/silenceID").as_str()
        {
            // One that stays the same is the same here, too.
            let same = ids.entry(their_id).or_insert_with(|| our_id.to_owned());
            assert_eq!(same, our_id, "{name}");
            continue;
        }
        let is_other = otherwise.is_some() || OTHER_WORDS.iter().any(|(of, _)| *of == name);
        if !is_other && !OF_RECEIVERS.contains(&name) {
            let differs = differs(&answer, theirs, &ids);
            complaints.extend(differs.map(|differs| format!("{name}: {differs}")));
        }
    }
    assert_eq!(complaints, [""; 0]);
    assert!(n_seen > 100, "{n_seen}");
}

fn silence_id(theirs: &Value) -> Option<String> {
    let text = theirs["body_text"].as_str()?;
    let body: Value = serde_json::from_str(text).ok()?;
    Some(body.get("silenceID")?.as_str()?.to_owned())
}

/// How an answer differs from theirs, where it does.
fn differs(answer: &Answer, theirs: &Value, ids: &BTreeMap<String, String>) -> Option<String> {
    let unlike =
        |ours: Value, theirs: Value| (ours != theirs).then(|| format!("{ours}, and not {theirs}"));
    if let Some(names) = theirs["F_names_returned"].as_array() {
        let ours = answer.json();
        let alerts = ours.as_array().expect("a list").iter();
        let ours = alerts.filter_map(|alert| alert["labels"]["alertname"].as_str());
        let ours: BTreeSet<&str> = ours.filter(|name| name.starts_with('F')).collect();
        let names: BTreeSet<&str> = names.iter().filter_map(Value::as_str).collect();
        return unlike(json!(ours), json!(names));
    }
    if theirs["body"].is_string() {
        return unlike(answer.json(), theirs["body"].clone());
    }
    let text = theirs["body_text"].as_str().unwrap_or_default().trim();
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return unlike(json!(answer.text), json!(text));
    };
    let ours = answer.json();
    match &body {
        Value::Object(object) if object.contains_key("status") => {
            unlike(of_silence(&ours, &BTreeMap::new()), of_silence(&body, ids))
        }
        Value::Array(list) if list.iter().all(|of| of.get("labels").is_some()) => {
            let ours = ours.as_array().expect("a list");
            unlike(of_alerts(ours), of_alerts(list))
        }
        Value::Array(list) => {
            let ours = ours.as_array().expect("a list");
            unlike(states(ours), states(list))
        }
        _other => unlike(ours, body.clone()),
    }
}

/// What of the alerts of a story does not depend on when they were posted, nor on their receivers.
fn of_alerts(list: &[Value]) -> Value {
    let alerts = list.iter().flat_map(|of| match of["alerts"].as_array() {
        Some(alerts) => alerts.clone(),
        None => vec![of.clone()],
    });
    let is_of_story = |alert: &Value| {
        let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
        name.starts_with(['F', 'I', 'M']) || name.starts_with("good")
    };
    let shown: BTreeMap<String, Value> = alerts
        .filter(is_of_story)
        .map(|alert| {
            let status = &alert["status"];
            let n_silences = status["silencedBy"].as_array().map(Vec::len);
            let shown = json!([
                status["state"],
                n_silences,
                status["inhibitedBy"],
                alert["annotations"],
                alert["fingerprint"],
            ]);
            (alert["labels"].to_string(), shown)
        })
        .collect();
    json!(shown)
}

/// In which order silences of each state come.
fn states(list: &[Value]) -> Value {
    let states = list.iter().map(|of| of["status"]["state"].clone());
    let mut states: Vec<Value> = states.collect();
    states.dedup();
    json!(states)
}

/// What of a silence does not depend on when it was posted.
fn of_silence(silence: &Value, ids: &BTreeMap<String, String>) -> Value {
    let id = silence["id"].as_str().expect("an id");
    let id = ids.get(id).map_or(id, String::as_str);
    json!([
        id,
        silence["status"]["state"],
        silence["comment"],
        silence["createdBy"],
        silence["matchers"],
    ])
}

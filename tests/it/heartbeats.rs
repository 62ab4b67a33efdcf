//! Heartbeats: jobs and watchdogs that must say that they live.

use crate::api::{Answer, Api, access};
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::alert::Labels;
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::heartbeat::{Heartbeat, Wanted};
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::oncall::Book;
use watchkeeper::domain::secret::Secret;
use watchkeeper::http::auth::{Access, Credential, Door};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every hour, with a quarter of an hour of grace; a run may take half an hour.
fn hourly() -> Heartbeat {
    Heartbeat {
        wanted: Wanted::Every(seconds(HOUR)),
        grace: seconds(15 * MINUTE),
        max_run: Some(seconds(30 * MINUTE)),
        labels: Labels::from_iter([("service", "warehouse")]),
        fed_by: Vec::new(),
    }
}

fn cron(text: &str, zone: chrono_tz::Tz) -> Heartbeat {
    let cron = CronSpec::parse(text).expect("a cron");
    Heartbeat {
        wanted: Wanted::At { cron, zone },
        ..hourly()
    }
}

fn api(heartbeats: &[(&str, Heartbeat)]) -> Api {
    with(heartbeats, |_access| {})
}

fn with(heartbeats: &[(&str, Heartbeat)], change: impl FnOnce(&mut Access)) -> Api {
    let mut book = book(&[("ana", 5)]);
    let mut access = access();
    for (name, heartbeat) in heartbeats {
        book.heartbeats
            .insert((*name).to_owned(), heartbeat.clone());
        let door = Arc::new(Door(vec![Credential::Open]));
        access.heartbeats.insert((*name).to_owned(), door);
    }
    change(&mut access);
    let mut api = Api::with(access, book, rules(|_| {}));
    api.simulation.run().expect("the store works");
    api
}

/// The configuration is changed while the program runs.
fn edits(api: &mut Api, change: impl FnOnce(&mut Book)) {
    change(Arc::make_mut(&mut api.simulation.in_force.book));
    let mut live = (**api.live.load()).clone();
    live.in_force = api.simulation.in_force.clone();
    api.live.swap(live);
    api.simulation.run().expect("the store works");
}

fn pings(api: &mut Api, path: &str) {
    let answer = api.get(&format!("/ping/{path}"));
    assert_eq!((answer.status, answer.text.as_str()), (200, "OK"), "{path}");
}

fn advance(api: &mut Api, span: u64) {
    api.advance(seconds(span));
}

fn heartbeat(api: &mut Api, name: &str) -> Value {
    let list = api.get("/api/v1/heartbeats").at("/heartbeats");
    let all = list.as_array().expect("a list").clone();
    let found = all.into_iter().find(|one| one["name"] == name);
    found.expect("it is configured")
}

/// `firing heartbeat nightly is missing`, for each alert.
fn alerts(api: &mut Api) -> Vec<String> {
    let list = api.get("/api/v1/alerts").at("/alerts");
    let shown = |alert: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!(
            "{} {}",
            text(&alert["status"]),
            text(&alert["annotations"]["summary"])
        )
    };
    list.as_array().expect("a list").iter().map(shown).collect()
}

fn description(api: &mut Api) -> String {
    let alert = api.get("/api/v1/alerts").at("/alerts/0");
    let text = alert["annotations"]["description"].as_str();
    text.expect("it says why").to_owned()
}

fn pages(api: &Api) -> Vec<String> {
    let sent = api.simulation.sent().iter();
    sent.map(|sent| format!("{} {}", sent.at.to_utc().format("%H:%M"), sent.message.to))
        .collect()
}

#[test]
fn a_heartbeat_that_stays_away_is_an_alert_and_its_return_resolves_it() {
    let mut api = api(&[("load", hourly())]);
    pings(&mut api, "load");
    advance(&mut api, 75 * MINUTE - 1);
    assert_eq!(alerts(&mut api), [""; 0]);
    advance(&mut api, 1);
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
    assert_eq!(
        description(&mut api),
        "the last ping came at 2026-03-02T09:00:00.000Z; one is wanted every 1h, with 15m of grace"
    );
    assert_eq!(pages(&api), ["10:15 ana"]);
    let incident = api.get("/api/v1/incidents/1").json();
    assert_eq!(incident["title"], "heartbeat load is missing");
    let alert = api.get("/api/v1/alerts").at("/alerts/0");
    assert_eq!(
        alert["labels"],
        json!({ "alertname": "load", "service": "warehouse" })
    );
    assert_eq!(alert["attributes"]["reason"], "missing");
    assert_eq!(alert["attributes"]["kind"], "heartbeat");
    assert_eq!(alert["attributes"]["source"], "load");
    assert_eq!(alert["starts_at"], "2026-03-02T10:00:00.000Z");
    assert_eq!(heartbeat(&mut api, "load")["state"], "missing");

    advance(&mut api, 30 * HOUR);
    assert_eq!(
        alerts(&mut api),
        ["firing heartbeat load is missing"],
        "it is not stale"
    );
    pings(&mut api, "load");
    assert_eq!(alerts(&mut api), ["resolved heartbeat load is missing"]);
    let up = heartbeat(&mut api, "load");
    assert_eq!((&up["state"], &up["received"]), (&json!("up"), &json!(2)));
    assert_eq!(up["wanted_at"], "2026-03-03T17:15:00.000Z");
}

#[test]
fn one_that_never_comes_is_missing_too() {
    let mut api = api(&[("load", hourly())]);
    assert_eq!(heartbeat(&mut api, "load")["state"], "new");
    advance(&mut api, 75 * MINUTE);
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
    let why = "no ping has come yet; one is wanted every 1h, with 15m of grace";
    assert_eq!(description(&mut api), why);
}

#[test]
fn a_heartbeat_by_cron_is_wanted_at_its_slots_in_its_zone() {
    let mut api = api(&[("load", cron("0 3 * * *", chrono_tz::Europe::Berlin))]);
    assert_eq!(
        heartbeat(&mut api, "load")["wanted_at"],
        "2026-03-03T02:00:00.000Z"
    );
    advance(&mut api, 17 * HOUR + 10 * MINUTE);
    pings(&mut api, "load");
    advance(&mut api, 24 * HOUR + 5 * MINUTE - 1);
    assert_eq!(alerts(&mut api), [""; 0]);
    advance(&mut api, 1);
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
    assert_eq!(
        description(&mut api),
        "the last ping came at 2026-03-03T02:10:00.000Z; \
         one is wanted at \"0 3 * * *\" Europe/Berlin, with 15m of grace"
    );
}

#[test]
fn a_run_that_fails_is_an_alert_at_once_with_what_the_job_said() {
    for (path, why) in [
        ("load/fail", "it says that it failed"),
        ("load/3", "exit status 3"),
    ] {
        let mut api = api(&[("load", hourly())]);
        let answer = api.send(
            Method::POST,
            &format!("/ping/{path}"),
            &[("content-type", "application/x-www-form-urlencoded")],
            "disk full\n",
        );
        assert_eq!(answer.status, 200);
        assert_eq!(alerts(&mut api), ["firing heartbeat load failed"]);
        assert_eq!(description(&mut api), why);
        let alert = api.get("/api/v1/alerts").at("/alerts/0");
        assert_eq!(alert["annotations"]["output"], "disk full");
        assert_eq!(heartbeat(&mut api, "load")["state"], "failed");
        pings(&mut api, "load/0");
        assert_eq!(alerts(&mut api), ["resolved heartbeat load failed"]);
    }
}

#[test]
fn a_run_that_does_not_end_is_an_alert() {
    let mut api = api(&[("load", hourly())]);
    pings(&mut api, "load/start?rid=a");
    advance(&mut api, 10 * MINUTE);
    pings(&mut api, "load/start?rid=b");
    pings(&mut api, "load/success?rid=a");
    let up = heartbeat(&mut api, "load");
    assert_eq!(up["last_run_ms"], 600_000);
    assert_eq!(up["runs"][0]["id"], "b");
    advance(&mut api, 30 * MINUTE);
    let all = ["firing a run of heartbeat load does not end"];
    assert_eq!(alerts(&mut api), all);
    assert_eq!(
        description(&mut api),
        "a run that began at 2026-03-02T09:10:00.000Z has not ended, 30m is the most it may take"
    );
    pings(&mut api, "load?rid=b");
    assert_eq!(
        alerts(&mut api),
        ["resolved a run of heartbeat load does not end"]
    );
    assert_eq!(heartbeat(&mut api, "load")["last_run_ms"], 1_800_000);
    // Paged, and told that it is clear.
    assert_eq!(pages(&api), ["09:40 ana", "09:40 ana"]);
}

#[test]
fn a_run_that_begins_is_heard_of_and_brings_nothing_back() {
    let mut api = api(&[("load", hourly())]);
    advance(&mut api, 75 * MINUTE);
    pings(&mut api, "load/start");
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
    pings(&mut api, "load/log");
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
    pings(&mut api, "load");
    assert_eq!(alerts(&mut api), ["resolved heartbeat load is missing"]);
}

#[test]
fn what_is_wrong_changes_words_and_not_the_alert() {
    let mut api = api(&[("load", hourly())]);
    pings(&mut api, "load/fail");
    advance(&mut api, 75 * MINUTE);
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
    pings(&mut api, "load/1");
    assert_eq!(alerts(&mut api), ["firing heartbeat load failed"]);
    assert_eq!(
        api.get("/api/v1/incidents").each("incidents", "number"),
        [1]
    );
}

#[test]
fn time_in_which_nothing_could_be_heard_does_not_count() {
    let mut api = api(&[("load", hourly())]);
    pings(&mut api, "load");
    advance(&mut api, 30 * MINUTE);
    api.simulation.sleep(seconds(5 * HOUR));
    advance(&mut api, 44 * MINUTE);
    assert_eq!(alerts(&mut api), [""; 0]);
    // What it did in its last ten minutes before is not known.
    advance(&mut api, 11 * MINUTE);
    assert_eq!(alerts(&mut api), ["firing heartbeat load is missing"]);
}

#[test]
fn a_heartbeat_that_is_changed_or_removed_is_waited_for_as_it_is_now() {
    let mut api = api(&[("load", hourly()), ("other", hourly())]);
    advance(&mut api, 75 * MINUTE);
    assert_eq!(alerts(&mut api).len(), 2);
    edits(&mut api, |book| {
        book.heartbeats.remove("other");
    });
    let mut all = alerts(&mut api);
    all.sort();
    assert_eq!(
        all,
        [
            "firing heartbeat load is missing",
            "resolved heartbeat other is missing"
        ]
    );
    pings(&mut api, "load");
    edits(&mut api, |book| {
        let load = book.heartbeats.get_mut("load").expect("it is there");
        load.wanted = Wanted::Every(seconds(60));
        load.grace = seconds(0);
    });
    advance(&mut api, 59);
    assert_eq!(heartbeat(&mut api, "load")["state"], "up");
    advance(&mut api, 1);
    assert_eq!(heartbeat(&mut api, "load")["state"], "missing");
    edits(&mut api, |book| {
        let load = book.heartbeats.get_mut("load").expect("it is there");
        load.labels = Labels::from_iter([("service", "lake")]);
    });
    assert!(
        alerts(&mut api)
            .iter()
            .all(|alert| alert.starts_with("resolved"))
    );
}

#[test]
fn an_alert_that_always_fires_feeds_a_heartbeat_and_is_no_alert() {
    let matchers = ["alertname=\"Watchdog\"", "@source=\"alertmanager\""];
    let watchdog = Heartbeat {
        wanted: Wanted::Every(seconds(5 * MINUTE)),
        grace: seconds(MINUTE),
        fed_by: matchers
            .map(|text| Matcher::parse(text).expect("a matcher"))
            .into(),
        ..hourly()
    };
    let mut api = api(&[("prod-monitoring", watchdog)]);
    for _ in 0..3 {
        advance(&mut api, 5 * MINUTE);
        assert_eq!(api.fires("Watchdog").status, 200);
    }
    assert_eq!(
        api.get("/api/v1/incidents").each("incidents", "number"),
        [0; 0]
    );
    assert_eq!(alerts(&mut api), [""; 0]);
    // That it ends is no ping.
    advance(&mut api, 5 * MINUTE);
    assert_eq!(api.resolves("Watchdog").status, 200);
    advance(&mut api, MINUTE);
    assert_eq!(
        alerts(&mut api),
        ["firing heartbeat prod-monitoring is missing"]
    );
    assert_eq!(api.fires("Watchdog").status, 200);
    assert_eq!(
        alerts(&mut api),
        ["resolved heartbeat prod-monitoring is missing"]
    );
    let body = json!([{ "labels": { "alertname": "Watchdog" } }]).to_string();
    let headers = [("content-type", "application/json")];
    let posted = api.send(Method::POST, "/api/v2/alerts", &headers, body);
    assert_eq!(posted.status, 200);
    assert_eq!(heartbeat(&mut api, "prod-monitoring")["received"], 5);
}

#[test]
fn what_pings_opsgenie_pings_us() {
    let mut api = with(&[("load", hourly())], |access| {
        let mut source = (*access.sources["opsgenie"]).clone();
        source.door = Door(vec![Credential::Bearer(Secret::new("k".to_owned()))]);
        access
            .sources
            .insert("opsgenie".to_owned(), Arc::new(source));
    });
    let mut ping = |method: Method, name: &str, key: &str| -> Answer {
        let path = format!("/v2/heartbeats/{name}/ping");
        let key = format!("GenieKey {key}");
        api.send(method, &path, &[("authorization", &key)], "")
    };
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH] {
        let answer = ping(method, "load", "k");
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.at("/result"), "PONG - Heartbeat received");
    }
    let none = ping(Method::GET, "none", "k");
    assert_eq!(none.status, 404);
    assert_eq!(
        none.at("/message"),
        "Heartbeat with name [none] does not exist"
    );
    assert_eq!(ping(Method::GET, "load", "x").status, 401);
    assert_eq!(heartbeat(&mut api, "load")["received"], 4);
}

#[test]
fn a_ping_that_is_none_is_told_so() {
    let mut api = with(&[("load", hourly())], |access| {
        let value = Secret::new("s3cret".to_owned());
        let name = "key".to_owned();
        let door = Door(vec![Credential::Query { name, value }]);
        access.heartbeats.insert("load".to_owned(), Arc::new(door));
    });
    assert_eq!(
        api.get("/ping/none").problem(),
        "404 there is no heartbeat \"none\""
    );
    for path in ["load/done", "load/256", "load/-1"] {
        let said = path.split_once('/').expect("two parts").1;
        assert_eq!(
            api.get(&format!("/ping/{path}")).problem(),
            format!(
                "404 start, success, fail, log or an exit status from 0 to 255 is wanted, found \"{said}\""
            )
        );
    }
    assert_eq!(
        api.get("/ping/load").problem(),
        "401 wrong or missing credentials for \"load\""
    );
    pings(&mut api, "load?key=s3cret");
    let head = api.send(Method::HEAD, "/ping/load?key=s3cret", &[], "");
    assert_eq!(head.status, 200);
    assert_eq!(heartbeat(&mut api, "load")["received"], 2);
}

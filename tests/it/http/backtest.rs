//! Backtest over HTTP: lines as it goes on, one at a time, and what is wrong with a request for one.

use crate::api::{Answer, Api, access_with_tokens};
use crate::lifecycle::STEPS;
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use watchkeeper::http::auth::Role;
use watchkeeper::http::backtest::{Backtests, LINES_MAX};

/// How often it is asked whether one has heard that it is over.
const TRIES_MAX: usize = 20_000;

const PATH: &str = "/api/v1/rules/backtest";

fn by_name(severity: &str) -> String {
    format!(
        "[[rule]]\nname = \"all\"\nmatch = []\nseverity = \"{severity}\"\ndedup_key = \"{{{{ labels.alertname }}}}\"\n"
    )
}

fn wanted(rules: &str) -> Value {
    json!({ "since": "1d", "rules": [{ "name": "rules/all.toml", "text": rules }] })
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let lines = answer.text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn it_says_how_far_it_is_and_then_what_it_found() {
    let mut api = Api::new();
    api.fires("Down");
    api.advance(Duration::from_secs(120));
    api.resolves("Down");
    let answer = api.post(PATH, &wanted(&by_name("SEV2")));
    let lines = lines(&answer);
    let (last, before) = lines.split_last().expect("there are lines");
    assert_eq!(before[0], json!({ "progress": { "read": 2 } }));
    assert_eq!(
        before[before.len() - 1],
        json!({ "progress": { "judged": 2, "of": 2 } })
    );
    let report = &last["report"];
    assert_eq!(report["fired"], 1);
    assert_eq!(
        report["then"]["incidents"]["severities"],
        json!({ "SEV1": 1 })
    );
    assert_eq!(
        report["now"]["incidents"]["severities"],
        json!({ "SEV2": 1 })
    );
    assert_eq!(report["keys"][0]["key"], "Down");
    assert_eq!(
        api.get("/api/v1/incidents/1").at("/severity"),
        "SEV1",
        "nothing of the store has changed"
    );
}

#[test]
fn the_same_rules_find_nothing() {
    let mut api = Api::new();
    api.fires("Down");
    let answer = api.post(PATH, &wanted(&by_name("SEV1")));
    let lines = lines(&answer);
    let last = &lines[lines.len() - 1]["report"];
    assert_eq!((&last["differ"], &last["keys"]), (&json!(0), &json!([])));
}

#[test]
fn only_who_may_change_rules_may_ask_for_one() {
    let access = access_with_tokens(&[("ci", Role::Responder), ("root", Role::Admin)]);
    let mut api = Api::with(access, book(STEPS), rules(|_settings| {}));
    let mut ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let body = wanted(&by_name("SEV1")).to_string();
        api.send(Method::POST, PATH, &headers, body)
    };
    let refused = ask("ci");
    assert_eq!(
        (refused.status, refused.at("/detail")),
        (403, json!("this needs a token with the role admin"))
    );
    assert_eq!(ask("root").status, 200);
}

#[test]
fn there_is_one_at_a_time() {
    let mut api = Api::new();
    api.backtests_by(Backtests::at_once(0));
    let answer = api.post(PATH, &wanted(&by_name("SEV1")));
    assert_eq!(
        (answer.status, answer.at("/detail")),
        (409, json!("a backtest is running; there is one at a time"))
    );
}

#[test]
fn one_that_nobody_waits_for_any_more_ends() {
    let mut api = Api::in_memory();
    // Each incident that was open when the span began is a sign of life: more than wait for whoever asked.
    for n in 0..LINES_MAX + 4 {
        api.fires(&format!("Down{n}"));
        api.advance(Duration::from_secs(3600));
    }
    api.advance(Duration::from_secs(2 * 86_400));
    let body = wanted(&by_name("SEV1"));
    let unread = api.begin(PATH, &body);
    assert_eq!(unread.status(), 200);
    assert_eq!(
        api.post(PATH, &body).status,
        409,
        "the first waits for its reader"
    );
    drop(unread);
    // It hears of that on its own thread.
    let ended = (0..TRIES_MAX).any(|_| match api.post(PATH, &body).status {
        200 => true,
        other => {
            assert_eq!(other, 409);
            std::thread::yield_now();
            false
        }
    });
    assert!(ended, "it goes on though nobody reads it");
}

#[test]
fn what_cannot_be_judged_says_why() {
    let mut api = Api::new();
    let mut ask = |body: Value| {
        let answer = api.post(PATH, &body);
        let at = |pointer: &str| answer.at(pointer).as_str().unwrap_or_default().to_owned();
        (
            answer.status,
            at("/detail"),
            at("/path"),
            answer.at("/errors"),
        )
    };
    let with = |name: &str, value: Value| {
        let mut body = wanted(&by_name("SEV1"));
        body[name] = value;
        body
    };
    let (status, detail, path, _) = ask(with("since", json!("a month")));
    assert_eq!((status, path.as_str()), (400, "$.since"), "{detail}");
    let (status, detail, path, _) = ask(with("acknowledge_after", json!("5")));
    assert_eq!(
        (status, path.as_str()),
        (400, "$.acknowledge_after"),
        "{detail}"
    );
    let (status, detail, path, _) = ask(with("rules", json!("all.toml")));
    assert_eq!((status, path.as_str()), (400, "$.rules"), "{detail}");
    let (status, detail, _, _) = ask(json!({ "rules": [] }));
    assert_eq!(
        (status, detail.split(" at line").next()),
        (400, Some("missing field `since`"))
    );
    let broken = json!([{ "name": "b.toml", "text": "[[rule]]\nname = \"a\"\n" }]);
    for name in ["rules", "against"] {
        assert_eq!(
            ask(with(name, broken.clone())),
            (
                422,
                "the rules have errors".to_owned(),
                format!("$.{name}"),
                json!(["b.toml:1:1: error: \"match\" is missing\n    [[rule]]\n    ^^^^^^^^"])
            )
        );
    }
    let many: Vec<Value> = (0..1_001)
        .map(|n| json!({ "name": format!("{n}.toml"), "text": "" }))
        .collect();
    let (status, detail, _, _) = ask(with("rules", json!(many)));
    assert_eq!(
        (status, detail.as_str()),
        (400, "at most 1000 files of rules are taken, found 1001")
    );
    let large = "#".repeat(4 << 20);
    assert_eq!(ask(wanted(&large)).0, 413);
}

//! How the process says it is doing: alive, ready, measured, reloaded, backed up.

use crate::api::{Api, access};
use crate::world::{book, rules};
use serde_json::{Value, json};
use std::time::Duration;
use watchkeeper::domain::page::Outcome;
use watchkeeper::http::reload::Reload;
use watchkeeper::store::engine::Class;
use watchkeeper::store::quarantine;
use watchkeeper::telemetry::METRICS;

#[test]
fn the_process_says_that_it_is_alive() {
    let mut api = Api::new();
    let answer = api.get("/healthz");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })
    );
}

/// Which checks of `/readyz` do not hold.
fn failing(api: &mut Api) -> (u16, Vec<String>) {
    let answer = api.get("/readyz");
    let checks = answer.at("/checks");
    let failing: Vec<String> = checks
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, check)| check["ok"] != true)
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(answer.at("/ready"), failing.is_empty());
    (answer.status, failing)
}

#[test]
fn it_is_ready_once_the_engine_stepped() {
    let mut api = Api::new();
    assert_eq!(failing(&mut api), (503, vec!["engine".to_owned()]));
    assert_eq!(failing(&mut api), (200, vec![]));
    let answer = api.get("/readyz");
    assert_eq!(answer.at("/checks/rules/detail/revision"), "r1");
    assert_eq!(answer.at("/checks/rules/detail/rules"), 1);
    assert_eq!(answer.at("/checks/store/detail/poisoned"), Value::Null);
    assert_eq!(answer.at("/checks/audit/detail/violations"), json!([]));
}

#[test]
fn an_engine_that_does_not_step_is_not_ready() {
    let mut api = Api::new();
    api.advance(Duration::from_secs(5));
    assert_eq!(failing(&mut api).0, 200);
    let clock = api.simulation.clock().clone();
    let mut at = clock.moment();
    at.elapsed += Duration::from_secs(11);
    at.now = at.now.plus(Duration::from_secs(11));
    clock.set(at);
    assert_eq!(failing(&mut api), (503, vec!["engine".to_owned()]));
}

#[test]
fn a_store_that_failed_is_not_ready() {
    let mut api = Api::in_memory();
    api.advance(Duration::from_secs(5));
    api.simulation.memory().stop_at(1);
    assert_eq!(api.fires("Down").status, 503);
    let (status, failing) = failing(&mut api);
    assert_eq!(status, 503);
    assert!(failing.contains(&"store".to_owned()), "{failing:?}");
}

#[test]
fn an_audit_that_fails_is_not_ready_and_says_why() {
    let mut api = Api::new();
    api.simulation
        .answer_pages(|_message, _now| Outcome::Rejected {
            why: "404".to_owned(),
        });
    api.fires("Down");
    api.advance(Duration::from_secs(3600));
    let answer = api.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.at("/checks/audit/ok"), false);
    assert_eq!(answer.at("/checks/audit/detail/violations/0/incident"), 1);
    let metrics = api.get("/metrics").text;
    assert!(
        metrics.contains("watchkeeper_audit_violations 1"),
        "{metrics}"
    );
}

#[test]
fn an_incident_in_quarantine_is_not_ready() {
    let mut api = Api::new();
    api.fires("Down");
    let now = api.simulation.now();
    let in_force = api.simulation.in_force.clone();
    let put = api
        .simulation
        .store()
        .transact_blocking(Class::Engine, move |tx| {
            quarantine::put(tx, 1, "it panicked", &in_force, now)
        });
    put.unwrap();
    api.advance(Duration::from_secs(60));
    let answer = api.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.at("/checks/engine/detail/quarantined"), 1);
    assert_eq!(answer.at("/checks/engine/ok"), false);
}

#[test]
fn a_reload_that_was_refused_is_not_ready_and_says_what_is_wrong() {
    let mut api = Api::new();
    api.advance(Duration::from_secs(1));
    let live = std::sync::Arc::clone(&api.live);
    let wrong = vec!["rules/a.toml:3:1: error: unknown key \"mach\"".to_owned()];
    let errors = wrong.clone();
    api.reload_by(Reload::new(move || {
        live.refuse(errors.clone());
        Err(errors.clone())
    }));
    let answer = api.post("/api/v1/reload", &json!({}));
    assert_eq!(
        answer.problem(),
        "422 the files have errors; what was live stays live"
    );
    assert_eq!(answer.at("/errors"), json!(wrong));
    assert_eq!(failing(&mut api), (503, vec!["rules".to_owned()]));
    let ready = api.get("/readyz");
    assert_eq!(ready.at("/checks/rules/detail/refused"), json!(wrong));
    assert_eq!(api.fires("Down").at("/opened"), json!([1]));
}

#[test]
fn a_reload_that_panics_is_500_and_changes_nothing() {
    let mut api = Api::new();
    api.reload_by(Reload::new(|| panic!("a bug")));
    let answer = api.post("/api/v1/reload", &json!({}));
    assert_eq!(
        answer.problem(),
        "500 the files could not be read; what was live stays live"
    );
}

#[test]
fn what_was_counted_is_in_the_metrics_under_a_name_that_is_documented() {
    let mut api = Api::with(access(), book(&[("ana", 5)]), rules(|_settings| {}));
    api.fires("Down");
    api.fires("Down");
    api.resolves("Never");
    let answer = api.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let touched = [
        "watchkeeper_received_total",
        "watchkeeper_rejected_total",
        "watchkeeper_repeats_total",
        "watchkeeper_late_results_total",
        "watchkeeper_unrouted_total",
        "watchkeeper_dropped_total",
        "watchkeeper_unknown_resolved_total",
        "watchkeeper_incidents_opened_total",
        "watchkeeper_audit_violations",
        "watchkeeper_quarantined_incidents",
        "watchkeeper_store_sequence",
        "watchkeeper_store_applied_sequence",
        "watchkeeper_store_journal_bytes",
        "watchkeeper_store_journal_segments",
        "watchkeeper_store_last_sync_seconds",
        "watchkeeper_store_full",
        "watchkeeper_reload_refused",
    ];
    for name in touched {
        assert!(
            answer
                .text
                .lines()
                .any(|line| line.starts_with(&format!("# TYPE {name} "))),
            "{name} in {}",
            answer.text
        );
        assert!(
            answer
                .text
                .lines()
                .any(|line| line.starts_with(&format!("# HELP {name} "))),
            "{name}"
        );
    }
    for line in answer.text.lines() {
        let Some(name) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split(' ').next())
        else {
            continue;
        };
        assert!(
            METRICS.iter().any(|(known, _, _)| *known == name),
            "{name} is not documented"
        );
    }
}

#[test]
fn a_backup_is_written_where_an_admin_wants_it() {
    let mut api = Api::new();
    api.fires("Down");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one.backup");
    let answer = api.post("/api/v1/backup", &json!({ "path": path }));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.at("/path"), path.display().to_string());
    assert_eq!(answer.at("/made_at"), "2026-03-02T09:00:00.000Z");
    let size = std::fs::metadata(&path).unwrap().len();
    assert_eq!(answer.at("/bytes"), size);
    assert!(answer.at("/records").as_u64() > Some(0), "{}", answer.text);
    let answer = api.post("/api/v1/backup", &json!({ "path": "one.backup" }));
    assert_eq!(answer.problem(), "400 $.path: an absolute path is wanted");
}

//! Grafana's webhook.

use super::{check_fixture, fixture, lines, now, read};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Post, parse};

const WEB: [&str; 2] = [
    "{alertname=\"HighLatency\", grafana_folder=\"prod\", host=\"web-1\", severity=\"critical\"}",
    "{alertname=\"HighLatency\", grafana_folder=\"prod\", host=\"web-2\", severity=\"warning\"}",
];

#[test]
fn grafanas_bodies_are_read_as_they_are_sent() {
    let [one, two] = WEB;
    let firing = |labels| format!("firing {labels} starts=2026-11-23T08:20:00.000Z ends=-");
    let resolved = |labels| {
        format!("resolved {labels} starts=2026-11-23T08:20:00.000Z ends=2026-11-23T08:25:00.000Z")
    };
    let check = |name: &str, expected: &[String]| {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_fixture(Kind::Grafana, &format!("grafana/{name}.json"), &expected);
    };
    check("firing_two", &[firing(one), firing(two)]);
    check("partial_resolved", &[firing(one), resolved(two)]);
    check("resolved", &[resolved(one), resolved(two)]);
    check(
        "datasource_nodata_values_null",
        &[firing(
            "{alertname=\"DatasourceNoData\", datasource_uid=\"prom1\", grafana_folder=\"prod\", ref_id=\"A\", \
             rulename=\"HighLatency\"}",
        )],
    );
}

#[test]
fn an_alert_of_grafana_keeps_its_links_and_values() {
    let parsed = parse(
        Kind::Grafana,
        &Post::of(&fixture("grafana/firing_two.json"), now()),
    )
    .expect("a usable body");
    assert!(parsed.notes.is_empty(), "{:?}", parsed.notes);
    let alert = &parsed.sightings[0];
    assert_eq!(
        alert.attributes.get("panel_url"),
        Some("http://grafana.example:3000/d/dash1?orgId=1&viewPanel=4")
    );
    assert_eq!(alert.attributes.get("rule_uid"), Some("fdqx1y2z3abc"));
    assert_eq!(
        alert.annotations.get("values"),
        Some("[ var='A' labels={host=web-1} value=2.31 ], [ var='C' labels={host=web-1} value=1 ]")
    );
    assert_eq!(alert.severity.as_deref(), Some("critical"));
}

#[test]
fn a_link_that_is_none_costs_no_alert() {
    let body = r#"{"version":"1","alerts":[{"status":"firing","labels":{"alertname":"A"},
        "panelURL":7,"valueString":{},"imageURL":null}]}"#;
    let parsed = read(Kind::Grafana, body);
    assert_eq!(lines(&parsed), ["firing {alertname=\"A\"} starts=- ends=-"]);
}

#[test]
fn a_message_of_another_version_is_read_and_noted() {
    let body = r#"{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"A"}}]}"#;
    let parsed = read(Kind::Grafana, body);
    assert_eq!(
        parsed.notes,
        ["$.version: version \"1\" is wanted, found \"4\"; read as version 1"]
    );
}

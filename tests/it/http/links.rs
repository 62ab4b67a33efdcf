//! Acknowledge links and the page of an incident: looking acknowledges nothing, and nothing of an alert is HTML.

use crate::api::{Api, access};
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use watchkeeper::domain::rule::SeverityRule;
use watchkeeper::domain::severity::Severity;
use watchkeeper::domain::template::Template;

/// The path of the acknowledge link in the first page that went out.
fn link(api: &Api) -> String {
    let sent = api.simulation.sent().first().expect("a page went out");
    let url = sent.message.acknowledge_url.clone().expect("it has a link");
    let path = url.strip_prefix("http://watch.example");
    path.expect("the link leads to us").to_owned()
}

fn acknowledged_by(api: &mut Api) -> Value {
    api.get("/api/v1/incidents/1").at("/acknowledged_by")
}

#[test]
fn looking_at_an_acknowledge_link_acknowledges_nothing_and_its_button_does() {
    let mut api = Api::new();
    api.fires("Down");
    let link = link(&api);
    for method in [Method::GET, Method::GET, Method::HEAD, Method::GET] {
        let answer = api.send(method.clone(), &link, &[], "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-store");
        if method == Method::GET {
            assert!(
                answer
                    .text
                    .contains("<button type=\"submit\">Acknowledge as ana</button>"),
                "{}",
                answer.text
            );
        }
        assert_eq!(acknowledged_by(&mut api), Value::Null);
    }
    let answer = api.send(Method::POST, &link, &[], "");
    assert_eq!(answer.status, 200);
    assert!(
        answer.text.contains("Paging has stopped."),
        "{}",
        answer.text
    );
    assert_eq!(acknowledged_by(&mut api), "ana");

    // The second time it is still so; and looking says by whom.
    assert_eq!(api.send(Method::POST, &link, &[], "").status, 200);
    let shown = api.get(&link);
    assert!(
        shown.text.contains("Acknowledged by <b>ana</b>"),
        "{}",
        shown.text
    );
    assert!(!shown.text.contains("<button"), "{}", shown.text);
}

#[test]
fn a_forged_link_is_403_and_acknowledges_nothing() {
    let mut api = Api::new();
    api.fires("Down");
    api.fires("Slow");
    let link = link(&api);
    let parts: Vec<&str> = link.split('/').collect();
    let [_, _, number, person, expires, signature] = parts.as_slice() else {
        panic!("a link has its parts: {link}");
    };
    let other_person = "62656e";
    let forged = [
        format!("/acknowledge/2/{person}/{expires}/{signature}"),
        format!("/acknowledge/{number}/{other_person}/{expires}/{signature}"),
        format!("/acknowledge/{number}/{person}/99999999999/{signature}"),
        format!(
            "/acknowledge/{number}/{person}/{expires}/{}",
            "0".repeat(64)
        ),
        format!("/acknowledge/{number}/{person}/{expires}/zz"),
        format!("/acknowledge/77/{person}/{expires}/{signature}"),
    ];
    for path in forged {
        for method in [Method::GET, Method::POST] {
            let answer = api.send(method, &path, &[], "");
            assert_eq!(answer.status, 403, "{path}");
            assert!(
                answer
                    .text
                    .contains("this link was not made here, or was changed on the way."),
                "{}",
                answer.text
            );
        }
    }
    assert_eq!(acknowledged_by(&mut api), Value::Null);
    assert_eq!(
        api.get("/api/v1/incidents/2").at("/acknowledged_by"),
        Value::Null
    );
}

#[test]
fn an_expired_link_is_410_and_acknowledges_nothing() {
    let mut api = Api::new();
    api.fires("Down");
    let link = link(&api);
    api.simulation.sleep(Duration::from_secs(7 * 86_400));
    for method in [Method::GET, Method::POST] {
        let answer = api.send(method, &link, &[], "");
        assert_eq!(answer.status, 410);
        assert!(
            answer.text.contains("this link has expired."),
            "{}",
            answer.text
        );
    }
    assert_eq!(acknowledged_by(&mut api), Value::Null);
}

#[test]
fn a_link_to_a_closed_incident_says_so() {
    let mut api = Api::with(
        access(),
        book(&[("ana", 5)]),
        rules(|settings| {
            settings.severity = Some(SeverityRule::Fixed(Severity::Sev4));
        }),
    );
    api.fires("Down");
    let link = link(&api);
    api.resolves("Down");
    api.advance(Duration::from_secs(26 * 3600));
    assert_eq!(api.get("/api/v1/incidents/1").at("/status"), "closed");
    let answer = api.get(&link);
    assert_eq!(answer.status, 200);
    assert!(
        answer.text.contains("This incident is closed."),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("<button"), "{}", answer.text);
    let late = api.send(Method::POST, &link, &[], "");
    assert_eq!(late.status, 409);
    assert!(
        late.text.contains("<p>incident 1 is closed.</p>"),
        "{}",
        late.text
    );
}

#[test]
fn nothing_of_an_alert_is_html() {
    let mut api = Api::with(
        access(),
        book(&[("ana", 5)]),
        rules(|settings| {
            settings.title = Some(Template::parse("{{ labels.alertname }}").unwrap());
            settings.description = Some(Template::parse("{{ annotations.summary }}").unwrap());
            settings.runbook = Some(Template::parse("javascript:alert(1)").unwrap());
        }),
    );
    let evil = "<script>alert(1)</script>";
    api.post(
        "/hooks/alertmanager",
        &json!({ "version": "4", "alerts": [{
            "status": "firing",
            "labels": { "alertname": evil },
            "annotations": { "summary": "\"><img src=x onerror=alert(1)>" },
        }] }),
    );
    api.post(
        "/api/v1/incidents/1/notes",
        &json!({ "text": evil, "by": "<i>ana</i>" }),
    );
    let link = link(&api);
    for path in [link.as_str(), "/incidents/1"] {
        let answer = api.get(path);
        assert_eq!(answer.status, 200);
        for raw in ["<script", "<img", "<i>", "href=\"javascript"] {
            assert!(!answer.text.contains(raw), "{raw} in {}", answer.text);
        }
        assert!(
            answer.text.contains("&lt;script&gt;alert(1)"),
            "{}",
            answer.text
        );
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    let confirmed = api.send(Method::POST, &link, &[], "");
    assert_eq!(confirmed.status, 200);
    assert!(!confirmed.text.contains("<script"), "{}", confirmed.text);
}

#[test]
fn the_page_of_an_incident_shows_its_timeline() {
    let mut api = Api::new();
    api.fires("Down");
    let answer = api.get("/incidents/1");
    assert_eq!(answer.status, 200);
    for part in [
        "SEV1 · Down",
        "Incident 1, open, in triage",
        "<code>commander</code>",
        "paging starts at step 1",
    ] {
        assert!(answer.text.contains(part), "{part} in {}", answer.text);
    }
    assert_eq!(
        api.get("/incidents/9").problem(),
        "404 there is no incident 9"
    );
}

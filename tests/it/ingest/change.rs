//! Changes as those who deploy tell of them: in our own form, and as GitHub, GitLab, PagerDuty and CDEvents do.

use super::{fixture, labels, now, pairs};
use serde_json::{Value, json};
use watchkeeper::domain::change::{Identity, Mention};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, Unusable, parse};

fn told(body: &[u8], headers: &[(&str, &str)], query: &[(&str, &str)]) -> Parsed {
    try_told(body, headers, query).expect("a usable body")
}

fn try_told(
    body: &[u8],
    headers: &[(&str, &str)],
    query: &[(&str, &str)],
) -> Result<Parsed, Unusable> {
    let (headers, query) = (pairs(headers), pairs(query));
    let post = Post {
        headers: &headers,
        query: &query,
        ..Post::of(body, now())
    };
    parse(Kind::Change, &post)
}

fn own(body: &Value) -> Parsed {
    told(body.to_string().as_bytes(), &[], &[])
}

/// `succeeded at=… id=… kind=… service=… …`, of what is there.
fn line(mention: &Mention) -> String {
    let about = &mention.about;
    let id = match &mention.identity {
        Identity::Named(id) => id.as_str(),
        Identity::Made(_) => "made",
    };
    let at = mention.at.map(|at| at.to_string());
    let fields = [
        ("at", at.as_deref()),
        ("id", Some(id)),
        ("kind", about.kind.as_deref()),
        ("service", about.service.as_deref()),
        ("environment", about.environment.as_deref()),
        ("version", about.version.as_deref()),
        ("by", about.by.as_deref()),
        ("summary", about.summary.as_deref()),
        ("url", about.url.as_deref()),
    ];
    let said = fields
        .iter()
        .filter_map(|(name, text)| text.map(|text| format!(" {name}={text}")));
    format!("{}{}", mention.status.as_str(), said.collect::<String>())
}

fn lines(parsed: &Parsed) -> Vec<String> {
    let rejected = parsed
        .rejected
        .iter()
        .map(|item| format!("rejected {}: {}", item.path, item.reason));
    parsed.changes.iter().map(line).chain(rejected).collect()
}

#[test]
fn a_change_is_told_in_a_few_words_or_in_all() {
    let whole = json!({
        "id": "deploy-17", "kind": "deployment", "status": "in_progress", "at": "2026-11-23T08:50:00Z",
        "service": "checkout", "environment": "production", "version": 142, "by": "ana",
        "summary": "New tax rules", "url": "https://ci.example/17", "labels": { "region": "eu", "canary": true, "pods": 3, "old": null },
    });
    let parsed = own(&whole);
    assert_eq!(
        lines(&parsed),
        [
            "in_progress at=2026-11-23T08:50:00.000Z id=deploy-17 kind=deployment service=checkout environment=production \
             version=142 by=ana summary=New tax rules url=https://ci.example/17"
        ]
    );
    assert_eq!(
        parsed.changes[0].about.labels,
        labels(&[("region", "eu"), ("canary", "true"), ("pods", "3")])
    );
    assert!(parsed.sightings.is_empty() && parsed.notes.is_empty());
    for (body, expected) in [
        (
            json!({ "service": "checkout" }),
            "succeeded id=made service=checkout",
        ),
        (
            json!({ "summary": " DNS moved " }),
            "succeeded id=made summary=DNS moved",
        ),
        (json!({ "id": 17, "status": "failed" }), "failed id=17"),
        (
            json!({ "summary": "s", "labels": { "service": "checkout", "env": "prod" } }),
            "succeeded id=made service=checkout environment=prod summary=s",
        ),
        // What the tools of others call it.
        (
            json!({ "id": "1", "status": "Running" }),
            "in_progress id=1",
        ),
        (
            json!({ "id": "1", "status": "Rolled back" }),
            "rolled_back id=1",
        ),
        (json!({ "id": "1", "status": "canceled" }), "cancelled id=1"),
        (json!({ "id": "1", "status": "error" }), "failed id=1"),
        (json!({ "id": "1", "status": "queued" }), "pending id=1"),
    ] {
        assert_eq!(lines(&own(&body)), [expected], "{body}");
    }
}

#[test]
fn changes_come_in_lists_and_a_bad_one_costs_the_others_nothing() {
    let items = json!([
        { "service": "a" },
        { "service": 7, "labels": { "x": {} } },
        { "service": "c", "status": "odd" },
        { "version": "1" },
        "d",
        { "service": "e", "at": "soon" },
        { "service": "f".repeat(257) },
        { "id": "i".repeat(257) },
        { "service": "h" },
    ]);
    let reasons = |prefix: &str| {
        [
            format!("rejected {prefix}[1].labels.x: expected a string, found an object"),
            format!(
                "rejected {prefix}[2].status: one of pending, in_progress, succeeded, failed, rolled_back, cancelled is wanted, found \"odd\""
            ),
            format!(
                "rejected {prefix}[3]: a service, a summary or an id is wanted, found none of them"
            ),
            format!("rejected {prefix}[4]: expected an object, found a string"),
            format!("rejected {prefix}[5].at: an RFC 3339 or Unix time is wanted, found \"soon\""),
            format!(
                "rejected {prefix}[6].service: a service of at most 256 characters is wanted, found \"{}…\"",
                "f".repeat(64)
            ),
            format!(
                "rejected {prefix}[7].id: an id of at most 256 characters is wanted, found \"{}…\"",
                "i".repeat(64)
            ),
        ]
    };
    let expected = |prefix: &str| {
        let good = ["a", "h"].map(|name| format!("succeeded id=made service={name}"));
        good.into_iter().chain(reasons(prefix)).collect::<Vec<_>>()
    };
    assert_eq!(lines(&own(&items)), expected("$"));
    assert_eq!(
        lines(&own(&json!({ "changes": items }))),
        expected("$.changes")
    );
    assert_eq!(own(&json!({ "changes": [] })), Parsed::default());
    assert_eq!(own(&json!([])), Parsed::default());
}

#[test]
fn a_body_that_tells_of_no_change_is_refused_with_its_place() {
    let many = Value::from(vec![json!({ "service": "a" }); 501]).to_string();
    for (body, expected) in [
        ("", "$: the body is empty"),
        ("7", "$: expected an object, found a number"),
        (&many, "$: at most 500 items are wanted, found more"),
        (
            "{",
            "$: not JSON: EOF while parsing an object at line 1 column 1",
        ),
    ] {
        let unusable = try_told(body.as_bytes(), &[], &[]).expect_err(body);
        assert_eq!(unusable.to_string(), expected);
    }
    for (body, expected) in [
        (
            "{}",
            "rejected $: a service, a summary or an id is wanted, found none of them",
        ),
        (
            r#"{"changes":{}}"#,
            "rejected $: a service, a summary or an id is wanted, found none of them",
        ),
        (
            r#"{"routing_key":"k","event_action":"trigger","payload":{}}"#,
            "rejected $.event_action: a change, which has no event action, is wanted, found \"trigger\"",
        ),
        (
            r#"{"routing_key":"s3cret"}"#,
            "rejected $.payload: a payload is wanted, found nothing",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","data_base64":"e30="}"#,
            "rejected $.data: data in JSON is wanted, found nothing",
        ),
        (
            r#"{"context":{"type":"dev.cdevents.service.deployed.0.2.0"}}"#,
            "rejected $.subject: a subject is wanted, found nothing",
        ),
        (
            r#"{"context":{"type":"something"}}"#,
            "rejected $.context.type: a type of CDEvents is wanted, found \"something\"",
        ),
        (
            r#"{"object_kind":"deployment","project":{}}"#,
            "rejected $.project.path_with_namespace: a path is wanted, found nothing",
        ),
        (
            r#"{"deployment":{"id":1},"repository":{"full_name":"a/b"},"deployment_status":{"state":"odd"}}"#,
            "rejected $.deployment_status.state: one of pending, in_progress, succeeded, failed, rolled_back, cancelled is wanted, found \"odd\"",
        ),
    ] {
        let parsed = told(body.as_bytes(), &[], &[]);
        assert_eq!(lines(&parsed), [expected], "{body}");
        assert!(!parsed.rejected[0].item.contains("s3cret"), "{body}");
    }
}

#[test]
fn what_is_too_long_is_cut_and_what_is_no_address_is_no_link() {
    let many = (0..40).map(|n| (format!("l{n:02}"), Value::from("x")));
    let many: serde_json::Map<String, Value> = many.collect();
    let parsed = own(&json!([
        { "service": "a", "summary": "é".repeat(600), "url": "javascript:alert(1)", "labels": many },
        { "service": "b", "labels": { "note": "x".repeat(600), "": "y" }, "url": format!("https://{}", "x".repeat(2048)) },
    ]));
    let [a, b] = &parsed.changes[..] else {
        panic!("two")
    };
    assert_eq!(a.about.summary.as_ref().map(String::len), Some(1024));
    assert_eq!(a.about.labels.len(), 32);
    assert_eq!((&a.about.url, &b.about.url), (&None, &None));
    assert_eq!(b.about.labels.get("note").map(str::len), Some(512));
    assert_eq!(
        parsed.notes,
        [
            "$[0].summary: cut from 1200 bytes to 1024",
            "$[0].url: left out: no address of http or https within 2048 bytes",
            "$[0].labels: the last 8 were left out, over 32",
            "$[1].url: left out: no address of http or https within 2048 bytes",
            "$[1].labels: one with a name of 0 bytes was left out",
            "$[1].labels.note: cut from 600 bytes to 512",
        ]
    );
}

#[test]
fn the_address_of_a_source_says_what_its_bodies_leave_open() {
    let query = [
        ("service", "shop"),
        ("environment", "production"),
        ("label.team", "payments"),
    ];
    let own = br#"[{"summary":"s"},{"service":"checkout","environment":"staging","labels":{"team":"core"}}]"#;
    let parsed = told(own, &[], &query);
    assert_eq!(
        lines(&parsed),
        [
            "succeeded id=made service=shop environment=production summary=s",
            "succeeded id=made service=checkout environment=staging",
        ]
    );
    let teams = parsed
        .changes
        .iter()
        .map(|change| change.about.labels.get("team"));
    assert_eq!(teams.collect::<Vec<_>>(), [Some("payments"), Some("core")]);
    let body = fixture("github/deployment_status_success.json");
    let headers = [("x-github-event", "deployment_status")];
    let parsed = told(&body, &headers, &[("service", "shop")]);
    let about = &parsed.changes[0].about;
    assert_eq!(
        about.service.as_deref(),
        Some("shop"),
        "rather than the repository"
    );
    let long = "x".repeat(257);
    let refused = try_told(own, &[], &[("service", &long)]).expect_err("too long");
    assert_eq!(
        refused.to_string(),
        "$: service of the address: at most 256 characters are wanted"
    );
}

#[test]
fn one_without_an_id_is_known_by_what_it_is_and_when() {
    let identity = |body: &Value| own(body).changes.remove(0).identity;
    let plain = json!({ "service": "checkout", "version": "1.4.2" });
    assert!(matches!(identity(&plain), Identity::Made(_)));
    let mut ended = plain.clone();
    ended["status"] = json!("failed");
    assert_eq!(
        identity(&ended),
        identity(&plain),
        "how far it came is no part of it"
    );
    let mut other = plain.clone();
    other["environment"] = json!("staging");
    assert_ne!(identity(&other), identity(&plain));
    let mut timed = plain;
    timed["at"] = json!("2026-11-23T08:50:00Z");
    let Identity::Named(one) = identity(&timed) else {
        panic!("its time tells it from others")
    };
    timed["at"] = json!("2026-11-23T08:51:00Z");
    assert_ne!(identity(&timed), Identity::Named(one));
    // The parts do not run into each other.
    let (one, other) = (
        json!({ "service": "ab" }),
        json!({ "service": "a", "environment": "b" }),
    );
    assert_ne!(identity(&one), identity(&other));
}

#[test]
fn a_deployment_of_githubs_is_one_change_from_its_creation_to_its_end() {
    let read = |name: &str, event: &str| {
        let body = fixture(&format!("github/{name}.json"));
        told(&body, &[("x-github-event", event)], &[])
    };
    let of_it = "id=example/checkout/deployments/2145988746 kind=deployment service=checkout environment=production \
                 version=main (f95f852b) by=ana";
    let run = "https://github.com/example/checkout/actions/runs/9214601237";
    let table = [
        (
            "deployment",
            "deployment",
            format!("pending at=2026-11-23T08:41:53.000Z {of_it} url={run}"),
        ),
        (
            "deployment_status_in_progress",
            "deployment_status",
            format!("in_progress at=2026-11-23T08:42:05.000Z {of_it} url={run}/job/25344"),
        ),
        (
            "deployment_status_success",
            "deployment_status",
            format!("succeeded at=2026-11-23T08:44:55.000Z {of_it} url={run}/job/25344"),
        ),
        (
            "deployment_status_failure",
            "deployment_status",
            format!("failed at=2026-11-23T08:44:55.000Z {of_it} url={run}/job/25344"),
        ),
    ];
    for (name, event, expected) in table {
        let parsed = read(name, event);
        assert_eq!(lines(&parsed), [expected], "{name}");
        let known = labels(&[("repository", "example/checkout"), ("ref", "main")]);
        assert_eq!(parsed.changes[0].about.labels, known);
        // A proxy may have dropped the header.
        let body = fixture(&format!("github/{name}.json"));
        assert_eq!(told(&body, &[], &[]), parsed);
    }
}

#[test]
fn whatever_else_github_and_gitlab_tell_is_taken_and_is_no_change() {
    let github = |name: &str, headers: &[(&str, &str)]| told(&fixture(name), headers, &[]);
    assert_eq!(
        github("github/ping.json", &[("x-github-event", "ping")]),
        Parsed::default()
    );
    assert_eq!(github("github/ping.json", &[]), Parsed::default());
    // The one before was replaced: that says nothing of how it went.
    let inactive = "github/deployment_status_inactive.json";
    assert_eq!(
        github(inactive, &[("x-github-event", "deployment_status")]),
        Parsed::default()
    );
    for event in ["push", "workflow_run", "release", "deployment_review"] {
        let parsed = told(
            br#"{"ref":"refs/heads/main","service":"x"}"#,
            &[("x-github-event", event)],
            &[],
        );
        assert_eq!(parsed, Parsed::default(), "{event}");
    }
    assert_eq!(
        github("gitlab/push.json", &[("x-gitlab-event", "Push Hook")]),
        Parsed::default()
    );
    assert_eq!(github("gitlab/push.json", &[]), Parsed::default());
    let other =
        br#"{"context":{"type":"dev.cdevents.pipelinerun.started.0.2.0"},"subject":{"id":"x"}}"#;
    assert_eq!(told(other, &[], &[]), Parsed::default());
}

#[test]
fn what_github_sends_as_a_form_is_read_as_what_is_in_it() {
    let body = fixture("github/deployment_status_success.json");
    let mut form = b"payload=".to_vec();
    for byte in &body {
        match byte {
            b' ' => form.push(b'+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => form.push(*byte),
            other => form.extend(format!("%{other:02X}").bytes()),
        }
    }
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-github-event", "deployment_status"),
    ];
    assert_eq!(told(&form, &headers, &[]), told(&body, &headers, &[]));
    for broken in [
        "payload=",
        "payload=%",
        "payload=%zz",
        "payload=%7",
        "payload={",
    ] {
        let refused = try_told(broken.as_bytes(), &headers, &[]);
        assert_eq!(refused.expect_err(broken).path, "$", "{broken}");
    }
}

#[test]
fn who_deploys_to_github_may_name_the_service_in_the_payload_of_the_deployment() {
    let mut body: Value = serde_json::from_slice(&fixture("github/deployment.json")).expect("JSON");
    for (payload, service) in [
        (
            json!({ "service": "payments-api", "secret": "x" }),
            "payments-api",
        ),
        (json!("{\"service\":\"y\"}"), "checkout"),
        (json!({ "service": 7 }), "7"),
        (json!({ "service": {} }), "checkout"),
        (Value::Null, "checkout"),
    ] {
        body["deployment"]["payload"] = payload;
        let parsed = told(
            body.to_string().as_bytes(),
            &[("x-github-event", "deployment")],
            &[],
        );
        assert_eq!(parsed.changes[0].about.service.as_deref(), Some(service));
        assert!(parsed.changes[0].about.labels.get("secret").is_none());
    }
    // A commit is deployed, and no branch.
    body["deployment"]["ref"] = body["deployment"]["sha"].clone();
    body["deployment"]["task"] = json!("migrate");
    let parsed = told(
        body.to_string().as_bytes(),
        &[("x-github-event", "deployment")],
        &[],
    );
    let about = &parsed.changes[0].about;
    assert_eq!(about.version.as_deref(), Some("f95f852b"));
    assert_eq!(about.labels.get("task"), Some("migrate"));
}

#[test]
fn a_deployment_of_gitlabs_is_one_change_however_its_time_is_written() {
    let of_it = "id=data/order-loading/deployments/15 kind=deployment service=order-loading environment=prod \
                 version=v2.7.0 (279484c0) by=ben summary=Load orders in one pass \
                 url=https://gitlab.example/data/order-loading/-/jobs/796";
    for (name, expected) in [
        (
            "running",
            format!("in_progress at=2026-11-23T08:40:02.000Z {of_it}"),
        ),
        (
            "success",
            format!("succeeded at=2026-11-23T08:43:20.000Z {of_it}"),
        ),
    ] {
        let body = fixture(&format!("gitlab/deployment_{name}.json"));
        let parsed = told(&body, &[("x-gitlab-event", "Deployment Hook")], &[]);
        assert_eq!(lines(&parsed), [expected], "{name}");
        assert_eq!(told(&body, &[], &[]), parsed, "without its header");
    }
    let mut body: Value =
        serde_json::from_slice(&fixture("gitlab/deployment_success.json")).expect("JSON");
    body["deployable_url"] = Value::Null;
    body["user"] = Value::Null;
    body["status"] = json!("canceled");
    let parsed = told(body.to_string().as_bytes(), &[], &[]);
    let change = &parsed.changes[0];
    assert_eq!(change.status.as_str(), "cancelled");
    assert_eq!(change.about.by, None);
    let commit = "https://gitlab.example/data/order-loading/-/commit/279484c09fbe69ededfced8c1bb6e6d24616b468";
    assert_eq!(
        change.about.url.as_deref(),
        Some(commit),
        "made through the API"
    );
}

#[test]
fn a_change_event_of_pagerdutys_is_read_with_its_details() {
    let mut body: Value =
        serde_json::from_slice(&fixture("pagerduty-events-v2/change_event.json")).expect("JSON");
    let parsed = told(body.to_string().as_bytes(), &[], &[]);
    let [change] = &parsed.changes[..] else {
        panic!("one")
    };
    assert!(
        matches!(change.identity, Identity::Named(_)),
        "it has a time"
    );
    assert_eq!(change.status.as_str(), "succeeded");
    let about = &change.about;
    assert_eq!(
        about.summary.as_deref(),
        Some("Build Success - Increase snapshot create timeout to 30 seconds")
    );
    assert_eq!(about.url.as_deref(), Some("https://acme.example/repo/2"));
    assert_eq!(
        about.labels,
        labels(&[
            ("build_number", "2"),
            ("build_state", "passed"),
            ("host", "acme-build-pipeline-tool-default-i-9999"),
            ("run_time", "1236s"),
        ])
    );
    body["payload"]["custom_details"] = json!({
        "service": "checkout", "env": "prod", "version": 7, "build_state": "failed", "steps": ["a"], "user": "ana",
    });
    body["payload"]["timestamp"] = json!("2026-11-23T08:17:54.534+0000");
    let parsed = told(body.to_string().as_bytes(), &[], &[]);
    let mut change = parsed.changes[0].clone();
    change.identity = Identity::Named("x".to_owned());
    change.about.summary = None;
    assert_eq!(
        line(&change),
        "failed at=2026-11-23T08:17:54.534Z id=x service=checkout environment=prod version=7 by=ana \
         url=https://acme.example/repo/2"
    );
    body["payload"] = json!({ "summary": "s", "custom_details": "text" });
    let parsed = told(body.to_string().as_bytes(), &[], &[]);
    assert!(matches!(parsed.changes[0].identity, Identity::Made(_)));
    body["payload"] = json!({ "source": "s" });
    assert_eq!(
        lines(&told(body.to_string().as_bytes(), &[], &[])),
        ["rejected $.payload.summary: a summary is wanted, found nothing"]
    );
}

#[test]
fn an_event_of_cdevents_is_read_bare_or_in_its_envelope() {
    let event: Value =
        serde_json::from_slice(&fixture("cdevents/service_deployed.json")).expect("JSON");
    let bare = own(&event);
    let mut change = bare.changes[0].clone();
    let version = change.about.version.take();
    assert!(version.is_some_and(|version| version.starts_with("pkg:oci/checkout@sha256")));
    assert_eq!(
        line(&change),
        "succeeded at=2026-11-23T08:27:05.315Z id=/event/source/cd 271069a8-fc18-44f1-b38f-9d70a1695819 kind=deployment \
         service=checkout environment=production"
    );
    let envelope = json!({
        "specversion": "1.0", "id": "other", "source": "/other", "type": "dev.cdevents.service.deployed.0.2.0",
        "datacontenttype": "application/json", "data": event,
    });
    assert_eq!(own(&envelope), bare);
    let mut back = event;
    back["context"]["type"] = json!("dev.cdevents.service.rolledback.0.2.0");
    assert_eq!(
        own(&back).changes[0].about.kind.as_deref(),
        Some("rollback")
    );
}

#[test]
fn our_own_form_in_a_cloud_event_is_known_by_the_event() {
    let envelope = json!({ "specversion": "1.0", "id": "7", "source": "/ci", "type": "x", "data": { "service": "checkout" } });
    assert_eq!(
        lines(&own(&envelope)),
        ["succeeded id=/ci 7 service=checkout"]
    );
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/ci"),
    ];
    let binary = told(br#"{"service":"checkout"}"#, &headers, &[]);
    assert_eq!(binary, own(&envelope));
    let mut named = envelope;
    named["data"]["id"] = json!("deploy-17");
    assert_eq!(
        lines(&own(&named)),
        ["succeeded id=deploy-17 service=checkout"]
    );
}

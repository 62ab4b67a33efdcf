//! Who may do what: credentials of sources, tokens and their roles.

use crate::api::{Api, access_with_source, access_with_tokens, alerts};
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::signature::{Algorithm, Encoding, Piece, Scheme};
use watchkeeper::http::auth::{Credential, Role};

fn with_source(credentials: Vec<Credential>) -> Api {
    let access = access_with_source("prod", credentials);
    Api::with(access, book(&[("ana", 5)]), rules(|_| {}))
}

fn with_tokens(tokens: &[(&str, Role)]) -> Api {
    let access = access_with_tokens(tokens);
    Api::with(
        access,
        book(&[("ana", 5), ("ben", 10)]),
        rules(|_settings| {}),
    )
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Statuses of one alert posted with each of these headers.
fn statuses(api: &mut Api, headers: &[&[(&str, &str)]]) -> Vec<u16> {
    challenged(api, headers, "Bearer")
}

/// The same, and how credentials are asked for.
fn challenged(api: &mut Api, headers: &[&[(&str, &str)]], challenge: &str) -> Vec<u16> {
    let body = alerts(&[("Down", "firing")]).to_string();
    let statuses = headers.iter().map(|headers| {
        let answer = api.send(Method::POST, "/hooks/prod", headers, body.clone());
        if answer.status == 401 {
            assert_eq!(
                answer.problem(),
                "401 wrong or missing credentials for \"prod\""
            );
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
        answer.status
    });
    statuses.collect()
}

#[test]
fn a_source_with_a_bearer_token_takes_that_token_only() {
    let mut api = with_source(vec![Credential::Bearer(secret("s3cret"))]);
    let found = statuses(
        &mut api,
        &[
            &[],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "Bearer s3cre")],
            &[("authorization", "Basic s3cret")],
            &[("authorization", "s3cret")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer s3cret")],
            &[("authorization", "bearer s3cret")],
        ],
    );
    assert_eq!(found, [401, 401, 401, 401, 401, 401, 200, 200]);
}

#[test]
fn a_source_with_a_password_takes_user_and_password() {
    let mut api = with_source(vec![Credential::Basic {
        user: "am".to_owned(),
        password: secret("pa:ss"),
    }]);
    // am:pa:ss, am:wrong, xx:pa:ss, no colon, no base64
    let found = challenged(
        &mut api,
        &[
            &[("authorization", "Basic YW06cGE6c3M=")],
            &[("authorization", "Basic YW06d3Jvbmc=")],
            &[("authorization", "Basic eHg6cGE6c3M=")],
            &[("authorization", "Basic YW0=")],
            &[("authorization", "Basic %%%")],
            &[],
        ],
        // Amazon's SNS shows what stands in its address only when it is asked so.
        "Basic realm=\"watchkeeper\"",
    );
    assert_eq!(found, [200, 401, 401, 401, 401, 401]);
}

#[test]
fn a_source_with_a_header_takes_its_whole_value() {
    let mut api = with_source(vec![Credential::Header {
        name: "X-Token".to_owned(),
        value: secret("abc"),
    }]);
    let found = statuses(
        &mut api,
        &[
            &[("x-token", "abc")],
            &[("X-TOKEN", "abc")],
            &[("x-token", "ABC")],
            &[("x-token", "")],
            &[("authorization", "Bearer abc")],
        ],
    );
    assert_eq!(found, [200, 200, 401, 401, 401]);
}

#[test]
fn a_source_with_a_secret_in_its_address_takes_that_parameter() {
    let mut api = with_source(vec![Credential::Query {
        name: "key".to_owned(),
        value: secret("a b&c"),
    }]);
    let body = alerts(&[("Down", "firing")]).to_string();
    let mut status = |query: &str| {
        let path = format!("/hooks/prod{query}");
        api.send(Method::POST, &path, &[], body.clone()).status
    };
    assert_eq!(status("?key=a%20b%26c"), 200);
    assert_eq!(status("?x=1&key=a+b%26c&y"), 200);
    for wrong in [
        "",
        "?",
        "?key",
        "?key=a",
        "?KEY=a%20b%26c",
        "?token=a%20b%26c",
    ] {
        assert_eq!(status(wrong), 401, "{wrong}");
    }
}

#[test]
fn a_source_that_signs_is_known_by_its_signature_of_the_bytes_as_they_came() {
    let scheme = Scheme {
        header: "x-signature-256".to_owned(),
        prefix: "sha256=".to_owned(),
        encoding: Encoding::Hex,
        algorithm: Algorithm::Sha256,
        signed: vec![Piece::Body],
        timestamp: None,
    };
    let mut api = with_source(vec![Credential::Signature {
        scheme,
        secret: secret("s3cr3t"),
    }]);
    // openssl dgst -sha256 -hmac s3cr3t
    let body = r#"{ "version":"4", "alerts":[{"status":"firing","labels":{"alertname":"Down"}}] }"#;
    let signature = "sha256=58e91bd8cfd133a8d515ea239369bb124375b8f90ee0c13078210171581be771";
    let mut status = |body: &str, headers: &[(&str, &str)]| {
        let answer = api.send(Method::POST, "/hooks/prod", headers, body.to_owned());
        answer.status
    };
    assert_eq!(status(body, &[("x-signature-256", signature)]), 200);
    assert_eq!(
        status(
            &body.replace("Down", "Dawn"),
            &[("x-signature-256", signature)]
        ),
        401
    );
    assert_eq!(
        status(&body.replace("{ ", "{"), &[("x-signature-256", signature)]),
        401
    );
    assert_eq!(status(body, &[]), 401);
    assert_eq!(
        status("no JSON", &[]),
        401,
        "what is not signed is not read"
    );
}

#[test]
fn any_of_several_credentials_will_do_so_that_they_can_be_rotated() {
    let mut api = with_source(vec![
        Credential::Bearer(secret("old")),
        Credential::Bearer(secret("new")),
    ]);
    let found = statuses(
        &mut api,
        &[
            &[("authorization", "Bearer old")],
            &[("authorization", "Bearer new")],
            &[("authorization", "Bearer older")],
        ],
    );
    assert_eq!(found, [200, 200, 401]);
}

#[test]
fn a_source_without_any_working_credential_takes_nobody() {
    let mut api = with_source(Vec::new());
    assert_eq!(
        statuses(&mut api, &[&[], &[("authorization", "Bearer x")]]),
        [401, 401]
    );
}

#[test]
fn wrong_credentials_leave_nothing_but_a_count() {
    let mut api = with_source(vec![Credential::Bearer(secret("s3cret"))]);
    let answer = api.send(Method::POST, "/hooks/prod", &[], "not even JSON");
    assert_eq!(answer.status, 401);
    assert_eq!(
        api.get("/api/v1/dead-letters").at("/dead_letters"),
        json!([])
    );
    let counted = api.get("/metrics").text;
    assert!(
        counted.contains("watchkeeper_unauthorized_total{source=\"prod\"}"),
        "{counted}"
    );
}

#[test]
fn without_tokens_everything_is_open_and_whoever_is_named_acts() {
    let mut api = Api::new();
    api.fires("Down");
    let answer = api.post("/api/v1/incidents/1/acknowledge", &json!({ "by": "ana" }));
    assert_eq!(answer.at("/acknowledged_by"), "ana");
    let note = api.post("/api/v1/incidents/1/notes", &json!({ "text": "look" }));
    assert_eq!(note.status, 200);
    let timeline = api.get("/api/v1/incidents/1/timeline").json();
    let last = timeline["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(last["by"], "anonymous (unverified)");
    assert_eq!(api.post("/api/v1/reload", &json!({})).status, 200);
}

fn as_token(header: &str) -> [(&str, &str); 1] {
    [("authorization", header)]
}

fn get(api: &mut Api, token: &str, path: &str) -> u16 {
    api.send(Method::GET, path, &as_token(token), "").status
}

#[test]
fn with_tokens_every_route_of_the_api_wants_one_that_is_known() {
    let mut api = with_tokens(&[("vic", Role::Viewer)]);
    let paths = [
        "/api/v1/incidents",
        "/api/v1/incidents/1",
        "/api/v1/incidents/1/timeline",
        "/api/v1/incidents/1/alerts",
        "/api/v1/incidents/1/pages",
        "/api/v1/alerts",
        "/api/v1/alerts/58b170e698d6fadd",
        "/api/v1/dead-letters",
        "/api/v1/sources",
        "/api/v1/rules",
        "/api/v1/actions",
        "/api/v1/oncall",
        "/api/v1/schedules/x",
        "/api/v1/schedules/x/overrides",
        "/incidents/1",
    ];
    for path in paths {
        let bare = api.get(path);
        assert_eq!(bare.problem(), "401 a bearer token is wanted", "{path}");
        assert_eq!(bare.header("www-authenticate"), "Bearer");
        let wrong = api.send(Method::GET, path, &as_token("Bearer nobody"), "");
        assert_eq!(
            wrong.problem(),
            "401 this bearer token is not known",
            "{path}"
        );
        assert!(
            matches!(get(&mut api, "Bearer vic", path), 200 | 404),
            "{path}"
        );
    }
    for path in ["/healthz", "/metrics"] {
        assert_eq!(api.get(path).status, 200, "{path}");
    }
    assert_eq!(api.fires("Down").status, 200);
}

/// Posts as a token. The name of a token is its secret.
fn post(api: &mut Api, token: &str, path: &str, body: &Value) -> crate::api::Answer {
    let header = format!("Bearer {token}");
    api.send(Method::POST, path, &as_token(&header), body.to_string())
}

#[test]
fn a_viewer_reads_and_commands_nothing() {
    let mut api = with_tokens(&[("vic", Role::Viewer)]);
    api.fires("Down");
    let commands = [
        "/api/v1/incidents",
        "/api/v1/incidents/1/acknowledge",
        "/api/v1/incidents/1/unacknowledge",
        "/api/v1/incidents/1/take-over",
        "/api/v1/incidents/1/escalate",
        "/api/v1/incidents/1/page",
        "/api/v1/incidents/1/alerts/58b170e698d6fadd/resolve",
        "/api/v1/incidents/1/severity",
        "/api/v1/incidents/1/assign",
        "/api/v1/incidents/1/updates",
        "/api/v1/incidents/1/notes",
        "/api/v1/incidents/1/evidence",
        "/api/v1/incidents/1/mitigation",
        "/api/v1/incidents/1/containment",
        "/api/v1/incidents/1/actions",
        "/api/v1/incidents/1/outputs/validated",
        "/api/v1/incidents/1/advance",
        "/api/v1/incidents/1/close",
        "/api/v1/incidents/1/reopen",
        "/api/v1/alerts/58b170e698d6fadd/resolve",
        "/api/v1/schedules/x/overrides",
    ];
    let before = api.get("/metrics").status;
    assert_eq!(before, 200);
    for path in commands {
        let answer = post(&mut api, "vic", path, &json!({}));
        assert_eq!(
            answer.problem(),
            "403 this needs a token with the role responder",
            "{path}"
        );
    }
    for (method, path) in [
        (Method::PUT, "/api/v1/incidents/1/analysis"),
        (Method::PATCH, "/api/v1/incidents/1/actions/0"),
    ] {
        let answer = api.send(method, path, &as_token("Bearer vic"), "{}");
        assert_eq!(answer.status, 403, "{path}");
    }
    let shown = api.send(
        Method::GET,
        "/api/v1/incidents/1",
        &as_token("Bearer vic"),
        "",
    );
    assert_eq!(shown.at("/acknowledged_by"), Value::Null);
}

#[test]
fn a_responder_acts_in_its_own_name_only() {
    let mut api = with_tokens(&[("rob", Role::Responder)]);
    api.fires("Down");
    let path = "/api/v1/incidents/1/acknowledge";
    let answer = post(&mut api, "rob", path, &json!({ "by": "ana" }));
    assert_eq!(
        answer.problem(),
        "403 the token is rob's; only an admin may act as ana"
    );
    let answer = post(&mut api, "rob", path, &json!({ "by": "rob" }));
    assert_eq!(answer.at("/acknowledged_by"), "rob");
    for path in ["/api/v1/reload", "/api/v1/backup"] {
        let answer = post(&mut api, "rob", path, &json!({ "path": "/tmp/x" }));
        assert_eq!(
            answer.problem(),
            "403 this needs a token with the role admin",
            "{path}"
        );
    }
    let timeline = api.send(
        Method::GET,
        "/api/v1/incidents/1/timeline",
        &as_token("Bearer rob"),
        "",
    );
    // A token vouches for its name.
    assert!(
        timeline
            .each("timeline", "by")
            .contains(&Value::from("rob")),
        "{}",
        timeline.text
    );
}

#[test]
fn an_admin_may_speak_for_others() {
    let mut api = with_tokens(&[("adm", Role::Admin), ("rob", Role::Responder)]);
    api.fires("Down");
    let answer = post(
        &mut api,
        "adm",
        "/api/v1/incidents/1/acknowledge",
        &json!({ "by": "ana" }),
    );
    assert_eq!(answer.at("/acknowledged_by"), "ana");
    let answer = post(&mut api, "adm", "/api/v1/reload", &json!({}));
    assert_eq!(answer.json(), json!({ "revision": "r2", "warnings": [] }));
}

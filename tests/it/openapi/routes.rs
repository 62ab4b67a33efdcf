//! Routes and description are held against each other, both ways.

use crate::api::{Api, access_with_tokens};
use crate::openapi::{DOCUMENT, operations};
use crate::world::{book, rules};
use axum::http::Method;
use std::collections::{BTreeMap, BTreeSet};
use watchkeeper::http::auth::Role;

/// Routes that are not described, each with its reason.
const UNDESCRIBED: [(&str, &str); 2] = [
    (
        "/acknowledge/{number}/{person}/{expires}/{signature}",
        "a page for people",
    ),
    ("/incidents/{number}", "a page for people"),
];

/// The paths that a router adds by `route`.
fn added(source: &str) -> BTreeSet<&str> {
    let after = source.split(".route(").skip(1);
    let paths = after.filter_map(|text| text.trim_start().strip_prefix('"')?.split('"').next());
    paths.collect()
}

#[test]
fn every_route_is_described_or_has_its_reason() {
    let source = include_str!("../../../src/http.rs");
    let wanted: BTreeSet<&str> = UNDESCRIBED.iter().map(|(path, _)| *path).collect();
    assert_eq!(added(source), wanted);
    // There is no other way to add one.
    for other in [
        ".route_service(",
        ".nest_service(",
        ".merge(",
        ".fallback_service(",
    ] {
        assert!(!source.contains(other), "{other}");
    }
    for (path, _) in UNDESCRIBED {
        assert!(DOCUMENT["paths"][path].is_null(), "{path} is described");
    }
}

#[test]
fn a_path_takes_the_methods_that_are_described_and_no_others() {
    let mut methods: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations() {
        let method = method.to_uppercase();
        methods.entry(path).or_default().insert(method);
    }
    let mut api = Api::new();
    for (path, described) in methods {
        let at = path.replace(['{', '}'], "");
        let refused = api.send(Method::from_bytes(b"BREW").expect("a method"), &at, &[], "");
        assert_eq!(refused.status, 405, "{path}: {}", refused.text);
        let allowed = refused.header("allow").split(',').map(str::trim);
        // `HEAD` comes with `GET`, and is not described by itself.
        let allowed: BTreeSet<String> = allowed
            .filter(|name| *name != "HEAD")
            .map(str::to_owned)
            .collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[test]
fn an_operation_asks_for_the_role_that_is_described() {
    let roles = [
        ("viewer", Role::Viewer),
        ("responder", Role::Responder),
        ("admin", Role::Admin),
    ];
    let access = access_with_tokens(&roles);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let mut n = 0;
    for (path, method, operation) in operations() {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
        let numbered = path
            .replace("{number}", "7")
            .replace("{index}", "0")
            .replace("/dead-letters/{id}", "/dead-letters/7");
        let at = numbered
            .replace("{fingerprint}", "0000000000000000")
            .replace(['{', '}'], "");
        let asked = operation["security"][0]["bearer"][0].as_str();
        let Some(wanted) = asked else {
            continue;
        };
        let without = api.send(method.clone(), &at, &[], "");
        assert_eq!(without.status, 401, "{method} {path}: {}", without.text);
        for (name, _) in roles {
            let shown = format!("Bearer {name}");
            let headers = [
                ("authorization", shown.as_str()),
                ("content-type", "application/json"),
            ];
            let answer = api.send(method.clone(), &at, &headers, "");
            let rank = |role: &str| roles.iter().position(|(name, _)| *name == role);
            let is_refused = rank(name) < rank(wanted);
            assert_eq!(
                answer.status == 403,
                is_refused,
                "{method} {path} by {name}: {}",
                answer.text
            );
        }
        n += 1;
    }
    assert!(n > 50, "{n} operations ask for a role");
}

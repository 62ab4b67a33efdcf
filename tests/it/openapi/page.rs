//! Who may read the description, and the page that shows it.

use crate::api::{Api, access_with_tokens};
use crate::openapi::operations;
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::json;
use watchkeeper::http::auth::Role;
use watchkeeper::http::openapi::page::rendered;

#[test]
fn the_description_is_read_by_who_may_read() {
    let access = access_with_tokens(&[("vera", Role::Viewer)]);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    for (path, kind) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
    ] {
        assert_eq!(
            api.get(path).problem(),
            "401 a bearer token is wanted",
            "{path}"
        );
        let read = api.send(Method::GET, path, &[("authorization", "Bearer vera")], "");
        assert_eq!(
            (read.status, read.header("content-type")),
            (200, kind),
            "{path}"
        );
        // Where nothing is asked of anybody, nor is it here.
        assert_eq!(Api::new().get(path).status, 200, "{path}");
    }
}

#[test]
fn the_page_has_every_operation_and_takes_nothing_from_elsewhere() {
    let page = Api::new().get("/docs");
    assert_eq!(
        page.header("content-security-policy"),
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    for (path, method, operation) in operations() {
        let id = operation["operationId"].as_str().expect("an id");
        assert!(
            page.text.contains(&format!("<details id=\"{id}\">")),
            "{method} {path}"
        );
    }
    for foreign in ["<script", "<link", "<img", "://", "@import"] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
    assert!(
        page.text
            .contains("severity: &quot;SEV1&quot; | &quot;SEV2&quot;"),
        "schemas are shown in few words"
    );
}

#[test]
fn nothing_of_a_description_is_taken_for_html() {
    let evil = "<script>alert(1)</script>";
    let document = json!({
        "info": { "title": evil, "version": evil, "description": evil },
        "tags": [{ "name": evil, "description": evil }],
        "paths": { evil: { "get": {
            "operationId": evil,
            "tags": [evil],
            "summary": evil,
            "parameters": [{ "name": evil, "in": evil, "schema": { "enum": [evil] } }],
            "requestBody": { "content": { evil: { "schema": { "type": evil } } } },
            "responses": { evil: { "description": evil } },
        } } },
    });
    let page = rendered(&document).into_string();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[test]
fn a_schema_that_names_itself_ends() {
    let document = json!({
        "tags": [{ "name": "all" }],
        "paths": { "/x": { "get": { "tags": ["all"], "responses": { "200": { "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Loop" },
        } } } } } } },
        "components": { "schemas": { "Loop": { "items": { "$ref": "#/components/schemas/Loop" } } } },
    });
    let page = rendered(&document).into_string();
    assert!(page.contains("[[[[[[[[[…]]]]]]]]]"), "{page}");
}

//! One planted fault and more for each check of the house, with exactly what it says.

use super::{
    assert_none, crate_complaints, dependencies, import_complaints, leftover_complaints,
    map_complaints, opening_complaints, place_complaints, spawn_complaints, unlisted_complaints,
};

#[test]
fn a_forbidden_import_is_named_with_its_line() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "src/domain/alert.rs",
            "use crate::domain::time::Timestamp;",
            &[],
        ),
        (
            "src/domain/alert.rs",
            "//! Alerts.\nuse crate::engine::Engine;",
            &["src/domain/alert.rs:2: `domain` may not name `crate::engine::Engine`"],
        ),
        (
            "src/domain/alert.rs",
            "use crate::{\n    domain::time,\n    engine,\n};",
            &["src/domain/alert.rs:3: `domain` may not name `crate::engine`"],
        ),
        (
            "src/domain/alert.rs",
            "use {std::fmt, crate::{store::{Store, sled::Tree}}};",
            &[
                "src/domain/alert.rs:1: `domain` may not name `crate::store::Store`",
                "src/domain/alert.rs:1: `domain` may not name `crate::store::sled::Tree`",
            ],
        ),
        (
            "src/store/keys.rs",
            "fn f() -> u8 { crate::http::view::page() }",
            &["src/store/keys.rs:1: `store` may not name `crate::http::view::page`"],
        ),
        (
            "src/store/keys.rs",
            "use super::super::pager::Pager;",
            &["src/store/keys.rs:1: `store` may not name `crate::pager::Pager`"],
        ),
        (
            "src/clock.rs",
            "use super::store::Store;",
            &["src/clock.rs:1: `clock` may not name `crate::store::Store`"],
        ),
        (
            "src/store.rs",
            "mod tests { use super::*; use super::Store; }",
            &[],
        ),
        (
            "src/engine.rs",
            "use crate::*;",
            &["src/engine.rs:1: `engine` may not name `crate::*`"],
        ),
        ("src/engine/deliver.rs", "use crate::pager::Pager;", &[]),
        (
            "src/rules.rs",
            "use crate::toml_file::Place;\nuse crate::config::Config;",
            &["src/rules.rs:2: `rules` may not name `crate::config::Config`"],
        ),
        ("src/main.rs", "use watchkeeper::{app, cli};", &[]),
        ("src/cli/incident.rs", "use crate::config::Config;", &[]),
        (
            "src/domain/alert.rs",
            "// crate::engine\nconst S: &str = \"crate::engine::X\"; /* crate::store::X */",
            &[],
        ),
        (
            "src/domain/alert.rs",
            "const S: &str = r#\"\"crate::http::X\"#; fn f<'a>(c: char) -> bool { c == '\"' || crate::store::x() }",
            &["src/domain/alert.rs:1: `domain` may not name `crate::store::x`"],
        ),
        (
            "src/helpers.rs",
            "//! Helpers.",
            &["src/helpers.rs: `helpers` is not in the table of who may name whom"],
        ),
        (
            "src/app.rs",
            "use crate::helpers::help;",
            &[
                "src/app.rs:1: `app` names `crate::helpers::help`, which is in no module of the table",
            ],
        ),
    ];
    for (path, text, expected) in rows {
        assert_eq!(import_complaints(path, text), *expected, "{path}: {text}");
    }
}

#[test]
fn an_outside_crate_in_the_wrong_place_is_named() {
    let dependencies = dependencies(
        "[dependencies]\nchrono-tz = \"1\"\nserde_json = \"1\"\nsled = { version = \"0.34\" }\n[dev-dependencies]\nproptest = \"1\"",
    );
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "src/engine/deliver.rs",
            "fn f(t: &sled::Tree) {}",
            &["src/engine/deliver.rs:1: the crate `sled` is for `store` alone"],
        ),
        (
            "src/app.rs",
            "use crate::store::{sled::SledStore, Store};",
            &[],
        ),
        ("src/store/sled.rs", "use sled::Tree;", &[]),
        (
            "src/app.rs",
            "//! App.\n\nuse axum::Router;",
            &["src/app.rs:3: the crate `axum` is for `http` alone"],
        ),
        ("src/http/hooks.rs", "use axum::Router;", &[]),
        (
            "src/http.rs",
            "use reqwest::Client;",
            &["src/http.rs:1: the crate `reqwest` is for `pager`, `outbound`, `cli` alone"],
        ),
        ("src/cli/incident.rs", "use reqwest::Client;", &[]),
        (
            "src/outbound.rs",
            "use lettre::Message;",
            &["src/outbound.rs:1: the crate `lettre` is for `pager` alone"],
        ),
        (
            "src/domain/verification.rs",
            "use cron::Schedule;",
            &["src/domain/verification.rs:1: the crate `cron` is for `domain/cron_spec.rs` alone"],
        ),
        ("src/domain/cron_spec.rs", "use cron::Schedule;", &[]),
        (
            "src/domain/alert.rs",
            "use serde_json::Value;\nuse chrono_tz::Tz;",
            &["src/domain/alert.rs:1: `domain` may not name the crate `serde_json`"],
        ),
        (
            "src/domain/alert.rs",
            "use std::{fmt, fs::File};",
            &["src/domain/alert.rs:1: `domain` does no input or output: `std::fs::File`"],
        ),
        (
            "src/domain/alert.rs",
            "#[cfg(test)]\nmod tests {\n    use serde_json::json;\n    fn f() { proptest::run() }\n}",
            &[],
        ),
        (
            "src/domain/alert.rs",
            "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse serde_json::json;",
            &["src/domain/alert.rs:5: `domain` may not name the crate `serde_json`"],
        ),
        ("src/ingest/dbt.rs", "use serde_json::Value;", &[]),
    ];
    for (path, text, expected) in rows {
        assert_eq!(
            crate_complaints(path, text, &dependencies),
            *expected,
            "{path}: {text}"
        );
    }
}

#[test]
fn a_task_started_elsewhere_is_named() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "src/engine/deliver.rs",
            "fn f() {\n    tokio::spawn(async {});\n}",
            &["src/engine/deliver.rs:2: `spawn` starts a task outside `app`"],
        ),
        (
            "src/http.rs",
            "use tokio::task::JoinSet;",
            &["src/http.rs:1: `JoinSet` starts a task outside `app`"],
        ),
        (
            "src/pager.rs",
            "fn f(set: Set) { set.spawn(async {}); std::thread::spawn(|| {}); }",
            &[
                "src/pager.rs:1: `spawn` starts a task outside `app`",
                "src/pager.rs:1: `spawn` starts a task outside `app`",
            ],
        ),
        ("src/app.rs", "fn f() { tasks.spawn(serve()); }", &[]),
        (
            "src/store/journal.rs",
            "fn f() { std::thread::spawn(|| {}); }",
            &[],
        ),
        (
            "src/engine.rs",
            "// never .spawn(\n#[cfg(test)]\nmod tests { fn f() { tokio::spawn(x); } }",
            &[],
        ),
        ("src/engine.rs", "fn spawn() {}", &[]),
    ];
    for (path, text, expected) in rows {
        assert_eq!(spawn_complaints(path, text), *expected, "{path}: {text}");
    }
}

#[test]
fn a_hole_in_the_code_map_is_named() {
    let files = ["lib.rs", "store.rs", "store/keys.rs"]
        .map(str::to_owned)
        .into();
    let whole = "//! W.\n//!\n//! # Code map\n//!\n//! - `lib.rs`: this\n//! - `store.rs`: the store\n//!   - `store/keys.rs`: its keys\n//!\n//! # Invariants\n//! - `gone.rs`: not of the map\n";
    assert_none(&map_complaints(whole, &files));

    let faulty = "//! # Code map\n//! - `lib.rs`\n//! - `store.rs`: the store\n//! - `store.rs`: again\n//! - `gone.rs`: what was\nuse x;\n";
    assert_eq!(
        map_complaints(faulty, &files),
        [
            "src/lib.rs: the code map does not say what `lib.rs` is",
            "src/lib.rs: the code map names `store.rs` twice",
            "src/lib.rs: the code map names `gone.rs`, which does not exist",
            "src/lib.rs: the code map lacks `store/keys.rs`",
        ]
    );
    assert_eq!(
        map_complaints("//! Watchkeeper.", &files),
        ["src/lib.rs: there is no heading `# Code map`"]
    );
}

#[test]
fn a_file_without_an_opening_is_named() {
    assert_none(&opening_complaints("src/a.rs", "//! What it is.\n"));
    let faulty = ["use std::fmt;\n", "\n//! Late.\n", "//!\n//! Second.\n", ""];
    for text in faulty {
        assert_eq!(
            opening_complaints("src/a.rs", text),
            ["src/a.rs: does not open with `//!` and what it is"],
            "{text:?}"
        );
    }
}

#[test]
fn leftovers_are_named_with_their_line() {
    let hash = '#';
    let rows = [
        (
            format!("{hash}[ignore]\nfn f() {{}}"),
            "src/a.rs:1: `#[ignore]`",
        ),
        (
            format!("\n{hash}[ignore = \"slow\"]"),
            "src/a.rs:2: `#[ignore]`",
        ),
        (
            format!("{hash}[should_panic]"),
            "src/a.rs:1: `#[should_panic]`",
        ),
        (["fn f() { todo", "!() }"].concat(), "src/a.rs:1: `todo!`"),
        (
            ["fn f() { unimplemented", "!() }"].concat(),
            "src/a.rs:1: `unimplemented!`",
        ),
        (["\n\n// FIX", "ME: later"].concat(), "src/a.rs:3: `FIX+ME`"),
        (["// HA", "CK"].concat(), "src/a.rs:1: `HA+CK`"),
    ];
    for (text, expected) in rows {
        let expected = expected.replace('+', "");
        assert_eq!(leftover_complaints("src/a.rs", &text), [expected], "{text}");
    }
    assert_none(&leftover_complaints(
        "src/a.rs",
        "fn ignore() {} // to ignore is not to panic; a hackney carriage",
    ));
}

#[test]
fn a_test_file_that_nobody_compiles_is_named() {
    let files = [
        "tests/it/main.rs",
        "tests/it/crash.rs",
        "tests/it/crash/kill.rs",
    ]
    .map(str::to_owned)
    .into();
    assert_none(&unlisted_complaints("//! It.\nmod crash;\n", &files));
    assert_eq!(
        unlisted_complaints("//! It.\n// mod crash;\n", &files),
        ["tests/it/main.rs: lacks `mod crash;`"]
    );
}

#[test]
fn a_misplaced_file_is_named() {
    let paths = [
        ".ci",
        "README.md",
        "docs",
        "src/http/mod.rs",
        "src/store.rs",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(
        place_complaints(&paths),
        [
            "docs: is not of the top level; tool files begin with a dot",
            "src/http/mod.rs: is `foo.rs` beside `foo/` in this house",
        ]
    );
}

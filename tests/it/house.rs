//! The house rules that no compiler checks: who may name whom, the code map, where tasks start, what may lie where.
//! Each check is a function of paths and texts, so that a planted fault shows what it says.

mod planted;
mod rust_text;

use rust_text::{Named, Token, paths_in, tokens, without_tests};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Which top module may name which. One that stands nowhere here is a complaint, so the table stays whole.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("toml_file", &["domain"]),
    ("ingest", &["domain"]),
    ("rules", &["domain", "toml_file"]),
    ("config", &["domain", "toml_file"]),
    ("telemetry", &["domain"]),
    ("store", &["domain"]),
    ("pager", &["domain"]),
    ("outbound", &["domain"]),
    ("engine", &["domain", "store", "pager", "outbound", "clock"]),
    (
        "simulate",
        &["clock", "domain", "rules", "store", "engine", "pager"],
    ),
    (
        "http",
        &[
            "domain", "ingest", "store", "engine", "clock", "rules", "simulate",
        ],
    ),
    ("app", ANY),
    ("cli", ANY),
    ("main", ANY),
    ("lib", ANY),
];
const ANY: &[&str] = &["*"];

/// Crates that only these may name: a top module, or one file below `src`.
const CRATES_OF: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("tokio_postgres", &["store"]),
    ("deadpool_postgres", &["store"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("reqwest", &["pager", "outbound", "cli"]),
    ("lettre", &["pager"]),
    ("cron", &["domain/cron_spec.rs"]),
    ("utoipa", &["http", "rules"]),
    ("utoipa_axum", &["http"]),
];

/// The only outside crates that `domain` may name.
const CRATES_FOR_DOMAIN: &[&str] = &[
    "chrono",
    "chrono_tz",
    "cron",
    "minijinja",
    "regex",
    "regex_syntax",
    "serde",
    "thiserror",
];

/// The parts of `std` that do input or output.
const NO_STD_IN_DOMAIN: &[&str] = &["env", "fs", "io", "net", "process", "thread"];

/// Who may start a task or a thread: `app` its tasks, in one `JoinSet`; `store` the threads that write and sync.
const MAY_SPAWN: &[&str] = &["app", "store"];

/// The visible top level of the repository; everything else there begins with a dot.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "config",
    "rules",
    "src",
    "systemd",
    "tests",
];

// ---- the tree as it is ----

#[test]
fn modules_name_only_those_below_them() {
    assert_none(&over_source(import_complaints));
}

#[test]
fn outside_crates_stay_in_their_module() {
    let dependencies = dependencies(&read("Cargo.toml"));
    assert_none(&over_source(|path, text| {
        crate_complaints(path, text, &dependencies)
    }));
}

#[test]
fn tasks_are_spawned_in_app_alone() {
    assert_none(&over_source(spawn_complaints));
}

#[test]
fn the_code_map_names_every_file() {
    let files = rust_files("src")
        .into_iter()
        .map(|path| path.trim_start_matches("src/").to_owned())
        .collect();
    assert_none(&map_complaints(&read("src/lib.rs"), &files));
}

#[test]
fn every_file_says_what_it_is() {
    assert_none(&over_all(opening_complaints));
}

#[test]
fn nothing_is_left_half_done() {
    assert_none(&over_all(leftover_complaints));
}

#[test]
fn every_file_of_the_tests_is_compiled() {
    assert_none(&unlisted_complaints(
        &read("tests/it/main.rs"),
        &rust_files("tests/it"),
    ));
}

#[test]
fn files_lie_where_the_house_wants_them() {
    let mut paths = rust_files("src");
    paths.extend(rust_files("tests"));
    paths.extend(top_level());
    assert_none(&place_complaints(&paths));
}

// ---- the checks ----

fn import_complaints(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let Some(allowed) = may_name(&module) else {
        return vec![format!(
            "{path}: `{module}` is not in the table of who may name whom"
        )];
    };
    let mut complaints = Vec::new();
    for Named { line, parts } in paths_in(&tokens(text)) {
        let Some(parts) = from_root(path, &parts) else {
            continue;
        };
        let named = format!("crate::{}", parts.join("::"));
        let head = parts.first().map_or("*", String::as_str);
        if head != "*" && may_name(head).is_none() {
            complaints.push(format!(
                "{path}:{line}: `{module}` names `{named}`, which is in no module of the table"
            ));
        } else if head != module && allowed != ANY && !allowed.contains(&head) {
            complaints.push(format!("{path}:{line}: `{module}` may not name `{named}`"));
        }
    }
    complaints
}

fn crate_complaints(path: &str, text: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let module = module_of(path);
    let file = path.trim_start_matches("src/");
    let mut complaints = Vec::new();
    for Named { line, parts } in paths_in(&without_tests(&tokens(text))) {
        let head = parts.first().map_or("", String::as_str);
        if let Some((_, places)) = CRATES_OF.iter().find(|(name, _)| *name == head)
            && !places.iter().any(|p| *p == module || *p == file)
        {
            let places: Vec<_> = places.iter().map(|place| format!("`{place}`")).collect();
            let places = places.join(", ");
            complaints.push(format!(
                "{path}:{line}: the crate `{head}` is for {places} alone"
            ));
        } else if module == "domain" && does_io(&parts) {
            let named = parts.join("::");
            complaints.push(format!(
                "{path}:{line}: `domain` does no input or output: `{named}`"
            ));
        } else if module == "domain"
            && dependencies.contains(head)
            && !CRATES_FOR_DOMAIN.contains(&head)
        {
            complaints.push(format!(
                "{path}:{line}: `domain` may not name the crate `{head}`"
            ));
        }
    }
    complaints
}

fn does_io(parts: &[String]) -> bool {
    match parts {
        [head, part, ..] => head == "std" && NO_STD_IN_DOMAIN.contains(&part.as_str()),
        [] | [_] => false,
    }
}

fn spawn_complaints(path: &str, text: &str) -> Vec<String> {
    if MAY_SPAWN.contains(&module_of(path).as_str()) {
        return Vec::new();
    }
    let tokens = without_tests(&tokens(text));
    let before = [""].into_iter().chain(tokens.iter().map(Token::text));
    let after = tokens.iter().skip(1).map(Token::text).chain([""]);
    tokens
        .iter()
        .zip(before.zip(after))
        .filter(|(token, (before, after))| match token.text() {
            "JoinSet" | "TaskTracker" => true,
            "spawn" | "spawn_local" | "spawn_on" => {
                (*before == "." || *before == "::") && *after == "("
            }
            _ => false,
        })
        .map(|(token, _)| {
            let Token { line, text } = token;
            format!("{path}:{line}: `{text}` starts a task outside `app`")
        })
        .collect()
}

/// The map is the list below `# Code map` in the documentation of `lib.rs`: one entry a file, as ``- `store/keys.rs`: …``.
fn map_complaints(lib: &str, files: &BTreeSet<String>) -> Vec<String> {
    let mut docs = lib.lines().map_while(|line| line.strip_prefix("//!"));
    if !docs.any(|line| line.trim() == "# Code map") {
        return vec!["src/lib.rs: there is no heading `# Code map`".to_owned()];
    }
    let mut complaints = Vec::new();
    let mut named = BTreeSet::new();
    for line in docs.take_while(|line| !line.trim_start().starts_with("# ")) {
        let Some((name, rest)) = line
            .trim_start()
            .strip_prefix("- `")
            .and_then(|entry| entry.split_once('`'))
        else {
            continue;
        };
        if !files.contains(name) {
            complaints.push(format!(
                "src/lib.rs: the code map names `{name}`, which does not exist"
            ));
        } else if !named.insert(name) {
            complaints.push(format!("src/lib.rs: the code map names `{name}` twice"));
        } else if rest
            .strip_prefix(": ")
            .is_none_or(|text| text.trim().is_empty())
        {
            complaints.push(format!(
                "src/lib.rs: the code map does not say what `{name}` is"
            ));
        }
    }
    let lacking = files.iter().filter(|file| !named.contains(file.as_str()));
    complaints.extend(lacking.map(|file| format!("src/lib.rs: the code map lacks `{file}`")));
    complaints
}

fn opening_complaints(path: &str, text: &str) -> Vec<String> {
    let opening = text.lines().next().and_then(|l| l.strip_prefix("//! "));
    match opening {
        Some(words) if !words.trim().is_empty() => Vec::new(),
        _ => vec![format!("{path}: does not open with `//!` and what it is")],
    }
}

fn leftover_complaints(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut complaints = Vec::new();
    for window in tokens.windows(3) {
        let [a, b, c] = window else { continue };
        if let ("#", "[", "ignore" | "should_panic") = (a.text(), b.text(), c.text()) {
            complaints.push(format!("{path}:{}: `#[{}]`", c.line, c.text));
        }
        if let ("todo" | "unimplemented", "!", "(") = (a.text(), b.text(), c.text()) {
            complaints.push(format!("{path}:{}: `{}!`", a.line, a.text));
        }
    }
    // Spelt in two halves: this file is read by the check, too.
    let words = [["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|halves| halves.concat());
    for (number, line) in (1..).zip(text.lines()) {
        let mut spoken = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = spoken.find(|spoken| words.iter().any(|word| word == spoken)) {
            complaints.push(format!("{path}:{number}: `{word}`"));
        }
    }
    complaints
}

fn unlisted_complaints(main: &str, files: &BTreeSet<String>) -> Vec<String> {
    let tokens = tokens(main);
    let listed: BTreeSet<&str> = tokens
        .windows(3)
        .filter_map(|window| match window {
            [a, name, b] if a.text == "mod" && b.text == ";" => Some(name.text()),
            _ => None,
        })
        .collect();
    files
        .iter()
        .filter_map(|file| file.strip_prefix("tests/it/")?.strip_suffix(".rs"))
        .filter(|name| !name.contains('/') && *name != "main" && !listed.contains(name))
        .map(|name| format!("tests/it/main.rs: lacks `mod {name};`"))
        .collect()
}

fn place_complaints(paths: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in paths {
        let top = path.split('/').next().unwrap_or(path);
        if !top.starts_with('.') && !TOP_LEVEL.contains(&top) {
            complaints.push(format!(
                "{path}: is not of the top level; tool files begin with a dot"
            ));
        }
        if path.ends_with("/mod.rs") {
            complaints.push(format!("{path}: is `foo.rs` beside `foo/` in this house"));
        }
    }
    complaints
}

fn may_name(module: &str) -> Option<&'static [&'static str]> {
    let mut rows = MAY_NAME.iter();
    rows.find(|(name, _)| *name == module).map(|(_, may)| *may)
}

/// `src/store/keys.rs` and `src/store.rs` are of `store`.
fn module_of(path: &str) -> String {
    let inner = path.trim_start_matches("src/");
    let top = inner.split('/').next().unwrap_or(inner);
    top.trim_end_matches(".rs").to_owned()
}

/// The path below the root of this crate, where it is a path of this crate that leaves its own module.
fn from_root(path: &str, parts: &[String]) -> Option<Vec<String>> {
    let head = parts.first()?;
    if head == "crate" || head == "watchkeeper" {
        return Some(parts.iter().skip(1).cloned().collect());
    }
    let supers = parts.iter().take_while(|part| *part == "super").count();
    let rest: Vec<String> = parts.iter().skip(supers).cloned().collect();
    let depth = path.matches('/').count();
    let is_module = rest.first().is_some_and(|name| may_name(name).is_some());
    (supers >= depth && is_module).then_some(rest)
}

// ---- reading the tree ----

fn over_source(check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    over(rust_files("src"), check)
}

fn over_all(check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let mut files = rust_files("src");
    files.extend(rust_files("tests"));
    over(files, check)
}

fn over(files: BTreeSet<String>, check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let texts: BTreeMap<String, String> = files
        .into_iter()
        .map(|path| {
            let text = read(&path);
            (path, text)
        })
        .collect();
    let complaints = texts.iter().map(|(path, text)| check(path, text));
    complaints.flatten().collect()
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// Paths from the root of the repository, of every Rust file below `folder`.
fn rust_files(folder: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(root().join(folder)).expect(folder) {
        let entry = entry.expect(folder);
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{folder}/{name}");
        if entry.file_type().expect("files have a type").is_dir() {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") {
            files.insert(path);
        }
    }
    files
}

/// What git knows at the top level; outside of a checkout, what lies there, less what is made by running.
fn top_level() -> BTreeSet<String> {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output();
    if let Ok(listed) = listed
        && listed.status.success()
        && !listed.stdout.is_empty()
    {
        let names = String::from_utf8(listed.stdout).expect("names are UTF-8");
        return names
            .lines()
            .filter_map(|path| path.split('/').next())
            .map(str::to_owned)
            .collect();
    }
    let entries = fs::read_dir(root()).expect("the repository can be listed");
    entries
        .map(|entry| entry.expect("the repository can be listed").file_name())
        .map(|name| name.into_string().expect("names are UTF-8"))
        .filter(|name| name != "target" && name != "data")
        .collect()
}

/// The names, as code writes them, of what `Cargo.toml` brings in.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    ["dependencies", "dev-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(toml::Table::keys)
        .map(|name| name.replace('-', "_"))
        .collect()
}

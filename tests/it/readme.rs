//! The README: its examples are read by the program, and its tables say what the code says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use watchkeeper::config::{Config, Environment, load};
use watchkeeper::domain::finding::Finding;
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::rules::{Context, load_texts};
use watchkeeper::telemetry::{Kind, METRICS};

fn readme() -> String {
    read("README.md")
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file")
}

/// The text from a heading to the next one that is not below it.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let start = format!("\n{heading}\n");
    let (_, rest) = readme.split_once(&start).expect("a heading");
    let level = heading.chars().take_while(|c| *c == '#').count();
    let ends = (1..=level).filter_map(|n| rest.find(&format!("\n{} ", "#".repeat(n))));
    rest.split_at(ends.min().unwrap_or(rest.len())).0
}

/// The fenced blocks of a language.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in readme.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(found)) => Some((found == language, String::new())),
            (None, None) => None,
            (Some((is_wanted, text)), Some(_)) => {
                blocks.extend(is_wanted.then_some(text));
                None
            }
            (Some((is_wanted, text)), None) => Some((is_wanted, format!("{text}{line}\n"))),
        };
    }
    blocks
}

/// The cells of each row of the tables in a text, without heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        if line.starts_with("|---") {
            rows.pop();
            continue;
        }
        let line = line.replace("\\|", "\u{0}");
        let cells = line.trim_matches('|').split('|');
        rows.push(
            cells
                .map(|cell| cell.replace('\u{0}', "|").trim().to_owned())
                .collect(),
        );
    }
    rows
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn show(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}

/// All blocks of a file, which together are one that a reader may paste.
fn example(readme: &str, file: &str) -> String {
    let first = format!("# {file}\n");
    let fitting = blocks(readme, "toml")
        .into_iter()
        .filter(|block| block.starts_with(&first));
    fitting.collect()
}

/// Each variable that the text takes a secret from, with a value.
fn secrets(text: &str) -> impl Iterator<Item = (&str, String)> {
    let named = text.split("env = \"").skip(1);
    let names = named.filter_map(|rest| rest.split('"').next());
    names.map(|name| (name, format!("value-of-{name}")))
}

fn variables(text: &str) -> Environment {
    secrets(text).collect()
}

fn example_config(readme: &str) -> Config {
    let directory = TempDir::new().expect("a temporary directory");
    for file in ["watchkeeper.toml", "oncall.toml"] {
        let text = example(readme, file);
        assert!(!text.is_empty(), "no block of {file}");
        fs::write(directory.path().join(file), text).expect("a file");
    }
    let loaded = load(Some(directory.path()), &variables(readme));
    assert_eq!(show(&loaded.findings), "");
    loaded.config.expect("nothing was found wrong")
}

#[test]
fn every_toml_block_names_its_file() {
    let readme = readme();
    for block in blocks(&readme, "toml") {
        let first = block.lines().next();
        let known = [
            "# watchkeeper.toml",
            "# oncall.toml",
            "# rules/example.toml",
            "# rules/tests/example.toml",
        ];
        assert!(first.is_some_and(|first| known.contains(&first)), "{block}");
    }
}

#[test]
fn the_configuration_in_the_readme_is_read_without_a_finding() {
    let config = example_config(&readme());
    assert!(config.sources.contains_key("prod-alertmanager"));
    assert!(config.channels.contains_key("ops-hook"));
    assert!(config.book.policies.contains_key("payments"));
}

#[test]
fn the_rules_in_the_readme_are_read_without_a_finding() {
    let readme = readme();
    let config = example_config(&readme);
    let text = example(&readme, "rules/example.toml");
    let context = Context {
        zone: config.server.zone,
        matrix: &config.matrix,
        book: &config.book,
    };
    let loaded = load_texts(&[("rules/example.toml", &text)], context);
    assert_eq!(show(&loaded.findings), "");
    assert_eq!(loaded.rules.map(|set| set.rules().len()), Some(6));
}

/// What a call prints that stands in a block of the README, run where all its files are, compared with what stands there.
fn what_stands_there_is_printed(start: &str, code: i32) {
    let readme = readme();
    let directory = TempDir::new().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    for file in [
        "watchkeeper.toml",
        "oncall.toml",
        "rules/example.toml",
        "rules/tests/example.toml",
    ] {
        let below = if file.starts_with("rules/") {
            ""
        } else {
            "config/"
        };
        write(&format!("{below}{file}"), &example(&readme, file));
    }
    let bodies = blocks(&readme, "json");
    let body = bodies.iter().find(|block| block.starts_with("{\"app\""));
    write("events.json", body.expect("the body is there"));
    let shown = blocks(&readme, "text");
    let shown = shown.iter().find(|block| block.starts_with(start));
    let (asked, answered) = shown
        .and_then(|block| block.split_once('\n'))
        .expect("a block that begins with this call");
    let arguments = asked.strip_prefix("$ watchkeeper ").expect("a call");
    let output = Command::new(env!("CARGO_BIN_EXE_watchkeeper"))
        .args(arguments.split(' '))
        .current_dir(directory.path())
        .env_clear()
        .envs(secrets(&readme))
        .output()
        .expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), answered);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn what_is_explained_in_the_readme_is_what_is_printed() {
    what_stands_there_is_printed("$ watchkeeper rules explain ", 0);
}

#[test]
fn what_the_rule_tests_in_the_readme_print_stands_there() {
    what_stands_there_is_printed("$ watchkeeper rules test\n", 1);
}

#[test]
fn every_json_block_is_json() {
    let blocks = blocks(&readme(), "json");
    assert!(!blocks.is_empty());
    for block in blocks {
        if let Err(error) = serde_json::from_str::<serde_json::Value>(&block) {
            panic!("{error} in\n{block}");
        }
    }
}

#[test]
fn every_metric_is_in_the_readme_with_its_kind_and_no_other() {
    let readme = readme();
    let kind = |kind: Kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Summary => "summary",
    };
    let known: BTreeMap<String, String> = METRICS
        .iter()
        .map(|(name, of, _)| ((*name).to_owned(), kind(*of).to_owned()))
        .collect();
    let told: BTreeMap<String, String> = rows(section(&readme, "### Metrics"))
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    assert_eq!(told, known);

    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = readme.split(|c: char| !is_name(c));
    let elsewhere = words.filter(|word| word.starts_with("watchkeeper_"));
    let unknown: BTreeSet<&str> = elsewhere
        .filter(|word| !known.contains_key(*word))
        .collect();
    assert_eq!(unknown, BTreeSet::new());
}

#[test]
fn a_metric_that_nothing_counts_is_told_as_such() {
    let mut code = String::new();
    for_each_file(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut |path| {
            if !path.ends_with("src/telemetry.rs") {
                code.push_str(&fs::read_to_string(path).expect("a file"));
            }
        },
    );
    for row in rows(section(&readme(), "### Metrics")) {
        let name = row[0].trim_matches('`');
        let is_counted = code.contains(&format!("\"{name}\""));
        let is_told_as_not = row[3].contains("not counted yet");
        assert_eq!(is_counted, !is_told_as_not, "{name}");
    }
}

fn for_each_file(directory: &Path, each: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            for_each_file(&path, each);
        } else {
            each(&path);
        }
    }
}

/// `METHOD /path` of every route: of those that are described, and of those that `src/http.rs` adds beside them.
fn routes() -> BTreeSet<String> {
    let described = crate::openapi::operations();
    let mut routes: BTreeSet<String> = described
        .map(|(path, method, _)| format!("{} {path}", method.to_uppercase()))
        .collect();
    let source = read("src/http.rs");
    for route in source.split(".route(").skip(1) {
        let path = route.split('"').nth(1).expect("a path");
        let call = route.split(".route").next().unwrap_or_default();
        let words = call.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words {
            if ["get", "post", "put", "patch", "delete", "options"].contains(&word) {
                routes.insert(format!("{} {path}", word.to_uppercase()));
            }
        }
    }
    routes
}

#[test]
fn every_route_is_in_the_readme_and_no_other() {
    let readme = readme();
    let told: BTreeSet<String> = rows(section(&readme, "## API"))
        .into_iter()
        .flat_map(|row| quoted(&row[0]))
        .collect();
    assert_eq!(told, routes());
}

#[test]
fn the_phases_and_their_outputs_are_those_of_the_code() {
    let readme = readme();
    let of_code: Vec<(String, Vec<String>)> = Phase::ALL
        .into_iter()
        .map(|phase| {
            let outputs = phase.required_outputs().iter();
            let ids = outputs.map(|output| output.as_str().to_owned());
            (phase.as_str().to_owned(), ids.collect())
        })
        .collect();
    let told: Vec<(String, Vec<String>)> = rows(section(&readme, "## Lifecycle"))
        .into_iter()
        .filter(|row| row.len() == 3)
        .map(|row| (row[0].trim_matches('`').to_owned(), quoted(&row[2])))
        .collect();
    assert_eq!(told, of_code);
}

#[test]
fn what_is_waived_or_lost_is_told_for_every_output() {
    let readme = readme();
    let yes = |is: bool| if is { "yes" } else { "no" };
    let statements = |output: &Output| Output::STATEMENTS.contains(output);
    let of_code: Vec<(String, bool, &str, &str)> = Output::ALL
        .iter()
        .map(|output| {
            let is_lost = Output::LOST_BY_RECURRENCE.contains(output);
            (
                output.as_str().to_owned(),
                statements(output),
                yes(output.is_waivable()),
                yes(is_lost),
            )
        })
        .collect();
    let rows = rows(section(&readme, "## Lifecycle"));
    let told: Vec<(String, bool, &str, &str)> = rows
        .iter()
        .filter(|row| row.len() == 4)
        .map(|row| {
            (
                row[0].trim_matches('`').to_owned(),
                row[1].starts_with("statement"),
                row[2].as_str(),
                row[3].split(':').next().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(told, of_code);
}

/// Every command without commands of its own, as `watchkeeper store verify`.
fn commands(of: &str) -> BTreeSet<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_watchkeeper"));
    let asked = program.args(of.split_whitespace().skip(1)).arg("--help");
    let answer = asked.output().expect("the program runs");
    let help = String::from_utf8(answer.stdout).expect("help is text");
    let Some((_, listed)) = help.split_once("\nCommands:\n") else {
        return BTreeSet::from([of.to_owned()]);
    };
    let lines = listed.lines().take_while(|line| !line.is_empty());
    // A description that goes on stands further in.
    let named = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    names
        .flat_map(|name| commands(&format!("{of} {name}")))
        .collect()
}

#[test]
fn every_command_is_in_the_readme_and_no_other() {
    let readme = readme();
    let is_word = |word: &&str| {
        let mut chars = word.chars();
        chars.next().is_some_and(|c| c.is_ascii_lowercase())
            && chars.all(|c| c.is_ascii_lowercase() || c == '-')
    };
    let told: BTreeSet<String> = rows(section(&readme, "## Command line"))
        .into_iter()
        .filter_map(|row| quoted(&row[0]).into_iter().next())
        .map(|command| {
            let words = command.split_whitespace().take_while(is_word);
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(told, commands("watchkeeper"));
}

#[test]
fn both_commands_of_a_fresh_machine_are_in_the_readme() {
    let readme = readme();
    for command in ["cargo run --release -- serve", "tests/run"] {
        assert!(readme.contains(command), "{command}");
    }
}

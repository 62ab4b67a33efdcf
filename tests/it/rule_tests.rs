//! Rule tests: what is found wrong in them, what the real executable says of those that pass and those that fail.

use crate::daemon::Home;
use serde_json::{Value, json};
use std::fs;
use std::process::Output;
use watchkeeper::domain::finding::Finding;
use watchkeeper::rules::cases::{Sources, load_texts};

const ONCALL: &str = r#"
[people.ana]
notify = [{ channel = "log", address = "ana" }]
[people.ben]
notify = [{ channel = "log", address = "ben" }]
[teams.payments]
policy = "payments"
[policies.payments]
steps = [{ targets = ["person:ana"], timeout = "5m" }, { targets = ["person:ben"], timeout = "10m" }]
"#;

const RULES: &str = r#"
[[rule]]
name = "checkout-down"
match = ['service="checkout"', 'alertname=~"CheckoutDown|HighErrorRate"', '@kind="alertmanager"']
severity = "SEV1"
dedup_key = "{{ labels.service }}/{{ labels.alertname }}"
title = "{{ labels.service }}: {{ annotations.summary }}"
team = "payments"
open = { after = "2m" }
[[rule]]
name = "checks"
match = ['@outcome=~".+"']
severity = { label = "@severity", map = { critical = "SEV2" }, default = "SEV4" }
"#;

/// The contract's example.
const CONTRACT: &str = r#"
[[test]]
name = "HighErrorRate for two minutes opens one SEV1 and pages ana"
at = "2026-03-02T09:00:00Z"                   # the clock at the start, a Monday
[[test.step]]
after = "0s"                                  # since the start
alerts = [{ source = "alertmanager", labels = { service = "checkout", alertname = "HighErrorRate" }, status = "firing" }]
expect = { incidents = [], pages = [] }
[[test.step]]
after = "4m"
expect = { incidents = [{ rule = "checkout-down", severity = "SEV1", dedup_key = "checkout/HighErrorRate", status = "open" }], pages = [{ to = "ana", at = "2m" }] }
"#;

fn home(tests: &[(&str, &str)]) -> Home {
    let home = Home::with("", ONCALL);
    home.write("rules/all.toml", RULES);
    fs::create_dir_all(home.config().join("rules/tests")).expect("a directory can be made");
    for (name, text) in tests {
        home.write(&format!("rules/tests/{name}"), text);
    }
    home
}

/// What it prints, with the directory of this run left out.
fn stdout(home: &Home, output: &Output) -> String {
    shown(home, &output.stdout)
}

fn shown(home: &Home, text: &[u8]) -> String {
    let directory = format!("{}/", home.config().display());
    String::from_utf8_lossy(text).replace(&directory, "")
}

#[test]
fn every_problem_of_a_test_is_told_with_its_place() {
    let sources: Sources = [
        ("alertmanager", "alertmanager"),
        ("check", "check"),
        ("cloudevents", "cloudevents"),
        ("deploys", "change"),
    ]
    .map(|(name, kind)| (name.to_owned(), kind))
    .into();
    crate::blocks::check("rules/cases_broken.txt", |block| {
        let files = block.parts.iter().filter(|(name, _)| name != "expect");
        let files: Vec<(&str, &str)> = files
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let findings = load_texts(&files, &sources).findings;
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        lines.join("\n")
    });
}

#[test]
fn the_contract_s_example_passes() {
    let home = home(&[("a.toml", CONTRACT)]);
    let output = home.run(&["rules", "test"]);
    assert_eq!(
        stdout(&home, &output),
        "rules/tests/a.toml\n  ok    HighErrorRate for two minutes opens one SEV1 and pages ana\n\n\
         1 test: 1 passed, 0 failed\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_tests_that_ship_with_the_program_pass() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = crate::daemon::program()
        .current_dir(root)
        .args(["rules", "test"])
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with(" 0 failed\n"), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

const FAILING: &str = r#"
[[test]]
name = "passes"
at = "2026-03-02T09:00:00Z"
[[test.step]]
after = "0s"
expect = { incidents = [], pages = [] }

[[test]]
name = "is <wrong> & \"quoted\""
at = 2026-03-02T10:00:00+01:00
[[test.step]]
after = "0s"
alerts = [
  { source = "alertmanager", labels = { service = "checkout", alertname = "CheckoutDown" }, annotations = { summary = "gone" }, status = "firing" },
  { source = "check", labels = { alertname = "rows" }, outcome = "fail", severity = "critical" },
]
expect = { incidents = [] }
[[test.step]]
after = "8m"
expect = { incidents = [
  { rule = "checks" },
  { rule = "checkout-down", severity = "SEV2", team = "payments", muted = false },
  { rule = "checkout-up" },
], pages = [
  { to = "ana", at = "2m", kind = "page" },
  { to = "log" },
  { to = "cem", at = "7m" },
] }
[[test.step]]
after = "9m"
expect = { pages = [] }
"#;

#[test]
fn what_was_expected_is_shown_beside_what_was_found() {
    let home = home(&[("a.toml", FAILING), ("b.toml", CONTRACT)]);
    let output = home.run(&["rules", "test"]);
    assert_eq!(
        stdout(&home, &output),
        r##"rules/tests/a.toml
  ok    passes
  FAIL  is <wrong> & "quoted"
        rules/tests/a.toml:12:1: 0s after the start
          incidents: 0 expected, 1 found
            + rule = "checks", severity = "SEV2", dedup_key = "rows", status = "open", title = "rows", phase = "triage", muted = "false"
        rules/tests/a.toml:19:1: 8m after the start
          incidents: 3 expected, 2 found
              rule = "checks", severity = "SEV2", dedup_key = "rows", status = "open", title = "rows", phase = "triage", muted = "false"
            - rule = "checkout-down", severity = "SEV2", team = "payments", muted = "false"
                severity: expected "SEV2", found "SEV1"
            - rule = "checkout-up"
            + rule = "checkout-down", severity = "SEV1", dedup_key = "checkout/CheckoutDown", status = "open", title = "checkout: gone", team = "payments", phase = "triage", muted = "false"
          pages: 3 expected, 3 found
              to = "ana", at = "2m", channel = "log", kind = "page"
              to = "log", at = "5m", channel = "log", kind = "page"
            - to = "cem", at = "7m"
                to: expected "cem", found "ben"
            + to = "ben", at = "7m", channel = "log", kind = "page"
rules/tests/b.toml
  ok    HighErrorRate for two minutes opens one SEV1 and pages ana

3 tests: 2 passed, 1 failed
"##
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn ci_reads_the_results_as_json_and_as_junit() {
    let home = home(&[("a.toml", FAILING), ("b.toml", CONTRACT)]);
    let file = home.path("results.xml").display().to_string();
    let output = home.run(&["rules", "test", "--output", "json", "--junit", &file]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_str(&stdout(&home, &output)).expect("JSON");
    assert_eq!((&found["passed"], &found["failed"]), (&json!(2), &json!(1)));
    assert_eq!(
        found["tests"][0],
        json!({ "file": "rules/tests/a.toml", "name": "passes", "place": "rules/tests/a.toml:2:1", "passed": true, "failures": [] })
    );
    assert_eq!(
        found["tests"][1]["failures"][1]["pages"]["missing"],
        json!([{
            "expected": { "to": "cem", "at": "7m" },
            "differs": [{ "key": "to", "expected": "cem", "found": "ben" }],
        }])
    );
    assert_eq!(
        found["tests"][1]["failures"][1]["pages"]["unexpected"],
        json!([{ "to": "ben", "at": "7m", "channel": "log", "kind": "page" }])
    );
    let written = fs::read(&file).expect("it was written");
    assert_eq!(
        shown(&home, &written),
        r##"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="watchkeeper rules" tests="3" failures="1" errors="0">
  <testsuite name="rules/tests/a.toml" tests="2" failures="1" errors="0">
    <testcase classname="rules/tests/a.toml" name="passes"/>
    <testcase classname="rules/tests/a.toml" name="is &lt;wrong&gt; &amp; &quot;quoted&quot;">
      <failure message="rules/tests/a.toml:12:1: incidents differ 0s after the start">rules/tests/a.toml:12:1: 0s after the start&#10;  incidents: 0 expected, 1 found&#10;    + rule = &quot;checks&quot;, severity = &quot;SEV2&quot;, dedup_key = &quot;rows&quot;, status = &quot;open&quot;, title = &quot;rows&quot;, phase = &quot;triage&quot;, muted = &quot;false&quot;&#10;rules/tests/a.toml:19:1: 8m after the start&#10;  incidents: 3 expected, 2 found&#10;      rule = &quot;checks&quot;, severity = &quot;SEV2&quot;, dedup_key = &quot;rows&quot;, status = &quot;open&quot;, title = &quot;rows&quot;, phase = &quot;triage&quot;, muted = &quot;false&quot;&#10;    - rule = &quot;checkout-down&quot;, severity = &quot;SEV2&quot;, team = &quot;payments&quot;, muted = &quot;false&quot;&#10;        severity: expected &quot;SEV2&quot;, found &quot;SEV1&quot;&#10;    - rule = &quot;checkout-up&quot;&#10;    + rule = &quot;checkout-down&quot;, severity = &quot;SEV1&quot;, dedup_key = &quot;checkout/CheckoutDown&quot;, status = &quot;open&quot;, title = &quot;checkout: gone&quot;, team = &quot;payments&quot;, phase = &quot;triage&quot;, muted = &quot;false&quot;&#10;  pages: 3 expected, 3 found&#10;      to = &quot;ana&quot;, at = &quot;2m&quot;, channel = &quot;log&quot;, kind = &quot;page&quot;&#10;      to = &quot;log&quot;, at = &quot;5m&quot;, channel = &quot;log&quot;, kind = &quot;page&quot;&#10;    - to = &quot;cem&quot;, at = &quot;7m&quot;&#10;        to: expected &quot;cem&quot;, found &quot;ben&quot;&#10;    + to = &quot;ben&quot;, at = &quot;7m&quot;, channel = &quot;log&quot;, kind = &quot;page&quot;</failure>
    </testcase>
  </testsuite>
  <testsuite name="rules/tests/b.toml" tests="1" failures="0" errors="0">
    <testcase classname="rules/tests/b.toml" name="HighErrorRate for two minutes opens one SEV1 and pages ana"/>
  </testsuite>
</testsuites>
"##
    );
}

#[test]
fn a_wrong_call_is_told_from_a_failed_test() {
    let home = home(&[]);
    let wrong = |arguments: &[&str]| {
        let output = home.run(&[&["rules", "test"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        shown(&home, &output.stderr)
    };
    assert_eq!(
        wrong(&[]),
        r##"error: there are no tests at rules/tests/*.toml
"##
    );
    assert_eq!(
        wrong(&["nowhere.toml"]),
        r##"nowhere.toml:1:1: error: cannot be read: no such file
1 error, 0 warnings

"##
    );
    home.write("rules/tests/a.toml", "[[test]]\nname = \"a\"\n");
    assert_eq!(
        wrong(&[]),
        r##"rules/tests/a.toml:1:1: error: "at" is missing
    [[test]]
    ^^^^^^^^
rules/tests/a.toml:1:1: error: "step" is missing
    [[test]]
    ^^^^^^^^
2 errors, 0 warnings

"##
    );
    home.write("rules/tests/a.toml", CONTRACT);
    assert_eq!(
        wrong(&["--junit", "/nowhere/results.xml"]),
        r##"error: /nowhere/results.xml cannot be written: no such file
"##
    );
    home.write("rules/all.toml", "[[rule]]\n");
    assert_eq!(
        wrong(&[]),
        r##"rules/all.toml:1:1: error: "match" is missing
    [[rule]]
    ^^^^^^^^
rules/all.toml:1:1: error: "name" is missing
    [[rule]]
    ^^^^^^^^
2 errors, 0 warnings

"##
    );
}

/// The tests of a file pass.
fn passes(config: &str, rules: &str, test: &str) {
    let home = Home::with(config, ONCALL);
    home.write("rules/all.toml", rules);
    home.write("test.toml", test);
    let file = home.config().join("test.toml").display().to_string();
    let output = home.run(&["rules", "test", &file]);
    let text = stdout(&home, &output);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn what_fits_several_expectations_is_given_to_one_that_fits_nothing_else() {
    passes(
        "",
        "[[rule]]\nname = \"all\"\nmatch = ['alertname!=\"\"']\nseverity = { label = \"severity\", map = { page = \"SEV1\" } }\n",
        r#"
[[test]]
name = "two fit the first expectation, one of them the second alone"
at = "2026-03-02T09:00:00Z"
[[test.step]]
after = "0s"
alerts = [
  { source = "alertmanager", labels = { alertname = "a", severity = "page" }, status = "firing" },
  { source = "alertmanager", labels = { alertname = "b" }, status = "firing" },
  { source = "alertmanager", labels = { alertname = "c" }, status = "firing" },
]
expect = { incidents = [{}, { rule = "all" }, { severity = "SEV1" }] }
"#,
    );
}

#[test]
fn a_heartbeat_stays_away_in_no_test_and_its_alert_is_tested_as_any_other() {
    passes(
        "[heartbeats.nightly-load]\nevery = \"1h\"\n",
        "[[rule]]\nname = \"beats\"\nmatch = ['@kind=\"heartbeat\"', '@source=\"nightly-load\"']\n",
        r#"
[[test]]
name = "days pass"
at = "2026-03-02T09:00:00Z"
[[test.step]]
after = "2d"
expect = { incidents = [], pages = [] }
[[test.step]]
after = "3d"
alerts = [{ source = "nightly-load", labels = { alertname = "nightly-load" }, status = "firing" }]
expect = { incidents = [{ rule = "beats" }] }
"#,
    );
}

#[test]
fn pages_are_those_since_the_step_before_and_updates_are_among_them() {
    passes(
        "",
        RULES,
        r#"
[[test]]
name = "a step that times out, and a resolve"
at = "2026-03-02T09:00:00Z"
[[test.step]]
after = "0s"
alerts = [{ source = "alertmanager", labels = { service = "checkout", alertname = "CheckoutDown" }, status = "firing" }]
expect = { pages = [] }
[[test.step]]
after = "3m"
expect = { pages = [{ to = "ana", at = "2m", channel = "log", kind = "page" }] }
[[test.step]]
after = "10m"
expect = { pages = [{ to = "ben", at = "7m" }] }
[[test.step]]
after = "11m"
alerts = [{ source = "alertmanager", labels = { service = "checkout", alertname = "CheckoutDown" }, status = "resolved" }]
expect = { pages = [{ to = "ana", at = "11m", kind = "update" }, { to = "ben", kind = "update" }] }
"#,
    );
}

//! Rule files: what is found wrong and in which words, what is read, the default rules, the order of files.

use chrono_tz::Tz;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use watchkeeper::config::{Config, Environment, load};
use watchkeeper::domain::alert::{Fingerprint, Labels};
use watchkeeper::domain::finding::Finding;
use watchkeeper::domain::rule::{OpenWhen, Verdict};
use watchkeeper::domain::severity::{Matrix, MatrixRow, Severity};
use watchkeeper::domain::template::Facts;
use watchkeeper::domain::time::{Timestamp, show_span};
use watchkeeper::rules::{Context, LoadedRules, load_builtin, load_dir, load_texts};

/// The built-in configuration with a team and a policy `payments`.
fn config() -> Config {
    let root = TempDir::new().expect("a temporary directory");
    let oncall =
        "[teams.payments]\n[policies.payments]\nsteps = [{ targets = [\"person:log\"] }]\n";
    fs::write(root.path().join("oncall.toml"), oncall).expect("a file");
    let mut config = load(Some(root.path()), &Environment::default())
        .config
        .expect("no error in it");
    config.matrix = Matrix(vec![MatrixRow {
        impact: Some("high".to_owned()),
        scope: None,
        urgency: None,
        severity: Severity::Sev1,
    }]);
    config
}

fn context(config: &Config) -> Context<'_> {
    Context {
        zone: Tz::Europe__Berlin,
        matrix: &config.matrix,
        book: &config.book,
    }
}

fn show(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}

fn messages(loaded: &LoadedRules) -> Vec<String> {
    let line = |finding: &Finding| format!("{}: {}", finding.level, finding.message);
    loaded.findings.iter().map(line).collect()
}

#[test]
fn every_problem_is_told_with_its_place() {
    let config = config();
    crate::blocks::check("rules/broken.txt", |block| {
        let files = block.parts.iter().filter(|(name, _)| name != "expect");
        let files: Vec<(String, &str)> = files
            .map(|(name, text)| (format!("rules/{name}"), text.as_str()))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), *text))
            .collect();
        let loaded = load_texts(&files, context(&config));
        let is_refused = loaded.findings.iter().any(Finding::is_error);
        assert_eq!(loaded.rules.is_none(), is_refused, "{}", block.name);
        show(&loaded.findings)
    });
}

#[test]
fn the_contract_s_example_is_read() {
    let config = config();
    let text = include_str!("fixtures/rules/contract.toml");
    let loaded = load_texts(&[("rules/contract.toml", text)], context(&config));
    assert_eq!(
        messages(&loaded),
        ["warning: \"query\" is not yet in effect",]
    );
    let set = loaded.rules.expect("only warnings");
    let [rule] = set.rules() else {
        panic!("one rule");
    };
    let settings = &rule.settings;
    assert_eq!(
        (rule.name.as_str(), rule.matchers.len(), rule.continues),
        ("checkout-down", 3, false)
    );
    assert_eq!(settings.team.as_deref(), Some("payments"));
    assert_eq!(settings.escalation_policy.as_deref(), Some("payments"));
    assert_eq!(
        settings.open,
        Some(OpenWhen::After(std::time::Duration::from_secs(120)))
    );
    let spans = [settings.resolve_after, settings.reopen_within];
    assert_eq!(
        spans.map(|span| span.map(show_span)),
        ["5m", "1d"].map(|span| Some(span.to_owned()))
    );
    let plan = settings.verification.as_ref().expect("a plan");
    assert_eq!(
        (plan.zone, show_span(plan.window)),
        (Tz::Europe__Berlin, "14d".to_owned())
    );
    assert_eq!(set.revision.len(), 16);
}

#[test]
fn a_verification_is_in_the_zone_of_the_server_where_it_names_none() {
    let config = config();
    let text = "[[rule]]\nname = \"a\"\nmatch = ['a=\"b\"']\nverification = { check = \"0 9 * * *\", for = \"1d\" }\n";
    let set = load_texts(&[("a.toml", text)], context(&config))
        .rules
        .expect("no error");
    let plan = set.rules()[0]
        .settings
        .verification
        .as_ref()
        .expect("a plan");
    assert_eq!(plan.zone, Tz::Europe__Berlin);
}

#[test]
fn files_are_read_in_order_of_name_and_tests_are_not() {
    let config = config();
    let root = TempDir::new().expect("a temporary directory");
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\nmatch = ['a=\"b\"']\n");
    let write = |file: &str, text: &str| {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    write("b.toml", &rule("three"));
    write("a.toml", &format!("{}{}", rule("one"), rule("two")));
    write("tests/a.toml", "[[test]]\n");
    write("notes.txt", "no rules");
    write(".a.toml.swp.toml", "no rules");
    let load = || {
        load_dir(root.path(), context(&config))
            .rules
            .expect("no error")
    };
    let set = load();
    let names: Vec<&str> = set.rules().iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert_eq!(load().revision, set.revision);
    write("b.toml", &rule("four"));
    assert_ne!(load().revision, set.revision);
}

#[test]
fn a_directory_without_rules_is_told() {
    let config = config();
    let root = TempDir::new().expect("a temporary directory");
    let loaded = load_dir(root.path(), context(&config));
    assert_eq!(
        messages(&loaded),
        ["warning: no rules here: every alert is recorded, and none opens an incident"]
    );
    assert!(loaded.rules.is_some());
    let loaded = load_dir(&root.path().join("none"), context(&config));
    assert_eq!(messages(&loaded), ["error: cannot be read: no such file"]);
    assert!(loaded.rules.is_none());
}

/// What the default rules make of an alert with these labels and attributes.
fn judged(labels: &[(&str, &str)], attributes: &[(&str, &str)]) -> String {
    let config = config();
    let loaded = load_builtin(context(&config));
    assert_eq!(messages(&loaded), Vec::<String>::new());
    let set = loaded.rules.expect("no error");
    let (labels, attributes) = (
        labels.iter().copied().collect(),
        attributes.iter().copied().collect(),
    );
    let facts = Facts {
        labels: &labels,
        annotations: &Labels::default(),
        attributes: &attributes,
    };
    match set.judge(facts, Timestamp::EPOCH) {
        Verdict::Open(opening) => {
            let key = opening.dedup_key(facts, Fingerprint(1)).key;
            format!("{} by {}, {key}", opening.severity(facts).0, opening.rule())
        }
        Verdict::Record { rule } => format!("recorded by {rule}"),
        Verdict::Drop { rule } => format!("dropped by {rule}"),
        Verdict::Unrouted => "unrouted".to_owned(),
    }
}

#[test]
fn the_default_rules_know_the_usual_words() {
    let monitoring = |name: &str, severity: &str| {
        judged(
            &[("alertname", name), ("severity", severity)],
            &[("kind", "alertmanager")],
        )
    };
    assert_eq!(monitoring("Watchdog", "none"), "recorded by watchdog");
    assert_eq!(monitoring("Other", "none"), "recorded by severity-none");
    assert_eq!(monitoring("Down", "critical"), "SEV2 by monitoring, Down");
    assert_eq!(monitoring("Slow", "warning"), "SEV3 by monitoring, Slow");
    assert_eq!(monitoring("Note", "info"), "SEV5 by monitoring, Note");
    assert_eq!(monitoring("Odd", "purple"), "SEV3 by monitoring, Odd");
    assert_eq!(monitoring("Bare", ""), "SEV3 by everything-else, Bare");

    let check = |outcome: &str, severity: &str| {
        let attributes = [
            ("kind", "check"),
            ("outcome", outcome),
            ("severity", severity),
        ];
        judged(
            &[
                ("alertname", "rows"),
                ("dataset", "orders"),
                ("tool", "pandera"),
            ],
            &attributes,
        )
    };
    assert_eq!(
        check("fail", "critical"),
        "SEV2 by check-with-severity, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        check("fail", "WARNING"),
        "SEV4 by check-with-severity, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        check("fail", "info"),
        "SEV5 by check-with-severity, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        check("warn", ""),
        "SEV4 by check-warns, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        check("fail", ""),
        "SEV3 by check-fails, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        check("fail", "P1"),
        "SEV3 by check-fails, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        check("error", "critical"),
        "SEV4 by check-could-not-run, rows/dataset=orders/tool=pandera"
    );
    assert_eq!(
        judged(&[("service", "x")], &[]),
        "SEV3 by everything-else, service=x"
    );
}

#[test]
fn the_shipped_rules_are_the_built_in_ones() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let config = config();
    let loaded = load_dir(&shipped, context(&config));
    assert_eq!(messages(&loaded), Vec::<String>::new());
    assert_eq!(
        loaded.rules.map(|set| set.revision),
        load_builtin(context(&config)).rules.map(|set| set.revision)
    );
}

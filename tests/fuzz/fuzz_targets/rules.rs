//! Rule files: every finding has its place in the text, and rules that are read decide on an alert and render.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use watchkeeper::config::{Config, Environment, load};
use watchkeeper::domain::alert::Labels;
use watchkeeper::domain::finding::Finding;
use watchkeeper::domain::rule::Verdict;
use watchkeeper::domain::template::Facts;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::rules::{Context, load_texts};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let built_in = load(None, &Environment::default());
    built_in
        .config
        .expect("the built-in defaults have no error")
});

fuzz_target!(|text: &str| {
    let context = Context {
        zone: chrono_tz::UTC,
        matrix: &CONFIG.matrix,
        book: &CONFIG.book,
    };
    let loaded = load_texts(&[("fuzz.toml", text)], context);
    for finding in &loaded.findings {
        assert!(finding_has_a_place(finding), "{finding:?}");
    }
    let Some(rules) = loaded.rules else {
        assert!(!loaded.findings.is_empty(), "what is refused says why");
        return;
    };
    let again = load_texts(&[("fuzz.toml", text)], context);
    assert_eq!(
        again.rules.as_ref(),
        Some(&rules),
        "the same text, the same rules"
    );
    let labels: Labels = [
        ("alertname", "Down"),
        ("service", "checkout"),
        ("severity", "critical"),
    ]
    .into_iter()
    .collect();
    let attributes: Labels = [("kind", "alertmanager"), ("source", "a")]
        .into_iter()
        .collect();
    let facts = Facts {
        labels: &labels,
        annotations: &labels,
        attributes: &attributes,
    };
    if let Verdict::Open(opening) = rules.judge(facts, Timestamp::EPOCH) {
        let key = opening.dedup_key(facts, labels.fingerprint());
        assert!(!key.key.is_empty(), "a key is never empty");
        let _severity = opening.severity(facts);
        let _words = (
            opening.title(facts),
            opening.description(facts),
            opening.runbook(facts),
        );
    }
});

fn finding_has_a_place(finding: &Finding) -> bool {
    finding.to_string().starts_with("fuzz.toml")
}

//! The two files of the configuration: what is refused says why and where, and secrets are in no finding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use watchkeeper::config::{Environment, load};

/// Between the two files.
const NEXT_FILE: &str = "\n# oncall.toml\n";

fuzz_target!(|text: &str| {
    let (watchkeeper, oncall) = text.split_once(NEXT_FILE).unwrap_or((text, ""));
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("watchkeeper.toml"), watchkeeper).expect("it is written");
    fs::write(dir.path().join("oncall.toml"), oncall).expect("it is written");
    let loaded = load(Some(dir.path()), &Environment::default());
    let Some(config) = loaded.config else {
        assert!(!loaded.findings.is_empty(), "what is refused says why");
        return;
    };
    assert!(
        config.book.policies.contains_key("default"),
        "there is always a default policy"
    );
    for policy in config.book.policies.values() {
        assert!(!policy.steps.is_empty(), "a policy has a step");
    }
    let loopback = config.server.listen.ip().is_loopback();
    assert!(
        loopback || !config.tokens.is_empty(),
        "an open door is refused"
    );
});

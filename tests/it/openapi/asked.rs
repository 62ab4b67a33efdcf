//! The real program, asked by schemathesis as its own description says it may be asked, and otherwise.

use crate::daemon::{Home, answer, firing};
use crate::openapi::operations;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What is asked is done by somebody, of somebody, by rules.
const CONFIG: &str = "[auth.tokens.tester]\nsecret = \"tester-secret\"\nrole = \"admin\"\n\
    [sources.prod]\nkind = \"alertmanager\"\nauth = { bearer = \"tester-secret\" }\n\
    [sources.deploys]\nkind = \"change\"\nauth = { bearer = \"tester-secret\" }\n\
    [sources.genie]\nkind = \"opsgenie\"\nauth = { bearer = \"tester-secret\" }\n\
    [sources.pager]\nkind = \"pagerduty\"\nauth = { bearer = \"tester-secret\" }\n\
    [heartbeats.nightly]\nevery = \"1h\"\nauth = { bearer = \"tester-secret\" }\n";

const ONCALL: &str = "[people.ana]\nname = \"Ana\"\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
    [schedules.primary]\ntimezone = \"UTC\"\n\
    layers = [{ name = \"all\", people = [\"ana\"], rotation = \"weekly\", start = \"2026-01-05T09:00\" }]\n\
    [policies.default]\nsteps = [{ targets = [\"schedule:primary\"], timeout = \"1h\" }]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing_that_is_not_as_described() {
    let home = Home::with("", ONCALL);
    let store = home.store().display().to_string();
    home.write(
        "watchkeeper.toml",
        &format!("builtin_sources = false\n[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sled:{store}\"\n{CONFIG}"),
    );
    let daemon = home.serve().await;
    let silence = json!({ "matchers": ["alertname=\"Slow\""], "reason": "known", "for": "2h" });
    let unusable = json!({ "version": "4", "alerts": [{ "status": "odd" }] });
    let change =
        json!({ "id": "1", "service": "checkout", "status": "succeeded", "summary": "v2" });
    let cases: [(&str, &Value, u16); 5] = [
        ("/hooks/prod", &firing("Down"), 200),
        ("/hooks/prod", &firing("Slow"), 200),
        ("/hooks/prod", &unusable, 400),
        ("/hooks/deploys", &change, 200),
        ("/api/v1/silences", &silence, 201),
    ];
    for (path, body, wanted) in cases {
        let asked = daemon
            .client()
            .post(format!("{}{path}", daemon.url))
            .json(body);
        let (status, said) = answer(asked.bearer_auth("tester-secret"))
            .await
            .expect("it answers");
        assert_eq!(status, wanted, "{path}: {said}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemathesis = root.join("target/schemathesis/bin/schemathesis");
    assert!(
        schemathesis.exists(),
        "tests/run makes {}",
        schemathesis.display()
    );
    let mut command = Command::new(schemathesis);
    command
        .arg("--config-file")
        .arg(root.join("tests/schemathesis/schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", daemon.url)])
        // What it leaves behind goes with the directory.
        .current_dir(home.path(""))
        .env("WATCHKEEPER_TOKEN", "tester-secret")
        .env("NO_COLOR", "1");
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    let output = ran.expect("it does not panic").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // All but the one that writes files where it is told to, and the description itself, which was read before.
    let n = operations().count();
    let tested = format!("Tested: {}\n", n - 2);
    assert!(said.contains(&tested), "{tested}{said}");
    let panics = daemon.logged("panicked");
    assert_eq!(panics, None, "{}", daemon.log());
}

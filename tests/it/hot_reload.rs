//! Files that change while the daemon runs: taken by themselves, and what is broken is refused in sight.

use crate::daemon::{Daemon, Home, eventually, rule};
use serde_json::{Value, json};

fn firing(name: &str) -> Value {
    json!({ "version": "4", "alerts": [{
        "status": "firing", "labels": { "alertname": name }, "startsAt": "2026-03-02T09:00:00Z",
    }] })
}

async fn revision(daemon: &Daemon) -> String {
    let (_, rules) = daemon.get("/api/v1/rules").await;
    rules["revision"].as_str().expect("a revision").to_owned()
}

/// Waits until the files are refused with this text, and looks at each place that says so.
async fn is_refused_in_four_places(daemon: &Daemon, why: &str, live: &str) {
    let refused = eventually("the API says what is refused", async || {
        let (_, rules) = daemon.get("/api/v1/rules").await;
        let refused = rules["refused"].clone();
        refused.to_string().contains(why).then_some(refused)
    })
    .await;
    assert_eq!(revision(daemon).await, live);

    let (status, ready) = daemon.get("/readyz").await;
    let rules = &ready["checks"]["rules"];
    assert_eq!((status, &rules["ok"]), (503, &json!(false)));
    assert_eq!(rules["detail"]["refused"], refused);
    assert_eq!(rules["detail"]["revision"], live);

    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains("watchkeeper_reload_refused 1"),
        "{metrics}"
    );
    let info = format!("watchkeeper_rules_info{{revision=\"{live}\"}} 1");
    assert!(metrics.contains(&info), "{metrics}");

    let log = daemon.log();
    let told = log.contains("the files have errors; what was live stays live") && log.contains(why);
    assert!(told, "{log}");
}

#[tokio::test]
async fn an_edit_is_taken_by_itself_and_a_broken_one_changes_nothing_until_it_is_mended() {
    let home = Home::new();
    let daemon = home.serve().await;
    let first = revision(&daemon).await;

    home.write("rules/a.toml", &rule("second", "SEV2"));
    let second = eventually("the edit is live", async || {
        let now = revision(&daemon).await;
        (now != first).then_some(now)
    })
    .await;
    let metrics = daemon.metrics().await;
    for (revision, live) in [(&first, 0), (&second, 1)] {
        let info = format!("watchkeeper_rules_info{{revision=\"{revision}\"}} {live}");
        assert!(metrics.contains(&info), "{metrics}");
    }

    // No TOML, a matcher that is none, a policy that nobody has, and a book that cannot be read.
    home.write("rules/a.toml", "[[rule]\n");
    is_refused_in_four_places(&daemon, "a.toml:1:8: error: bad TOML", &second).await;
    home.write(
        "rules/a.toml",
        "[[rule]]\nname = \"a\"\nmatch = ['a=~\"(\"']\n",
    );
    is_refused_in_four_places(&daemon, "missing closing )", &second).await;
    home.write(
        "rules/a.toml",
        "[[rule]]\nname = \"a\"\nmatch = ['a=\"b\"']\nescalation_policy = \"defualt\"\n",
    );
    is_refused_in_four_places(&daemon, "did you mean \\\"default\\\"?", &second).await;
    let people = std::fs::read_to_string(home.config().join("oncall.toml")).expect("it is there");
    home.write("rules/a.toml", &rule("second", "SEV2"));
    home.write("oncall.toml", &people.replace("person:ana", "person:anna"));
    is_refused_in_four_places(&daemon, "did you mean \\\"ana\\\"?", &second).await;

    // The old rules work on.
    let (_, answer) = daemon.post("/hooks/alertmanager", &firing("Down")).await;
    assert_eq!(answer["opened"], json!([1]));
    let (_, incident) = daemon.get("/api/v1/incidents/1").await;
    assert_eq!(
        (&incident["rule"], &incident["rules_revision"]),
        (&json!("second"), &json!(second))
    );

    home.write("oncall.toml", &people);
    home.write("rules/a.toml", &rule("mended", "SEV3"));
    eventually("it is ready again", async || {
        (daemon.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
    let (_, rules) = daemon.get("/api/v1/rules").await;
    assert_eq!(
        (&rules["refused"], &rules["rules"][0]["name"]),
        (&json!(null), &json!("mended"))
    );
    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains("watchkeeper_reload_refused 0"),
        "{metrics}"
    );
}

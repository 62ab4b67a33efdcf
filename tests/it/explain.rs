//! `rules explain`: what the real executable says of a payload, and how its exit code answers.

use crate::daemon::Home;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

const SOURCES: &str = r#"
[sources.dd]
kind = "mapped"
mapping = "datadog"
[sources.own]
kind = "mapped"
mapping = "own"
[sources.am]
kind = "alertmanager"
[sources.aws]
kind = "mapped"
mapping = "sns"
[mappings.own]
status = { path = "query.state", firing = ["down"], resolved = ["up"] }
labels = { alertname = "{{ headers['x-name'] }}", env = "{{ item.env }}" }
"#;

const RULES: &str = r#"
[[rule]]
name = "team"
match = ['env="prod"']
team = "web"
resolve_after = "5m"
continue = true
[[rule]]
name = "by-word"
match = ['alertname=~"monitor-.*"', '@severity=~"P[12]"', 'env!="test"']
severity = { label = "@severity", map = { P2 = "SEV2" } }
title = "{{ attributes.title }} on {{ attributes.host }}"
[[rule]]
name = "kept"
match = ['alertname="kept"']
action = "record"
[[rule]]
name = "dropped"
match = ['alertname="dropped"']
action = "drop"
[[rule]]
name = "checks"
match = ['@kind="check"']
severity = { impact = "{{ labels.alertname }}", urgency = "now" }
dedup_key = "{{ labels.nothing }}"
[[inhibit]]
source = ['alertname="ClusterDown"']
target = ['severity=~"warning|critical"']
equal = ["cluster", "@kind"]
[[inhibit]]
source = ['alertname=~"Cluster.*"']
target = ['alertname="quiet"']
"#;

fn home() -> Home {
    let home = Home::with(
        SOURCES,
        "[people.ana]\nnotify = [{ channel = \"log\" }]\n[teams.web]\npolicy = \"web\"\n\
         [policies.web]\nsteps = [{ targets = [\"person:ana\"] }]\n",
    );
    home.write("rules/all.toml", RULES);
    home
}

fn payload(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
    folder.join(name).display().to_string()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Explains a body from standard input.
fn explains(home: &Home, arguments: &[&str], body: &str) -> Output {
    let mut command = home.command(&[&["rules", "explain", "-"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input is ours");
    stdin.write_all(body.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn it_says_who_may_mute_an_alert_and_whom_it_mutes() {
    let home = home();
    let of = |labels: Value| {
        let alert = json!({ "status": "firing", "labels": labels });
        let body = json!({ "version": "4", "alerts": [alert] }).to_string();
        let explained = explains(&home, &["--source", "am"], &body);
        let text = stdout(&explained);
        let (_, verdict) = text.split_once("\n  verdict ").expect("a verdict");
        let after: Vec<&str> = verdict.lines().skip(1).collect();
        after.join("\n")
    };
    assert_eq!(
        of(json!({ "alertname": "Slow", "severity": "warning", "cluster": "a" })),
        r#"  muted while  alertname="ClusterDown", cluster="a", @kind="alertmanager""#
    );
    assert_eq!(
        of(json!({ "alertname": "ClusterDown", "cluster": "a" })),
        "  it mutes     severity=~\"warning|critical\", cluster=\"a\", @kind=\"alertmanager\"\n               alertname=\"quiet\""
    );
    assert_eq!(of(json!({ "alertname": "Other" })), "");
}

#[test]
fn each_rule_is_told_with_what_it_looked_at_and_then_the_verdict() {
    let home = home();
    let file = payload("datadog/triggered.json");
    let output = home.run(&["rules", "explain", &file, "--source", "dd"]);
    let expected = format!(
        r#"{file} as dd posts it (kind mapped, mapping datadog): 1 alert, 0 rejected

alert 1: firing
  labels       {{alertname="monitor-1234", scope="host:web-1", tool="datadog"}}
  fingerprint  46b05aad55ecc76d
  annotations  description="CPU over 90%"
               query="avg(last_5m):avg:system.cpu.user{{*}} by {{host}} > 90"
               summary="[Triggered on {{host:web-1}}] CPU high"
  attributes   @alert_type="error"
               @env="prod"
               @host="web-1"
               @kind="mapped"
               @link="https://app.datadoghq.com/event/event?id=765"
               @metric="system.cpu.user"
               @org="Acme"
               @priority="P2"
               @severity="P2"
               @source="dd"
               @tags="env:prod,host:web-1,monitor"
               @title="CPU high"
               @transition="Triggered"
  starts       2026-11-23T08:20:00.000Z
  rules        team: no
                 env="prod" does not fit: the alert has none
               by-word: yes, and decides
                 alertname=~"monitor-.*" fits "monitor-1234"
                 @severity=~"P[12]" fits "P2"
                 env!="test" fits: the alert has none
               not tried after that: kept, dropped, checks
  verdict      opens or joins an incident, by by-word
               severity     SEV2, of @severity="P2"  (by by-word)
               dedup key    "monitor-1234/tool=datadog"  (default)
               title        "CPU high on web-1"  (by by-word)
               description  "CPU over 90%"  (default)
               runbook      none  (default)
               team         none  (default)
               policy       default  (default)
               opens        at once  (default)
               clear after  0s  (default)
               reopens in   1d  (default)
"#
    );
    assert_eq!(stdout(&output), expected);
    assert_eq!(output.status.code(), Some(0));
}

/// The part of the output from this line on.
fn from<'t>(text: &'t str, line: &str) -> &'t str {
    let at = text
        .find(line)
        .unwrap_or_else(|| panic!("{line} in {text}"));
    &text[at..]
}

#[test]
fn headers_and_parameters_stand_for_those_of_the_request() {
    let home = home();
    let own = [
        "--source",
        "own",
        "--header",
        "X-Name: down",
        "--query",
        "state=up",
    ];
    let output = explains(&home, &own, r#"{"env":"prod"}"#);
    let text = stdout(&output);
    assert!(text.starts_with(
        "standard input as own posts it (kind mapped, mapping own): 1 alert, 0 rejected\n"
    ));
    assert_eq!(
        from(&text, "  rules"),
        r#"  rules        team: yes, and lets later rules go on
                 env="prod" fits "prod"
               by-word: no
                 alertname=~"monitor-.*" does not fit "down"
                 @severity=~"P[12]" does not fit: the alert has none
               kept: no
                 alertname="kept" does not fit "down"
               dropped: no
                 alertname="dropped" does not fit "down"
               checks: no
                 @kind="check" does not fit "mapped"
  (were it firing: a resolve finds its alert by its labels, and no rule is asked)
  verdict      opens or joins an incident, by team
               severity     SEV3  (default)
               dedup key    "down"  (default)
               title        "down"  (default)
               description  "{alertname=\"down\", env=\"prod\"}"  (default)
               runbook      none  (default)
               team         "web"  (by team)
               policy       web  (by team web)
               opens        at once  (default)
               clear after  5m  (by team)
               reopens in   1d  (default)
"#
    );
    for (name, verdict) in [
        (
            "kept",
            "  verdict      recorded by kept: kept, and opens nothing\n",
        ),
        (
            "dropped",
            "  verdict      dropped by dropped: counted only\n",
        ),
        (
            "x",
            "  verdict      unrouted: no rule matches; kept, and opens nothing\n",
        ),
    ] {
        let header = format!("x-name:{name}");
        let own = [
            "--source",
            "own",
            "--header",
            &header,
            "--query",
            "state=down",
        ];
        let output = explains(&home, &own, "{}");
        assert_eq!(from(&stdout(&output), "  verdict"), verdict);
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_check_that_could_not_run_is_explained_as_its_own_alert() {
    let home = home();
    let body = r#"{"source":"job","checks":[{"check_id":"rows","status":"error"},{"check_id":"rows","status":"skip"},{"check_id":""}],"version":1}"#;
    let output = explains(&home, &["--source", "check"], body);
    let text = stdout(&output);
    assert!(
        text.contains("  labels       {alertname=\"rows\", check=\"error\", tool=\"job\"}\n"),
        "{text}"
    );
    assert!(text.contains("               severity     SEV3, of the matrix by impact=\"rows\", urgency=\"now\"  (by checks)\n"), "{text}");
    assert!(text.contains("               warning: the dedup key of rule \\\"checks\\\" renders empty; the fingerprint is taken\n"), "{text}");
    assert!(
        text.contains("  (were it firing: a skipped check changes nothing)\n"),
        "{text}"
    );
    assert!(text.ends_with("\nrejected at $.checks[2].check_id: a check id is wanted, found \"\"\n  {\"check_id\":\"\"}\n"), "{text}");
}

#[test]
fn what_is_asked_beside_alerts_is_told_too() {
    let home = home();
    let file = payload("aws-sns-cloudwatch/subscription_confirmation.json");
    let output = home.run(&["rules", "explain", &file, "--source", "aws"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        from(&stdout(&output), "\nasks"),
        "\nasks for a confirmation at $.SubscribeURL: \"https://sns.eu-west-2.amazonaws.com/?Action=ConfirmSubscription\
         &TopicArn=arn:aws:sns:eu-west-2:123456789012:watchkeeper&Token=2336412f37f…\"\n"
    );
    let output = explains(
        &home,
        &["--source", "aws"],
        r#"{"Type":"UnsubscribeConfirmation","TopicArn":"t"}"#,
    );
    assert_eq!(
        from(&stdout(&output), "\nnote"),
        "\nnote: SNS says that the subscription to t was ended\n"
    );
    let ack = "{\"event_action\":\"acknowledge\",\"dedup_key\":\"k\"}";
    let output = explains(&home, &["--source", "pagerduty"], ack);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        from(&stdout(&output), "\nack"),
        "\nacknowledged by its sender: {alertname=\"k\", tool=\"pagerduty\"}\n"
    );
}

#[test]
fn the_exit_code_says_whether_anything_could_be_read() {
    let home = home();
    let unusable = explains(&home, &["--source", "alertmanager"], "{");
    assert_eq!(unusable.status.code(), Some(1));
    assert_eq!(
        stdout(&unusable),
        "standard input as alertmanager posts it (kind alertmanager): 0 alerts, 0 rejected\n\n\
         nothing of it can be read: $: not JSON: EOF while parsing an object at line 1 column 1\n"
    );
    let rejected = explains(&home, &["--source", "dd"], r#"{"alert_transition":"Odd"}"#);
    assert_eq!(rejected.status.code(), Some(1));
    let nothing = explains(&home, &["--source", "dd"], r#"{"alert_transition":"Null"}"#);
    assert_eq!(nothing.status.code(), Some(0));
    let wrong = |arguments: &[&str]| {
        let output = explains(&home, arguments, "{}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(
        wrong(&["--source", "ddd"]),
        "error: unknown source \"ddd\", did you mean \"dd\"?\n"
    );
    assert_eq!(
        wrong(&["--source", "dd", "--header", "x"]),
        "error: a header such as \"Name: value\" is wanted, found \"x\"\n"
    );
    assert_eq!(
        wrong(&["--source", "dd", "--query", "=x"]),
        "error: a parameter such as name=value is wanted, found \"=x\"\n"
    );
    let lost = home.run(&["rules", "explain", "/nowhere/at/all", "--source", "dd"]);
    assert_eq!(lost.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&lost.stderr),
        "error: /nowhere/at/all cannot be read: no such file\n"
    );
    let long = explains(&home, &["--source", "dd"], &" ".repeat((8 << 20) + 1));
    assert_eq!(long.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&long.stderr),
        "error: - is larger than 8388608 bytes, which is server.max_body\n"
    );
}

#[test]
fn the_same_is_printed_as_data() {
    let home = home();
    let output = explains(
        &home,
        &[
            "--source",
            "own",
            "--header",
            "x-name: a",
            "--query",
            "state=down",
            "--output",
            "json",
        ],
        r#"{"env":"prod"}"#,
    );
    let said: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        said["alerts"][0]["labels"],
        json!({ "alertname": "a", "env": "prod" })
    );
    assert_eq!(said["alerts"][0]["status"], "firing");
    assert_eq!(
        said["alerts"][0]["rules"][0],
        json!({ "rule": "team", "outcome": "continues", "matchers": [{ "matcher": "env=\"prod\"", "found": "prod", "matches": true }] })
    );
    assert_eq!(
        said["alerts"][0]["verdict"],
        json!({
            "action": "open", "rule": "team", "severity": "SEV3", "dedup_key": "a", "title": "a",
            "description": "{alertname=\"a\", env=\"prod\"}", "runbook": null, "team": "web", "policy": "web",
            "open": "at once", "resolve_after": "5m", "reopen_within": "1d",
            "set_by": { "team": "team", "resolve_after": "team", "policy": "team web" },
        })
    );
    for (key, expected) in [
        ("source", json!("own")),
        ("kind", json!("mapped")),
        ("mapping", json!("own")),
        ("rejected", json!([])),
        ("unusable", Value::Null),
    ] {
        assert_eq!(said[key], expected, "{key}");
    }
    let unusable = explains(&home, &["--source", "check", "--output", "json"], "");
    let said: Value = serde_json::from_str(&stdout(&unusable)).expect("JSON");
    assert_eq!(
        said["unusable"],
        json!({ "path": "$", "reason": "the body is empty" })
    );
    assert_eq!(unusable.status.code(), Some(1));
}

#[test]
fn what_a_sender_wrote_does_not_steer_the_terminal() {
    let home = home();
    let own = [
        "--source",
        "own",
        "--header",
        "x-name: a",
        "--query",
        "state=down",
    ];
    let output = explains(&home, &own, "{\"env\":\"\\u001b[2J\\u0000\"}");
    let text = stdout(&output);
    assert!(text.contains(r#"env="\u{1b}[2J\0""#), "{text}");
    assert!(!text.contains('\u{1b}'));
}

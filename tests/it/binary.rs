//! The real executable: its command line, its life from the first line of its log to its end, and what damage leaves.

use crate::daemon::{Daemon, Home, Receiver, answer, damage, eventually, firing, program, rule};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Output;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn alone_it_prints_help_and_its_version_when_asked() {
    let alone = program().output().unwrap();
    let help = program().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    let shown = format!("{}{}", stdout(&alone), stderr(&alone));
    assert_eq!(shown, stdout(&help));
    for command in ["serve", "check", "incident", "oncall", "store", "--config"] {
        assert!(shown.contains(command), "{command} in {shown}");
    }
    let version = program().arg("--version").output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    let wanted = format!("watchkeeper {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&version), wanted);
}

#[test]
fn check_answers_by_its_exit_code_and_names_the_place() {
    let home = Home::paging("http://127.0.0.1:9/hook");
    let good = home.run(&["check"]);
    assert_eq!(
        (stdout(&good).as_str(), good.status.code()),
        ("0 errors, 0 warnings\n", Some(0))
    );

    home.write("rules/broken.toml", "[[rule]]\nname = \"a\"\nmach = []\n");
    let broken = home.run(&["check"]);
    assert_eq!(broken.status.code(), Some(1));
    let place = home.config().join("rules/broken.toml");
    let wanted = format!("{}:3:1: error: ", place.display());
    assert!(stdout(&broken).contains(&wanted), "{}", stdout(&broken));
    assert!(
        stdout(&broken).contains("mach = []\n"),
        "{}",
        stdout(&broken)
    );
    assert!(stdout(&broken).contains('^'), "{}", stdout(&broken));

    let listed = home.run(&["check", "--output", "json"]);
    assert_eq!(listed.status.code(), Some(1));
    let listed: Value = serde_json::from_str(&stdout(&listed)).unwrap();
    let findings = listed["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|found| found["line"] == 3 && found["level"] == "error"),
        "{listed}"
    );

    let nowhere = program()
        .args(["check", "--config", "/nowhere/at/all"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert_eq!(
        stderr(&nowhere),
        "error: there is no directory /nowhere/at/all\n"
    );
    let wrong = home.run(&["check", "--colour"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn serve_refuses_files_with_errors_and_prints_them() {
    let home = Home::new();
    home.write("rules/broken.toml", "[[rule]]\nname = \"a\"\nmach = []\n");
    let served = home.run(&["serve"]);
    assert_eq!(served.status.code(), Some(2));
    assert!(
        stderr(&served).contains("rules/broken.toml:3:1: error: "),
        "{}",
        stderr(&served)
    );
}

#[tokio::test]
async fn a_request_that_was_taken_is_answered_when_it_is_asked_to_end() {
    let home = Home::new();
    let mut daemon = home.serve().await;
    let address = daemon.url.trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let body = firing("Late").to_string();
    let head = format!(
        "POST /hooks/alertmanager HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = [0_u8; 4096];
    let n = connection.read(&mut buffer).await.unwrap();
    // It reads the body now: the request has been taken.
    assert_eq!(&buffer[..n], b"HTTP/1.1 100 Continue\r\n\r\n");

    daemon.signal("TERM");
    daemon.says("asked to end: taking no more requests").await;
    eventually("it takes no new connection", async || {
        TcpStream::connect(&address).await.err()
    })
    .await;
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\"opened\":[1]"), "{text}");
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());

    let daemon = home.serve().await;
    let (_, incidents) = daemon.get("/api/v1/incidents").await;
    assert_eq!(incidents["incidents"][0]["dedup_key"], "Late");
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_it_from_ending() {
    let home = Home::new();
    let mut daemon = home.serve().await;
    let address = daemon.url.trim_start_matches("http://").to_owned();
    let _idle = TcpStream::connect(&address).await.unwrap();
    assert_eq!(daemon.get("/healthz").await.0, 200);
    daemon.signal("INT");
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert!(
        daemon.logged("requests were still open").is_none(),
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn a_second_process_on_the_same_store_is_refused() {
    let home = Home::new();
    let daemon = home.serve().await;
    let second = home.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let store = home.store().display().to_string();
    let wanted = format!(
        "error: cannot open the store at {store}: the store at {store} is in use by another process\n"
    );
    assert!(stderr(&second).ends_with(&wanted), "{}", stderr(&second));
    let restored = home.run(&["store", "verify"]);
    assert_eq!(restored.status.code(), Some(1));
    assert!(
        stderr(&restored).contains("is in use by another process"),
        "{}",
        stderr(&restored)
    );
    assert_eq!(daemon.get("/healthz").await.0, 200);
}

async fn rule_names(daemon: &Daemon) -> Vec<Value> {
    let (_, rules) = daemon.get("/api/v1/rules").await;
    let rules = rules["rules"].as_array().expect("a list of rules").iter();
    rules.map(|rule| rule["name"].clone()).collect()
}

#[tokio::test]
async fn an_edit_is_taken_by_signal_or_request_and_a_broken_one_is_refused_in_sight() {
    let home = Home::new();
    let daemon = home.serve().await;
    assert_eq!(rule_names(&daemon).await, ["all"]);

    home.write("rules/a.toml", &rule("first", "SEV2"));
    daemon.signal("HUP");
    daemon.says("the files were read again and are live").await;
    assert_eq!(rule_names(&daemon).await, ["first", "all"]);
    let (_, answer) = daemon.post("/hooks/alertmanager", &firing("One")).await;
    assert_eq!(answer["opened"], json!([1]));
    let (_, incident) = daemon.get("/api/v1/incidents/1").await;
    assert_eq!(
        (&incident["rule"], &incident["severity"]),
        (&json!("first"), &json!("SEV2"))
    );

    home.write("rules/a.toml", "[[rule]]\nname = \"first\"\nmach = []\n");
    daemon.signal("HUP");
    daemon
        .says("the files have errors; what was live stays live")
        .await;
    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains("watchkeeper_reload_refused 1"),
        "{metrics}"
    );
    assert!(
        // By the signal, and perhaps by itself before that.
        metrics.contains("watchkeeper_reloads_total{result=\"refused\"} "),
        "{metrics}"
    );
    let (status, ready) = daemon.get("/readyz").await;
    assert_eq!(
        (status, &ready["checks"]["rules"]["ok"]),
        (503, &json!(false))
    );
    let refused = &ready["checks"]["rules"]["detail"]["refused"];
    let shown = refused.to_string();
    assert!(shown.contains("rules/a.toml:3:1: error: "), "{shown}");
    let (status, problem) = daemon.post("/api/v1/reload", &json!({})).await;
    assert_eq!(status, 422, "{problem}");
    assert_eq!(
        problem["detail"],
        "the files have errors; what was live stays live"
    );
    assert_eq!(problem["errors"], *refused);
    let (_, answer) = daemon.post("/hooks/alertmanager", &firing("Two")).await;
    assert_eq!(answer["opened"], json!([2]));
    let (_, incident) = daemon.get("/api/v1/incidents/2").await;
    assert_eq!(incident["rule"], "first");

    home.write("rules/a.toml", &rule("mended", "SEV3"));
    let (status, answer) = daemon.post("/api/v1/reload", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(rule_names(&daemon).await, ["mended", "all"]);
    eventually("it is ready again", async || {
        (daemon.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains("watchkeeper_reload_refused 0"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_same_alert_a_thousand_times_over_32_connections_is_one_incident_and_one_page() {
    let receiver = Receiver::start().await;
    let home = Home::paging(&receiver.url);
    let daemon = home.serve().await;
    let mut posting = JoinSet::new();
    for task in 0..32 {
        let (client, url) = (crate::daemon::client(), daemon.url.clone());
        let n = 1000 / 32 + usize::from(task < 1000 % 32);
        posting.spawn(async move {
            for _ in 0..n {
                let asked = client.post(format!("{url}/hooks/alertmanager"));
                let (status, _) = answer(asked.json(&firing("Down")))
                    .await
                    .expect("it answers");
                assert_eq!(status, 200);
            }
            n
        });
    }
    assert_eq!(posting.join_all().await.iter().sum::<usize>(), 1000);
    let incidents = daemon.list("incidents").await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(
        incidents[0]["alerts"],
        json!({ "firing": 1, "resolved": 0, "stale": 0, "received": 1000 })
    );
    assert_eq!(daemon.list("alerts").await[0]["received"], 1000);
    eventually("the page is delivered", async || {
        let (_, pages) = daemon.get("/api/v1/incidents/1/pages").await;
        let pages = pages["pages"].as_array().expect("a list of pages").clone();
        assert_eq!(pages.len(), 1);
        (pages[0]["state"] == "delivered").then_some(())
    })
    .await;
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].text("/kind"), "page");
    assert_eq!(got[0].text("/address"), "ana");
    assert_eq!(
        got[0]
            .headers
            .get("idempotency-key")
            .unwrap()
            .to_str()
            .unwrap(),
        got[0].text("/page_id")
    );
}

/// What an incident is, for comparing two daemons.
async fn all_of(daemon: &Daemon) -> Vec<Value> {
    let mut all = daemon.list("incidents").await;
    for incident in daemon.list("incidents").await {
        for part in ["timeline", "alerts", "pages"] {
            let path = format!("/api/v1/incidents/{}/{part}", incident["number"]);
            all.push(daemon.get(&path).await.1);
        }
    }
    all
}

/// Two incidents, one of them acknowledged, and nothing under way.
async fn with_some_work(home: &Home) -> Daemon {
    let daemon = home.serve().await;
    for name in ["One", "Two"] {
        daemon.post("/hooks/alertmanager", &firing(name)).await;
    }
    eventually("both pages are delivered", async || {
        let mut delivered = 0;
        for number in [1, 2] {
            let (_, pages) = daemon
                .get(&format!("/api/v1/incidents/{number}/pages"))
                .await;
            delivered += usize::from(pages["pages"][0]["state"] == "delivered");
        }
        (delivered == 2).then_some(())
    })
    .await;
    // Not before: a page that nobody wants any more is dropped.
    let by = json!({ "by": "ana" });
    daemon.post("/api/v1/incidents/1/acknowledge", &by).await;
    daemon
}

fn as_client(home: &Home, daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = home.command(arguments);
    command.env("WATCHKEEPER_URL", &daemon.url);
    command.output().expect("the program runs")
}

#[tokio::test]
async fn a_backup_restored_elsewhere_has_the_same_incidents() {
    let home = Home::new();
    let daemon = with_some_work(&home).await;
    let before = all_of(&daemon).await;
    let file = home.path("one.backup").display().to_string();
    let backup = as_client(&home, &daemon, &["store", "backup", &file]);
    assert_eq!(
        stdout(&backup),
        format!("backup written to {file}\n"),
        "{}",
        stderr(&backup)
    );
    assert_eq!(home.run(&["store", "verify", &file]).status.code(), Some(0));

    // Into the place of a store that is there: refused.
    let full = home.run(&["store", "restore", &file]);
    assert_eq!(full.status.code(), Some(1), "{}", stdout(&full));

    let other = Home::new();
    let restored = other.run(&["store", "restore", &file, "--output", "json"]);
    assert_eq!(restored.status.code(), Some(0), "{}", stderr(&restored));
    let told: Value = serde_json::from_str(&stdout(&restored)).unwrap();
    assert!(told["records"].as_u64() > Some(0), "{told}");
    let second = other.serve().await;
    assert_eq!(all_of(&second).await, before);
    let (_, answer) = second.post("/hooks/alertmanager", &firing("Two")).await;
    assert_eq!(answer["joined"], json!([2]));
    let (_, answer) = second.post("/hooks/alertmanager", &firing("Three")).await;
    assert_eq!(answer["opened"], json!([3]));
}

#[tokio::test]
async fn a_state_that_was_damaged_is_built_again_and_nothing_is_lost() {
    let home = Home::new();
    let daemon = with_some_work(&home).await;
    let before = all_of(&daemon).await;
    daemon.stop().await;
    assert!(damage(&home.store().join("state")) > 0);
    let daemon = home.serve().await;
    let said = "the state was built again from snapshot and journal";
    assert!(daemon.logged(said).is_some(), "{}", daemon.log());
    assert_eq!(all_of(&daemon).await, before);
    let (_, ready) = daemon.get("/readyz").await;
    assert!(
        ready["checks"]["store"]["detail"]["rebuilt"].is_string(),
        "{ready}"
    );
    daemon.stop().await;
    let daemon = home.serve().await;
    assert!(daemon.logged(said).is_none(), "{}", daemon.log());
    assert_eq!(all_of(&daemon).await, before);
}

#[tokio::test]
async fn a_journal_that_was_damaged_in_the_middle_is_refused_with_its_place_until_it_is_mended() {
    let home = Home::new();
    let daemon = with_some_work(&home).await;
    let before = all_of(&daemon).await;
    daemon.stop().await;
    let journal = home.store().join("journal");
    let entries = std::fs::read_dir(&journal).expect("there is a journal");
    let segment = entries
        .map(|entry| entry.expect("it can be listed").path())
        .find(|path| path.file_name().is_some_and(|name| name != "reserve"))
        .expect("there is a segment");
    let sound = std::fs::read(&segment).expect("it can be read");
    let mut damaged = sound.clone();
    damaged[25] ^= 1;
    std::fs::write(&segment, &damaged).expect("it can be written");
    // The state alone would do: what the record does not bear out is not served.
    let said = format!(
        "{} at byte 0 is damaged: the checksum does not match, and a whole one follows at byte ",
        segment.display()
    );
    for arguments in [&["serve"][..], &["store", "verify"]] {
        let refused = home.run(arguments);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(stderr(&refused).contains(&said), "{}", stderr(&refused));
    }
    assert_eq!(std::fs::read(&segment).expect("it can be read"), damaged);
    std::fs::write(&segment, &sound).expect("it can be written");
    let daemon = home.serve().await;
    assert_eq!(all_of(&daemon).await, before);
}

#[tokio::test]
async fn dead_letters_are_listed_shown_and_replayed_from_the_command_line() {
    let home = Home::new();
    let wrong = "[sources.prod]\nkind = \"check\"\n";
    let config = std::fs::read_to_string(home.config().join("watchkeeper.toml")).expect("a file");
    home.write("watchkeeper.toml", &format!("{config}{wrong}"));
    let daemon = home.serve().await;
    assert_eq!(
        stdout(&as_client(&home, &daemon, &["dead-letters", "list"])),
        "no dead letters\n"
    );
    for name in ["Down", "Slow"] {
        let (status, _) = daemon.post("/hooks/prod", &firing(name)).await;
        assert_eq!(status, 400);
    }
    let ends_with = |arguments: &[&str], code: i32| {
        let output = as_client(&home, &daemon, arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        format!("{}{}", stdout(&output), stderr(&output))
    };
    let listed = ends_with(&["dead-letters", "list"], 0);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("#2     20"), "{listed}");
    assert!(
        lines[1].ends_with(
            "Z prod (waits for a replay) $.checks: a list of checks is wanted, found nothing"
        ),
        "{listed}"
    );
    assert_eq!(
        ends_with(&["dead-letters", "replay", "1"], 1),
        "error: a list of checks is wanted, found nothing (422 Unprocessable Entity)\n"
    );
    let all = ["dead-letters", "replay", "--source", "prod", "--by", "ana"];
    assert_eq!(
        ends_with(&all, 1),
        "replayed 0, failed 2, left 0\n\
         #1     $.checks: a list of checks is wanted, found nothing\n\
         #2     $.checks: a list of checks is wanted, found nothing\n"
    );
    home.write(
        "watchkeeper.toml",
        &format!("{config}{}", wrong.replace("check", "alertmanager")),
    );
    assert_eq!(daemon.post("/api/v1/reload", &json!({})).await.0, 200);
    assert_eq!(ends_with(&all, 0), "replayed 2, failed 0, left 0\n");
    let shown = ends_with(&["dead-letters", "show", "1"], 0);
    assert!(shown.contains(" prod (replayed by ana at 20"), "{shown}");
    assert!(shown.contains("\"alertname\":\"Down\""), "{shown}");
    assert_eq!(daemon.list("incidents").await.len(), 2);
    let logged = daemon.says("a dead letter was replayed").await;
    assert!(logged.contains("letter.id=1"), "{logged}");
    assert_eq!(
        ends_with(&["dead-letters", "replay"], 2).lines().next(),
        Some("error: the following required arguments were not provided:")
    );
}

#[tokio::test]
async fn incidents_are_worked_on_from_the_command_line() {
    let home = Home::new();
    home.write(
        "oncall.toml",
        "[people.ana]\nname = \"Ana\"\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
         [schedules.primary]\ntimezone = \"UTC\"\n\
         layers = [{ name = \"all\", people = [\"ana\"], rotation = \"weekly\", start = \"2026-01-05T09:00\" }]\n\
         [policies.default]\nsteps = [{ targets = [\"schedule:primary\"], timeout = \"1h\" }]\n",
    );
    let daemon = home.serve().await;
    let json_of = |arguments: &[&str]| {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--output", "json"]);
        let output = as_client(&home, &daemon, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let value: Value = serde_json::from_str(&stdout(&output)).expect("it prints JSON");
        value
    };
    let opened = json_of(&[
        "incident",
        "open",
        "The till is stuck",
        "--severity",
        "SEV2",
        "--by",
        "ana",
    ]);
    assert_eq!(opened["number"], 1);
    assert_eq!(opened["severity"], "SEV2");
    assert_eq!(opened["origin"], "engineering");
    let listed = json_of(&["incident", "list"]);
    assert_eq!(listed["incidents"][0]["title"], "The till is stuck");
    let acknowledged = json_of(&["incident", "ack", "1", "--by", "ana"]);
    assert_eq!(acknowledged["acknowledged_by"], "ana");
    let shown = json_of(&["incident", "show", "1"]);
    assert_eq!(shown["incident"]["acknowledged_by"], "ana");
    assert_eq!(shown["timeline"][0]["event"], "opened");
    let oncall = json_of(&["oncall", "now"]);
    assert_eq!(oncall["oncall"][0]["people"][0]["person"], "ana");

    let text = as_client(&home, &daemon, &["incident", "list"]);
    assert!(
        stdout(&text).starts_with(
            "#1     SEV2  triage              The till is stuck (acknowledged by ana) since "
        ),
        "{}",
        stdout(&text)
    );
    let oncall = as_client(&home, &daemon, &["oncall", "now"]);
    assert_eq!(stdout(&oncall), "primary: ana\n");
    let refused = as_client(&home, &daemon, &["incident", "close", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    let reported = ["incident", "open", "No receipts", "--source", "customer"];
    assert_eq!(json_of(&reported)["origin"], "customer");
    let odd = ["incident", "open", "No receipts", "--source", "alert"];
    let odd = as_client(&home, &daemon, &odd);
    assert_eq!(odd.status.code(), Some(2));
    assert_eq!(stderr(&odd), "error: source is engineering or customer\n");
    assert!(
        stderr(&refused).contains("this is missing: severity_confirmed"),
        "{}",
        stderr(&refused)
    );
    let none = as_client(&home, &daemon, &["incident", "show", "7"]);
    assert_eq!(none.status.code(), Some(2));
    assert_eq!(stderr(&none), "error: there is no incident 7\n");
    let mut nobody = home.command(&["incident", "list"]);
    let nobody = nobody
        .env("WATCHKEEPER_URL", "http://127.0.0.1:9")
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        stderr(&nobody).contains(
            "no daemon answers at http://127.0.0.1:9 (set WATCHKEEPER_URL to where it listens)"
        ),
        "{}",
        stderr(&nobody)
    );
}

#[tokio::test]
async fn silences_are_added_listed_and_expired_from_the_command_line() {
    let home = Home::new();
    let daemon = home.serve().await;
    let ends = |arguments: &[&str], code: i32| {
        let output = as_client(&home, &daemon, arguments);
        let (out, err) = (stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        format!("{out}{err}")
    };
    assert_eq!(ends(&["silence", "list"], 0), "no silences\n");
    let deploy = [
        "silence",
        "add",
        "service=\"checkout\"",
        "alertname=~\"High.*\"",
        "--for",
        "2h",
        "--reason",
        "deploy",
        "--by",
        "ana",
    ];
    let added = ends(&deploy, 0);
    let (id, rest) = added.split_once(' ').expect("an id, then the rest");
    assert!(rest.starts_with("active  20"), "{added}");
    let of = "alertname=~\"High.*\", service=\"checkout\" by ana: deploy";
    let reversed = "service=\"checkout\", alertname=~\"High.*\" by ana: deploy";
    assert!(rest.contains(of) || rest.contains(reversed), "{added}");
    assert!(rest.ends_with("; ends within a day\n"), "{added}");

    let mut report = firing("HighErrorRate");
    report["alerts"][0]["labels"]["service"] = json!("checkout");
    daemon.post("/hooks/alertmanager", &report).await;
    let listed = ends(&["silence", "list", "--state", "active"], 0);
    assert!(listed.contains("; mutes #1"), "{listed}");
    let shown = ends(&["silence", "list", "--output", "json"], 0);
    let shown: Value = serde_json::from_str(&shown).expect("it prints JSON");
    assert_eq!(shown["silences"][0]["id"], id);

    let all = [
        "silence",
        "add",
        "alertname=~\".*\"",
        "--for",
        "1h",
        "--reason",
        "x",
    ];
    let refused = ends(&all, 2);
    assert!(refused.contains("everything"), "{refused}");
    let missing = ends(&["silence", "add", "a=\"b\"", "--for", "1h"], 2);
    assert!(missing.contains("--reason <REASON>"), "{missing}");
    let odd = ["silence", "add", "a=\"b", "--for", "1h", "--reason", "x"];
    let odd = ends(&odd, 2);
    assert!(odd.starts_with("error: "), "{odd}");

    let expired = ends(&["silence", "expire", id, "--by", "ana"], 0);
    assert!(expired.starts_with(&format!("{id} expired ")), "{expired}");
    assert_eq!(
        ends(&["silence", "list", "--state", "active"], 0),
        "no silences\n"
    );
    let unknown = ends(&["silence", "expire", "nobody"], 2);
    assert!(unknown.starts_with("error: "), "{unknown}");
}

#[tokio::test]
async fn every_metric_that_it_shows_is_documented_and_the_engine_counts() {
    let home = Home::new();
    let daemon = with_some_work(&home).await;
    let metrics = daemon.metrics().await;
    let shown: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let documented: BTreeSet<&str> = watchkeeper::telemetry::METRICS
        .iter()
        .map(|(name, _, _)| *name)
        .collect();
    let undocumented: Vec<&&str> = shown.difference(&documented).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    // What only a fault touches.
    let untouched: Vec<&str> = documented.difference(&shown).copied().collect();
    assert_eq!(
        untouched,
        [
            "watchkeeper_connections_refused_total",
            "watchkeeper_engine_errors_total",
            "watchkeeper_pings_total",
            "watchkeeper_rate_limited_total",
            "watchkeeper_reloads_total",
            "watchkeeper_unauthorized_total",
        ]
    );
    assert!(
        metrics.contains("watchkeeper_received_total{source=\"alertmanager\"} 2"),
        "{metrics}"
    );
    assert!(
        metrics.contains("watchkeeper_incidents_opened_total{source=\"alertmanager\"} 2"),
        "{metrics}"
    );
    assert!(
        metrics.contains("watchkeeper_audit_violations 0"),
        "{metrics}"
    );
}

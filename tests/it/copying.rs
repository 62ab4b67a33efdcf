//! A whole store, moved: from directory to database and back, as a copy and as a backup file; nothing is lost and nothing is written over.

use crate::cluster;
use crate::daemon::{Daemon, Home, Receiver, eventually, firing};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

/// Incidents in several states, with pages and a note.
async fn fill(daemon: &Daemon) {
    for name in ["One", "Two", "Three"] {
        let (status, _) = daemon.post("/hooks/alertmanager", &firing(name)).await;
        assert_eq!(status, 200);
    }
    let change = json!({ "service": "checkout", "version": "1.4.2" });
    let (status, _) = daemon.post("/hooks/change", &change).await;
    assert_eq!(status, 200);
    rests(daemon).await;
    let ana = json!({ "by": "ana" });
    let (status, _) = daemon.post("/api/v1/incidents/2/acknowledge", &ana).await;
    assert_eq!(status, 200);
    let note = json!({ "by": "ana", "text": "a \u{fc} and a \u{1f4df}" });
    let (status, _) = daemon.post("/api/v1/incidents/3/notes", &note).await;
    assert_eq!(status, 200);
}

/// All that can be seen of it, but for what goes on with the time.
async fn seen(daemon: &Daemon) -> Vec<Value> {
    let mut seen = daemon.list("incidents").await;
    seen.extend(daemon.list("alerts").await);
    seen.extend(daemon.list("changes").await);
    for number in 1..=3 {
        for part in ["timeline", "pages"] {
            let (_, part) = daemon
                .get(&format!("/api/v1/incidents/{number}/{part}"))
                .await;
            seen.push(part);
        }
    }
    seen
}

/// Waits until no page is under way.
async fn rests(daemon: &Daemon) {
    eventually("all pages have arrived", async || {
        for number in 1..=3 {
            let (_, pages) = daemon
                .get(&format!("/api/v1/incidents/{number}/pages"))
                .await;
            let pages = pages["pages"].as_array().expect("a list").clone();
            if pages.is_empty() || pages.iter().any(|page| page["state"] != "delivered") {
                return None;
            }
        }
        Some(())
    })
    .await;
}

fn done(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn copy(home: &Home, from: &str, to: &str) -> Output {
    home.run(&[
        "store", "copy", "--from", from, "--to", to, "--output", "json",
    ])
}

fn sled(path: &Path) -> String {
    format!("sled:{}", path.display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_copied_there_and_back_is_the_same() {
    let receiver = Receiver::start().await;
    let home = Home::paging(&receiver.url);
    let daemon = home.serve().await;
    fill(&daemon).await;
    let before = seen(&daemon).await;
    let in_use = refused(&copy(
        &home,
        &sled(&home.store()),
        &cluster::fresh_database(),
    ));
    assert!(in_use.contains("is in use by another process"), "{in_use}");
    daemon.stop().await;

    let (database, back) = (cluster::fresh_database(), home.path("back"));
    let there = done(&copy(&home, &sled(&home.store()), &database));
    let again = refused(&copy(&home, &sled(&home.store()), &database));
    assert!(again.contains("is not empty"), "{again}");
    let and_back = done(&copy(&home, &database, &sled(&back)));
    assert_eq!(there, and_back);
    let over = refused(&copy(&home, &database, &sled(&back)));
    assert!(over.contains("is not empty"), "{over}");

    for store in [database.clone(), sled(&back)] {
        let copied = Home::on_database(&receiver.url, "1h", &format!("url = \"{store}\""));
        let verified = done(&copied.run(&["store", "verify", "--output", "json"]));
        assert_eq!(verified["sha256"], there["sha256"]);
        let n_got = receiver.got().len();
        let daemon = copied.serve().await;
        assert_eq!(seen(&daemon).await, before);
        // The key still has its incident, and nobody is paged anew.
        let (_, joined) = daemon.post("/hooks/alertmanager", &firing("One")).await;
        assert_eq!(joined["joined"], json!([1]));
        daemon.stop().await;
        assert_eq!(receiver.got().len(), n_got);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_either_store_is_restored_to_the_other() {
    let receiver = Receiver::start().await;
    let on = |store: &str| Home::on_database(&receiver.url, "1h", &format!("url = \"{store}\""));
    let first = on(&cluster::fresh_database());
    let daemon = first.serve().await;
    fill(&daemon).await;
    let before = seen(&daemon).await;
    let file = first.path("monday.backup");
    let (status, said) = daemon
        .post("/api/v1/backup", &json!({ "path": file }))
        .await;
    assert_eq!(status, 200, "{said}");
    daemon.stop().await;
    let file = file.display().to_string();
    let whole = done(&first.run(&["store", "verify", &file, "--output", "json"]));
    assert_eq!(whole["records"], said["records"]);

    let directory = first.path("restored");
    for store in [cluster::fresh_database(), sled(&directory)] {
        let home = on(&store);
        let restored = done(&home.run(&["store", "restore", &file, "--output", "json"]));
        assert_eq!(restored["records"], said["records"]);
        let twice = refused(&home.run(&["store", "restore", &file]));
        assert!(twice.contains("is not empty"), "{twice}");
        let daemon = home.serve().await;
        assert_eq!(seen(&daemon).await, before);
        daemon.stop().await;
        done(&home.run(&["store", "verify", "--output", "json"]));
    }
}

#[test]
fn what_is_not_there_is_not_copied() {
    let home = Home::new();
    let (nowhere, target) = (sled(&home.path("nowhere")), sled(&home.path("target")));
    let missing = refused(&copy(&home, &nowhere, &target));
    assert!(missing.contains("there is no store at"), "{missing}");
    let missing = refused(&copy(&home, &cluster::fresh_database(), &target));
    assert!(missing.contains("there is no store at"), "{missing}");
    assert!(!home.path("target").exists());
    let wrong = copy(&home, "mysql://host/db", &target);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let secret = "postgres://u:topsecret@127.0.0.1:1/db";
    let away = refused(&copy(&home, secret, &target));
    assert!(away.contains("cannot be reached"), "{away}");
    assert!(!away.contains("topsecret"), "{away}");
}

//! A disk that fills up: intake is refused, pages and people go on, nothing is lost, and it recovers when there is room.
//! Needs root and a loop device; skipped aloud where it has none.

use crate::chance::{Chance, seed};
use crate::daemon::{Daemon, Home, Receiver, answer, eventually, firing};
use crate::disk::Disk;
use crate::load::{Ledger, Load, Refusal};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

const DISK_MEGABYTES: u64 = 700;

/// Below the floor of 256 MiB.
const LITTLE_ROOM: u64 = 200 << 20;

/// What people tell fills the rest of a segment of the journal, which is 32 MiB, before so many tellings.
const TELLINGS: usize = 200;
const FACTORS: usize = 15;
const FACTOR_BYTES: usize = 15 << 10;

/// Ana, and six seconds later Ben.
const ANA_THEN_BEN: &str = "[people.ana]\nnotify = [{ channel = \"hook\", address = \"ana\" }]\n\
    [people.ben]\nnotify = [{ channel = \"hook\", address = \"ben\" }]\n\
    [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"6s\" }, { targets = [\"person:ben\"], timeout = \"1h\" }]\n";

fn home_on(disk: &Disk, receiver: &Receiver) -> Home {
    let home = Home::paging_from(&receiver.url, disk.path().join("data"));
    home.write("oncall.toml", ANA_THEN_BEN);
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_little_room_it_refuses_intake_and_pages_and_takes_it_again_by_itself() {
    let Some(disk) = Disk::new("little room on the disk", DISK_MEGABYTES) else {
        return;
    };
    let receiver = Receiver::start().await;
    let home = home_on(&disk, &receiver);
    let daemon = home.serve().await;
    open(&daemon, "Before").await;
    let filler = all_but(&disk, LITTLE_ROOM);
    assert_refused(&daemon).await;
    assert!(!was_called(&receiver, "ben", "Before"));
    let metrics = daemon.metrics().await;
    assert!(metrics.contains("watchkeeper_store_full 1"), "{metrics}");
    let (status, ready) = daemon.get("/readyz").await;
    assert_eq!(
        (status, &ready["checks"]["store"]["ok"]),
        (503, &json!(false))
    );

    eventually("Ben is called, too", async || {
        was_called(&receiver, "ben", "Before").then_some(())
    })
    .await;
    acknowledge(&daemon).await;
    assert_refused(&daemon).await;

    std::fs::remove_file(filler).expect("it is there");
    eventually("it takes alerts again", async || {
        let (status, _) = daemon.post("/hooks/alertmanager", &firing("After")).await;
        (status == 200).then_some(())
    })
    .await;
    daemon
        .says("the store has room again: intake is taken")
        .await;
    let (status, ready) = daemon.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_room_at_all_pages_go_out_of_the_reserve_and_with_room_it_goes_on_by_itself() {
    let Some(disk) = Disk::new("no room on the disk", DISK_MEGABYTES) else {
        return;
    };
    let seed = seed();
    println!("SEED={seed}");
    let receiver = Receiver::start().await;
    let home = home_on(&disk, &receiver);
    let daemon = home.serve().await;
    let ledger = Arc::new(Ledger::default());
    let mut chance = Chance::new(seed);
    let load = Load::start(&daemon, 0, &ledger, &mut chance, Refusal::Expected);
    eventually("there is load", async || {
        (ledger.n_acknowledged() > 100).then_some(())
    })
    .await;
    let filler = every_byte(&disk);
    daemon.says("intake is refused").await;
    assert_refused(&daemon).await;
    eventually("Ben is called, too", async || {
        was_called(&receiver, "ben", "").then_some(())
    })
    .await;
    acknowledge(&daemon).await;

    daemon.says("the disk has no room for the state").await;
    let mut n_told = 0;
    while daemon
        .logged("the engine writes into its reserve")
        .is_none()
    {
        assert!(n_told < TELLINGS, "the journal still has room");
        n_told += 1;
        tell(&daemon, n_told).await;
    }
    // Still at work.
    n_told += 1;
    tell(&daemon, n_told).await;
    assert_refused(&daemon).await;

    std::fs::remove_file(filler).expect("it is there");
    daemon.says("the state has room again").await;
    daemon.says("intake is taken").await;
    // Thousands of senders are refused; the log says it once.
    let n_lines = daemon.log().lines().count();
    assert!(n_lines < 200, "{n_lines} lines: {}", daemon.log());
    daemon.stop().await;
    load.ended().await;

    let daemon = home.serve().await;
    ledger.check(&daemon).await;
    let (_, incident) = daemon.get("/api/v1/incidents/1").await;
    let factors = &incident["analysis"]["contributing_factors"];
    assert_eq!(factors, &json!(factors_of(n_told)), "what was told last");
    open(&daemon, "After").await;
    daemon.stop().await;
}

/// Opens an incident by an alert of this name.
async fn open(daemon: &Daemon, name: &str) {
    let (status, answer) = daemon.post("/hooks/alertmanager", &firing(name)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["opened"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
}

async fn assert_refused(daemon: &Daemon) {
    let asked = daemon
        .client()
        .post(format!("{}/hooks/alertmanager", daemon.url));
    let answer = asked.json(&firing("Refused")).send().await;
    let answer = answer.expect("it answers");
    let later = answer.headers().get("retry-after").cloned();
    assert_eq!(later.expect("it says when to try again"), "5");
    assert_eq!(answer.status(), 503);
}

async fn acknowledge(daemon: &Daemon) {
    let by = json!({ "by": "ana" });
    let (status, answer) = daemon.post("/api/v1/incidents/1/acknowledge", &by).await;
    assert_eq!(
        (status, &answer["acknowledged_by"]),
        (200, &json!("ana")),
        "{answer}"
    );
}

/// The analysis of an incident may be long.
async fn tell(daemon: &Daemon, number: usize) {
    let asked = daemon
        .client()
        .put(format!("{}/api/v1/incidents/1/analysis", daemon.url));
    let body = json!({ "by": "ana", "contributing_factors": factors_of(number) });
    let (status, answer) = answer(asked.json(&body)).await.expect("it answers");
    assert_eq!(status, 200, "{answer}\n{}", daemon.log());
}

fn factors_of(number: usize) -> Vec<String> {
    let text = "x".repeat(FACTOR_BYTES);
    (0..FACTORS)
        .map(|n| format!("{number} {n} {text}"))
        .collect()
}

/// Whether this address got a page for an incident whose key begins so.
fn was_called(receiver: &Receiver, address: &str, key: &str) -> bool {
    receiver.got().iter().any(|got| {
        got.text("/address") == address && got.text("/incident/dedup_key").starts_with(key)
    })
}

fn free_bytes(disk: &Disk) -> u64 {
    let found = rustix::fs::statvfs(disk.path()).expect("it is mounted");
    found.f_bavail * found.f_frsize
}

/// Leaves so much room. Removing the file gives the rest back.
fn all_but(disk: &Disk, bytes: u64) -> PathBuf {
    let path = disk.path().join("filler");
    let file = File::create(&path).expect("it can be made");
    let taken = free_bytes(disk) - bytes;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, taken)
        .expect("there is room");
    path
}

/// Leaves no room.
fn every_byte(disk: &Disk) -> PathBuf {
    let path = all_but(disk, 1 << 20);
    let mut file = File::options()
        .append(true)
        .open(&path)
        .expect("it is there");
    let zeros = vec![0; 1 << 20];
    let mut piece = zeros.as_slice();
    while !piece.is_empty() {
        if file.write_all(piece).is_err() || file.sync_data().is_err() {
            piece = piece.split_at(piece.len() / 2).0;
        }
    }
    path
}

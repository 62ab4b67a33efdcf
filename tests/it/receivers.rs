//! Receivers of pages that hang, refuse, fail or ask for patience: each delays only itself, and each attempt is told.

use crate::daemon::{Daemon, Home, Receiver, Reply, closed_url, eventually, firing, within};
use serde_json::Value;
use std::time::Duration;

/// Well below the time that an attempt may take: whoever waits for one that hangs is later than that.
const SOON: Duration = Duration::from_secs(5);

/// Longer than a first attempt is waited for where nobody asks for patience.
const PATIENCE: Duration = Duration::from_secs(8);

/// One person for each channel, all paged by the first step.
fn home(channels: &[(&str, &str)]) -> Home {
    let of_channel = |(name, url): &(&str, &str)| {
        format!("[channels.{name}]\nkind = \"webhook\"\nurl = \"{url}\"\n")
    };
    let of_person = |(name, _): &(&str, &str)| {
        format!(
            "[people.{name}]\nname = \"{name}\"\nnotify = [{{ channel = \"{name}\", address = \"{name}\" }}]\n"
        )
    };
    let targets: Vec<String> = channels
        .iter()
        .map(|(name, _)| format!("\"person:{name}\""))
        .collect();
    let policy = format!(
        "[policies.default]\nsteps = [{{ targets = [{}], timeout = \"1h\" }}]\n",
        targets.join(", ")
    );
    let channels_text: String = channels.iter().map(of_channel).collect();
    let people: String = channels.iter().map(of_person).collect();
    Home::with(&channels_text, &format!("{people}{policy}"))
}

/// Lines of the timeline about attempts at a person.
async fn attempts(daemon: &Daemon, person: &str) -> Vec<String> {
    let (_, timeline) = daemon.get("/api/v1/incidents/1/timeline").await;
    let entries = timeline.get("timeline").and_then(Value::as_array);
    let entries = entries.expect("there is a timeline").iter();
    entries
        .filter(|entry| entry.get("event") == Some(&Value::from("attempted")))
        .filter_map(|entry| entry.get("text")?.as_str())
        .filter(|text| text.contains(&format!("({person}")) || text.contains(&format!(" {person}")))
        .map(str::to_owned)
        .collect()
}

/// Waits for so many attempts at a person.
async fn attempts_at_least(daemon: &Daemon, person: &str, n: usize) -> Vec<String> {
    eventually(&format!("{n} attempts at {person}"), async || {
        let found = attempts(daemon, person).await;
        (found.len() >= n).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_that_fail_delay_nobody_else_and_each_attempt_is_in_the_timeline() {
    let hanging = Receiver::answering(|_page| Reply::Hang).await;
    let failing = Receiver::answering(|_page| Reply::Status(500)).await;
    let gone = Receiver::answering(|_page| Reply::Status(404)).await;
    let busy = Receiver::answering(|page| match page.get("attempt").and_then(Value::as_u64) {
        Some(1) => Reply::Later(429, PATIENCE.as_secs()),
        _ => Reply::Status(200),
    })
    .await;
    let fine = Receiver::start().await;
    let closed = closed_url();
    let home = home(&[
        ("hanging", &hanging.url),
        ("closed", &closed),
        ("failing", &failing.url),
        ("gone", &gone.url),
        ("busy", &busy.url),
        ("fine", &fine.url),
    ]);
    let daemon = home.serve().await;
    daemon.post("/hooks/alertmanager", &firing("Down")).await;
    within(SOON, "the page by the other channel arrives", async || {
        fine.got().first().cloned()
    })
    .await;
    assert_eq!(attempts_at_least(&daemon, "fine", 1).await.len(), 1);
    let failed = attempts_at_least(&daemon, "failing", 1).await;
    assert!(failed[0].contains("500"), "{failed:?}");
    let refused = attempts_at_least(&daemon, "closed", 1).await;
    assert!(refused[0].to_lowercase().contains("refused"), "{refused:?}");
    let rejected = attempts_at_least(&daemon, "gone", 1).await;
    assert!(rejected[0].contains("404"), "{rejected:?}");

    let patient = attempts_at_least(&daemon, "busy", 2).await;
    assert!(patient[0].contains("429"), "{patient:?}");
    assert!(patient[1].contains("delivered"), "{patient:?}");
    let got = busy.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].text("/page_id"), got[1].text("/page_id"));
    let waited = got[1].after.saturating_sub(got[0].after);
    assert!(waited >= PATIENCE, "{waited:?}");

    // The first attempt at the one that hangs ends by itself.
    let hung = attempts_at_least(&daemon, "hanging", 1).await;
    assert!(hung[0].contains("attempt 1"), "{hung:?}");
    let again = attempts_at_least(&daemon, "failing", 2).await;
    assert!(again[1].contains("attempt 2"), "{again:?}");
    let (_, pages) = daemon.get("/api/v1/incidents/1/pages").await;
    for page in pages["pages"].as_array().unwrap() {
        let wanted = match page["to"].as_str().unwrap() {
            "fine" | "busy" => "delivered",
            "gone" => "failed",
            _ => continue,
        };
        assert_eq!(page["state"], wanted, "{page}");
    }
    assert_eq!(
        gone.got().len(),
        1,
        "what was refused for good is not sent again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_hang_leave_room_for_others_of_the_same_channel() {
    let receiver = Receiver::answering(|page| {
        let title = page.pointer("/incident/title").and_then(Value::as_str);
        if title.is_some_and(|title| title.contains("Hangs")) {
            Reply::Hang
        } else {
            Reply::Status(200)
        }
    })
    .await;
    let home = Home::paging(&receiver.url);
    let daemon = home.serve().await;
    let in_flight = watchkeeper::engine::deliver::IN_FLIGHT_MAX;
    for n in 1..in_flight {
        daemon
            .post("/hooks/alertmanager", &firing(&format!("Hangs{n}")))
            .await;
    }
    within(SOON, "all but one place is taken", async || {
        (receiver.got().len() == in_flight - 1).then_some(())
    })
    .await;
    for n in 1..=5 {
        daemon
            .post("/hooks/alertmanager", &firing(&format!("Fine{n}")))
            .await;
    }
    within(
        SOON,
        "the others arrive by the place that is left",
        async || {
            let got = receiver.got();
            let fine = got
                .iter()
                .filter(|page| page.text("/incident/title").contains("Fine"));
            (fine.count() == 5).then_some(())
        },
    )
    .await;
}

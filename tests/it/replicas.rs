//! Several programs on one database: real processes, a real `PostgreSQL`. Whatever one of them takes the others have; each thing
//! that is due is done once; whoever dies or stands still is taken over from.

use crate::chance::{Chance, rounds, seed};
use crate::cluster::{self, Cluster, Pair};
use crate::daemon::{
    Daemon, Home, Receiver, Reply, answer, eventually, firing, resolved, rule, within,
};
use crate::load::{Ledger, Load, Refusal, check_pages};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Senders over all replicas.
const SENDERS: u64 = 32;

/// How long they post.
const POSTING: Duration = Duration::from_secs(2);

/// What a replica that died was doing is done by another within this.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);

fn store_at(url: &str) -> String {
    format!("url = \"{url}\"")
}

/// A database, people who are paged by a receiver that takes everything.
async fn home(timeout: &str) -> (Home, Receiver) {
    let receiver = Receiver::start().await;
    let store = store_at(&cluster::fresh_schema());
    (Home::on_database(&receiver.url, timeout, &store), receiver)
}

async fn serve(home: &Home, n: usize) -> Vec<Daemon> {
    let mut replicas = Vec::new();
    for _ in 0..n {
        replicas.push(home.serve().await);
    }
    replicas
}

/// An alert that comes after all others.
const LAST: &str = "Last";

/// Ends the load. What its senders no longer hear of is decided before what is posted then.
async fn stop(loads: Vec<Load>, replicas: &[Daemon]) {
    for load in loads {
        load.stop().await;
    }
    for replica in replicas {
        takes_again(replica, LAST).await;
    }
}

/// Lets time pass in which a real program works by itself.
async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_and_three_replicas_open_one_incident_for_each_key_and_page_once() {
    let mut chance = Chance::new(seed());
    for n in [2, 3] {
        let (home, receiver) = home("1h").await;
        let replicas = serve(&home, n).await;
        let ledger = Arc::new(Ledger::default());
        ledger.ignore(&[LAST]);
        let mut loads = Vec::new();
        for (at, replica) in (0..).zip(&replicas) {
            let senders = SENDERS / u64::try_from(n).expect("few");
            loads.push(Load::of(
                senders,
                replica,
                at,
                &ledger,
                &mut chance,
                Refusal::Never,
            ));
        }
        pass(POSTING).await;
        stop(loads, &replicas).await;
        assert!(ledger.n_acknowledged() > 100, "there was load");
        for replica in &replicas {
            ledger.check(replica).await;
        }
        check_pages(&replicas[0], &receiver).await;
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for got in receiver.got() {
            *times.entry(got.text("/page_id")).or_default() += 1;
        }
        assert!(times.values().all(|n| *n == 1), "sent once: {times:?}");
        for replica in replicas {
            replica.stop().await;
        }
        let verified = home.run(&["store", "verify"]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_at_one_is_seen_at_the_other_at_once() {
    let (home, _receiver) = home("1h").await;
    let replicas = serve(&home, 2).await;
    let [one, other] = &replicas[..] else {
        unreachable!("two were started")
    };
    let (status, opened) = one.post("/hooks/alertmanager", &firing("Down")).await;
    assert_eq!((status, &opened["opened"]), (200, &json!([1])));
    let (_, joined) = other.post("/hooks/alertmanager", &firing("Down")).await;
    assert_eq!(joined["joined"], json!([1]));
    for n in 0..20 {
        let (to, at) = if n % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        let note = json!({ "by": "ana", "text": format!("note {n}") });
        let (status, said) = to.post("/api/v1/incidents/1/notes", &note).await;
        assert_eq!(status, 200, "{said}");
        let (_, seen) = at.get("/api/v1/incidents/1/timeline").await;
        assert!(seen.to_string().contains(&format!("note {n}")), "{seen}");
    }
    let (status, _) = one
        .post("/api/v1/incidents/1/acknowledge", &json!({ "by": "ben" }))
        .await;
    assert_eq!(status, 200);
    let (_, seen) = other.get("/api/v1/incidents/1").await;
    assert_eq!(seen["acknowledged_by"], "ben");
    // A command that is repeated at the other, since its answer was lost, is one.
    let ask = |replica: &Daemon| {
        let url = format!("{}/api/v1/incidents", replica.url);
        let body =
            json!({ "title": "slow", "severity": "SEV3", "source": "engineering", "by": "ana" });
        replica
            .client()
            .post(url)
            .header("idempotency-key", "one")
            .json(&body)
    };
    let (first, repeated) = (answer(ask(one)).await, answer(ask(other)).await);
    let number =
        |answer: &Option<(u16, Value)>| answer.as_ref().map(|(_, body)| body["number"].clone());
    assert_eq!(number(&first), Some(json!(2)), "{first:?}");
    assert_eq!(number(&repeated), Some(json!(2)), "{repeated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_slot_of_a_check_runs_once_whatever_replica_sees_the_databases_clock_pass_it() {
    let receiver = Receiver::start().await;
    let url = cluster::fresh_schema();
    // The clock of the database, as replicas ask for it, is set by hand.
    let schema = url.rsplit("%3D").next().expect("it names a schema");
    cluster::sql_at(
        &url,
        &format!(
            "CREATE TABLE ahead (by interval); INSERT INTO ahead VALUES ('0');
             CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
             'SELECT pg_catalog.clock_timestamp() + (SELECT by FROM {schema}.ahead)'"
        ),
    );
    let home = Home::on_database(&receiver.url, "1h", &store_at(&format!("{url},pg_catalog")));
    let slots = "resolve_after = \"1s\"\n\
         verification = { check = \"0 * * * *\", timezone = \"UTC\", for = \"2h\" }\n";
    home.write("rules/all.toml", &(rule("all", "SEV3") + slots));
    let replicas = serve(&home, 2).await;
    let [one, other] = &replicas[..] else {
        unreachable!("two were started")
    };
    one.post("/hooks/alertmanager", &firing("Down")).await;
    other.post("/hooks/alertmanager", &resolved("Down")).await;
    let phase = async |replica: &Daemon| {
        let (_, seen) = replica.get("/api/v1/incidents/1").await;
        seen["phase"].as_str().map(str::to_owned)
    };
    eventually("it is verified", async || {
        (phase(other).await.as_deref() == Some("verification")).then_some(())
    })
    .await;
    for n in 1..=2 {
        cluster::sql_at(&url, &format!("UPDATE ahead SET by = '{n} hours'"));
        for replica in &replicas {
            eventually("an hour later its check has run", async || {
                let jumped = entries(replica, "clock_jumped").await.len() >= n;
                (jumped && entries(replica, "checked").await.len() >= n).then_some(())
            })
            .await;
        }
    }
    for replica in &replicas {
        eventually("after its window it closes by itself", async || {
            (entries(replica, "closed").await.len() == 1).then_some(())
        })
        .await;
    }
    let checked = entries(one, "checked").await;
    let slots = checked
        .iter()
        .filter_map(|text| text.split(": passed").next());
    let slots: BTreeSet<&str> = slots.collect();
    assert_eq!(slots.len(), checked.len(), "each once: {checked:?}");
    assert_eq!(entries(one, "clock_jumped").await.len(), 2);
    let (_, other_says) = other.get("/api/v1/incidents/1/timeline").await;
    assert_eq!(one.get("/api/v1/incidents/1/timeline").await.1, other_says);
}

/// The texts of all entries of this kind in the timeline of the first incident.
async fn entries(replica: &Daemon, event: &str) -> Vec<String> {
    let (_, seen) = replica.get("/api/v1/incidents/1/timeline").await;
    let all = seen["timeline"].as_array().cloned().unwrap_or_default();
    let its = all.iter().filter(|entry| entry["event"] == event);
    its.map(|entry| entry["text"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_say_when_their_rules_differ() {
    let receiver = Receiver::start().await;
    let store = store_at(&cluster::fresh_schema());
    let homes = [(), ()].map(|()| Home::on_database(&receiver.url, "1h", &store));
    let (one, other) = (homes[0].serve().await, homes[1].serve().await);
    let differ = async |replica: &Daemon, wanted: bool| {
        eventually("both are seen", async || {
            let (_, ready) = replica.get("/readyz").await;
            let rules = &ready["checks"]["rules"]["detail"];
            let seen = rules["replicas"].as_array().map_or(0, Vec::len) == 2;
            (seen && rules["replicas_differ"] == json!(wanted)).then_some(())
        })
        .await;
    };
    differ(&one, false).await;
    homes[0].write("rules/all.toml", &rule("all", "SEV2"));
    one.signal("HUP");
    differ(&one, true).await;
    differ(&other, true).await;
    other.says("replicas have different rules").await;
    assert!(
        other
            .metrics()
            .await
            .contains("watchkeeper_replicas_differ 1")
    );
    homes[1].write("rules/all.toml", &rule("all", "SEV2"));
    other.signal("HUP");
    differ(&one, false).await;
    differ(&other, false).await;
    one.stop().await;
    eventually("who leaves is no longer listed", async || {
        let metrics = other.metrics().await;
        metrics.contains("watchkeeper_replicas 1").then_some(())
    })
    .await;
}

/// One replica is killed while pages go out and escalations go on; what it leaves is done by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_an_escalation_a_replica_is_taken_over_from() {
    let (seed, rounds) = (seed(), rounds(4));
    println!("SEED={seed} WATCHKEEPER_ROUNDS={rounds}");
    let mut chance = Chance::new(seed);
    // A page takes its receiver a while, so that some are on their way when the replica dies.
    let receiver = Receiver::answering(|_page| Reply::After(Duration::from_millis(150), 200)).await;
    let store = store_at(&cluster::fresh_schema());
    let home = Home::on_database(&receiver.url, "1s", &store);
    let mut replicas = serve(&home, 2).await;
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let names: Vec<String> = (0..12).map(|n| format!("Round{round}Down{n}")).collect();
        let kills = Duration::from_millis(chance.below(1_500));
        let victim = usize::from(chance.one_in(2));
        let mut numbers = BTreeSet::new();
        let post = async {
            for (n, name) in names.iter().enumerate() {
                let to = &replicas[n % 2];
                let url = format!("{}/hooks/alertmanager", to.url);
                let asked = answer(to.client().post(url).json(&firing(name))).await;
                if let Some((200, told)) = asked {
                    numbers.insert(told["opened"][0].as_u64().expect("a number"));
                }
            }
        };
        tokio::join!(post, pass(kills));
        replicas[victim].kill();
        let began = tokio::time::Instant::now();
        let survivor = &replicas[1 - victim];
        within(TAKEN_OVER_WITHIN, "all are paged", async || {
            let got = receiver.got();
            let reached = |number: &u64, person: &str| {
                got.iter().any(|page| {
                    page.body["incident"]["number"] == json!(number) && page.text("/to") == person
                })
            };
            numbers
                .iter()
                .all(|number| reached(number, "ana") && reached(number, "ben"))
                .then_some(())
        })
        .await;
        // What the one that died was sending is sent again, and ends.
        within(TAKEN_OVER_WITHIN, "all pages end", async || {
            for number in &numbers {
                let asked = format!("/api/v1/incidents/{number}/pages");
                let (_, pages) = survivor.get(&asked).await;
                let pages = pages["pages"].as_array().expect("a list of pages").clone();
                if pages.iter().any(|page| page["state"] != "delivered") {
                    return None;
                }
            }
            Some(())
        })
        .await;
        longest = longest.max(began.elapsed());
        assert!(!numbers.is_empty(), "something was taken");
        for number in &numbers {
            let asked = format!("/api/v1/incidents/{number}/acknowledge");
            let (status, said) = survivor.post(&asked, &json!({ "by": "ana" })).await;
            assert_eq!(status, 200, "{said}");
        }
        replicas[victim] = home.serve().await;
    }
    println!("taken over within {longest:?} at the most");
    let mut ids: BTreeMap<(String, String, String), BTreeSet<String>> = BTreeMap::new();
    for got in receiver.got() {
        let (id, key) = (got.text("/page_id"), got.headers.get("idempotency-key"));
        assert_eq!(key.and_then(|key| key.to_str().ok()), Some(&*id));
        let step = got.body["step"].to_string();
        let number = got.body["incident"]["number"].to_string();
        if got.text("/kind") == "page" && step != "null" {
            ids.entry((number, step, got.text("/to")))
                .or_default()
                .insert(id);
        }
    }
    assert!(
        ids.values().all(|ids| ids.len() == 1),
        "a repeat has the id of the first: {ids:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stood_still_past_its_lease_does_nothing_twice_in_the_store() {
    let first = AtomicBool::new(true);
    let first = Arc::new(first);
    // The first attempt hangs until its sender gives up; every later one arrives.
    let receiver = Receiver::answering(move |_page| match first.swap(false, Ordering::SeqCst) {
        true => Reply::Hang,
        false => Reply::Status(200),
    })
    .await;
    let store = store_at(&cluster::fresh_schema());
    let home = Home::on_database(&receiver.url, "1h", &store);
    let frozen = home.serve().await;
    let (status, _) = frozen.post("/hooks/alertmanager", &firing("Down")).await;
    assert_eq!(status, 200);
    eventually("the first attempt is on its way", async || {
        (!receiver.got().is_empty()).then_some(())
    })
    .await;
    frozen.signal("STOP");
    let other = home.serve().await;
    let page = within(TAKEN_OVER_WITHIN, "the other sends it", async || {
        let (_, pages) = other.get("/api/v1/incidents/1/pages").await;
        let page = pages["pages"][0].clone();
        (page["state"] == "delivered").then_some(page)
    })
    .await;
    other.says("a replica has gone").await;
    frozen.signal("CONT");
    frozen.says("was taken for gone").await;
    // Its own attempt has ended by then, or ends now; that is no outcome any more.
    let taken = frozen.post("/hooks/alertmanager", &firing("Later")).await;
    assert_eq!(taken.0, 200);
    pass(Duration::from_secs(3)).await;
    let (_, pages) = other.get("/api/v1/incidents/1/pages").await;
    assert_eq!(pages["pages"], json!([page]));
    assert_eq!(page["attempts"].as_array().map(Vec::len), Some(1), "{page}");
    let got = receiver.got();
    let ids: Vec<String> = got
        .iter()
        .filter(|got| got.body["incident"]["number"] == json!(1))
        .map(|got| got.text("/page_id"))
        .collect();
    assert_eq!(ids.len(), 2, "sent twice, under one id: {ids:?}");
    assert_eq!(ids[0], ids[1]);
    let (_, timeline) = other.get("/api/v1/incidents/1/timeline").await;
    let attempts = timeline["timeline"].as_array().expect("a list");
    let attempts = attempts
        .iter()
        .filter(|entry| entry["event"] == "attempted");
    assert_eq!(attempts.count(), 1, "{timeline}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_cut_under_load_lose_nothing() {
    let mut chance = Chance::new(seed());
    let receiver = Receiver::start().await;
    let url = format!("{}&application_name=cut", cluster::fresh_schema());
    let home = Home::on_database(&receiver.url, "1h", &store_at(&url));
    let replicas = serve(&home, 2).await;
    let ledger = Arc::new(Ledger::default());
    ledger.ignore(&[LAST]);
    let loads: Vec<Load> = (0..)
        .zip(&replicas)
        .map(|(at, replica)| Load::start(replica, at, &ledger, &mut chance, Refusal::Expected))
        .collect();
    for _ in 0..20 {
        pass(Duration::from_millis(50 + chance.below(100))).await;
        cluster::shared().sql(
            "watchkeeper",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'",
        );
    }
    stop(loads, &replicas).await;
    assert!(ledger.n_acknowledged() > 20, "there was load");
    for replica in &replicas {
        // The last connections are made anew.
        eventually("it answers again", async || {
            let (status, _) = replica.get("/api/v1/incidents").await;
            (status == 200).then_some(())
        })
        .await;
        ledger.check(replica).await;
    }
    check_pages(&replicas[0], &receiver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_slow_or_locked_is_503_in_bounded_memory_and_then_goes_on() {
    let receiver = Receiver::start().await;
    let url = cluster::fresh_schema();
    let store = format!(
        "{}\nconnections = 2\nstatement_timeout = \"1s\"",
        store_at(&url)
    );
    let home = Home::on_database(&receiver.url, "1h", &store);
    let daemon = home.serve().await;
    let (status, _) = daemon.post("/hooks/alertmanager", &firing("Before")).await;
    assert_eq!(status, 200);
    let before = daemon.resident_bytes();
    // Slow: each write of a group takes longer than a statement may.
    cluster::sql_at(
        &url,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_sleep(5); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON wk_group FOR EACH ROW EXECUTE FUNCTION slow();",
    );
    let statuses = flood(&daemon, 300).await;
    assert_eq!(statuses, BTreeSet::from([503]), "while it is slow");
    cluster::sql_at(&url, "DROP TRIGGER slow ON wk_group");
    takes_again(&daemon, "AfterSlow").await;
    // Locked: reads wait, and with them all connections for reads.
    let lock = url.rsplit("%3D").next().expect("a schema").to_owned();
    let held = tokio::task::spawn_blocking(move || {
        let text = format!("BEGIN; LOCK TABLE {lock}.wk_state; SELECT pg_sleep(4); COMMIT;");
        cluster::shared().sql("watchkeeper", &text)
    });
    eventually("reads are refused", async || {
        let (status, _) = daemon.get("/api/v1/incidents").await;
        (status == 503).then_some(())
    })
    .await;
    let asked: Vec<_> = (0..40).map(|_| daemon.get("/api/v1/incidents")).collect();
    let health = daemon.client().get(format!("{}/healthz", daemon.url));
    let health = health.timeout(Duration::from_secs(2));
    assert_eq!(answer(health).await.map(|(status, _)| status), Some(200));
    for asked in asked {
        let (status, _) = asked.await;
        assert!(matches!(status, 200 | 503), "{status}");
    }
    held.await.expect("the lock is given back");
    takes_again(&daemon, "AfterLock").await;
    let after = daemon.resident_bytes();
    assert!(
        after < before + (64 << 20),
        "memory stays bounded: {before} before, {after} after"
    );
    check_pages(&daemon, &receiver).await;
}

/// Posts many at once; what was answered.
async fn flood(daemon: &Daemon, n: usize) -> BTreeSet<u16> {
    let mut posting = tokio::task::JoinSet::new();
    for at in 0..n {
        let url = format!("{}/hooks/alertmanager", daemon.url);
        let post = daemon
            .client()
            .post(url)
            .json(&firing(&format!("Flood{at}")));
        posting.spawn(answer(post));
    }
    let answers = posting.join_all().await;
    answers
        .into_iter()
        .flatten()
        .map(|(status, _)| status)
        .collect()
}

async fn takes_again(daemon: &Daemon, name: &str) {
    eventually("it takes alerts again", async || {
        let (status, _) = daemon.post("/hooks/alertmanager", &firing(name)).await;
        (status == 200).then_some(())
    })
    .await;
    eventually("it is ready again", async || {
        let (status, _) = daemon.get("/readyz").await;
        (status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_restarted_under_load_is_reached_again() {
    let mut chance = Chance::new(seed());
    let receiver = Receiver::start().await;
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&[]));
    let cluster = cluster.await.expect("it starts");
    let home = Home::on_database(&receiver.url, "1h", &store_at(&cluster.url()));
    let replicas = serve(&home, 1).await;
    let ledger = Arc::new(Ledger::default());
    ledger.ignore(&[LAST]);
    let load = Load::start(&replicas[0], 0, &ledger, &mut chance, Refusal::Expected);
    for _ in 0..3 {
        pass(Duration::from_millis(300)).await;
        let before = cluster.pid();
        tokio::task::block_in_place(|| cluster.restart());
        assert_ne!(cluster.pid(), before, "it was restarted");
    }
    pass(Duration::from_millis(300)).await;
    stop(vec![load], &replicas).await;
    assert!(ledger.n_acknowledged() > 10, "there was load");
    ledger.check(&replicas[0]).await;
    check_pages(&replicas[0], &receiver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_primary_dies_under_load_the_standby_has_all_that_was_acknowledged() {
    let mut chance = Chance::new(seed());
    let receiver = Receiver::start().await;
    let pair = tokio::task::spawn_blocking(Pair::start)
        .await
        .expect("the pair starts");
    let store = format!("{}\nconnect_timeout = \"1s\"", store_at(&pair.url()));
    let home = Home::on_database(&receiver.url, "1h", &store);
    let replicas = serve(&home, 2).await;
    let ledger = Arc::new(Ledger::default());
    ledger.ignore(&["Between", "After", LAST]);
    let loads: Vec<Load> = (0..)
        .zip(&replicas)
        .map(|(at, replica)| Load::start(replica, at, &ledger, &mut chance, Refusal::Expected))
        .collect();
    pass(Duration::from_secs(1)).await;
    let before = ledger.n_acknowledged();
    assert!(before > 10, "there was load");
    let killed = Duration::from_millis(300);
    kill(&pair.primary);
    let began = tokio::time::Instant::now();
    // In between nothing is taken, and that is said.
    pass(killed).await;
    let (status, _) = replicas[0]
        .post("/hooks/alertmanager", &firing("Between"))
        .await;
    assert_eq!(status, 503);
    let (status, ready) = replicas[0].get("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        !ready["checks"]["store"]["detail"]["unreachable"].is_null(),
        "{ready}"
    );
    let promoting = tokio::time::Instant::now();
    promote(&pair.standby);
    let without = eventually("it goes on by itself", async || {
        let (status, _) = replicas[0]
            .post("/hooks/alertmanager", &firing("After"))
            .await;
        (status == 200).then(|| (began.elapsed(), promoting.elapsed()))
    })
    .await;
    println!(
        "without service for {:?}, {:?} of that since the promotion began",
        without.0, without.1
    );
    pass(Duration::from_secs(1)).await;
    stop(loads, &replicas).await;
    assert!(ledger.n_acknowledged() > before + 10, "it goes on");
    for replica in &replicas {
        eventually("it answers again", async || {
            let (status, _) = replica.get("/api/v1/incidents").await;
            (status == 200).then_some(())
        })
        .await;
        assert!(replica.logged("went back").is_none(), "{}", replica.log());
        ledger.check(replica).await;
    }
    check_pages(&replicas[1], &receiver).await;
}

fn kill(cluster: &Cluster) {
    tokio::task::block_in_place(|| cluster.kill());
}

fn promote(cluster: &Cluster) {
    tokio::task::block_in_place(|| cluster.promote());
}

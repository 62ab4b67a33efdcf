//! The engine on a database: what is written once whatever breaks on the way, what is refused, how the way there is trusted.

mod large;
mod proxy;

use crate::cluster::{self, Cluster, Pem};
use crate::stores::{postgres_at, settings_of};
use proxy::Proxy;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;
use watchkeeper::store::Error;
use watchkeeper::store::engine::{Class, Engine, Keep, Key, Reads, Stage, job};
use watchkeeper::store::postgres::{Address, PostgresEngine};

/// What `n` was before it was counted up.
fn count(engine: &dyn Engine) -> Result<u64, String> {
    let (tell, told) = mpsc::channel();
    let counted = job(
        |stage: &mut Stage<'_>| {
            let before = number(stage);
            stage.put(Key::from_slice(b"n"), (before + 1).to_string().into_bytes());
            (Keep::Yes, before)
        },
        move |result| drop(tell.send(result)),
    );
    engine
        .submit(Class::Engine, counted)
        .map_err(|error| error.to_string())?;
    let told = told.recv().expect("every job is answered");
    told.map_err(|error| error.to_string())
}

fn number(reads: &dyn Reads) -> u64 {
    let value = reads.get(b"n").expect("a read").unwrap_or_default();
    let text = std::str::from_utf8(&value).expect("a text");
    text.parse().unwrap_or(0)
}

/// A schema of its own, by way of a proxy that can be cut.
fn behind_a_proxy() -> (Proxy, PostgresEngine) {
    let url = cluster::fresh_schema();
    let proxy = Proxy::start(cluster::shared().socket_dir());
    let host = proxy.host();
    let (_, rest) = url.split_once('@').expect("a url has a host");
    let (_, path) = rest.split_once('/').expect("a url has a path");
    let engine = postgres_at(&format!("postgres://watchkeeper@{host}/{path}"));
    (proxy, engine)
}

/// Counts while the way is cut again and again: each count is one, whatever was lost.
fn counts_each_once(cut: fn(&Proxy)) {
    let (proxy, engine) = behind_a_proxy();
    for n in 0..10 {
        if n % 3 == 1 {
            cut(&proxy);
        }
        assert_eq!(count(&engine), Ok(n));
    }
    assert_eq!(proxy.n_cut(), 3);
    assert_eq!(number(engine.view().as_ref()), 10);
    assert_eq!(engine.status().sequence, 10);
}

#[test]
fn a_commit_whose_answer_is_lost_is_known_to_have_been_kept() {
    counts_each_once(Proxy::cut_after_next_commit);
}

#[test]
fn a_group_that_did_not_arrive_is_written_again_under_its_id() {
    counts_each_once(Proxy::cut_before_next_commit);
}

#[test]
fn a_commit_that_is_called_cancelled_and_was_kept_counts_once() {
    counts_each_once(Proxy::say_that_next_commit_is_cancelled_though_it_is_kept);
}

#[test]
fn a_commit_that_was_cancelled_is_written_again() {
    counts_each_once(Proxy::cancel_next_commit);
}

#[test]
fn a_lost_group_is_not_written_over_what_another_replica_wrote_meanwhile() {
    let url = cluster::fresh_schema();
    let other = postgres_at(&url);
    let proxy = Proxy::start(cluster::shared().socket_dir());
    let (_, path) = url.split_once("/watchkeeper?").expect("a url has a path");
    let engine = postgres_at(&format!(
        "postgres://watchkeeper@{}/watchkeeper?{path}",
        proxy.host()
    ));
    assert_eq!(count(&engine), Ok(0));
    proxy.refuse();
    proxy.cut_before_next_commit();
    let answer = std::thread::scope(|scope| {
        let lost = scope.spawn(|| count(&engine));
        proxy.wait_for_cut();
        assert_eq!(count(&other), Ok(1));
        proxy.accept();
        lost.join().expect("it is answered")
    });
    let error = answer.expect_err("what it decided by has changed");
    assert!(error.contains("the database cannot be reached"), "{error}");
    assert_eq!(count(&engine), Ok(2));
    assert_eq!(number(other.view().as_ref()), 3);
}

#[test]
fn replicas_that_count_together_count_each_once() {
    let url = cluster::fresh_schema();
    let engines: Vec<PostgresEngine> = (0..3).map(|_| postgres_at(&url)).collect();
    let mut seen: Vec<u64> = std::thread::scope(|scope| {
        let each = |engine| {
            (0..100)
                .map(|_| count(engine).expect("it is kept"))
                .collect()
        };
        let counting: Vec<_> = engines
            .iter()
            .flat_map(|engine| [engine, engine])
            .map(|engine| scope.spawn(move || -> Vec<u64> { each(engine) }))
            .collect();
        let counted = counting.into_iter().map(|each| each.join());
        counted.flat_map(|seen| seen.expect("it counts")).collect()
    });
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..600));
}

#[test]
fn a_database_that_went_back_is_believed_and_nothing_that_was_remembered() {
    let url = cluster::fresh_schema();
    let engine = postgres_at(&format!("{url}&application_name=goes_back"));
    let (tell, told) = mpsc::channel();
    engine.hear(std::sync::Arc::new(move |hint| {
        // Nobody listens any more once the test is over.
        let _heard = tell.send(hint);
    }));
    for n in 0..3 {
        assert_eq!(count(&engine), Ok(n));
    }
    // As on a standby that was behind when it was promoted.
    cluster::sql_at(
        &url,
        "UPDATE wk_state SET value = '1' WHERE key = 'n'; DELETE FROM wk_group WHERE sequence > 1;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'goes_back'",
    );
    assert_eq!(count(&engine), Ok(1));
    let hints: Vec<_> = told.try_iter().collect();
    assert!(
        hints.contains(&watchkeeper::store::engine::Hint::WentBack),
        "{hints:?}"
    );
}

#[test]
fn replicas_that_start_at_once_make_the_tables_once() {
    let url = cluster::fresh_schema();
    let engines: Vec<PostgresEngine> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..6).map(|_| scope.spawn(|| postgres_at(&url))).collect();
        let started = starting.into_iter().map(|one| one.join());
        started.map(|engine| engine.expect("it starts")).collect()
    });
    for (n, engine) in (0..).zip(&engines) {
        assert_eq!(count(engine), Ok(n));
    }
}

#[test]
fn tables_of_a_later_version_are_refused() {
    let url = cluster::fresh_schema();
    drop(postgres_at(&url));
    cluster::sql_at(&url, "UPDATE wk_schema SET version = 99");
    let refused = PostgresEngine::open(settings_of(&url)).map(drop);
    let error = refused.expect_err("it is not opened");
    assert_eq!(
        error.to_string(),
        "the tables have version 99, this program knows up to 1: run a newer version of the program"
    );
}

#[test]
fn a_database_that_is_not_there_is_said() {
    let nowhere = TempDir::new().expect("a directory");
    let host = nowhere.path().display().to_string().replace('/', "%2F");
    let url = format!("postgres://watchkeeper@{host}/watchkeeper");
    let refused = PostgresEngine::open(settings_of(&url)).map(drop);
    let error = refused.expect_err("it is not opened");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let missing = cluster::shared().url_of("nowhere");
    let refused = PostgresEngine::open(settings_of(&missing)).map(drop);
    let error = refused.expect_err("it is not opened").to_string();
    assert_eq!(
        error,
        "the database cannot be reached: database \"nowhere\" does not exist (3D000)"
    );
}

#[test]
fn an_address_says_what_is_wrong_with_it() {
    let bad = |url: &str, password| {
        let parsed = Address::parse(url, password);
        parsed.expect_err("it is refused").to_string()
    };
    let cases = [
        ("postgres://host/db", None, "it names no user"),
        ("postgres://u@/db", None, "it names no host"),
        (
            "postgres://u@h/db?sslmode=maybe",
            None,
            "sslmode \"maybe\" is not one of disable, prefer, require, verify-full",
        ),
        (
            "postgres://u@h/db?sslmode=disable&sslrootcert=%2Fca.pem",
            None,
            "sslrootcert is given and sslmode does not ask for it, verify-full is wanted",
        ),
        (
            "postgres://u:p@h/db",
            Some("q"),
            "a password stands in the url and beside it, one of them is wanted",
        ),
    ];
    for (url, password, why) in cases {
        assert_eq!(bad(url, password), why, "{url}");
    }
    let shown = |url| Address::parse(url, None).expect("a url").shown().to_owned();
    assert_eq!(
        shown("postgres://u:secret@a,b:7/db?sslmode=require"),
        "a:5432,b:7/db".replace(":5432", "")
    );
    let exposed = |url| Address::parse(url, None).expect("a url").is_exposed();
    assert!(exposed("postgres://u@db.example/db"));
    assert!(!exposed("postgres://u@db.example/db?sslmode=verify-full"));
    assert!(!exposed("postgres://u@localhost,127.0.0.1,[::1]/db"));
}

/// A certificate for `localhost` that signs itself, and its key.
fn certificate(dir: &TempDir, name: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (certificate, key) = (
        dir.path().join(format!("{name}.crt")),
        dir.path().join(format!("{name}.key")),
    );
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}

#[test]
fn a_certificate_is_verified_where_that_is_asked_for() {
    let dir = TempDir::new().expect("a directory");
    let (own, key) = certificate(&dir, "own");
    let (strange, _) = certificate(&dir, "strange");
    let pem = Pem {
        certificate: &own,
        key: &key,
    };
    let cluster = Cluster::start_tcp(&[("fsync", "off")], Some(&pem));
    let by = |host: &str, query: &str| {
        let url = cluster.tcp_url().replace("127.0.0.1", host);
        let opened = PostgresEngine::open(settings_of(&format!("{url}?{query}")));
        opened
            .map(|engine| count(&engine).expect("it works"))
            .map_err(|error| error.to_string())
    };
    let trusting = |path: &std::path::Path| {
        let path = path.display().to_string().replace('/', "%2F");
        format!("sslmode=verify-full&sslrootcert={path}")
    };
    assert_eq!(by("localhost", "sslmode=disable"), Ok(0));
    assert_eq!(by("localhost", "sslmode=prefer"), Ok(1));
    assert_eq!(by("localhost", &trusting(&own)), Ok(2));
    let refused = |answer: Result<u64, String>| {
        let why = answer.expect_err("it is refused");
        assert!(why.contains("certificate"), "{why}");
    };
    refused(by("localhost", &trusting(&strange)));
    refused(by("127.0.0.1", &trusting(&own)));
    refused(by("localhost", "sslmode=require"));
    let ssl = "SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'seen'";
    let url = cluster.tcp_url().replace("127.0.0.1", "localhost");
    let engine = postgres_at(&format!("{url}?application_name=seen&{}", trusting(&own)));
    assert_eq!(cluster.sql("watchkeeper", ssl), "t");
    drop(engine);
}

#[test]
fn a_turn_that_is_held_too_long_is_said_and_then_goes_on() {
    let url = cluster::fresh_schema();
    let mut settings = settings_of(&url);
    settings.statement_timeout = Duration::from_millis(300);
    let engine = PostgresEngine::open(settings).expect("it opens");
    assert_eq!(count(&engine), Ok(0));
    let schema = url.rsplit("%3D").next().expect("a schema").to_owned();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            cluster::shared().sql(
                "watchkeeper",
                &format!("BEGIN; SELECT turn FROM {schema}.wk_turn FOR UPDATE; SELECT pg_sleep(2); COMMIT;"),
            )
        });
        let slow = (0..200).find_map(|_| count(&engine).err());
        let slow = slow.expect("it is said");
        let wanted = "the database is too slow: canceling statement due to";
        assert!(slow.starts_with(wanted), "{slow}");
        held.join().expect("it is given back");
    });
    assert!(count(&engine).is_ok());
}

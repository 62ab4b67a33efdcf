//! The engines of the store: what every one promises, and what the embedded one does when its files are lost or damaged.

use crate::cluster;
use proptest::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering as Memory;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use tempfile::TempDir;
use watchkeeper::domain::time::{Moment, Timestamp};
use watchkeeper::store::Error;
use watchkeeper::store::backup;
use watchkeeper::store::engine::Class;
use watchkeeper::store::engine::Engine;
use watchkeeper::store::engine::Keep;
use watchkeeper::store::engine::Key;
use watchkeeper::store::engine::Order;
use watchkeeper::store::engine::Reads;
use watchkeeper::store::engine::Stage;
use watchkeeper::store::engine::job;
use watchkeeper::store::journal;
use watchkeeper::store::memory::MemoryEngine;
use watchkeeper::store::overlay::Changes;
use watchkeeper::store::overlay::Overlay;
use watchkeeper::store::postgres::{Address, PostgresEngine};
use watchkeeper::store::sled::Settings;
use watchkeeper::store::sled::SledEngine;
use watchkeeper::store::sled::verify_store;

fn epoch() -> Timestamp {
    Timestamp::from_millis(0)
}

fn small() -> Settings {
    let mut settings = Settings::new(epoch);
    settings.journal.segment_bytes = 4 << 10;
    settings.journal.reserve_bytes = 4 << 10;
    settings.cache_bytes = 8 << 20;
    settings.snapshot_bytes = u64::MAX;
    settings.floor_bytes = 0;
    settings
}

fn open_with(dir: &Path, settings: Settings) -> SledEngine {
    SledEngine::open(dir, settings).expect("the store opens")
}

fn open(dir: &Path) -> SledEngine {
    open_with(dir, small())
}

type Decided<T> = Receiver<Result<T, Arc<Error>>>;

fn start<T: Send + 'static>(
    engine: &dyn Engine,
    class: Class,
    decide: impl FnOnce(&mut Stage<'_>) -> (Keep, T) + Send + 'static,
) -> Decided<T> {
    let (tell, told) = mpsc::channel();
    let job = job(decide, move |result| {
        // Who asked may have given up.
        drop(tell.send(result));
    });
    engine.submit(class, job).expect("the job is taken");
    told
}

fn wait<T>(told: &Decided<T>) -> Result<T, String> {
    let result = told.recv().expect("every job is answered");
    result.map_err(|error| error.to_string())
}

fn ask<T: Send + 'static>(
    engine: &dyn Engine,
    decide: impl FnOnce(&mut Stage<'_>) -> (Keep, T) + Send + 'static,
) -> Result<T, String> {
    wait(&start(engine, Class::Intake, decide))
}

fn named(key: &str) -> Key {
    Key::from_slice(key.as_bytes())
}

/// `a=1` puts, `a` removes.
fn change(stage: &mut Stage<'_>, changes: &str) {
    for change in changes.split_whitespace() {
        match change.split_once('=') {
            Some((key, value)) => stage.put(named(key), value.into()),
            None => stage.remove(named(change)),
        }
    }
}

fn write(engine: &dyn Engine, changes: &'static str) {
    let written = ask(engine, move |stage| {
        change(stage, changes);
        (Keep::Yes, ())
    });
    assert_eq!(written, Ok(()));
}

fn show(reads: &dyn Reads, from: &str, to: &str, order: Order) -> String {
    let mut found = Vec::new();
    let each = &mut |key: &[u8], value: &[u8]| {
        let key = String::from_utf8_lossy(key);
        found.push(format!("{key}={}", String::from_utf8_lossy(value)));
        Ok(ControlFlow::Continue(()))
    };
    let scanned = reads.scan(from.as_bytes(), to.as_bytes(), order, each);
    scanned.expect("a scan");
    found.join(" ")
}

fn all(engine: &dyn Engine) -> String {
    show(engine.view().as_ref(), "a", "z", Order::Forward)
}

// What every engine promises.

fn on_every_engine(check: fn(&dyn Engine)) {
    check(&MemoryEngine::new());
    let dir = TempDir::new().expect("a directory");
    check(&open(dir.path()));
    check(&postgres());
}

/// A store in a schema of its own.
fn postgres() -> PostgresEngine {
    let url = cluster::fresh_schema();
    let address = Address::parse(&url, None).expect("it is a url");
    let moment = || Moment::at(epoch());
    let settings = watchkeeper::store::postgres::Settings::new(address, moment);
    PostgresEngine::open(settings).expect("the store opens")
}

#[test]
fn a_job_sees_what_those_before_it_changed_and_answers_come_in_order() {
    on_every_engine(|engine| {
        let (tell, told) = mpsc::channel();
        for n in 0..200_u32 {
            let tell = tell.clone();
            let count = job(
                move |stage| {
                    let before = stage.get(b"n").expect("a read");
                    let before = before.unwrap_or_default().into_owned();
                    stage.put(named("n"), (n + 1).to_string().into());
                    (Keep::Yes, String::from_utf8_lossy(&before).into_owned())
                },
                move |result| drop(tell.send((n, result.expect("it is kept")))),
            );
            engine.submit(Class::Engine, count).expect("it is taken");
        }
        drop(tell);
        let expected = |n: u32| (n, if n == 0 { String::new() } else { n.to_string() });
        assert!(told.iter().eq((0..200).map(expected)));
        assert_eq!(all(engine), "n=200");
    });
}

#[test]
fn a_refusal_drops_only_its_own_changes() {
    on_every_engine(|engine| {
        let kept = start(engine, Class::Intake, |stage| {
            change(stage, "a=1 b=1");
            (Keep::Yes, ())
        });
        let refused = start(engine, Class::Intake, |stage| {
            change(stage, "a=2 b");
            (Keep::No, show(stage, "a", "z", Order::Forward))
        });
        let after = start(engine, Class::Intake, |stage| {
            change(stage, "c=1");
            (Keep::Yes, show(stage, "a", "z", Order::Forward))
        });
        assert_eq!(wait(&kept), Ok(()));
        assert_eq!(wait(&refused), Ok("a=2".to_owned()));
        assert_eq!(wait(&after), Ok("a=1 b=1 c=1".to_owned()));
        assert_eq!(all(engine), "a=1 b=1 c=1");
    });
}

#[test]
fn scans_go_both_ways_over_committed_and_staged_records() {
    on_every_engine(|engine| {
        write(engine, "a=1 c=1 e=1 g=1 i=1");
        let seen = ask(engine, |stage| {
            change(stage, "b=2 c e=2 j=2");
            let found = [
                show(stage, "a", "z", Order::Forward),
                show(stage, "a", "z", Order::Reverse),
                show(stage, "b", "g", Order::Forward),
                show(stage, "b", "g", Order::Reverse),
                show(stage, "g", "b", Order::Forward),
                show(stage, "b", "b", Order::Reverse),
            ];
            (Keep::Yes, found)
        });
        let expected = [
            "a=1 b=2 e=2 g=1 i=1 j=2",
            "j=2 i=1 g=1 e=2 b=2 a=1",
            "b=2 e=2",
            "e=2 b=2",
            "",
            "",
        ];
        assert_eq!(seen, Ok(expected.map(str::to_owned)));
        assert_eq!(all(engine), expected[0]);
    });
}

#[test]
fn a_scan_ends_where_it_is_told_to() {
    on_every_engine(|engine| {
        write(engine, "a=1 c=1 e=1");
        let first = |order, staged: &'static str| {
            let found = ask(engine, move |stage| {
                change(stage, staged);
                let mut found = Vec::new();
                let scanned = stage.scan(b"a", b"z", order, &mut |key, _value| {
                    found.push(String::from_utf8_lossy(key).into_owned());
                    Ok(match found.len() {
                        2 => ControlFlow::Break(()),
                        _ => ControlFlow::Continue(()),
                    })
                });
                scanned.expect("a scan");
                (Keep::No, found.join(" "))
            });
            found.expect("an answer")
        };
        assert_eq!(first(Order::Forward, ""), "a c");
        assert_eq!(first(Order::Forward, "b=1 d=1"), "a b");
        assert_eq!(first(Order::Forward, "a c e x=1 y=1 yy=1"), "x y");
        assert_eq!(first(Order::Reverse, "d=1"), "e d");
    });
}

#[test]
fn an_error_of_the_caller_ends_a_scan() {
    on_every_engine(|engine| {
        write(engine, "a=1 c=1");
        let view = engine.view();
        let scanned = view.scan(b"a", b"z", Order::Forward, &mut |key, _value| {
            Err(Error::record(key, "it is not what was wanted"))
        });
        assert_eq!(
            scanned.expect_err("the error").to_string(),
            "the state at key 61 is damaged: it is not what was wanted"
        );
    });
}

#[test]
fn a_panic_ends_its_own_job_only() {
    on_every_engine(|engine| {
        let panics = start::<()>(engine, Class::Intake, |stage| {
            change(stage, "a=1");
            panic!("this job is wrong")
        });
        let after = start(engine, Class::Intake, |stage| {
            change(stage, "b=1");
            (Keep::Yes, ())
        });
        assert_eq!(
            wait(&panics),
            Err("the job panicked: this job is wrong".to_owned())
        );
        assert_eq!(wait(&after), Ok(()));
        write(engine, "c=1");
        assert_eq!(all(engine), "b=1 c=1");
    });
}

#[test]
fn a_view_shows_one_group_whatever_is_written_meanwhile() {
    on_every_engine(|engine| {
        write(engine, "a=1 b=1");
        let view = engine.view();
        write(engine, "a=2 c=2");
        write(engine, "b");
        assert_eq!(show(view.as_ref(), "a", "z", Order::Forward), "a=1 b=1");
        assert_eq!(view.get(b"c").expect("a read"), None);
        assert_eq!(all(engine), "a=2 c=2");
        drop(view);
        assert_eq!(all(engine), "a=2 c=2");
    });
}

#[test]
fn what_changes_nothing_is_no_group() {
    on_every_engine(|engine| {
        write(engine, "a=1");
        assert_eq!(ask(engine, |_stage| (Keep::Yes, 5)), Ok(5));
        assert_eq!(engine.status().sequence, 1);
    });
}

#[test]
fn a_closed_store_refuses() {
    on_every_engine(|engine| {
        write(engine, "a=1");
        engine.close().expect("it closes");
        engine.close().expect("twice is once");
        let late = job(|_stage| (Keep::Yes, ()), |_result| {});
        let refused = engine.submit(Class::Engine, late).expect_err("closed");
        assert_eq!(refused.to_string(), "the store is closed");
        assert_eq!(all(engine), "a=1");
    });
}

#[test]
fn a_backup_of_any_engine_restores_into_the_embedded_one() {
    on_every_engine(|engine| {
        let dir = TempDir::new().expect("a directory");
        let file = dir.path().join("all.backup");
        write(engine, "a={\"x\":[1,2]} b=7 c=null d=not-json");
        write(engine, "b");
        let made = engine.backup(&file, epoch()).expect("a backup");
        assert_eq!((made.sequence, made.n_records), (2, 3));
        assert_eq!(backup::verify(&file, &mut |_| {}).expect("whole"), made);

        let store = dir.path().join("store");
        backup::restore(&file, &store, &mut |_| {}).expect("restored");
        let restored = open(&store);
        assert_eq!(all(&restored), all(engine));
        assert_eq!(restored.status().sequence, 2);
        write(&restored, "e=1");
        drop(restored);
        let restored = open(&store);
        assert_eq!(all(&restored), format!("{} e=1", all(engine)));
        assert_eq!(restored.status().sequence, 3);

        let again = backup::restore(&file, &store, &mut |_| {});
        assert_eq!(
            again.expect_err("not empty").to_string(),
            format!("{} is not empty", store.display())
        );
    });
}

// Layers.

fn changes() -> impl Strategy<Value = Changes> {
    let key = prop::collection::vec(1_u8..5, 1..3).prop_map(Key::from);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
    prop::collection::btree_map(key, value, 0..8)
}

proptest! {
    #[test]
    fn layers_over_a_state_read_as_all_changes_in_order(
        groups in prop::collection::vec(changes(), 0..12),
        from in prop::collection::vec(1_u8..6, 1..3),
        to in prop::collection::vec(1_u8..6, 1..3),
        frozen in 0_usize..3,
        applied in 0_u64..4,
    ) {
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let below = MemoryEngine::new();
        let mut overlay = Overlay::default();
        for (last, group) in (1..).zip(groups) {
            for (key, value) in &group {
                match value {
                    Some(value) => model.insert(key.to_vec(), value.clone()),
                    None => model.remove(key.as_slice()),
                };
            }
            if last > applied {
                overlay.push(last, group, frozen);
                continue;
            }
            let copied = ask(&below, move |stage| {
                for (key, value) in group {
                    match value {
                        Some(value) => stage.put(key, value),
                        None => stage.remove(key),
                    }
                }
                (Keep::Yes, ())
            });
            prop_assert_eq!(copied, Ok(()));
        }
        overlay.applied(applied);
        let view = below.view();
        let reads = overlay.over(view.as_ref());
        let mut wanted: Vec<_> = model.iter().filter(|(key, _)| **key >= from && **key < to).collect();
        for order in [Order::Forward, Order::Reverse] {
            let mut found = Vec::new();
            reads.scan(&from, &to, order, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            }).expect("a scan");
            prop_assert!(found.iter().map(|(key, value)| (key, value)).eq(wanted.iter().copied()));
            wanted.reverse();
        }
        let read = reads.get(&from).expect("a read");
        prop_assert_eq!(read.as_deref(), model.get(&from).map(Vec::as_slice));
    }
}

// Faults of the memory engine.

#[test]
fn the_memory_engine_fails_and_stops_when_asked() {
    let engine = MemoryEngine::new();
    let put = |key: &'static str| {
        ask(&engine, move |stage| {
            change(stage, key);
            (Keep::Yes, ())
        })
    };
    let failed = Err("cannot write the group: a fault was asked for".to_owned());
    engine.fail_at(2);
    assert_eq!(put("a=1"), Ok(()));
    assert_eq!(put("b=1"), failed);
    assert_eq!(put("c=1"), Ok(()));
    engine.stop_after(1);
    assert_eq!(put("d=1"), failed);
    assert_eq!(all(&engine), "a=1 c=1 d=1");
    let late = job(|_stage| (Keep::Yes, ()), |_result| {});
    let refused = engine.submit(Class::Engine, late).expect_err("stopped");
    assert_eq!(
        refused.to_string(),
        "the store takes no writes until it is restarted: cannot write the group: a fault was asked for"
    );

    let engine = engine.reopen();
    engine.stop_at(1);
    let lost = ask(&engine, |stage| {
        change(stage, "e=1");
        (Keep::Yes, ())
    });
    assert_eq!(lost, failed);
    assert_eq!(all(&engine.reopen()), "a=1 c=1 d=1");
}

// The embedded engine.

/// Holds the writer until the sender is dropped, so that what is submitted meanwhile is one group.
fn hold(engine: &dyn Engine) -> mpsc::Sender<()> {
    let (let_go, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    start(engine, Class::Engine, move |_stage| {
        begun.send(()).expect("the test waits");
        assert!(held.recv().is_err());
        (Keep::Yes, ())
    });
    begins.recv().expect("the job runs");
    let_go
}

#[test]
fn what_waits_is_one_group_and_the_engine_goes_first() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    let held = hold(&engine);
    let append = |class, letter: &'static str| {
        start(&engine, class, move |stage| {
            let text = stage.get(b"t").expect("a read");
            let mut text = text.unwrap_or_default().into_owned();
            text.extend_from_slice(letter.as_bytes());
            stage.put(named("t"), text);
            (Keep::Yes, ())
        })
    };
    let told = [
        append(Class::Intake, "i"),
        append(Class::Engine, "e"),
        append(Class::Intake, "j"),
    ];
    assert_eq!(engine.status().n_waiting, 3);
    drop(held);
    assert!(told.iter().all(|told| wait(told) == Ok(())));
    assert_eq!(all(&engine), "t=eij");
    assert_eq!(engine.status().sequence, 1);
}

#[test]
fn a_full_queue_refuses_intake_and_not_the_engine() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    let held = hold(&engine);
    let idle = || job(|_stage| (Keep::Yes, ()), |_result| {});
    let mut n_taken = 0;
    let refused = loop {
        match engine.submit(Class::Intake, idle()) {
            Ok(()) => n_taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(n_taken, 4_096);
    assert_eq!(refused.to_string(), "the store has too much waiting");
    engine.submit(Class::Engine, idle()).expect("its own queue");
    drop(held);
}

#[test]
fn a_job_that_changes_too_much_is_refused_alone() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    let held = hold(&engine);
    let huge = start(&engine, Class::Engine, |stage| {
        stage.put(named("h"), vec![b'7'; 17 << 20]);
        (Keep::Yes, ())
    });
    let other = start(&engine, Class::Engine, |stage| {
        change(stage, "o=1");
        (Keep::Yes, ())
    });
    drop(held);
    assert_eq!(
        wait(&huge),
        Err("one transaction changes 17825802 bytes, at most 16777216 are taken".to_owned())
    );
    assert_eq!(wait(&other), Ok(()));
    assert_eq!(all(&engine), "o=1");
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// What a machine that stopped now would leave behind.
fn crashed(store: &Path) -> TempDir {
    let copy = TempDir::new().expect("a directory");
    copy_dir(store, copy.path());
    copy
}

fn numbered(engine: &dyn Engine, from: u32, to: u32) {
    let told: Vec<_> = (from..to)
        .map(|n| {
            start(engine, Class::Engine, move |stage| {
                let value = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(100));
                stage.put(named(&format!("k{n:05}")), value.into());
                if n % 3 == 0 {
                    stage.remove(named(&format!("k{:05}", n / 2)));
                }
                (Keep::Yes, ())
            })
        })
        .collect();
    assert!(told.iter().all(|told| wait(told) == Ok(())));
}

#[test]
fn what_was_answered_is_there_after_a_crash_and_after_closing() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    numbered(&engine, 0, 300);
    let expected = all(&engine);
    let copy = crashed(dir.path());
    engine.close().expect("it closes");
    drop(engine);
    for store in [dir.path(), copy.path()] {
        let engine = open(store);
        assert_eq!(all(&engine), expected);
        assert_eq!(engine.status().cut, None);
    }
}

fn told(engine: &SledEngine, dir: &Path) -> String {
    let rebuilt = engine.status().rebuilt.expect("it was rebuilt");
    rebuilt.replace(&dir.display().to_string(), "DIR")
}

#[test]
fn a_lost_state_is_built_again_from_the_journal_and_said() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    numbered(&engine, 0, 50);
    let expected = all(&engine);
    let sequence = engine.status().sequence;
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let engine = open(dir.path());
    assert_eq!(all(&engine), expected);
    assert_eq!(
        told(&engine, dir.path()),
        format!("the state was built again up to group {sequence}: it was missing")
    );
    drop(engine);
    assert_eq!(open(dir.path()).status().rebuilt, None);
}

#[test]
fn a_state_of_garbage_is_put_aside_and_built_again() {
    for damage in ["db", "conf", "all"] {
        let dir = TempDir::new().expect("a directory");
        let engine = open(dir.path());
        numbered(&engine, 0, 200);
        let expected = all(&engine);
        drop(engine);
        let state = dir.path().join("state");
        for entry in std::fs::read_dir(&state).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if path.is_file() && (damage == "all" || name == damage) {
                let size = path.metadata().expect("a size").len();
                let garbage = vec![0xA5; usize::try_from(size).expect("small")];
                std::fs::write(&path, garbage).expect("overwritten");
            }
        }
        let engine = open(dir.path());
        assert_eq!(all(&engine), expected, "{damage}");
        let said = told(&engine, dir.path());
        assert!(
            said.ends_with("; what was there is in DIR/state.damaged-1"),
            "{damage}: {said}"
        );
        assert!(dir.path().join("state.damaged-1").is_dir());
        write(&engine, "y=1");
        drop(engine);
        assert_eq!(all(&open(dir.path())), format!("{expected} y=1"));
    }
}

#[test]
fn a_state_ahead_of_the_journal_is_built_again() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    write(&engine, "a=1");
    let copy = crashed(dir.path());
    write(&engine, "a=2");
    engine.close().expect("it closes");
    drop(engine);
    let segments = journal::segments(&copy.path().join("journal")).expect("a list");
    let name = segments[0].path.file_name().expect("a name");
    std::fs::copy(&segments[0].path, dir.path().join("journal").join(name)).expect("put back");
    let engine = open(dir.path());
    assert_eq!(
        told(&engine, dir.path()),
        "the state was built again up to group 1: it holds group 2, though the journal ends with 1; what was there is in DIR/state.damaged-1"
    );
    assert_eq!(all(&engine), "a=1");
}

#[test]
fn a_lost_journal_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    write(&engine, "a=1");
    engine.close().expect("it closes");
    drop(engine);
    let journal = dir.path().join("journal");
    std::fs::remove_dir_all(&journal).expect("removed");
    let refused = SledEngine::open(dir.path(), small()).expect_err("the record is gone");
    assert_eq!(
        refused.to_string(),
        format!(
            "{} is damaged: it has no segments, though the state holds group 1",
            journal.display()
        )
    );
}

#[test]
fn a_damaged_journal_is_refused_and_a_torn_end_is_said() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    write(&engine, "a=1");
    write(&engine, "b=1");
    let copy = crashed(dir.path());
    drop(engine);
    let segments = journal::segments(&dir.path().join("journal")).expect("a list");
    let mut bytes = std::fs::read(&segments[0].path).expect("a segment");
    bytes[25] ^= 1;
    std::fs::write(&segments[0].path, &bytes).expect("damaged");
    let refused = SledEngine::open(dir.path(), small()).expect_err("damage");
    assert_eq!(
        refused.to_string(),
        format!(
            "{} at byte 0 is damaged: the checksum does not match, and a whole one follows at byte 35",
            segments[0].path.display()
        )
    );

    // As when the machine stops while a third group is written.
    let segments = journal::segments(&copy.path().join("journal")).expect("a list");
    let mut bytes = std::fs::read(&segments[0].path).expect("a segment");
    bytes[70..73].copy_from_slice(&[0, 0, 9]);
    std::fs::write(&segments[0].path, &bytes).expect("torn");
    let engine = open(copy.path());
    assert_eq!(
        engine.status().cut,
        Some(format!(
            "group 3 was not wholly written: cut off {} at byte 70",
            segments[0].path.display()
        ))
    );
    assert_eq!(all(&engine), "a=1 b=1");
}

fn with_snapshots() -> Settings {
    let mut settings = small();
    settings.snapshot_bytes = 1;
    settings
}

#[test]
fn a_snapshot_lets_covered_segments_go_and_the_state_is_built_from_both() {
    let dir = TempDir::new().expect("a directory");
    let engine = open_with(dir.path(), with_snapshots());
    for part in 0..10 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    assert!(engine.status().n_segments > 1);
    engine.checkpoint().expect("a checkpoint");
    let status = engine.status();
    assert_eq!(status.n_segments, 1);
    for part in 10..20 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    let expected = all(&engine);
    let sequence = engine.status().sequence;
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let engine = open(dir.path());
    assert_eq!(all(&engine), expected);
    assert_eq!(engine.status().sequence, sequence);
    engine.close().expect("it closes");
    drop(engine);

    let verified = verify_store(dir.path(), &small(), &mut |_| {}).expect("whole");
    assert_eq!(verified.sequence, sequence);
    assert_eq!(verified.snapshot, status.snapshot);
    assert_eq!(
        verified.n_records,
        u64::try_from(expected.split(' ').count()).expect("few")
    );
}

fn first_segment(dir: &Path) -> u64 {
    let segments = journal::segments(&dir.join("journal")).expect("a list");
    segments.first().expect("there is one").first
}

#[test]
fn segments_stay_until_state_and_snapshot_both_cover_them() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    for part in 0..5 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    engine.checkpoint().expect("a checkpoint");
    assert_eq!(first_segment(dir.path()), 1);
    drop(engine);

    let engine = open_with(dir.path(), with_snapshots());
    // What somebody looks at holds nothing up.
    let view = engine.view();
    let seen = all(&engine);
    for part in 5..20 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    engine.checkpoint().expect("a checkpoint");
    let status = engine.status();
    assert_eq!(status.checkpointed, status.sequence);
    assert_eq!(status.snapshot, Some(status.sequence));
    let first = first_segment(dir.path());
    assert!(1 < first && first <= status.sequence, "{first}");
    assert_eq!(show(view.as_ref(), "a", "z", Order::Forward), seen);
    drop(view);
    let expected = all(&engine);
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(all(&engine), expected);
    assert_eq!(engine.status().rebuilt, None);

    // With no snapshot due, checkpoints alone let nothing go.
    for part in 20..25 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    drop(engine);
    let engine = open(dir.path());
    engine.checkpoint().expect("a checkpoint");
    let later = engine.status();
    assert_eq!(later.checkpointed, later.sequence);
    let covered = later.snapshot.expect("the one from before");
    assert!(first_segment(dir.path()) <= covered + 1);
    assert!(later.n_segments > 1);
}

#[test]
fn without_the_snapshot_that_covers_it_a_lost_state_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let engine = open_with(dir.path(), with_snapshots());
    for part in 0..10 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    engine.checkpoint().expect("a checkpoint");
    let sequence = engine.status().sequence;
    numbered(&engine, 200, 201);
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    std::fs::remove_dir_all(dir.path().join("snapshots")).expect("removed");
    let first = first_segment(dir.path());
    let n_left = sequence + 1 - (first - 1);
    for _ in 0..2 {
        let refused = SledEngine::open(dir.path(), small()).expect_err("nothing to begin with");
        assert_eq!(
            refused.to_string(),
            format!(
                "{} is damaged: it has {n_left} of the groups 1 to {}",
                dir.path().join("journal").display(),
                sequence + 1
            )
        );
    }
}

#[test]
fn a_store_that_differs_from_its_journal_does_not_verify() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    write(&engine, "a=1 b=1 c=1");
    engine.close().expect("it closes");
    drop(engine);
    assert!(verify_store(dir.path(), &small(), &mut |_| {}).is_ok());

    // The state of another store with as many groups.
    let other = TempDir::new().expect("a directory");
    let engine = open(other.path());
    write(&engine, "a=1 b=2 c=1");
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    copy_dir(&other.path().join("state"), &dir.path().join("state"));
    let differs = verify_store(dir.path(), &small(), &mut |_| {}).expect_err("b differs");
    assert_eq!(
        differs.to_string(),
        "the state at key 62 is damaged: the state and the journal say different things"
    );
}

/// Every group becomes a run of its own, so that merges come often.
fn with_many_runs() -> Settings {
    let mut settings = with_snapshots();
    settings.apply_bytes = 1;
    settings.checkpoint_bytes = 2 << 10;
    // Some of the keys that these tests have.
    settings.remembered = &[1, 3];
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn whatever_is_merged_and_opened_again_the_state_is_that_of_all_groups(
        groups in prop::collection::vec(changes(), 1..40),
        reopened in prop::collection::vec(0_usize..60, 0..3),
        from in prop::collection::vec(1_u8..6, 1..3),
        to in prop::collection::vec(1_u8..6, 1..3),
    ) {
        let dir = TempDir::new().expect("a directory");
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut engine = open_with(dir.path(), with_many_runs());
        for (n, group) in groups.into_iter().enumerate() {
            // A refused job before it leaves nothing behind, and both see what was there.
            for keep in [Keep::No, Keep::Yes] {
                let copied = group.clone();
                let kept = ask(&engine, move |stage| {
                    let read = |key: &Key| stage.get(key).expect("a read").map(Cow::into_owned);
                    let before: Vec<_> = copied.keys().map(read).collect();
                    for (key, value) in copied {
                        match value {
                            Some(value) => stage.put(key, value),
                            None => stage.remove(key),
                        }
                    }
                    (keep, before)
                });
                let before = group.keys().map(|key| model.get(key.as_slice()).cloned()).collect();
                prop_assert_eq!(kept, Ok(before));
            }
            for (key, value) in group {
                match value {
                    Some(value) => model.insert(key.to_vec(), value),
                    None => model.remove(key.as_slice()),
                };
            }
            if n % 3 == 0 {
                engine.checkpoint().expect("a checkpoint");
            }
            if reopened.contains(&n) {
                drop(engine);
                engine = open_with(dir.path(), with_many_runs());
                prop_assert_eq!(engine.status().rebuilt, None);
            }
        }
        let view = engine.view();
        let mut wanted: Vec<_> = model.iter().filter(|(key, _)| **key >= from && **key < to).collect();
        for order in [Order::Forward, Order::Reverse] {
            let mut found = Vec::new();
            view.scan(&from, &to, order, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            }).expect("a scan");
            prop_assert!(found.iter().map(|(key, value)| (key, value)).eq(wanted.iter().copied()));
            wanted.reverse();
        }
        for key in model.keys().chain([&from, &to]) {
            let read = view.get(key).expect("a read");
            prop_assert_eq!(read.as_deref(), model.get(key).map(Vec::as_slice));
        }
        drop(view);
        drop(engine);
        let n_records = u64::try_from(model.len()).expect("few");
        let verified = verify_store(dir.path(), &small(), &mut |_| {}).expect("whole");
        prop_assert_eq!(verified.n_records, n_records);
    }
}

fn runs_in(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut runs: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "run"))
        .collect();
    runs.sort();
    runs
}

#[test]
fn a_read_that_finds_damage_ends_the_store_and_the_next_start_builds_the_state_again() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    numbered(&engine, 0, 500);
    let expected = all(&engine);
    let sequence = engine.status().sequence;
    engine.checkpoint().expect("a checkpoint");
    let runs = runs_in(&dir.path().join("state/runs"));
    let mut bytes = std::fs::read(&runs[0]).expect("a run");
    bytes[100] ^= 1;
    std::fs::write(&runs[0], bytes).expect("damaged");

    let damage = engine
        .view()
        .get(b"k00001")
        .expect_err("the block is damaged");
    let place = runs[0].display();
    let said = format!("{place} at byte 8 is damaged: the checksum does not match");
    assert_eq!(damage.to_string(), said);
    assert_eq!(engine.status().poisoned, Some(said.clone()));
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(all(&engine), expected);
    assert_eq!(
        engine.status().rebuilt,
        Some(format!(
            "the state was built again up to group {sequence}: {said}; what was there is in {}",
            dir.path().join("state.damaged-1").display()
        ))
    );
    drop(engine);
    assert_eq!(open(dir.path()).status().rebuilt, None);
}

#[test]
fn a_state_that_an_earlier_version_wrote_is_built_again() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    write(&engine, "a=1");
    drop(engine);
    let state = dir.path().join("state");
    std::fs::remove_dir_all(&state).expect("removed");
    let config = sled::Config::new().path(&state).segment_size(2 << 20);
    let db = config.open().expect("sled");
    db.insert(b"\0applied", &1_u64.to_be_bytes())
        .expect("as it was");
    db.flush().expect("flushed");
    drop(db);
    let engine = open(dir.path());
    assert_eq!(all(&engine), "a=1");
    assert_eq!(
        told(&engine, dir.path()),
        "the state was built again up to group 1: another version wrote it; what was there is in DIR/state.damaged-1"
    );
}

#[test]
fn a_snapshot_is_a_copy_that_does_not_share_the_damage_of_the_state() {
    let dir = TempDir::new().expect("a directory");
    let engine = open_with(dir.path(), with_snapshots());
    for part in 0..10 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    engine.checkpoint().expect("a checkpoint");
    for part in 10..20 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    engine.checkpoint().expect("a checkpoint");
    let expected = all(&engine);
    let snapshot = engine.status().snapshot.expect("there is one");
    drop(engine);
    for run in runs_in(&dir.path().join("state/runs")) {
        let size = run.metadata().expect("a size").len();
        let garbage = vec![0xA5; usize::try_from(size).expect("small")];
        std::fs::write(&run, garbage).expect("overwritten");
    }
    let engine = open(dir.path());
    assert_eq!(all(&engine), expected);
    assert!(told(&engine, dir.path()).contains("it does not end as a run does"));
    drop(engine);

    // Where the snapshot is damaged, too, that is found before anything is built on it.
    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let runs = runs_in(&dir.path().join(format!("snapshots/{snapshot:020}.runs")));
    let mut bytes = std::fs::read(&runs[0]).expect("a run");
    bytes[20] ^= 1;
    std::fs::write(&runs[0], bytes).expect("damaged");
    let refused = SledEngine::open(dir.path(), small()).expect_err("nothing to begin with");
    assert!(
        refused.to_string().contains("of the groups 1 to"),
        "{refused}"
    );
}

#[test]
fn state_and_snapshots_of_the_run_version_before_are_read() {
    let dir = TempDir::new().expect("a directory");
    let engine = open_with(dir.path(), with_snapshots());
    for part in 0..10 {
        numbered(&engine, part * 20, part * 20 + 20);
    }
    engine.checkpoint().expect("a checkpoint");
    let expected = all(&engine);
    let snapshot = engine.status().snapshot.expect("there is one");
    drop(engine);
    let snapshots = dir.path().join(format!("snapshots/{snapshot:020}.runs"));
    for within in [dir.path().join("state/runs"), snapshots] {
        for run in runs_in(&within) {
            // The version is the last byte; that blocks may lie uncompressed is all that is new in the second.
            let mut bytes = std::fs::read(&run).expect("a run");
            *bytes.last_mut().expect("its version") = 1;
            std::fs::remove_file(&run).expect("a link less");
            std::fs::write(&run, bytes).expect("an older one");
        }
    }
    let engine = open_with(dir.path(), with_snapshots());
    assert_eq!(all(&engine), expected);
    assert_eq!(engine.status().rebuilt, None);
    drop(engine);

    std::fs::remove_dir_all(dir.path().join("state")).expect("removed");
    let engine = open_with(dir.path(), with_snapshots());
    assert_eq!(all(&engine), expected, "from the snapshot");
}

#[test]
fn the_keeper_makes_checkpoints_by_itself() {
    let dir = TempDir::new().expect("a directory");
    let mut settings = with_snapshots();
    settings.checkpoint_bytes = 4 << 10;
    settings.overlay_bytes = 8 << 10;
    let engine = open_with(dir.path(), settings);
    let mut n_rounds = 0;
    while engine.status().snapshot.is_none() {
        numbered(&engine, n_rounds * 20, n_rounds * 20 + 20);
        n_rounds += 1;
        assert!(n_rounds < 1_000, "no checkpoint was made");
    }
    let expected = all(&engine);
    drop(engine);
    assert_eq!(all(&open(dir.path())), expected);
}

#[test]
fn a_backup_taken_while_groups_go_on_is_of_one_group() {
    let dir = TempDir::new().expect("a directory");
    let engine = Arc::new(open(dir.path()));
    numbered(engine.as_ref(), 0, 3_000);
    let file = dir.path().join("online.backup");
    let writing = {
        let engine = Arc::clone(&engine);
        std::thread::spawn(move || {
            for part in 150..200 {
                numbered(engine.as_ref(), part * 20, part * 20 + 20);
            }
        })
    };
    let info = engine.backup(&file, epoch()).expect("a backup");
    writing.join().expect("all is written");
    let end = engine.status().sequence;
    assert!(info.sequence <= end);

    let mut wanted = BTreeMap::new();
    journal::replay(
        &dir.path().join("journal"),
        1,
        info.sequence,
        &mut |_, payload| {
            let group = watchkeeper::store::group::decode(payload).expect("a group");
            wanted.extend(group);
            Ok(())
        },
    )
    .expect("the journal");
    wanted.retain(|_key, value| value.is_some());
    let mut found = BTreeMap::new();
    backup::read(&file, &mut |_| {}, &mut |key, value| {
        found.insert(Key::from_slice(key), value.map(<[u8]>::to_vec));
        Ok(())
    })
    .expect("whole");
    found.retain(|_key, value| value.is_some());
    assert!(found == wanted);
}

#[test]
fn a_backup_with_a_changed_byte_or_a_lost_line_is_not_whole() {
    let dir = TempDir::new().expect("a directory");
    let engine = MemoryEngine::new();
    write(&engine, "a=1 b=22 c=3");
    let file = dir.path().join("b");
    engine.backup(&file, epoch()).expect("a backup");
    let text = std::fs::read_to_string(&file).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            r#"{"watchkeeper":"backup","schema":2,"sequence":1,"made_at":"1970-01-01T00:00:00.000Z"}"#,
            r#"{"key":"61","value":1}"#,
            r#"{"key":"62","value":22}"#,
            r#"{"key":"63","value":3}"#,
        ]
    );
    let said = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let refused = backup::verify(&file, &mut |_| {}).expect_err("damage");
        refused
            .to_string()
            .replace(&file.display().to_string(), "FILE")
    };
    let cases = [
        (
            text.replace(":22}", ":23}"),
            "FILE at line 5 is damaged: the checksum does not match",
        ),
        (
            text.replace("{\"key\":\"62\",\"value\":22}\n", ""),
            "FILE at line 4 is damaged: it should hold 3 records and holds 2",
        ),
        (
            lines[..4].join("\n"),
            "FILE at line 4 is damaged: the line is cut short",
        ),
        (
            lines[..4].join("\n") + "\n",
            "FILE at line 4 is damaged: it ends before its last line",
        ),
        (
            text.replace("\"schema\":2", "\"schema\":3"),
            "FILE has schema 3, this program knows up to 2",
        ),
        (
            text.clone() + "{}\n",
            "FILE at line 6 is damaged: something follows its last line",
        ),
        (String::new(), "FILE at line 0 is damaged: it is empty"),
    ];
    for (text, expected) in cases {
        assert_eq!(said(&text), expected);
    }
}

#[test]
fn a_second_process_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    let refused = SledEngine::open(dir.path(), small()).expect_err("locked");
    assert_eq!(
        refused.to_string(),
        format!(
            "the store at {} is in use by another process",
            dir.path().display()
        )
    );
    drop(engine);
    open(dir.path()).close().expect("it closes");
}

#[test]
fn a_full_disk_refuses_intake_not_the_engine_and_recovers() {
    let dir = TempDir::new().expect("a directory");
    let settings = small();
    let faults = Arc::clone(&settings.faults);
    let engine = open_with(dir.path(), settings);
    let put = |class, key: &'static str| {
        let put = start(&engine, class, move |stage| {
            stage.put(named(key), vec![b'1'; 3_000]);
            (Keep::Yes, ())
        });
        wait(&put)
    };
    let full = Err("the disk of the store is full".to_owned());
    assert_eq!(put(Class::Intake, "a"), Ok(()));
    faults.room_bytes.store(0, Memory::Relaxed);
    assert_eq!(put(Class::Intake, "b"), full);
    assert_eq!(put(Class::Engine, "p"), Ok(()));
    assert_eq!(put(Class::Intake, "c"), full);
    assert!(engine.status().full);
    assert_eq!(engine.status().reserve_bytes, 0);
    assert_eq!(ask(&engine, |_stage| (Keep::Yes, 1)), Ok(1));

    faults.room_bytes.store(1 << 20, Memory::Relaxed);
    assert_eq!(put(Class::Intake, "d"), Ok(()));
    assert!(!engine.status().full);
    assert_eq!(engine.status().reserve_bytes, 4 << 10);
    drop(engine);
    let engine = open(dir.path());
    let view = engine.view();
    let there = |key: &&str| view.get(key.as_bytes()).expect("a read").is_some();
    let kept: Vec<&str> = ["a", "b", "c", "d", "p"]
        .into_iter()
        .filter(there)
        .collect();
    assert_eq!(kept, ["a", "d", "p"]);
}

#[test]
fn below_its_floor_a_disk_takes_no_intake() {
    let dir = TempDir::new().expect("a directory");
    let mut settings = small();
    settings.floor_bytes = u64::MAX;
    let engine = open_with(dir.path(), settings);
    let refused = ask(&engine, |stage| {
        change(stage, "a=1");
        (Keep::Yes, ())
    });
    assert_eq!(refused, Err("the disk of the store is full".to_owned()));
    let paged = start(&engine, Class::Engine, |stage| {
        change(stage, "p=1");
        (Keep::Yes, ())
    });
    assert_eq!(wait(&paged), Ok(()));
}

#[test]
fn a_failed_sync_poisons_the_store() {
    let dir = TempDir::new().expect("a directory");
    let settings = small();
    let faults = Arc::clone(&settings.faults);
    let engine = open_with(dir.path(), settings);
    write(&engine, "a=1");
    faults.sync_fails.store(true, Memory::Relaxed);
    let segment = dir.path().join("journal/00000000000000000001.journal");
    let failed = ask(&engine, |stage| {
        change(stage, "b=1");
        (Keep::Yes, ())
    });
    assert_eq!(failed, Err(format!("cannot sync {}", segment.display())));
    let late = job(|_stage| (Keep::Yes, ()), |_result| {});
    let refused = engine.submit(Class::Engine, late).expect_err("poisoned");
    let why = format!("cannot sync {}", segment.display());
    assert_eq!(
        refused.to_string(),
        format!("the store takes no writes until it is restarted: {why}")
    );
    assert_eq!(engine.status().poisoned, Some(why));
    assert_eq!(all(&engine), "a=1");
    assert!(engine.close().is_err());
    drop(engine);
    // What failed may be there or not; what was answered is.
    assert!(all(&open(dir.path())).starts_with("a=1"));
}

#[test]
fn a_build_that_was_cut_short_is_begun_again() {
    let dir = TempDir::new().expect("a directory");
    let engine = open(dir.path());
    write(&engine, "a=1 b=1");
    drop(engine);
    let mut marker = File::create(dir.path().join("building")).expect("a marker");
    marker.write_all(b"it was missing").expect("written");
    let engine = open(dir.path());
    assert_eq!(all(&engine), "a=1 b=1");
    assert_eq!(
        told(&engine, dir.path()),
        "the state was built again up to group 1: it was being built when the program stopped"
    );
    assert!(!dir.path().join("state.damaged-1").exists());
}

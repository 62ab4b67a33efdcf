//! Groups of which new records go ahead before the rest is decided: what is kept is what was decided last, or nothing.

use super::behind_a_proxy;
use super::proxy::Proxy;
use crate::cluster;
use crate::stores::postgres_at;
use std::sync::mpsc;
use watchkeeper::store::engine::{Class, Engine, Job, Keep, Key, Reads, Stage, job};
use watchkeeper::store::postgres::PostgresEngine;

/// More than a group takes along in its last statement.
const N_RECORDS: u32 = 400;

fn record(n: u32) -> Key {
    Key::from_slice(format!("a{n:04}").as_bytes())
}

fn value(of: &str) -> Vec<u8> {
    of.repeat(300).into_bytes()
}

type Told = mpsc::Receiver<Result<(), String>>;

fn asked(decide: impl FnOnce(&mut Stage<'_>) + Send + 'static) -> (Job, Told) {
    let (tell, told) = mpsc::channel();
    let asked = job(
        move |stage: &mut Stage<'_>| {
            decide(stage);
            (Keep::Yes, ())
        },
        move |result| drop(tell.send(result.map_err(|error| error.to_string()))),
    );
    (asked, told)
}

/// One group: adds many records, then changes and removes some of them, reads what is not known, and adds one more.
fn write(engine: &dyn Engine) -> [Result<(), String>; 2] {
    let (begin, begun) = mpsc::channel();
    let (adds, added) = asked(move |stage| {
        (0..N_RECORDS).for_each(|n| stage.put(record(n), value("1")));
        // The other one waits by now, and goes along.
        begun.recv().expect("it is let on");
    });
    let (changes, changed) = asked(|stage| {
        stage.put(record(5), value("2"));
        stage.remove(record(6));
        stage.put(record(6), value("3"));
        stage.remove(record(7));
        let unknown = stage.get(b"b").expect("a read");
        assert_eq!(unknown, None);
        stage.put(record(N_RECORDS), value("4"));
    });
    let adds = adds.foreseeing((0..N_RECORDS).map(record).collect());
    let changes = changes.foreseeing(vec![record(5), record(N_RECORDS)]);
    engine.submit(Class::Engine, adds).expect("it is taken");
    engine.submit(Class::Engine, changes).expect("it is taken");
    begin.send(()).expect("it waits");
    [added, changed].map(|told| told.recv().expect("every job is answered"))
}

fn assert_written(engine: &PostgresEngine) {
    let view = engine.view();
    for n in 0..=N_RECORDS {
        let wanted = match n {
            5 => Some(value("2")),
            6 => Some(value("3")),
            7 => None,
            N_RECORDS => Some(value("4")),
            _ => Some(value("1")),
        };
        let found = view.get(&record(n)).expect("a read");
        assert_eq!(found.as_deref(), wanted.as_deref(), "{n}");
    }
}

#[test]
fn what_went_ahead_and_changed_again_is_kept_as_it_was_decided_last() {
    let engine = postgres_at(&cluster::fresh_schema());
    assert_eq!(write(&engine), [Ok(()), Ok(())]);
    assert_written(&engine);
    assert_eq!(engine.status().sequence, 1);
}

#[test]
fn a_large_group_whose_answer_is_lost_is_kept_once() {
    let cuts: [fn(&Proxy); 2] = [Proxy::cut_after_next_commit, Proxy::cut_before_next_commit];
    for cut in cuts {
        let (proxy, engine) = behind_a_proxy();
        cut(&proxy);
        assert_eq!(write(&engine), [Ok(()), Ok(())]);
        assert_eq!(proxy.n_cut(), 1);
        assert_written(&engine);
        assert_eq!(engine.status().sequence, 1);
    }
}

#[test]
fn a_record_that_went_ahead_as_new_and_was_there_is_written_over_it() {
    let url = cluster::fresh_schema();
    let engine = postgres_at(&url);
    assert_eq!(write(&engine), [Ok(()), Ok(())]);
    // Of the kind that no later group puts again, and known to be new without a look.
    let entry = Key::from_slice(b"J0001");
    let (puts, put) = asked({
        let entry = entry.clone();
        move |stage| stage.put(entry, value("1"))
    });
    engine.submit(Class::Engine, puts).expect("it is taken");
    assert_eq!(put.recv(), Ok(Ok(())));
    let (puts, put) = asked({
        let entry = entry.clone();
        move |stage| {
            stage.put(entry, value("2"));
            (0..N_RECORDS)
                .for_each(|n| stage.put(Key::from_slice(format!("J1{n}").as_bytes()), value("2")));
        }
    });
    engine.submit(Class::Engine, puts).expect("it is taken");
    assert_eq!(put.recv(), Ok(Ok(())));
    let found = engine
        .view()
        .get(&entry)
        .expect("a read")
        .map(std::borrow::Cow::into_owned);
    assert_eq!(found, Some(value("2")));
    assert_eq!(engine.status().sequence, 3);
}

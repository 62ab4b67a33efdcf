//! Stories of one page on its way: retries, giving up, being dropped, and a program that stops in between.

use crate::world::{Receiver, START, World, contacts};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use watchkeeper::domain::page::Outcome;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::store::delivery::{LEASE, claim, record_outcome};
use watchkeeper::store::engine::Class;
use watchkeeper::store::records::PageState;

const TWO: &[(&str, u64)] = &[("ann", 10), ("bob", 10)];

/// How a page stands, and the outcomes of its attempts.
fn page(world: &World, serial: u32) -> (PageState, Vec<&'static str>) {
    let read = world.simulation.store();
    let page = read
        .read(|reader| reader.page(1, serial))
        .expect("the memory store reads")
        .expect("there is such a page");
    let outcomes = page.attempts.iter();
    let outcomes = outcomes.map(|attempt| attempt.outcome.as_str()).collect();
    (page.state, outcomes)
}

/// What the timeline says of a page, without the times of retries, which are spread.
fn attempts(world: &World, serial: u32) -> Vec<String> {
    let of = format!("page {serial} to ");
    let lines = world.timeline(1, &of);
    let after_time = |line: &String| line.split_once(' ').map(|(_, text)| text.to_owned());
    lines.iter().filter_map(after_time).collect()
}

#[test]
fn a_page_that_does_not_arrive_is_tried_five_times_within_five_minutes_and_then_given_up() {
    let mut world = World::new(START, TWO);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.advance_seconds(301);
    let attempt = |n, end: &str| format!("page 1 to ann by ops-hook, attempt {n}: {end}");
    assert_eq!(
        attempts(&world, 1),
        [
            attempt(1, "retry: 503"),
            attempt(2, "retry: 503"),
            attempt(3, "retry: 503"),
            attempt(4, "retry: 503"),
            attempt(5, "failed: 503; given up after 5 attempts"),
        ]
    );
    assert_eq!(page(&world, 1).0, PageState::Failed);
    assert_eq!(world.delivered().len(), 1, "then bob, at once");
    let ids = world.page_ids();
    assert!(ids[..5].iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_ne!(ids[5], ids[0]);
}

#[test]
fn each_retry_waits_longer_than_the_one_before() {
    let mut world = World::new(START, TWO);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.advance_seconds(301);
    let sent = world.simulation.sent();
    let at: Vec<Timestamp> = sent[..5].iter().map(|sent| sent.at).collect();
    let waits: Vec<Duration> = at.windows(2).map(|two| two[1].since(two[0])).collect();
    assert!(waits.is_sorted(), "{waits:?}");
    assert!(waits[0] >= Duration::from_secs(1), "{waits:?}");
}

#[test]
fn a_receiver_that_says_when_is_asked_then() {
    let mut world = World::new(START, TWO);
    let mut answers = vec![
        Outcome::Delivered {
            detail: "200".to_owned(),
        },
        Outcome::Retry {
            after: Some(Duration::from_secs(90)),
            why: "429".to_owned(),
        },
    ];
    world
        .simulation
        .answer_pages(move |_message, _now| answers.pop().expect("two attempts"));
    world.fires("Down");
    world.advance_seconds(89);
    assert_eq!(world.pages(), ["09:00 ann: retry"]);
    // The wait may be spread, but is not shorter than what was asked for.
    world.advance_seconds(60);
    assert_eq!(world.pages().len(), 2);
    assert_eq!(
        page(&world, 1),
        (PageState::Delivered, vec!["retry", "delivered"])
    );
}

#[test]
fn a_receiver_that_recovers_gets_the_page() {
    let mut world = World::new(START, TWO);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.advance_seconds(1);
    world.receivers(&[]);
    world.advance(9);
    assert_eq!(
        page(&world, 1),
        (PageState::Delivered, vec!["retry", "delivered"])
    );
    assert_eq!(world.pages().len(), 2);
}

#[test]
fn a_page_that_is_given_up_moves_to_the_persons_next_contact() {
    let mut world = World::new(START, &[("ann", 60)]);
    world.edits(|book| {
        let ann = book.people.get_mut("ann").expect("she is there");
        ann.notify = contacts(&[("ann", 0), ("ann-phone", 30)]);
    });
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.advance(6);
    let delivered = world.delivered();
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    assert!(delivered[0].ends_with("ann by ann-phone"), "{delivered:?}");
    assert_eq!(page(&world, 1).0, PageState::Failed);
}

#[test]
fn a_page_that_waits_for_its_retry_is_dropped_by_the_acknowledgement() {
    let mut world = World::new(START, TWO);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.acknowledges(1, "bob");
    world.receivers(&[]);
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ann: retry"]);
    assert_eq!(page(&world, 1), (PageState::Dropped, vec!["retry"]));
    assert_eq!(
        world.timeline(1, "not sent"),
        ["09:00 pages not sent any more: 1 (acknowledged by bob)"]
    );
}

#[test]
fn later_contacts_are_dropped_by_the_acknowledgement_and_when_it_is_clear() {
    for is_clear in [false, true] {
        let mut world = World::new(START, TWO);
        world.edits(|book| {
            let ann = book.people.get_mut("ann").expect("she is there");
            ann.notify = contacts(&[("ann", 0), ("ann-phone", 2)]);
        });
        world.fires("Down");
        world.advance(1);
        if is_clear {
            world.resolves("Down");
        } else {
            world.acknowledges(1, "ann");
        }
        world.advance(30);
        assert_eq!(page(&world, 2), (PageState::Dropped, Vec::new()));
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_page_by_hand_and_an_update_are_retried_too() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.receivers(&[("ann", Receiver::Down), ("bob", Receiver::Down)]);
    let page = watchkeeper::domain::incident::Ask::Page {
        to: watchkeeper::domain::escalation::Target::Person("bob".to_owned()),
    };
    world.asks(1, page, "ann");
    world.resolves("Down");
    world.receivers(&[]);
    world.advance(5);
    let delivered: Vec<String> = world
        .delivered()
        .iter()
        .map(|line| line.split_once(' ').expect("a time").1.to_owned())
        .collect();
    // Somebody asked for bob's page: it goes out though it is clear by then, and so does the word that it is.
    let mut sorted = delivered.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        ["ann", "ann (update)", "bob", "bob (update)"],
        "{delivered:?}"
    );
}

/// Claims ann's page as a delivery does that dies before it records anything.
fn claims_and_dies(world: &World) -> usize {
    let now = world.simulation.now();
    let claimed = world
        .simulation
        .store()
        .transact_blocking(Class::Engine, move |tx| claim(tx, "ops-hook", 8, None, now));
    claimed.expect("the memory store works").len()
}

/// A world whose page to ann waits for its first retry, and the instant of that retry.
fn waits_for_a_retry() -> World {
    let mut world = World::new(START, TWO).in_memory();
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world
}

#[test]
fn what_was_claimed_when_the_program_died_is_sent_again_at_once_under_the_same_id() {
    let mut world = waits_for_a_retry();
    // Nobody steps the program until the retry is due; then a delivery claims it and dies.
    world.simulation.sleep(Duration::from_secs(60));
    assert_eq!(claims_and_dies(&world), 1);
    let kept = Arc::new(world.simulation.memory().reopen());
    world.receivers(&[]);
    world.simulation.restart(kept).expect("it starts again");
    assert_eq!(world.pages(), ["09:00 ann: retry", "09:01 ann"]);
    let ids = world.page_ids();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(
        page(&world, 1),
        (PageState::Delivered, vec!["retry", "delivered"])
    );
}

#[test]
fn a_claim_whose_holder_died_is_taken_over_when_its_lease_ends() {
    let mut world = waits_for_a_retry();
    world.simulation.sleep(Duration::from_secs(60));
    assert_eq!(claims_and_dies(&world), 1);
    world.receivers(&[]);
    world.advance_seconds(LEASE.as_secs() - 1);
    assert_eq!(world.pages(), ["09:00 ann: retry"]);
    world.advance_seconds(1);
    assert_eq!(world.pages(), ["09:00 ann: retry", "09:01:30 ann"]);
    let ids = world.page_ids();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_page_under_way_when_it_is_acknowledged_ends_with_that_attempt() {
    let mut world = waits_for_a_retry();
    world.simulation.sleep(Duration::from_secs(60));
    assert_eq!(claims_and_dies(&world), 1);
    world.acknowledges(1, "bob");
    world.receivers(&[]);
    world.advance(10);
    assert_eq!(world.pages(), ["09:00 ann: retry"]);
    assert_eq!(page(&world, 1), (PageState::Dropped, vec!["retry"]));
}

#[test]
fn somebody_whose_page_was_under_way_when_it_was_acknowledged_is_told_when_it_is_clear() {
    let mut world = waits_for_a_retry();
    world.simulation.sleep(Duration::from_secs(60));
    assert_eq!(claims_and_dies(&world), 1); // its second claim
    world.acknowledges(1, "bob");
    let (in_force, now) = (world.simulation.in_force.clone(), world.simulation.now());
    let delivered = Outcome::Delivered {
        detail: "200".to_owned(),
    };
    world
        .simulation
        .store()
        .transact_blocking(Class::Engine, move |tx| {
            record_outcome(tx, 1, 1, 2, &delivered, &in_force, now)
        })
        .expect("the memory store works");
    assert_eq!(
        page(&world, 1),
        (PageState::Delivered, vec!["retry", "delivered"])
    );
    world.receivers(&[]);
    world.resolves("Down");
    assert_eq!(world.pages(), ["09:00 ann: retry", "09:01 ann (update)"]);
}

#[test]
fn no_page_is_lost_whichever_write_is_the_last() {
    for k in 1..=12 {
        let mut world = World::new(START, TWO).in_memory();
        world.receivers(&[("ann", Receiver::Down)]);
        world.simulation.memory().stop_at(k);
        let report = {
            let mut report =
                watchkeeper::simulate::signal(&[], watchkeeper::domain::alert::Signal::Firing);
            report.sightings = vec![crate::world::sighting(
                "Down",
                watchkeeper::domain::alert::Signal::Firing,
            )];
            report
        };
        let answered = world.simulation.receive(report.clone()).is_ok();
        if answered {
            // The program may stop on the way; what it answered stands.
            drop(world.simulation.advance(Duration::from_secs(900)));
        }
        let kept = Arc::new(world.simulation.memory().reopen());
        world.receivers(&[]);
        world.simulation.restart(kept).expect("it starts again");
        if !answered {
            world.report(report); // the sender tries again
        }
        world.advance(11);
        let delivered = world.delivered();
        let somebody = delivered
            .iter()
            .any(|line| line.ends_with("ann") || line.ends_with("bob"));
        assert!(somebody, "write {k}: {:?}", world.pages());
        assert_eq!(world.violations(), [], "write {k}");
    }
}

#[test]
fn what_a_page_says_is_that_of_the_moment_it_goes_out() {
    let mut world = World::new(START, TWO);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    world.simulation.answer_pages(move |message, _now| {
        log.lock().expect("one thread").push((
            message.attempt,
            message.step,
            message.incident.severity.clone(),
            message.acknowledge_url.is_some(),
        ));
        Outcome::Delivered {
            detail: "200".to_owned(),
        }
    });
    world.fires("Down");
    world.resolves("Down");
    let seen = seen.lock().expect("one thread").clone();
    assert_eq!(
        seen,
        [
            (1, 1, "SEV1".to_owned(), true),
            (1, 0, "SEV1".to_owned(), false)
        ]
    );
}

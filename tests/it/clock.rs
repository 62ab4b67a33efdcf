//! Stories of a wall clock that is set while the program runs: nobody is un-paged, and no escalation is burnt through.

use crate::world::{Receiver, START, World, at, book, contacts, policy, rules};
use std::ops::ControlFlow;
use std::time::Duration;
use watchkeeper::domain::rule::OpenWhen;
use watchkeeper::store::lists::transitions;

const TWO: &[(&str, u64)] = &[("ann", 5), ("bob", 10)];
const HOURS: i64 = 3_600_000;

/// The clock is set forth or back by three hours.
fn jumps(world: &mut World, hours: i64) {
    world
        .simulation
        .jump(hours * HOURS)
        .expect("the memory store works");
}

/// What is paged after which time that really passed, whatever the clock shows: the same pages at the same distance.
fn pages_after(jump: i64, story: impl Fn(&mut World, i64)) -> Vec<String> {
    let mut world = World::new(START, TWO);
    story(&mut world, jump);
    world.pages()
}

#[test]
fn a_step_runs_after_the_time_that_passed() {
    let story = |world: &mut World, jump: i64| {
        world.fires("Down");
        world.advance(3);
        jumps(world, jump);
        world.advance(13);
    };
    assert_eq!(
        pages_after(3, story),
        ["09:00 ann", "12:05 bob", "12:15 bob"]
    );
    assert_eq!(
        pages_after(-3, story),
        ["09:00 ann", "06:05 bob", "06:15 bob"]
    );
}

#[test]
fn a_clock_that_is_set_forth_and_back_again_changes_nothing() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    for _ in 0..4 {
        world.advance(1);
        jumps(&mut world, 3);
        jumps(&mut world, -3);
    }
    world.advance(7);
    assert_eq!(world.pages(), ["09:00 ann", "09:05 bob"]);
    assert_eq!(world.simulation.health().n_clock_jumps, 8);
    assert_eq!(
        world.timeline(1, "clock")[..2],
        [
            "12:01 the wall clock jumped forth by 3h: waits move with it",
            "09:01 the wall clock jumped back by 3h: waits move with it",
        ]
    );
}

#[test]
fn the_audit_passes_after_a_jump() {
    for hours in [3, -3] {
        let mut world = World::new(START, TWO);
        world.fires("Down");
        world.advance(3);
        jumps(&mut world, hours);
        for _ in 0..40 {
            assert_eq!(world.violations(), []);
            world.advance(1);
        }
    }
}

#[test]
fn an_exhaustion_goes_on_every_ten_minutes() {
    let story = |world: &mut World, jump: i64| {
        world.fires("Down");
        world.advance(17);
        jumps(world, jump);
        world.advance(10);
    };
    assert_eq!(pages_after(3, story)[3..], ["12:25 bob"]);
    assert_eq!(pages_after(-3, story)[3..], ["06:25 bob"]);
}

#[test]
fn an_acknowledgement_runs_out_after_the_time_that_passed() {
    for (hours, again) in [(3, "12:30 ann"), (-3, "06:30 ann")] {
        let mut book = book(TWO);
        policy(&mut book).acknowledge_timeout_ms = Some(30 * 60_000);
        let mut world = World::with(START, book, rules(|_settings| {}));
        world.fires("Down");
        world.acknowledges(1, "ann");
        world.advance(10);
        jumps(&mut world, hours);
        world.advance(19);
        assert_eq!(world.pages(), ["09:00 ann"]);
        world.advance(2);
        assert_eq!(world.pages(), ["09:00 ann", again]);
    }
}

#[test]
fn an_acknowledged_incident_pages_nobody_after_a_jump() {
    for hours in [3, -3] {
        let mut world = World::new(START, TWO);
        world.fires("Down");
        world.acknowledges(1, "ann");
        jumps(&mut world, hours);
        world.advance(60);
        assert_eq!(world.pages(), ["09:00 ann"]);
    }
}

#[test]
fn a_later_contact_and_a_retry_keep_their_time() {
    for (hours, phone) in [
        (3, "12:02 ann by ann-phone"),
        (-3, "06:02 ann by ann-phone"),
    ] {
        let mut world = World::new(START, TWO);
        world.edits(|book| {
            let ann = book.people.get_mut("ann").expect("she is there");
            ann.notify = contacts(&[("ann", 0), ("ann-phone", 2)]);
        });
        world.receivers(&[("ann", Receiver::Down)]);
        world.fires("Down");
        world.advance_seconds(1);
        jumps(&mut world, hours);
        world.receivers(&[]);
        world.advance_seconds(119);
        let delivered = world.delivered();
        assert_eq!(delivered.len(), 2, "{delivered:?}");
        assert_eq!(delivered[1], phone, "{delivered:?}");
        assert!(
            delivered[0].starts_with(phone.split(':').next().expect("an hour")),
            "a retry, soon: {delivered:?}"
        );
    }
}

#[test]
fn resolve_after_is_of_time_that_passed() {
    for (hours, clear) in [(3, "2026-03-02T12:11:00Z"), (-3, "2026-03-02T06:11:00Z")] {
        let rules = rules(|settings| settings.resolve_after = Some(Duration::from_secs(600)));
        let mut world = World::with(START, book(TWO), rules);
        world.fires("Down");
        world.advance(1);
        world.resolves("Down");
        world.advance(1);
        jumps(&mut world, hours);
        world.advance(8);
        assert!(!world.incident(1).is_clear());
        world.advance(1);
        assert_eq!(world.incident(1).clear_since, Some(at(clear)));
    }
}

#[test]
fn open_after_is_of_time_that_passed() {
    for (hours, page) in [(3, "12:02 ann"), (-3, "06:02 ann")] {
        let rules =
            rules(|settings| settings.open = Some(OpenWhen::After(Duration::from_secs(120))));
        let mut world = World::with(START, book(TWO), rules);
        world.fires("Down");
        world.advance(1);
        jumps(&mut world, hours);
        assert_eq!(world.pages(), [""; 0]);
        world.advance(2);
        assert_eq!(world.pages(), [page]);
    }
}

#[test]
fn firing_again_goes_on_where_it_stood_whatever_the_clock_shows() {
    for (hours, expected) in [
        (3, ["12:02 ann", "12:05 bob"]),
        (-3, ["06:02 ann", "06:05 bob"]),
    ] {
        let mut world = World::new(START, TWO);
        world.fires("Down");
        world.advance(2);
        world.resolves("Down");
        jumps(&mut world, hours);
        world.fires("Down");
        world.advance(4);
        assert_eq!(world.pages()[2..], expected);
    }
}

#[test]
fn a_clock_that_drifts_is_not_set() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(1);
    world.simulation.jump(59_000).expect("the store works");
    assert_eq!(world.simulation.health().n_clock_jumps, 0);
    world.advance(4);
    assert_eq!(world.pages(), ["09:00 ann", "09:05 bob"]);
}

#[test]
fn what_is_asked_before_the_engine_saw_the_jump_waits_no_longer() {
    for (hours, bob, again) in [
        (3, "12:05 bob", "12:35 ann"),
        (-3, "06:05 bob", "06:35 ann"),
    ] {
        let mut book = book(TWO);
        policy(&mut book).acknowledge_timeout_ms = Some(30 * 60_000);
        let rules = rules(|settings| settings.resolve_after = Some(Duration::from_secs(600)));
        let mut world = World::with(START, book, rules);
        world.fires("Down");
        world.fires("Slow");
        world.fires("Gone");
        world.acknowledges(3, "ann");
        world.advance(1);
        world.simulation.set_clock(hours * HOURS);
        // Three requests that set a wait each: a step, an acknowledgement, and a quiet time.
        world.fires("Late");
        world.acknowledges(2, "bob");
        world.resolves("Gone");
        world.advance(10);
        let mut of_down: Vec<String> = world.pages();
        of_down.retain(|line| line.contains("bob") && !line.contains("update"));
        assert_eq!(of_down[0], bob, "{hours} h: {:?}", world.pages());
        assert_eq!(of_down[1][3..5], *"06", "Late: {:?}", world.pages());
        assert!(world.incident(3).is_clear(), "{hours} h");
        world.advance(19);
        let asked_again = |world: &World| world.pages().iter().any(|line| line == again);
        assert!(!asked_again(&world), "{:?}", world.pages());
        world.advance(6);
        assert!(world.incident(2).acknowledged.is_none(), "{hours} h");
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_write_that_fails_while_waits_move_moves_none_twice() {
    for k in 1..=4 {
        for (hours, expected) in [(3, "12:05 bob"), (-3, "06:05 bob")] {
            let mut world = World::new(START, TWO).in_memory();
            world.fires("Down");
            world.fires("Slow");
            world.fires("Gone");
            world.advance(1);
            world.simulation.set_clock(hours * HOURS);
            world.simulation.memory().fail_at(k);
            let failed = world.simulation.run();
            assert!(failed.is_err(), "write {k}");
            world.advance(5);
            assert_eq!(world.pages()[3..], [expected; 3], "write {k}");
        }
    }
}

#[test]
fn a_clock_that_is_behind_when_the_program_starts_unpages_nobody() {
    let mut world = World::new(START, TWO).in_memory();
    world.fires("Down");
    world.advance(12);
    // Both have been paged; the next page is due at 09:15. The machine starts with a clock that was never set.
    world.simulation.set_clock(-20 * 365 * 24 * HOURS);
    let memory = std::sync::Arc::new(world.simulation.memory().reopen());
    world.simulation.restart(memory).expect("it starts");
    world.advance(6);
    assert_eq!(world.pages().len(), 3, "{:?}", world.pages());
    // Then it is set right.
    world
        .simulation
        .jump(20 * 365 * 24 * HOURS)
        .expect("it works");
    world.advance(10);
    assert_eq!(world.pages().len(), 4, "{:?}", world.pages());
    assert_eq!(world.violations(), []);
}

#[test]
fn nothing_is_swept_by_a_clock_that_was_just_set_forth() {
    let history = |world: &World| {
        let store = world.simulation.store();
        let mut n = 0;
        let counted = store.read(|reader| {
            transitions(
                reader,
                at("2026-03-01T00:00:00Z"),
                &mut |_at, _transition| {
                    n += 1;
                    Ok(ControlFlow::Continue(()))
                },
            )
        });
        counted.expect("it reads");
        n
    };
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.resolves("Down");
    world.advance(5);
    let before = history(&world);
    assert!(before > 1);
    jumps(&mut world, 91 * 24);
    world.advance(23 * 60);
    assert_eq!(history(&world), before, "it may yet be set right");
    world.advance(2 * 60);
    assert_eq!(history(&world), 0, "it stayed so: that is the time");
}

#[test]
fn a_claim_is_taken_over_after_its_lease_whatever_the_clock_shows() {
    for hours in [3, -3] {
        let mut world = World::new(START, TWO).in_memory();
        // The page is claimed and sent, and then nothing can be written: its outcome is not known.
        world.simulation.memory().fail_at(5);
        let mut report = watchkeeper::simulate::signal(
            &[("alertname", "Down")],
            watchkeeper::domain::alert::Signal::Firing,
        );
        report.sightings.truncate(1);
        let sent = world.simulation.receive(report);
        assert!(sent.is_err(), "{:?}", world.pages());
        jumps(&mut world, hours);
        world.advance_seconds(29);
        assert_eq!(world.pages(), ["09:00 ann"]);
        world.advance_seconds(2);
        assert_eq!(world.pages().len(), 2, "{:?}", world.pages());
        assert_eq!(world.page_ids()[0], world.page_ids()[1]);
    }
}

#[test]
fn a_jump_forth_that_could_not_be_kept_is_known_after_a_start_by_a_clock_set_back() {
    // Each write of the jump fails in turn: what the clock shows, the incident that moves, and what follows.
    for k in 1..=3 {
        let mut world = World::new(START, TWO).in_memory();
        world.fires("Down");
        world.advance(1);
        world.simulation.set_clock(3 * HOURS);
        world.simulation.memory().fail_at(k);
        drop(world.simulation.run());
        world.advance(1);
        world.simulation.set_clock(-3 * HOURS);
        let memory = std::sync::Arc::new(world.simulation.memory().reopen());
        world.simulation.restart(memory).expect("it starts");
        world.advance(14);
        assert!(world.pages().len() > 1, "write {k}: {:?}", world.pages());
    }
}

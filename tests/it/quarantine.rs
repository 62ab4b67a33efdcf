//! One incident that cannot be stepped: it is put aside and shouted about, by itself and without its own code, and the
//! others are paged as if it were not there.

use crate::world::{Receiver, START, World, add_person, book, policy, rules, worded};
use std::time::Duration;
use watchkeeper::domain::escalation::Target;
use watchkeeper::domain::incident::Ask;
use watchkeeper::domain::incident::event::{Cause, Event, PageIssue};
use watchkeeper::domain::incident::{Entry, Incident};
use watchkeeper::domain::rule::OpenWhen;
use watchkeeper::engine::audit::UNREADABLE;
use watchkeeper::store::engine::{Class, Keep, Key, Reads, job};
use watchkeeper::store::records::{Head, PageState};

/// Whom an incident pages, and, when it is stuck, its fallback.
fn world() -> World {
    let mut book = book(&[("ann", 5), ("bob", 10)]);
    add_person(&mut book, "cem");
    policy(&mut book).fallback = vec![Target::Person("cem".to_owned())];
    World::with(START, book, rules(|_settings| {}))
}

/// Writes straight into the log of an incident; its head says that it is there.
fn plant(world: &World, number: u64, value: impl Fn(u64) -> Vec<u8> + Send + 'static) {
    let key = |table: u8, parts: &[u64]| -> Key {
        let numbers = parts.iter().flat_map(|part| part.to_be_bytes());
        std::iter::once(table).chain(numbers).collect()
    };
    let planted = job(
        move |stage| {
            let head = stage.get(&key(b'H', &[number])).expect("it reads");
            let mut head: Head =
                serde_json::from_slice(&head.expect("it is there")).expect("a head");
            head.seq += 1;
            stage.put(key(b'E', &[number, head.seq]), value(head.seq));
            let head = serde_json::to_vec(&head).expect("JSON");
            stage.put(key(b'H', &[number]), head);
            (Keep::Yes, ())
        },
        |kept| kept.expect("the memory store works"),
    );
    let engine = world.simulation.store().engine();
    engine.submit(Class::Engine, planted).expect("it is taken");
}

/// The last page number there is: whatever numbers its next page panics.
fn plant_panic(world: &World, number: u64) {
    let at = world.simulation.now();
    let page = PageIssue {
        serial: u32::MAX,
        cause: Cause::Person,
        step: 0,
        round: 0,
        person: "nobody".to_owned(),
        channel: "nowhere".to_owned(),
        address: "nobody".to_owned(),
        due_at: at,
        note: None,
    };
    let paged = Event::Paged { pages: vec![page] };
    let dropped = Event::PagesDropped {
        serials: vec![u32::MAX],
        why: "it was never written down".to_owned(),
    };
    for event in [paged, dropped] {
        plant(world, number, move |seq| {
            let entry = Entry {
                seq,
                at,
                by: "a test".to_owned(),
                event: event.clone(),
            };
            serde_json::to_vec(&entry).expect("JSON")
        });
    }
}

fn plant_damage(world: &World, number: u64) {
    plant(world, number, |_seq| b"{\"seq\":".to_vec());
}

fn quarantined(world: &World) -> Vec<u64> {
    let store = world.simulation.store();
    let found = store.read(|reader| reader.quarantined());
    let found = found.expect("it reads");
    found.into_iter().map(|(number, _)| number).collect()
}

/// What went out for one incident.
fn pages_of(world: &World, number: u64) -> Vec<String> {
    let sent = world.simulation.sent().iter().zip(world.pages());
    sent.filter(|(sent, _)| sent.message.incident.number == number)
        .map(|(_, line)| line)
        .collect()
}

/// Starts again over the same store: nothing is in memory of any incident.
fn restarts(world: &mut World) {
    let engine = std::sync::Arc::clone(world.simulation.store().engine());
    world.simulation.restart_on(engine).expect("it starts");
}

#[test]
fn a_panic_in_one_incident_pages_its_fallback_and_delays_nobody_else() {
    let mut world = world();
    world.fires("Down");
    world.fires("Slow");
    plant_panic(&world, 1);
    world.advance(16);

    assert_eq!(quarantined(&world), [1]);
    assert_eq!(world.simulation.health().n_quarantined, 1);
    assert_eq!(pages_of(&world, 1), ["09:00 ann", "09:05 cem", "09:15 cem"]);
    assert_eq!(pages_of(&world, 2), ["09:00 ann", "09:05 bob", "09:15 cem"]);
    let shout = world
        .simulation
        .sent()
        .iter()
        .find(|sent| sent.message.to == "cem");
    let shout = &shout.expect("cem is paged").message;
    let note = shout.note.as_deref().expect("it says why");
    assert!(note.starts_with("this incident is stuck:"), "{note}");
    assert!(shout.acknowledge_url.is_some());
    assert!(
        world.violations().iter().any(|(number, _)| *number == 1),
        "the audit says so, too"
    );
}

#[test]
fn a_shout_is_retried_and_repeated_until_somebody_commands_the_incident() {
    let mut world = world();
    world.fires("Down");
    plant_panic(&world, 1);
    world.receivers(&[("cem", Receiver::Down)]);
    world.advance(6);
    assert!(pages_of(&world, 1).len() > 3, "{:?}", pages_of(&world, 1));
    world.receivers(&[]);
    world.advance(2);
    assert_eq!(world.delivered().len(), 2, "ann, and cem on a retry");

    world.advance(20);
    let before = pages_of(&world, 1).len();
    world.acknowledges(1, "cem");
    assert_eq!(quarantined(&world), [0; 0]);
    world.advance(60);
    assert_eq!(pages_of(&world, 1).len(), before);
    assert_eq!(world.violations(), []);
    assert_eq!(world.simulation.health().n_quarantined, 0);
    assert_eq!(world.page_ids().len(), world.pages().len());
}

#[test]
fn a_later_quarantine_uses_no_page_id_again() {
    let mut world = world();
    world.fires("Down");
    plant_panic(&world, 1);
    world.advance(5);
    world.acknowledges(1, "cem");
    // The acknowledgement is given back: step 1 panics, so it is refused, and nothing of it is kept.
    let given_back = world.simulation.ask(1, Ask::Unacknowledge, "cem");
    assert!(given_back.is_err());
    assert!(world.incident(1).acknowledged.is_some());
    let store = world.simulation.store();
    let in_force = world.simulation.in_force.clone();
    let now = world.simulation.now();
    let put = store.transact_blocking(Class::Engine, move |tx| {
        watchkeeper::store::quarantine::put(tx, 1, "again", &in_force, now)
    });
    put.expect("it is put aside");
    world.advance(1);
    assert_eq!(world.pages(), ["09:00 ann", "09:05 cem", "09:05 cem"]);
    let mut ids = world.page_ids();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_shout_that_reaches_nobody_goes_to_everybody_the_next_time() {
    let mut world = world();
    world.fires("Down");
    plant_panic(&world, 1);
    world.receivers(&[("cem", Receiver::Refuses)]);
    world.advance(16);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 cem: refused",
            "09:15 cem: refused",
            "09:15 ann",
            "09:15 bob"
        ]
    );
}

#[test]
fn an_incident_whose_log_is_damaged_is_shouted_about_after_a_restart_and_blocks_no_channel() {
    let mut world = world();
    world.fires("Down");
    world.fires("Slow");
    plant_damage(&world, 1);
    restarts(&mut world);
    world.advance(6);
    assert_eq!(quarantined(&world), [1]);
    assert_eq!(pages_of(&world, 1), ["09:00 ann", "09:00 cem"]);
    assert_eq!(pages_of(&world, 2), ["09:00 ann", "09:05 bob"]);
    assert_eq!(world.violations(), [(1, UNREADABLE)]);
    forget(world);
}

#[test]
fn an_attempt_that_the_incident_cannot_take_is_kept_with_its_page() {
    let mut world = world();
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    plant_damage(&world, 1);
    world.receivers(&[]);
    world.advance(4);
    let delivered = world.delivered();
    let to_ann = delivered.iter().filter(|line| line.contains("ann"));
    assert_eq!(to_ann.count(), 1, "sent once and not again: {delivered:?}");
    let store = world.simulation.store();
    let pages = store.read(|reader| reader.pages(1)).expect("it reads");
    assert!(pages.iter().all(|page| page.state == PageState::Delivered));
    assert_eq!(quarantined(&world), [1]);
    forget(world);
}

#[test]
fn what_the_incident_was_not_told_of_it_is_told_when_it_comes_back() {
    let mut world = world();
    // A retry that ends with the step's page failing for good moves on to the next step: that is what panics.
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    plant_panic(&world, 1);
    world.receivers(&[("ann", Receiver::Refuses)]);
    world.advance(1);
    assert_eq!(quarantined(&world), [1]);
    let unfinished = |incident: &Incident| incident.paging.unfinished().count();
    assert_eq!(unfinished(&world.incident(1)), 1, "ann's");
    world.acknowledges(1, "cem");
    assert_eq!(quarantined(&world), [0; 0]);
    assert_eq!(unfinished(&world.incident(1)), 0);
    world.advance(2);
    assert_eq!(world.violations(), []);
}

#[test]
fn waits_of_an_incident_in_quarantine_move_with_the_clock() {
    for (hours, expected) in [(3, "12:15 cem"), (-3, "06:15 cem")] {
        let mut world = world();
        world.fires("Down");
        plant_panic(&world, 1);
        world.advance(10);
        world.simulation.jump(hours * 3_600_000).expect("it works");
        world.advance(4);
        assert_eq!(world.pages(), ["09:00 ann", "09:05 cem"]);
        world.advance(2);
        assert_eq!(world.pages(), ["09:00 ann", "09:05 cem", expected]);
    }
}

#[test]
fn an_incident_that_is_stuck_does_not_keep_others_from_opening() {
    let open_after =
        rules(|settings| settings.open = Some(OpenWhen::After(Duration::from_secs(120))));
    let mut world = World::with(START, book(&[("ann", 5), ("bob", 10)]), open_after);
    world.fires("Down");
    world.advance(2);
    // Its key waits again: the next alert of it is to join in two minutes, with another that opens.
    world.acknowledges(1, "ann");
    crate::lifecycle::give_all(&mut world, 1);
    world.resolves("Down");
    while world.incident(1).phase < watchkeeper::domain::phase::Phase::Stabilization {
        crate::lifecycle::give_all(&mut world, 1);
        world.asks(1, crate::lifecycle::advance(), "ann");
    }
    plant_panic(&world, 1);
    world.fires("Down");
    world.fires("Slow");
    world.advance(3);
    assert_eq!(quarantined(&world), [1]);
    assert_eq!(pages_of(&world, 2), ["09:04 ann"]);
    assert!(
        pages_of(&world, 1).contains(&"09:04 ann".to_owned()),
        "{:?}",
        world.pages()
    );
}

/// A world whose incidents page again when their severity rises, with one of low severity.
fn one_that_may_rise() -> World {
    let mut book = book(&[("ann", 5), ("bob", 10)]);
    add_person(&mut book, "cem");
    policy(&mut book).fallback = vec![Target::Person("cem".to_owned())];
    let by_word = rules(|settings| settings.severity = Some(crate::world::by_word()));
    let mut world = World::with(START, book, by_word);
    world.fires_as("Down db1", "warning");
    world
}

#[test]
fn an_alert_of_a_stuck_incident_costs_the_others_of_its_report_nothing() {
    for plant in [plant_panic, plant_damage] {
        let mut world = one_that_may_rise();
        world.acknowledges(1, "ann");
        plant(&world, 1);
        let recorded = world.receives(vec![
            worded("Slow", "critical"),
            worded("Down db2", "critical"),
            worded("Late", "critical"),
            worded("Down db3", "critical"),
        ]);
        assert_eq!(recorded.opened, [2, 3].into());
        assert_eq!(recorded.joined, [1].into());
        assert_eq!(quarantined(&world), [1]);
        assert_eq!(pages_of(&world, 2), ["09:00 ann"]);
        assert_eq!(pages_of(&world, 3), ["09:00 ann"]);
        assert!(pages_of(&world, 1).contains(&"09:00 cem".to_owned()));
        forget(world);
    }
}

#[test]
fn two_stuck_incidents_in_one_report_are_both_put_aside() {
    let mut world = one_that_may_rise();
    world.fires_as("Slow db1", "warning");
    plant_panic(&world, 1);
    plant_panic(&world, 2);
    let recorded = world.receives(vec![
        worded("Down db2", "critical"),
        worded("Slow db2", "critical"),
        worded("Late", "critical"),
    ]);
    assert_eq!(recorded.opened, [3].into());
    assert_eq!(quarantined(&world), [1, 2]);
    assert_eq!(pages_of(&world, 3), ["09:00 ann"]);
}

#[test]
fn an_incident_that_is_back_hears_of_the_alerts_that_came_while_it_was_stuck() {
    let mut world = one_that_may_rise();
    world.acknowledges(1, "ann");
    plant_panic(&world, 1);
    // Its severity rises: it pages again, and that is what panics. Once it is no worse than it says, it is told.
    world.receives(vec![worded("Down db2", "critical")]);
    assert_eq!(quarantined(&world), [1]);
    let members = |world: &World| world.incident(1).members.len();
    assert_eq!(members(&world), 1);
    world.receives(vec![worded("Down db2", "info")]);
    world.asks(
        1,
        Ask::SetSeverity {
            severity: watchkeeper::domain::severity::Severity::Sev1,
            inputs: watchkeeper::domain::severity::SeverityInputs::default(),
            reason: "as bad as it is".to_owned(),
        },
        "cem",
    );
    world.advance(1);
    assert_eq!(quarantined(&world), [0; 0]);
    assert_eq!(members(&world), 2);
    assert_eq!(world.violations(), []);
}

/// The end of a story checks that each incident is the sum of its log; this one has a log that cannot be read.
fn forget(world: World) {
    std::mem::forget(world);
}

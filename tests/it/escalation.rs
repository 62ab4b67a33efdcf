//! Stories of escalation: who is paged when, and what stops it. Each row and story names its scenario, E01 to E48.

use crate::world::{
    Receiver, START, World, add_person, add_schedule, at, book, by_word, contacts, lead, policy,
    rules, sighting,
};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::alert::Signal;
use watchkeeper::domain::escalation::Target;
use watchkeeper::domain::incident::event::Waiver;
use watchkeeper::domain::incident::{Ask, Refusal};
use watchkeeper::domain::oncall::Book;
use watchkeeper::domain::phase::Phase;
use watchkeeper::domain::rule::{Settings, SeverityRule};
use watchkeeper::domain::severity::{Severity, SeverityInputs};

/// Scenario, steps with their minutes, what else the book has, what happens at which minute, the minute at which we
/// look, and all pages until then.
type Row = (
    &'static str,
    &'static [(&'static str, u64)],
    fn(&mut Book),
    &'static str,
    u64,
    &'static [&'static str],
);

const TWO: &[(&str, u64)] = &[("ann", 5), ("bob", 10)];

#[rustfmt::skip]
const SCENARIOS: &[Row] = &[
    ("E01", TWO, plain, "0 fires", 36, &["0 ann", "5 bob", "15 bob", "25 bob", "35 bob"]),
    ("E02", TWO, plain, "0 fires, 3 ann takes it", 60, &["0 ann"]),
    ("E03", TWO, three_contacts, "0 fires, 1 ann takes it", 60, &["0 ann by push"]),
    ("E04", TWO, plain, "0 fires, 2 resolves", 60, &["0 ann", "2 ann (update)"]),
    ("E05", TWO, plain, "0 fires, 1 ann takes it, 9 resolves", 60, &["0 ann", "9 ann (update)"]),
    ("E06", TWO, once_more, "0 fires", 41, &["0 ann", "5 bob", "15 ann", "20 bob", "30 bob", "40 bob"]),
    ("E07", TWO, plain, "0 fires", 14, &["0 ann", "5 bob"]),
    ("E08", TWO, once_more, "0 fires", 16, &["0 ann", "5 bob", "15 ann"]),
    ("E09", TWO, plain, "0 fires, 1 ann escalates", 12, &["0 ann", "1 bob", "11 bob"]),
    ("E10", TWO, plain, "0 fires, 6 bob escalates", 22, &["0 ann", "5 bob", "6 ann", "11 bob", "21 bob"]),
    ("E11", TWO, plain, "0 fires, 1 ann takes it, 4 ann escalates", 15, &["0 ann", "4 bob", "14 bob"]),
    ("E13", &[("", 5), ("bob", 5)], plain, "0 fires", 4, &["0 bob"]),
    ("E14", &[("schedule:empty", 5), ("bob", 5)], empty_schedule, "0 fires", 4, &["0 bob"]),
    ("E16", &[("ann", 5), ("schedule:S", 5)], hand_over_at_3, "0 fires", 9, &["0 ann", "5 cyd"]),
    ("E17", &[("schedule:S", 10)], hand_over_at_3_once_more, "0 fires", 19, &["0 bob", "10 cyd"]),
    ("E18", TWO, with_cyd, "0 fires, 2 edit: step 2 is cyd", 16, &["0 ann", "5 bob", "15 bob"]),
    ("E19", TWO, plain, "0 fires, 2 edit: no step 1", 16, &["0 ann", "5 bob", "15 bob"]),
    ("E20", TWO, plain, "0 fires, 3 edit: no bob", 16, &["0 ann", "5 ann", "15 ann"]),
    ("E21", &[("ann", 5), ("ann", 5)], plain, "0 fires", 9, &["0 ann", "5 ann"]),
    ("E22", &[("ann+schedule:now", 5)], ann_now, "0 fires", 4, &["0 ann"]),
    ("E23", TWO, plain, "0 fires, 1 fires", 4, &["0 ann"]),
    ("E24", TWO, plain, "0 fires, 1 resolves, 2 fires", 7, &["0 ann", "1 ann (update)", "2 ann", "6 bob"]),
    ("E25", TWO, plain, "0 fires, 1 ann takes it, 2 fires", 60, &["0 ann"]),
    ("E26", TWO, for_30, "0 fires, 1 ann takes it", 40, &["0 ann", "31 ann", "36 bob"]),
    ("E27", TWO, for_30, "0 fires, 1 ann takes it, 20 resolves", 90, &["0 ann", "20 ann (update)"]),
    ("E29", TWO, plain, "0 fires, 1 ann takes it, 8 ann gives it back", 14, &["0 ann", "8 ann", "13 bob"]),
    ("E30", TWO, plain, "0 fires, 1 ann takes it, 2 bob takes it, 3 ann takes it", 60, &["0 ann"]),
    ("E34", TWO, ann_without_contact, "0 fires", 9, &["0 bob"]),
    ("E44", &[("ann", 1)], five_times_more, "0 fires", 7, &["0 ann", "1 ann", "2 ann", "3 ann", "4 ann", "5 ann", "6 ann"]),
    ("E45", &[("ann", 5), ("bob", 5)], plain, "0 fires", 9, &["0 ann", "5 bob"]),
    ("E47", TWO, plain, "0 resolves, 1 fires", 5, &["1 ann"]),
];

/// Told below, each as its own story.
const STORIES: &[&str] = &["E15", "E35", "E37", "E38", "E39", "E40", "E46", "E48"];

const NOT_HERE: &[(&str, &str)] = &[
    (
        "E12",
        "a policy without steps is refused when the configuration is read",
    ),
    ("E28", "not a feature: the acknowledge timeout alone"),
    ("E31", "not a feature"),
    ("E32", "a silence"),
    ("E33", "not a feature: urgency chooses the contacts"),
    ("E36", "limits of pages for each person"),
    ("E41", "a silence"),
    ("E42", "not a feature"),
    ("E43", "not a feature"),
];

#[test]
fn every_scenario_pages_whom_it_says_when_it_says() {
    for (id, steps, change, events, until, expected) in SCENARIOS {
        let mut book = book(steps);
        change(&mut book);
        let mut world = World::with(START, book, rules(|_settings| {}));
        let mut now = 0;
        for event in events.split(", ") {
            let (minute, what) = event.split_once(' ').expect("a minute and what happens");
            let minute = minute.parse().expect("a minute");
            world.advance(minute - now);
            now = minute;
            happens(&mut world, what);
        }
        world.advance(until - now);
        let expected: Vec<String> = expected.iter().map(|page| at_the_clock(page)).collect();
        assert_eq!(world.pages(), expected, "{id}");
    }
}

fn happens(world: &mut World, what: &str) {
    match what.split_once(' ') {
        None if what == "fires" => drop(world.fires("Down")),
        None if what == "resolves" => drop(world.resolves("Down")),
        Some((by, "takes it")) => world.acknowledges(1, by),
        Some((by, "gives it back")) => world.asks(1, Ask::Unacknowledge, by),
        Some((by, "escalates")) => world.asks(1, Ask::Escalate, by),
        Some(("edit:", "step 2 is cyd")) => {
            let cyd = vec![Target::Person("cyd".to_owned())];
            world.edits(|book| {
                let second = policy(book).steps.get_mut(1);
                second.expect("there are two").targets = cyd;
            });
        }
        Some(("edit:", "no step 1")) => world.edits(|book| drop(policy(book).steps.remove(0))),
        Some(("edit:", "no bob")) => world.edits(|book| drop(book.people.remove("bob"))),
        _ => unreachable!("the table has an event that is not told: {what}"),
    }
}

/// `5 ann` of the table is `09:05 ann` of the world.
fn at_the_clock(page: &str) -> String {
    let (minute, whom) = page.split_once(' ').expect("a minute and a person");
    let minute: u64 = minute.parse().expect("a minute");
    format!("{:02}:{:02} {whom}", 9 + minute / 60, minute % 60)
}

fn plain(_book: &mut Book) {}

fn once_more(book: &mut Book) {
    policy(book).repeat = 1;
}

fn five_times_more(book: &mut Book) {
    policy(book).repeat = 5;
}

fn for_30(book: &mut Book) {
    policy(book).acknowledge_timeout_ms = Some(30 * 60_000);
}

fn three_contacts(book: &mut Book) {
    notify(book, "ann", &[("push", 0), ("sms", 2), ("call", 4)]);
}

fn ann_without_contact(book: &mut Book) {
    notify(book, "ann", &[]);
}

fn with_cyd(book: &mut Book) {
    add_person(book, "cyd");
}

fn empty_schedule(book: &mut Book) {
    add_schedule(book, "empty", &[]);
}

fn ann_now(book: &mut Book) {
    add_schedule(book, "now", &[("ann", "2026-01-05T00:00:00Z")]);
}

fn hand_over_at_3(book: &mut Book) {
    let shifts = [
        ("bob", "2026-01-05T00:00:00Z"),
        ("cyd", "2026-03-02T09:03:00Z"),
    ];
    add_schedule(book, "S", &shifts);
}

fn hand_over_at_3_once_more(book: &mut Book) {
    hand_over_at_3(book);
    once_more(book);
}

fn notify(book: &mut Book, person: &str, by: &[(&str, u64)]) {
    let person = book.people.get_mut(person).expect("the story has them");
    person.notify = contacts(by);
}

fn at_severity(severity: Severity) -> impl FnOnce(&mut Settings) {
    move |settings| settings.severity = Some(SeverityRule::Fixed(severity))
}

#[test]
fn every_scenario_is_told_or_says_why_not() {
    let told = SCENARIOS.iter().map(|(id, ..)| *id);
    let skipped = NOT_HERE.iter().map(|(id, _why)| *id);
    let listed: Vec<&str> = told.chain(STORIES.iter().copied()).chain(skipped).collect();
    let found: BTreeSet<String> = listed.iter().map(|id| (*id).to_owned()).collect();
    let all: BTreeSet<String> = (1..=48).map(|n| format!("E{n:02}")).collect();
    assert_eq!(found, all);
    assert_eq!(listed.len(), 48, "none is listed twice");
}

// What the table cannot show.

#[test]
fn a_step_that_reaches_nobody_says_so_and_why() {
    let steps = [
        ("schedule:empty", 5),
        ("", 5),
        ("ann", 5),
        ("schedule:gone", 5),
        ("bob", 5),
    ];
    let mut book = book(&steps);
    empty_schedule(&mut book);
    ann_without_contact(&mut book);
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.fires("Down");
    assert_eq!(world.pages(), ["09:00 bob"]);
    assert_eq!(
        world.timeline(1, "reaches nobody"),
        [
            "09:00 step 1 reaches nobody: nobody is on call by schedule:empty",
            "09:00 step 2 reaches nobody: it has no targets",
            "09:00 step 3 reaches nobody: ann has no contact",
            "09:00 step 4 reaches nobody: schedule:gone is not in the configuration",
        ]
    );
    assert_eq!(
        world.timeline(1, "step 5"),
        ["09:00 step 5 of round 1: paging bob by ops-hook (page 1)"]
    );
}

/// E20.
#[test]
fn a_person_who_was_removed_is_named_where_they_are_missed() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(3);
    world.edits(|book| drop(book.people.remove("bob")));
    world.advance(3);
    assert_eq!(
        world.timeline(1, "reaches nobody"),
        ["09:05 step 2 reaches nobody: bob is not in the configuration"]
    );
}

/// E15.
#[test]
fn with_nobody_to_page_it_is_tried_every_ten_minutes_and_the_audit_fails() {
    let mut book = book(&[("schedule:empty", 5)]);
    empty_schedule(&mut book);
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.fires("Down");
    world.advance(21);
    assert_eq!(world.pages(), [""; 0]);
    let spent = "nobody acknowledged and all steps are spent";
    assert_eq!(
        world.timeline(1, spent),
        [
            format!("09:00 {spent} (1): nobody to page, again in 10m"),
            format!("09:10 {spent} (2): nobody to page, again in 10m"),
            format!("09:20 {spent} (3): nobody to page, again in 10m"),
        ]
    );
    assert_eq!(
        world.violations(),
        [(1, "exhausted, and no page of it was delivered")]
    );

    world.edits(|book| {
        add_schedule(book, "empty", &[("ann", "2026-01-05T00:00:00Z")]);
    });
    world.advance(10);
    assert_eq!(world.pages(), ["09:30 ann"]);
    assert_eq!(world.violations(), []);
}

#[test]
fn the_audit_passes_at_every_minute_of_an_ordinary_escalation() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    for minute in 0..40 {
        assert_eq!(world.violations(), [], "minute {minute}");
        world.advance(1);
    }
}

/// E05, E30.
#[test]
fn the_first_acknowledgement_holds_and_stays_when_it_is_clear() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(1);
    world.acknowledges(1, "ann");
    world.advance(1);
    world.acknowledges(1, "bob");
    world.acknowledges(1, "bob");
    world.resolves("Down");
    let acknowledged = world.incident(1).acknowledged.clone().expect("it stays");
    assert_eq!(acknowledged.by, "ann");
    assert_eq!(acknowledged.at, at("2026-03-02T09:01:00Z"));
    assert_eq!(acknowledged.also, ["bob"]);
    assert_eq!(
        world.timeline(1, "acknowledged by"),
        ["09:01 acknowledged by ann", "09:02 acknowledged by bob"]
    );
    assert!(world.incident(1).is_clear());
    assert!(world.incident(1).is_open());
}

#[test]
fn a_fallback_is_paged_when_all_is_spent_and_then_every_ten_minutes() {
    let mut book = book(TWO);
    add_person(&mut book, "cem");
    policy(&mut book).fallback = vec![Target::Person("cem".to_owned())];
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.fires("Down");
    world.advance(26);
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:05 bob", "09:15 cem", "09:25 cem"]
    );
    world.acknowledges(1, "cem");
    world.advance(60);
    assert_eq!(world.pages().len(), 4);
}

#[test]
fn a_round_that_reaches_nobody_is_not_repeated() {
    let mut book = book(&[("ann", 5), ("bob", 10)]);
    policy(&mut book).repeat = 3;
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.receivers(&[("ann", Receiver::Refuses), ("bob", Receiver::Refuses)]);
    world.fires("Down");
    assert_eq!(
        world.pages(),
        [
            "09:00 ann: refused",
            "09:00 bob: refused",
            "09:00 ann: refused",
            "09:00 bob: refused",
        ],
        "one round, then everybody at once"
    );
    world.advance(11);
    assert_eq!(
        world.pages()[4..],
        ["09:10 ann: refused", "09:10 bob: refused"]
    );
    assert_eq!(
        world.violations(),
        [(1, "exhausted, and no page of it was delivered")]
    );
}

#[test]
fn a_round_that_reached_one_person_is_repeated() {
    let mut book = book(&[("ann", 5), ("bob", 10)]);
    policy(&mut book).repeat = 1;
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.receivers(&[("bob", Receiver::Refuses)]);
    world.fires("Down");
    world.advance(11);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob: refused",
            "09:05 ann",
            "09:10 bob: refused",
            "09:10 ann",
        ],
        "spent at 09:10: ann's is the last step that reached somebody"
    );
}

#[test]
fn the_last_step_that_reached_somebody_is_the_last_to_run_not_the_last_to_arrive() {
    let mut book = book(&[("ann", 5), ("bob", 10)]);
    notify(&mut book, "ann", &[("ann", 0), ("ann-phone", 7)]);
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.fires("Down");
    world.advance(16);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:07 ann by ann-phone",
            "09:15 bob"
        ]
    );
}

#[test]
fn an_exhaustion_whose_pages_all_fail_pages_everybody_at_once() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(6);
    world.receivers(&[("bob", Receiver::Refuses)]);
    world.advance(20);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:15 bob: refused",
            "09:15 ann",
            "09:15 bob: refused",
            "09:25 bob: refused",
            "09:25 ann",
            "09:25 bob: refused",
        ]
    );
}

/// E37: refused for good.
#[test]
fn a_step_goes_on_at_once_when_every_contact_of_it_failed_for_good() {
    let mut world = World::new(START, &[("ann+amy", 5), ("bob", 10)]);
    world.receivers(&[("ann", Receiver::Refuses), ("amy", Receiver::Refuses)]);
    world.fires("Down");
    world.advance(9);
    assert_eq!(
        world.pages(),
        ["09:00 ann: refused", "09:00 amy: refused", "09:00 bob"]
    );
    assert_eq!(
        world.timeline(1, "reaches nobody"),
        ["09:00 step 1 reaches nobody: every contact of everybody failed"]
    );
    assert_eq!(
        world.timeline(1, "attempt 1: failed"),
        [
            "09:00 page 1 to ann by ops-hook, attempt 1: failed: 410",
            "09:00 page 2 to amy by ops-hook, attempt 1: failed: 410",
        ]
    );
}

#[test]
fn a_persons_next_contact_is_tried_at_once_when_one_fails_for_good() {
    let mut book = book(TWO);
    notify(&mut book, "ann", &[("push", 0), ("sms", 2), ("call", 4)]);
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.receivers(&[("push", Receiver::Refuses)]);
    world.fires("Down");
    world.advance(6);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann by push: refused",
            "09:00 ann by sms",
            "09:04 ann by call",
            "09:05 bob"
        ]
    );
    assert_eq!(
        world.timeline(1, "is sent now"),
        ["09:00 page 2 to ann by ops-hook is sent now"]
    );
}

/// E37: failing for now.
#[test]
fn the_timer_of_a_step_runs_on_while_a_page_of_it_is_retried() {
    let mut world = World::new(START, &[("ann", 2), ("bob", 10)]);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.advance(11);
    assert_eq!(world.delivered(), ["09:02 bob"]);
    let to_ann = world.pages().len() - 1;
    assert!((2..=5).contains(&to_ann), "{to_ann} attempts");
}

#[test]
fn a_step_whose_retries_are_spent_goes_on_without_its_timer() {
    let mut world = World::new(START, &[("ann", 60), ("bob", 60)]);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires("Down");
    world.advance(6);
    let delivered = world.delivered();
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    assert!(delivered[0].ends_with("bob"), "{delivered:?}");
    assert_eq!(world.timeline(1, "step 1 reaches nobody").len(), 1);
}

/// E39.
#[test]
fn after_a_downtime_one_overdue_step_runs_and_not_a_burst() {
    let mut world = World::new(START, &[("ann", 5), ("bob", 10), ("cyd", 5)]);
    world.fires("Down");
    world.advance(1);
    world.simulation.sleep(Duration::from_secs(39 * 60));
    world.advance(0);
    assert_eq!(world.pages(), ["09:00 ann", "09:40 bob"]);
    world.advance(11);
    assert_eq!(world.pages(), ["09:00 ann", "09:40 bob", "09:50 cyd"]);
}

/// E35.
#[test]
fn three_keys_are_three_pages() {
    let mut world = World::new(START, TWO);
    let three = ["A", "B", "C"].map(|name| sighting(name, Signal::Firing));
    world.receives(three.to_vec());
    assert_eq!(world.pages(), ["09:00 ann", "09:00 ann", "09:00 ann"]);
}

/// E40.
#[test]
fn closing_early_is_refused_and_tells_nobody() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(1);
    world.acknowledges(1, "bob");
    world.advance(4);
    let refusal = world.ask(1, Ask::Close { waive: Vec::new() }, "bob");
    let Err(Refusal::OutputsMissing { missing, .. }) = refusal else {
        panic!("refused with what is missing, found {refusal:?}");
    };
    assert_eq!(
        missing.first().map(|output| output.as_str()),
        Some("severity_confirmed")
    );
    assert_eq!(missing.last().map(|output| output.as_str()), Some("clear"));
    world.advance(10);
    assert_eq!(world.pages(), ["09:00 ann"]);
}

fn low(change: fn(&mut Book)) -> World {
    let mut book = book(TWO);
    let ann = book.people.get_mut("ann").expect("she is there");
    ann.notify_low = Some(contacts(&[("ann-mail", 0)]));
    change(&mut book);
    World::with(START, book, rules(at_severity(Severity::Sev4)))
}

/// E46.
#[test]
fn low_urgency_pages_the_first_step_once_by_notify_low() {
    let mut world = low(once_more);
    world.fires("Down");
    world.advance(90);
    assert_eq!(world.pages(), ["09:00 ann by ann-mail"]);
    assert_eq!(world.violations(), []);
}

#[test]
fn low_urgency_goes_on_to_the_first_step_that_reaches_somebody() {
    let mut world = low(|_book| {});
    world.receivers(&[("ann-mail", Receiver::Refuses)]);
    world.fires("Down");
    world.advance(90);
    assert_eq!(
        world.pages(),
        ["09:00 ann by ann-mail: refused", "09:00 bob"],
        "bob has no notify_low: his notify is taken"
    );
}

#[test]
fn low_urgency_is_exhausted_when_no_step_reaches_anybody() {
    let mut world = low(|book| policy(book).repeat = 4);
    world.receivers(&[("ann-mail", Receiver::Refuses), ("bob", Receiver::Refuses)]);
    world.fires("Down");
    world.advance(1);
    assert_eq!(
        world.violations(),
        [(1, "exhausted, and no page of it was delivered")]
    );
    world.receivers(&[]);
    world.advance(20);
    assert_eq!(
        world.delivered(),
        [
            "09:10 ann by ann-mail",
            "09:10 bob",
            "09:20 ann by ann-mail",
            "09:20 bob"
        ]
    );
    assert_eq!(world.violations(), []);
}

#[test]
fn an_urgency_of_none_pages_nobody() {
    let mut world = World::with(START, book(TWO), rules(at_severity(Severity::Sev5)));
    world.fires("Down");
    world.advance(30);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(world.violations(), []);
    assert!(world.incident(1).is_open());
}

#[test]
fn escalating_by_hand_when_all_is_spent_begins_with_the_first_step() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(18);
    world.asks(1, Ask::Escalate, "ann");
    world.advance(6);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:15 bob",
            "09:18 ann",
            "09:23 bob"
        ]
    );
}

#[test]
fn escalating_a_clear_incident_is_refused() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.resolves("Down");
    let refused = world.ask(1, Ask::Escalate, "ann").expect_err("it is clear");
    assert_eq!(
        refused.to_string(),
        "incident 1 is clear: nothing of it fires"
    );
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ann", "09:00 ann (update)"]);
}

#[test]
fn an_acknowledgement_holds_from_stabilization_on() {
    let mut book = book(TWO);
    for_30(&mut book);
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.fires("Down");
    world.acknowledges(1, "ann");
    while world.incident(1).phase != Phase::Stabilization {
        let missing = world.incident(1).missing_now(world.simulation.now());
        let waive = missing.into_iter().map(|output| Waiver {
            output,
            reason: "a story".to_owned(),
            until: None,
        });
        let waive = waive.collect();
        world.asks(1, Ask::Advance { waive }, "ann");
    }
    world.advance(60);
    assert_eq!(world.pages(), ["09:00 ann"]);
    assert_eq!(world.violations(), []);
}

#[test]
fn a_rise_while_a_page_is_retried_does_not_count_that_page_for_the_new_start() {
    let rules = rules(|settings| settings.severity = Some(by_word()));
    let mut world = World::with(START, book(TWO), rules);
    world.receivers(&[("ann", Receiver::Down)]);
    world.fires_as("Down a", "major");
    world.receivers(&[("ann", Receiver::Refuses)]);
    world.fires_as("Down b", "critical");
    assert_eq!(
        world.pages(),
        ["09:00 ann: retry", "09:00 ann: refused", "09:00 bob"],
        "the new page to ann failed for good: bob at once"
    );
}

#[test]
fn anybody_can_be_paged_by_hand_and_the_escalation_goes_on() {
    let mut book = book(TWO);
    add_person(&mut book, "cyd");
    let mut night = policy(&mut book).clone();
    night.steps[0].targets = vec![Target::Person("cyd".to_owned())];
    book.policies.insert("night".to_owned(), night);
    let mut world = World::with(START, book, rules(|_settings| {}));
    world.fires("Down");
    world.advance(1);
    let to_cyd = Ask::Page {
        to: Target::Person("cyd".to_owned()),
    };
    world.asks(1, to_cyd.clone(), "ann");
    world.advance(1);
    world.acknowledges(1, "ann");
    let to_night = Ask::Page {
        to: Target::Policy("night".to_owned()),
    };
    world.asks(1, to_night, "ann");
    world.asks(1, to_cyd, "ann");
    world.advance(30);
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:01 cyd", "09:02 cyd", "09:02 cyd"]
    );
    let nobody = Ask::Page {
        to: Target::Person("zoe".to_owned()),
    };
    let refused = world.ask(1, nobody, "ann").expect_err("there is no zoe");
    assert_eq!(refused.to_string(), "person:zoe reaches nobody");
}

#[test]
fn leadership_is_told_when_it_opens_and_when_it_rises() {
    let mut book = book(TWO);
    lead(&mut book, &[Severity::Sev1, Severity::Sev2], "cto");
    let mut world = World::with(
        START,
        book,
        rules(|settings| settings.severity = Some(by_word())),
    );
    world.fires_as("Down db1", "major");
    world.advance(1);
    world.fires_as("Down db2", "critical");
    world.advance(1);
    world.fires_as("Down db3", "critical");
    world.advance(1);
    assert_eq!(
        world.pages(),
        [
            "09:00 cto (update)",
            "09:00 ann",
            "09:01 cto (update)",
            "09:01 ann",
        ]
    );
}

#[test]
fn a_person_who_raises_the_severity_tells_leadership_alone() {
    let mut book = book(TWO);
    lead(&mut book, &[Severity::Sev1], "cto");
    let mut world = World::with(START, book, rules(at_severity(Severity::Sev2)));
    world.fires("Down");
    world.advance(2);
    world.asks(1, severity(Severity::Sev1), "ann");
    world.advance(4);
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:02 cto (update)", "09:05 bob"]
    );
}

fn severity(severity: Severity) -> Ask {
    Ask::SetSeverity {
        severity,
        inputs: SeverityInputs::default(),
        reason: "customers call".to_owned(),
    }
}

/// E48.
#[test]
fn an_incident_is_clear_when_the_last_of_its_alerts_is_resolved() {
    let rules = rules(|settings| settings.resolve_after = Some(Duration::from_secs(120)));
    let mut world = World::with(START, book(TWO), rules);
    let both = ["Down a", "Down b"].map(|name| sighting(name, Signal::Firing));
    world.receives(both.to_vec());
    world.advance(4);
    world.receives(vec![
        sighting("Down a", Signal::Resolved),
        sighting("Down b", Signal::Firing),
    ]);
    world.advance(5);
    assert!(!world.incident(1).is_clear());
    let both = ["Down a", "Down b"].map(|name| sighting(name, Signal::Resolved));
    world.receives(both.to_vec());
    world.advance(30);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:11 ann (update)",
            "09:11 bob (update)"
        ]
    );
    let incident = world.incident(1);
    assert_eq!(incident.clear_since, Some(at("2026-03-02T09:11:00Z")));
    assert!(incident.is_open());
}

/// E38.
#[test]
fn a_crash_between_sending_and_recording_sends_again_under_the_same_id() {
    let mut world = World::new(START, TWO).in_memory();
    let memory = Arc::clone(world.simulation.memory());
    world.simulation.answer_pages(move |_message, _now| {
        // It went out; what is written down next is lost.
        memory.stop_at(1);
        watchkeeper::domain::page::Outcome::Delivered {
            detail: "200".to_owned(),
        }
    });
    let report = {
        let mut report = watchkeeper::simulate::signal(&[], Signal::Firing);
        report.sightings = vec![sighting("Down", Signal::Firing)];
        report
    };
    world
        .simulation
        .receive(report)
        .expect_err("the program stops");
    let kept = Arc::new(world.simulation.memory().reopen());
    world.receivers(&[]);
    world.simulation.restart(kept).expect("it starts again");
    assert_eq!(world.pages(), ["09:00 ann", "09:00 ann"]);
    let ids = world.page_ids();
    assert_eq!(ids[0], ids[1]);
    world.advance(6);
    assert_eq!(world.pages(), ["09:00 ann", "09:00 ann", "09:05 bob"]);
}

#[test]
fn no_page_id_is_ever_that_of_another_page() {
    let mut book = book(TWO);
    policy(&mut book).repeat = 1;
    notify(&mut book, "bob", &[("bob", 0), ("bob-phone", 1)]);
    let rules = rules(|settings| settings.severity = Some(by_word()));
    let mut world = World::with(START, book, rules);
    world.receivers(&[("bob-phone", Receiver::Down)]);
    world.fires_as("Down a", "major");
    world.advance(52); // two rounds, two exhaustions
    world.asks(1, Ask::Escalate, "ann");
    let page = Ask::Page {
        to: Target::Person("ann".to_owned()),
    };
    world.asks(1, page.clone(), "ann");
    world.asks(1, page, "ann");
    world.fires_as("Down b", "critical");
    world.acknowledges(1, "ann");
    world.asks(1, Ask::Unacknowledge, "ann");
    world.advance(1);
    world.resolves("Down a");
    world.resolves("Down b");
    world.fires("Other");
    world.fires_as("Down a", "major");
    world.advance(6);

    // What one id stands for: one contact, one step, one instant at which it was written down.
    let mut pages: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    for sent in world.simulation.sent() {
        let message = &sent.message;
        let attempts = pages.entry(message.page_id.clone()).or_default();
        attempts.push((message.address.clone(), message.attempt));
    }
    for (id, attempts) in &pages {
        let (address, _) = &attempts[0];
        let expected: Vec<(String, u32)> = (1..)
            .map(|attempt| (address.clone(), attempt))
            .take(attempts.len())
            .collect();
        assert_eq!(*attempts, expected, "{id}");
    }
    assert!(pages.values().any(|attempts| attempts.len() > 1), "retries");
    assert!(pages.len() > 12, "{pages:?}");
}

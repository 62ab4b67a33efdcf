//! Muting: silences, maintenance windows and inhibition, and whom they keep from being paged.

use crate::backtest::nobody_closes;
use crate::world::{
    Receiver, START, World, book, by_word, contacts, lead, plan, policy, rules, sighting, template,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::alert::{Alert, Fingerprint, Labels, Signal, Status};
use watchkeeper::domain::escalation::Target;
use watchkeeper::domain::incident::event::MutedBy;
use watchkeeper::domain::incident::{Ask, Refusal};
use watchkeeper::domain::inhibition::{Inhibition, Sides};
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::rule::{OpenWhen, RuleSet, Settings};
use watchkeeper::domain::severity::Severity;
use watchkeeper::domain::silence::{Silence, State, Unfit};
use watchkeeper::domain::time::Timestamp;
use watchkeeper::store::Failure;
use watchkeeper::store::records::PageRecord;
use watchkeeper::store::silences::{self, Unset, Wanted};

const HOUR: u64 = 60;

/// Ana for five minutes, then ben; one rule takes every alert.
fn world() -> World {
    World::new(START, &[("ana", 5), ("ben", 60)])
}

fn matchers(texts: &[&str]) -> Vec<Matcher> {
    let parse = |text: &&str| Matcher::parse(text).expect("a matcher");
    texts.iter().map(parse).collect()
}

impl World {
    /// A silence of ana's, from minute to minute after now, with an id that ends in its number.
    fn wants_silence(&self, n: u64, of: &[&str], from: u64, to: u64) -> Wanted {
        let now = self.simulation.now();
        let after = |minutes: u64| now.plus(Duration::from_secs(minutes * 60));
        Wanted {
            id: None,
            new_id: silence_id(n),
            matchers: matchers(of),
            starts_at: after(from),
            ends_at: after(to),
            created_by: "ana".to_owned(),
            comment: "deploy".to_owned(),
            token: None,
            annotations: Labels::default(),
        }
    }

    fn silence(&mut self, n: u64, of: &[&str], from: u64, to: u64) {
        let wanted = self.wants_silence(n, of, from, to);
        self.simulation.silence(wanted).expect("it is made");
    }

    fn expire(&mut self, n: u64) {
        let expired = self.simulation.expire_silence(&silence_id(n));
        expired.expect("there is such a silence");
    }

    /// By what an incident is muted: `silence 1`, `Cluster`.
    fn muted_by(&self, number: u64) -> Vec<String> {
        let incident = self.incident(number);
        let mute = incident.mute();
        let by = mute.iter().flat_map(|mute| &mute.by);
        by.map(|by| match by {
            MutedBy::Silence { id, .. } => {
                let n: u64 = id[24..].parse().expect("it ends in its number");
                format!("silence {n}")
            }
            MutedBy::Inhibition { name, .. } => name.clone(),
        })
        .collect()
    }

    /// `ana-phone muted`, in the order in which they were written.
    fn states(&self, number: u64) -> Vec<String> {
        let store = self.simulation.store();
        let pages = store.read(|reader| reader.pages(number)).expect("it reads");
        let line = |page: &PageRecord| format!("{} {}", page.issue.address, page.state.as_str());
        pages.iter().map(line).collect()
    }

    fn alert(&self, name: &str) -> Alert {
        let of = fingerprint(name);
        let store = self.simulation.store();
        let alert = store.read(|reader| reader.alert(of)).expect("it reads");
        alert.expect("there is such an alert")
    }

    fn n_incidents(&self) -> usize {
        let all = (1..).map(|number| self.simulation.incident(number).expect("it reads"));
        all.take_while(Option::is_some).count()
    }
}

fn silence_id(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn fingerprint(name: &str) -> Fingerprint {
    sighting(name, Signal::Firing).labels.fingerprint()
}

// Silences.

#[test]
fn silenced_before_it_opens_it_opens_without_paging() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.fires("Down");
    world.advance(59);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(world.muted_by(1), ["silence 1"]);
    assert_eq!(world.violations(), []);
    assert_eq!(
        world.timeline(1, "muted"),
        [
            "09:00 muted by silence 00000000-0000-4000-8000-000000000001 of ana (deploy): nobody is paged"
        ]
    );
    // It ends while it fires.
    world.advance(7);
    assert_eq!(world.pages(), ["10:00 ana", "10:05 ben"]);
    assert_eq!(world.timeline(1, "no longer"), ["10:00 no longer muted"]);
    assert!(!world.incident(1).is_muted());
}

#[test]
fn silenced_while_a_step_waits_no_step_runs_and_later_contacts_are_dropped() {
    let mut book = book(&[("ana", 5), ("ben", 60)]);
    let ana = book.people.get_mut("ana").expect("she is there");
    ana.notify = contacts(&[("ana", 0), ("ana-phone", 3)]);
    let mut world = World::with(START, book, rules(|_| {}));
    world.fires("Down");
    world.advance(2);
    world.silence(1, &["alertname=\"Down\""], 0, 30);
    assert_eq!(world.states(1), ["ana delivered", "ana-phone muted"]);
    assert_eq!(
        world.timeline(1, "pages not sent"),
        [
            "09:02 pages not sent: 2 (muted by silence 00000000-0000-4000-8000-000000000001 of ana (deploy))"
        ]
    );
    world.advance(29);
    assert_eq!(world.pages(), ["09:00 ana"]);
    world.advance(10);
    assert_eq!(
        world.pages(),
        [
            "09:00 ana",
            "09:32 ana",
            "09:35 ana by ana-phone",
            "09:37 ben"
        ],
        "from step 1"
    );
}

#[test]
fn a_silence_that_ends_after_it_was_acknowledged_pages_nobody() {
    let mut world = world();
    world.fires("Down");
    world.silence(1, &["alertname=\"Down\""], 1, 30);
    world.advance(2);
    world.acknowledges(1, "ana");
    world.advance(HOUR);
    assert_eq!(world.pages(), ["09:00 ana"]);
    let incident = world.incident(1);
    assert!(!incident.is_muted() && incident.acknowledged.is_some());
}

#[test]
fn a_silence_that_is_expired_by_hand_ends_at_once() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.fires("Down");
    world.advance(10);
    world.expire(1);
    assert_eq!(world.pages(), ["09:10 ana"]);
    world.expire(1);
    assert_eq!(world.pages(), ["09:10 ana"], "the same twice is as good");
}

#[test]
fn a_maintenance_window_mutes_from_its_start_to_its_end() {
    let mut world = world();
    world.silence(1, &["alertname=~\"Down.*\""], 3, 20);
    world.fires("Down");
    assert_eq!(world.pages(), ["09:00 ana"], "it has yet to begin");
    world.advance(3);
    assert_eq!(world.muted_by(1), ["silence 1"]);
    world.fires("DownToo");
    world.advance(16);
    assert_eq!(world.pages(), ["09:00 ana"]);
    world.advance(2);
    assert_eq!(world.pages(), ["09:00 ana", "09:20 ana", "09:20 ana"]);
}

#[test]
fn an_unmuted_alert_that_joins_ends_the_mute() {
    let mut world = world();
    world.silence(1, &["instance=\"db1\""], 0, 60);
    world.fires("Down db1");
    world.advance(10);
    assert_eq!(world.pages(), [""; 0]);
    world.fires("Down db2");
    assert_eq!(world.pages(), ["09:10 ana"]);
    // It resolves: what is left is muted.
    world.advance(1);
    world.resolves("Down db2");
    world.advance(20);
    // Nothing was said of the others; it is found out when anything is due.
    assert_eq!(world.pages(), ["09:10 ana"]);
    assert_eq!(world.muted_by(1), ["silence 1"]);
}

#[test]
fn two_silences_that_overlap_mute_on() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 10);
    world.fires("Down");
    world.advance(5);
    world.silence(2, &["alertname=\"Down\""], 0, 30);
    world.advance(6);
    assert_eq!(world.muted_by(1), ["silence 2"]);
    world.advance(30);
    assert_eq!(world.pages(), ["09:35 ana", "09:40 ben"]);
}

#[test]
fn a_silence_of_something_else_mutes_nothing() {
    let mut world = world();
    world.silence(1, &["alertname=\"Other\""], 0, 60);
    world.fires("Down");
    world.advance(6);
    assert_eq!(world.pages(), ["09:00 ana", "09:05 ben"]);
}

#[test]
fn recording_resolving_and_clearing_go_on() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.fires("Down");
    world.fires("Down");
    assert_eq!(world.received(1), 2);
    world.advance(10);
    world.resolves("Down");
    let incident = world.incident(1);
    assert!(incident.is_clear() && !incident.is_muted());
    world.advance(10);
    world.fires("Down");
    assert_eq!(world.muted_by(1), ["silence 1"], "it fires again, as muted");
    world.advance(45);
    assert_eq!(world.pages(), ["10:00 ana", "10:05 ben"]);
}

#[test]
fn muted_when_it_becomes_clear_nobody_hears_of_it() {
    let mut book = book(&[("ana", 5)]);
    lead(&mut book, &[Severity::Sev1], "lea");
    let mut world = World::with(
        START,
        book,
        rules(|settings| settings.resolve_after = Some(Duration::from_secs(300))),
    );
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.advance(2 * HOUR);
    assert_eq!(world.pages(), [""; 0]);
    assert!(world.incident(1).is_clear());
}

#[test]
fn leadership_is_told_once_it_is_muted_no_more() {
    let mut book = book(&[("ana", 5)]);
    lead(&mut book, &[Severity::Sev1], "lea");
    let mut world = World::with(START, book, rules(|_| {}));
    world.silence(1, &["alertname=\"Down\""], 0, 4);
    world.fires("Down");
    world.advance(3);
    assert_eq!(world.pages(), [""; 0]);
    world.advance(2);
    assert_eq!(world.pages(), ["09:04 lea (update)", "09:04 ana"]);
}

#[test]
fn fires_again_while_quiet_and_unmuted_by_then() {
    let mut world = World::with(
        START,
        book(&[("ana", 5)]),
        rules(|settings| settings.resolve_after = Some(Duration::from_secs(3600))),
    );
    world.silence(1, &["instance=\"db1\""], 0, 60);
    world.fires("Down db1");
    world.resolves("Down db1");
    world.advance(1);
    world.fires("Down db2");
    assert_eq!(world.pages(), ["09:01 ana"]);
}

#[test]
fn a_severity_that_rises_while_muted_pages_when_the_mute_ends() {
    let mut world = World::with(
        START,
        book(&[("ana", 5), ("ben", 60)]),
        rules(|settings| settings.severity = Some(by_word())),
    );
    world.silence(1, &["alertname=\"Down\""], 0, 30);
    world.fires_as("Down db1", "warning");
    world.acknowledges(1, "ana");
    let before = world.incident(1).severity;
    world.advance(10);
    world.fires_as("Down db2", "critical");
    let incident = world.incident(1);
    assert!(incident.severity.is_more_severe_than(before));
    assert!(incident.acknowledged.is_none(), "a rise drops it");
    world.advance(19);
    assert_eq!(world.pages(), [""; 0]);
    world.advance(2);
    assert_eq!(world.pages(), ["09:30 ana"]);
}

#[test]
fn the_acknowledge_timeout_stands_still() {
    let mut book = book(&[("ana", 5), ("ben", 60)]);
    policy(&mut book).acknowledge_timeout_ms = Some(30 * 60_000);
    let mut world = World::with(START, book, rules(|_| {}));
    world.fires("Down");
    world.acknowledges(1, "ana");
    world.advance(10);
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.advance(HOUR + 19);
    assert_eq!(world.pages(), ["09:00 ana"]);
    world.advance(1);
    assert_eq!(
        world.pages(),
        ["09:00 ana", "10:30 ana"],
        "30 minutes unmuted"
    );
}

#[test]
fn escalating_by_hand_says_that_it_is_muted_and_a_page_by_hand_goes_out() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.fires("Down");
    let refused = world.ask(1, Ask::Escalate, "ana");
    let by = "silence 00000000-0000-4000-8000-000000000001 of ana (deploy)".to_owned();
    assert_eq!(refused.err(), Some(Refusal::Muted { number: 1, by }));
    let to = Target::Person("ben".to_owned());
    world.asks(1, Ask::Page { to }, "ana");
    assert_eq!(world.pages(), ["09:00 ben"]);
}

#[test]
fn a_silence_by_attribute_mutes_what_has_it() {
    let mut world = world();
    world.silence(1, &["@severity=\"warning\""], 0, 60);
    world.fires_as("Down db1", "warning");
    assert_eq!(world.pages(), [""; 0]);
    world.fires_as("Down db1", "critical");
    assert_eq!(world.pages(), ["09:00 ana"], "its word has changed");
}

#[test]
fn a_clock_that_is_set_back_into_a_silence_mutes_again() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.fires("Down");
    world.advance(61);
    assert_eq!(world.pages(), ["10:00 ana"]);
    world.simulation.jump(-30 * 60_000).expect("it works");
    assert_eq!(world.muted_by(1), ["silence 1"], "09:31");
    world.advance(28);
    assert_eq!(world.pages().len(), 1);
    world.advance(2);
    assert_eq!(world.pages(), ["10:00 ana", "10:00 ana"]);
}

#[test]
fn a_page_under_way_that_is_muted_and_fails_is_not_sent_again() {
    let mut world = world();
    world.receivers(&[("ana", Receiver::Down)]);
    world.fires("Down");
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    assert_eq!(world.states(1), ["ana muted"]);
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ana: retry"]);
}

#[test]
fn an_incident_of_thousands_is_muted_while_each_of_them_is() {
    let mut world = world();
    world.silence(1, &["instance=~\"db.*\""], 0, 60);
    let names: Vec<String> = (0..3_000).map(|n| format!("Down db{n}")).collect();
    let all = names.iter().map(|name| sighting(name, Signal::Firing));
    world.receives(all.collect());
    assert_eq!(world.muted_by(1), ["silence 1"]);
    world.fires("Down web1");
    assert_eq!(world.pages(), ["09:00 ana"]);
    world.resolves("Down web1");
    world.advance(5);
    assert_eq!(world.muted_by(1), ["silence 1"]);
    assert_eq!(world.pages(), ["09:00 ana"]);
}

#[test]
fn many_incidents_are_looked_at_when_a_silence_begins_and_ends() {
    let mut world = World::new(START, &[("ana", 1_000)]);
    let names: Vec<String> = (0..500).map(|n| format!("Down{n}")).collect();
    let all = names.iter().map(|name| sighting(name, Signal::Firing));
    world.receives(all.collect());
    assert_eq!(world.pages().len(), 500);
    world.silence(1, &["alertname=~\"Down.*\""], 1, 2);
    world.advance_seconds(61);
    let muted = |world: &World| (1..=500).filter(|n| world.incident(*n).is_muted()).count();
    assert_eq!(muted(&world), 500);
    world.advance_seconds(60);
    assert_eq!(muted(&world), 0);
    assert_eq!(world.pages().len(), 1_000);
}

// What silences are.

#[test]
fn a_silence_that_is_extended_is_the_same_and_one_that_mutes_otherwise_is_another() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    let mut longer = world.wants_silence(2, &["alertname=\"Down\""], 0, 90);
    longer.id = Some(silence_id(1));
    let longer = world.simulation.silence(longer).expect("it is changed");
    assert_eq!(longer.id, silence_id(1));
    let mut other = world.wants_silence(3, &["alertname=\"Up\""], 0, 90);
    other.id = Some(silence_id(1));
    let other = world.simulation.silence(other).expect("it is made");
    assert_eq!(other.id, silence_id(3));
    let all = all_silences(&world);
    let states: Vec<(&str, State)> = all
        .iter()
        .map(|of| (&of.id[35..], of.state(world.simulation.now())))
        .collect();
    assert_eq!(states, [("3", State::Active), ("1", State::Expired)]);
}

fn all_silences(world: &World) -> Vec<Silence> {
    let now = world.simulation.now();
    let store = world.simulation.store();
    store
        .read(|reader| silences::list(reader, |_| true, now))
        .expect("it reads")
}

#[test]
fn what_cannot_be_a_silence_is_refused() {
    let mut world = world();
    let refused = |world: &mut World, wanted| match world.simulation.silence(wanted) {
        Err(Failure::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let wanted = world.wants_silence(1, &["a=\"b\""], 10, 10);
    assert_eq!(
        refused(&mut world, wanted),
        Unset::Unfit(Unfit::EndsBeforeItStarts)
    );
    let mut wanted = world.wants_silence(1, &["a=\"b\""], 0, 10);
    wanted.starts_at = Timestamp::EPOCH;
    wanted.ends_at = wanted.starts_at.plus(Duration::from_secs(1));
    assert_eq!(
        refused(&mut world, wanted),
        Unset::Unfit(Unfit::EndsInThePast)
    );
    let mut wanted = world.wants_silence(1, &["a=\"b\""], 0, 10);
    wanted.id = Some(silence_id(9));
    assert_eq!(
        refused(&mut world, wanted),
        Unset::NoSuchSilence(silence_id(9))
    );
}

#[test]
fn expired_silences_are_kept_for_the_retention_of_alerts() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 60);
    world.advance(89 * 24 * HOUR);
    assert_eq!(all_silences(&world).len(), 1);
    world.advance(2 * 24 * HOUR);
    assert_eq!(all_silences(&world).len(), 0);
}

#[test]
fn a_silence_that_mutes_nothing_for_weeks_is_forgotten() {
    let mut world = world();
    world.silence(1, &["alertname=\"Down\""], 0, 100 * 24 * HOUR);
    world.silence(2, &["alertname=\"Up\""], 0, 100 * 24 * HOUR);
    world.advance(24 * HOUR);
    world.fires("Down");
    world.advance(15 * 24 * HOUR);
    let forgotten = |world: &World| -> Vec<bool> {
        let now = world.simulation.now();
        let all = all_silences(world);
        let listed = world.simulation.store();
        let listed = listed
            .read(|reader| silences::listed(reader, all))
            .expect("it reads");
        listed.iter().map(|of| of.is_forgotten(now)).collect()
    };
    assert_eq!(forgotten(&world), [false, true], "one mutes now");
    world.resolves("Down");
    assert_eq!(forgotten(&world), [true, true]);
}

// Inhibition.

fn inhibits(source: &str, target: &str, equal: &[&str]) -> Inhibition {
    let equal = equal.iter().map(|name| (*name).to_owned()).collect();
    Inhibition::new(matchers(&[source]), matchers(&[target]), equal)
}

/// `Cluster` is the cause of everything else of its instance.
fn clustered() -> RuleSet {
    rules(|_| {}).inhibiting(vec![inhibits(
        "alertname=\"Cluster\"",
        "alertname!=\"Cluster\"",
        &["instance"],
    )])
}

fn inhibiting() -> World {
    World::with(START, book(&[("ana", 5), ("ben", 600)]), clustered())
}

#[test]
fn a_cause_that_begins_mutes_its_effect_until_it_resolves() {
    let mut world = inhibiting();
    world.fires("Down eu");
    world.advance(1);
    world.fires("Cluster eu");
    assert_eq!(world.pages(), ["09:00 ana", "09:01 ana"]);
    assert_eq!(world.muted_by(1), ["Cluster"]);
    assert_eq!(
        world.timeline(1, "muted"),
        [format!(
            "09:01 muted by its cause Cluster ({}): nobody is paged",
            fingerprint("Cluster eu")
        )]
    );
    world.acknowledges(2, "ana");
    world.advance(30);
    assert_eq!(world.pages().len(), 2);
    world.resolves("Cluster eu");
    world.advance(6);
    assert_eq!(
        world.pages()[2..],
        ["09:31 ana", "09:31 ana (update)", "09:36 ben"]
    );
}

#[test]
fn an_effect_without_an_incident_opens_none_until_no_cause_inhibits_it() {
    let mut world = inhibiting();
    world.fires("Cluster eu");
    world.acknowledges(1, "ana");
    world.fires("Down eu");
    world.fires("Down eu");
    world.fires("Down us");
    assert_eq!(
        world.n_incidents(),
        2,
        "of the cluster, and of what is elsewhere"
    );
    let held = world.alert("Down eu");
    assert_eq!(
        (held.incident, held.held_by),
        (None, Some(fingerprint("Cluster eu")))
    );
    world.acknowledges(2, "ana");
    world.resolves("Down us");
    world.advance(2 * HOUR);
    world.resolves("Cluster eu");
    // The key has an open incident by now.
    let freed = world.alert("Down eu");
    assert_eq!((freed.incident, freed.held_by), (Some(2), None));
    assert_eq!(world.received(2), 3);
    assert_eq!(
        world.pages(),
        [
            "09:00 ana",
            "09:00 ana",
            "09:00 ana (update)",
            "11:00 ana (update)",
            "11:00 ana"
        ]
    );
}

#[test]
fn an_effect_that_resolves_before_its_cause_was_never_anybodys_business() {
    let mut world = inhibiting();
    world.fires("Cluster eu");
    world.acknowledges(1, "ana");
    world.fires("Down eu");
    world.resolves("Down eu");
    world.resolves("Cluster eu");
    world.advance(HOUR);
    assert_eq!(world.n_incidents(), 1);
    assert_eq!(world.alert("Down eu").held_by, None);
}

#[test]
fn cause_and_effect_in_one_report_open_one_incident_in_whichever_order() {
    for names in [["Cluster eu", "Down eu"], ["Down eu", "Cluster eu"]] {
        let mut world = inhibiting();
        let all = names.map(|name| sighting(name, Signal::Firing));
        world.receives(all.to_vec());
        assert_eq!(world.pages(), ["09:00 ana"], "{names:?}");
        assert_eq!(world.n_incidents(), 1, "{names:?}");
        let resolved = names.map(|name| sighting(name, Signal::Resolved));
        world.receives(resolved.to_vec());
        assert_eq!(world.n_incidents(), 1, "{names:?}: both are over at once");
    }
}

#[test]
fn a_stale_cause_still_inhibits() {
    let mut rules = clustered();
    rules = with_settings(rules, |settings| {
        settings.stale_after = Some(Duration::from_secs(3600));
    });
    let mut world = World::with(START, book(&[("ana", 600)]), rules);
    world.fires("Cluster eu");
    world.acknowledges(1, "ana");
    for _ in 0..4 {
        world.fires("Down eu");
        world.advance(30);
    }
    assert_eq!(world.alert("Cluster eu").status, Status::Stale);
    assert_eq!(world.alert("Down eu").status, Status::Firing);
    assert_eq!(world.n_incidents(), 1);
    assert_eq!(world.pages(), ["09:00 ana", "10:00 ana (update)"]);
}

#[test]
fn an_effect_that_went_stale_is_judged_when_its_cause_ends() {
    let mut rules = clustered();
    rules = with_settings(rules, |settings| {
        settings.stale_after = Some(Duration::from_secs(3600));
    });
    let mut world = World::with(START, book(&[("ana", 600)]), rules);
    world.fires("Cluster eu");
    world.acknowledges(1, "ana");
    world.fires("Down eu");
    for _ in 0..3 {
        world.advance(30);
        world.fires("Cluster eu");
    }
    assert_eq!(world.alert("Down eu").status, Status::Stale);
    world.resolves("Cluster eu");
    assert_eq!(world.n_incidents(), 2);
    assert_eq!(world.incident(2).members.counts().stale, 1);
    assert_eq!(world.pages().last().map(String::as_str), Some("10:30 ana"));
}

#[test]
fn an_effect_that_must_last_waits_its_time_once_its_cause_ended() {
    let mut rules = clustered();
    rules = with_settings(rules, |settings| {
        settings.open = Some(OpenWhen::After(Duration::from_secs(120)));
    });
    let mut world = World::with(START, book(&[("ana", 600)]), rules);
    world.fires("Cluster eu");
    world.fires("Down eu");
    world.advance(2);
    assert_eq!(world.pages(), ["09:02 ana"]);
    assert_eq!(
        world.alert("Down eu").held_by,
        Some(fingerprint("Cluster eu")),
        "its time came when its cause had begun to fire"
    );
    world.advance(10);
    world.resolves("Cluster eu");
    assert_eq!(world.alert("Down eu").status, Status::Pending);
    world.advance(2);
    assert_eq!(world.pages()[1..], ["09:12 ana (update)", "09:14 ana"]);
}

#[test]
fn an_effect_that_waited_while_its_incident_closed_is_judged_when_its_cause_ends() {
    let rules = with_settings(clustered(), |settings| {
        settings.open = Some(OpenWhen::After(Duration::from_secs(120)));
        settings.resolve_after = Some(Duration::ZERO);
        settings.verification = Some(plan("*/10 * * * *", 1));
    });
    let mut world = World::with(START, nobody_closes(), rules);
    world.fires("Down eu");
    world.advance(2);
    world.resolves("Down eu");
    world.fires("Cluster eu");
    // It begins to wait as a recurrence of what is closed before its time has come.
    world.advance(57);
    world.fires("Down eu");
    assert_eq!(world.alert("Down eu").status, Status::Pending);
    world.advance(1);
    assert!(!world.incident(1).is_open());
    world.advance(1);
    assert_eq!(
        world.alert("Down eu").held_by,
        Some(fingerprint("Cluster eu"))
    );
    world.advance(9);
    world.resolves("Cluster eu");
    assert_eq!(world.alert("Down eu").status, Status::Pending);
    world.advance(2);
    assert!(world.incident(1).is_open(), "it is reopened");
}

#[test]
fn a_rule_that_is_added_while_both_fire_mutes_and_one_that_is_gone_does_not() {
    let mut world = World::with(START, book(&[("ana", 600)]), rules(|_| {}));
    world.fires("Cluster eu");
    world.fires("Down eu");
    assert_eq!(world.pages().len(), 2);
    world.simulation.in_force.rules = Arc::new(clustered());
    world.advance(1);
    assert_eq!(world.muted_by(2), ["Cluster"]);
    assert_eq!(world.muted_by(1), [""; 0]);
    world.fires("Other eu");
    assert_eq!(world.n_incidents(), 2);
    world.simulation.in_force.rules = Arc::new(rules(|_| {}));
    world.advance(1);
    assert_eq!(world.muted_by(2), [""; 0]);
    assert_eq!(world.n_incidents(), 3, "what was held opens");
    assert_eq!(
        world.pages()[2..],
        ["09:01 ana", "09:01 ana"],
        "the effect, and what was held"
    );
}

#[test]
fn a_cause_of_many_effects_frees_them_all() {
    let mut world = World::with(START, book(&[("ana", 600)]), clustered());
    world.fires("Cluster eu");
    let names: Vec<String> = (0..700).map(|n| format!("Down{n} eu")).collect();
    let all = |said| names.iter().map(move |name| sighting(name, said));
    world.receives(all(Signal::Firing).collect());
    assert_eq!((world.n_incidents(), world.pages().len()), (1, 1));
    world.acknowledges(1, "ana");
    world.resolves("Cluster eu");
    assert_eq!(world.n_incidents(), 701);
    // And are muted again, all of them.
    world.fires("Cluster eu");
    world.advance(1);
    let n_muted = (2..=701).filter(|n| world.incident(*n).is_muted()).count();
    assert_eq!(n_muted, 700);
    world.receives(all(Signal::Resolved).collect());
}

#[test]
fn a_silenced_cause_inhibits_all_the_same() {
    let mut world = inhibiting();
    world.silence(1, &["alertname=\"Cluster\""], 0, 60);
    world.fires("Cluster eu");
    world.fires("Down eu");
    world.advance(59);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(world.n_incidents(), 1);
}

#[test]
fn an_incident_of_both_a_cause_and_its_effects_pages() {
    let mut rules = clustered();
    rules = with_settings(rules, |settings| settings.dedup_key = Some(template("all")));
    let mut world = World::with(START, book(&[("ana", 5)]), rules);
    world.fires("Down eu");
    world.fires("Cluster eu");
    assert_eq!(world.muted_by(1), [""; 0], "the cause itself is not muted");
    world.resolves("Down eu");
    world.resolves("Cluster eu");
    assert!(world.incident(1).is_clear());
}

/// Rows of Alertmanager's that ask what we do not have.
const NOT_OURS: &[(&str, &str)] = &[];

#[test]
fn alertmanagers_cases_of_inhibition_hold() {
    let rules = [
        (
            "rule=\"1\",severity=\"critical\"",
            "rule=\"1\",severity=\"warning\"",
            vec!["a", "b"],
        ),
        ("rule=\"2\",s=\"1\"", "rule=\"2\",t=\"1\"", vec!["e"]),
        ("rule=\"3\",s=\"1\"", "rule=\"3\",t=\"1\"", vec![]),
        (
            "rule=\"4\",lvl=~\"1|2\"",
            "rule=\"4\",lvl=~\"2|3\"",
            vec!["e"],
        ),
    ];
    let list = |text: &str| Matcher::parse_list(text).expect("matchers");
    let inhibitions: Vec<Inhibition> = rules
        .iter()
        .map(|(source, target, equal)| {
            let equal = equal.iter().map(|name| (*name).to_owned()).collect();
            Inhibition::new(list(source), list(target), equal)
        })
        .collect();
    let cases = include_str!("fixtures/cases/inhibition.json");
    let cases: Value = serde_json::from_str(cases).expect("JSON");
    let cases = cases["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 17);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        if NOT_OURS.iter().any(|(of, _why)| *of == name) {
            continue;
        }
        let alerts: Vec<(String, Labels)> = case["alerts"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|alert| alert["endsAt"].is_null())
            .map(|alert| {
                let labels: Labels =
                    serde_json::from_value(alert["labels"].clone()).expect("labels");
                (labels.get("id").expect("an id").to_owned(), labels)
            })
            .collect();
        let none = Labels::default();
        let sides = |labels| Sides {
            labels,
            attributes: &none,
        };
        // As rules say it, and as the store finds it.
        let mut world = World::with(
            START,
            book(&[("ana", 600)]),
            crate::world::rules(|settings| {
                settings.dedup_key = Some(template("{{ labels.id }}"));
            })
            .inhibiting(inhibitions.clone()),
        );
        let sightings = alerts.iter().map(|(_, labels)| {
            let mut sighting = sighting("any", Signal::Firing);
            sighting.labels = labels.clone();
            sighting
        });
        world.receives(sightings.collect());
        for (id, labels) in &alerts {
            let causes: Vec<&String> = alerts
                .iter()
                .filter(|(other, _)| other != id)
                .filter(|(_, cause)| {
                    let mut all = inhibitions.iter();
                    all.any(|of| of.inhibits(sides(cause), sides(labels)))
                })
                .map(|(other, _)| other)
                .collect();
            let wanted = &case["result"][id.as_str()]["inhibitedBy_ids"];
            let wanted = wanted.as_array().expect("a list");
            assert_eq!(wanted.is_empty(), causes.is_empty(), "{name}: {id}");
            for one in wanted {
                let one = one.as_str().expect("an id").to_owned();
                assert!(causes.contains(&&one), "{name}: {id} by {one}");
            }
            let store = world.simulation.store();
            let stored = store
                .read(|reader| reader.alert(labels.fingerprint()))
                .expect("it reads")
                .expect("it is there");
            assert_eq!(stored.held_by.is_some(), !wanted.is_empty(), "{name}: {id}");
        }
    }
}

/// The same rules, the first of them changed.
fn with_settings(rules: RuleSet, change: impl FnOnce(&mut Settings)) -> RuleSet {
    let mut all = rules.rules().to_vec();
    change(&mut all[0].settings);
    RuleSet::new(all, rules.matrix, rules.revision).inhibiting(rules.inhibitions)
}

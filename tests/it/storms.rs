//! Storms: past the cap further keys of a team join one incident, and come out of it when the rate has fallen.

use crate::world::{START, World, book, plan, rule, rule_set, template};
use std::time::Duration;
use watchkeeper::domain::alert::{Labels, Sighting, Signal};
use watchkeeper::domain::incident::StormCap;
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::rule::{Settings, SeverityRule};
use watchkeeper::domain::severity::Severity;
use watchkeeper::simulate::signal;
use watchkeeper::store::report::Recorded;
use watchkeeper::store::silences::Wanted;

/// Ann, then ben. More than three incidents of a team within a minute are a storm; SEV1, and the key is service and alert.
fn world(change: impl Fn(&mut Settings)) -> World {
    let of_team = |settings: &mut Settings| {
        settings.dedup_key = Some(template("{{ labels.service }}/{{ labels.alertname }}"));
        change(settings);
    };
    let payments = rule("payments", &[r#"service="payments""#], |settings| {
        of_team(settings);
        settings.team = Some("payments".to_owned());
    });
    let rules = rule_set("r1", vec![payments, rule("all", &[], of_team)]);
    let mut book = book(&[("ann", 5), ("ben", 60)]);
    book.storm = Some(StormCap {
        incidents: 3,
        within_ms: 60_000,
    });
    World::with(START, book, rules)
}

fn alert(key: &str, said: Signal) -> Sighting {
    let (service, name) = key.split_once('/').expect("a service and a name");
    signal(&[("alertname", name), ("service", service)], said)
        .sightings
        .remove(0)
}

fn fires(world: &mut World, keys: &[&str]) -> Vec<Recorded> {
    let mut report = |key: &&str| world.receives(vec![alert(key, Signal::Firing)]);
    keys.iter().map(&mut report).collect()
}

fn resolves(world: &mut World, key: &str) {
    world.receives(vec![alert(key, Signal::Resolved)]);
}

/// A silence of an hour.
fn silences(world: &mut World, matcher: &str) {
    let now = world.simulation.now();
    let wanted = Wanted {
        id: None,
        new_id: "090d6e35-889c-4447-81ef-1893f5d8b979".to_owned(),
        matchers: vec![Matcher::parse(matcher).expect("a matcher")],
        starts_at: now,
        ends_at: now.plus(Duration::from_secs(3600)),
        created_by: "ann".to_owned(),
        comment: "known".to_owned(),
        token: None,
        annotations: Labels::default(),
    };
    world.simulation.silence(wanted).expect("it is right");
}

/// The incident that has a key, with its number.
fn incident_of(world: &World, key: &str) -> u64 {
    let sighting = alert(key, Signal::Firing);
    let store = world.simulation.store();
    let known = store.read(|reader| reader.alert(sighting.labels.fingerprint()));
    let known = known.expect("it reads").expect("it was received");
    known.incident.expect("it has one")
}

/// Three incidents of their own, and the storm is the fourth.
fn storm(world: &mut World) {
    fires(world, &["api/A", "api/B", "api/C", "api/D"]);
}

#[test]
fn past_the_cap_further_keys_join_one_incident_where_the_first_alert_of_each_service_pages() {
    let mut world = world(|_settings| {});
    let recorded = fires(
        &mut world,
        &[
            "api/A", "api/B", "api/C", "api/D", "api/E", "web/A", "web/B",
        ],
    );
    let opened: Vec<u64> = recorded.iter().flat_map(|of| of.opened.clone()).collect();
    assert_eq!(opened, [1, 2, 3, 4]);
    assert!(recorded.iter().skip(4).all(|of| of.joined == [4].into()));
    // Of the storm its first alert, and the first of web.
    assert_eq!(world.pages(), ["09:00 ann"; 5]);
    let last = world
        .simulation
        .sent()
        .last()
        .expect("a page")
        .message
        .clone();
    assert_eq!(last.incident.title, "Storm");
    assert_eq!(
        last.note.as_deref(),
        Some("3 keys of api, web, past 3 incidents within 1m")
    );
    let incident = world.incident(4);
    let storm = incident.storm().expect("it is one");
    assert_eq!(*storm.keys, ["api/D", "api/E", "web/A", "web/B"]);
    assert_eq!(storm.n_keys, 4);
    assert_eq!(incident.members.counts().firing, 4);
    assert_eq!(
        world.timeline(4, "storm"),
        [
            "09:00 key api/D joins the storm, the first alert of api",
            "09:00 key api/E joins the storm",
            "09:00 key web/A joins the storm, the first alert of web: the step is paged again",
            "09:00 key web/B joins the storm",
        ]
    );
}

#[test]
fn one_report_of_many_services_pages_for_each_of_them() {
    let mut world = world(|_settings| {});
    let keys = [
        "api/A", "api/B", "api/C", "web/A", "web/B", "db/A", "mail/A",
    ];
    let report = keys.map(|key| alert(key, Signal::Firing));
    assert_eq!(world.receives(report.to_vec()).opened, [1, 2, 3, 4].into());
    // Three of their own, then the storm for web, for db and for mail.
    assert_eq!(world.pages(), ["09:00 ann"; 6]);
    let sent = world.simulation.sent().iter();
    let notes: Vec<&str> = sent
        .filter_map(|sent| sent.message.note.as_deref())
        .collect();
    assert_eq!(
        notes,
        [
            "1 key of web, past 3 incidents within 1m",
            "3 keys of db, web, past 3 incidents within 1m",
            "4 keys of db, mail, web, past 3 incidents within 1m",
        ]
    );
}

#[test]
fn a_storm_that_opens_muted_pages_once_something_of_it_is_not() {
    let mut world = world(|_settings| {});
    silences(&mut world, r#"alertname="Muted""#);
    fires(&mut world, &["api/A", "api/B", "api/C", "web/Muted"]);
    assert!(world.incident(4).is_muted());
    assert_eq!(world.pages(), ["09:00 ann"; 3]);
    fires(&mut world, &["db/A"]);
    assert_eq!(world.pages(), ["09:00 ann"; 4]);
}

#[test]
fn the_first_alert_of_a_service_pages_also_where_the_storm_is_acknowledged() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    world.acknowledges(4, "ann");
    fires(&mut world, &["api/E"]);
    assert!(world.incident(4).acknowledged.is_some());
    fires(&mut world, &["web/A"]);
    assert!(world.incident(4).acknowledged.is_none());
    assert_eq!(world.pages().len(), 5);
    assert_eq!(
        world.timeline(4, "key web/A"),
        ["09:00 key web/A joins the storm, the first alert of web: paging starts at step 1"]
    );
}

#[test]
fn when_the_rate_has_fallen_what_still_fires_has_incidents_of_its_own_that_take_over_the_escalation()
 {
    let mut world = world(|_settings| {});
    storm(&mut world);
    world.advance_seconds(30);
    fires(&mut world, &["web/A", "web/B"]);
    resolves(&mut world, "web/B");
    world.advance_seconds(29);
    assert!(!world.incident(4).is_storm_over());
    // Of the last three keys the first came at 09:00.
    world.advance_seconds(1);
    assert!(world.incident(4).is_storm_over());
    let own = ["api/D", "web/A"].map(|key| (incident_of(&world, key), key));
    assert_eq!(own.map(|(number, _)| number).iter().sum::<u64>(), 5 + 6);
    for (number, key) in own {
        let dedup_key = world.incident(number).opened.dedup_key.clone();
        assert_eq!(dedup_key.as_deref(), Some(key));
        assert_eq!(
            world.timeline(number, "storm"),
            ["09:01 comes out of the storm of incident 4, its escalation goes on after step 1"]
        );
        let fingerprint = alert(key, Signal::Firing).labels.fingerprint();
        let moved = format!("alert {fingerprint} moved");
        assert_eq!(
            world.timeline(4, &moved),
            [format!(
                "09:01 {moved} to incident {number}, where it still fires"
            )]
        );
    }
    assert_eq!(incident_of(&world, "web/B"), 4, "it fires no more");
    let storm = world.incident(4);
    assert!(storm.is_clear());
    assert_eq!(storm.members.counts().resolved, 3);
    world.advance(10);
    let of_storm = ["09:00 ann", "09:00:30 ann", "09:01 ann (update)"];
    let pages = world.pages();
    assert_eq!(
        pages.iter().filter(|line| line.contains("ann")).count(),
        3 + of_storm.len()
    );
    // Step 2 of all five at its time, as it stood in the storm for those that came out of it.
    assert_eq!(pages.iter().filter(|line| **line == "09:05 ben").count(), 5);
    assert_eq!(world.violations(), []);
}

#[test]
fn contacts_that_are_yet_to_be_tried_are_tried_for_what_came_out_of_the_storm() {
    let mut world = world(|_settings| {});
    world.edits(|book| {
        let ann = book.people.get_mut("ann").expect("she is there");
        ann.notify = crate::world::contacts(&[("ann", 0), ("ann-phone", 2)]);
    });
    storm(&mut world);
    world.advance(4);
    let expected = [
        vec!["09:00 ann"; 4],
        vec!["09:01 ann (update)"],
        // Of the three, and of the one that was in the storm.
        vec!["09:02 ann by ann-phone"; 4],
    ];
    assert_eq!(world.pages(), expected.concat());
    assert_eq!(incident_of(&world, "api/D"), 5);
    assert_eq!(
        world.timeline(5, "ann").len(),
        2,
        "{:?}",
        world.timeline(5, "")
    );
    world.advance(1);
    assert_eq!(
        world
            .pages()
            .iter()
            .filter(|line| **line == "09:05 ben")
            .count(),
        4
    );
}

#[test]
fn what_comes_out_of_an_acknowledged_storm_is_acknowledged() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    for number in 1..=4 {
        world.acknowledges(number, "ann");
    }
    world.advance(30);
    assert_eq!(incident_of(&world, "api/D"), 5);
    let held = world.incident(5).acknowledged.clone().expect("it is");
    assert_eq!(
        (held.by.as_str(), held.at),
        ("ann", crate::world::at(START))
    );
    let mut pages = vec!["09:00 ann"; 4];
    pages.push("09:01 ann (update)");
    assert_eq!(world.pages(), pages);
    resolves(&mut world, "api/D");
    assert!(world.incident(5).is_clear());
}

#[test]
fn what_came_out_of_a_storm_does_not_count_for_the_rate() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    fires(&mut world, &["api/E", "api/F", "api/G", "api/H"]);
    world.advance(1);
    assert!((5..=9).contains(&incident_of(&world, "api/H")));
    let recorded = fires(&mut world, &["api/I", "api/J", "api/K", "api/L"]);
    let opened: Vec<u64> = recorded.iter().flat_map(|of| of.opened.clone()).collect();
    assert_eq!(
        opened,
        [10, 11, 12, 13],
        "the next storm is another incident"
    );
    assert!(world.incident(13).is_storm());
}

#[test]
fn a_storm_goes_on_while_the_rate_does() {
    let mut world = world(|_settings| {});
    for n in 0..60 {
        fires(&mut world, &[&format!("api/{n}")]);
        world.advance_seconds(15);
    }
    // Four a minute are one too many.
    assert!(!world.incident(4).is_storm_over());
    assert_eq!(world.incident(4).members.counts().firing, 57);
    assert_eq!(world.simulation.incident(5).expect("it reads"), None);
    world.advance(1);
    assert!(world.incident(4).is_storm_over());
    assert_eq!(world.incident(4).members.counts().firing, 0);
    assert_eq!(
        world
            .incident(61)
            .opened
            .dedup_key
            .as_deref()
            .map(|key| &key[..4]),
        Some("api/")
    );
}

#[test]
fn what_resolved_in_a_storm_and_fires_after_it_opens_an_incident_of_its_own() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    resolves(&mut world, "api/D");
    world.advance(5);
    assert_eq!(incident_of(&world, "api/D"), 4);
    let recorded = fires(&mut world, &["api/D"]);
    assert_eq!(recorded[0].opened, [5].into());
    assert_eq!(world.incident(5).opened.recurrence_of, None);
}

#[test]
fn an_alert_that_fires_again_while_the_storm_is_on_stays_in_it() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    resolves(&mut world, "api/D");
    world.advance_seconds(10);
    let recorded = fires(&mut world, &["api/D"]);
    assert_eq!(recorded[0].joined, [4].into());
    assert_eq!(world.incident(4).storm().expect("a storm").n_keys, 1);
}

#[test]
fn each_team_has_its_own_cap_and_its_own_storm() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    let recorded = fires(
        &mut world,
        &["payments/A", "payments/B", "payments/C", "payments/D"],
    );
    let opened: Vec<u64> = recorded.iter().flat_map(|of| of.opened.clone()).collect();
    assert_eq!(opened, [5, 6, 7, 8]);
    let storm = world.incident(8);
    assert_eq!(storm.opened.title, "Storm: payments");
    assert_eq!(storm.opened.team.as_deref(), Some("payments"));
}

#[test]
fn a_key_that_would_reopen_counts_and_reopens_when_the_storm_is_over() {
    let mut world = world(|settings| {
        settings.severity = Some(SeverityRule::Fixed(Severity::Sev3));
        settings.verification = Some(plan("0 * * * *", 1));
        settings.reopen_within = Some(Duration::from_secs(24 * 3600));
    });
    fires(&mut world, &["web/A"]);
    world.acknowledges(1, "ann");
    resolves(&mut world, "web/A");
    world.advance(120);
    assert!(!world.incident(1).is_open());
    fires(&mut world, &["api/A", "api/B", "api/C"]);
    let recorded = fires(&mut world, &["web/A"]);
    assert_eq!(recorded[0].opened, [5].into());
    assert!(world.incident(5).is_storm());
    assert!(!world.incident(1).is_open());
    world.acknowledges(5, "ben");
    world.advance(1);
    assert_eq!(incident_of(&world, "web/A"), 1);
    let reopened = world.incident(1);
    assert_eq!((reopened.is_open(), reopened.recurrences), (true, 1));
    assert_eq!(
        reopened.acknowledged.as_ref().map(|held| held.by.as_str()),
        Some("ben")
    );
}

#[test]
fn by_another_policy_than_the_storm_s_paging_starts_at_its_own_first_step() {
    let mut world = world(|settings| settings.escalation_policy = Some("web".to_owned()));
    world.edits(|book| {
        let mut policy = crate::world::policy(book).clone();
        policy.name = "web".to_owned();
        policy.steps.reverse();
        book.policies.insert("web".to_owned(), policy);
    });
    storm(&mut world);
    world.advance(1);
    assert_eq!(incident_of(&world, "api/D"), 5);
    assert_eq!(
        world.pages(),
        [
            "09:00 ben",
            "09:00 ben",
            "09:00 ben",
            "09:00 ann",
            "09:01 ann (update)",
            "09:01 ben"
        ]
    );
}

#[test]
fn a_storm_is_as_severe_as_the_worst_of_its_alerts() {
    let mut world = world(|settings| {
        let map = [("crit".to_owned(), Severity::Sev1)].into();
        settings.severity = Some(SeverityRule::Map {
            label: "alertname".to_owned(),
            map,
            default: Some(Severity::Sev2),
        });
    });
    storm(&mut world);
    assert_eq!(world.incident(4).severity, Severity::Sev2);
    world.acknowledges(4, "ann");
    fires(&mut world, &["api/crit"]);
    let storm = world.incident(4);
    assert_eq!(storm.severity, Severity::Sev1);
    assert!(storm.acknowledged.is_none(), "a rise drops it");
}

#[test]
fn all_of_a_storm_move_also_where_they_are_many() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    world.acknowledges(4, "ann");
    let many: Vec<Sighting> = (0..350)
        .map(|n| alert(&format!("api/{n}"), Signal::Firing))
        .collect();
    world.receives(many);
    assert_eq!(world.incident(4).members.counts().firing, 351);
    assert_eq!(world.incident(4).storm().expect("a storm").n_keys, 351);
    world.advance(1);
    assert_eq!(world.incident(4).members.counts().firing, 0);
    assert_eq!(world.incident(355).opened.storm, None);
    assert_eq!(world.simulation.incident(356).expect("it reads"), None);
}

#[test]
fn a_storm_ends_by_time_that_passed_and_not_by_a_clock_that_is_set() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    world.simulation.set_clock(3_600_000);
    world.advance_seconds(59);
    assert!(!world.incident(4).is_storm_over());
    world.advance_seconds(1);
    assert!(world.incident(4).is_storm_over());
}

#[test]
fn one_alert_of_a_service_that_is_muted_is_not_its_first() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    silences(&mut world, r#"alertname="Muted""#);
    fires(&mut world, &["web/Muted"]);
    assert_eq!(world.pages(), ["09:00 ann"; 4]);
    fires(&mut world, &["web/A"]);
    assert_eq!(world.pages(), ["09:00 ann"; 5]);
}

#[test]
fn an_alert_that_waits_for_open_joins_the_storm_when_it_has_met_it() {
    let mut world = world(|settings| {
        let after = Duration::from_secs(30);
        settings.open = Some(watchkeeper::domain::rule::OpenWhen::After(after));
    });
    storm(&mut world);
    assert_eq!(world.pages(), [""; 0]);
    world.advance_seconds(30);
    assert!(world.incident(4).is_storm());
    assert_eq!(incident_of(&world, "api/D"), 4);
}

#[test]
fn a_storm_that_is_not_handled_any_more_ends_all_the_same() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    world.edits(|book| book.storm = None);
    world.advance(1);
    assert!(world.incident(4).is_storm_over());
    assert_eq!(incident_of(&world, "api/D"), 5);
}

#[test]
fn a_person_may_resolve_an_alert_of_a_storm_and_what_is_resolved_does_not_move() {
    let mut world = world(|_settings| {});
    storm(&mut world);
    let fingerprint = alert("api/D", Signal::Firing).labels.fingerprint();
    world
        .simulation
        .resolve(Some(4), fingerprint, "the switch is dead", "ann")
        .expect("it fires");
    world.advance(2);
    assert_eq!(world.incident(4).members.counts().resolved, 1);
    assert_eq!(world.simulation.incident(5).expect("it reads"), None);
}

#[test]
fn an_incident_says_what_it_is_the_storm_of() {
    let mut of_two = book(&[("ana", 5)]);
    of_two.storm = Some(StormCap {
        incidents: 2,
        within_ms: 60_000,
    });
    let rules = crate::world::rules(|settings| {
        settings.dedup_key = Some(template("{{ labels.service }}/{{ labels.alertname }}"));
    });
    let mut api = crate::api::Api::with(crate::api::access(), of_two, rules);
    let alerts = ["api", "web", "db", "mail"].map(|service| {
        serde_json::json!({
            "status": "firing",
            "labels": { "alertname": "Down", "service": service },
        })
    });
    let body = serde_json::json!({ "version": "4", "alerts": alerts });
    let taken = api.post("/hooks/alertmanager", &body);
    assert_eq!(taken.status, 200, "{}", taken.text);
    let storm = |api: &mut crate::api::Api| api.get("/api/v1/incidents/3").at("/storm");
    let mut expected = serde_json::json!({
        "incidents": 2, "within": "1m", "n_keys": 2, "keys": ["db/Down", "mail/Down"],
        "services": ["db", "mail"], "over_at": null,
    });
    assert_eq!(storm(&mut api), expected);
    api.advance(Duration::from_secs(60));
    expected["over_at"] = serde_json::json!("2026-03-02T09:01:00.000Z");
    assert_eq!(storm(&mut api), expected);
}

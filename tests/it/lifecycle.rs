//! Stories of the phases: what each requires, how it is given, what is waived, and what changes the profile on the way.

use crate::world::{World, at, book, rules};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::action_item::{ActionItem, ActionKind, ActionState, Priority};
use watchkeeper::domain::alert::Signal;
use watchkeeper::domain::analysis::{Analysis, Finding};
use watchkeeper::domain::incident::event::{Audience, Event, Origin, Remark, Role, Waiver};
use watchkeeper::domain::incident::{Ask, Entry, Incident, Refusal};
use watchkeeper::domain::page::PageKind;
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::domain::rule::{RuleSet, SeverityRule};
use watchkeeper::domain::severity::{Profile, Severity, SeverityInputs};
use watchkeeper::domain::time::Timestamp;
use watchkeeper::simulate::signal;
use watchkeeper::store::commands::Reported;

pub(crate) const START: &str = "2026-03-02T09:00:00Z";

/// Ana, then ben: five and ten minutes.
pub(crate) const STEPS: &[(&str, u64)] = &[("ana", 5), ("ben", 10)];

/// One rule of this severity, a critical alert SEV1.
pub(crate) fn rules_of(severity: Severity) -> RuleSet {
    rules(|settings| {
        settings.severity = Some(SeverityRule::Map {
            label: "severity".to_owned(),
            map: BTreeMap::from([("critical".to_owned(), Severity::Sev1)]),
            default: Some(severity),
        });
    })
}

/// A world whose alert `Down` has opened incident 1 of this severity.
pub(crate) fn opened(severity: Severity) -> World {
    let mut world = World::with(START, book(STEPS), rules_of(severity));
    world.fires("Down");
    world
}

fn remark(text: &str) -> Remark {
    Remark {
        text: text.to_owned(),
        ..Remark::default()
    }
}

fn assign(role: Role, person: &str) -> Ask {
    Ask::Assign {
        role,
        person: person.to_owned(),
    }
}

pub(crate) fn says(output: Output) -> Ask {
    Ask::GiveOutput {
        output,
        statement: format!("{output} is so"),
        url: None,
    }
}

fn finding(kind: &str) -> Finding {
    Finding {
        kind: kind.to_owned(),
        text: "seen in the log".to_owned(),
    }
}

fn analyses(change: impl FnOnce(&mut Analysis)) -> Ask {
    let mut analysis = Analysis::default();
    change(&mut analysis);
    Ask::Analyse(analysis)
}

pub(crate) fn confirms(severity: Severity) -> Ask {
    let inputs = SeverityInputs {
        impact: Some("high".to_owned()),
        scope: Some("many".to_owned()),
        urgency: Some("now".to_owned()),
    };
    Ask::SetSeverity {
        severity,
        inputs,
        reason: "customers are hit".to_owned(),
    }
}

/// A systemic action that answers the first weakness, with owner, deadline and priority.
fn systemic() -> ActionItem {
    ActionItem {
        kind: Some(ActionKind::Systemic),
        title: Some("validate on load".to_owned()),
        answers: Some(vec!["weakness:0".to_owned()]),
        owner: Some("ana".to_owned()),
        due: Some(at("2026-04-01T00:00:00Z")),
        priority: Some(Priority::P2),
        ..ActionItem::default()
    }
}

pub(crate) fn waiver(output: Output, until: Option<&str>) -> Waiver {
    Waiver {
        output,
        reason: "agreed with the customer".to_owned(),
        until: until.map(at),
    }
}

/// How people give an output; none for those that the program gives or computes.
fn given_by(output: Output, incident: &Incident) -> Option<Ask> {
    match output {
        Output::Time
        | Output::InitialSeverity
        | Output::Description
        | Output::NoRecurrence
        | Output::Stable
        | Output::Clear => None,
        Output::SeverityConfirmed => Some(confirms(incident.severity)),
        Output::Commander => Some(assign(Role::Commander, "ana")),
        Output::FirstCommunication => Some(Ask::Update {
            audience: Audience::Stakeholders,
            text: "we are on it".to_owned(),
        }),
        Output::TechnicalOwner => Some(assign(Role::TechnicalOwner, "ben")),
        Output::Evidence => Some(Ask::AddEvidence(remark("the log"))),
        Output::Mitigation => Some(Ask::ApplyMitigation(remark("rolled back"))),
        Output::Containment => Some(Ask::AddContainment(remark("traffic moved"))),
        Output::EscalationDecided
        | Output::Channel
        | Output::Validated
        | Output::Contained
        | Output::TimelineReviewed
        | Output::Stakeholder
        | Output::Lessons => Some(says(output)),
        Output::ImmediateCause => Some(analyses(|analysis| {
            analysis.immediate_cause = Some("a null in the key".to_owned());
        })),
        Output::Weakness => Some(analyses(|analysis| {
            analysis.weaknesses = Some(vec![finding("missing_validation")]);
        })),
        Output::ContributingFactors => Some(analyses(|analysis| {
            analysis.contributing_factors = Some(vec!["a holiday".to_owned()]);
        })),
        Output::DetectionGap => Some(analyses(|analysis| {
            analysis.detection_gap = Some(finding("no_alert"));
        })),
        Output::SystemicAction => Some(Ask::AddAction(systemic())),
        Output::ActionsComplete => change_first_unready(
            incident,
            |action| !action.is_complete(),
            ActionItem {
                owner: Some("ana".to_owned()),
                due: Some(at("2026-04-01T00:00:00Z")),
                priority: Some(Priority::P2),
                ..ActionItem::default()
            },
        ),
        Output::ActionsDone => change_first_unready(
            incident,
            |action| !action.is_ended(),
            ActionItem {
                state: Some(ActionState::Done),
                ..ActionItem::default()
            },
        ),
    }
}

fn change_first_unready(
    incident: &Incident,
    is_unready: impl Fn(&ActionItem) -> bool,
    change: ActionItem,
) -> Option<Ask> {
    let index = incident.actions.iter().position(is_unready)?;
    Some(Ask::ChangeAction {
        index: u32::try_from(index).expect("few actions"),
        change,
    })
}

/// Gives every output of the present phase that people give and that is missing.
pub(crate) fn give_all(world: &mut World, number: u64) {
    let phase = world.incident(number).phase;
    for output in phase.required_outputs() {
        while let Some(ask) = missing_one(*output, &world.incident(number)) {
            world.ask(number, ask, "ana").expect("it is open");
        }
    }
}

/// How people give an output that an incident lacks.
pub(crate) fn missing_one(output: Output, incident: &Incident) -> Option<Ask> {
    if incident.has(output) {
        None
    } else {
        given_by(output, incident)
    }
}

/// Gives every output, phase by phase, until the incident stands in `to`.
pub(crate) fn walk_to(world: &mut World, number: u64, to: Phase) {
    while world.incident(number).phase != to {
        give_all(world, number);
        world
            .ask(number, advance(), "ana")
            .expect("every output is there");
    }
}

pub(crate) fn advance() -> Ask {
    Ask::Advance { waive: Vec::new() }
}

pub(crate) fn close() -> Ask {
    Ask::Close { waive: Vec::new() }
}

/// The refusal's phase and list.
pub(crate) fn missing(refused: Result<Arc<Incident>, Refusal>) -> (Phase, Vec<&'static str>) {
    match refused {
        Err(Refusal::OutputsMissing { phase, missing }) => {
            (phase, missing.into_iter().map(Output::as_str).collect())
        }
        other => panic!("something is missing, found {other:?}"),
    }
}

pub(crate) fn entries(world: &World, number: u64) -> Vec<Entry> {
    world
        .simulation
        .store()
        .read(|reader| reader.entries(number, 1, u64::MAX))
        .expect("the memory store reads")
}

/// Every page and update since the n-th: `03-11 02:00 ana`.
pub(crate) fn paged_since(world: &World, n: usize) -> Vec<String> {
    let line = |at: Timestamp| format!("{} {}", &at.to_string()[5..10], &at.to_string()[11..16]);
    let sent = world.simulation.sent().iter().skip(n);
    sent.map(|sent| {
        let update = match sent.message.kind {
            PageKind::Update => " (update)",
            PageKind::Page | PageKind::Bundle | PageKind::Drill => "",
        };
        format!("{} {}{update}", line(sent.at), sent.message.to)
    })
    .collect()
}

/// An alert `Down` that says it is critical: another alert of the same key.
pub(crate) fn fires_critical(world: &mut World) {
    let labels = [("alertname", "Down"), ("severity", "critical")];
    world
        .simulation
        .receive(signal(&labels, Signal::Firing))
        .expect("the memory store takes it");
}

fn by_person(severity: Severity) -> World {
    let mut world = World::with(START, book(STEPS), rules_of(severity));
    let reported = Reported {
        title: "checkout is slow".to_owned(),
        description: "a customer called".to_owned(),
        severity,
        team: None,
        origin: Origin::Customer,
    };
    world
        .simulation
        .report(reported, "ana")
        .expect("it is taken");
    world
}

/// Everything a full incident lacks when it opens, in the order of the phases.
const ALL_MISSING: [&str; 22] = [
    "severity_confirmed",
    "escalation_decided",
    "commander",
    "first_communication",
    "technical_owner",
    "channel",
    "validated",
    "evidence",
    "mitigation",
    "containment",
    "contained",
    "timeline_reviewed",
    "immediate_cause",
    "weakness",
    "contributing_factors",
    "detection_gap",
    "systemic_action",
    "no_recurrence",
    "stable",
    "stakeholder",
    "lessons",
    "clear",
];

#[test]
fn an_incident_opens_in_triage_with_the_outputs_of_detection() {
    let world = opened(Severity::Sev1);
    let incident = world.incident(1);
    assert_eq!(
        (incident.phase, incident.profile),
        (Phase::Triage, Profile::Full)
    );
    for output in Phase::Detection.required_outputs() {
        assert!(incident.has(*output), "{output}");
    }
}

#[test]
fn acknowledging_does_not_advance() {
    let mut world = opened(Severity::Sev1);
    world.ask(1, Ask::Acknowledge, "ana").expect("it is open");
    assert_eq!(world.incident(1).phase, Phase::Triage);
}

#[test]
fn each_phase_is_refused_with_exactly_what_it_lacks() {
    let lacks: [(Phase, &[&str]); 5] = [
        (
            Phase::Triage,
            &[
                "severity_confirmed",
                "escalation_decided",
                "commander",
                "first_communication",
            ],
        ),
        (
            Phase::Response,
            &[
                "technical_owner",
                "channel",
                "validated",
                "evidence",
                "mitigation",
            ],
        ),
        (Phase::Stabilization, &["containment", "contained"]),
        (
            Phase::RootCauseAnalysis,
            &[
                "timeline_reviewed",
                "immediate_cause",
                "weakness",
                "contributing_factors",
                "detection_gap",
            ],
        ),
        (Phase::ActionItems, &["systemic_action", "clear"]),
    ];
    let mut world = opened(Severity::Sev1);
    for (phase, lacking) in lacks {
        walk_to(&mut world, 1, phase);
        assert_eq!(
            missing(world.ask(1, advance(), "ana")),
            (phase, lacking.to_vec())
        );
    }
    world.resolves("Down");
    walk_to(&mut world, 1, Phase::Verification);
    assert_eq!(
        world.ask(1, advance(), "ana"),
        Err(Refusal::NoNextPhase),
        "verification is left by closing"
    );
    assert_eq!(
        missing(world.ask(1, close(), "ana")),
        (
            Phase::Verification,
            vec![
                "actions_done",
                "no_recurrence",
                "stable",
                "stakeholder",
                "lessons"
            ]
        )
    );
}

#[test]
fn closing_from_any_phase_is_refused_with_all_that_is_missing_up_to_the_end() {
    let mut world = opened(Severity::Sev1);
    let mut lacking = ALL_MISSING.to_vec();
    for phase in Phase::ALL.into_iter().skip(1) {
        if phase == Phase::Verification {
            world.resolves("Down");
            lacking.retain(|output| *output != "clear");
        }
        walk_to(&mut world, 1, phase);
        assert_eq!(
            missing(world.ask(1, close(), "ana")),
            (phase, lacking.clone())
        );
        for output in phase.required_outputs() {
            lacking.retain(|lacking| *lacking != output.as_str());
        }
        if phase == Phase::ActionItems {
            let at = lacking.iter().position(|output| *output == "no_recurrence");
            lacking.insert(at.expect("it comes last"), "actions_done");
        }
    }
}

#[test]
fn each_output_removes_exactly_itself_from_what_is_missing() {
    let mut world = opened(Severity::Sev1);
    let mut lacking = ALL_MISSING.to_vec();
    for output in Output::ALL {
        let incident = world.incident(1);
        if incident.has(output) {
            continue;
        }
        let Some(ask) = given_by(output, &incident) else {
            continue;
        };
        world.ask(1, ask, "ana").expect("it is open");
        let at = lacking
            .iter()
            .position(|lacking| *lacking == output.as_str());
        lacking.remove(at.unwrap_or_else(|| panic!("{output} was missing")));
        if output == Output::SystemicAction {
            // It is there, and not done yet.
            lacking.insert(0, "actions_done");
        }
        assert_eq!(
            missing(world.ask(1, close(), "ana")).1,
            lacking,
            "after {output}"
        );
    }
    world.resolves("Down");
    assert_eq!(
        missing(world.ask(1, close(), "ana")).1,
        ["no_recurrence", "stable"]
    );
}

#[test]
fn the_refusal_names_what_is_missing() {
    let mut world = opened(Severity::Sev1);
    let refused = world
        .ask(1, advance(), "ana")
        .expect_err("nothing is given");
    assert_eq!(
        refused.to_string(),
        "in triage, this is missing: severity_confirmed, escalation_decided, commander, first_communication"
    );
}

#[test]
fn only_an_update_to_stakeholders_is_the_first_communication() {
    let mut world = opened(Severity::Sev1);
    for audience in [Audience::Responders, Audience::Public] {
        let text = "we are on it".to_owned();
        world
            .ask(1, Ask::Update { audience, text }, "ana")
            .expect("it is open");
        assert!(!world.incident(1).has(Output::FirstCommunication));
    }
    let (audience, text) = (Audience::Stakeholders, "we are on it".to_owned());
    world
        .ask(1, Ask::Update { audience, text }, "ana")
        .expect("it is open");
    assert!(world.incident(1).has(Output::FirstCommunication));
}

#[test]
fn no_containment_needs_a_reason_and_a_containment_action_is_one() {
    let mut world = opened(Severity::Sev1);
    let because = "nothing to contain".to_owned();
    world
        .ask(1, Ask::NoContainment { because }, "ana")
        .expect("it is open");
    assert!(world.incident(1).has(Output::Containment));

    let mut world = opened(Severity::Sev1);
    let action = ActionItem {
        kind: Some(ActionKind::Containment),
        title: Some("block the feed".to_owned()),
        ..ActionItem::default()
    };
    world
        .ask(1, Ask::AddAction(action), "ana")
        .expect("it is open");
    assert!(world.incident(1).has(Output::Containment));
}

#[test]
fn outputs_that_are_no_statements_are_not_given_as_such() {
    let mut world = opened(Severity::Sev1);
    for output in Output::ALL {
        let given = world.ask(1, says(output), "ana");
        if Output::STATEMENTS.contains(&output) {
            assert!(given.is_ok(), "{output}");
        } else {
            let refused = given.expect_err("it is no statement");
            assert_eq!(
                refused.to_string(),
                format!("{output} is no statement; it is given in its own way")
            );
        }
    }
}

#[test]
fn a_waived_output_is_not_missing_and_its_reason_stays() {
    let mut world = opened(Severity::Sev1);
    let waive = [
        Output::SeverityConfirmed,
        Output::EscalationDecided,
        Output::FirstCommunication,
    ];
    let waive: Vec<Waiver> = waive.map(|output| waiver(output, None)).to_vec();
    let asked = Ask::Advance {
        waive: waive.clone(),
    };
    assert_eq!(
        missing(world.ask(1, asked, "ana")),
        (Phase::Triage, vec!["commander"])
    );
    assert!(
        world.incident(1).waivers.is_empty(),
        "what is refused changes nothing"
    );

    world
        .ask(1, assign(Role::Commander, "ana"), "ana")
        .expect("it is open");
    world
        .ask(1, Ask::Advance { waive }, "ana")
        .expect("the rest is waived");
    let incident = world.incident(1);
    assert_eq!(incident.phase, Phase::Response);
    assert_eq!(
        incident.waivers[&Output::SeverityConfirmed],
        waiver(Output::SeverityConfirmed, None)
    );
}

#[test]
fn a_waiver_until_a_time_that_has_passed_does_not_hold() {
    let mut world = opened(Severity::Sev1);
    for output in [Output::EscalationDecided, Output::FirstCommunication] {
        let ask = given_by(output, &world.incident(1)).expect("people give it");
        world.ask(1, ask, "ana").expect("it is open");
    }
    world
        .ask(1, assign(Role::Commander, "ana"), "ana")
        .expect("it is open");
    let past = vec![waiver(
        Output::SeverityConfirmed,
        Some("2026-03-02T09:00:00Z"),
    )];
    assert_eq!(
        missing(world.ask(1, Ask::Advance { waive: past }, "ana")),
        (Phase::Triage, vec!["severity_confirmed"])
    );
    let ahead = vec![waiver(
        Output::SeverityConfirmed,
        Some("2026-03-02T10:00:00Z"),
    )];
    world
        .ask(1, Ask::Advance { waive: ahead }, "ana")
        .expect("it holds for an hour");
    let of_close = |world: &mut World| missing(world.ask(1, close(), "ana")).1[0];
    assert_eq!(of_close(&mut world), "technical_owner");
    world.advance(60);
    assert_eq!(of_close(&mut world), "severity_confirmed");
}

#[test]
fn neither_clear_nor_no_recurrence_can_be_waived() {
    let mut world = opened(Severity::Sev1);
    for output in [Output::Clear, Output::NoRecurrence] {
        let waive = vec![waiver(output, None)];
        for asked in [
            Ask::Advance {
                waive: waive.clone(),
            },
            Ask::Close { waive },
        ] {
            let refused = world.ask(1, asked, "ana").expect_err("it is never waived");
            assert_eq!(refused, Refusal::NotWaivable { output });
            assert_eq!(refused.to_string(), format!("{output} cannot be waived"));
        }
    }
}

#[test]
fn the_analysis_is_given_in_parts() {
    let mut world = opened(Severity::Sev1);
    for output in [
        Output::ImmediateCause,
        Output::Weakness,
        Output::ContributingFactors,
        Output::DetectionGap,
    ] {
        let ask = given_by(output, &world.incident(1)).expect("people give it");
        world.ask(1, ask, "ana").expect("it is open");
    }
    let whole = Analysis {
        immediate_cause: Some("a null in the key".to_owned()),
        weaknesses: Some(vec![finding("missing_validation")]),
        contributing_factors: Some(vec!["a holiday".to_owned()]),
        none_because: None,
        detection_gap: Some(finding("no_alert")),
    };
    assert_eq!(world.incident(1).analysis, whole);
    let seq = world.incident(1).seq;
    world
        .ask(1, Ask::Analyse(whole), "ana")
        .expect("it is open");
    assert_eq!(world.incident(1).seq, seq, "the same again changes nothing");
}

#[test]
fn no_contributing_factors_is_an_answer_where_it_is_stated_why() {
    let mut world = opened(Severity::Sev1);
    let empty = analyses(|analysis| analysis.contributing_factors = Some(Vec::new()));
    world.ask(1, empty, "ana").expect("it is open");
    assert!(!world.incident(1).has(Output::ContributingFactors));
    let blank = analyses(|analysis| analysis.none_because = Some(" ".to_owned()));
    world.ask(1, blank, "ana").expect("it is open");
    assert!(!world.incident(1).has(Output::ContributingFactors));
    let stated = analyses(|analysis| analysis.none_because = Some("one cause only".to_owned()));
    world.ask(1, stated, "ana").expect("it is open");
    assert!(world.incident(1).has(Output::ContributingFactors));
}

#[test]
fn weaknesses_and_gaps_are_those_of_the_lists_and_what_operators_added() {
    let mut book = book(STEPS);
    book.weaknesses.push("single_supplier".to_owned());
    book.detection_gaps.push("nobody_looked".to_owned());
    let mut world = World::with(START, book, rules_of(Severity::Sev1));
    world.fires("Down");

    let weakness = |kind: &str| {
        let found = vec![finding("unclear_handoff"), finding(kind)];
        analyses(|analysis| analysis.weaknesses = Some(found))
    };
    let gap = |kind: &str| {
        let found = finding(kind);
        analyses(|analysis| analysis.detection_gap = Some(found))
    };
    let refused = world
        .ask(1, weakness("bad_luck"), "ana")
        .expect_err("no such weakness");
    assert_eq!(
        refused.to_string(),
        "weakness \"bad_luck\" is not one of missing_validation, undocumented_assumption, missing_integration_check, \
         weak_data_contract, insufficient_monitoring, unclear_handoff, single_supplier"
    );
    let refused = world
        .ask(1, gap("missing_validation"), "ana")
        .expect_err("that is a weakness");
    assert_eq!(
        refused.to_string(),
        "detection gap \"missing_validation\" is not one of no_alert, wrong_threshold, incomplete_logs, \
         missing_qa_coverage, unclear_acceptance_criteria, missing_downstream_monitoring, nobody_looked"
    );
    assert_eq!(world.incident(1).analysis, Analysis::default());
    world
        .ask(1, weakness("single_supplier"), "ana")
        .expect("an operator added it");
    world
        .ask(1, gap("nobody_looked"), "ana")
        .expect("an operator added it");
}

#[test]
fn a_systemic_action_answers_a_weakness_or_the_detection_gap() {
    let cases: &[(&str, ActionKind, &[&str], bool)] = &[
        (
            "the first weakness",
            ActionKind::Systemic,
            &["weakness:0"],
            true,
        ),
        (
            "the detection gap",
            ActionKind::Systemic,
            &["detection_gap"],
            true,
        ),
        (
            "also the cause",
            ActionKind::Systemic,
            &["immediate_cause", "weakness:0"],
            true,
        ),
        (
            "only the cause",
            ActionKind::Systemic,
            &["immediate_cause"],
            false,
        ),
        (
            "a weakness that is not there",
            ActionKind::Systemic,
            &["weakness:1"],
            false,
        ),
        ("nothing", ActionKind::Systemic, &[], false),
        (
            "as containment",
            ActionKind::Containment,
            &["weakness:0"],
            false,
        ),
    ];
    for (name, kind, answers, expected) in cases {
        let mut world = opened(Severity::Sev1);
        for output in [Output::Weakness, Output::DetectionGap] {
            let ask = given_by(output, &world.incident(1)).expect("people give it");
            world.ask(1, ask, "ana").expect("it is open");
        }
        let action = ActionItem {
            kind: Some(*kind),
            answers: Some(answers.iter().map(|answer| (*answer).to_owned()).collect()),
            ..systemic()
        };
        world
            .ask(1, Ask::AddAction(action), "ana")
            .expect("it is open");
        assert_eq!(
            world.incident(1).has(Output::SystemicAction),
            *expected,
            "{name}"
        );
    }
}

#[test]
fn a_dropped_action_counts_as_done_and_serves_no_systemic_action() {
    let mut world = opened(Severity::Sev1);
    for output in [Output::Weakness, Output::SystemicAction] {
        let ask = given_by(output, &world.incident(1)).expect("people give it");
        world.ask(1, ask, "ana").expect("it is open");
    }
    assert!(world.incident(1).has(Output::SystemicAction));
    assert!(!world.incident(1).has(Output::ActionsDone));

    let drop = |evidence: Option<&str>| Ask::ChangeAction {
        index: 0,
        change: ActionItem {
            state: Some(ActionState::Dropped),
            evidence: evidence.map(str::to_owned),
            ..ActionItem::default()
        },
    };
    let refused = world
        .ask(1, drop(None), "ana")
        .expect_err("it says not why");
    assert_eq!(
        refused.to_string(),
        "an action needs its reason in \"evidence\" when it is dropped"
    );
    world
        .ask(1, drop(Some("the feed ends in May")), "ana")
        .expect("it says why");
    assert!(!world.incident(1).has(Output::SystemicAction));
    assert!(world.incident(1).has(Output::ActionsDone));
}

#[test]
fn an_action_without_owner_deadline_or_priority_is_incomplete() {
    let mut world = opened(Severity::Sev1);
    let action = ActionItem {
        owner: None,
        due: None,
        priority: None,
        ..systemic()
    };
    world
        .ask(1, Ask::AddAction(action), "ana")
        .expect("it is open");
    let parts = [
        ActionItem {
            owner: Some("ana".to_owned()),
            ..ActionItem::default()
        },
        ActionItem {
            due: Some(at("2026-04-01T00:00:00Z")),
            ..ActionItem::default()
        },
        ActionItem {
            priority: Some(Priority::P1),
            ..ActionItem::default()
        },
    ];
    for change in parts {
        assert!(!world.incident(1).has(Output::ActionsComplete));
        world
            .ask(1, Ask::ChangeAction { index: 0, change }, "ana")
            .expect("there is one");
    }
    assert!(world.incident(1).has(Output::ActionsComplete));
}

#[test]
fn actions_are_refused_with_what_they_lack() {
    let mut world = opened(Severity::Sev1);
    let cases = [
        (
            Ask::AddAction(ActionItem {
                kind: None,
                ..systemic()
            }),
            "an action needs a kind, \"containment\" or \"systemic\"",
        ),
        (
            Ask::AddAction(ActionItem {
                title: Some(" ".to_owned()),
                ..systemic()
            }),
            "an action needs a title",
        ),
        (
            Ask::AddAction(ActionItem {
                answers: Some(vec!["weakness".to_owned()]),
                ..systemic()
            }),
            "an action answers \"weakness:0\", \"detection_gap\" or \"immediate_cause\", found \"weakness\"",
        ),
        (
            Ask::ChangeAction {
                index: 3,
                change: ActionItem::default(),
            },
            "there is no action item 3",
        ),
    ];
    for (ask, expected) in cases {
        let refused = world.ask(1, ask, "ana").expect_err("it lacks something");
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn taking_a_light_incident_over_makes_it_full_and_returns_it_to_triage_from_any_phase() {
    for phase in Phase::ALL.into_iter().skip(1) {
        let mut world = opened(Severity::Sev3);
        if phase == Phase::Verification {
            world.resolves("Down");
        } else {
            while world.incident(1).phase != phase {
                world
                    .ask(1, advance(), "ana")
                    .expect("a light one lacks nothing");
            }
        }
        assert_eq!(
            (world.incident(1).phase, world.incident(1).profile),
            (phase, Profile::Light)
        );
        let taken = world.ask(1, Ask::TakeOver, "ben").expect("it is open");
        assert_eq!((taken.phase, taken.profile), (Phase::Triage, Profile::Full));
        assert_eq!(taken.roles[&Role::Commander], "ben");
        assert!(taken.acknowledged.is_some());
        assert_eq!(
            missing(world.ask(1, advance(), "ana")),
            (
                Phase::Triage,
                vec![
                    "severity_confirmed",
                    "escalation_decided",
                    "first_communication"
                ]
            )
        );
        let seq = world.incident(1).seq;
        world.ask(1, Ask::TakeOver, "ben").expect("it is open");
        assert_eq!(world.incident(1).seq, seq, "twice is once");
    }
}

#[test]
fn taking_a_full_incident_over_leaves_it_where_it_is() {
    let mut world = opened(Severity::Sev1);
    walk_to(&mut world, 1, Phase::Stabilization);
    let taken = world.ask(1, Ask::TakeOver, "ben").expect("it is open");
    assert_eq!(
        (taken.phase, taken.profile),
        (Phase::Stabilization, Profile::Full)
    );
}

#[test]
fn a_light_incident_walks_by_itself() {
    let mut world = opened(Severity::Sev3);
    world.ask(1, Ask::Acknowledge, "ana").expect("it is open");
    world.advance(30);
    assert_eq!(world.incident(1).phase, Phase::Triage);

    world.resolves("Down");
    let incident = world.incident(1);
    assert_eq!(incident.phase, Phase::Verification);
    assert_eq!(
        missing(world.ask(1, close(), "ana")),
        (Phase::Verification, vec!["no_recurrence", "stable"])
    );

    world.advance(7 * 24 * 60);
    let incident = world.incident(1);
    assert_eq!(incident.closed_at, Some(at("2026-03-09T09:00:00Z")));
    let last = entries(&world, 1).pop().expect("it has a log");
    assert_eq!(
        (last.event, last.by.as_str()),
        (Event::Closed, "watchkeeper")
    );
}

#[test]
fn a_light_incident_that_rises_is_full_and_returns_to_triage() {
    let mut world = opened(Severity::Sev3);
    world
        .ask(1, advance(), "ana")
        .expect("a light one lacks nothing");
    fires_critical(&mut world);
    let incident = world.incident(1);
    assert_eq!(
        (incident.severity, incident.profile, incident.phase),
        (Severity::Sev1, Profile::Full, Phase::Triage)
    );

    let mut world = opened(Severity::Sev3);
    world.resolves("Down");
    let raised = world
        .ask(1, confirms(Severity::Sev2), "ana")
        .expect("it is open");
    assert_eq!(
        (raised.profile, raised.phase),
        (Profile::Full, Phase::Triage)
    );
    world.advance(8 * 24 * 60);
    assert!(world.incident(1).is_open(), "it does not close by itself");
}

#[test]
fn once_full_an_incident_is_never_light_again() {
    let mut world = opened(Severity::Sev1);
    let lowered = world
        .ask(1, confirms(Severity::Sev4), "ana")
        .expect("it is open");
    assert_eq!(
        (lowered.severity, lowered.profile),
        (Severity::Sev4, Profile::Full)
    );
}

#[test]
fn an_incident_that_a_person_opens_is_full_and_clear_once_contained_is_given() {
    let mut world = by_person(Severity::Sev3);
    assert_eq!(paged_since(&world, 0), ["03-02 09:00 ana"]);
    let incident = world.incident(1);
    assert_eq!(
        (incident.profile, incident.phase, incident.is_clear()),
        (Profile::Full, Phase::Triage, false)
    );
    world.advance(6);
    assert_eq!(
        paged_since(&world, 0),
        ["03-02 09:00 ana", "03-02 09:05 ben"]
    );
    walk_to(&mut world, 1, Phase::ActionItems);
    assert_eq!(
        world.incident(1).clear_since,
        Some(at("2026-03-02T09:06:00Z")),
        "contained was given on the way"
    );
    walk_to(&mut world, 1, Phase::Verification);
}

fn closed() -> World {
    let mut world = opened(Severity::Sev1);
    world.resolves("Down");
    walk_to(&mut world, 1, Phase::Verification);
    world.advance(14 * 24 * 60);
    give_all(&mut world, 1);
    world.ask(1, close(), "ana").expect("everything is there");
    world
}

fn reopen() -> Ask {
    Ask::Reopen {
        reason: "customers still see it".to_owned(),
    }
}

#[test]
fn reopened_by_a_person_it_pages_and_is_clear_only_once_contained_is_given_anew() {
    let mut world = closed();
    let before = world.simulation.sent().len();
    let reopened = world.ask(1, reopen(), "ana").expect("nobody has its key");
    assert_eq!(
        (reopened.phase, reopened.profile, reopened.recurrences),
        (Phase::Response, Profile::Full, 1)
    );
    assert!(!reopened.is_clear());
    assert_eq!(reopened.closed_at, None);
    world.advance(6);
    assert_eq!(
        paged_since(&world, before),
        ["03-16 09:00 ana", "03-16 09:05 ben"]
    );
    assert_eq!(
        missing(world.ask(1, close(), "ana")).1,
        [
            "validated",
            "mitigation",
            "contained",
            "timeline_reviewed",
            "systemic_action",
            "no_recurrence",
            "stable",
            "stakeholder",
            "lessons",
            "clear"
        ]
    );
    world
        .ask(1, says(Output::Contained), "ana")
        .expect("it is open");
    assert!(world.incident(1).is_clear());
}

#[test]
fn a_light_incident_reopened_by_a_person_is_full_and_in_triage() {
    let mut world = opened(Severity::Sev3);
    world.resolves("Down");
    world.advance(8 * 24 * 60);
    assert!(!world.incident(1).is_open());
    let reopened = world.ask(1, reopen(), "ana").expect("nobody has its key");
    assert_eq!(
        (reopened.phase, reopened.profile),
        (Phase::Triage, Profile::Full)
    );
}

#[test]
fn the_second_reopening_raises_a_full_incident() {
    let mut world = World::with(START, book(STEPS), rules_of(Severity::Sev2));
    world.fires("Down");
    world.resolves("Down");
    let mut severities = Vec::new();
    for _ in 0..3 {
        walk_to(&mut world, 1, Phase::Verification);
        world.advance(14 * 24 * 60);
        give_all(&mut world, 1);
        world.ask(1, close(), "ana").expect("everything is there");
        let reopened = world.ask(1, reopen(), "ana").expect("nobody has its key");
        severities.push(reopened.severity);
        world
            .ask(1, says(Output::Contained), "ana")
            .expect("it is open");
    }
    assert_eq!(severities, [Severity::Sev2, Severity::Sev1, Severity::Sev1]);
}

#[test]
fn an_incident_is_not_reopened_while_another_open_one_has_its_key() {
    let mut world = closed();
    world.advance(25 * 60);
    world.fires("Down");
    let refused = world.ask(1, reopen(), "ana").expect_err("2 has its key");
    assert_eq!(refused, Refusal::KeyTaken { number: 2 });
    assert_eq!(refused.to_string(), "another open incident, 2, has its key");
    assert!(!world.incident(1).is_open());
    let refused = world.ask(2, reopen(), "ana").expect_err("it is open");
    assert_eq!(refused.to_string(), "incident 2 is open");
}

#[test]
fn an_alert_of_a_reopened_incident_joins_it() {
    let mut world = closed();
    world.ask(1, reopen(), "ana").expect("nobody has its key");
    let recorded = world.fires("Down");
    assert_eq!(Vec::from_iter(recorded.joined), [1]);
    world.resolves("Down");
    assert!(
        !world.incident(1).is_clear(),
        "contained has not been given anew"
    );
}

#[test]
fn a_closed_incident_refuses_everything_but_a_note_and_reopening() {
    let mut world = closed();
    let incident = world.incident(1);
    let outputs = Output::ALL
        .into_iter()
        .filter_map(|output| given_by(output, &incident));
    let others = [
        Ask::Acknowledge,
        Ask::Unacknowledge,
        Ask::TakeOver,
        Ask::Escalate,
        Ask::Page {
            to: "person:ana".parse().expect("a target"),
        },
        Ask::NoContainment {
            because: "nothing to contain".to_owned(),
        },
        Ask::ChangeAction {
            index: 0,
            change: ActionItem::default(),
        },
        advance(),
        close(),
    ];
    for ask in outputs.chain(others) {
        let shown = format!("{ask:?}");
        let refused = world.ask(1, ask, "ana").expect_err(&shown);
        assert_eq!(refused.to_string(), "incident 1 is closed", "{shown}");
    }
    assert_eq!(world.incident(1).seq, incident.seq);
    world
        .ask(1, Ask::Note(remark("seen again by support")), "ana")
        .expect("a note is taken");
    assert_eq!(world.incident(1).seq, incident.seq + 1);
    world.ask(1, reopen(), "ana").expect("nobody has its key");
}

#[test]
fn the_same_command_twice_changes_nothing_the_second_time() {
    let mut world = opened(Severity::Sev1);
    let change = ActionItem {
        state: Some(ActionState::Doing),
        ..ActionItem::default()
    };
    world
        .ask(1, Ask::AddAction(systemic()), "ana")
        .expect("it is open");
    let asks = [
        Ask::Acknowledge,
        Ask::Unacknowledge,
        Ask::TakeOver,
        confirms(Severity::Sev2),
        confirms(Severity::Sev1),
        assign(Role::Scribe, "ben"),
        Ask::NoContainment {
            because: "nothing to contain".to_owned(),
        },
        analyses(|analysis| analysis.immediate_cause = Some("a null".to_owned())),
        Ask::ChangeAction { index: 0, change },
        says(Output::Validated),
        says(Output::Contained),
    ];
    for ask in asks {
        world.ask(1, ask.clone(), "ana").expect("it is open");
        let seq = world.incident(1).seq;
        world.ask(1, ask.clone(), "ana").expect("it is open");
        assert_eq!(world.incident(1).seq, seq, "{ask:?}");
    }
}

#[test]
fn an_alert_that_resolves_within_its_quiet_time_is_not_clear_for_the_gate() {
    let rules = rules(|settings| settings.resolve_after = Some(Duration::from_secs(300)));
    let mut world = World::with(START, book(STEPS), rules);
    world.fires("Down");
    world.resolves("Down");
    walk_to(&mut world, 1, Phase::ActionItems);
    give_all(&mut world, 1);
    assert_eq!(
        missing(world.ask(1, advance(), "ana")),
        (Phase::ActionItems, vec!["clear"])
    );
    world.advance(5);
    world
        .ask(1, advance(), "ana")
        .expect("it is clear after five minutes");
}

//! Readiness: whether a page would reach somebody, now and in the next two weeks. All of it warnings.

use crate::config::channels::Channel;
use crate::config::{Config, Places};
use crate::domain::escalation::{EscalationPolicy, Step, Target};
use crate::domain::finding::Finding;
use crate::domain::oncall::{Contact, Person};
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;
use chrono::{Days, NaiveTime, TimeZone};
use std::collections::BTreeSet;
use std::time::Duration;

/// How far ahead schedules are looked at.
const AHEAD_DAYS: u64 = 14;

/// What would keep a page from reaching anybody.
pub fn check(config: &Config, places: &Places, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, person) in &config.book.people {
        let why = unreachable(config, name, person);
        findings.extend(why.map(|why| places.of(&format!("people.{name}")).warning(why)));
    }
    for (name, policy) in &config.book.policies {
        let place = places.of(&format!("policies.{name}"));
        if is_log_only(config, policy) {
            let why = "reaches people by the log only: nobody is woken";
            findings.push(place.warning(format!("policy \"{name}\" {why}")));
        }
        for (n, step) in policy.steps.iter().enumerate() {
            let place = places.of(&format!("policies.{name}.{}", n + 1));
            let why = step_problem(config, step, now);
            findings.extend(
                why.map(|why| place.warning(format!("step {} of policy \"{name}\" {why}", n + 1))),
            );
        }
    }
    findings.sort();
    findings
}

fn unreachable(config: &Config, name: &str, person: &Person) -> Option<String> {
    if person.notify.is_empty() {
        return Some(format!("\"{name}\" has no contact: no page can reach them"));
    }
    let works = person.notify.iter().any(|contact| works(config, contact));
    (!works)
        .then(|| format!("every contact of \"{name}\" is by a channel that is not yet in effect"))
}

fn step_problem(config: &Config, step: &Step, now: Timestamp) -> Option<String> {
    let people = candidates(config, &step.targets);
    if !people.iter().any(|person| is_reachable(config, person)) {
        return Some("reaches nobody: none of its people has a contact that works".to_owned());
    }
    // Another target of the step that is always there covers the gaps of a schedule.
    let is_covered = step
        .targets
        .iter()
        .any(|target| matches!(target, Target::Person(name) if is_reachable(config, name)));
    if is_covered {
        return None;
    }
    let schedules: Vec<&Schedule> = step
        .targets
        .iter()
        .filter_map(|target| match target {
            Target::Schedule(name) => config.book.schedules.get(name),
            Target::Person(_) | Target::Policy(_) => None,
        })
        .collect();
    let first = schedules.first()?;
    let gap = first_gap(&schedules, now)?;
    let names: Vec<String> = schedules
        .iter()
        .map(|schedule| format!("\"{}\"", schedule.name))
        .collect();
    let local = gap.to_utc().with_timezone(&first.zone);
    Some(format!(
        "pages nobody from {} {} on: then nobody is on call by {}",
        local.format("%Y-%m-%d %H:%M"),
        first.zone,
        names.join(" or ")
    ))
}

/// Everybody whom the targets can stand for at some time.
fn candidates<'a>(config: &'a Config, targets: &'a [Target]) -> BTreeSet<&'a str> {
    let mut people = BTreeSet::new();
    for target in targets {
        match target {
            Target::Person(name) => {
                people.insert(name.as_str());
            }
            Target::Schedule(name) => {
                let layers = config
                    .book
                    .schedules
                    .get(name)
                    .map(|schedule| &schedule.layers);
                let named = layers.into_iter().flatten().flat_map(|layer| &layer.people);
                people.extend(named.map(String::as_str));
            }
            // Only `leadership` names one, and the policy is looked at by itself.
            Target::Policy(_) => {}
        }
    }
    people
}

fn is_reachable(config: &Config, person: &str) -> bool {
    let person = config.book.people.get(person);
    person.is_some_and(|person| person.notify.iter().any(|contact| works(config, contact)))
}

fn works(config: &Config, contact: &Contact) -> bool {
    let channel = config.channels.get(&contact.channel);
    channel.is_some_and(|channel| !matches!(channel, Channel::NotYet { .. }))
}

fn is_log_only(config: &Config, policy: &EscalationPolicy) -> bool {
    let targets = policy.steps.iter().map(|step| &step.targets);
    let mut contacts = targets
        .chain([&policy.fallback])
        .flat_map(|targets| candidates(config, targets))
        .filter_map(|person| config.book.people.get(person))
        .flat_map(|person| &person.notify)
        .filter(|contact| works(config, contact))
        .peekable();
    let is_log =
        |contact: &Contact| matches!(config.channels.get(&contact.channel), Some(Channel::Log));
    contacts.peek().is_some() && contacts.all(is_log)
}

/// The first instant from `now` on at which none of the schedules has anybody. Looked for where a layer can begin or end:
/// at its times of day, at midnight, and, for the ends of daylight saving, at each full hour.
fn first_gap(schedules: &[&Schedule], now: Timestamp) -> Option<Timestamp> {
    let until = now.plus(Duration::from_secs(AHEAD_DAYS * 24 * 3600));
    let changes = schedules.iter().flat_map(|schedule| changes(schedule, now));
    let instants: BTreeSet<Timestamp> = changes.chain([now]).collect();
    instants
        .into_iter()
        .filter(|at| (now..=until).contains(at))
        .find(|at| {
            schedules
                .iter()
                .all(|schedule| schedule.on_call(&[], *at).is_empty())
        })
}

fn changes(schedule: &Schedule, now: Timestamp) -> Vec<Timestamp> {
    let of_layers = schedule
        .layers
        .iter()
        .flat_map(|layer| [layer.from, layer.to, Some(layer.start.time())])
        .flatten();
    let hours = (0..24).filter_map(|hour| NaiveTime::from_hms_opt(hour, 0, 0));
    let times: BTreeSet<NaiveTime> = of_layers.chain(hours).collect();
    let today = now.to_utc().with_timezone(&schedule.zone).date_naive();
    (0..=AHEAD_DAYS + 1)
        .filter_map(|day| today.checked_add_days(Days::new(day)))
        .flat_map(|date| times.iter().map(move |time| date.and_time(*time)))
        .map(|local| schedule.zone.from_local_datetime(&local))
        .flat_map(|local| [local.earliest(), local.latest()])
        .flatten()
        .map(Timestamp::from)
        .collect()
}

//! `[people]` and `[teams]`: who can be paged and how, and who hears of a team's incidents.

use crate::config::names::Names;
use crate::domain::oncall::{Contact, Person, Team};
use crate::toml_file::{Section, Value};
use std::collections::BTreeMap;

pub(super) fn read_people(section: &Section<'_>, names: &Names) -> BTreeMap<String, Person> {
    let mut people = BTreeMap::new();
    for (name, person) in section.each_section() {
        people.insert(name.text.to_owned(), read_person(name.text, person, names));
    }
    people
}

fn read_person(key: &str, section: Section<'_>, names: &Names) -> Person {
    let contacts = |value| contacts(value, key, names);
    let person = Person {
        name: section
            .get("name")
            .and_then(Value::text)
            .unwrap_or_else(|| key.to_owned()),
        zone: section.get("timezone").and_then(Value::zone),
        notify: section.get("notify").map(contacts).unwrap_or_default(),
        notify_low: section.get("notify_low").map(contacts),
        manager: section
            .get("manager")
            .and_then(|value| names.person(value, value.string()?)),
    };
    if person.manager.as_deref() == Some(key)
        && let Some(manager) = section.get("manager")
    {
        manager.error("nobody is their own manager");
    }
    section.done();
    person
}

pub(super) fn read_teams(section: &Section<'_>, names: &Names) -> BTreeMap<String, Team> {
    let mut teams = BTreeMap::new();
    for (name, team) in section.each_section() {
        let read = Team {
            policy: team
                .get("policy")
                .and_then(|value| names.policy(value, value.string()?)),
            stakeholders: team
                .get("stakeholders")
                .map(|value| contacts(value, name.text, names))
                .unwrap_or_default(),
        };
        team.done();
        teams.insert(name.text.to_owned(), read);
    }
    teams
}

/// The contacts of a list, in order of their time.
fn contacts(value: Value<'_>, owner: &str, names: &Names) -> Vec<Contact> {
    let items = value.list().unwrap_or_default();
    let mut contacts: Vec<Contact> = items
        .into_iter()
        .filter_map(|item| contact(item.section()?, owner, names))
        .collect();
    contacts.sort_by_key(|contact| contact.after);
    contacts
}

fn contact(section: Section<'_>, owner: &str, names: &Names) -> Option<Contact> {
    let channel = section
        .required("channel")
        .and_then(|value| names.channel(value));
    let after = section
        .get("after")
        .map_or(Some(std::time::Duration::ZERO), Value::span);
    let has = |list: &[String]| {
        channel
            .as_ref()
            .is_some_and(|channel| list.contains(channel))
    };
    let address = match section.get("address") {
        Some(value) if has(&names.email_channels) => email_address(value),
        Some(value) => value.text(),
        // A line of the log needs no address.
        None if has(&names.log_channels) => Some(owner.to_owned()),
        None => section.required("address").and_then(Value::text),
    };
    section.done();
    Some(Contact {
        channel: channel?,
        address: address?,
        after: after?,
    })
}

fn email_address(value: Value<'_>) -> Option<String> {
    let found = value.text()?;
    if !crate::config::channels::is_mailbox(&found) {
        value.error(format!("an email address is wanted, found \"{found}\""));
        return None;
    }
    Some(found)
}

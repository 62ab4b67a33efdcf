//! Pages of lists, newest first, with a cursor; bounded work for each answer.

use crate::domain::alert::{Alert, Fingerprint, Status};
use crate::domain::incident::Member;
use crate::domain::phase::Phase;
use crate::domain::rule::RuleSet;
use crate::domain::severity::Severity;
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::keys;
use crate::store::letters::shortened;
use crate::store::muting::{self, Muting, muting};
use crate::store::read::Reader;
use crate::store::records::{DeadLetter, Head, OneOrMore, PageState, Seen, Transition};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Records that are read at once, where reading them one by one would take long.
pub(crate) const LOOKED_AT_TOGETHER: usize = 256;

/// Records looked at for one answer; a filter that fits few of them gives a short page and a cursor.
pub(crate) const LOOKED_AT_MAX: usize = 20_000;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// Which incidents are wanted; what is none fits all.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    pub open: Option<bool>,
    pub severity: Option<Severity>,
    pub phase: Option<Phase>,
    pub team: Option<String>,
    /// A part of the title or of the dedup key, or the number.
    pub text: Option<String>,
}

impl IncidentFilter {
    fn fits(&self, number: u64, head: &Head) -> bool {
        let text_fits = |text: &String| {
            let text = text.to_lowercase();
            head.title.to_lowercase().contains(&text)
                || head
                    .dedup_key
                    .as_ref()
                    .is_some_and(|key| key.to_lowercase().contains(&text))
                || number.to_string() == text.trim_start_matches('#')
        };
        self.open.is_none_or(|open| head.open == open)
            && self
                .severity
                .is_none_or(|severity| head.severity == severity)
            && self.phase.is_none_or(|phase| head.phase == phase)
            && self
                .team
                .as_ref()
                .is_none_or(|team| head.team.as_ref() == Some(team))
            && self.text.as_ref().is_none_or(text_fits)
    }
}

/// Numbers of incidents that fit, newest first, below `before`.
pub fn incidents(
    reader: &Reader<'_>,
    filter: &IncidentFilter,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<u64>, Error> {
    let only_open = filter.open == Some(true);
    let all = if only_open {
        keys::all_open()
    } else {
        keys::all_heads()
    };
    let key = |number| match only_open {
        true => keys::open(number),
        false => keys::head(number),
    };
    let mut end = before.map_or_else(|| keys::after(&all), key);
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut looked_at = 0;
    let mut last: Option<u64> = None;
    loop {
        let some = last_keys(reader, &all, &end)?;
        let numbers = some.iter().filter_map(|key| keys::last_number(key));
        let numbers: Vec<u64> = numbers.collect();
        let foreseen = numbers
            .iter()
            .flat_map(|number| [keys::head(*number), keys::tally(*number)]);
        reader.foresee(&foreseen.collect::<Vec<Key>>())?;
        for number in numbers {
            if page.items.len() >= limit || looked_at >= LOOKED_AT_MAX {
                page.next = last.map(|last| last.to_string());
                return Ok(page);
            }
            looked_at += 1;
            last = Some(number);
            if reader
                .head(number)?
                .is_some_and(|head| filter.fits(number, &head))
            {
                page.items.push(number);
            }
        }
        match some.into_iter().next_back() {
            Some(first) => end = first,
            None => return Ok(page),
        }
    }
}

/// The last keys of a range, the last first: as many as are looked at together.
pub(crate) fn last_keys(reader: &Reader<'_>, from: &[u8], to: &[u8]) -> Result<Vec<Key>, Error> {
    let mut found = Vec::new();
    reader.scan_keys(from, to, Order::Reverse, &mut |key| {
        found.push(Key::from_slice(key));
        Ok(if found.len() < LOOKED_AT_TOGETHER {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(found)
}

/// Numbers of all open incidents.
pub fn open_incidents(reader: &Reader<'_>) -> Result<Vec<u64>, Error> {
    let all = keys::all_open();
    let mut numbers = Vec::new();
    reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
        numbers.extend(keys::last_number(key));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(numbers)
}

/// These incidents one by one, of which the heads are read many at once.
pub fn foreseeing<'r>(
    reader: &'r Reader<'_>,
    numbers: &'r [u64],
) -> impl Iterator<Item = Result<u64, Error>> + 'r {
    numbers.chunks(LOOKED_AT_TOGETHER).flat_map(move |some| {
        let heads: Vec<Key> = some.iter().map(|number| keys::head(*number)).collect();
        let foreseen = reader.foresee(&heads).err();
        let failed = foreseen.into_iter().map(Err);
        failed.chain(some.iter().copied().map(Ok))
    })
}

/// Incidents with something due at `now`, the longest due first, at most `most`.
pub fn due_incidents(reader: &Reader<'_>, now: Timestamp, most: usize) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    reader.scan_keys(
        &keys::all_due(),
        &keys::due(now.shifted(1), 0),
        Order::Forward,
        &mut |key| {
            numbers.extend(keys::last_number(key));
            Ok(if numbers.len() < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    Ok(numbers)
}

/// When the next incident has something due.
pub fn next_due(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    let all = keys::all_due();
    let mut first = None;
    reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
        first = keys::instant_at(key, 1);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Whether the due index has an incident at an instant: what the audit holds against its state.
pub fn is_due_at(reader: &Reader<'_>, number: u64, at: Timestamp) -> Result<bool, Error> {
    Ok(reader.get::<()>(&keys::due(at, number))?.is_some())
}

/// Whether a page that has not ended stands in the outbox.
pub fn is_in_outbox(reader: &Reader<'_>, number: u64, serial: u32) -> Result<bool, Error> {
    let Some(page) = reader.page(number, serial)? else {
        return Ok(false);
    };
    let slot = page
        .next_at
        .map(|at| keys::outbox(&page.issue.channel, at, number, serial));
    match (page.state, slot) {
        (PageState::Waiting | PageState::Sending, Some(slot)) => {
            Ok(reader.get::<()>(&slot)?.is_some())
        }
        _ => Ok(false),
    }
}

/// An alert with its counts.
#[derive(Clone, Debug)]
pub struct Listed {
    pub fingerprint: Fingerprint,
    pub alert: Alert,
    pub seen: Seen,
    /// By what it is muted, where that was asked.
    pub muting: Muting,
}

impl Listed {
    /// The same with what mutes it now.
    pub fn with_muting(
        mut self,
        reader: &Reader<'_>,
        rules: &RuleSet,
        now: Timestamp,
    ) -> Result<Self, Error> {
        self.muting = muting(reader, rules, self.fingerprint, &self.alert, now)?;
        Ok(self)
    }
}

/// Alerts by their last change, newest first; the cursor is that of the page before.
pub fn alerts(
    reader: &Reader<'_>,
    status: Option<Status>,
    before: Option<(Timestamp, Fingerprint)>,
    limit: usize,
) -> Result<Page<Listed>, Error> {
    let all = keys::all_changed();
    let mut end = match before {
        Some((at, fingerprint)) => keys::changed(at, fingerprint),
        None => keys::after(&all),
    };
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut looked_at = 0;
    let mut last = None;
    loop {
        let some = last_keys(reader, &all, &end)?;
        let changed = some.iter().filter_map(|key| {
            let fingerprint = keys::last_number(key).map(Fingerprint)?;
            Some((keys::instant_at(key, 1)?, fingerprint))
        });
        let changed: Vec<(Timestamp, Fingerprint)> = changed.collect();
        foresee_alerts(reader, changed.iter().map(|(_, fingerprint)| *fingerprint))?;
        for (at, fingerprint) in changed {
            if page.items.len() >= limit || looked_at >= LOOKED_AT_MAX {
                page.next = last.map(|(at, fingerprint)| alert_cursor(at, fingerprint));
                return Ok(page);
            }
            looked_at += 1;
            last = Some((at, fingerprint));
            if let Some(listed) = listed(reader, fingerprint)?
                && status.is_none_or(|status| listed.alert.status == status)
            {
                page.items.push(listed);
            }
        }
        match some.into_iter().next_back() {
            Some(first) => end = first,
            None => return Ok(page),
        }
    }
}

fn foresee_alerts(
    reader: &Reader<'_>,
    fingerprints: impl Iterator<Item = Fingerprint>,
) -> Result<(), Error> {
    let foreseen =
        fingerprints.flat_map(|fingerprint| [keys::alert(fingerprint), keys::seen(fingerprint)]);
    reader.foresee(&foreseen.collect::<Vec<Key>>())
}

/// Where a page of the alerts of an incident ended: at one of its own, or at one that this one holds back.
pub type MemberCursor = (Fingerprint, Option<Fingerprint>);

/// The alerts of an incident, in order of their fingerprints; behind each those that have no incident because of it.
pub fn alerts_of(
    reader: &Reader<'_>,
    incident: u64,
    after: Option<MemberCursor>,
    limit: usize,
) -> Result<Page<Listed>, Error> {
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let Some(incident) = reader.incident(incident)? else {
        return Ok(page);
    };
    let most = limit.saturating_add(1);
    let mut found: Vec<MemberCursor> = Vec::new();
    if let Some((member, held)) = after {
        let more = muting::held_by(reader, member, held, most)?;
        found.extend(more.into_iter().map(|held| (member, Some(held))));
    }
    let members = incident
        .members
        .after(after.map(|(member, _)| member), most);
    for (member, _) in members {
        if found.len() >= most {
            break;
        }
        found.push((member, None));
        let held = muting::held_by(reader, member, None, most - found.len())?;
        found.extend(held.into_iter().map(|held| (member, Some(held))));
    }
    if found.len() > limit {
        found.truncate(limit);
        page.next = found.last().map(|(member, held)| match held {
            Some(held) => format!("{member}-{held}"),
            None => member.to_string(),
        });
    }
    let wanted = found
        .into_iter()
        .map(|(member, held)| held.unwrap_or(member));
    let wanted: Vec<Fingerprint> = wanted.collect();
    foresee_alerts(reader, wanted.iter().copied())?;
    for fingerprint in wanted {
        page.items.extend(listed(reader, fingerprint)?);
    }
    Ok(page)
}

/// Reads the cursor of the alerts of an incident.
pub fn read_member_cursor(text: &str) -> Option<MemberCursor> {
    match text.split_once('-') {
        Some((member, held)) => Some((member.parse().ok()?, Some(held.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

/// All alerts that are not resolved: those of open incidents, and of the others those that changed last, at most `most`.
pub fn live_alerts(reader: &Reader<'_>, most: usize) -> Result<Vec<Listed>, Error> {
    let mut wanted: BTreeSet<Fingerprint> = BTreeSet::new();
    let open = open_incidents(reader)?;
    for number in foreseeing(reader, &open) {
        let Some(incident) = reader.readable_incident(number?) else {
            continue;
        };
        let members = incident.members.after(None, usize::MAX);
        let live = members.filter(|(_, member)| *member != Member::Resolved);
        wanted.extend(live.map(|(fingerprint, _)| fingerprint));
    }
    let all = keys::all_changed();
    let mut n = 0;
    reader.scan_keys(&all, &keys::after(&all), Order::Reverse, &mut |key| {
        n += 1;
        wanted.extend(keys::last_number(key).map(Fingerprint));
        Ok(match n < LOOKED_AT_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    let wanted: Vec<Fingerprint> = wanted.into_iter().collect();
    let mut live: Vec<Listed> = Vec::new();
    for some in wanted.chunks(LOOKED_AT_TOGETHER) {
        foresee_alerts(reader, some.iter().copied())?;
        for fingerprint in some {
            let found = listed(reader, *fingerprint)?;
            live.extend(found.filter(|listed| listed.alert.status != Status::Resolved));
            if live.len() >= most {
                return Ok(live);
            }
        }
    }
    Ok(live)
}

pub fn listed(reader: &Reader<'_>, fingerprint: Fingerprint) -> Result<Option<Listed>, Error> {
    let Some(alert) = reader.alert(fingerprint)? else {
        return Ok(None);
    };
    let seen = reader.seen(fingerprint)?;
    Ok(Some(Listed {
        fingerprint,
        seen: seen.unwrap_or_else(|| Seen::first_of(&alert)),
        alert,
        muting: Muting::default(),
    }))
}

fn alert_cursor(at: Timestamp, fingerprint: Fingerprint) -> String {
    format!("{}-{fingerprint}", at.as_millis())
}

/// Reads the cursor of a list of alerts.
pub fn read_alert_cursor(text: &str) -> Option<(Timestamp, Fingerprint)> {
    let (at, fingerprint) = text.rsplit_once('-')?;
    Some((
        Timestamp::from_millis(at.parse().ok()?),
        fingerprint.parse().ok()?,
    ))
}

/// Dead letters with their numbers, newest first, below `before`; of long items the start.
pub fn dead_letters(
    reader: &Reader<'_>,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<(u64, DeadLetter)>, Error> {
    let all = keys::all_dead_letters();
    let end = before.map_or_else(|| keys::after(&all), keys::dead_letter);
    let mut page: Page<(u64, DeadLetter)> = Page {
        items: Vec::new(),
        next: None,
    };
    reader.scan(
        &all,
        &end,
        Order::Reverse,
        &mut |key, letter: DeadLetter| {
            if page.items.len() >= limit {
                page.next = page.items.last().map(|(id, _)| id.to_string());
                return Ok(ControlFlow::Break(()));
            }
            page.items
                .extend(keys::last_number(key).map(|id| (id, shortened(letter))));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(page)
}

/// Transitions of alerts in order of time, from an instant on.
pub fn transitions(
    reader: &Reader<'_>,
    from: Timestamp,
    each: &mut dyn FnMut(Timestamp, Transition) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let end = keys::after(&keys::all_transitions());
    reader.scan(
        &keys::transitions_before(from),
        &end,
        Order::Forward,
        &mut |key, transitions: OneOrMore<Transition>| {
            let at = keys::instant_at(key, 1).unwrap_or(from);
            for transition in transitions.into_vec() {
                if each(at, transition)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        },
    )
}

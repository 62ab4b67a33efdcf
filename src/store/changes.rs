//! Changes as they are remembered: recorded once, however often they are told, listed by time, and found beside an incident.

use crate::domain::alert::{Fingerprint, Labels};
use crate::domain::change::related::{Related, Scene, related};
use crate::domain::change::{Change, Identity, Mention, SAID_AGAIN_WITHIN, folded};
use crate::domain::incident::Incident;
use crate::domain::time::{Timestamp, millis};
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::keys::{self, ChangeId, ChangesOf};
use crate::store::lists::{LOOKED_AT_MAX, LOOKED_AT_TOGETHER, Page, last_keys};
use crate::store::read::Reader;
use crate::store::tx::Tx;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

/// How long before an incident began a change may have been made that is shown with it.
pub const SHOWN_BEFORE: Duration = Duration::from_secs(24 * 3600);

/// An alert may say that it began long before it was heard of; an incident began no longer than this before it was opened.
const BEGAN_BEFORE_OPENING: Duration = Duration::from_secs(7 * 24 * 3600);

/// Alerts of an incident of which the labels are looked at.
const ALERTS_LOOKED_AT: usize = 200;

/// Things that an incident is about whose own changes are looked for, beside those of all.
const SUBJECTS_LOOKED_AT: usize = 16;

/// Changes that are looked at for one incident: the last before it began, the first after that; of each of its subjects, and of all.
const LOOKED_AT_BEFORE: usize = 100;
const LOOKED_AT_AFTER: usize = 50;
const LOOKED_AT_OF_ALL: usize = 400;

/// Records that recording what a source tells of changes will ask for.
pub(crate) fn foreseen(source: &str, mentions: &[Mention], now: Timestamp) -> Vec<Key> {
    let each = mentions.iter().flat_map(|mention| {
        let ids = ids(&mention.identity, now);
        ids.into_iter().map(|id| keys::change(key_of(source, &id)))
    });
    each.collect()
}

/// The ids under which a change may be known, that of a new one first.
fn ids(identity: &Identity, now: Timestamp) -> Vec<String> {
    let made = match identity {
        Identity::Named(id) => return vec![id.clone()],
        Identity::Made(made) => made,
    };
    // It was first told in this slot of time or in the one before; where its end was told in that one, in the one before that.
    let slot = now.as_millis().div_euclid(millis(SAID_AGAIN_WITHIN).max(1));
    let slots = [slot, slot - 1, slot - 2];
    slots.map(|slot| format!("{made}-{slot}")).to_vec()
}

/// Records what a source told of a change; whether that was something new.
pub(crate) fn record(
    tx: &mut Tx<'_, '_>,
    source: &str,
    mention: &Mention,
    now: Timestamp,
) -> Result<bool, Error> {
    let ids = ids(&mention.identity, now);
    for id in &ids {
        let Some(known) = tx.get::<Change>(&keys::change(key_of(source, id)))? else {
            continue;
        };
        let is_made = matches!(mention.identity, Identity::Made(_));
        if is_made && now.since(known.heard_at) > SAID_AGAIN_WITHIN {
            continue;
        }
        let mut change = known.clone();
        let is_new = change.hear(mention, now);
        if is_new {
            put(tx, Some(&known), &change);
        }
        return Ok(is_new);
    }
    if let Some(id) = ids.into_iter().next() {
        put(tx, None, &Change::first(mention, id, source, now));
    }
    Ok(true)
}

/// Remembers a change, and where it is found.
fn put(tx: &mut Tx<'_, '_>, before: Option<&Change>, change: &Change) {
    let (old, new) = (before.map(places).unwrap_or_default(), places(change));
    for key in old.difference(&new) {
        tx.remove(key.clone());
    }
    for key in new.difference(&old) {
        tx.put(key.clone(), &());
    }
    tx.put(keys::change(key_of(&change.source, &change.id)), change);
}

/// Removes a change and all by which it is found.
pub(crate) fn remove(tx: &mut Tx<'_, '_>, change: &Change) {
    for key in places(change) {
        tx.remove(key);
    }
    tx.remove(keys::change(key_of(&change.source, &change.id)));
}

/// Where a change is found: among all, and among those of what it changes.
fn places(change: &Change) -> BTreeSet<Key> {
    let id = key_of(&change.source, &change.id);
    let subjects = change.subjects();
    let lists = subjects.iter().map(|subject| of_subject(subject));
    let lists: BTreeSet<ChangesOf> = lists.chain([keys::ALL_CHANGES]).collect();
    let moments = change.moments();
    let all = lists
        .iter()
        .flat_map(|of| moments.iter().map(|at| keys::change_at(*of, *at, id)));
    all.collect()
}

/// Ids are unique within their source, and of any length.
fn key_of(source: &str, id: &str) -> ChangeId {
    let mut hash = Sha256::new();
    hash.update(source.len().to_be_bytes());
    hash.update(source);
    hash.update(id);
    let mut key = [0; 16];
    key.iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    ChangeId(key)
}

/// Two names that share a hash share a list, of which each takes its own.
fn of_subject(folded: &str) -> ChangesOf {
    let mut key = [0; 8];
    key.iter_mut()
        .zip(Sha256::digest(folded))
        .for_each(|(to, from)| *to = from);
    // The first of all is not to be taken by a name.
    key.iter_mut().take(1).for_each(|first| *first |= 0x80);
    ChangesOf(key)
}

/// Which changes are wanted; what is none fits all.
#[derive(Clone, Debug, Default)]
pub struct ChangeFilter {
    pub service: Option<String>,
    /// A part of what is shown of it, in letters of any size.
    pub text: Option<String>,
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

impl ChangeFilter {
    fn fits(&self, change: &Change) -> bool {
        let about = &change.about;
        let has_service = |service: &String| {
            let found = about.service.as_ref();
            found.is_some_and(|found| folded("service", found) == folded("service", service))
        };
        let has_text = |text: &String| {
            let text = text.to_lowercase();
            let summary = change.summary();
            let fields = [
                Some(summary.as_str()),
                Some(change.id.as_str()),
                Some(change.source.as_str()),
                about.service.as_deref(),
                about.environment.as_deref(),
                about.version.as_deref(),
                about.by.as_deref(),
                about.url.as_deref(),
            ];
            let values = about.labels.iter().map(|(_, value)| value);
            let mut all = fields.into_iter().flatten().chain(values);
            all.any(|field| field.to_lowercase().contains(&text))
        };
        self.service.as_ref().is_none_or(has_service) && self.text.as_ref().is_none_or(has_text)
    }
}

/// Where a page of the list of changes ended.
pub type Cursor = (Timestamp, ChangeId);

/// Changes by when they last came to another status, newest first; the cursor is that of the page before.
pub fn list(
    reader: &Reader<'_>,
    filter: &ChangeFilter,
    before: Option<Cursor>,
    limit: usize,
) -> Result<Page<Change>, Error> {
    let of = match &filter.service {
        Some(service) => of_subject(&folded("service", service)),
        None => keys::ALL_CHANGES,
    };
    let all = keys::changes_of(of);
    let start = match filter.since {
        Some(since) => keys::changes_from(of, since),
        None => all.clone(),
    };
    let mut end = match filter.until {
        Some(until) => keys::changes_from(of, until),
        None => keys::after(&all),
    };
    if let Some((at, id)) = before {
        end = end.min(keys::change_at(of, at, id));
    }
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let (mut looked_at, mut last) = (0, None);
    while start < end {
        let some = last_keys(reader, &start, &end)?;
        let Some(first) = some.last().cloned() else {
            break;
        };
        let found = some.iter().filter_map(|key| keys::read_change_at(key));
        let found: Vec<Cursor> = found.collect();
        foresee(reader, found.iter().map(|(_, id)| *id))?;
        for (at, id) in found {
            if page.items.len() >= limit || looked_at >= LOOKED_AT_MAX {
                page.next = last.map(|(at, id): Cursor| format!("{}-{id}", at.as_millis()));
                return Ok(page);
            }
            looked_at += 1;
            last = Some((at, id));
            // It stands where it began, too.
            let change: Option<Change> = reader.get(&keys::change(id))?;
            let is_there = |change: &Change| change.at == at && filter.fits(change);
            page.items.extend(change.filter(is_there));
        }
        end = first;
    }
    Ok(page)
}

fn foresee(reader: &Reader<'_>, ids: impl Iterator<Item = ChangeId>) -> Result<(), Error> {
    reader.foresee(&ids.map(keys::change).collect::<Vec<Key>>())
}

/// Reads the cursor of a list of changes.
pub fn read_cursor(text: &str) -> Option<Cursor> {
    let (at, id) = text.rsplit_once('-')?;
    Some((
        Timestamp::from_millis(at.parse().ok()?),
        ChangeId::read(id)?,
    ))
}

/// The changes that are worth a look beside an incident, the most relevant first. What is looked at is bounded, however many changes
/// there were and however long it has been open.
pub fn beside(
    reader: &Reader<'_>,
    incident: &Incident,
    now: Timestamp,
) -> Result<Vec<Related>, Error> {
    let scene = scene(reader, incident)?;
    let began = scene.began_at;
    let ended = incident.clear_since.or(incident.closed_at).unwrap_or(now);
    let from = began.minus(SHOWN_BEFORE);
    // Both ends belong to it.
    let (after, end) = (began.shifted(1), ended.max(began).shifted(1));
    let subjects = scene.subjects();
    let lists = subjects.iter().take(SUBJECTS_LOOKED_AT);
    let lists = lists.map(|subject| (of_subject(subject), LOOKED_AT_BEFORE, LOOKED_AT_AFTER));
    let all = (keys::ALL_CHANGES, LOOKED_AT_OF_ALL, LOOKED_AT_OF_ALL);
    let mut found: BTreeSet<ChangeId> = BTreeSet::new();
    for (of, n_before, n_after) in lists.chain([all]) {
        for (from, to, order, most) in [
            (from, after, Order::Reverse, n_before),
            (after, end, Order::Forward, n_after),
        ] {
            let (from, to) = (keys::changes_from(of, from), keys::changes_from(of, to));
            let mut n = 0;
            reader.scan_keys(&from, &to, order, &mut |key| {
                n += 1;
                found.extend(keys::read_change_at(key).map(|(_, id)| id));
                Ok(match n < most {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                })
            })?;
        }
    }
    let found: Vec<ChangeId> = found.into_iter().collect();
    let mut changes: Vec<Change> = Vec::with_capacity(found.len());
    for some in found.chunks(LOOKED_AT_TOGETHER) {
        foresee(reader, some.iter().copied())?;
        for id in some {
            changes.extend(reader.get::<Change>(&keys::change(*id))?);
        }
    }
    Ok(related(&scene, changes))
}

/// What an incident is about, by its alerts, and when the earliest of them began.
fn scene(reader: &Reader<'_>, incident: &Incident) -> Result<Scene, Error> {
    let opened_at = incident.opened_at;
    let members = incident.members.after(None, ALERTS_LOOKED_AT);
    let members: Vec<Fingerprint> = members.map(|(fingerprint, _)| fingerprint).collect();
    if members.is_empty() {
        return Ok(Scene::of_title(&incident.opened.title, opened_at));
    }
    let wanted = members.iter().map(|fingerprint| keys::alert(*fingerprint));
    reader.foresee(&wanted.collect::<Vec<Key>>())?;
    let mut began_at = opened_at;
    let mut labels: Vec<Labels> = Vec::with_capacity(members.len());
    for fingerprint in members {
        if let Some(alert) = reader.alert(fingerprint)? {
            began_at = began_at.min(alert.starts_at);
            labels.push(alert.labels);
        }
    }
    let began_at = began_at.max(opened_at.minus(BEGAN_BEFORE_OPENING));
    Ok(Scene::of_alerts(&labels, began_at))
}

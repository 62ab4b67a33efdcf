//! What teams had of late when the span began: when they opened incidents, and the storm that was on.

use crate::domain::incident::{Entry, Event, Incident, StormCap};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::Ended;
use crate::simulate::backtest::replay::Replay;
use crate::store::replay;
use std::collections::BTreeMap;

/// What each team had.
pub(super) type Teams = BTreeMap<Option<String>, Had>;

#[derive(Debug, Default)]
pub(super) struct Had {
    opened_at: Vec<Timestamp>,
    /// Its last storm.
    storm: Option<Last>,
}

#[derive(Debug)]
struct Last {
    number: u64,
    cap: StormCap,
    stands: Stands,
    keys: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    On,
    /// What fires of it has yet to move.
    Moves,
    Over,
}

/// Notes what counts for the cap of a team: that an alert opened an incident or reopened one, or joined a storm under a new key. What
/// moved out of a storm had counted before.
pub(super) fn note(teams: &mut Teams, incident: &Incident, entries: &[Entry]) {
    let had = teams.entry(incident.opened.team.clone()).or_default();
    let mut keys: Vec<String> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let counts = match &entry.event {
            Event::Opened(opened) => opened.dedup_key.is_some() && !has_moved(entries, place),
            Event::Reopened { by_person, .. } => !by_person && !has_moved(entries, place),
            Event::StormGrew { key, .. } => {
                keys.extend(key.clone());
                key.is_some()
            }
            _other => false,
        };
        if counts {
            had.opened_at.push(entry.at);
        }
    }
    if let (Some(cap), Some(storm)) = (incident.opened.storm, incident.storm()) {
        let counts = incident.members.counts();
        let fires = incident.is_open() && counts.firing + counts.stale > 0;
        had.storm = Some(Last {
            number: incident.number(),
            cap,
            stands: match storm.over_at {
                None => Stands::On,
                Some(_) if fires => Stands::Moves,
                Some(_) => Stands::Over,
            },
            keys,
        });
    }
}

/// Whether what opened an incident was moved to it out of a storm: that is said at once.
fn has_moved(entries: &[Entry], opened: usize) -> bool {
    let mut since = entries.iter().skip(opened);
    let Some(at) = since.next().map(|entry| entry.at) else {
        return false;
    };
    since
        .take_while(|entry| entry.at == at)
        .any(|entry| matches!(entry.event, Event::TookOver { .. }))
}

impl Replay<'_> {
    /// Takes over what teams had of late, once their incidents are there.
    pub(super) fn carry_storms(&mut self, teams: Teams) -> Result<(), Ended> {
        self.transact(move |tx, its, now| {
            for (team, mut had) in teams {
                had.opened_at.sort_unstable();
                let (mut on, mut keys) = (None, Vec::new());
                if let Some(last) = had.storm {
                    match last.stands {
                        Stands::On => {
                            on = Some((last.number, last.cap));
                            keys = last.keys;
                        }
                        Stands::Moves => replay::hands_on(tx, last.number, now),
                        Stands::Over => {}
                    }
                }
                let (team, recent) = (team.as_deref(), &had.opened_at);
                replay::put_openings(tx, team, recent, on, &keys, its, now)?;
            }
            Ok(())
        })
    }
}

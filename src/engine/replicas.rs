//! Beside other processes on a shared store: saying that this one lives, and taking over from those that do not.

use crate::domain::time::{Moment, Timestamp};
use crate::engine::SharedHealth;
use crate::store::engine::Class;
use crate::store::replicas::{Beat, Replica, all, beat, bury, leave};
use crate::store::served::serve;
use crate::store::{Error, Store, unrefused};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a process says that it lives.
pub const BEATS_EVERY: Duration = Duration::from_secs(2);

/// Who has not said so for this long is taken for gone. With the lease of a claim beside it, whatever it was doing is another's
/// within half a minute.
pub const GONE_AFTER: Duration = Duration::from_secs(10);

/// Who could not look for so long starts to count anew: perhaps it was itself that stood still, or the store.
const BLIND_AFTER: Duration = Duration::from_secs(5);

/// Another process as it shows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: String,
    pub version: String,
    pub revision: String,
    pub since: Timestamp,
    pub is_self: bool,
}

/// This process among the others.
#[derive(Debug)]
pub struct Replicas {
    id: u64,
    name: String,
    beaten: Option<Duration>,
    /// How often each of the others had beaten when that last changed, and when it did.
    seen: BTreeMap<u64, (u64, Duration)>,
    /// The rules that others have and this one has not; said when that changes.
    others_have: Vec<String>,
}

impl Replicas {
    /// None where the store has no place for others.
    pub fn of(store: &Store) -> Option<Self> {
        store.engine().replica().map(Self::new)
    }

    fn new(id: u64) -> Self {
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy().into_owned();
        Self {
            id,
            name: format!("{machine}/{}", std::process::id()),
            beaten: None,
            seen: BTreeMap::new(),
            others_have: Vec::new(),
        }
    }

    /// Beats, takes over from who has gone, and shows who there is.
    pub fn step(
        &mut self,
        store: &Store,
        health: &SharedHealth,
        revision: &str,
        at: Moment,
    ) -> Result<(), Error> {
        let last = self.beaten;
        let own = Beat {
            id: self.id,
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision.to_owned(),
        };
        let known =
            unrefused(store.transact_blocking(Class::Engine, move |tx| beat(tx, own, at.now)))?;
        if !known && last.is_some() {
            tracing::warn!(
                "this replica was taken for gone; what it was sending is sent by others"
            );
        }
        let replicas = store.read(all)?;
        self.beaten = Some(at.elapsed);
        if last.is_none_or(|last| at.elapsed > last + BLIND_AFTER) {
            self.seen.clear();
        }
        self.take_over(store, &replicas, at)?;
        self.compare(revision, &replicas);
        let shown = self.shown(replicas);
        health.change(|health| health.replicas = shown);
        Ok(())
    }

    fn take_over(
        &mut self,
        store: &Store,
        replicas: &[(u64, Replica)],
        at: Moment,
    ) -> Result<(), Error> {
        let is_there = |id: &u64| replicas.iter().any(|(there, _)| there == id);
        self.seen.retain(|id, _| is_there(id));
        for (id, replica) in replicas.iter().filter(|(id, _)| *id != self.id) {
            let (beats, since) = *self
                .seen
                .entry(*id)
                .and_modify(|seen| {
                    if seen.0 != replica.beats {
                        *seen = (replica.beats, at.elapsed);
                    }
                })
                .or_insert((replica.beats, at.elapsed));
            if at.elapsed.saturating_sub(since) < GONE_AFTER {
                continue;
            }
            let (id, now) = (*id, at.now);
            let buried = unrefused(
                store.transact_blocking(Class::Engine, move |tx| bury(tx, id, beats, now)),
            )?;
            if let Some(pages) = buried {
                let replica = &replica.name;
                tracing::warn!(
                    replica,
                    pages,
                    "a replica has gone; its pages are sent by others"
                );
            }
        }
        Ok(())
    }

    /// Says when others have other rules, and when that is over.
    fn compare(&mut self, revision: &str, replicas: &[(u64, Replica)]) {
        let others = replicas.iter().map(|(_, replica)| replica);
        let mut differ: Vec<String> = others
            .filter(|replica| replica.revision != revision)
            .map(|replica| format!("{} has {}", replica.name, replica.revision))
            .collect();
        differ.sort();
        if differ == self.others_have {
            return;
        }
        match differ.is_empty() {
            true => tracing::info!(revision, "all replicas have the same rules again"),
            false => tracing::warn!(
                revision,
                others = differ.join(", "),
                "replicas have different rules: each decides by those it has"
            ),
        }
        self.others_have = differ;
    }

    fn shown(&self, replicas: Vec<(u64, Replica)>) -> Vec<Shown> {
        let shown = replicas.into_iter().map(|(id, replica)| Shown {
            name: replica.name,
            version: replica.version,
            revision: replica.revision,
            since: replica.since,
            is_self: id == self.id,
        });
        shown.collect()
    }
}

/// Says that this process goes: until here reports could come in, and nobody waits for it.
pub async fn depart(store: &Store, now: Timestamp) -> Result<(), Error> {
    let kept = store
        .transact(Class::Engine, move |tx| serve(tx, Duration::MAX, now))
        .await;
    unrefused(kept)?;
    let Some(id) = store.engine().replica() else {
        return Ok(());
    };
    let left = store
        .transact(Class::Engine, move |tx| leave(tx, id, now))
        .await;
    unrefused(left).map(drop)
}

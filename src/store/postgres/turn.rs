//! Taking the turn: the session, what the jobs foresee, and what others did since the last one.

use crate::store::engine::{Hint, Key};
use crate::store::error::Error;
use crate::store::postgres::error::error;
use crate::store::postgres::read::{Brought, fetch, no_answer};
use crate::store::postgres::send::{TOLD_BYTES, prepare};
use crate::store::postgres::write::{Known, Writer, add_waiting, foreseen, lock, rest};
use crate::store::queue::Waiting;
use crate::store::{group, keys};
use std::sync::Arc;
use tokio_postgres::AsyncMessage;
use tokio_postgres::error::Severity;

/// Groups of others that are read one by one; who is further behind forgets all it remembers.
const BEHIND_MAX: i64 = 1_024;

impl Writer {
    /// Waits for the turn. Brings what these jobs foresee, and forgets what others changed since the last one. Nothing is
    /// decided yet, so that a connection that was lost meanwhile is made anew.
    ///
    /// Where others take turns, too, this one is waited for, and more jobs come meanwhile: most of them are taken along.
    pub(super) fn take_turn(&mut self, jobs: &mut Vec<Waiting>) -> Result<Brought, Error> {
        let had_link = self.link.is_some();
        match self.try_turn(Some(jobs)) {
            Err(Error::Unreachable { .. }) if had_link => self.try_turn(Some(jobs)),
            tried => tried,
        }
    }

    /// The same once, and without jobs where it is only to be looked for a group.
    pub(super) fn try_turn(&mut self, jobs: Option<&mut Vec<Waiting>>) -> Result<Brought, Error> {
        let tried = self.begin(jobs);
        if tried.is_err() {
            // Its transaction ends with it.
            self.drop_link();
        }
        tried
    }

    fn begin(&mut self, jobs: Option<&mut Vec<Waiting>>) -> Result<Brought, Error> {
        self.connect()?;
        *lock(&self.warned) = None;
        let is_new = std::mem::replace(&mut self.is_new_link, false);
        let has_others = self.has_others();
        let Some(link) = self.link.clone() else {
            return Err(no_answer());
        };
        let known = self.known.map_or(0, |known| known.sequence);
        let (now, last) = (self.shared.settings.moment, self.waits.turn);
        let began = now().elapsed;
        let (left, queue) = (&mut self.left, &self.shared.queue);
        let foreseen = |jobs: &[Waiting]| foreseen(&self.rows, &Brought::new(), jobs);
        let took = self.on.block_on(async {
            tokio::time::timeout(self.shared.within(), async {
                // All are on their way before the turn is given: they are done in this order, each after that.
                tokio::join!(
                    biased;
                    link.client.execute(&link.begin, &[]),
                    link.client.query_one(&link.turn, &[]),
                    async {
                        match is_new {
                            true => link.client.query(&link.last, &[&known]).await,
                            false => link.client.query(&link.since, &[&known, &BEHIND_MAX]).await,
                        }
                    },
                    async {
                        match jobs {
                            // What they foresee follows as late as it can without a question of its own.
                            Some(jobs) if has_others => {
                                rest(last).await;
                                add_waiting(left, queue, jobs);
                                fetch(&link.client, &foreseen(jobs)).await
                            }
                            jobs => {
                                let foreseen = jobs.map_or_else(Vec::new, |jobs| foreseen(jobs));
                                let brought = fetch(&link.client, &foreseen);
                                tokio::join!(biased; brought, rest(last)).0
                            }
                        }
                    },
                )
            })
            .await
        });
        self.waits.turn = now().elapsed.saturating_sub(began);
        let (begun, turn, groups, brought) = took.map_err(|_elapsed| no_answer())?;
        let failed = |found: tokio_postgres::Error| error("take the turn", &found);
        begun.map_err(failed)?;
        turn.map_err(failed)?;
        let groups = groups.map_err(failed)?;
        let brought = brought.map_err(failed)?;
        match is_new {
            true => self.compare(&groups),
            false => self.follow(&groups)?,
        }
        self.rows.remember_all(&brought);
        Ok(brought)
    }

    fn connect(&mut self) -> Result<(), Error> {
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.client.is_closed())
        {
            self.drop_link();
        }
        if self.link.is_some() {
            return Ok(());
        }
        let warned = Arc::clone(&self.warned);
        let hear = move |message: AsyncMessage| {
            if let AsyncMessage::Notice(notice) = message
                && notice.parsed_severity() == Some(Severity::Warning)
            {
                *lock(&warned) = Some(notice.message().to_owned());
            }
        };
        let shared = &self.shared;
        let linked = self.on.block_on(async {
            let client = shared.connector.connect(hear).await?;
            let prepared = tokio::time::timeout(shared.within(), prepare(client)).await;
            prepared
                .map_err(|_elapsed| no_answer())?
                .map_err(|found| error("prepare the statements", &found))
        })?;
        self.link = Some(Arc::new(linked));
        self.is_new_link = true;
        self.forget_all();
        Ok(())
    }

    /// A new session: is what this replica knew to be durable still there?
    fn compare(&mut self, found: &[tokio_postgres::Row]) {
        let groups = found.iter().map(|row| Known {
            sequence: row.get(0),
            id: row.get(1),
        });
        let groups: Vec<Known> = groups.collect();
        let last = groups.iter().max_by_key(|group| group.sequence).copied();
        let went_back = self.known.is_some_and(|known| {
            let same = groups.iter().find(|group| group.sequence == known.sequence);
            match same {
                Some(same) => same.id != known.id,
                // Further back than groups are listed, or behind the end.
                None => last.is_none_or(|last| last.sequence < known.sequence),
            }
        });
        if went_back {
            tracing::error!(
                known = self.known.map(|known| known.sequence),
                found = last.map(|last| last.sequence),
                "the database lacks what it had kept: was a standby promoted that was behind?"
            );
            self.shared.tell(Hint::WentBack);
        }
        self.known = last;
        self.note_sequence();
    }

    /// What others wrote since the last turn is no longer remembered.
    fn follow(&mut self, groups: &[tokio_postgres::Row]) -> Result<(), Error> {
        let Some(last) = groups.last() else {
            return Ok(());
        };
        self.others_at = Some((self.shared.settings.moment)().elapsed);
        self.known = Some(Known {
            sequence: last.get(0),
            id: last.get(1),
        });
        let is_all = i64::try_from(groups.len()).is_ok_and(|n| n < BEHIND_MAX);
        for row in groups {
            let told: Option<&[u8]> = row.get(2);
            match told.and_then(unpacked) {
                Some(told) if is_all => {
                    for (key, told) in told {
                        self.hear(key, told);
                    }
                }
                Some(_) | None => {
                    self.forget_all();
                    break;
                }
            }
        }
        if !is_all {
            // The last of them is not the last there is.
            self.catch_up()?;
        }
        self.note_sequence();
        Ok(())
    }

    fn hear(&mut self, key: Key, told: Option<Vec<u8>>) {
        match told {
            Some(value) if key.first() == Some(&keys::EVENT) => self.recent.add(key, value),
            told => self.rows.remember(key, told),
        }
    }

    /// Far behind: all is forgotten, and only where the list ends is asked for.
    fn catch_up(&mut self) -> Result<(), Error> {
        let Some(link) = self.link.as_ref() else {
            return Err(no_answer());
        };
        let last = self.on.block_on(async {
            let asked = link.client.query(&link.last, &[&0_i64]);
            tokio::time::timeout(self.shared.within(), asked).await
        });
        let last = last.map_err(|_elapsed| no_answer())?;
        let last = last.map_err(|found| error("look where the list ends", &found))?;
        if let Some(row) = last.last() {
            self.known = Some(Known {
                sequence: row.get(0),
                id: row.get(1),
            });
        }
        Ok(())
    }

    pub(super) fn forget_all(&mut self) {
        self.rows.forget_all();
        self.recent.clear();
    }
}

/// What another replica told; none where it is no such thing.
fn unpacked(told: &[u8]) -> Option<Vec<group::Change>> {
    let (length, packed) = told.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > TOLD_BYTES {
        return None;
    }
    let told = lz4_flex::block::decompress(packed, length).ok()?;
    group::decode_told(&told).ok()
}

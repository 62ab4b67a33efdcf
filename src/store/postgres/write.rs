//! The writer of one replica: takes the turn, lets each job decide against what is then known to be the last word, writes
//! what they changed as one transaction, and answers all.
//!
//! Groups of all replicas follow each other, so that what a job has read cannot change before it is written: there is no
//! conflict, and nothing is decided twice. A replica that stops in the middle of its turn loses it after a few seconds, with all it
//! wanted to write.

use crate::store::engine::{Hint, Key, Reads};
use crate::store::error::Error;
use crate::store::gather::{GROUP_JOBS, Group};
use crate::store::overlay::Changes;
use crate::store::postgres::Shared;
use crate::store::postgres::error::{error, is_lost};
use crate::store::postgres::read::{Brought, Session, fetch, no_answer};
use crate::store::postgres::recent::Recent;
use crate::store::postgres::send::{Attempt, Link, TOLD_BYTES, Written, prepare, send};
use crate::store::queue::Waiting;
use crate::store::rows::Rows;
use crate::store::{group, keys};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::AsyncMessage;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Records that are remembered from one turn to the next.
const ROWS_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("a number that is not 0");

/// Records of jobs that are looked up at once; a job that asks for more has them to itself.
const FORESEEN_MAX: usize = 20_000;

/// Groups of others that are read one by one; who is further behind forgets all it remembers.
const BEHIND_MAX: i64 = 1_024;

/// Groups that stay listed, for replicas that are behind and for answers that were lost.
const GROUPS_KEPT: i64 = 20_000;

/// How often, in own groups, older ones are removed from the list, and how many at once.
const TRIMMED_EVERY: u64 = 512;
const TRIMMED_MAX: i64 = 5_000;

/// After the database could not be reached, before the next try.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// While no other replica has written for so long, nobody is told of what was.
const OTHERS_HEAR_FOR: Duration = Duration::from_secs(30);

/// A group that is known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) sequence: i64,
    pub(super) id: Uuid,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) on: Runtime,
    pub(super) link: Option<Link>,
    rows: Rows,
    recent: Recent,
    pub(super) known: Option<Known>,
    /// What the server warned of last: that a transaction is not where it was to be, for one.
    pub(super) warned: Arc<Mutex<Option<String>>>,
    others_at: Option<Duration>,
    n_groups: u64,
    /// Jobs for which the last group had no room.
    left: VecDeque<Waiting>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, on: Runtime) -> Self {
        Self {
            shared,
            on,
            link: None,
            rows: Rows::new(keys::TOLD, ROWS_MAX),
            recent: Recent::default(),
            known: None,
            warned: Arc::default(),
            others_at: None,
            n_groups: 0,
            left: VecDeque::new(),
        }
    }

    /// Writes groups until the store is closed and nothing waits.
    pub(super) fn run(mut self) {
        while let Some(first) = self.next_job() {
            let mut jobs = vec![first];
            self.add_waiting(&mut jobs);
            match self.take_turn(&jobs) {
                Ok(brought) => {
                    self.shared.reached();
                    self.decide(jobs, brought);
                }
                Err(why) => self.refuse(jobs, why),
            }
        }
    }

    /// The next job, waited for.
    fn next_job(&mut self) -> Option<Waiting> {
        self.left.pop_front().or_else(|| self.shared.queue.wait())
    }

    /// Takes what waits, as much as is looked up at once.
    fn add_waiting(&mut self, jobs: &mut Vec<Waiting>) {
        let mut n_foreseen: usize = jobs.iter().map(|job| job.job.foreseen.len()).sum();
        while jobs.len() < GROUP_JOBS && n_foreseen < FORESEEN_MAX {
            let next = self.left.pop_front().or_else(|| self.shared.queue.next());
            let Some(next) = next else {
                return;
            };
            n_foreseen += next.job.foreseen.len();
            jobs.push(next);
        }
    }

    /// Nobody can be served for now: all are told at once, and can ask again.
    fn refuse(&mut self, jobs: Vec<Waiting>, why: Error) {
        self.shared.failed(&why);
        let is_there = matches!(why, Error::Slow { .. });
        let why = Arc::new(why);
        for waiting in jobs {
            waiting.job.refuse(Arc::clone(&why));
        }
        while let Some(waiting) = self.left.pop_front().or_else(|| self.shared.queue.next()) {
            waiting.job.refuse(Arc::clone(&why));
        }
        if !is_there {
            self.wait(AGAIN_AFTER);
        }
    }

    /// Waits for the turn. Brings what these jobs foresee, and forgets what others changed since the last one. Nothing is
    /// decided yet, so that a connection that was lost meanwhile is made anew.
    fn take_turn(&mut self, jobs: &[Waiting]) -> Result<Brought, Error> {
        let foreseen = self.foreseen(jobs);
        let had_link = self.link.is_some();
        match self.try_turn(&foreseen) {
            Err(Error::Unreachable { .. }) if had_link => self.try_turn(&foreseen),
            tried => tried,
        }
    }

    /// Records that these jobs will ask for and that are not known, each once.
    fn foreseen(&self, jobs: &[Waiting]) -> Vec<Key> {
        let all = jobs.iter().flat_map(|waiting| &waiting.job.foreseen);
        let unknown: BTreeSet<&Key> = all.filter(|key| !self.rows.knows(key)).collect();
        unknown.into_iter().cloned().collect()
    }

    pub(super) fn try_turn(&mut self, foreseen: &[Key]) -> Result<Brought, Error> {
        let tried = self.begin(foreseen);
        if tried.is_err() {
            // Its transaction ends with it.
            self.drop_link();
        }
        tried
    }

    fn begin(&mut self, foreseen: &[Key]) -> Result<Brought, Error> {
        self.connect()?;
        *lock(&self.warned) = None;
        let Some(link) = self.link.as_mut() else {
            return Err(no_answer());
        };
        let is_new = std::mem::replace(&mut link.is_new, false);
        let link = &*link;
        let known = self.known.map_or(0, |known| known.sequence);
        let took = self.on.block_on(async {
            tokio::time::timeout(self.shared.within(), async {
                // All at once on their way: they are done in this order, each after the turn was given.
                tokio::join!(
                    biased;
                    link.client
                        .batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
                    link.client.query_one(&link.turn, &[]),
                    async {
                        match is_new {
                            true => link.client.query(&link.last, &[&known]).await,
                            false => link.client.query(&link.since, &[&known, &BEHIND_MAX]).await,
                        }
                    },
                    fetch(&link.client, foreseen),
                )
            })
            .await
        });
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
        self.link = Some(linked);
        Ok(())
    }

    /// A new session: is what this replica knew to be durable still there?
    fn compare(&mut self, found: &[tokio_postgres::Row]) {
        self.forget_all();
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
            Some(value) if key.first() == Some(&keys::EVENT) => self.recent.add(&key, value),
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

    fn forget_all(&mut self) {
        self.rows.forget_all();
        self.recent.clear();
    }

    /// Lets go of the session. The runtime has to be driven for that to be done.
    pub(super) fn drop_link(&mut self) {
        if self.link.take().is_some() {
            self.wait(Duration::from_millis(1));
        }
    }

    pub(super) fn wait(&self, span: Duration) {
        self.on.block_on(async { tokio::time::sleep(span).await });
    }

    fn note_sequence(&self) {
        let sequence = self.known.map_or(0, |known| known.sequence);
        self.shared
            .note(|facts| facts.sequence = u64::try_from(sequence).unwrap_or(0));
    }

    /// Lets the jobs decide, and those that came meanwhile; writes what they changed; answers.
    fn decide(&mut self, jobs: Vec<Waiting>, brought: Brought) {
        let mut group = Group::default();
        let failed = Cell::new(false);
        let brought = RefCell::new(brought);
        self.run_jobs(jobs, &mut group, &brought, &failed);
        let brought = brought.into_inner();
        let written = Written {
            changes: &group.changes,
            brought: &brought,
        };
        let result = self.commit(written, failed.get()).map_err(Arc::new);
        match &result {
            Ok(()) => self.follow_own(&group.changes),
            Err(why) => {
                self.forget_all();
                self.shared.failed(why);
            }
        }
        let has_written = result.is_ok() && !group.changes.is_empty();
        group.answer(&result);
        if has_written && self.n_groups.is_multiple_of(TRIMMED_EVERY) {
            self.trim();
        }
    }

    /// Runs jobs until none waits, or the group is full; what has no room is left for the next one.
    fn run_jobs(
        &mut self,
        mut jobs: Vec<Waiting>,
        group: &mut Group,
        brought: &RefCell<Brought>,
        failed: &Cell<bool>,
    ) {
        let mut n_jobs = 0;
        // What the first ones foresee came with the turn.
        let mut foreseen = Vec::new();
        loop {
            n_jobs += jobs.len();
            self.run_some(&mut jobs, &foreseen, group, brought, failed);
            if !jobs.is_empty() || !group.has_room(n_jobs) {
                break;
            }
            // What came meanwhile goes along.
            self.add_waiting(&mut jobs);
            if jobs.is_empty() || failed.get() {
                break;
            }
            foreseen = self.foreseen(&jobs);
        }
        self.left.extend(jobs);
    }

    /// Runs these jobs, as far as the group has room; those for which it has none stay.
    fn run_some(
        &self,
        jobs: &mut Vec<Waiting>,
        foreseen: &[Key],
        group: &mut Group,
        brought: &RefCell<Brought>,
        failed: &Cell<bool>,
    ) {
        let Some(link) = self.link.as_ref() else {
            failed.set(true);
            return;
        };
        let session = Session {
            on: &self.on,
            client: &link.client,
            within: self.shared.within(),
            brought,
            failed,
        };
        let caught = self.recent.over(&session);
        let view = self.rows.over(&caught);
        if view.foresee(foreseen).is_err() {
            return;
        }
        let mut waiting = std::mem::take(jobs).into_iter();
        while group.has_room(0)
            && let Some(Waiting { class, job }) = waiting.next()
        {
            group.run(&view, class, job, None);
        }
        jobs.extend(waiting);
    }

    /// What this replica wrote is known to be durable.
    fn follow_own(&mut self, changes: &Changes) {
        self.rows.follow(changes);
        for (key, value) in changes {
            if let (Some(&keys::EVENT), Some(value)) = (key.first(), value) {
                self.recent.add(key, value.clone());
            }
        }
    }

    /// Ends the turn: with what was changed, once it is durable, or with nothing.
    fn commit(&mut self, written: Written<'_>, failed: bool) -> Result<(), Error> {
        if failed {
            self.drop_link();
            return Err(Error::Unreachable {
                why: "a read failed before anything was kept".to_owned(),
            });
        }
        if written.changes.is_empty() {
            return self.end_turn();
        }
        let now = self.shared.settings.moment;
        let began = now().elapsed;
        let tells = self
            .others_at
            .is_some_and(|others| began.saturating_sub(others) < OTHERS_HEAR_FOR);
        let mut attempt = Attempt {
            written,
            after: self.known.map_or(0, |known| known.sequence),
            id: Uuid::now_v7(),
            tells,
            is_careful: false,
        };
        let written = match self.write(&attempt) {
            Err(Error::Uncertain { why }) => {
                attempt.is_careful = true;
                self.find_out(&attempt, why)
            }
            written => written,
        };
        if written.is_err() {
            self.drop_link();
            return written;
        }
        self.known = Some(Known {
            sequence: attempt.after + 1,
            id: attempt.id,
        });
        self.n_groups += 1;
        let took = now().elapsed.saturating_sub(began);
        self.shared.note(|facts| {
            facts.last_sync_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            facts.full = false;
        });
        self.note_sequence();
        Ok(())
    }

    fn end_turn(&mut self) -> Result<(), Error> {
        let Some(link) = self.link.as_ref() else {
            return Ok(());
        };
        let ended = self.on.block_on(async {
            tokio::time::timeout(self.shared.within(), link.client.batch_execute("ROLLBACK")).await
        });
        if !matches!(ended, Ok(Ok(()))) {
            self.drop_link();
        }
        Ok(())
    }

    /// Writes a group in the turn that is held, and ends that. `Uncertain` where it may or may not be durable.
    pub(super) fn write(&self, attempt: &Attempt<'_>) -> Result<(), Error> {
        let Some(link) = self.link.as_ref() else {
            return Err(no_answer());
        };
        let replica = self.shared.replica;
        let sent = self.on.block_on(async {
            let sent = Box::pin(send(link, attempt, &self.rows, replica));
            tokio::time::timeout(self.shared.within(), sent).await
        });
        let (written, committed) = match sent {
            Ok(sent) => sent,
            Err(_elapsed) => {
                return Err(Error::Uncertain {
                    why: "it did not answer in time".to_owned(),
                });
            }
        };
        if let Err(found) = written {
            return Err(match is_lost(&found) {
                // The answers were lost; the commit was on its way.
                true => Error::Uncertain {
                    why: super::error::chain(&found),
                },
                // Something is there that was believed not to be; nothing was kept.
                false if found.code() == Some(&SqlState::UNIQUE_VIOLATION) => Error::Uncertain {
                    why: super::error::chain(&found),
                },
                // It was refused, and with it all that followed.
                false => error("keep the group", &found),
            });
        }
        if let Err(found) = committed {
            return Err(match is_lost(&found) {
                true => Error::Uncertain {
                    why: super::error::chain(&found),
                },
                false => error("keep the group", &found),
            });
        }
        match lock(&self.warned).take() {
            None => Ok(()),
            // Such as: the wait for the standby was cancelled, and it is on this server only.
            Some(why) => Err(Error::Uncertain { why }),
        }
    }

    /// Removes groups from the list that nobody needs any more.
    fn trim(&mut self) {
        let (Some(link), Some(known)) = (self.link.as_ref(), self.known) else {
            return;
        };
        let old = known.sequence.saturating_sub(GROUPS_KEPT);
        let parameters: [&(dyn ToSql + Sync); 2] = [&old, &TRIMMED_MAX];
        let trimmed = self.on.block_on(async {
            let trimmed = link.client.execute(
                "DELETE FROM wk_group WHERE sequence IN \
                 (SELECT sequence FROM wk_group WHERE sequence <= $1 ORDER BY sequence LIMIT $2)",
                &parameters,
            );
            tokio::time::timeout(self.shared.within(), trimmed).await
        });
        if !matches!(trimmed, Ok(Ok(_))) {
            self.drop_link();
        }
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

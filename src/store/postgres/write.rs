//! The writer of one replica: takes the turn, lets each job decide against what is then known to be the last word, writes
//! what they changed as one transaction, and answers all.
//!
//! Groups of all replicas follow each other, so that what a job has read cannot change before it is written: there is no
//! conflict, and nothing is decided twice. A replica that stops in the middle of its turn loses it after a few seconds, with all it
//! wanted to write.

use crate::store::engine::{Key, Reads};
use crate::store::error::Error;
use crate::store::gather::{GROUP_JOBS, Group};
use crate::store::keys;
use crate::store::overlay::Changes;
use crate::store::postgres::Shared;
use crate::store::postgres::ahead::{Ahead, Answers};
use crate::store::postgres::error::{error, is_lost};
use crate::store::postgres::read::{Brought, Session, no_answer};
use crate::store::postgres::recent::Recent;
use crate::store::postgres::send::{Attempt, Link, Written, send};
use crate::store::queue::{Queue, Waiting};
use crate::store::rows::Rows;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Records that are remembered from one turn to the next.
const ROWS_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("a number that is not 0");

/// Records of jobs that are looked up at once; a job that asks for more has them to itself.
const FORESEEN_MAX: usize = 20_000;

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

/// How long the last answers took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    pub(super) turn: Duration,
    pub(super) group: Duration,
}

/// Lets answers come for half as long as the last ones took in all, and not longer than this: each that comes alone would wake the thread for itself,
/// and with several replicas, whose groups are small, that is a good part of what a group costs.
const RESTS_MOST: Duration = Duration::from_millis(1);

/// Rests once what is asked beside it is on its way.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread is the writer's own: a timer would let each answer wake it"
)]
pub(super) async fn rest(last: Duration) {
    tokio::task::yield_now().await;
    std::thread::sleep((last / 2).min(RESTS_MOST));
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) on: Runtime,
    pub(super) link: Option<Arc<Link>>,
    /// Nothing of what is remembered was compared with what the session shows.
    pub(super) is_new_link: bool,
    pub(super) rows: Rows,
    pub(super) recent: Recent,
    pub(super) known: Option<Known>,
    /// What the server warned of last: that a transaction is not where it was to be, for one.
    pub(super) warned: Arc<Mutex<Option<String>>>,
    pub(super) others_at: Option<Duration>,
    n_groups: u64,
    /// How long the last turn and the last group were waited for.
    pub(super) waits: Waits,
    /// Jobs for which the last group had no room.
    pub(super) left: VecDeque<Waiting>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, on: Runtime) -> Self {
        Self {
            shared,
            on,
            link: None,
            is_new_link: false,
            rows: Rows::new(keys::TOLD, ROWS_MAX),
            recent: Recent::default(),
            known: None,
            warned: Arc::default(),
            others_at: None,
            n_groups: 0,
            waits: Waits::default(),
            left: VecDeque::new(),
        }
    }

    /// Writes groups until the store is closed and nothing waits.
    pub(super) fn run(mut self) {
        while let Some(first) = self.next_job() {
            let mut jobs = vec![first];
            add_waiting(&mut self.left, &self.shared.queue, &mut jobs);
            match self.take_turn(&mut jobs) {
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

    /// Lets go of the session. The runtime has to be driven for that to be done.
    pub(super) fn drop_link(&mut self) {
        if self.link.take().is_some() {
            self.wait(Duration::from_millis(1));
        }
    }

    pub(super) fn wait(&self, span: Duration) {
        self.on.block_on(async { tokio::time::sleep(span).await });
    }

    pub(super) fn note_sequence(&self) {
        let sequence = self.known.map_or(0, |known| known.sequence);
        self.shared
            .note(|facts| facts.sequence = u64::try_from(sequence).unwrap_or(0));
    }

    /// Lets the jobs decide, and those that came meanwhile; writes what they changed; answers.
    fn decide(&mut self, jobs: Vec<Waiting>, brought: Brought) {
        let mut group = Group::default();
        let mut ahead = Ahead::default();
        let failed = Cell::new(false);
        let brought = RefCell::new(brought);
        self.run_jobs(jobs, &mut group, &mut ahead, &brought, &failed);
        let brought = brought.into_inner();
        let answers = ahead.take_answers();
        let written = Written {
            changes: &group.changes,
            brought: &brought,
            ahead: &ahead,
        };
        let result = self
            .commit(written, answers, failed.get())
            .map_err(Arc::new);
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
        ahead: &mut Ahead,
        brought: &RefCell<Brought>,
        failed: &Cell<bool>,
    ) {
        let mut n_jobs = 0;
        // What these foresee came with the turn. Where that was waited for, more have come since.
        let mut foreseen = Vec::new();
        if self.has_others() {
            add_waiting(&mut self.left, &self.shared.queue, &mut jobs);
            foreseen = self::foreseen(&self.rows, &brought.borrow(), &jobs);
        }
        loop {
            n_jobs += jobs.len();
            self.run_some(&mut jobs, &foreseen, group, ahead, brought, failed);
            if !jobs.is_empty() || !group.has_room(n_jobs) {
                break;
            }
            // What came meanwhile goes along.
            add_waiting(&mut self.left, &self.shared.queue, &mut jobs);
            if jobs.is_empty() || failed.get() {
                break;
            }
            foreseen = self::foreseen(&self.rows, &brought.borrow(), &jobs);
        }
        self.left.extend(jobs);
    }

    /// Whether other replicas write, too.
    pub(super) fn has_others(&self) -> bool {
        let now = (self.shared.settings.moment)().elapsed;
        self.others_at
            .is_some_and(|others| now.saturating_sub(others) < OTHERS_HEAR_FOR)
    }

    /// Runs these jobs, as far as the group has room; those for which it has none stay.
    fn run_some(
        &self,
        jobs: &mut Vec<Waiting>,
        foreseen: &[Key],
        group: &mut Group,
        ahead: &mut Ahead,
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
            let changed = group.run(&view, class, job, None);
            ahead.note(changed, &group.changes, &brought.borrow(), &self.rows);
            ahead.send(link, &self.on, &group.changes);
        }
        jobs.extend(waiting);
    }

    /// What this replica wrote is known to be durable.
    fn follow_own(&mut self, changes: &Changes) {
        self.rows.follow(changes);
        for key in changes.keys() {
            self.recent.drop_log(key);
        }
    }

    /// Ends the turn: with what was changed, once it is durable, or with nothing.
    fn commit(&mut self, written: Written<'_>, ahead: Answers, failed: bool) -> Result<(), Error> {
        if failed {
            drop(ahead);
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
        let tells = self.has_others();
        let mut attempt = Attempt {
            written,
            after: self.known.map_or(0, |known| known.sequence),
            id: Uuid::now_v7(),
            tells,
            is_careful: false,
        };
        let written = match self.write(&attempt, ahead) {
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
        self.waits.group = took;
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
    pub(super) fn write(&self, attempt: &Attempt<'_>, ahead: Answers) -> Result<(), Error> {
        let Some(link) = self.link.as_ref() else {
            return Err(no_answer());
        };
        let replica = self.shared.replica;
        let last = self.waits.group;
        let sent = self.on.block_on(async {
            let sent = Box::pin(send(link, attempt, ahead, &self.rows, replica));
            let sent = async { tokio::join!(biased; sent, rest(last)).0 };
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
            // One that the server gave up may have been kept all the same.
            let is_unknown = is_lost(&found) || found.code() == Some(&SqlState::QUERY_CANCELED);
            return Err(match is_unknown {
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

/// Takes what waits, as much as is looked up at once: first what the last group had no room for.
pub(super) fn add_waiting(left: &mut VecDeque<Waiting>, queue: &Queue, jobs: &mut Vec<Waiting>) {
    let mut n_foreseen: usize = jobs.iter().map(|job| job.job.foreseen.len()).sum();
    while jobs.len() < GROUP_JOBS && n_foreseen < FORESEEN_MAX {
        let Some(next) = left.pop_front().or_else(|| queue.next()) else {
            return;
        };
        n_foreseen += next.job.foreseen.len();
        jobs.push(next);
    }
}

/// Records that these jobs will ask for and that are not known, each once.
pub(super) fn foreseen(rows: &Rows, brought: &Brought, jobs: &[Waiting]) -> Vec<Key> {
    let all = jobs.iter().flat_map(|waiting| &waiting.job.foreseen);
    let unknown: BTreeSet<&Key> = all
        .filter(|key| !rows.knows(key) && !brought.contains_key(key.as_slice()))
        .collect();
    unknown.into_iter().cloned().collect()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

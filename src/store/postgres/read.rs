//! Reads over the network: single records, many at once, ranges page by page.

use crate::store::engine::{Each, Key, Order, Reads};
use crate::store::error::Error;
use crate::store::postgres::error::{error, is_lost};
use crate::store::postgres::tables::{Part, Table, parts};
use deadpool_postgres::{ClientWrapper, Object, Pool};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::Row;

/// Records of the first page of a range, and of the largest: most who scan want the first few, the others want all.
const PAGE_FIRST: i64 = 16;
const PAGE_MOST: i64 = 1_024;

/// From the first statement on, everything is seen as it was then.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";

const LAST: &str = "SELECT coalesce(max(sequence), 0) FROM wk_group";

/// Records that one question asks for.
const ASKED_AT_ONCE: usize = 4_096;

/// Records that were foreseen, or that there are none.
pub(super) type Brought = BTreeMap<Key, Option<Vec<u8>>>;

/// One session that reads; what it sees stands still for as long as its transaction.
pub(super) struct Session<'a> {
    pub(super) on: &'a Runtime,
    pub(super) client: &'a ClientWrapper,
    /// No question takes longer.
    pub(super) within: Duration,
    pub(super) brought: &'a RefCell<Brought>,
    /// A question failed: the transaction is over.
    pub(super) failed: &'a Cell<bool>,
}

impl Session<'_> {
    /// Waits for the answer to a question, for so long at the most.
    fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let answered = self
            .on
            .block_on(async { tokio::time::timeout(self.within, answer).await });
        let answered = match answered {
            Ok(answered) => answered.map_err(|found| error("read from the database", &found)),
            Err(_elapsed) => Err(no_answer()),
        };
        answered.inspect_err(|_error| self.failed.set(true))
    }

    fn page(&self, part: &Part, order: Order, limit: i64) -> Result<Vec<Row>, Error> {
        let statements = part.table.statements();
        let text = match order {
            Order::Forward => statements.forward,
            Order::Reverse => statements.reverse,
        };
        self.ask(async {
            let statement = self.client.prepare_cached(text).await?;
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&part.from, &part.to, &limit];
            self.client.query(&statement, &parameters).await
        })
    }

    /// Calls `each` for the records of one table; whether it wants more.
    fn scan_part(
        &self,
        mut part: Part,
        order: Order,
        each: &mut Each<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut limit = PAGE_FIRST;
        loop {
            let rows = self.page(&part, order, limit)?;
            for row in &rows {
                let (key, value): (&[u8], &[u8]) = (row.get(0), row.get(1));
                if each(key, value)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            let Some(last) = rows.last() else {
                return Ok(ControlFlow::Continue(()));
            };
            if i64::try_from(rows.len()).is_ok_and(|n| n < limit) {
                return Ok(ControlFlow::Continue(()));
            }
            let last: &[u8] = last.get(0);
            match order {
                Order::Forward => {
                    part.from = last.to_vec();
                    part.from.push(0);
                }
                Order::Reverse => part.to = last.to_vec(),
            }
            limit = (limit * 4).min(PAGE_MOST);
        }
    }
}

impl Reads for Session<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        if let Some(brought) = self.brought.borrow().get(key) {
            return Ok(brought.clone().map(Cow::Owned));
        }
        let wanted = [Key::from_slice(key)];
        let mut found = self.ask(fetch(self.client, &wanted))?;
        Ok(found
            .pop_first()
            .and_then(|(_key, value)| value)
            .map(Cow::Owned))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        for part in parts(from, to, order) {
            if self.scan_part(part, order, each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        let unknown: Vec<Key> = {
            let brought = self.brought.borrow();
            let is_unknown = |key: &&Key| !brought.contains_key(key.as_slice());
            keys.iter().filter(is_unknown).cloned().collect()
        };
        for some in unknown.chunks(ASKED_AT_ONCE) {
            let found = self.ask(fetch(self.client, some))?;
            self.brought.borrow_mut().extend(found);
        }
        Ok(())
    }
}

/// The database took too long; nobody waits for what it may still say.
pub(super) fn no_answer() -> Error {
    Error::Unreachable {
        why: "it did not answer in time".to_owned(),
    }
}

/// These records, each with none where there is none.
pub(super) async fn fetch(
    client: &ClientWrapper,
    keys: &[Key],
) -> Result<Brought, tokio_postgres::Error> {
    let mut found: Brought = keys.iter().map(|key| (key.clone(), None)).collect();
    let of = |table| fetch_of(client, table, keys);
    let (work, state, event, history) = tokio::join!(
        biased;
        of(Table::Work),
        of(Table::State),
        of(Table::Event),
        of(Table::History),
    );
    for rows in [work?, state?, event?, history?] {
        for row in rows {
            let (key, value): (&[u8], &[u8]) = (row.get(0), row.get(1));
            found.insert(Key::from_slice(key), Some(value.to_vec()));
        }
    }
    Ok(found)
}

async fn fetch_of(
    client: &ClientWrapper,
    table: Table,
    keys: &[Key],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let its = keys.iter().filter(|key| Table::of(key) == table);
    let its: Vec<&[u8]> = its.map(Key::as_slice).collect();
    if its.is_empty() {
        return Ok(Vec::new());
    }
    let statement = client.prepare_cached(table.statements().get).await?;
    client.query(&statement, &[&its]).await
}

/// Durable state as of one instant, read over a connection of the pool.
pub(super) struct View<'a> {
    on: &'a Runtime,
    within: Duration,
    /// A connection whose transaction has begun, or why there is none.
    begun: Result<Object, Arc<Error>>,
    brought: RefCell<Brought>,
    failed: Cell<bool>,
}

impl<'a> View<'a> {
    pub(super) fn new(on: &'a Runtime, pool: &Pool, within: Duration) -> Self {
        Self {
            on,
            within,
            begun: on.block_on(begin(pool, within)).map_err(Arc::new),
            brought: RefCell::default(),
            failed: Cell::new(false),
        }
    }

    /// The last group that it shows.
    pub(super) fn sequence(&self) -> Result<u64, Error> {
        let session = self.session()?;
        let row = session.ask(session.client.query_one(LAST, &[]))?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    fn session(&self) -> Result<Session<'_>, Error> {
        match &self.begun {
            Ok(client) => Ok(Session {
                on: self.on,
                client,
                within: self.within,
                brought: &self.brought,
                failed: &self.failed,
            }),
            Err(why) => Err(Error::of_shared(Arc::clone(why))),
        }
    }
}

/// A connection whose transaction has begun. Those that the server has left behind are thrown away.
async fn begin(pool: &Pool, within: Duration) -> Result<Object, Error> {
    let mut left = pool.status().max_size + 1;
    loop {
        let client = pool.get().await.map_err(pool_error)?;
        let begin = client.batch_execute(SNAPSHOT);
        let failed = match tokio::time::timeout(within, begin).await {
            Ok(Ok(())) => return Ok(client),
            Ok(Err(failed)) => failed,
            Err(_elapsed) => {
                drop(Object::take(client));
                return Err(no_answer());
            }
        };
        drop(Object::take(client));
        left -= 1;
        if left == 0 || !is_lost(&failed) {
            return Err(error("read from the database", &failed));
        }
    }
}

fn pool_error(found: deadpool_postgres::PoolError) -> Error {
    use deadpool_postgres::{PoolError, TimeoutType};
    match found {
        PoolError::Timeout(TimeoutType::Wait) => Error::Busy,
        PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => no_answer(),
        PoolError::Closed => Error::Closed,
        PoolError::Backend(found) => match error("connect", &found) {
            Error::Database { why, .. } => Error::Unreachable { why },
            other => other,
        },
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Error::Unreachable {
            why: found.to_string(),
        },
    }
}

impl Reads for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let found = self.session()?.get(key)?.map(Cow::into_owned);
        Ok(found.map(Cow::Owned))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        self.session()?.scan(from, to, order, each)
    }

    fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        self.session()?.foresee(keys)
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        let none = Err(Arc::new(Error::Closed));
        let Ok(client) = std::mem::replace(&mut self.begun, none) else {
            return;
        };
        if self.failed.get() {
            drop(Object::take(client));
            return;
        }
        let within = self.within;
        self.on.spawn(async move {
            let ended = tokio::time::timeout(within, client.batch_execute("ROLLBACK")).await;
            if !matches!(ended, Ok(Ok(()))) {
                drop(Object::take(client));
            }
        });
    }
}

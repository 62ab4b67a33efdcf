//! Sending a group to the database: all of it in one go, its commit last.

use crate::store::overlay::Changes;
use crate::store::postgres::ahead::{Ahead, Answers};
use crate::store::postgres::listen::CHANNEL;
use crate::store::postgres::read::Brought;
use crate::store::postgres::tables::Table;
use crate::store::rows::Rows;
use crate::store::{group, keys};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// What one group tells others of; where it is more, they forget all they remember.
pub(super) const TOLD_BYTES: usize = 4 << 20;

/// Records of a group that are written by one statement; of larger ones each table is written by itself, and what is known to be new by a
/// statement that does not look for it first.
pub(super) const TOGETHER_MAX: usize = 256;

/// What a small group puts, by one statement. New records of what there is come apart from those that are changed, so that nobody looks
/// for them first.
const TOGETHER: &str = "WITH work AS (INSERT INTO wk_work (key, value) \
     SELECT unnest($1::bytea[]), unnest($2::bytea[]) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value), \
     state AS (INSERT INTO wk_state (key, value) \
     SELECT unnest($3::bytea[]), unnest($4::bytea[]) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value), \
     added AS (INSERT INTO wk_state (key, value) SELECT unnest($5::bytea[]), unnest($6::bytea[])), \
     event AS (INSERT INTO wk_event (key, value) SELECT unnest($7::bytea[]), unnest($8::bytea[])), \
     history AS (INSERT INTO wk_history (key, value) SELECT unnest($9::bytea[]), unnest($10::bytea[])) \
     INSERT INTO wk_group (sequence, id, replica, told) VALUES ($11, $12, $13, $14)";

/// The writer asks the same few questions again and again, all by key. Left to itself, the planner plans some of them anew each time, which
/// costs as much as the answer, and may keep a plan for a table that has grown since.
const PLANS_ONCE: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off";

/// The session that writes, and its statements: what is sent in one go must be known to the server before.
pub(super) struct Link {
    pub(super) client: ClientWrapper,
    pub(super) begin: Statement,
    pub(super) turn: Statement,
    pub(super) since: Statement,
    pub(super) last: Statement,
    pub(super) listed: Statement,
    commit: Statement,
    list: Statement,
    together: Statement,
    tell: Option<Statement>,
    tables: [(Table, Prepared); 4],
}

struct Prepared {
    put: Statement,
    add: Statement,
    remove: Statement,
}

/// A group to be written, as who asks for the answer knows it again.
pub(super) struct Attempt<'a> {
    pub(super) written: Written<'a>,
    pub(super) after: i64,
    pub(super) id: Uuid,
    pub(super) tells: bool,
    /// What is believed not to be there yet is written as if it might be: once that belief was wrong.
    pub(super) is_careful: bool,
}

/// What a group changed, and what the records it was decided by were before.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) changes: &'a Changes,
    pub(super) brought: &'a Brought,
    pub(super) ahead: &'a Ahead,
}

impl Written<'_> {
    /// Whether something may be due now that others do not know of.
    fn makes_due(&self) -> bool {
        let puts = self.changes.iter().filter(|(_, value)| value.is_some());
        puts.into_iter().any(|(key, _)| keys::is_due(key))
    }

    /// Whether it is known that there is no such record.
    fn adds(&self, key: &[u8], rows: &Rows) -> bool {
        adds(key, self.brought, rows) && !self.ahead.was_overtaken(key)
    }
}

/// Whether it is known that there was no such record before the group.
pub(super) fn adds(key: &[u8], brought: &Brought, rows: &Rows) -> bool {
    keys::is_added(key) || rows.knows_none(key) || matches!(brought.get(key), Some(None))
}

impl Link {
    /// What adds records of which none is there to a table.
    pub(super) fn add(&self, table: Table) -> &Statement {
        let [work, state, event, history] = &self.tables;
        let (_table, prepared) = match table {
            Table::Work => work,
            Table::State => state,
            Table::Event => event,
            Table::History => history,
        };
        &prepared.add
    }
}

pub(super) async fn prepare(client: ClientWrapper) -> Result<Link, tokio_postgres::Error> {
    // A database that knows no such thing plans as it likes.
    let _planned_once = client.batch_execute(PLANS_ONCE).await.is_ok();
    // The reads that jobs ask for go through the same session.
    for table in Table::ALL {
        client.prepare_cached(table.statements().get).await?;
    }
    // It fails where the database knows no such thing: others then look each second.
    let tells = client
        .batch_execute(&format!("NOTIFY {CHANNEL}, '0'"))
        .await
        .is_ok();
    let tell = match tells {
        true => Some(client.prepare("SELECT pg_notify($1, $2)").await?),
        false => None,
    };
    Ok(Link {
        begin: client
            .prepare("BEGIN ISOLATION LEVEL READ COMMITTED")
            .await?,
        turn: client.prepare("SELECT turn FROM wk_turn FOR UPDATE").await?,
        since: client
            .prepare(
                "SELECT sequence, id, told FROM wk_group WHERE sequence > $1 ORDER BY sequence LIMIT $2",
            )
            .await?,
        last: client
            .prepare(
                "SELECT sequence, id FROM wk_group \
                 WHERE sequence = $1 OR sequence = (SELECT max(sequence) FROM wk_group) \
                 ORDER BY sequence",
            )
            .await?,
        listed: client
            .prepare("SELECT id FROM wk_group WHERE sequence = $1")
            .await?,
        commit: client.prepare("COMMIT").await?,
        list: client
            .prepare(
                "INSERT INTO wk_group (sequence, id, replica, told) VALUES ($1, $2, $3, $4)",
            )
            .await?,
        together: client.prepare(TOGETHER).await?,
        tell,
        tables: [
            prepare_table(&client, Table::Work).await?,
            prepare_table(&client, Table::State).await?,
            prepare_table(&client, Table::Event).await?,
            prepare_table(&client, Table::History).await?,
        ],
        client,
    })
}

async fn prepare_table(
    client: &ClientWrapper,
    table: Table,
) -> Result<(Table, Prepared), tokio_postgres::Error> {
    let statements = table.statements();
    let prepared = Prepared {
        put: client.prepare(statements.put).await?,
        add: client.prepare(statements.add).await?,
        remove: client.prepare(statements.remove).await?,
    };
    Ok((table, prepared))
}

pub(super) type Outcome = Result<(), tokio_postgres::Error>;

/// Sends all of a group in one go, its commit last: the turn is not held while anything is on its way. How the writes ended, and how
/// the commit did.
pub(super) async fn send(
    link: &Link,
    attempt: &Attempt<'_>,
    ahead: Answers,
    rows: &Rows,
    replica: i64,
) -> (Outcome, Outcome) {
    let (ahead, written, told, committed) = tokio::join!(
        biased;
        ahead.ended(),
        write(link, attempt, rows, replica),
        tell(link, attempt, replica),
        // One that waits for its standby is not given up: the time that a statement may take ends before it.
        link.client.execute(&link.commit, &[]),
    );
    (ahead.and(written).and(told), committed.map(drop))
}

async fn write(link: &Link, attempt: &Attempt<'_>, rows: &Rows, replica: i64) -> Outcome {
    let is_small = attempt.written.changes.len() <= TOGETHER_MAX;
    if is_small && !attempt.is_careful {
        return write_together(link, attempt, rows, replica).await;
    }
    let [work, state, event, history] = &link.tables;
    let (first, second, third, fourth, listed) = tokio::join!(
        biased;
        send_table(link, work, attempt, rows),
        send_table(link, state, attempt, rows),
        send_table(link, event, attempt, rows),
        send_table(link, history, attempt, rows),
        list(link, attempt, replica),
    );
    [first, second, third, fourth, listed].into_iter().collect()
}

async fn write_together(link: &Link, attempt: &Attempt<'_>, rows: &Rows, replica: i64) -> Outcome {
    let mut of_tables: [Records<'_>; 4] = Default::default();
    let mut added = Records::default();
    let mut removed: [Vec<&[u8]>; 4] = Default::default();
    for (key, value) in attempt.written.changes {
        let table = Table::of(key);
        let at = table.index();
        if let (Some(value), Table::State, true) = (value, table, attempt.written.adds(key, rows)) {
            added.keys.push(key);
            added.values.push(value);
            continue;
        }
        match (value, of_tables.get_mut(at), removed.get_mut(at)) {
            (Some(value), Some(records), _) => {
                records.keys.push(key);
                records.values.push(value);
            }
            (None, _, Some(removed)) => removed.push(key),
            (Some(_) | None, _, _) => {}
        }
    }
    let [work, state, event, history] = &of_tables;
    let told = told(attempt);
    let sequence = attempt.after + 1;
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &work.keys,
        &work.values,
        &state.keys,
        &state.values,
        &added.keys,
        &added.values,
        &event.keys,
        &event.values,
        &history.keys,
        &history.values,
        &sequence,
        &attempt.id,
        &replica,
        &told,
    ];
    let [of_work, of_state, of_event, of_history] = &link.tables;
    let [work, state, event, history] = &removed;
    let (put, first, second, third, fourth) = tokio::join!(
        biased;
        link.client.execute(&link.together, &parameters),
        send_removed(link, of_work, work),
        send_removed(link, of_state, state),
        send_removed(link, of_event, event),
        send_removed(link, of_history, history),
    );
    [put.map(drop), first, second, third, fourth]
        .into_iter()
        .collect()
}

async fn send_removed(
    link: &Link,
    (_table, prepared): &(Table, Prepared),
    removed: &[&[u8]],
) -> Outcome {
    if removed.is_empty() {
        return Ok(());
    }
    let sent = link.client.execute(&prepared.remove, &[&removed]).await;
    sent.map(drop)
}

async fn send_table(
    link: &Link,
    of: &(Table, Prepared),
    attempt: &Attempt<'_>,
    rows: &Rows,
) -> Outcome {
    let (table, prepared) = of;
    let (mut changed, mut added) = (Records::default(), Records::default());
    let mut removed: Vec<&[u8]> = Vec::new();
    let its = attempt.written.changes.iter();
    for (key, value) in its.filter(|(key, _)| Table::of(key) == *table) {
        let Some(value) = value else {
            removed.push(key);
            continue;
        };
        if attempt.written.ahead.has_sent(key) && !attempt.is_careful {
            continue;
        }
        let is_new = attempt.written.adds(key, rows);
        let records = match is_new && !attempt.is_careful {
            true => &mut added,
            false => &mut changed,
        };
        records.keys.push(key);
        records.values.push(value);
    }
    let (put, add, remove) = tokio::join!(
        biased;
        changed.send(link, &prepared.put),
        added.send(link, &prepared.add),
        send_removed(link, of, &removed),
    );
    put.and(add).and(remove)
}

/// Keys with their values, as a statement takes them.
#[derive(Default)]
struct Records<'a> {
    keys: Vec<&'a [u8]>,
    values: Vec<&'a [u8]>,
}

impl Records<'_> {
    async fn send(&self, link: &Link, statement: &Statement) -> Outcome {
        if self.keys.is_empty() {
            return Ok(());
        }
        let sent = link
            .client
            .execute(statement, &[&self.keys, &self.values])
            .await;
        sent.map(drop)
    }
}

async fn list(link: &Link, attempt: &Attempt<'_>, replica: i64) -> Outcome {
    let told = told(attempt);
    let parameters: [&(dyn ToSql + Sync); 4] = [&(attempt.after + 1), &attempt.id, &replica, &told];
    link.client.execute(&link.list, &parameters).await.map(drop)
}

/// What others are told; nothing while there is nobody else, who would have something to forget.
fn told(attempt: &Attempt<'_>) -> Option<Vec<u8>> {
    if !attempt.tells {
        return None;
    }
    let told = group::encode_told(attempt.written.changes);
    // It says the same again and again, and a short one is kept in its row.
    (told.len() <= TOLD_BYTES).then(|| lz4_flex::block::compress_prepend_size(&told))
}

async fn tell(link: &Link, attempt: &Attempt<'_>, replica: i64) -> Outcome {
    let (Some(tell), true) = (&link.tell, attempt.tells && attempt.written.makes_due()) else {
        return Ok(());
    };
    let replica = replica.to_string();
    let told = link.client.query(tell, &[&CHANNEL, &replica]).await;
    told.map(drop)
}

//! The tables, brought to the version that this program knows: numbered steps, each once, whichever replica comes first.
//!
//! A step only adds: a replica of the version before still runs beside it.

use crate::store::error::Error;
use crate::store::postgres::error::error;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::error::SqlState;

/// The steps, the first of which leads to version 1.
const STEPS: &[&str] = &[include_str!("1.sql")];

/// What suits `PostgreSQL` and is in no other product: the small table that is rewritten all the time is cleaned often and has room
/// for new versions beside the old; what is told to others for a moment is not worth compressing.
const TUNING: &[&str] = &[
    "ALTER TABLE wk_work SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, \
     autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)",
    "ALTER TABLE wk_state SET (fillfactor = 90)",
    "ALTER TABLE wk_group SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)",
    "ALTER TABLE wk_group ALTER COLUMN told SET STORAGE EXTERNAL",
];

/// How often two replicas that begin at once may be in each other's way.
const TRIES: usize = 10;

/// Makes the tables, or brings them to this version; refuses those of a later one.
pub(super) async fn migrate(client: &ClientWrapper) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match step(client).await {
            Ok((before, version)) => {
                if before == 0 {
                    for tuning in TUNING {
                        // Where it cannot be, it need not be.
                        drop(client.batch_execute(tuning).await);
                    }
                }
                return known(version);
            }
            Err(found) if tries < TRIES && is_race(&found) => {
                // The transaction is over; that there is none is only a warning.
                client
                    .batch_execute("ROLLBACK")
                    .await
                    .map_err(|found| error("make the tables", &found))?;
            }
            Err(found) => return Err(error("make the tables", &found)),
        }
    }
}

/// The version of the tables; none where there are none.
pub(super) async fn version(client: &ClientWrapper) -> Result<Option<i32>, Error> {
    match client.query_opt("SELECT version FROM wk_schema", &[]).await {
        Ok(row) => Ok(row.map(|row| row.get(0))),
        Err(found) if found.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(found) => Err(error("read the version of the tables", &found)),
    }
}

fn latest() -> i32 {
    i32::try_from(STEPS.len()).expect("there are few steps")
}

fn known(version: i32) -> Result<(), Error> {
    let known = latest();
    if version > known {
        let found = version;
        return Err(Error::NewerTables { found, known });
    }
    Ok(())
}

/// The version before and after.
async fn step(client: &ClientWrapper) -> Result<(i32, i32), tokio_postgres::Error> {
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS wk_schema (one boolean PRIMARY KEY, version integer NOT NULL);
             INSERT INTO wk_schema (one, version) VALUES (true, 0) ON CONFLICT DO NOTHING;
             BEGIN ISOLATION LEVEL READ COMMITTED",
        )
        .await?;
    // Whoever has the row makes the tables; the others wait for it.
    let row = client
        .query_one("SELECT version FROM wk_schema FOR UPDATE", &[])
        .await?;
    let before: i32 = row.get(0);
    let done = usize::try_from(before).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        client.batch_execute(step).await?;
    }
    let version = before.max(latest());
    client
        .execute("UPDATE wk_schema SET version = $1", &[&version])
        .await?;
    client.batch_execute("COMMIT").await?;
    Ok((before, version))
}

/// Another replica makes the same table at this moment.
fn is_race(found: &tokio_postgres::Error) -> bool {
    [
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::DUPLICATE_TABLE,
        &SqlState::DUPLICATE_OBJECT,
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
    ]
    .into_iter()
    .any(|code| found.code() == Some(code))
}

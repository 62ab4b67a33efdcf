//! Filling an empty database with the records of another store, as one transaction.

use crate::store::copy::{Sum, Summer};
use crate::store::engine::{FIRST, LAST, Order, Reads};
use crate::store::error::Error;
use crate::store::postgres::Settings;
use crate::store::postgres::connect::{Connector, TURN_STANDS_STILL};
use crate::store::postgres::error::error;
use crate::store::postgres::migrate::migrate;
use crate::store::postgres::read::Session;
use crate::store::postgres::tables::Table;
use deadpool_postgres::ClientWrapper;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Records of one statement, and their bytes.
const RECORDS_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 4 << 20;

/// A transaction that fills a database.
pub struct Loader {
    on: Runtime,
    client: ClientWrapper,
    within: std::time::Duration,
    waiting: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// Refuses a database that has records.
    pub fn begin(settings: &Settings) -> Result<Self, Error> {
        let on = super::runtime(&mut tokio::runtime::Builder::new_current_thread())?;
        let connector = Connector::new(
            &settings.address,
            settings.connect_timeout,
            settings.statement_timeout,
        )?;
        let client = on.block_on(async {
            let client = connector.connect(drop).await?;
            migrate(&client).await?;
            // Whatever is read from may be slow; reading all back takes long.
            let begun = client.batch_execute(
                "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; \
                 SET LOCAL statement_timeout = 0; SELECT turn FROM wk_turn FOR UPDATE",
            );
            begun
                .await
                .map_err(|found| error("begin to copy", &found))?;
            let is_empty = client.query_one(
                "SELECT NOT (EXISTS (SELECT FROM wk_work) OR EXISTS (SELECT FROM wk_state) \
                 OR EXISTS (SELECT FROM wk_event) OR EXISTS (SELECT FROM wk_history))",
                &[],
            );
            let is_empty = is_empty
                .await
                .map_err(|found| error("look whether the database is empty", &found))?;
            match is_empty.get(0) {
                true => Ok(client),
                false => Err(Error::NotEmpty {
                    path: settings.address.shown().into(),
                }),
            }
        })?;
        Ok(Self {
            on,
            client,
            within: settings.statement_timeout + TURN_STANDS_STILL,
            waiting: BTreeMap::new(),
            bytes: 0,
        })
    }

    /// A record; the last of a key holds.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.bytes += key.len() + value.len();
        self.waiting.insert(key.to_vec(), Some(value.to_vec()));
        self.flush_if_full()
    }

    pub fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        self.waiting.insert(key.to_vec(), None);
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<(), Error> {
        match self.waiting.len() >= RECORDS_AT_ONCE || self.bytes >= BYTES_AT_ONCE {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        let records = std::mem::take(&mut self.waiting);
        for table in Table::ALL {
            let its = || records.iter().filter(|(key, _)| Table::of(key) == table);
            let put = its().filter_map(|(key, value)| Some((key.as_slice(), value.as_deref()?)));
            let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) = put.unzip();
            let removed = its().filter(|(_, value)| value.is_none());
            let removed: Vec<&[u8]> = removed.map(|(key, _)| key.as_slice()).collect();
            let written = self.on.block_on(async {
                let statements = table.statements();
                if !keys.is_empty() {
                    let put = self.client.prepare_cached(statements.put).await?;
                    self.client.execute(&put, &[&keys, &values]).await?;
                }
                if !removed.is_empty() {
                    let remove = self.client.prepare_cached(statements.remove).await?;
                    self.client.execute(&remove, &[&removed]).await?;
                }
                Ok(())
            });
            written.map_err(|found| error("write to the database", &found))?;
        }
        Ok(())
    }

    /// Writes what is left, and reads back all there is now.
    pub fn written(&mut self, sequence: u64) -> Result<Sum, Error> {
        self.flush()?;
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let listed = self.on.block_on(self.client.execute(
            "INSERT INTO wk_group (sequence, id, replica) VALUES ($1, $2, 0)",
            &[&sequence, &Uuid::new_v4()],
        ));
        listed.map_err(|found| error("write to the database", &found))?;
        let session = Session {
            on: &self.on,
            client: &self.client,
            within: self.within,
            brought: &RefCell::default(),
            failed: &Cell::new(false),
        };
        let mut summer = Summer::default();
        session.scan(FIRST, LAST, Order::Forward, &mut |key, value| {
            summer.add(key, value);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(summer.sum())
    }

    /// Once this returns, all of it is durable.
    pub fn finish(self) -> Result<(), Error> {
        let committed = self.on.block_on(self.client.batch_execute("COMMIT"));
        committed.map_err(|found| error("keep the copy", &found))
    }
}

//! What comes from the database by itself: that another replica changed something, and what time it is there.
//!
//! Both are hints. Where nothing comes, everybody looks again each second anyway, and time goes on by our own clock.

use crate::domain::time::{Moment, Timestamp};
use crate::store::engine::Hint;
use crate::store::postgres::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver};
use tokio_postgres::AsyncMessage;

/// The name under which replicas tell each other.
pub(super) const CHANNEL: &str = "watchkeeper";

/// How often the time is asked for.
const TIME_ASKED_EVERY: Duration = Duration::from_secs(5);

/// After a connection was lost.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Hints that may lie unread: one says as much as many.
const UNREAD_MAX: usize = 64;

const TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Listens until the store is closed.
pub(super) async fn listen(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.ending.cancelled() => return,
            () = listen_once(&shared) => {}
        }
        tokio::select! {
            () = shared.ending.cancelled() => return,
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

/// Listens over one connection, until that is lost. The writer says what is wrong with the way to the database.
async fn listen_once(shared: &Shared) {
    let (sender, mut receiver) = mpsc::channel(UNREAD_MAX);
    let hear = move |message: AsyncMessage| {
        if let AsyncMessage::Notification(told) = message {
            // A full channel has enough to say.
            drop(sender.try_send(told.payload().to_owned()));
        }
    };
    let Ok(client) = shared.connector.connect(hear).await else {
        return;
    };
    // A database that has no such thing is looked at each second.
    let listen = format!("LISTEN {CHANNEL}");
    let listening = client.batch_execute(&listen);
    match tokio::time::timeout(shared.within(), listening).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the database tells nothing by itself"),
        Err(_elapsed) => return,
    }
    // What happened while nobody listened.
    shared.tell(Hint::Changed);
    loop {
        if !ask_time(shared, &client).await {
            return;
        }
        let next = tokio::time::sleep(TIME_ASKED_EVERY);
        if !hear_until(shared, &mut receiver, next).await {
            return;
        }
    }
}

/// Hears what others changed until it is time for something else; whether the connection still stands.
async fn hear_until(
    shared: &Shared,
    receiver: &mut Receiver<String>,
    until: tokio::time::Sleep,
) -> bool {
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return true,
            told = receiver.recv() => {
                let Some(told) = told else { return false };
                if told != shared.replica.to_string() {
                    shared.tell(Hint::Changed);
                }
            }
        }
    }
}

/// Asks what time it is; whether there was an answer.
pub(super) async fn ask_time(shared: &Shared, client: &deadpool_postgres::ClientWrapper) -> bool {
    let moment = shared.settings.moment;
    let before = moment().elapsed;
    let asked = tokio::time::timeout(
        shared.settings.statement_timeout,
        client.query_one(TIME, &[]),
    );
    let Ok(Ok(row)) = asked.await else {
        return false;
    };
    let after = moment().elapsed;
    // The clock was read about half-way between question and answer.
    let half = after.saturating_sub(before) / 2;
    let read_at = Timestamp::from_millis(row.get(0));
    shared.set_clock(Moment {
        now: read_at.plus(half),
        elapsed: after,
    });
    true
}

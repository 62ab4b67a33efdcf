//! New records of a large group that are sent while the rest of it is still being decided: the database keeps them meanwhile. They
//! are part of the group's transaction, and are kept or lost with it.

use crate::store::engine::Key;
use crate::store::keys;
use crate::store::overlay::Changes;
use crate::store::postgres::read::Brought;
use crate::store::postgres::send::{Link, Outcome, TOGETHER_MAX, adds};
use crate::store::postgres::tables::Table;
use crate::store::rows::Rows;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::Runtime;

/// Bytes of keys and values that are sent at once: little enough to go out without waiting for the database.
const SENT_AT_ONCE: usize = 64 << 10;

/// What one group sent before its end.
#[derive(Default)]
pub(super) struct Ahead {
    /// New records that are decided and not sent.
    ready: BTreeSet<Key>,
    ready_bytes: usize,
    /// Records that were sent as they are.
    sent: BTreeSet<Key>,
    /// Records that were sent and have changed since.
    overtaken: BTreeSet<Key>,
    answers: Answers,
}

/// What comes of the statements that were sent. It holds on to their session.
#[derive(Default)]
pub(super) struct Answers(Vec<Answer>);

enum Answer {
    Awaited(Pin<Box<dyn Future<Output = Outcome> + Send>>),
    Came(Outcome),
}

impl Answers {
    /// Asks for each once, which sends what was not. Ready when all have come.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut all = Poll::Ready(());
        for answer in &mut self.0 {
            if let Answer::Awaited(awaited) = answer {
                match awaited.as_mut().poll(context) {
                    Poll::Ready(came) => *answer = Answer::Came(came),
                    Poll::Pending => all = Poll::Pending,
                }
            }
        }
        all
    }

    /// How all of it ended: the first failure, for what follows one fails because of it.
    pub(super) async fn ended(mut self) -> Outcome {
        poll_fn(|context| self.poll(context)).await;
        let came = self.0.into_iter().filter_map(|answer| match answer {
            Answer::Came(outcome) => Some(outcome),
            Answer::Awaited(_) => None,
        });
        came.collect()
    }
}

impl Ahead {
    /// A job changed these records. Those that are new, and not of the kind that most jobs change, can go ahead.
    pub(super) fn note(
        &mut self,
        changed: impl Iterator<Item = Key>,
        changes: &Changes,
        brought: &Brought,
        rows: &Rows,
    ) {
        // A small group is written at once, at its end.
        if changes.len() <= TOGETHER_MAX {
            return;
        }
        for key in changed.filter(|key| !keys::is_told(key)) {
            if self.sent.remove(&key) {
                self.overtaken.insert(key);
                continue;
            }
            if self.overtaken.contains(&key) {
                continue;
            }
            let Some(Some(value)) = changes.get(&key) else {
                self.ready.remove(&key);
                continue;
            };
            if adds(&key, brought, rows) {
                self.ready_bytes += key.len() + value.len();
                self.ready.insert(key);
            }
        }
    }

    /// Sends what is ready, once it is worth it.
    pub(super) fn send(&mut self, link: &Arc<Link>, on: &Runtime, changes: &Changes) {
        if self.ready_bytes < SENT_AT_ONCE || changes.len() <= TOGETHER_MAX {
            return;
        }
        let ready = std::mem::take(&mut self.ready);
        self.ready_bytes = 0;
        for table in Table::ALL {
            let its = ready.iter().filter(|key| Table::of(key) == table);
            let its = its.filter_map(|key| Some((key, changes.get(key)?.as_ref()?)));
            let (keys, values): (Vec<Vec<u8>>, Vec<Vec<u8>>) = its
                .map(|(key, value)| (key.to_vec(), value.clone()))
                .unzip();
            if keys.is_empty() {
                continue;
            }
            let link = Arc::clone(link);
            let sent = async move {
                let add = link.add(table);
                link.client.execute(add, &[&keys, &values]).await.map(drop)
            };
            self.answers.0.push(Answer::Awaited(Box::pin(sent)));
        }
        self.sent.extend(ready);
        on.block_on(async {
            poll_fn(|context| {
                // Nobody waits for them here.
                let _whether_all_came = self.answers.poll(context);
                Poll::Ready(())
            })
            .await;
            // Lets the connection write what it was given.
            tokio::task::yield_now().await;
        });
    }

    /// What is to come of what was sent; nothing is sent after this.
    pub(super) fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }

    /// Whether this record is on its way as it is.
    pub(super) fn has_sent(&self, key: &[u8]) -> bool {
        self.sent.contains(key)
    }

    /// Whether this record is on its way as it was before it changed again.
    pub(super) fn was_overtaken(&self, key: &[u8]) -> bool {
        self.overtaken.contains(key)
    }
}

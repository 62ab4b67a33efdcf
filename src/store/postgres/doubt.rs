//! A group whose answer was lost: whether the database has it, and seeing to it that it does.

use crate::store::error::Error;
use crate::store::postgres::ahead::Answers;
use crate::store::postgres::error::error;
use crate::store::postgres::read::no_answer;
use crate::store::postgres::send::Attempt;
use crate::store::postgres::write::{Known, Writer, lock};
use std::time::Duration;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// How often it is tried to find out what became of a group whose answer was lost, and how long between two tries.
const FIND_OUT_TRIES: usize = 10;
const FIND_OUT_AFTER: Duration = Duration::from_millis(500);

/// What became of a group whose answer was lost.
enum Found {
    Kept,
    /// It was not kept, and what it was decided by has changed since.
    OthersCame,
}

impl Writer {
    /// The answer was lost: what the database has is asked under a new turn, and where nobody came in between the group
    /// is written once more under the same id.
    pub(super) fn find_out(&mut self, attempt: &Attempt<'_>, mut why: String) -> Result<(), Error> {
        let before = self.known;
        for _ in 0..FIND_OUT_TRIES {
            self.drop_link();
            let found = match self.try_turn(None) {
                Ok(_nothing) => self.look_for(attempt, before),
                Err(found) => Err(found),
            };
            match found {
                Ok(Found::Kept) => return Ok(()),
                Ok(Found::OthersCame) => return Err(Error::Unreachable { why }),
                Err(found) => why = found.to_string(),
            }
            if self.shared.queue.is_closing() {
                break;
            }
            self.wait(FIND_OUT_AFTER);
        }
        Err(Error::Uncertain { why })
    }

    /// Looks for a group in the turn that is held, and sees to it that it is kept.
    fn look_for(&mut self, attempt: &Attempt<'_>, before: Option<Known>) -> Result<Found, Error> {
        let last = self.known;
        if self.is_listed(attempt)? {
            self.known = before;
            // It may be on this server alone: this waits until it is where it is to be.
            self.confirm(attempt)?;
            return Ok(Found::Kept);
        }
        if last != before {
            return Ok(Found::OthersCame);
        }
        self.write(attempt, Answers::default())?;
        Ok(Found::Kept)
    }

    /// Commits something after the group; where that is durable, so is the group.
    fn confirm(&self, attempt: &Attempt<'_>) -> Result<(), Error> {
        let Some(link) = self.link.as_ref() else {
            return Err(no_answer());
        };
        let text = format!(
            "UPDATE wk_group SET at = at WHERE sequence = {}; COMMIT",
            attempt.after + 1
        );
        let confirmed = self.on.block_on(async {
            let committed = link.client.batch_execute(&text);
            tokio::time::timeout(self.shared.within(), committed).await
        });
        let confirmed = confirmed.map_err(|_elapsed| no_answer())?;
        confirmed.map_err(|found| error("confirm the group", &found))?;
        match lock(&self.warned).take() {
            None => Ok(()),
            Some(why) => Err(Error::Uncertain { why }),
        }
    }

    fn is_listed(&self, attempt: &Attempt<'_>) -> Result<bool, Error> {
        let Some(link) = self.link.as_ref() else {
            return Err(no_answer());
        };
        let sequence = attempt.after + 1;
        let parameters: [&(dyn ToSql + Sync); 1] = [&sequence];
        let asked = self.on.block_on(async {
            let asked = link.client.query_opt(&link.listed, &parameters);
            tokio::time::timeout(self.shared.within(), asked).await
        });
        let row = asked.map_err(|_elapsed| no_answer())?;
        let row = row.map_err(|found| error("look for the group", &found))?;
        Ok(row.is_some_and(|row| row.get::<_, Uuid>(0) == attempt.id))
    }
}

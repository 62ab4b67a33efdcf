//! A group of jobs: each decides against the state and what those before it in the group changed.

use crate::store::engine::Class;
use crate::store::engine::Done;
use crate::store::engine::Job;
use crate::store::engine::Keep;
use crate::store::engine::Key;
use crate::store::engine::Reads;
use crate::store::engine::Stage;
use crate::store::error::Error;
use crate::store::overlay::Changes;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

/// A group takes no further job past either.
pub(crate) const GROUP_JOBS: usize = 1_024;
pub(crate) const GROUP_BYTES: usize = 4 << 20;

/// What one job may change.
pub(crate) const JOB_BYTES: usize = 16 << 20;

/// What jobs of one group changed so far, and whom to tell.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) changes: Changes,
    pub(crate) bytes: usize,
    pub(crate) has_engine: bool,
    /// Intake that wanted to change something.
    pub(crate) has_intake: bool,
    /// Who is answered in order, with the error that is theirs alone.
    answers: Vec<(Done, Option<Arc<Error>>)>,
}

impl Group {
    /// Whether a further job still fits after so many.
    pub(crate) fn has_room(&self, n_jobs: usize) -> bool {
        n_jobs < GROUP_JOBS && self.bytes < GROUP_BYTES
    }

    /// Runs a job and keeps what it wants to keep, unless it may not. What it changed.
    pub(crate) fn run(
        &mut self,
        view: &dyn Reads,
        class: Class,
        job: Job,
        refusal: Option<Arc<Error>>,
    ) -> impl Iterator<Item = Key> + use<> {
        let mut stage = Stage::new(view, &mut self.changes);
        let (keep, done) = job.run(&mut stage);
        if keep == Keep::No || stage.is_unchanged() {
            stage.undo();
            self.answers.push((done, None));
            return stage.changed();
        }
        self.has_intake |= class == Class::Intake;
        let bytes = stage.bytes();
        let too_large = || {
            let bytes = usize::try_from(bytes).unwrap_or(0);
            let most = JOB_BYTES;
            (bytes > most).then(|| Arc::new(Error::TooLarge { bytes, most }))
        };
        if let Some(why) = refusal.or_else(too_large) {
            stage.undo();
            self.answers.push((done, Some(why)));
            return stage.changed();
        }
        self.bytes = self.bytes.saturating_add_signed(bytes);
        self.has_engine |= class == Class::Engine;
        self.answers.push((done, None));
        stage.changed()
    }

    /// The errors that are told to somebody when the group ends like this.
    pub(crate) fn errors<'a>(
        &'a self,
        result: &'a Result<(), Arc<Error>>,
    ) -> impl Iterator<Item = &'a Error> {
        let own = self
            .answers
            .iter()
            .filter_map(|(_done, own)| own.as_deref());
        own.chain(result.as_ref().err().map(AsRef::as_ref))
    }

    /// Tells everybody how the group ended.
    pub(crate) fn answer(self, result: &Result<(), Arc<Error>>) {
        for (done, own) in self.answers {
            let answer = match own {
                Some(error) => Err(error),
                None => result.clone(),
            };
            if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
                tracing::error!("what a job had to tell panicked");
            }
        }
    }
}

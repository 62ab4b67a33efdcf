//! Jobs that wait for an engine's writer: two bounded queues, of which that of the engine goes first.

use crate::store::engine::Class;
use crate::store::engine::Job;
use crate::store::error::Error;
use std::collections::VecDeque;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Jobs that may wait, of each class.
const INTAKE_MAX: usize = 4_096;
const ENGINE_MAX: usize = 4_096;

/// What waits for a writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    engine: VecDeque<Waiting>,
    intake: VecDeque<Waiting>,
    closing: bool,
    poisoned: Option<String>,
}

/// A job, and who asks for it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) class: Class,
    pub(crate) job: Job,
}

impl Queue {
    /// Takes a job, or says at once why not.
    pub(crate) fn push(&self, class: Class, job: Job) -> Result<(), Error> {
        let mut inner = self.lock();
        if let Some(why) = &inner.poisoned {
            return Err(Error::Poisoned { why: why.clone() });
        }
        if inner.closing {
            return Err(Error::Closed);
        }
        let (queue, most) = match class {
            Class::Intake => (&mut inner.intake, INTAKE_MAX),
            Class::Engine => (&mut inner.engine, ENGINE_MAX),
        };
        if queue.len() >= most {
            return Err(Error::Busy);
        }
        queue.push_back(Waiting { class, job });
        drop(inner);
        self.came.notify_one();
        Ok(())
    }

    /// The next job, waited for; none once the queue is closed and empty.
    pub(crate) fn wait(&self) -> Option<Waiting> {
        let mut inner = self.lock();
        loop {
            if let Some(waiting) = inner.pop() {
                return Some(waiting);
            }
            if inner.closing {
                return None;
            }
            inner = self
                .came
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next job, if one waits.
    pub(crate) fn next(&self) -> Option<Waiting> {
        self.lock().pop()
    }

    pub(crate) fn n_waiting(&self) -> usize {
        let inner = self.lock();
        inner.engine.len() + inner.intake.len()
    }

    /// Takes no more jobs; those that wait are still done.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.came.notify_all();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// From now on everything is refused; the first reason stays.
    pub(crate) fn poison(&self, why: &str) {
        self.lock().poisoned.get_or_insert_with(|| why.to_owned());
    }

    pub(crate) fn poisoned(&self) -> Option<String> {
        self.lock().poisoned.clone()
    }

    /// Drops what waits: who asked hears of it by that.
    pub(crate) fn drop_all(&self) {
        let mut inner = self.lock();
        let waiting = (
            std::mem::take(&mut inner.engine),
            std::mem::take(&mut inner.intake),
        );
        drop(inner);
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What it holds is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn pop(&mut self) -> Option<Waiting> {
        let next = self.engine.pop_front();
        next.or_else(|| self.intake.pop_front())
    }
}

//! The only reader of the clocks. Whoever needs the time is given a [`Clock`] or, better, the instant itself.

use crate::domain::time::{Moment, Timestamp};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Tells the time: the system's, or one that its owner moves.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Moment>>>);

impl Clock {
    /// The clocks of this machine.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands until it is set, for simulations.
    pub fn standing(at: Moment) -> Self {
        Self(Some(Arc::new(Mutex::new(at))))
    }

    /// Sets a clock that stands; every copy of it tells the new time. The system's is left as it is.
    pub fn set(&self, at: Moment) {
        if let Some(standing) = &self.0 {
            *standing.lock().unwrap_or_else(PoisonError::into_inner) = at;
        }
    }

    /// The wall clock, in milliseconds.
    pub fn now(&self) -> Timestamp {
        self.moment().now
    }

    /// The wall clock, and beside it the time that has passed, which nobody sets.
    pub fn moment(&self) -> Moment {
        match &self.0 {
            Some(standing) => *standing.lock().unwrap_or_else(PoisonError::into_inner),
            None => Moment {
                now: wall(),
                elapsed: elapsed(),
            },
        }
    }
}

/// The wall clock of this machine, where nobody has a [`Clock`] to hand on.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the wall clock is read"
)]
pub fn wall() -> Timestamp {
    chrono::Utc::now().into()
}

/// Time since the first time this was asked; it only goes forward.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the steady clock is read"
)]
fn elapsed() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

//! The only reader of the clocks. Whoever needs the time is given a [`Clock`] or, better, the instant itself.

use crate::domain::time::{Moment, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Tells the time: the system's, or one that its owner moves.
///
/// A wall clock that is set is not believed before the engine has seen it and moved every wait: until then the time goes on
/// from where it was. Else a request in between would set its waits by the new time, and see them moved once more.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    hands: Option<Arc<Mutex<Moment>>>,
    believed: Arc<Mutex<Option<Moment>>>,
}

impl Clock {
    /// The clocks of this machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands until it is set, for simulations.
    pub fn standing(at: Moment) -> Self {
        Self {
            hands: Some(Arc::new(Mutex::new(at))),
            believed: Arc::default(),
        }
    }

    /// Sets a clock that stands; every copy of it tells the new time. The system's is left as it is.
    pub fn set(&self, at: Moment) {
        if let Some(standing) = &self.hands {
            *lock(standing) = at;
        }
    }

    /// The time for everything that is decided and written down, in milliseconds.
    pub fn now(&self) -> Timestamp {
        self.moment().now
    }

    /// The same, and beside it the time that has passed, which nobody sets.
    pub fn moment(&self) -> Moment {
        let shown = self.look();
        match *lock(&self.believed) {
            Some(believed) => believed.after(shown.elapsed),
            None => shown,
        }
    }

    /// What the clocks show, believed or not: for the engine, which notices what was set.
    pub fn look(&self) -> Moment {
        match &self.hands {
            Some(standing) => *lock(standing),
            None => Moment {
                now: wall(),
                elapsed: elapsed(),
            },
        }
    }

    /// The engine has moved every wait to what it saw here: from now on this is the time.
    pub fn believe(&self, seen: Moment) {
        *lock(&self.believed) = Some(seen);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

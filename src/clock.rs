//! The only reader of the clocks. Whoever needs the time is given a [`Clock`] or, better, the instant itself.

use crate::domain::time::{Moment, Timestamp};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What another clock showed last, and beside it our steady one when it did; none while that is not known.
#[derive(Clone)]
struct Leader(Arc<dyn Fn() -> Option<Moment> + Send + Sync>);

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leader")
    }
}

/// Tells the time: the system's, or one that its owner moves.
///
/// A wall clock that is set is not believed before the engine has seen it and moved every wait: until then the time goes on
/// from where it was. Else a request in between would set its waits by the new time, and see them moved once more.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    hands: Option<Arc<Mutex<Moment>>>,
    /// Another clock that this one goes by.
    leads: Option<Leader>,
    believed: Arc<Mutex<Option<Moment>>>,
}

impl Clock {
    /// The clocks of this machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that goes as another one, so that all who follow that agree. Between two looks at it time goes on by our steady clock: a
    /// wall clock of this machine that is set, or wrong, is of no matter.
    pub fn following(leads: impl Fn() -> Option<Moment> + Send + Sync + 'static) -> Self {
        Self {
            leads: Some(Leader(Arc::new(leads))),
            ..Self::default()
        }
    }

    /// A clock that stands until it is set, for simulations.
    pub fn standing(at: Moment) -> Self {
        Self {
            hands: Some(Arc::new(Mutex::new(at))),
            ..Self::default()
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
        if let Some(standing) = &self.hands {
            return *lock(standing);
        }
        let shown = self.leads.as_ref().and_then(|Leader(look)| look());
        shown.map_or_else(both, |shown| shown.after(elapsed()))
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

/// Both clocks of this machine.
pub fn both() -> Moment {
    Moment {
        now: wall(),
        elapsed: elapsed(),
    }
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

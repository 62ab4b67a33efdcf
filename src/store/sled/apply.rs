//! The applier: brings what lies in memory to the state, in runs.

use crate::store::error::Error;
use crate::store::overlay::Layer;
use crate::store::sled::Shared;
use crate::store::sled::lock;
use crate::store::sled::state::RUNS_MAX;
use crate::store::sled::state::Written;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// When no group came for so long, what lies in memory is brought to the state if it is so much, and after so many such pauses whatever it is.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_BYTES: usize = 64 << 10;
const PAUSES: u32 = 5;

/// How long the applier waits before it looks whether a full disk has room again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

impl Shared {
    /// Brings what groups changed to the state, until the store is closed or the state takes no more.
    pub(super) fn apply(&self) {
        while let Some(layers) = self.layers_to_apply() {
            let Some(last) = layers.last().map(|layer| layer.last) else {
                continue;
            };
            let written = self.write_layers(&layers, last);
            drop(layers);
            let mut recent = lock(&self.recent);
            recent.n_applying = 0;
            match written {
                Ok(written) => {
                    self.state.publish(written);
                    recent.applied = last;
                    recent.overlay.applied(last);
                    if std::mem::take(&mut recent.full) {
                        tracing::warn!("the state has room again");
                    }
                }
                Err(Error::Full) => {
                    if !std::mem::replace(&mut recent.full, true) {
                        tracing::error!(
                            "the disk has no room for the state: groups stay in memory and in the journal"
                        );
                    }
                    if recent.closing {
                        return;
                    }
                }
                Err(error) => {
                    drop(recent);
                    self.stuck(&error);
                    continue;
                }
            }
            drop(recent);
            self.moved.notify_all();
        }
    }

    fn write_layers(&self, layers: &[Layer], last: u64) -> Result<Written, Error> {
        let mut changes: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        if let [only] = layers {
            return self
                .state
                .write(only.changes.len(), Some(last), &mut |add| {
                    let mut changes = only.changes.iter();
                    changes.try_for_each(|(key, value)| add(key, value.as_deref()))
                });
        }
        for layer in layers {
            let newer = layer.changes.iter();
            changes.extend(newer.map(|(key, value)| (key.as_slice(), value.as_deref())));
        }
        self.state.write(changes.len(), Some(last), &mut |add| {
            changes.iter().try_for_each(|(key, value)| add(key, *value))
        })
    }

    /// Waits until there is enough to apply, or somebody waits for it, or nothing has come for a while; none when there will be none.
    fn layers_to_apply(&self) -> Option<Vec<Layer>> {
        let mut recent = lock(&self.recent);
        let (mut seen, mut n_pauses) = (recent.durable, 0);
        loop {
            if recent.stuck.is_some() {
                return None;
            }
            let bytes = recent.overlay.bytes();
            let is_quiet = n_pauses >= PAUSES || (n_pauses > 0 && bytes >= PAUSE_BYTES);
            let is_wanted = recent.closing || recent.wanted > recent.applied;
            let is_crowded = self.state.n_runs() >= RUNS_MAX && !recent.closing;
            let has_any = !recent.overlay.layers().is_empty();
            let is_time = bytes >= self.settings.apply_bytes || is_wanted || is_quiet;
            if has_any && is_time && !is_crowded && (!recent.full || n_pauses > 0 || recent.closing)
            {
                let layers = recent.overlay.layers().to_vec();
                recent.n_applying = layers.len();
                return Some(layers);
            }
            if recent.closing && !has_any {
                return None;
            }
            let pause = if recent.full { FULL_PAUSE } else { PAUSE };
            let waited = self.moved.wait_timeout(recent, pause);
            let (again, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            recent = again;
            if recent.durable != seen {
                (seen, n_pauses) = (recent.durable, 0);
            }
            if timed_out.timed_out() {
                n_pauses += 1;
            }
        }
    }
}

//! Results of checks: which of them count, and what a report says that is complete for its scope.

use crate::domain::alert::{Fingerprint, Outcome, Run, Sighting};
use crate::store::error::Error;
use crate::store::records::CountedRun;
use crate::store::report::Recorder;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a run of a check is remembered as counted.
const RUN_REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Runs of one check that are remembered; a check that runs more often than this in a day forgets the oldest.
const RUNS_REMEMBERED_MAX: usize = 200;

impl Recorder<'_, '_, '_> {
    /// All results of one check in one report: the worst counts, and one that could not run hides none that did.
    pub(super) fn check(
        &mut self,
        fingerprint: Fingerprint,
        results: &[(&Sighting, Outcome, &Run)],
    ) -> Result<(), Error> {
        let ran = results
            .iter()
            .filter(|(_, outcome, _)| *outcome != Outcome::Error);
        let worst = ran.max_by_key(|(_, outcome, _)| *outcome);
        let error = results
            .iter()
            .find(|(_, outcome, _)| *outcome == Outcome::Error);
        let Some((_, _, run)) = error.or(worst) else {
            return Ok(());
        };
        let says_nothing =
            error.is_none() && worst.is_none_or(|(_, outcome, _)| *outcome == Outcome::Skip);
        if says_nothing {
            return self.join_known(fingerprint, results);
        }
        if !self.counts(fingerprint, run)? {
            self.recorded.n_late += 1;
            return self.join_known(fingerprint, results);
        }
        if let Some((sighting, _, _)) = error {
            let twin = sighting.labels.twin();
            self.fires(sighting, &twin, twin.fingerprint(), Some(Outcome::Error))?;
        }
        match worst {
            Some((sighting, outcome @ (Outcome::Warn | Outcome::Fail), _)) => {
                if error.is_none() {
                    self.resolves(sighting, sighting.labels.twin().fingerprint())?;
                }
                self.fires(sighting, &sighting.labels, fingerprint, Some(*outcome))
            }
            Some((sighting, Outcome::Pass, _)) if error.is_none() => {
                self.resolves(sighting, sighting.labels.twin().fingerprint())?;
                self.resolves(sighting, fingerprint)
            }
            Some((_, Outcome::Pass | Outcome::Skip | Outcome::Error, _)) | None => Ok(()),
        }
    }

    /// Whether a run's result counts: it is not older than the last that did, and was not counted before.
    fn counts(&mut self, fingerprint: Fingerprint, run: &Run) -> Result<bool, Error> {
        let mut seen = self.tx.read().check(fingerprint)?.unwrap_or_default();
        // As it was said: by our own clock, which may have stepped back, it could seem older than what came before it.
        let is_older =
            matches!((run.finished_at, seen.finished_at), (Some(this), Some(last)) if this < last);
        let same = |counted: &CountedRun| {
            (&counted.id, counted.attempt, counted.finished_at)
                == (&run.id, run.attempt, run.finished_at)
        };
        let now = self.now;
        let remembered = |counted: &CountedRun| now.since(counted.counted_at) < RUN_REMEMBERED_FOR;
        let can_be_told = run.id.is_some() || run.finished_at.is_some();
        if is_older
            || (can_be_told
                && seen
                    .runs
                    .iter()
                    .any(|counted| remembered(counted) && same(counted)))
        {
            return Ok(false);
        }
        seen.runs.retain(remembered);
        if can_be_told {
            let Run {
                id,
                attempt,
                finished_at,
            } = run.clone();
            seen.runs.push(CountedRun {
                id,
                attempt,
                finished_at,
                counted_at: now,
            });
        }
        let excess = seen.runs.len().saturating_sub(RUNS_REMEMBERED_MAX);
        seen.runs.drain(..excess);
        // A finish ahead of our clock is kept as the arrival: it must not outdate every later run.
        let finished_at = run.finished_at.map(|at| at.min(self.now));
        seen.finished_at = seen.finished_at.max(finished_at);
        self.tx.put_check(fingerprint, &seen);
        Ok(true)
    }

    /// A result that changes nothing still names the incidents that the alerts of its check belong to.
    fn join_known(
        &mut self,
        fingerprint: Fingerprint,
        results: &[(&Sighting, Outcome, &Run)],
    ) -> Result<(), Error> {
        let twin = results
            .first()
            .map(|(sighting, _, _)| sighting.labels.twin().fingerprint());
        for fingerprint in [fingerprint].into_iter().chain(twin) {
            let alert = self.tx.read().alert(fingerprint)?;
            self.joined_if_open(alert.and_then(|alert| alert.incident))?;
        }
        Ok(())
    }

    /// What the report's scope has and the report has not is stale; unless something in it was late, and it may be old.
    pub(super) fn ends_scope(
        &mut self,
        checks: &BTreeMap<Fingerprint, Vec<(&Sighting, Outcome, &Run)>>,
    ) -> Result<(), Error> {
        let Some(scope) = &self.report.scope else {
            return Ok(());
        };
        if self.recorded.n_late > 0 {
            return Ok(());
        }
        let results = checks.iter();
        let reported = results.flat_map(|(fingerprint, results)| {
            let twin = results
                .first()
                .map(|(sighting, _, _)| sighting.labels.twin().fingerprint());
            twin.into_iter().chain([*fingerprint])
        });
        let reported: BTreeSet<Fingerprint> = reported.collect();
        self.tx.end_scope(scope, &reported, self.in_force, self.now)
    }
}

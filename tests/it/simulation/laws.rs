//! What must hold once every fault has ended.

use super::{LONGEST_CONTACT, LONGEST_STEP, Story};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use watchkeeper::domain::alert::{Fingerprint, Said, Signal};
use watchkeeper::domain::escalation::EXHAUSTED_EVERY;
use watchkeeper::domain::incident::event::{Event, PageIssue};
use watchkeeper::domain::incident::{Entry, Incident};
use watchkeeper::domain::page::{GIVE_UP_AFTER, Outcome, PageKind};
use watchkeeper::domain::severity::Urgency;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::engine::audit::audit;
use watchkeeper::engine::set_clock::CLOCK_KEPT_EVERY;
use watchkeeper::store::delivery::LEASE;
use watchkeeper::store::lists;
use watchkeeper::store::report::{Recorded, Report};

/// What somebody was told: this holds from then on.
pub(super) enum Acknowledged {
    Reported(Report, Recorded),
    /// The last entry of the incident's log.
    Asked {
        number: u64,
        last: Entry,
    },
}

/// How long after everything works again an incident that pages must have paged somebody.
///
/// An escalation of high urgency never ends by itself: a step waits for its time, an exhaustion ten minutes. What then
/// goes out may stand behind a contact's own time. A page that failed before waits for its next attempt, at the most until
/// the contact would be given up; one whose sender died, for its lease. After a start with a clock that was set back all
/// of that is late by what the program does not know: how long ago it last looked.
fn bound() -> Duration {
    let next = LONGEST_STEP.max(EXHAUSTED_EVERY).max(GIVE_UP_AFTER);
    next + LONGEST_CONTACT + LEASE + CLOCK_KEPT_EVERY + Duration::from_secs(60)
}

impl Story {
    pub(super) fn incidents(&self) -> Vec<Arc<Incident>> {
        let read = |number| self.simulation.incident(number).expect("it reads");
        (1..).map_while(read).collect()
    }

    pub(super) fn entry(&self, number: u64, seq: u64) -> Entry {
        let store = self.simulation.store();
        let found = store.read(|reader| reader.entries(number, seq, seq + 1));
        found.expect("it reads").remove(0)
    }

    /// Every fault ends; what pages must page within its bound, twice in a row, and every law holds.
    pub(super) fn heals(&mut self) {
        self.says("everything works again");
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let memory = self.simulation.memory();
        // A fault that was planned and has not come is called off by a restart.
        let reopened = Arc::new(memory.reopen());
        self.simulation.restart(reopened).expect("it reads");
        // Whoever cannot be reached at all is given a contact.
        let book = Arc::make_mut(&mut self.simulation.in_force.book);
        for (name, person) in &mut book.people {
            if person.notify.is_empty() {
                person.notify = crate::world::contacts(&[(name, 0)]);
            }
        }
        for _ in 0..2 {
            self.pages_within_its_bound();
        }
        self.all_hold();
    }

    fn pages_within_its_bound(&mut self) {
        let from = self.simulation.now();
        let paging: Vec<u64> = self.paging().iter().map(|known| known.number()).collect();
        self.simulation.advance(bound()).expect("nothing fails");
        for incident in self.paging() {
            if !paging.contains(&incident.number()) {
                continue;
            }
            // Low urgency pages once, and that may have been before.
            let since = match incident.urgency {
                Urgency::High => from,
                Urgency::Low | Urgency::None => Timestamp::EPOCH,
            };
            // The page of the storm that it came out of was for it, too.
            let number = incident.number();
            let told = std::iter::once(number).chain(self.storm_before(number));
            assert!(
                told.into_iter().any(|number| self.was_paged(number, since)),
                "incident {} pages nobody: {:?}",
                incident.number(),
                incident.paging
            );
        }
    }

    fn storm_before(&self, number: u64) -> Option<u64> {
        let store = self.simulation.store();
        let log = store.read(|reader| reader.entries(number, 1, u64::MAX));
        let log = log.expect("it reads");
        log.iter().find_map(|entry| match &entry.event {
            Event::TookOver { from, .. } => Some(*from),
            _other => None,
        })
    }

    /// Incidents that ask for somebody: the condition of the field, not the program's own.
    fn paging(&self) -> Vec<Arc<Incident>> {
        let mut all = self.incidents();
        all.retain(|known| {
            known.is_open()
                && known.acknowledged.is_none()
                && !known.is_clear()
                && !known.is_quiet()
                && known.urgency.pages()
        });
        all
    }

    fn was_paged(&self, number: u64, since: Timestamp) -> bool {
        self.simulation.sent().iter().any(|sent| {
            sent.message.incident.number == number
                && sent.message.kind == PageKind::Page
                && sent.at >= since
                && matches!(sent.outcome, Outcome::Delivered { .. })
        })
    }

    fn all_hold(&self) {
        let now = self.simulation.now();
        let store = self.simulation.store();
        let violations = store.read(|reader| audit(reader, now)).expect("it reads");
        assert_eq!(violations, []);
        let quarantined = store.read(|reader| reader.quarantined());
        assert_eq!(quarantined.expect("it reads"), []);
        self.nothing_acknowledged_is_missing();
        self.keys_have_one_open_incident();
        self.logs_make_their_incidents();
        self.page_ids_name_one_page();
        self.every_page_ended();
    }

    fn nothing_acknowledged_is_missing(&self) {
        let store = self.simulation.store();
        let mut fired: BTreeMap<Fingerprint, u64> = BTreeMap::new();
        for acknowledged in &self.acknowledged {
            match acknowledged {
                Acknowledged::Reported(report, recorded) => {
                    for number in recorded.opened.union(&recorded.joined) {
                        let read = self.simulation.incident(*number).expect("it reads");
                        assert!(read.is_some(), "incident {number}");
                    }
                    for sighting in &report.sightings {
                        if matches!(sighting.said, Said::Signal(Signal::Firing)) {
                            *fired.entry(sighting.labels.fingerprint()).or_default() += 1;
                        }
                    }
                }
                Acknowledged::Asked { number, last } => {
                    assert_eq!(&self.entry(*number, last.seq), last, "incident {number}");
                }
            }
        }
        for (fingerprint, n) in fired {
            let listed = store.read(|reader| lists::listed(reader, fingerprint));
            let received = listed
                .expect("it reads")
                .map_or(0, |found| found.seen.received);
            assert!(
                received >= n,
                "{fingerprint}: {n} were taken, {received} are counted"
            );
        }
    }

    fn keys_have_one_open_incident(&self) {
        let mut open = BTreeSet::new();
        for incident in self.incidents().iter().filter(|known| known.is_open()) {
            if let Some(key) = &incident.opened.dedup_key {
                assert!(open.insert(key.clone()), "two are open for {key}");
            }
        }
    }

    fn logs_make_their_incidents(&self) {
        let store = self.simulation.store();
        for incident in self.incidents() {
            let number = incident.number();
            let log = store.read(|reader| reader.entries(number, 1, u64::MAX));
            let log = log.expect("it reads");
            let numbered: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
            assert_eq!(numbered, Vec::from_iter(1..=incident.seq));
            assert_eq!(Incident::replay(&log).as_ref(), Some(incident.as_ref()));
            let mut serials = BTreeSet::new();
            for issue in log.iter().flat_map(|entry| issued(&entry.event)) {
                assert!(serials.insert(issue.serial), "page {}", issue.serial);
            }
        }
    }

    /// An id names one page to one contact, and what arrived goes out again only after a fault.
    fn page_ids_name_one_page(&self) {
        let mut known = BTreeMap::new();
        let mut again = BTreeSet::new();
        for sent in self.simulation.sent() {
            let message = &sent.message;
            let page = (
                message.incident.number,
                message.to.clone(),
                message.address.clone(),
                message.step,
            );
            let (before, arrived) = known
                .entry(message.page_id.clone())
                .or_insert((page.clone(), false));
            assert_eq!(before, &page, "page id {}", message.page_id);
            if *arrived {
                again.insert(message.page_id.clone());
            }
            *arrived |= matches!(sent.outcome, Outcome::Delivered { .. });
        }
        assert!(
            again.len() <= self.n_faults,
            "{again:?} went out again after {} faults",
            self.n_faults
        );
    }

    fn every_page_ended(&self) {
        let (store, now) = (self.simulation.store(), self.simulation.now());
        for incident in self.incidents() {
            let pages = store.read(|reader| reader.pages(incident.number()));
            for page in pages.expect("it reads") {
                let is_due_later = page.next_at.is_some_and(|at| at > now);
                assert!(page.state.has_ended() || is_due_later, "{page:?}");
            }
        }
    }
}

fn issued(event: &Event) -> &[PageIssue] {
    match event {
        Event::StepRan { pages, .. }
        | Event::Exhausted { pages, .. }
        | Event::Paged { pages }
        | Event::Told { pages, .. } => pages,
        _ => &[],
    }
}

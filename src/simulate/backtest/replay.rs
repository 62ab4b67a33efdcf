//! The replay: transitions of alerts in their order, through the store's own transactions under the rules that are tried, by a clock
//! that goes from one thing that is due to the next.

mod carried;
mod lasting;
mod people;
mod storms;

use crate::domain::alert::{Alert, Fingerprint, Routed, Status};
use crate::domain::incident::{Entry, Event, Incident};
use crate::domain::rule::RuleSet;
use crate::domain::severity::Profile;
use crate::domain::silence::Silence;
use crate::domain::time::Timestamp;
use crate::simulate::backtest::ahead::{self, Told};
use crate::simulate::backtest::lives::{Lives, Of, was_open_since};
use crate::simulate::backtest::past::{Survey, Words};
use crate::simulate::backtest::replay::carried::Members;
use crate::simulate::backtest::replay::people::Assumed;
use crate::simulate::backtest::replay::storms::Teams;
use crate::simulate::backtest::sums::{Brief, Dictionary, Draft, Fired, Side, Span};
use crate::simulate::backtest::{Ended, Step};
use crate::store::history;
use crate::store::records::{Change, Seen, Transition};
use crate::store::replay::{self, Scratch, Touched};
use crate::store::{Error, InForce, Store, Tx};
use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use std::thread::{self, Scope};
use std::time::Duration;

/// Alerts of one transaction in which no time passes.
const TOGETHER_MAX: usize = 200;

/// So often rules are asked whether other intervals have begun.
const MINUTE_MS: i64 = 60_000;

/// Things done between two signs of life.
const SIGN_EVERY: u32 = 512;

/// An alert of a transition, as it was.
enum Says {
    Fires(Box<Alert>),
    Resolves,
    GoesStale,
}

/// Where an alert stands after it fired.
struct Stands {
    fingerprint: Fingerprint,
    counts: bool,
    key: Option<String>,
    /// No rule opened it.
    is_unopened: bool,
    /// What the rules did with it, and whether a cause holds it; none where they dropped it.
    routed: Option<(Routed, bool)>,
}

/// What is needed of everything that happened.
pub(super) struct Past<'p> {
    pub(super) history: &'p Store,
    pub(super) span: Span,
    pub(super) survey: &'p mut Survey,
    pub(super) dictionary: &'p mut Dictionary,
    /// The rules that are live.
    pub(super) live: &'p RuleSet,
    /// Is told of each incident that happened.
    pub(super) happened: &'p mut dyn FnMut(Brief, &mut Dictionary),
    /// Is told of each transition that was replayed.
    pub(super) goes_on: &'p mut dyn FnMut(Step) -> Result<(), Ended>,
}

/// History under some rules.
pub(super) struct Replay<'p> {
    past: Past<'p>,
    store: Scratch,
    in_force: InForce,
    acknowledge_after: Duration,
    at: Timestamp,
    words: Words,
    lives: Lives,
    silences: VecDeque<Silence>,
    /// The incident here that stands for one that happened.
    pairs: BTreeMap<u64, u64>,
    /// The last storm of each team here.
    storms: BTreeMap<Of, u64>,
    /// Until when people do something with one here.
    done_until: BTreeMap<u64, Timestamp>,
    pages: BTreeSet<(Timestamp, u64)>,
    assumed: BTreeSet<(Timestamp, u64, Assumed)>,
    closed: BTreeSet<(Timestamp, u64)>,
    /// What is said of those that are not gone yet.
    drafts: BTreeMap<u64, Draft>,
    /// Alerts that fire and that no rule opened.
    unopened: BTreeSet<Fingerprint>,
    standing: String,
    looks_at: Option<Timestamp>,
    n_done: u64,
    n_unsigned: u32,
    /// Is told of each incident that would have been.
    would: &'p mut dyn FnMut(&Brief),
    side: Side,
}

impl<'p> Replay<'p> {
    /// Everything from the beginning of the span to its end.
    pub(super) fn run(
        past: Past<'p>,
        in_force: InForce,
        acknowledge_after: Duration,
        would: &'p mut dyn FnMut(&Brief),
    ) -> Result<Side, Ended> {
        let history = past.history;
        thread::scope(|scope| {
            Self::run_reading(scope, history, past, in_force, acknowledge_after, would)
        })
    }

    fn run_reading<'s>(
        scope: &'s Scope<'s, '_>,
        history: &'s Store,
        past: Past<'p>,
        in_force: InForce,
        acknowledge_after: Duration,
        would: &'p mut dyn FnMut(&Brief),
    ) -> Result<Side, Ended> {
        let span = past.span;
        past.survey.alerts.rewind();
        let shortly = shortly_before(&in_force, past.live);
        let lives = Lives::of(scope, history, span, shortly)?;
        let silences = history.read(|reader| history::silences(reader, span.since))?;
        let mut silences: Vec<Silence> = silences
            .into_iter()
            .filter(|silence| silence.starts_at <= span.until)
            .collect();
        silences.sort_by(|one, other| (comes_at(one), &one.id).cmp(&(comes_at(other), &other.id)));
        let mut replay = Self {
            past,
            store: Scratch::default(),
            in_force,
            acknowledge_after,
            at: span.since,
            words: Words::default(),
            lives,
            silences: silences.into(),
            pairs: BTreeMap::new(),
            storms: BTreeMap::new(),
            done_until: BTreeMap::new(),
            pages: BTreeSet::new(),
            assumed: BTreeSet::new(),
            closed: BTreeSet::new(),
            drafts: BTreeMap::new(),
            unopened: BTreeSet::new(),
            standing: String::new(),
            looks_at: None,
            n_done: 0,
            n_unsigned: 0,
            would,
            side: Side::default(),
        };
        replay.begin()?;
        let mut ahead = ahead::transitions(scope, history, span, true)?;
        while let Some(told) = ahead.next()? {
            replay.page(told)?;
        }
        replay.advance(span.until)?;
        replay.end()
    }

    // ---- the beginning and the end ----

    /// As things stood when the span began.
    fn begin(&mut self) -> Result<(), Ended> {
        let (history, span) = (self.past.history, self.past.span);
        let overrides = history.read(history::overrides)?;
        let last = self.lives.last_number;
        self.transact(move |tx, its, _now| replay::begin(tx, last, &overrides, its))?;
        // Nothing is looked at before all is there: neither what is muted without what mutes it, nor that without what it is to mute.
        self.silences_begin(span.since.shifted(-1))?;
        let (mut members, mut teams) = (Members::new(), Teams::new());
        while let Some(opened) = self.lives.opened_before(span.since)? {
            self.tell_happened(opened.brief);
            if let Some(incident) = Incident::replay(&opened.before) {
                storms::note(&mut teams, &incident, &opened.before);
                self.carry(incident, opened.before, &mut members)?;
            }
            self.sign()?;
        }
        self.carry_storms(teams)?;
        let seeded = self.carry_alerts(&members)?;
        self.carry_lasting(seeded)
    }

    /// Incidents that are not gone yet are told of as they are.
    fn end(mut self) -> Result<Side, Ended> {
        for number in self.store.incidents() {
            self.tell_would(number)?;
        }
        self.side.of = self.past.survey.alerts.sorted(|known| known.came_to);
        Ok(self.side)
    }

    // ---- what alerts said ----

    fn page(&mut self, page: Told) -> Result<(), Ended> {
        let Told { some, known } = page;
        for group in some.chunk_by(|(one, _), (next, _)| one == next) {
            let Some((at, _)) = group.first() else {
                continue;
            };
            self.advance(*at)?;
            for some in group.chunks(TOGETHER_MAX) {
                let told: Vec<(Fingerprint, bool, Says)> = some
                    .iter()
                    .filter_map(|(_, transition)| self.told(transition, &known))
                    .collect();
                self.tell(told)?;
            }
            self.n_done += u64::try_from(group.len()).unwrap_or(u64::MAX);
        }
        self.sign()
    }

    /// What a transition says; nothing where it follows from rules.
    fn told(
        &mut self,
        transition: &Transition,
        known: &BTreeMap<Fingerprint, Alert>,
    ) -> Option<(Fingerprint, bool, Says)> {
        let fingerprint = transition.fingerprint;
        if let Some(of) = self.past.survey.alerts.get_mut(fingerprint) {
            of.live = transition.incident.or(of.live);
        }
        let told = match transition.change {
            Change::Resolved => Says::Resolves,
            Change::Stale => Says::GoesStale,
            // That it waited long enough, or that nothing inhibits it any more, follows again, or does not.
            Change::Changed if transition.reworded.is_none() => return None,
            Change::Fired | Change::Changed => {
                let alert = known.get(&fingerprint)?.clone();
                let survey = &*self.past.survey;
                let alert = match &transition.reworded {
                    None => self.words.then(survey, fingerprint, alert),
                    Some(reworded) => self.words.reworded(survey, fingerprint, alert, reworded),
                };
                let of = |name: &str| alert.attributes.get(name).map(str::to_owned);
                Says::Fires(Box::new(Alert {
                    source: of("source").unwrap_or_else(|| transition.source.clone()),
                    kind: of("kind").unwrap_or_else(|| alert.kind.clone()),
                    outcome: transition.outcome,
                    starts_at: transition.starts_at.unwrap_or(self.at),
                    ..alert
                }))
            }
        };
        Some((fingerprint, transition.change == Change::Fired, told))
    }

    fn tell(&mut self, told: Vec<(Fingerprint, bool, Says)>) -> Result<(), Ended> {
        if told.is_empty() {
            return Ok(());
        }
        let stands = self.transact(move |tx, its, now| {
            let mut stands: Vec<Stands> = Vec::with_capacity(told.len());
            for (fingerprint, counts, told) in causes_first(tx, told, its)? {
                match told {
                    Says::Resolves => replay::resolves(tx, fingerprint, its, now)?,
                    Says::GoesStale => replay::goes_stale(tx, fingerprint, its, now)?,
                    Says::Fires(alert) => {
                        replay::fires(tx, &alert, fingerprint, its, now)?;
                        stands.push(stands_of(tx, fingerprint, counts)?);
                        continue;
                    }
                }
                stands.push(Stands {
                    fingerprint,
                    counts: false,
                    key: None,
                    is_unopened: false,
                    routed: None,
                });
            }
            Ok(stands)
        })?;
        for stands in stands {
            self.note(&stands);
        }
        Ok(())
    }

    fn note(&mut self, stands: &Stands) {
        match stands.is_unopened {
            true => self.unopened.insert(stands.fingerprint),
            false => self.unopened.remove(&stands.fingerprint),
        };
        if let Some(key) = &stands.key {
            let key = self.past.dictionary.keys.number(key);
            if let Some(known) = self.past.survey.alerts.get_mut(stands.fingerprint) {
                known.came_to = Some(key);
            }
        }
        if stands.counts {
            count(&mut self.side.fired, stands.routed);
        }
    }

    // ---- what is due ----

    /// Brings the time to `to`, stopping wherever something is due.
    fn advance(&mut self, to: Timestamp) -> Result<(), Ended> {
        loop {
            self.do_due()?;
            let next = self.next_due()?;
            let Some(next) = next.filter(|next| *next <= to) else {
                break;
            };
            self.at = self.at.max(next);
            self.do_due()?;
            self.do_others()?;
            self.n_unsigned += 1;
            if self.n_unsigned >= SIGN_EVERY {
                self.sign()?;
            }
        }
        self.at = self.at.max(to);
        self.do_due()
    }

    fn next_due(&mut self) -> Result<Option<Timestamp>, Ended> {
        self.looks_at = match self.in_force.rules.has_intervals() && !self.unopened.is_empty() {
            true => self.looks_at.or_else(|| Some(next_minute(self.at))),
            false => None,
        };
        let all = [
            self.store.read(replay::next_due)?,
            self.lives.opens_at(),
            self.lives.acts_at(),
            self.silences.front().map(comes_at),
            self.pages.first().map(|(at, _)| *at),
            self.assumed.first().map(|(at, ..)| *at),
            self.closed.first().map(|(at, _)| *at),
            self.looks_at,
        ];
        Ok(all.into_iter().flatten().min())
    }

    /// What is due in the store, until nothing is.
    fn do_due(&mut self) -> Result<(), Ended> {
        loop {
            let due = self.store.read(replay::next_due)?;
            if due.is_none_or(|due| due > self.at) {
                return Ok(());
            }
            self.transact(replay::do_due)?;
        }
    }

    /// What is due beside the store: silences, people, what is taken for granted, intervals.
    fn do_others(&mut self) -> Result<(), Ended> {
        let now = self.at;
        self.silences_begin(now)?;
        self.do_due()?;
        while let Some((_, number)) = first_until(&mut self.pages, |(at, _)| *at <= now) {
            self.transact(move |tx, its, now| replay::look(tx, number, its, now))?;
            self.do_due()?;
        }
        while let Some(opened) = self.lives.opened_before(now.shifted(1))? {
            self.tell_happened(opened.brief);
        }
        while let Some((number, acts)) = self.lives.next_acts(now) {
            self.act(number, acts)?;
            self.do_due()?;
        }
        while let Some((_, number, assumed)) = first_until(&mut self.assumed, |(at, ..)| *at <= now)
        {
            if self.assume(number, assumed)? {
                self.do_due()?;
            }
        }
        while let Some((_, number)) = first_until(&mut self.closed, |(at, _)| *at <= now) {
            self.forget(number)?;
        }
        if self.looks_at.is_some_and(|at| at <= now) {
            self.looks_at = None;
            self.judge_again()?;
        }
        Ok(())
    }

    /// Those that come until then.
    fn silences_begin(&mut self, until: Timestamp) -> Result<(), Ended> {
        while let Some(silence) = self
            .silences
            .pop_front_if(|silence| comes_at(silence) <= until)
        {
            self.transact(move |tx, _its, now| replay::silence(tx, &silence, now))?;
        }
        Ok(())
    }

    /// Other intervals may have begun: what no rule opened is heard again by its sender, and judged anew. Where the live rules have the
    /// same boundary, it is known when that was: it is told then.
    fn judge_again(&mut self) -> Result<(), Ended> {
        let standing = self.in_force.rules.standing(self.at);
        if standing == self.standing {
            return Ok(());
        }
        self.standing = standing;
        let (live, before) = (self.past.live, self.at.shifted(-MINUTE_MS));
        let is_boundary = live.standing(self.at) != live.standing(before);
        let unopened: Vec<Fingerprint> = self.unopened.iter().copied().collect();
        for some in unopened.chunks(TOGETHER_MAX) {
            let mut told = Vec::new();
            for fingerprint in some {
                let told_at = self.past.survey.judged_again.get(fingerprint);
                if is_boundary && told_at.is_some_and(|at| *at >= self.at) {
                    continue;
                }
                if self.is_heard_after(*fingerprint)?
                    && let Some(alert) = self.store.read(|reader| reader.alert(*fingerprint))?
                {
                    told.push((*fingerprint, false, Says::Fires(Box::new(alert))));
                }
            }
            self.tell(told)?;
            self.do_due()?;
        }
        Ok(())
    }

    fn is_heard_after(&self, fingerprint: Fingerprint) -> Result<bool, Ended> {
        let now = self.at;
        let last = self.past.history.read(|reader| {
            let seen = reader.seen(fingerprint)?;
            let alert = reader.alert(fingerprint)?;
            let first = alert.as_ref().map(Seen::first_of);
            Ok(seen.or(first).map(|seen| seen.last_at))
        })?;
        Ok(last.is_some_and(|last| last >= now))
    }

    // ---- one transaction ----

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_, '_>, &InForce, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Ended> {
        let (its, now) = (&self.in_force, self.at);
        let (done, touched) = self.store.transact(its, now, |tx| work(tx, its, now))?;
        for (number, entries) in self.store.take_said() {
            self.draft(number, &entries);
        }
        for touched in &touched {
            self.follow(touched);
        }
        Ok(done)
    }

    /// Reads on in the log of an incident.
    fn draft(&mut self, number: u64, entries: &[Entry]) {
        let span = self.past.span;
        if let Some(Event::Opened(opened)) = entries.first().map(|first| &first.event)
            && opened.storm.is_some()
            && let Some(of) = Of::by(opened)
        {
            self.storms.insert(of, number);
        }
        let mut entries = entries.iter();
        if let btree_map::Entry::Vacant(new) = self.drafts.entry(number)
            && let Some(draft) = entries.next().and_then(|first| Draft::begin(first, span))
        {
            new.insert(draft);
        }
        if let Some(draft) = self.drafts.get_mut(&number) {
            entries.for_each(|entry| draft.add(entry, span));
        }
    }

    fn follow(&mut self, of: &Touched) {
        let (now, number) = (self.at, of.number);
        if let Some(at) = of.page_at.filter(|at| *at > now) {
            self.pages.insert((at, number));
        }
        if of.paged && of.is_open && !of.is_acknowledged {
            let at = now.plus(self.acknowledge_after);
            self.assumed.insert((at, number, Assumed::Acknowledge));
        }
        if let (Some(since), Profile::Full, true) = (of.clear_since, of.profile, of.is_open) {
            let at = since.plus(of.window).max(now.shifted(1));
            self.assumed.insert((at, number, Assumed::Close));
        }
        if let Some(closed) = of.closed_at {
            // What began before it closed does not count for its key.
            let is_asked_for = of.reopen_within.max(self.in_force.rules.longest_wait());
            let at = closed.plus(is_asked_for).max(now).shifted(1);
            self.closed.insert((at, number));
        }
    }

    // ---- telling ----

    fn tell_happened(&mut self, brief: Option<Brief>) {
        if let Some(brief) = brief {
            (self.past.happened)(brief, self.past.dictionary);
        }
    }

    fn tell_would(&mut self, number: u64) -> Result<(), Ended> {
        let incident = self.store.read(|reader| reader.incident(number))?;
        let closed_at = incident.and_then(|incident| incident.closed_at);
        if let Some(draft) = self.drafts.remove(&number)
            && was_open_since(closed_at, self.past.span.since)
        {
            let brief = draft.end(self.past.span);
            self.side.add(&brief, self.past.dictionary);
            (self.would)(&brief);
        }
        Ok(())
    }

    /// One that closed so long ago that it cannot reopen is told of, and is gone.
    fn forget(&mut self, number: u64) -> Result<(), Ended> {
        let incident = self.store.read(|reader| reader.incident(number))?;
        let Some(incident) = incident else {
            return Ok(());
        };
        let is_gone = incident
            .closed_at
            .is_some_and(|at| self.at.since(at) >= incident.reopen_within());
        // People can reopen what alerts cannot.
        if let Some(until) = self
            .done_until
            .get(&number)
            .filter(|until| **until > self.at)
        {
            self.closed.insert((until.shifted(1), number));
            return Ok(());
        }
        if is_gone {
            self.done_until.remove(&number);
            self.tell_would(number)?;
            self.store.forget(number);
        }
        Ok(())
    }

    fn sign(&mut self) -> Result<(), Ended> {
        self.n_unsigned = 0;
        (self.past.goes_on)(Step::Replayed(self.n_done))
    }
}

/// How long before the span what happened counts in it: for the keys that waited, and for the storms of teams.
fn shortly_before(tried: &InForce, live: &RuleSet) -> Duration {
    let waits = live.longest_wait().max(tried.rules.longest_wait());
    let storm = tried.book.storm.map(|cap| cap.within());
    waits.max(storm.unwrap_or_default())
}

/// As reports are taken: what may inhibit comes before what it may inhibit.
fn causes_first(
    tx: &Tx<'_, '_>,
    told: Vec<(Fingerprint, bool, Says)>,
    in_force: &InForce,
) -> Result<Vec<(Fingerprint, bool, Says)>, Error> {
    if in_force.rules.inhibitions.is_empty() || told.len() < 2 {
        return Ok(told);
    }
    let mut ranked = Vec::with_capacity(told.len());
    for told in told {
        let rank = match &told.2 {
            Says::Fires(alert) => replay::rank(alert, in_force),
            Says::Resolves | Says::GoesStale => {
                let alert = tx.read().alert(told.0)?;
                alert.map_or((true, false), |alert| replay::rank(&alert, in_force))
            }
        };
        ranked.push((rank, told));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    Ok(ranked.into_iter().map(|(_, told)| told).collect())
}

fn stands_of(tx: &Tx<'_, '_>, fingerprint: Fingerprint, counts: bool) -> Result<Stands, Error> {
    let mut stands = Stands {
        fingerprint,
        counts,
        key: None,
        is_unopened: false,
        routed: None,
    };
    let incident = tx.read().with_alert(fingerprint, |alert| {
        stands.is_unopened = alert.judged_by.is_some() && alert.status == Status::Firing;
        stands.routed = Some((alert.routed, alert.held_by.is_some()));
        stands.key.clone_from(&alert.pending_key);
        alert.incident
    })?;
    if let (Some(number), None) = (incident.flatten(), &stands.key) {
        let key = tx.with(number, |incident| incident.opened.dedup_key.clone())?;
        stands.key = key.flatten();
    }
    Ok(stands)
}

fn count(fired: &mut Fired, routed: Option<(Routed, bool)>) {
    match routed {
        None => fired.dropped += 1,
        Some((Routed::Record, _)) => fired.recorded += 1,
        Some((Routed::Unrouted, _)) => fired.unrouted += 1,
        Some((Routed::Open, true)) => fired.inhibited += 1,
        Some((Routed::Open, false)) => fired.joined += 1,
    }
}

/// When a silence is there: before it begins where it was made before that, so that it mutes what is due just then.
fn comes_at(silence: &Silence) -> Timestamp {
    match silence.updated_at < silence.starts_at {
        true => silence.starts_at.shifted(-1),
        false => silence.starts_at,
    }
}

fn next_minute(at: Timestamp) -> Timestamp {
    let minutes = at.as_millis().div_euclid(MINUTE_MS);
    Timestamp::from_millis(minutes.saturating_add(1).saturating_mul(MINUTE_MS))
}

/// Takes the first away, where it is due.
fn first_until<T: Ord>(all: &mut BTreeSet<T>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    match all.first() {
        Some(first) if is_due(first) => all.pop_first(),
        Some(_) | None => None,
    }
}

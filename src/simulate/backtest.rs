//! Backtest: history judged again by other rules, and how what would have been differs from what happened, or from what a third set
//! of rules would have made of it.
//!
//! What alerts said is told once more, in its order, to a store of its own in memory by the very transactions that live reports go
//! through; what people did is done with the incident that stands for theirs. Memory is bounded by what was live at one instant, by
//! the alerts of the span (a few words each), and by the keys.

mod ahead;
mod lives;
mod past;
mod replay;
pub mod report;
pub mod sums;

use crate::domain::oncall::Book;
use crate::domain::rule::{Action, RuleSet};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::past::{ALERTS_MAX, Survey};
use crate::simulate::backtest::replay::{Past, Replay};
use crate::simulate::backtest::report::{Compared, Report};
use crate::simulate::backtest::sums::{Brief, Dictionary, Fired, Side, Span};
use crate::store::{Error, InForce, Store};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// How long after its first page an incident that did not happen is taken to be acknowledged, where nobody says.
pub const ACKNOWLEDGE_AFTER: Duration = Duration::from_secs(300);

/// What is to be judged again.
#[derive(Clone, Debug)]
pub struct Asked {
    pub span: Span,
    pub acknowledge_after: Duration,
    /// The rules that are tried, with the people of today.
    pub tried: InForce,
    /// What they are compared with, where that is not what happened.
    pub against: Option<Arc<RuleSet>>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("more than {ALERTS_MAX} different alerts are in this span; ask for a shorter one")]
    TooManyAlerts,
    #[error("nobody waits for it any more")]
    Cancelled,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many transitions of alerts have been read.
    Read(u64),
    /// So many of all have been judged.
    Judged { done: u64, of: u64 },
}

/// Who is told how far it is, and whether to go on.
pub type Tell<'t> = dyn FnMut(Progress) -> ControlFlow<()> + 't;

/// A sign from the replay: so many transitions are done.
#[derive(Clone, Copy, Debug)]
enum Step {
    Replayed(u64),
}

/// Both sides, as incidents came to them.
#[derive(Debug)]
pub struct Compare<'c> {
    pub span: Span,
    pub survey_alerts: usize,
    pub n_fired: u64,
    pub then: &'c Side,
    pub now: &'c Side,
    pub dictionary: &'c Dictionary,
    pub compared: Compared,
}

/// Each incident of both sides, once it is known whole.
pub trait Witness {
    fn then(&mut self, brief: &Brief);
    fn now(&mut self, brief: &Brief);
}

/// Nobody looks at single incidents.
struct NoWitness;

impl Witness for NoWitness {
    fn then(&mut self, _brief: &Brief) {}
    fn now(&mut self, _brief: &Brief) {}
}

/// Judges history again. It reads the store a page at a time, and changes nothing of it.
pub fn run(
    history: &Store,
    asked: &Asked,
    live: &RuleSet,
    tell: &mut Tell<'_>,
) -> Result<Report, Ended> {
    run_seen(history, asked, live, tell, &mut NoWitness)
}

/// The same before a witness.
pub fn run_seen(
    history: &Store,
    asked: &Asked,
    live: &RuleSet,
    tell: &mut Tell<'_>,
    witness: &mut dyn Witness,
) -> Result<Report, Ended> {
    let span = asked.span;
    // It sees both sides as they come.
    let witness = RefCell::new(witness);
    let mut dictionary = Dictionary::default();
    let mut survey = Survey::of_all(history, span, &mut dictionary.keys, &mut |read| {
        going_on(tell(Progress::Read(read)))
    })?;
    let n_replays = 1 + u64::from(asked.against.is_some());
    let of = survey.n_transitions.saturating_mul(n_replays);
    let mut before = 0;
    let then = match &asked.against {
        None => None,
        Some(rules) => {
            let in_force = of_rules(&asked.tried, Arc::clone(rules));
            let past = Past {
                history,
                span,
                survey: &mut survey,
                dictionary: &mut dictionary,
                live,
                happened: &mut |_brief, _dictionary| {},
                goes_on: &mut |Step::Replayed(done)| going_on(tell(Progress::Judged { done, of })),
            };
            let after = asked.acknowledge_after;
            let side = Replay::run(past, in_force, after, &mut |brief| {
                witness.borrow_mut().then(brief);
            })?;
            before = survey.n_transitions;
            Some(side)
        }
    };
    let mut happened = Side::default();
    let compares_rules = then.is_some();
    let now = {
        let past = Past {
            history,
            span,
            survey: &mut survey,
            dictionary: &mut dictionary,
            live,
            happened: &mut |brief, dictionary| {
                if !compares_rules {
                    happened.add(&brief, dictionary);
                    witness.borrow_mut().then(&brief);
                }
            },
            goes_on: &mut |Step::Replayed(done)| {
                let done = before.saturating_add(done);
                going_on(tell(Progress::Judged { done, of }))
            },
        };
        let in_force = of_rules(&asked.tried, Arc::clone(&asked.tried.rules));
        Replay::run(past, in_force, asked.acknowledge_after, &mut |brief| {
            witness.borrow_mut().now(brief);
        })?
    };
    let then = then.unwrap_or_else(|| {
        happened.of = survey.alerts.sorted(|known| known.key);
        happened.fired = Fired {
            joined: survey.n_joined,
            unrouted: survey.n_fired.saturating_sub(survey.n_joined),
            ..Fired::default()
        };
        happened
    });
    let compare = Compare {
        span,
        survey_alerts: survey.alerts.len(),
        n_fired: survey.n_fired,
        then: &then,
        now: &now,
        dictionary: &dictionary,
        compared: Compared {
            tried: asked.tried.rules.revision.clone(),
            against: asked.against.as_ref().map(|rules| rules.revision.clone()),
            acknowledge_after: asked.acknowledge_after,
            dropping: dropping(live),
        },
    };
    Ok(Report::of(&compare))
}

fn going_on(flow: ControlFlow<()>) -> Result<(), Ended> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Ended::Cancelled),
    }
}

/// These rules with the same people; nobody pings in a replay.
fn of_rules(tried: &InForce, rules: Arc<RuleSet>) -> InForce {
    let book = Book {
        heartbeats: BTreeMap::new(),
        ..(*tried.book).clone()
    };
    InForce {
        rules,
        book: Arc::new(book),
    }
}

/// Rules that drop what they match.
fn dropping(rules: &RuleSet) -> Vec<String> {
    let rules = rules.rules().iter();
    let dropping = rules.filter(|rule| rule.settings.action == Some(Action::Drop));
    dropping.map(|rule| rule.name.clone()).collect()
}

/// The span that ends now and is so long.
pub fn span(since: Duration, now: Timestamp) -> Span {
    Span {
        since: now.minus(since),
        until: now,
    }
}

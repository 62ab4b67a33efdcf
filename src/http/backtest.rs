//! Backtest: history judged by rules that are posted, beside live work and one at a time. It answers in lines as it goes on, and ends
//! when whoever asked goes away.

use crate::clock::Clock;
use crate::domain::rule::RuleSet;
use crate::domain::time::{parse_span, show_span};
use crate::http::auth::Admin;
use crate::http::body::Large;
use crate::http::openapi::problems::Unjudged;
use crate::http::openapi::words;
use crate::http::problem::Problem;
use crate::http::{Current, LiveSite};
use crate::rules::{Context, load_texts};
use crate::simulate::backtest::{ACKNOWLEDGE_AFTER, Asked, Ended, Progress, run, span};
use crate::store::engine::panic_text;
use crate::store::{InForce, Store};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

/// Lines that wait for whoever asked; with more the backtest waits.
pub const LINES_MAX: usize = 16;

/// After each line the backtest lets others go first for so long.
const PAUSE: Duration = Duration::from_millis(1);

/// Files of one rule set.
const FILES_MAX: usize = 1_000;

/// Who may begin a backtest: one at a time.
#[derive(Clone, Debug)]
pub struct Backtests(Arc<Semaphore>);

impl Backtests {
    pub fn at_once(n: usize) -> Self {
        Self(Arc::new(Semaphore::new(n)))
    }
}

impl Default for Backtests {
    fn default() -> Self {
        Self::at_once(1)
    }
}

/// What is to be judged, by which rules.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Backtest)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// So far back.
    #[schema(value_type = words::Span)]
    since: String,
    #[schema(max_items = 1000)]
    rules: Vec<RuleFile>,
    /// Rules to compare these with; what happened, where there are none.
    #[schema(max_items = 1000)]
    against: Option<Vec<RuleFile>>,
    #[schema(value_type = Option<words::Span>)]
    acknowledge_after: Option<String>,
}

/// A file of rules, as it lies on a disk that is not ours.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    name: String,
    text: String,
}

/// Judges history again. The answer is lines of JSON: `progress`, and at the end `report` or `error`.
#[utoipa::path(
    post,
    path = "/rules/backtest",
    operation_id = "backtestRules",
    security(("bearer" = ["admin"])),
    request_body = Wanted,
    responses(
        (
            status = 200,
            description = "Lines of JSON: `progress`, and at the end `report` or `error`",
            body = String,
            content_type = "application/x-ndjson",
        ),
        Unjudged,
    )
)]
pub async fn backtest(
    Admin(actor): Admin,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
    State(backtests): State<Backtests>,
    Large(wanted): Large<Wanted>,
) -> Result<Response, Problem> {
    let current = live.load_full();
    let since = duration(&wanted.since, "$.since")?;
    let acknowledge_after = match &wanted.acknowledge_after {
        Some(after) => duration(after, "$.acknowledge_after")?,
        None => ACKNOWLEDGE_AFTER,
    };
    let tried = rules(&current, &wanted.rules, "$.rules")?;
    let against = wanted.against.as_deref();
    let against = against.map(|files| rules(&current, files, "$.against"));
    let asked = Asked {
        span: span(since, clock.now()),
        acknowledge_after,
        tried: InForce {
            rules: Arc::new(tried),
            book: Arc::clone(&current.in_force.book),
        },
        against: against.transpose()?.map(Arc::new),
    };
    let Ok(permit) = Arc::clone(&backtests.0).try_acquire_owned() else {
        let detail = "a backtest is running; there is one at a time";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    tracing::info!(
        by = actor.token.as_deref().unwrap_or("anonymous"),
        since = show_span(since),
        "a backtest begins"
    );
    let (lines, answer) = mpsc::channel(LINES_MAX);
    // It ends by itself when nobody takes its lines any more.
    drop(tokio::task::spawn_blocking(move || {
        judge(&store, &asked, &current.in_force.rules, &lines, permit);
    }));
    let body = Body::new(Lines(answer));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn duration(text: &str, path: &str) -> Result<Duration, Problem> {
    parse_span(text).map_err(|error| Problem::bad_request(error.to_string()).at(path))
}

fn rules(current: &Current, files: &[RuleFile], path: &str) -> Result<RuleSet, Problem> {
    if files.len() > FILES_MAX {
        let n = files.len();
        let detail = format!("at most {FILES_MAX} files of rules are taken, found {n}");
        return Err(Problem::bad_request(detail).at(path));
    }
    let InForce { rules, book } = &current.in_force;
    let context = Context {
        zone: current.zone,
        matrix: &rules.matrix,
        book,
    };
    let texts = files.iter();
    let texts: Vec<(&str, &str)> = texts
        .map(|file| (file.name.as_str(), file.text.as_str()))
        .collect();
    let loaded = load_texts(&texts, context);
    loaded.rules.ok_or_else(|| {
        let errors = loaded.findings.iter().map(ToString::to_string).collect();
        let detail = "the rules have errors";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            .at(path)
            .with_errors(errors)
    })
}

fn judge(
    store: &Store,
    asked: &Asked,
    live: &RuleSet,
    lines: &Sender<Bytes>,
    permit: OwnedSemaphorePermit,
) {
    let mut tell = |progress| {
        let sent = lines.blocking_send(line(&json!({ "progress": shown(progress) })));
        std::thread::park_timeout(PAUSE);
        match sent {
            Ok(()) => ControlFlow::Continue(()),
            Err(_gone) => ControlFlow::Break(()),
        }
    };
    let judged = catch_unwind(AssertUnwindSafe(|| run(store, asked, live, &mut tell)));
    let last = match judged {
        Ok(Ok(report)) => json!({ "report": report }),
        Ok(Err(Ended::Cancelled)) => {
            tracing::info!("a backtest was given up by whoever asked for it");
            return;
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "a backtest failed");
            json!({ "error": error.to_string() })
        }
        Err(panic) => {
            let why = panic_text(panic.as_ref());
            tracing::error!(why, "a backtest panicked");
            json!({ "error": "history could not be judged" })
        }
    };
    // The next may begin before this one's report is taken.
    drop(permit);
    drop(lines.blocking_send(line(&last)));
}

fn shown(progress: Progress) -> Value {
    match progress {
        Progress::Read(read) => json!({ "read": read }),
        Progress::Judged { done, of } => json!({ "judged": done, "of": of }),
    }
}

fn line(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}

/// An answer that is made while it is sent.
struct Lines(Receiver<Bytes>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.0.poll_recv(context);
        polled.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

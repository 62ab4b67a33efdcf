//! GitHub's webhooks `deployment` and `deployment_status`: a deployment, and how far it has come. All other events are taken
//! and say nothing.

use super::{
    Found, MAX_NAME_CHARS, Reading, deployment_id, name, read_status, summary_of, version_of, web,
};
use crate::domain::alert::Labels;
use crate::domain::change::{About, Status};
use crate::ingest::json::{self, Bad, Field};
use crate::ingest::read_time;
use serde_json::value::RawValue;

/// A deployment that another one took the place of: nothing was changed by that.
const INACTIVE: &str = "\"inactive\"";

/// What is said in these is read; the name of the event is none where the header was lost on the way.
pub(super) fn read(
    root: &RawValue,
    event: Option<&str>,
    reading: &mut Reading<'_>,
) -> Result<Option<Found>, Bad> {
    if event.is_some_and(|event| event != "deployment" && event != "deployment_status") {
        return Ok(None);
    }
    let [deployment, status, repository, run] = json::fields(
        root,
        [
            "deployment",
            "deployment_status",
            "repository",
            "workflow_run",
        ],
    )?;
    if event.is_none() && deployment.is_absent() {
        return Ok(None);
    }
    if event == Some("deployment_status") && status.is_absent() {
        return Err(status.wrong("a deployment status"));
    }
    let of_run = run.read(|run| {
        let [url] = json::fields(run, ["html_url"])?;
        web(&[url], reading)
    })?;
    let repository = required(repository, "a repository", read_repository)?;
    let mut found = required(deployment, "a deployment", |deployment| {
        read_deployment(deployment, &repository, reading)
    })?;
    found.about.url = of_run.flatten();
    found.stands_for_service = Some(repository.name);
    if status.as_written().is_none() {
        return Ok(Some(found));
    }
    let has_status = status.read(|status| read_state(status, &mut found, reading))?;
    Ok(has_status.unwrap_or(false).then_some(found))
}

fn required<'a, T>(
    field: Field<'a>,
    what: &str,
    read: impl FnOnce(&'a RawValue) -> Result<T, Bad>,
) -> Result<T, Bad> {
    field.read(read)?.ok_or_else(|| field.wrong(what))
}

struct Repository {
    name: String,
    full_name: String,
}

fn read_repository(repository: &RawValue) -> Result<Repository, Bad> {
    let [short, full] = json::fields(repository, ["name", "full_name"])?;
    let full_name = name(full, "a name", MAX_NAME_CHARS)?.ok_or_else(|| full.wrong("a name"))?;
    let last = full_name.rsplit('/').next().unwrap_or_default();
    Ok(Repository {
        name: name(short, "a name", MAX_NAME_CHARS)?.unwrap_or_else(|| last.to_owned()),
        full_name,
    })
}

fn read_deployment(
    deployment: &RawValue,
    repository: &Repository,
    reading: &mut Reading<'_>,
) -> Result<Found, Bad> {
    let [id, sha, reference, task, payload] =
        json::fields(deployment, ["id", "sha", "ref", "task", "payload"])?;
    let [environment, description, creator, at] = json::fields(
        deployment,
        ["environment", "description", "creator", "created_at"],
    )?;
    let number = name(id, "an id", MAX_NAME_CHARS)?.ok_or_else(|| id.wrong("an id"))?;
    let sha = name(sha, "a commit", MAX_NAME_CHARS)?.unwrap_or_default();
    let reference = name(reference, "a ref", MAX_NAME_CHARS)?.unwrap_or_default();
    let task = name(task, "a task", MAX_NAME_CHARS)?.unwrap_or_default();
    // It may be anything that whoever deploys wants to remember; only a service in it is looked at.
    let service = payload.read(|payload| {
        let found = json::fields(payload, ["service"]).ok();
        let text = found.and_then(|[service]| name(service, "a service", MAX_NAME_CHARS).ok());
        Ok(text.flatten())
    })?;
    let labels = [
        ("repository", repository.full_name.as_str()),
        ("ref", &reference),
        ("task", if task == "deploy" { "" } else { &task }),
    ];
    Ok(Found {
        id: Some(deployment_id(&repository.full_name, &number)),
        status: Some(Status::Pending),
        at: at.read(read_time)?.flatten(),
        about: About {
            kind: Some("deployment".to_owned()),
            service: service.flatten(),
            environment: name(environment, "an environment", MAX_NAME_CHARS)?,
            summary: summary_of(description, reading)?,
            version: version_of(&reference, &sha),
            url: None,
            by: creator.read(login)?.flatten(),
            labels: Labels::from_iter(labels),
        },
        stands_for_service: None,
    })
}

/// Adds how far the deployment has come; false where that says nothing.
fn read_state(
    status: &RawValue,
    found: &mut Found,
    reading: &mut Reading<'_>,
) -> Result<bool, Bad> {
    let [state, environment, at, log, target] = json::fields(
        status,
        [
            "state",
            "environment",
            "updated_at",
            "log_url",
            "target_url",
        ],
    )?;
    if state.as_written() == Some(INACTIVE) {
        return Ok(false);
    }
    let said = read_status(state)?;
    found.status = Some(said.ok_or_else(|| state.wrong("a state"))?);
    found.at = at.read(read_time)?.flatten();
    let environment = name(environment, "an environment", MAX_NAME_CHARS)?;
    let about = &mut found.about;
    about.environment = environment.or(about.environment.take());
    about.url = web(&[log, target], reading)?.or(about.url.take());
    Ok(true)
}

fn login(user: &RawValue) -> Result<Option<String>, Bad> {
    let [login] = json::fields(user, ["login"])?;
    name(login, "a login", MAX_NAME_CHARS)
}

//! GitLab's deployment hook. All its other hooks are taken and say nothing.

use super::{
    Found, MAX_NAME_CHARS, Reading, deployment_id, name, read_status, summary_of, version_of, web,
};
use crate::domain::alert::Labels;
use crate::domain::change::About;
use crate::ingest::json::{self, Bad};
use crate::ingest::read_time;
use serde_json::value::RawValue;

pub(super) fn read(root: &RawValue, reading: &mut Reading<'_>) -> Result<Option<Found>, Bad> {
    let [kind, id, status, at, project, user] = json::fields(
        root,
        [
            "object_kind",
            "deployment_id",
            "status",
            "status_changed_at",
            "project",
            "user",
        ],
    )?;
    if kind.text()?.as_deref() != Some("deployment") {
        return Ok(None);
    }
    let [environment, tier, sha, reference, title, job, commit] = json::fields(
        root,
        [
            "environment",
            "environment_tier",
            "short_sha",
            "ref",
            "commit_title",
            "deployable_url",
            "commit_url",
        ],
    )?;
    let path = project.read(path_of)?;
    let path = path.ok_or_else(|| project.wrong("a project"))?;
    let number = name(id, "a deployment id", MAX_NAME_CHARS)?;
    let number = number.ok_or_else(|| id.wrong("a deployment id"))?;
    let said = read_status(status)?;
    let said = said.ok_or_else(|| status.wrong("a status"))?;
    let sha = name(sha, "a commit", MAX_NAME_CHARS)?.unwrap_or_default();
    let reference = name(reference, "a ref", MAX_NAME_CHARS)?.unwrap_or_default();
    let tier = name(tier, "a tier", MAX_NAME_CHARS)?.unwrap_or_default();
    let labels = [
        ("repository", path.as_str()),
        ("ref", &reference),
        ("environment_tier", &tier),
    ];
    Ok(Some(Found {
        id: Some(deployment_id(&path, &number)),
        status: Some(said),
        at: at.read(read_time)?.flatten(),
        about: About {
            kind: Some("deployment".to_owned()),
            service: None,
            environment: name(environment, "an environment", MAX_NAME_CHARS)?,
            summary: summary_of(title, reading)?,
            version: version_of(&reference, &sha),
            // One that was made through the API has no job.
            url: web(&[job, commit], reading)?,
            by: user.read(user_name)?.flatten(),
            labels: Labels::from_iter(labels),
        },
        stands_for_service: path.rsplit('/').next().map(str::to_owned),
    }))
}

fn path_of(project: &RawValue) -> Result<String, Bad> {
    let [path] = json::fields(project, ["path_with_namespace"])?;
    let found = name(path, "a path", MAX_NAME_CHARS)?;
    found.ok_or_else(|| path.wrong("a path"))
}

fn user_name(user: &RawValue) -> Result<Option<String>, Bad> {
    let [short, long] = json::fields(user, ["username", "name"])?;
    let short = name(short, "a name", MAX_NAME_CHARS)?;
    Ok(short.or(name(long, "a name", MAX_NAME_CHARS)?))
}

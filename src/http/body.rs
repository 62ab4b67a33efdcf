//! Bodies: bounded, JSON, with the place of whatever is wrong in them.

use crate::http::problem::Problem;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

/// Bytes of a command's body.
const COMMAND_MAX_BYTES: usize = 256 * 1024;

/// A command's body; an empty one is an empty object.
#[derive(Debug)]
pub struct Command<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Command<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let bytes = read(request.into_body(), COMMAND_MAX_BYTES).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = json_path(&error.path().to_string());
            Problem::bad_request(error.into_inner().to_string()).at(path)
        })?;
        match deserializer.end() {
            Ok(()) => Ok(Self(parsed)),
            Err(error) => Err(Problem::bad_request(error.to_string()).at("$")),
        }
    }
}

/// A path as problems show it: from `$`, and without the parts that could not be told.
fn json_path(path: &str) -> String {
    let known = path.trim_end_matches(['.', '?']);
    if known.is_empty() {
        "$".to_owned()
    } else {
        format!("$.{known}")
    }
}

/// Reads a body of at most `most` bytes.
pub async fn read(body: Body, most: usize) -> Result<axum::body::Bytes, Problem> {
    match axum::body::to_bytes(body, most).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if is_too_long(&error) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body of at most {most} bytes is taken"),
        )),
        Err(error) => {
            Err(Problem::bad_request(format!("the body could not be read: {error}")).at("$"))
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

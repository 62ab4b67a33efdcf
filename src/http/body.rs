//! Bodies: bounded, JSON, with the place of whatever is wrong in them.

use crate::http::problem::Problem;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a command's body.
const COMMAND_MAX_BYTES: usize = 256 * 1024;

/// Bytes of a body in which files come.
const LARGE_MAX_BYTES: usize = 4 << 20;

/// Bytes that all bodies together may hold in memory, from their first byte until they are dealt with.
const ALL_MAX_BYTES: usize = 256 << 20;

/// What is left of the memory for bodies. One for all.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_MAX_BYTES)))
    }
}

impl Memory {
    /// Takes so much more for a body.
    fn take(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Problem> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).try_acquire_many_owned(wanted);
        let taken = taken.map_err(|_none_left| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too much is being read at the same time",
            )
        })?;
        match held {
            Some(held) => held.merge(taken),
            None => *held = Some(taken),
        }
        Ok(())
    }
}

/// A body, whole. Dropped, its memory is given back.
#[derive(Debug)]
pub struct Whole {
    pub bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// A command's body; an empty one is an empty object.
#[derive(Debug)]
pub struct Command<T>(pub T);

impl<S, T> FromRequest<S> for Command<T>
where
    S: Send + Sync,
    Memory: FromRef<S>,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parsed(request, COMMAND_MAX_BYTES, &Memory::from_ref(state))
            .await
            .map(Self)
    }
}

/// A body in which whole files come; an empty one is an empty object.
#[derive(Debug)]
pub struct Large<T>(pub T);

impl<S, T> FromRequest<S> for Large<T>
where
    S: Send + Sync,
    Memory: FromRef<S>,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parsed(request, LARGE_MAX_BYTES, &Memory::from_ref(state))
            .await
            .map(Self)
    }
}

async fn parsed<T: DeserializeOwned>(
    request: Request,
    most: usize,
    memory: &Memory,
) -> Result<T, Problem> {
    let body = read(request.into_body(), most, memory).await?;
    let text: &[u8] = if body.bytes.is_empty() {
        b"{}"
    } else {
        &body.bytes
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = json_path(&error.path().to_string());
        Problem::bad_request(error.into_inner().to_string()).at(path)
    })?;
    match deserializer.end() {
        Ok(()) => Ok(parsed),
        Err(error) => Err(Problem::bad_request(error.to_string()).at("$")),
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

/// Reads a body of at most `most` bytes. One that says that it is longer is refused before any of it is read.
pub async fn read(mut body: Body, most: usize, memory: &Memory) -> Result<Whole, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > most {
        return Err(too_long(most));
    }
    let mut held = None;
    let mut pieces = Pieces::None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if pieces.len() + data.len() > most {
            return Err(too_long(most));
        }
        memory.take(&mut held, data.len())?;
        pieces = pieces.and(data, announced);
    }
    let bytes = pieces.into_bytes();
    Ok(Whole { bytes, _held: held })
}

/// Reads a body that nobody looks at. Many send head and body apart: one that is answered in between finds its connection ended where
/// it wants to use it again.
pub async fn pass_over(mut body: Body, most: usize) -> Result<(), Problem> {
    let mut n_bytes = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|error| unreadable(&error))?.into_data();
        n_bytes += data.map_or(0, |data| data.len());
        if n_bytes > most {
            return Err(too_long(most));
        }
    }
    Ok(())
}

fn unreadable(error: &axum::Error) -> Problem {
    Problem::bad_request(format!("the body could not be read: {error}")).at("$")
}

fn too_long(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("a body of at most {most} bytes is taken"),
    )
}

/// A body as it comes. Most come in one piece, which is not copied.
enum Pieces {
    None,
    One(Bytes),
    Many(Vec<u8>),
}

impl Pieces {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(piece) => piece.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn and(self, data: Bytes, announced: usize) -> Self {
        let mut bytes = match self {
            Self::None => return Self::One(data),
            Self::One(first) => {
                // Memory that was not written to yet costs nothing.
                let mut bytes = Vec::with_capacity(announced.max(first.len() + data.len()));
                bytes.extend_from_slice(&first);
                bytes
            }
            Self::Many(bytes) => bytes,
        };
        bytes.extend_from_slice(&data);
        Self::Many(bytes)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(piece) => piece,
            Self::Many(bytes) => bytes.into(),
        }
    }
}

//! One kept-alive HTTP/1.1 connection, as cheap as it can be: whole requests out, a status and a body of a known length back.

use anyhow::{Context, bail, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that has not answered by then counts as one that failed.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            answer: Vec::with_capacity(4096),
        }
    }

    /// Sends a whole request and waits for the whole answer. Returns its status; after an error the next one connects anew.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        let answered = tokio::time::timeout(ANSWERS_WITHIN, self.ask(request)).await;
        match answered {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => {
                self.stream = None;
                Err(error)
            }
            Err(_late) => {
                self.stream = None;
                bail!("no answer within {ANSWERS_WITHIN:?}")
            }
        }
    }

    /// Status and body of a path.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let status = self.exchange(request.as_bytes()).await?;
        Ok((status, String::from_utf8_lossy(self.body()).into_owned()))
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        match head_end(&self.answer) {
            Some(end) => &self.answer[end..],
            None => &[],
        }
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.answer.clear();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(self.address).await?),
        };
        stream.write_all(request).await?;
        let mut whole = None;
        while whole.is_none_or(|whole| self.answer.len() < whole) {
            let n = stream.read_buf(&mut self.answer).await?;
            ensure!(n > 0, "the connection was closed before the answer");
            if whole.is_none()
                && let Some(end) = head_end(&self.answer)
            {
                whole = Some(end + body_length(&self.answer[..end])?);
            }
        }
        status(&self.answer)
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn head_end(answer: &[u8]) -> Option<usize> {
    let blank = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(blank + 4)
}

fn body_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = String::from_utf8_lossy(head);
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.with_context(|| format!("an answer without a length: {head}"))?;
    Ok(length.trim().parse()?)
}

/// `HTTP/1.1 200 OK`
fn status(answer: &[u8]) -> anyhow::Result<u16> {
    let text = answer.get(9..12).context("an answer without a status")?;
    Ok(std::str::from_utf8(text)?.parse()?)
}

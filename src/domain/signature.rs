//! Signatures of what senders post: where one stands, what it is of, and how old it may be.

use std::time::Duration;

/// How a sender signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// The header with the signature, in lower case.
    pub header: String,
    /// What stands before it there.
    pub prefix: String,
    pub encoding: Encoding,
    pub algorithm: Algorithm,
    /// What is signed, one after the other.
    pub signed: Vec<Piece>,
    /// When it was signed, and how far that may be from now.
    pub timestamp: Option<Freshness>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The bytes as they came.
    Body,
    /// The value of a header, its name in lower case.
    Header(String),
    Text(String),
}

/// A header with a Unix time, in seconds or milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub header: String,
    pub within: Duration,
}

/// How far the time of a signature may be from now, unless it is said.
pub const WITHIN: Duration = Duration::from_secs(5 * 60);

/// What is signed, written as `{x-delivery-id}.{body}`: names of headers and `body` in braces.
pub fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("\"}}\" is missing after \"{{{after}\""))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        match name {
            "body" => pieces.push(Piece::Body),
            "" => return Err("the name of a header or \"body\" is wanted in \"{}\"".to_owned()),
            header => pieces.push(Piece::Header(header.to_ascii_lowercase())),
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    match pieces.iter().filter(|piece| **piece == Piece::Body).count() {
        1 => Ok(pieces),
        n => Err(format!("\"{{body}}\" is wanted once, found {n} times")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_told_in_pieces() {
        let header = |name: &str| Piece::Header(name.to_owned());
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(pieces("{body}"), Ok(vec![Piece::Body]));
        assert_eq!(
            pieces("v0:{X-Time}.{body}!"),
            Ok(vec![
                text("v0:"),
                header("x-time"),
                text("."),
                Piece::Body,
                text("!")
            ])
        );
        for (bad, why) in [
            ("", "once, found 0"),
            ("{body}{body}", "once, found 2"),
            ("{}.{body}", "in \"{}\""),
            ("{body}.{x", "\"}\" is missing"),
        ] {
            let error = pieces(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}

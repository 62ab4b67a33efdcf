//! Bodies of mapped sources that are no JSON: forms, and addresses that say it all. Each reads as an object of texts.

use super::super::{Post, Unusable};
use std::collections::BTreeMap;

const MAX_FIELDS: usize = 256;

/// The object that a form or an address is, as JSON; none where the body speaks for itself.
pub(super) fn read(post: &Post<'_>) -> Result<Option<String>, Unusable> {
    let kind = post.header("content-type").unwrap_or_default();
    let fields = if kind.to_ascii_lowercase().starts_with("multipart/form-data") {
        multipart(kind, post.body)?
    } else if post.body.is_empty() && !post.query.is_empty() {
        post.query.iter().cloned().collect()
    } else if is_urlencoded(kind, post.body) {
        urlencoded(post.body)?
    } else {
        return Ok(None);
    };
    let object = serde_json::to_string(&fields);
    object
        .map(Some)
        .map_err(|error| unusable(error.to_string()))
}

fn unusable(reason: String) -> Unusable {
    Unusable {
        path: "$".to_owned(),
        reason,
    }
}

type Fields = BTreeMap<String, String>;

fn insert(fields: &mut Fields, name: String, text: String) -> Result<(), Unusable> {
    fields.insert(name, text);
    if fields.len() > MAX_FIELDS {
        let reason = format!("a form of at most {MAX_FIELDS} fields is wanted, found more");
        return Err(unusable(reason));
    }
    Ok(())
}

/// Of `multipart/form-data` the fields that have a name.
fn multipart(kind: &str, body: &[u8]) -> Result<Fields, Unusable> {
    let boundary = boundary(kind).ok_or_else(|| {
        unusable("the content type of a form has a boundary, found none".to_owned())
    })?;
    let Ok(body) = std::str::from_utf8(body) else {
        return Err(unusable("the form is not UTF-8".to_owned()));
    };
    let mark = format!("--{boundary}");
    let mut parts = body.split(mark.as_str());
    parts.next();
    let mut fields = Fields::new();
    for part in parts {
        // Two dashes after the mark end the form.
        let Some(part) = part.strip_prefix("\r\n") else {
            break;
        };
        let Some((head, text)) = part.split_once("\r\n\r\n") else {
            return Err(unusable(
                "a part of the form has no end of its head".to_owned(),
            ));
        };
        let Some(text) = text.strip_suffix("\r\n") else {
            return Err(unusable("the form is cut off".to_owned()));
        };
        if let Some(name) = name_of(head) {
            insert(&mut fields, name.to_owned(), text.to_owned())?;
        }
    }
    Ok(fields)
}

fn boundary(kind: &str) -> Option<&str> {
    let parameters = kind.split(';').skip(1);
    let mut named = parameters.filter_map(|one| one.trim().split_once('='));
    let (_, text) = named.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let text = text.trim_matches('"');
    (!text.is_empty()).then_some(text)
}

fn name_of(head: &str) -> Option<&str> {
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let parameters = disposition.split(';').skip(1);
    let mut named = parameters.filter_map(|one| one.trim().split_once('='));
    let (_, text) = named.find(|(name, _)| *name == "name")?;
    Some(text.trim_matches('"'))
}

/// Senders that say so and send JSON are many; JSON that is meant has a brace or a bracket at its beginning.
fn is_urlencoded(kind: &str, body: &[u8]) -> bool {
    let starts = body.trim_ascii_start().first();
    kind.to_ascii_lowercase()
        .starts_with("application/x-www-form-urlencoded")
        && !matches!(starts, Some(b'{' | b'[' | 0xef))
}

fn urlencoded(body: &[u8]) -> Result<Fields, Unusable> {
    let mut fields = Fields::new();
    for pair in body
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
    {
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, text) = pair
            .split_at_checked(at.unwrap_or(pair.len()))
            .unwrap_or_default();
        let text = text.strip_prefix(b"=").unwrap_or_default();
        insert(&mut fields, decoded(name)?, decoded(text)?)?;
    }
    Ok(fields)
}

/// A plus is a blank, `%` and two digits are a byte.
fn decoded(text: &[u8]) -> Result<String, Unusable> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let hexadecimal = after.first_chunk::<2>().and_then(|pair| {
            let mut byte = [0];
            hex::decode_to_slice(pair, &mut byte).ok().map(|()| byte)
        });
        match (first, hexadecimal) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(byte)) => {
                bytes.extend(byte);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (byte, _) => bytes.push(*byte),
        }
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_other| unusable("the form is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn form(kind: &str, body: &str) -> Result<Option<String>, String> {
        let headers = [("content-type".to_owned(), kind.to_owned())];
        let post = Post {
            headers: &headers,
            ..Post::of(body.as_bytes(), Timestamp::from_millis(0))
        };
        read(&post).map_err(|unusable| unusable.reason)
    }

    #[test]
    fn a_form_is_an_object_of_texts() {
        let encoded = "application/x-www-form-urlencoded";
        let object = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(
            form(encoded, "a=1+2&b=%7B%22c%22%3A%20%C3%A9%7D&&d&%=%zz"),
            object(r#"{"%":"%zz","a":"1 2","b":"{\"c\": é}","d":""}"#)
        );
        assert_eq!(form(encoded, " {\"a\":1}"), Ok(None));
        assert_eq!(form("text/plain", "a=1"), Ok(None));
        assert_eq!(form("", "{}"), Ok(None));
        assert_eq!(
            form(encoded, "a=%ff"),
            Err("the form is not UTF-8".to_owned())
        );
        let many: String = (0..=MAX_FIELDS).map(|n| format!("f{n}=&")).collect();
        assert_eq!(
            form(encoded, &many),
            Err("a form of at most 256 fields is wanted, found more".to_owned())
        );
    }

    #[test]
    fn a_form_of_parts_is_read_to_its_end() {
        let kind = "multipart/form-data; boundary=\"x-y\"";
        let whole = "--x-y\r\nContent-Disposition: form-data; name=\"data\"\r\nContent-Type: text/plain\r\n\r\n{\"a\":\r\n1}\r\n--x-y\r\n\
            Content-Disposition: form-data\r\n\r\nnameless\r\n--x-y--\r\n";
        assert_eq!(
            form(kind, whole),
            Ok(Some(r#"{"data":"{\"a\":\r\n1}"}"#.to_owned()))
        );
        let (cut, _) = whole.split_at(70);
        assert!(form(kind, cut).is_err());
        assert_eq!(
            form(
                kind,
                "--x-y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx"
            ),
            Err("the form is cut off".to_owned())
        );
        assert_eq!(
            form("multipart/form-data", whole),
            Err("the content type of a form has a boundary, found none".to_owned())
        );
        assert_eq!(form(kind, ""), Ok(Some("{}".to_owned())));
    }
}

//! Secrets: text that is compared and sent, and never printed or logged.

use std::fmt;

/// A password, a token, a key, or a URL that holds one. Its `Debug` does not show it; it has no `Display`, and no `==`: who
/// compares secrets does it in constant time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for comparing, signing and sending, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

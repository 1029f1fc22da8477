//! What a source yields.

use backroom::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest identity that is used as it is, in bytes; of a longer one, a hash is used.
pub const IDENTITY_BYTES_MAX: usize = 256;

/// One thing that happened outside: a message, a file, a row, a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// What makes it the same when it is delivered again. Two deliveries of one trigger with equal identities become one job.
    pub identity: String,
    /// Headers or properties, with names in small letters.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
    /// When it happened, by the clock of the source.
    pub at: Option<Timestamp>,
    /// What it is in order with, where the source has an order per key: a partition, a session, a subject.
    pub order_key: Option<String>,
    /// The source's own number for it, as [`Settled`](crate::Settled) returns it.
    pub receipt: u64,
    /// Why it cannot become a job, where the source knows that already.
    pub refused: Option<String>,
}

/// Everything of a delivery but its body, as a dead letter stores it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) order_key: Option<String>,
    /// Whether the source refused it, so that no change of the mapping mends it.
    #[serde(default)]
    pub(crate) by_source: bool,
}

impl Delivery {
    /// A delivery with this identity and body.
    pub fn new(identity: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { identity: identity.into(), body: body.into(), ..Self::default() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The same with the source's own number for it.
    #[must_use]
    pub fn receipt(mut self, receipt: u64) -> Self {
        self.receipt = receipt;
        self
    }

    /// The value of a header; of several, the first.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Roughly how many bytes it takes in memory.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        self.identity.len() + self.body.len() + headers + 160
    }

    /// The identity as it is stored: a long one, and one with characters that no key may have, as its hash.
    pub(crate) fn key(&self) -> String {
        let identity = &self.identity;
        let is_plain = !identity.is_empty()
            && identity.len() <= IDENTITY_BYTES_MAX
            && !identity.chars().any(char::is_control);
        if is_plain { identity.clone() } else { format!("sha256:{}", hex(&Sha256::digest(identity))) }
    }

    pub(crate) fn envelope(&self) -> Envelope {
        let Self { headers, at, order_key, refused, .. } = self;
        Envelope {
            headers: headers.clone(),
            at: *at,
            order_key: order_key.clone(),
            by_source: refused.is_some(),
        }
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

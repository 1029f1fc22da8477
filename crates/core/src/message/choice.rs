//! What a caller chooses at enqueue: where messages go and of what they inform.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::forward::BrokerAddress;
use crate::{
    Invalid,
    bounds::{check_name, check_text},
    http_url::HttpUrl,
};

/// Longest correlation id, in bytes.
pub(crate) const CORRELATION_ID_BYTES_MAX: usize = 256;

/// Of what a message informs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessageKind {
    /// A worker has claimed the job; an attempt begins.
    Started,
    /// The handler reported how far it is.
    Progress,
    /// An attempt ended without success, and the job goes on. The last attempt is reported as the job's end instead.
    FailedAttempt,
    /// The job is completed. The message has its output.
    Completed,
    /// The job is given up.
    Discarded,
    /// The job is cancelled, by a caller, by its handler or because it expired.
    Cancelled,
}

impl MessageKind {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 6] = [
        Self::Started,
        Self::Progress,
        Self::FailedAttempt,
        Self::Completed,
        Self::Discarded,
        Self::Cancelled,
    ];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Progress => "progress",
            Self::FailedAttempt => "failed_attempt",
            Self::Completed => "completed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MessageKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new("kind of message", format!("{text:?} is unknown; use one of {all}"))
        })
    }
}

/// A set of kinds of messages. In JSON it is a list of their names, in the order of a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageKinds(u8);

impl MessageKinds {
    /// The job's end, whichever it is. The default.
    pub const END: Self =
        Self(MessageKind::Completed.bit() | MessageKind::Discarded.bit() | MessageKind::Cancelled.bit());

    /// Whether the kind is one of them.
    pub const fn contains(self, kind: MessageKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// They, in the order of a job's life.
    pub fn iter(self) -> impl Iterator<Item = MessageKind> {
        MessageKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    fn check(self, what: &'static str) -> Result<(), Invalid> {
        if self.0 == 0 {
            return Err(Invalid::new(what, "names no kind of message; leave it out for the job's end"));
        }
        Ok(())
    }

    /// A bound on the bytes of its JSON.
    const BYTES_MAX: usize =
        r#"["started","progress","failed_attempt","completed","discarded","cancelled"]"#.len();
}

impl Default for MessageKinds {
    fn default() -> Self {
        Self::END
    }
}

impl FromIterator<MessageKind> for MessageKinds {
    fn from_iter<I: IntoIterator<Item = MessageKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

impl Serialize for MessageKinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for MessageKinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kinds = Vec::<MessageKind>::deserialize(deserializer)?;
        if kinds.len() > MessageKind::ALL.len() {
            return Err(D::Error::custom("a kind of message is named twice"));
        }
        Ok(kinds.into_iter().collect())
    }
}

/// Messages to a reply queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The reply queue. It comes into being with its first message. With `broker:NAME/ADDRESS`, messages go to this queue, subject or stream
    /// of the broker that the settings of the servers name so.
    pub to: String,
    /// Stands in every message, for the caller to know to what it belongs. Messages with the same one are delivered in order,
    /// even those of several jobs.
    #[serde(default)]
    pub correlation_id: Option<String>,
    /// Of what they inform.
    #[serde(default)]
    pub on: MessageKinds,
}

impl Reply {
    /// Whether messages go to a broker and not to a reply queue.
    pub(crate) fn is_to_broker(&self) -> bool {
        self.to.starts_with(super::forward::PREFIX)
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        check_name("reply_to", &self.to)?;
        BrokerAddress::read(&self.to)?;
        if let Some(id) = &self.correlation_id {
            check_text("correlation_id", id, CORRELATION_ID_BYTES_MAX)?;
        }
        self.on.check("reply_on")
    }

    /// A bound on the bytes of its JSON.
    pub(crate) fn json_bytes_max(&self, escaped_len: impl Fn(&str) -> usize) -> usize {
        let id = self.correlation_id.as_deref().map_or("null".len(), |id| escaped_len(id) + 2);
        r#"{"to":"","correlation_id":,"on":}"#.len() + escaped_len(&self.to) + id + MessageKinds::BYTES_MAX
    }
}

impl super::Callback {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        HttpUrl::parse(&self.url)?;
        self.on.check("callback_on")
    }

    /// A bound on the bytes of its JSON.
    pub(crate) fn json_bytes_max(&self, escaped_len: impl Fn(&str) -> usize) -> usize {
        r#"{"url":"","on":}"#.len() + escaped_len(&self.url) + MessageKinds::BYTES_MAX
    }
}

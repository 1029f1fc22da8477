//! Tokens: who may call the server, for what, on which queues, until when.
//!
//! A token is a secret that its holder sends. Stores have its SHA-256 only.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Invalid, Timestamp, bounds};

/// Most patterns of queues that one token names.
pub const TOKEN_QUEUES_MAX: usize = 64;
/// Most tokens that one list answers with.
pub const TOKENS_MAX: usize = 10_000;
/// How long a session lasts at the most.
pub const SESSION_MAX: std::time::Duration = std::time::Duration::from_secs(12 * 3600);
/// How long a token is listed after it expired or was revoked.
pub const ENDED_TOKENS_RETAINED: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 3600);

/// The identity of a token: a UUIDv7. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub Uuid);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TokenId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let id = Uuid::try_parse(text);
        id.map(Self).map_err(|_| Invalid::new("token id", format!("{text:?} is no UUID")))
    }
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Enqueue jobs, and read the jobs it may enqueue.
    Enqueue,
    /// Claim jobs and report what became of them; take and acknowledge replies.
    Work,
    /// Read jobs, queues, workers and counts.
    Read,
    /// Cancel, retry, amend and delete jobs; pause queues and change their settings. Includes `read`.
    Operate,
    /// Manage tokens and read the audit log. Includes every other scope.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Enqueue, Self::Work, Self::Read, Self::Operate, Self::Admin];

    /// The name on the command line and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Work => "work",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Whether a token with this scope may do what `wanted` allows.
    pub const fn includes(self, wanted: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Operate => matches!(wanted, Self::Operate | Self::Read),
            Self::Enqueue => matches!(wanted, Self::Enqueue),
            Self::Work => matches!(wanted, Self::Work),
            Self::Read => matches!(wanted, Self::Read),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            let why = format!("{text:?} is unknown; use enqueue, work, read, operate or admin");
            Invalid::new("scope", why)
        })
    }
}

/// A pattern of queue names: `*` stands for any text, also an empty one; all else for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueuePattern(String);

impl QueuePattern {
    /// A pattern. It has the bounds of a queue's name.
    pub fn new(pattern: impl Into<String>) -> Result<Self, Invalid> {
        let pattern = pattern.into();
        bounds::check_name("queue pattern", &pattern)?;
        Ok(Self(pattern))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a queue's name matches.
    pub fn matches(&self, queue: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = queue.strip_prefix(first) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for QueuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token as it is stored, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// What it allows; never empty.
    pub scopes: Vec<Scope>,
    /// The queues on which it allows that; empty for every queue.
    pub queues: Vec<QueuePattern>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From this moment on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused because an operator revoked it.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// The token that this session was opened with; none for a token. A session is what a browser holds in place of the token:
    /// it permits the same, for some hours, and only on the pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TokenId>,
    /// Queues that are for other tokens: it may enqueue into them, and nothing else. Not stored; who checks the token sets it.
    #[serde(skip)]
    pub barred_from: Vec<String>,
}

impl Token {
    /// Checks the bounds of a new token.
    pub fn check(&self) -> Result<(), Invalid> {
        bounds::check_name("token name", &self.name)?;
        if self.scopes.is_empty() {
            let why = "are missing; give at least one of enqueue, work, read, operate and admin";
            return Err(Invalid::new("scopes", why));
        }
        if self.queues.len() > TOKEN_QUEUES_MAX {
            let why = format!("are {}; at most {TOKEN_QUEUES_MAX} are allowed", self.queues.len());
            return Err(Invalid::new("queue patterns", why));
        }
        if self.expires_at.is_some_and(|at| at <= self.created_at) {
            return Err(Invalid::new("expiry", "has passed already"));
        }
        Ok(())
    }

    /// Whether it is neither revoked nor expired at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether it allows `wanted` on some queue.
    pub fn allows(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(wanted))
    }

    /// Whether it reaches a queue.
    pub fn reaches(&self, queue: &str) -> bool {
        self.names(queue) && !self.barred_from.iter().any(|barred| barred == queue)
    }

    /// Whether a queue is among those that it names; more is not needed to enqueue.
    pub fn names(&self, queue: &str) -> bool {
        self.queues.is_empty() || self.queues.iter().any(|pattern| pattern.matches(queue))
    }

    /// When it ended: it was revoked or has expired.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.revoked_at.into_iter().chain(self.expires_at).min()
    }
}

/// The SHA-256 of a token's secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    /// Hidden: a hash tells whether a guess is right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, queue, matches) in [
            ("mail", "mail", true),
            ("mail", "mail2", false),
            ("mail*", "mail", true),
            ("mail*", "mail-eu", true),
            ("mail*", "email", false),
            ("*", "anything", true),
            ("*-eu", "mail-eu", true),
            ("*-eu", "mail-eu-2", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ] {
            let pattern = QueuePattern::new(pattern).expect("a pattern");
            assert_eq!(pattern.matches(queue), matches, "{pattern} {queue}");
        }
    }

    #[test]
    fn admin_includes_all_and_operate_includes_read() {
        for wanted in Scope::ALL {
            assert!(Scope::Admin.includes(wanted));
            assert_eq!(Scope::Operate.includes(wanted), matches!(wanted, Scope::Operate | Scope::Read));
            assert_eq!(Scope::Enqueue.includes(wanted), wanted == Scope::Enqueue);
        }
    }
}

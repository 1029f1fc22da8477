//! Who calls: a token with its scopes and queues, or, on a server without tokens, anyone on this machine.
//!
//! A route takes a [`Caller`] and states what it needs before it does anything.

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{codes::Code, problem::Problem};
use crate::serve::AppState;

/// What a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Put jobs in.
    Enqueue,
    /// Take replies.
    Work,
    /// Read jobs, queues and workers.
    Read,
    /// Cancel, retry and delete jobs; pause, resume and set queues. Includes reading.
    Operate,
    /// Everything, tokens and the audit log included.
    Admin,
}

impl Scope {
    /// The name in tokens and errors.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Work => "work",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Whether a token with this scope permits what `wanted` permits.
    fn permits(self, wanted: Self) -> bool {
        self == Self::Admin || self == wanted || (self == Self::Operate && wanted == Self::Read)
    }
}

/// The caller of a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    name: String,
    scopes: Vec<Scope>,
    /// Which queues; a `*` at the end of a pattern stands for any rest.
    queues: Vec<String>,
}

impl Caller {
    /// Everyone on the machine of a server that has no tokens.
    fn local() -> Self {
        Self { name: "local".into(), scopes: vec![Scope::Admin], queues: vec!["*".into()] }
    }

    /// The name of the token, for the audit log; `local` where the server has none.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the caller may do this in any queue at all.
    pub(crate) fn require(&self, wanted: Scope) -> Result<(), Problem> {
        if self.scopes.iter().any(|scope| scope.permits(wanted)) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, format!("the token lacks the scope {:?}", wanted.as_str())))
    }

    /// Whether the caller may do this in one queue.
    pub(crate) fn require_in(&self, wanted: Scope, queue: &str) -> Result<(), Problem> {
        self.require(wanted)?;
        if self.sees(queue) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, format!("the token is not valid for queue {queue:?}")))
    }

    /// Whether the caller may do this in all queues, as routes need that are not about one queue.
    pub(crate) fn require_everywhere(&self, wanted: Scope) -> Result<(), Problem> {
        self.require(wanted)?;
        if self.queues.iter().any(|pattern| pattern == "*") {
            return Ok(());
        }
        Err(Problem::new(
            Code::Forbidden,
            "the token is valid for some queues only; this route is about all of them",
        ))
    }

    /// Whether the token is valid for a queue: for lists, which leave out the others.
    pub(crate) fn sees(&self, queue: &str) -> bool {
        self.queues.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => queue.starts_with(start),
            None => queue == pattern,
        })
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(_parts: &mut Parts, _state: &AppState) -> Result<Self, Problem> {
        Ok(Self::local())
    }
}

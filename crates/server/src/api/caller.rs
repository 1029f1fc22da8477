//! Who calls: a token with its scopes and queues, or, on a server without tokens, anyone on this machine.
//!
//! A route takes a [`Caller`] and states what it needs before it does anything.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
pub(crate) use backroom::Scope;
use backroom::Token;

use super::{codes::Code, problem::Problem};
use crate::serve::{AppState, Arrived, Refusal};

/// How tokens are sent (RFC 6750).
const SCHEME: &str = "Bearer";

/// The caller of a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who it is.
    pub(crate) identity: Identity,
    /// The address that the request came from.
    pub(crate) from: Option<IpAddr>,
}

/// Who a caller is.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Anyone on the machine of a server that has no tokens: everything is permitted.
    Local,
    /// The holder of a token.
    Token(Arc<Token>),
    /// A visitor of the dashboard whom a reverse proxy has authenticated: the token stands for their role, and is stored nowhere.
    User(Arc<Token>),
}

impl Caller {
    /// Its identity: two tokens of one name are two callers.
    pub(crate) fn id(&self) -> String {
        match &self.identity {
            Identity::Local => "local".into(),
            Identity::Token(token) | Identity::User(token) => token.id.to_string(),
        }
    }

    /// Its name, for the audit log.
    pub(crate) fn said(&self) -> String {
        match &self.identity {
            Identity::Local => "local".to_owned(),
            Identity::Token(token) => format!("token {} ({})", token.name, token.parent.unwrap_or(token.id)),
            Identity::User(user) => format!("user {} of the proxy", user.name),
        }
    }

    /// The address that it called from, for the audit log: empty, or a few words to put after others.
    pub(crate) fn said_from(&self) -> String {
        self.from.map(|from| format!(" from {from}")).unwrap_or_default()
    }

    /// The whole of what it may do. Callers with the same text see the same.
    pub(crate) fn permissions(&self) -> String {
        match &self.identity {
            Identity::Local => "local".to_owned(),
            Identity::Token(token) | Identity::User(token) => {
                let mut barred_from = token.barred_from.clone();
                barred_from.sort_unstable();
                format!("{:?} {:?} not {barred_from:?}", token.scopes, token.queues)
            }
        }
    }

    /// Whether the caller may do this in any queue at all.
    pub(crate) fn require(&self, wanted: Scope) -> Result<(), Problem> {
        match &self.identity {
            Identity::Token(token) if !token.allows(wanted) => {
                Err(forbidden(format!("the token lacks the scope {wanted}"), wanted))
            }
            Identity::User(user) if !user.allows(wanted) => {
                Err(forbidden(format!("the role of the user lacks the scope {wanted}"), wanted))
            }
            Identity::Token(_) | Identity::User(_) | Identity::Local => Ok(()),
        }
    }

    /// Whether the caller may do this in one queue.
    pub(crate) fn require_in(&self, wanted: Scope, queue: &str) -> Result<(), Problem> {
        self.require(wanted)?;
        let may = match (wanted, &self.identity) {
            // A queue that is for other tokens takes jobs all the same.
            (Scope::Enqueue, Identity::Token(token)) => token.names(queue),
            _ => self.sees(queue),
        };
        if may {
            return Ok(());
        }
        Err(forbidden(format!("the token is not valid for queue {queue:?}"), wanted))
    }

    /// Whether the caller may do this in all queues, as routes need that are not about one queue.
    pub(crate) fn require_everywhere(&self, wanted: Scope) -> Result<(), Problem> {
        self.require(wanted)?;
        if self.names_all() {
            return Ok(());
        }
        let detail = "the token is valid for some queues only; this route is about all of them";
        Err(forbidden(detail.into(), wanted))
    }

    /// The same for routes that read or change jobs of any queue: no queue must be for other tokens.
    pub(crate) fn require_all_jobs(&self, wanted: Scope) -> Result<(), Problem> {
        self.require_everywhere(wanted)?;
        if self.sees_all() {
            return Ok(());
        }
        let detail = "some queues are for other tokens only; this route is about jobs of all queues";
        Err(forbidden(detail.into(), wanted))
    }

    /// Whether the token is valid for every queue, and no queue is for other tokens.
    pub(crate) fn sees_all(&self) -> bool {
        self.names_all() && !self.is_barred()
    }

    /// Whether the token names the queues that it is valid for.
    pub(crate) fn is_limited(&self) -> bool {
        !self.names_all()
    }

    /// Whether a queue is for other tokens only.
    pub(crate) fn is_barred(&self) -> bool {
        matches!(&self.identity, Identity::Token(token) | Identity::User(token) if !token.barred_from.is_empty())
    }

    /// Whether the token is valid for every queue, as far as it says.
    fn names_all(&self) -> bool {
        match &self.identity {
            Identity::Local => true,
            Identity::Token(token) | Identity::User(token) => {
                token.queues.is_empty() || token.queues.iter().any(|pattern| pattern.as_str() == "*")
            }
        }
    }

    /// Whether the token is valid for a queue: for lists, which leave out the others.
    pub(crate) fn sees(&self, queue: &str) -> bool {
        match &self.identity {
            Identity::Local => true,
            Identity::Token(token) | Identity::User(token) => token.reaches(queue),
        }
    }
}

fn forbidden(detail: String, wanted: Scope) -> Problem {
    let challenge = format!("{SCHEME} realm=\"backroom\", error=\"insufficient_scope\", scope=\"{wanted}\"");
    let challenge = HeaderValue::from_str(&challenge).expect("invariant: the names of scopes are plain text");
    Problem::new(Code::Forbidden, detail).header(header::WWW_AUTHENTICATE, challenge)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (detail, challenge) = match refusal {
            Refusal::NoToken => ("the request has no token", "Bearer realm=\"backroom\""),
            Refusal::UnknownToken => (
                "the token is unknown, revoked or expired",
                "Bearer realm=\"backroom\", error=\"invalid_token\"",
            ),
            Refusal::Store(error) => return error.into(),
        };
        Self::new(Code::Unauthenticated, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let identity = match secret(&parts.headers)? {
            Some(secret) => Identity::Token(state.access.token(secret).await?),
            None => {
                state.access.anonymous().await?;
                Identity::Local
            }
        };
        let from = parts.extensions.get::<Arrived>().and_then(|arrived| arrived.from);
        let caller = Self { identity, from };
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

/// The secret that a request sends, if it sends one. It appears in no error.
fn secret(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(sent) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let sent = sent.to_str().ok().and_then(|sent| sent.split_once(' '));
    match sent {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case(SCHEME) => Ok(Some(secret.trim())),
        Some(_) | None => Err(Refusal::UnknownToken.into()),
    }
}

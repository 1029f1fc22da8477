//! Who looks at a page: the holder of a session, or anyone on the machine of a server without tokens.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use backroom::{Scope, Timestamp};

use super::{Trouble, proxied, shared::form_key};
use crate::{
    api::{
        act,
        caller::{Caller, Identity},
    },
    serve::{AppState, Arrived, Refusal},
};

/// The name of the cookie with the session, over TLS. Browsers refuse the prefix without TLS, and for other hosts and paths.
const COOKIE_TLS: &str = "__Host-backroom";
/// The same without TLS.
const COOKIE_PLAIN: &str = "backroom";

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// What they may do.
    pub(super) caller: Caller,
    /// Stands in each of their forms.
    pub(super) key: String,
    /// The time of the store.
    pub(super) now: Timestamp,
    /// Whether moments are written as they are, because the script says how far they are.
    pub(super) is_live: bool,
}

impl Visitor {
    /// Whether they may do this in some queue.
    pub(super) fn may(&self, wanted: Scope) -> bool {
        self.caller.require(wanted).is_ok()
    }

    /// Whether they may do this in one queue.
    pub(super) fn may_in(&self, wanted: Scope, queue: &str) -> bool {
        self.caller.require_in(wanted, queue).is_ok()
    }

    /// Whether they may do this in all queues.
    pub(super) fn may_everywhere(&self, wanted: Scope) -> bool {
        self.caller.require_everywhere(wanted).is_ok()
    }

    /// Callers that may enqueue may read the jobs that they may enqueue.
    pub(super) fn require_read(&self) -> Result<(), Trouble> {
        if self.may(Scope::Enqueue) {
            return Ok(());
        }
        Ok(self.caller.require(Scope::Read)?)
    }

    /// Whether they hold a session, and can end it.
    pub(super) fn is_signed_in(&self) -> bool {
        matches!(self.caller.identity, Identity::Token(_))
    }

    /// Who they are, in a few words.
    pub(super) fn name(&self) -> &str {
        match &self.caller.identity {
            Identity::Local => "this machine",
            Identity::Token(token) | Identity::User(token) => &token.name,
        }
    }

    /// Writes what they are about to do into the audit log, with where they are.
    pub(super) async fn record(
        &self,
        state: &AppState,
        act: &str,
        target: &str,
        detail: Option<&(impl serde::Serialize + Sync)>,
    ) -> Result<(), Trouble> {
        let who = format!("{}, on the pages{}", self.caller.said(), self.caller.said_from());
        Ok(act::record_as(state, who, act, target, detail).await?)
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Trouble> {
        let arrived = parts.extensions.get::<Arrived>().copied();
        let from = arrived.and_then(|arrived| arrived.from);
        let by_tls = arrived.is_some_and(|arrived| arrived.by_tls);
        let now = state.backroom.clock().now();
        let visitor = |identity, key| Self { caller: Caller { identity, from }, key, now, is_live: false };
        if let Some((user, key)) =
            proxied::user(&parts.headers, &state.settings.now().proxy, || state.access.secure_queues())?
        {
            return Ok(visitor(user, key));
        }
        if let Some(secret) = cookie(&parts.headers, by_tls) {
            match state.access.session(secret).await {
                Ok(session) => return Ok(visitor(Identity::Token(session), form_key(secret.as_bytes()))),
                Err(Refusal::UnknownToken | Refusal::NoToken) => {}
                Err(refusal @ Refusal::Store(_)) => return Err(Trouble::Problem(refusal.into())),
            }
        }
        match state.access.anonymous().await {
            Ok(()) => Ok(visitor(Identity::Local, state.pages.local_key())),
            Err(refusal @ Refusal::Store(_)) => Err(Trouble::Problem(refusal.into())),
            Err(Refusal::NoToken | Refusal::UnknownToken) => {
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                // What was sent is lost; the page it came from is where they continue.
                let to = if parts.method.is_safe() { path } else { "/" };
                Err(Trouble::SignIn { to: to.to_owned() })
            }
        }
    }
}

/// The secret of the session that a browser sends.
pub(super) fn cookie(headers: &HeaderMap, by_tls: bool) -> Option<&str> {
    let name = cookie_name(by_tls);
    let sent = headers.get_all(header::COOKIE).into_iter().filter_map(|sent| sent.to_str().ok());
    let mut pairs = sent.flat_map(|sent| sent.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// What sets the cookie; without a secret it ends it.
pub(super) fn set_cookie(by_tls: bool, secret: Option<&str>) -> String {
    let name = cookie_name(by_tls);
    let secure = if by_tls { "; Secure" } else { "" };
    let age = secret.map_or(0, |_| backroom::core::token::SESSION_MAX.as_secs());
    let secret = secret.unwrap_or_default();
    format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

fn cookie_name(by_tls: bool) -> &'static str {
    if by_tls { COOKIE_TLS } else { COOKIE_PLAIN }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_by_its_whole_name_only() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; xbackroom=no"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2;backroom=brm_x"));
        assert_eq!(cookie(&headers, false), Some("brm_x"));
        assert_eq!(cookie(&headers, true), None, "without TLS it is another cookie");
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
        let plain = set_cookie(false, Some("brm_x"));
        assert_eq!(plain, "backroom=brm_x; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
        assert!(set_cookie(true, Some("x")).starts_with("__Host-backroom=x; Path=/;"));
        assert!(set_cookie(true, Some("x")).ends_with("; Secure"));
        assert!(set_cookie(false, None).contains("Max-Age=0"));
    }
}

//! The login: a token becomes a session.

use axum::{
    Router,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use maud::html;

use super::{
    Answer, Fields, Page, Posted, Visitor, frame,
    posted::PostedUnknown,
    visitor::{cookie, set_cookie},
};
use crate::{
    api::{
        act,
        caller::{Caller, Identity},
    },
    serve::{AppState, Refusal},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/login", get(form).post(login)).route("/logout", post(logout))
}

async fn form(State(state): State<AppState>, request: Request) -> Answer {
    let (mut parts, _) = request.into_parts();
    let fields = Fields::parse(parts.uri.query().unwrap_or_default());
    let to = own_path(fields.get("to"));
    if Visitor::from_request_parts(&mut parts, &state).await.is_ok() {
        return Ok(frame::redirect(&to));
    }
    Ok(page(&to, None))
}

fn page(to: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        @if let Some(wrong) = wrong {
            p.notice.bad role="alert" { (wrong) }
        }
        form.stack method="post" action="/login" {
            input type="hidden" name="to" value=(to);
            label for="token" { "Token" }
            input #token type="password" name="token" autocomplete="current-password" required autofocus
                spellcheck="false" aria-describedby="token-help";
            p #token-help .muted {
                "A token that begins with brm_. An operator makes one with "
                code { "backroom tokens create NAME --scope read" } "."
            }
            button.primary type="submit" { "Sign in" }
        }
        p { "You came from another site and are signed in already? " a href=(to) { "Continue" } }
    };
    Page::bare("Sign in", body).into_response()
}

async fn login(State(state): State<AppState>, posted: PostedUnknown) -> Answer {
    let PostedUnknown { headers, by_tls, from, fields } = posted;
    let to = own_path(fields.get("to"));
    let secret = fields.get("token").unwrap_or_default();
    let refused = |why: &str| {
        let mut response = page(&to, Some(why));
        *response.status_mut() = axum::http::StatusCode::FORBIDDEN;
        Ok(response)
    };
    let token = match state.access.token(secret).await {
        Ok(token) => token,
        Err(Refusal::UnknownToken | Refusal::NoToken) => {
            return refused("The token is unknown, revoked or expired.");
        }
        Err(refusal @ Refusal::Store(_)) => return Err(super::Trouble::Problem(refusal.into())),
    };
    let Some((session, secret)) = state.backroom.tokens().open_session(secret).await? else {
        return refused("The token is unknown, revoked or expired.");
    };
    // Each login has a session of its own: one that was there before ends.
    if let Some(before) = cookie(&headers, by_tls) {
        end(&state, before).await?;
    }
    let caller = Caller { identity: Identity::Token(token), from };
    let who = format!("{}, on the pages{}", caller.said(), caller.said_from());
    act::record_as(&state, who, "session.open", &session.id.to_string(), None::<&()>).await?;
    Ok(with_cookie(frame::redirect(&to), &set_cookie(by_tls, Some(secret.expose()))))
}

async fn logout(State(state): State<AppState>, request: Request) -> Answer {
    use axum::extract::FromRequest as _;

    let by_tls = request.extensions().get::<crate::serve::Arrived>().is_some_and(|arrived| arrived.by_tls);
    let secret = cookie(request.headers(), by_tls).map(str::to_owned);
    let posted = Posted::from_request(request, &state).await?;
    if let Some(secret) = secret {
        posted.visitor.record(&state, "session.end", "", None::<&()>).await?;
        end(&state, &secret).await?;
    }
    Ok(with_cookie(frame::redirect("/login"), &set_cookie(by_tls, None)))
}

/// Ends the session of a secret, if it is one.
async fn end(state: &AppState, secret: &str) -> Result<(), super::Trouble> {
    if let Some(session) = state.backroom.tokens().find(secret).await?.filter(|found| found.parent.is_some())
    {
        state.backroom.tokens().revoke(session.id).await?;
    }
    state.access.forget(Some(secret));
    Ok(())
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    let cookie = HeaderValue::from_str(cookie).expect("invariant: a secret is plain text");
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// A path of this server: a link must not lead a visitor who signs in to another site.
fn own_path(asked: Option<&str>) -> String {
    let is_own = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !path.starts_with("/login")
    };
    asked.filter(is_own).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_after_the_login_stays_on_this_server() {
        assert_eq!(own_path(Some("/jobs?state=running")), "/jobs?state=running");
        for other in
            ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nset-cookie: x", "", "/login"]
        {
            assert_eq!(own_path(Some(other)), "/", "{other:?}");
        }
    }
}

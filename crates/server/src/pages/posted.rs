//! A form that our own page sent: nothing else may change anything here.
//!
//! A browser adds the cookie to what other sites of the same host send. So a form also has a key that only our pages know, and the
//! headers by which a browser names the sending page must not name another one.

use axum::{
    extract::{FromRequest, FromRequestParts as _, Request},
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use bytes::Bytes;
use subtle::ConstantTimeEq as _;

use super::{Fields, Trouble, Visitor};
use crate::{
    api::{body::media_type, codes::Code, problem::Problem},
    serve::AppState,
};

/// The name of the field with the key.
pub(super) const KEY: &str = "form_key";
/// Which site sent a request (Fetch Metadata). A page cannot choose it.
static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A form of a visitor.
pub(crate) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<AppState> for Posted {
    type Rejection = Trouble;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Trouble> {
        let (mut parts, body) = request.into_parts();
        if origin(&parts, state) == Origin::Other {
            return Err(foreign());
        }
        let visitor = Visitor::from_request_parts(&mut parts, state).await?;
        let fields = fields(Request::from_parts(parts, body), state).await?;
        let key = fields.raw(KEY).unwrap_or_default();
        if !bool::from(key.as_bytes().ct_eq(visitor.key.as_bytes())) {
            let why = "the form is not one of this session; load the page again and repeat what you did";
            return Err(Problem::new(Code::Forbidden, why).into());
        }
        Ok(Self { visitor, fields })
    }
}

/// The form of a visitor who has no session yet. It must prove that it comes from our own page.
pub(crate) struct PostedUnknown {
    pub(super) headers: HeaderMap,
    pub(super) by_tls: bool,
    pub(super) from: Option<std::net::IpAddr>,
    pub(super) fields: Fields,
}

impl FromRequest<AppState> for PostedUnknown {
    type Rejection = Trouble;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Trouble> {
        let (parts, body) = request.into_parts();
        if origin(&parts, state) != Origin::Own {
            return Err(foreign());
        }
        let arrived = parts.extensions.get::<crate::serve::Arrived>().copied();
        let headers = parts.headers.clone();
        let fields = fields(Request::from_parts(parts, body), state).await?;
        Ok(Self {
            headers,
            by_tls: arrived.is_some_and(|arrived| arrived.by_tls),
            from: arrived.and_then(|arrived| arrived.from),
            fields,
        })
    }
}

async fn fields(request: Request, state: &AppState) -> Result<Fields, Trouble> {
    if media_type(request.headers()).as_deref() != Some("application/x-www-form-urlencoded") {
        let why = "the page reads application/x-www-form-urlencoded";
        return Err(Problem::new(Code::UnsupportedMediaType, why).into());
    }
    let body = Bytes::from_request(request, state).await.map_err(Problem::from)?;
    Ok(Fields::parse(&String::from_utf8_lossy(&body)))
}

fn foreign() -> Trouble {
    Problem::new(Code::Forbidden, "a page of another site sent this form").into()
}

/// Which page sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// One of ours.
    Own,
    /// That of another site.
    Other,
    /// The request does not say.
    Unknown,
}

fn origin(parts: &Parts, state: &AppState) -> Origin {
    if let Some(site) = parts.headers.get(&FETCH_SITE) {
        return if site == "same-origin" { Origin::Own } else { Origin::Other };
    }
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return Origin::Unknown };
    let settings = state.settings.now();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    let hosts = host.into_iter().chain(settings.allowed_hosts.iter().map(String::as_str));
    let is_own = hosts
        .flat_map(|host| [format!("http://{host}"), format!("https://{host}")])
        .any(|own| own.as_bytes() == origin.as_bytes());
    if is_own { Origin::Own } else { Origin::Other }
}

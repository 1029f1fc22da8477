//! Bodies of requests: their type, and JSON with the same rules everywhere.
//!
//! JSON is read once, from bytes that are also hashed for the `Idempotency-Key`. Unknown fields are refused by the types.

use axum::{
    extract::{FromRequest, OptionalFromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{codes::Code, problem::Problem};
use crate::serve::AppState;

/// A body that says it is JSON, unread.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl FromRequest<AppState> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        match media_type(request.headers()).as_deref() {
            Some("application/json") => Ok(Self(Bytes::from_request(request, state).await?)),
            _ => Err(Problem::new(Code::UnsupportedMediaType, "the route reads application/json")),
        }
    }
}

/// A body that may be left out: then there is no `Content-Type` either.
impl OptionalFromRequest<AppState> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Option<Self>, Problem> {
        if request.headers().get(header::CONTENT_TYPE).is_none() {
            let body = Bytes::from_request(request, state).await?;
            let why = "a body needs the type application/json";
            return if body.is_empty() {
                Ok(None)
            } else {
                Err(Problem::new(Code::UnsupportedMediaType, why))
            };
        }
        <Self as FromRequest<AppState>>::from_request(request, state).await.map(Some)
    }
}

impl JsonBytes {
    /// The body as a value of a type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        read(&self.0)
    }
}

/// The type of a body, without its parameters and in small letters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let named = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// JSON as a value of a type. What is no JSON is malformed; JSON that does not fit the type is invalid.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(text).map_err(|error| {
        let code = if error.is_data() { Code::Invalid } else { Code::Malformed };
        Problem::new(code, format!("the body does not fit: {error}"))
    })
}

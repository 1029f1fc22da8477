//! What happens around every request: its id, its problem document, and the headers of every answer.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue},
    middleware::{self, Next},
    response::Response,
};

use super::{
    codes::Code,
    problem::{self, Problem},
};
use crate::serve::AppState;

/// The id of a request, in its answer and in the log.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a request that is taken from the client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Puts everything around the routes.
pub(super) fn layers(router: Router<AppState>, state: AppState) -> Router<AppState> {
    router
        .fallback(|| async { Problem::new(Code::NoSuchRoute, "the API has no such path") })
        .layer(middleware::from_fn_with_state(state, answer))
}

/// Answers one request.
async fn answer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let id = request_id(&request, &state);
    let instance = format!("{}#{}", request.uri().path(), id.to_str().unwrap_or_default());
    let response = next.run(request).await;
    let mut response = problem::finish(response, &instance);
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    response
}

/// The client's id, if it is one that can stand in a log, or one of our own.
fn request_id(request: &Request, state: &AppState) -> HeaderValue {
    let is_plain = |id: &HeaderValue| {
        let bytes = id.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let given = request.headers().get(&REQUEST_ID).filter(|id| is_plain(id));
    given.cloned().unwrap_or_else(|| {
        let id = state.ids.lease().to_string();
        HeaderValue::from_str(&id).expect("invariant: an id is plain text")
    })
}

//! What people read in a browser: the document of the API as a page, and a page for each problem code.
//!
//! The pages are made here, without scripts and without anything from other servers.

mod html;
mod page;
mod problems;
#[cfg(test)]
mod problems_page;

use std::sync::Arc;

use axum::{
    Extension,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    codes::Code,
    extract::Path,
    problem::{Problem, Problems},
};
use crate::serve::AppState;

/// The document, made once.
#[derive(Debug, Clone)]
pub(super) struct Document(Arc<str>);

impl Document {
    pub(super) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        let text = document.to_pretty_json().expect("invariant: the document is JSON");
        Self(text.into())
    }
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .routes(routes!(docs))
        .routes(routes!(style))
        .routes(routes!(problem_list))
        .routes(routes!(problem_page))
}

/// The document of this API
///
/// OpenAPI 3.1, made from the types that the server uses. It needs no token.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    security(()),
    responses((status = 200, description = "The document.", body = Object, content_type = "application/json"), Problems)
)]
async fn openapi(Extension(document): Extension<Document>) -> Response {
    as_type("application/json", document.0.to_string())
}

/// This API as a page to read
///
/// The same as `/openapi.json`, for people. It needs no token.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "server",
    security(()),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"), Problems)
)]
async fn docs(Extension(document): Extension<Document>) -> Result<Response, Problem> {
    let document = serde_json::from_str(&document.0).map_err(|error| {
        tracing::error!(%error, "the document of the API could not be read");
        Problem::new(Code::Internal, "the server failed")
    })?;
    Ok(as_page(page::page(&document)))
}

/// The style of the pages
#[utoipa::path(
    get,
    path = "/docs/style.css",
    tag = "server",
    security(()),
    responses((status = 200, description = "The style.", body = String, content_type = "text/css"), Problems)
)]
async fn style() -> Response {
    as_type("text/css; charset=utf-8", include_str!("style.css").into())
}

/// All kinds of problems
///
/// A page that lists the codes that errors of this API have.
#[utoipa::path(
    get,
    path = "/problems",
    tag = "server",
    security(()),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"), Problems)
)]
async fn problem_list() -> Response {
    as_page(problems::list())
}

/// One kind of problem
///
/// The page to which the member `type` of a problem document leads.
#[utoipa::path(
    get,
    path = "/problems/{code}",
    tag = "server",
    security(()),
    params(("code" = String, Path, description = "The code of the problem.", example = "not-found")),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"), Problems)
)]
async fn problem_page(Path(code): Path<String>) -> Result<Response, Problem> {
    let found = Code::ALL.iter().find(|known| known.as_str() == code);
    let code =
        found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no problem code {code:?}")))?;
    Ok(as_page(problems::page(*code)))
}

fn as_page(html: String) -> Response {
    let mut response = as_type("text/html; charset=utf-8", html);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'self'; frame-ancestors 'none'"),
    );
    response
}

fn as_type(media_type: &'static str, text: String) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    (headers, text).into_response()
}

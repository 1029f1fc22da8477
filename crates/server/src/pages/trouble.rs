//! What a visitor sees in place of a page: the problem in words, or the way to the login.

use axum::{
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::html;

use super::{
    fields::escaped,
    frame::{self, Page},
};
use crate::api::{codes::Code, problem::Problem};

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Something is wrong; the visitor reads what.
    Problem(Problem),
    /// The visitor must sign in first, and then continues at this path.
    SignIn { to: String },
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<backroom::Error> for Trouble {
    fn from(error: backroom::Error) -> Self {
        Self::Problem(error.into())
    }
}

impl From<backroom::Invalid> for Trouble {
    fn from(invalid: backroom::Invalid) -> Self {
        Self::Problem(invalid.into())
    }
}

impl Trouble {
    /// A value of a form or of a query is wrong.
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Problem(Problem::new(Code::Invalid, why))
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn { to } => frame::redirect(&format!("/login?to={}", escaped(&to))),
            Self::Problem(problem) => {
                let code = problem.code();
                let body = html! {
                    p { (problem.detail()) }
                    p { "What to do: " (code.remedy()) }
                };
                let mut response = Page::bare(code.title(), body).with_links().into_response();
                *response.status_mut() =
                    StatusCode::from_u16(code.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                response
            }
        }
    }
}

/// What a request for a path that does not exist gets: a page, if a browser asks, and a problem document otherwise.
pub(crate) async fn no_such_path(request: Request) -> Response {
    let accepts = request.headers().get_all(header::ACCEPT).into_iter();
    let is_browser = accepts.filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"));
    if is_browser && !request.uri().path().starts_with("/v1/") {
        return Trouble::Problem(Problem::new(Code::NotFound, "there is no such page")).into_response();
    }
    Problem::new(Code::NoSuchRoute, "the API has no such path").into_response()
}

/// Marks an answer that is a page, so that an error stays one and does not become a problem document.
#[derive(Debug, Clone, Copy)]
pub(super) struct IsPage;

/// Whether an answer is a page.
pub(crate) fn is_page(response: &Response) -> bool {
    response.extensions().get::<IsPage>().is_some()
}

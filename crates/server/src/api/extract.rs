//! Extractors whose rejections are problem documents.

use axum::extract::{
    FromRequest, FromRequestParts,
    rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
};

use super::{around::Cut, codes::Code, problem::Problem};

/// The body as JSON of a type.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(crate) struct Json<T>(pub(crate) T);

/// The parts of the path that vary.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub(crate) T);

/// The query string.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::JsonDataError(error) => Self::new(Code::Invalid, error.body_text()),
            JsonRejection::JsonSyntaxError(error) => Self::new(Code::Malformed, error.body_text()),
            JsonRejection::MissingJsonContentType(_) => {
                Self::new(Code::UnsupportedMediaType, "the route reads application/json")
            }
            JsonRejection::BytesRejection(error) => error.into(),
            other => Self::new(Code::Malformed, other.body_text()),
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match Cut::behind(&rejection) {
            Some(cut) => cut.into(),
            None => Self::new(Code::Malformed, rejection.body_text()),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::Malformed, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::Malformed, rejection.body_text())
    }
}

//! Extractors whose rejections are problem documents.

use axum::extract::{
    FromRequestParts,
    rejection::{BytesRejection, PathRejection, QueryRejection},
};

use super::{around::Cut, codes::Code, problem::Problem};

/// The parts of the path that vary.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(crate) struct Path<T>(pub(crate) T);

/// The query string.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(crate) struct Query<T>(pub(crate) T);

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

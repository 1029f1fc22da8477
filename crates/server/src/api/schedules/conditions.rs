//! `If-Match` and `If-None-Match` of a change: it is made only to the version that the caller has read.

use axum::http::{HeaderMap, HeaderName, header};
use backroom::{Error, ErrorKind};

use crate::{
    api::{codes::Code, problem::Problem},
    views::schedule::ScheduleView,
};

/// What a change asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conditions {
    /// One of these versions, or any (`*`).
    matches: Option<Vec<String>>,
    /// Whether there must be none (`If-None-Match: *`).
    must_be_new: bool,
}

/// How an error of the library carries the refusal of a condition to the route.
const REFUSED: &str = "the condition of the request does not hold: ";

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let named = |name: &HeaderName| -> Result<Option<Vec<String>>, Problem> {
            let mut tags = Vec::new();
            for value in headers.get_all(name) {
                let text = value.to_str().map_err(|_| {
                    Problem::new(Code::Malformed, format!("the header {name} has characters beyond ASCII"))
                })?;
                tags.extend(text.split(',').map(|tag| tag.trim().to_owned()));
            }
            Ok((!tags.is_empty()).then_some(tags))
        };
        let must_be_new = match named(&header::IF_NONE_MATCH)?.as_deref() {
            None => false,
            Some([any]) if any == "*" => true,
            Some(_) => {
                let why = "a change takes If-None-Match: * only; name versions in If-Match";
                return Err(Problem::new(Code::Malformed, why));
            }
        };
        Ok(Self { matches: named(&header::IF_MATCH)?, must_be_new })
    }

    /// Whether the change may be made to what is there.
    pub(super) fn check(&self, before: Option<&ScheduleView>) -> Result<(), Error> {
        let refused = |why: &str| Err(Error::new(ErrorKind::Refused, format!("{REFUSED}{why}")));
        if self.must_be_new && before.is_some() {
            return refused("a schedule of this name exists");
        }
        match (&self.matches, before) {
            (None, _) => Ok(()),
            (Some(_), None) => refused("there is no schedule of this name"),
            (Some(tags), Some(before)) => {
                let tag = before.etag();
                // A weak tag never matches here (RFC 9110, 13.1.1).
                if tags.iter().any(|named| named == "*" || *named == tag) {
                    Ok(())
                } else {
                    refused("its definition is another one now; read it again")
                }
            }
        }
    }

    /// An error of the library as a problem: that of a condition has a code of its own.
    pub(super) fn problem(error: Error) -> Problem {
        match error.message().strip_prefix(REFUSED) {
            Some(why) => Problem::new(Code::PreconditionFailed, format!("{REFUSED}{why}")),
            None => error.into(),
        }
    }
}

//! Why a job is where it is.

use backroom::{Reason, Redacted};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::rows::ReasonSchema;

/// Why a job is where it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Reasons {
    /// Every reason that bears on it, the most decisive first: its name, its data, and words for people.
    #[schema(value_type = Vec<ReasonSchema>)]
    pub(crate) reasons: Vec<ReasonView>,
}

impl Reasons {
    /// As readers see them.
    pub(crate) fn of(reasons: &[Reason], redacted: &Redacted) -> Self {
        let shown = |reason: &Reason| match reason {
            Reason::Finished { state, at, why: Some(why) } => {
                Reason::Finished { state: *state, at: *at, why: Some(redacted.text(why)) }
            }
            other => other.clone(),
        };
        Self { reasons: reasons.iter().map(|reason| ReasonView::new(&shown(reason))).collect() }
    }
}

/// One reason, as data and in words. The data is not read further, so a command also shows reasons that only a newer server
/// knows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReasonView {
    #[serde(flatten)]
    reason: Map<String, Value>,
    pub(crate) words: String,
}

impl ReasonView {
    fn new(reason: &Reason) -> Self {
        let Ok(Value::Object(data)) = serde_json::to_value(reason) else {
            unreachable!("invariant: a reason is a JSON object")
        };
        Self { reason: data, words: reason.to_string() }
    }
}

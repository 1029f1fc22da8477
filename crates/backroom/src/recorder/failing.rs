//! Why calls to the store fail, and since when.

use backroom_core::Timestamp;

use crate::{Error, ErrorKind};

/// Calls that fail at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    /// The last error with its causes.
    pub(crate) why: String,
    /// Whether the error concerns the store and not the one row that was to be written.
    pub(crate) is_of_store: bool,
}

impl Failing {
    /// A call failed. The first one in a row says since when.
    pub(crate) fn note(failing: &mut Option<Self>, error: &Error, now: Timestamp) {
        let is_of_store =
            matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NoSpace | ErrorKind::Unusable);
        let since = failing.as_ref().map_or(now, |failing| failing.since);
        *failing = Some(Self { since, why: with_causes(error), is_of_store });
    }
}

/// The error and its causes; the last one is what the database itself said.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text += &format!(": {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_store_are_distinguished_from_those_of_a_row() {
        for (kind, is_of_store) in [
            (ErrorKind::Unavailable, true),
            (ErrorKind::NoSpace, true),
            (ErrorKind::Unusable, true),
            (ErrorKind::Invalid, false),
        ] {
            let mut failing = None;
            Failing::note(&mut failing, &Error::new(kind, "commit"), Timestamp::UNIX_EPOCH);
            assert_eq!(failing.map(|failing| failing.is_of_store), Some(is_of_store), "{kind:?}");
        }
    }
}

//! A word for a state: one of the six stored ones, or what people see.

use backroom::{Shown, State};

/// What `--state` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateWord {
    /// `queued`: scheduled, retrying and available together.
    Queued,
    /// Any other word, as shown.
    Shown(Shown),
}

/// Reads a word.
pub(crate) fn state_word(text: &str) -> Result<StateWord, String> {
    if text == State::Queued.as_str() {
        return Ok(StateWord::Queued);
    }
    let known = Shown::ALL.into_iter().find(|shown| shown.as_str() == text);
    known.map(StateWord::Shown).ok_or_else(|| {
        let words = Shown::ALL.map(Shown::as_str).join(", ");
        format!("use queued (scheduled, retrying or available) or one of {words}")
    })
}

impl StateWord {
    /// The stored state that holds such jobs.
    pub(crate) fn stored(self) -> State {
        match self {
            Self::Queued | Self::Shown(Shown::Scheduled | Shown::Retrying | Shown::Available) => {
                State::Queued
            }
            Self::Shown(Shown::Running) => State::Running,
            Self::Shown(Shown::Waiting) => State::Waiting,
            Self::Shown(Shown::Completed) => State::Completed,
            Self::Shown(Shown::Cancelled) => State::Cancelled,
            Self::Shown(Shown::Discarded) => State::Discarded,
        }
    }

    /// Whether the stored state says it all.
    pub(crate) fn is_stored(self) -> bool {
        !matches!(self, Self::Shown(Shown::Scheduled | Shown::Retrying | Shown::Available))
    }

    /// Whether a job shown like this is meant.
    pub(crate) fn means(self, shown: Shown) -> bool {
        match self {
            Self::Queued => matches!(shown, Shown::Scheduled | Shown::Retrying | Shown::Available),
            Self::Shown(wanted) => wanted == shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_shown_can_be_asked_for() {
        for shown in Shown::ALL {
            let word = state_word(shown.as_str()).expect("a word");
            assert!(word.means(shown));
        }
        assert_eq!(state_word("queued").map(StateWord::stored), Ok(State::Queued));
        assert!(state_word("done").expect_err("unknown").contains("completed"));
    }
}

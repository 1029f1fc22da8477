//! A word for a state: one of the six stored ones, or what people see.

use backroom::{DisplayState, State};

/// What `--state` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateWord {
    /// `queued`: scheduled, retrying and available together.
    Queued,
    /// Any other word, as shown.
    DisplayState(DisplayState),
}

/// Reads a word.
pub(crate) fn state_word(text: &str) -> Result<StateWord, String> {
    if text == State::Queued.as_str() {
        return Ok(StateWord::Queued);
    }
    let known = DisplayState::ALL.into_iter().find(|shown| shown.as_str() == text);
    known.map(StateWord::DisplayState).ok_or_else(|| {
        let words = DisplayState::ALL.map(DisplayState::as_str).join(", ");
        format!("use queued (scheduled, retrying or available) or one of {words}")
    })
}

impl StateWord {
    /// The ways in which such jobs are shown.
    pub(crate) fn shown(self) -> Vec<DisplayState> {
        match self {
            Self::Queued => vec![DisplayState::Scheduled, DisplayState::Retrying, DisplayState::Available],
            Self::DisplayState(shown) => vec![shown],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_shown_can_be_asked_for() {
        for shown in DisplayState::ALL {
            let word = state_word(shown.as_str()).expect("a word");
            assert_eq!(word.shown(), [shown]);
        }
        let queued = state_word("queued").expect("a word").shown();
        assert!(queued.iter().all(|shown| shown.stored() == State::Queued), "{queued:?}");
        assert!(state_word("done").expect_err("unknown").contains("completed"));
    }
}

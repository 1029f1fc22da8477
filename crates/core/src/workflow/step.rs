//! How a try of a step is recorded.

use super::{
    Answer, Ask, Attempted, Entry, EntryState, Opened, Run, Ticket, Undo, VALUE_BYTES_MAX, Write,
    ask::AskState,
};
use crate::{
    Timestamp,
    bounds::{ERROR_BYTES_MAX, clip, later},
};

impl Run {
    /// A try of a step has ended, at `at` by the clock of the store. `chance` is uniform in `[0, 1)`.
    pub fn tried(&mut self, ticket: Ticket, attempted: Attempted, at: Timestamp, chance: f64) -> Vec<Write> {
        let asked = &self.asks[ticket.0];
        let (AskState::Runs(before), Ask::Step { retry, max_tries, is_compensated }) =
            (&asked.state, &asked.ask)
        else {
            // Its branch has lost a race in the meantime.
            return Vec::new();
        };
        let (tries, key) = (before.saturating_add(1), asked.named.key.clone());
        let at = at.max(self.now);
        let answer = match attempted {
            Attempted::Value(value) => {
                let bytes = value.as_str().len();
                if bytes > VALUE_BYTES_MAX {
                    let error = format!(
                        "the value is {bytes} bytes long; at most {VALUE_BYTES_MAX} are allowed. Store the bulk elsewhere and return \
                         where it is"
                    );
                    Answer::Failed { error }
                } else if self.is_over(bytes) {
                    Answer::Failed { error: self.full().to_string() }
                } else {
                    Answer::Value { value }
                }
            }
            Attempted::Failed(error) if tries < *max_tries => {
                let due_at = later(at, retry.delay(tries, chance));
                let opened = Opened::Trying { tries, due_at, error: clip(&error, ERROR_BYTES_MAX) };
                let entry = Entry::new(key, asked.ask.kind(), EntryState::Open(opened));
                return vec![Write::Entry(entry)];
            }
            Attempted::Failed(error) | Attempted::GivenUp(error) => {
                Answer::Failed { error: clip(&error, ERROR_BYTES_MAX) }
            }
        };
        let is_done = matches!(answer, Answer::Value { .. });
        let undo = (is_done && *is_compensated).then_some(Undo::Due);
        let closed = EntryState::Closed { seq: self.journal.next_seq(), at, answer };
        vec![Write::Entry(Entry { undo, ..Entry::new(key, asked.ask.kind(), closed) })]
    }
}

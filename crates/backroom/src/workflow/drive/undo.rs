//! Runs the compensations of a workflow.

use std::pin::pin;

use backroom_core::{
    Json,
    workflow::{Answer, EntryState},
};

use super::{
    super::{flow::Lost, step::attempted},
    Driver, Over,
};
use crate::worker::caught_in;

impl Driver<'_> {
    /// Runs one compensation.
    pub(super) async fn undo(&mut self, key: &str) -> Result<Option<Over>, Lost> {
        let (compensation, value) = {
            let mut state = self.flow.state();
            let value = match state.run.journal().entry(key).map(|entry| &entry.state) {
                Some(EntryState::Closed { answer: Answer::Value { value }, .. }) => value.clone(),
                Some(
                    EntryState::Closed { .. }
                    | EntryState::Open(_)
                    | EntryState::Lost
                    | EntryState::Superseded { .. },
                )
                | None => Json::null(),
            };
            (state.compensations.remove(key), value)
        };
        let Some(mut compensation) = compensation else {
            let why = format!(
                "the workflow must undo step {key:?}, and the code has no compensation for it; deploy code that runs the step with a \
                 compensation"
            );
            return self.block_because(why).await.map(Some);
        };
        let (stop, is_pressing) = (self.flow.context.clone(), self.is_pressing());
        let result = {
            let undoing = pin!(async { compensation(value).await });
            tokio::select! {
                biased;
                result = caught_in(undoing) => Some(result.unwrap_or_else(|panic| Err(panic.into_failure()))),
                () = stop.cancelled(), if is_pressing => None,
            }
        };
        // A failed one is tried again, perhaps in this run.
        let mut state = self.flow.state();
        state.compensations.insert(key.to_owned(), compensation);
        // It is undone again elsewhere.
        let Some(result) = result else { return Ok(None) };
        let (now, chance) = (self.engine.clock.now(), self.engine.ids.chance());
        for write in state.run.undone(key, attempted(result), now, chance) {
            self.pending.add(&mut state, write);
        }
        Ok(None)
    }

    /// Whether a compensation is not waited for.
    fn is_pressing(&self) -> bool {
        // A cancel lets compensations run: it is what they are for.
        !self.is_cancel_known && self.job().cancel_requested_at.is_none()
    }
}

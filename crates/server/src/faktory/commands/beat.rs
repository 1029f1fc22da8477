//! `BEAT`: a worker lives.

use serde_json::json;

use super::super::{
    Faktory,
    command::Beat,
    reply::{Refusal, Reply},
    workers::Stage,
};

/// Moves the heartbeat of a worker. Answers with what it has been asked to do, once that is not to go on.
pub(in super::super) async fn beat(faktory: &Faktory, beat: Beat) -> Result<Reply, Refusal> {
    let says = beat.current_state.as_deref().unwrap_or_default();
    let says =
        Stage::read(says).ok_or_else(|| Refusal::new(format!("invalid BEAT: unknown state {says:?}")))?;
    let stage = faktory.workers().beat(&beat.wid, says, faktory.now());
    let Some(stage) = stage else { return Err(Refusal::new(format!("unknown worker {}", beat.wid))) };
    faktory.alive(&beat.wid).await?;
    Ok(match stage.name() {
        None => Reply::Ok,
        Some(state) => Reply::Bulk(json!({ "state": state }).to_string()),
    })
}

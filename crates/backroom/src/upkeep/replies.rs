//! Drops messages of reply queues that are too old or too many.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Timestamp,
    bounds::earlier,
    message::{REPLY_QUEUE_BYTES_MAX, REPLY_QUEUE_MESSAGES_MAX, RETENTION},
};

use super::duty::{Duty, ROWS_MAX};
use crate::{
    Error,
    engine::Engine,
    store::{DropMessages, ReplyQueue},
};

/// How often to run when nothing is left to drop.
const SPAN: Duration = Duration::from_secs(60);
/// The pause before more is dropped.
const BREATH: Duration = Duration::from_secs(1);
/// Batches per tick and reply queue.
const BATCHES_MAX: usize = 20;

/// Drops messages.
pub(super) struct Replies;

impl Duty for Replies {
    const NAME: &'static str = "drop messages";

    async fn tick(&mut self, engine: &Engine, now: Timestamp) -> Result<Duration, Error> {
        let (mut after, mut all_done) = (None::<String>, true);
        loop {
            let page = engine.store.reply_queues(after.as_deref(), ROWS_MAX, now).await?;
            for queue in &page {
                all_done &= drop_from(engine, queue, now).await?;
            }
            match page.last() {
                Some(last) if page.len() == ROWS_MAX => after = Some(last.name.clone()),
                Some(_) | None => return Ok(if all_done { SPAN } else { BREATH }),
            }
        }
    }
}

/// Returns whether nothing is left to drop.
async fn drop_from(engine: &Engine, queue: &ReplyQueue, now: Timestamp) -> Result<bool, Error> {
    let before = earlier(now, RETENTION);
    let is_within = queue.oldest_at.is_none_or(|at| at >= before)
        && queue.messages <= REPLY_QUEUE_MESSAGES_MAX
        && queue.bytes <= REPLY_QUEUE_BYTES_MAX;
    if is_within {
        return Ok(true);
    }
    let bounds = Arc::new(DropMessages {
        reply_to: queue.name.clone(),
        before,
        messages_max: REPLY_QUEUE_MESSAGES_MAX,
        bytes_max: REPLY_QUEUE_BYTES_MAX,
        limit: ROWS_MAX,
    });
    let (mut dropped, mut is_done) = (0, false);
    for _ in 0..BATCHES_MAX {
        let of_batch = engine.store.drop_messages(Arc::clone(&bounds), now).await?;
        dropped += of_batch;
        if of_batch < ROWS_MAX as u64 {
            is_done = true;
            break;
        }
    }
    if dropped > 0 {
        tracing::warn!(
            reply_queue = %queue.name, dropped, messages = queue.messages, bytes = queue.bytes,
            "messages were dropped that no taker acknowledged; they were too old or too many"
        );
    }
    Ok(is_done)
}

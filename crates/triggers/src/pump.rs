//! Reads ahead from a service that is asked for messages: in a task, because the frame drops a call that takes long, and what such a
//! call had received would be hidden from every reader for a while.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom::clock::Clock;
use tokio::sync::mpsc::{self, Receiver};
use tokio_util::task::AbortOnDropHandle;

use crate::{Bounds, SourceError};

/// Rounds that wait to be taken.
const ROUNDS: usize = 1;
/// Most requests at once.
const WIDTH_MAX: usize = 8;
/// After a round of more bytes than this, fewer requests are sent at once.
const ROUND_BYTES: usize = 2 * 1024 * 1024;

/// What can be asked for messages.
#[async_trait]
pub(crate) trait Fetch: Send + Sync + 'static {
    /// A message, as the service gives it.
    type Message: Send + 'static;
    /// Most messages of one request.
    const AT_ONCE: usize;

    /// How many bytes a message takes.
    fn bytes(message: &Self::Message) -> usize;

    /// Some messages, or none. If it may, it waits a while for the first one.
    async fn fetch(&self, may_wait: bool) -> Result<Vec<Self::Message>, SourceError>;
}

/// Messages with the reading of the clock when they came.
pub(crate) struct Round<M> {
    messages: Vec<M>,
    received_at: Duration,
}

/// Reads ahead until it is dropped.
pub(crate) struct Pump<M> {
    rounds: Receiver<Result<Round<M>, SourceError>>,
    /// What is left of a round, with the reading of the clock when it came.
    left: VecDeque<M>,
    received_at: Duration,
    bytes: fn(&M) -> usize,
    _task: AbortOnDropHandle<()>,
}

impl<M: Send + 'static> Pump<M> {
    /// Begins to read. While a service gives as much as it can, more requests are sent at once; while it gives nothing, one waits.
    pub(crate) fn start<F: Fetch<Message = M>>(fetch: F, clock: Arc<dyn Clock>) -> Self {
        let (sender, rounds) = mpsc::channel(ROUNDS);
        let task = tokio::spawn(async move {
            let mut width = 1;
            loop {
                let asked = (0..width).map(|_| fetch.fetch(width == 1));
                let answers = futures_util::future::join_all(asked).await;
                // Not when they were asked for: a request may have waited long for the first message.
                let received_at = clock.monotonic();
                let mut messages = Vec::new();
                let mut failed = None;
                for answer in answers {
                    match answer {
                        Ok(more) => messages.extend(more),
                        Err(error) => failed = Some(error),
                    }
                }
                let is_heavy = messages.iter().map(F::bytes).sum::<usize>() > ROUND_BYTES;
                width = if is_heavy { 1 } else { next_width(width, messages.len(), F::AT_ONCE) };
                // What was received is taken before the error is. The receiver is dropped when the source is closed.
                if !messages.is_empty() && sender.send(Ok(Round { messages, received_at })).await.is_err() {
                    return;
                }
                if let Some(error) = failed {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            }
        });
        let (left, received_at) = (VecDeque::new(), Duration::ZERO);
        Self { rounds, left, received_at, bytes: F::bytes, _task: AbortOnDropHandle::new(task) }
    }

    /// Messages that were received, at least one, with the reading of the clock when they came. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self, bounds: Bounds) -> Result<(Vec<M>, Duration), SourceError> {
        while self.left.is_empty() {
            let ended = || SourceError::new("receive messages: the task that receives has ended");
            let round = self.rounds.recv().await.unwrap_or_else(|| Err(ended()))?;
            (self.left, self.received_at) = (round.messages.into(), round.received_at);
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(first) = self.left.front() {
            bytes += (self.bytes)(first);
            if !taken.is_empty() && (taken.len() >= bounds.rows || bytes > bounds.bytes) {
                break;
            }
            taken.extend(self.left.pop_front());
        }
        Ok((taken, self.received_at))
    }

    /// The same of a service that hides a message for a while from when it was received. Messages that waited here for nearly so long are passed
    /// over: they are delivered again. Answers until when the others stay hidden for sure.
    pub(crate) async fn next_hidden(
        &mut self,
        bounds: Bounds,
        hidden_for: Duration,
        clock: &dyn Clock,
    ) -> Result<(Vec<M>, Duration), SourceError> {
        loop {
            let (messages, received_at) = self.next(bounds).await?;
            let hidden_until = received_at + hidden_for * 4 / 5;
            if clock.monotonic() < hidden_until {
                return Ok((messages, hidden_until));
            }
        }
    }

    /// What was received and not taken.
    pub(crate) fn rest(&mut self) -> Vec<M> {
        let mut rest: Vec<M> = std::mem::take(&mut self.left).into();
        while let Ok(round) = self.rounds.try_recv() {
            rest.extend(round.map(|round| round.messages).unwrap_or_default());
        }
        rest
    }
}

/// How many requests to send at once after so many brought this many messages.
fn next_width(width: usize, received: usize, at_once: usize) -> usize {
    if received >= width * at_once {
        (width * 2).min(WIDTH_MAX)
    } else if received * 2 < width * at_once {
        (width / 2).max(1)
    } else {
        width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_grow_while_each_is_full_and_shrink_to_one_that_waits() {
        assert_eq!(next_width(1, 10, 10), 2);
        assert_eq!(next_width(2, 19, 10), 2);
        assert_eq!(next_width(8, 80, 10), 8);
        assert_eq!(next_width(8, 39, 10), 4);
        assert_eq!(next_width(1, 0, 10), 1);
    }
}

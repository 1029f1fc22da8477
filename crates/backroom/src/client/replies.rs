//! Taking messages from a reply queue.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{LeaseId, MessageId, MessageLease, bounds};

use super::Backroom;
use crate::{
    Error, ErrorKind,
    store::{Acknowledged, Call, MessageRow, ReplyQueue, TakeMessages},
};

/// How long a taker has for what it takes, unless it says otherwise.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// Most messages in one call.
const TAKE_MAX: usize = 1000;
/// Most bytes of messages in one call.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often a taker that waits asks when no hint comes: soon at first, then less often. A message whose lease ends, or whose
/// correlation id another process has, comes without a hint.
const ASKS: [Duration; 7] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// Reply queues in one page of the counts.
const QUEUES_AT_ONCE: usize = 500;

impl Backroom {
    /// The messages of a reply queue, which jobs send there that were enqueued with [`reply_to`](crate::Enqueue::reply_to).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use backroom::{Backroom, Json, Worker};
    ///
    /// let backroom = Backroom::open("memory:").await?;
    /// let worker = Worker::new(&backroom)
    ///     .queue("default", 4)
    ///     .handle_untyped("add", async |_args, _ctx| Ok(Json::parse("3")?))
    ///     .start()
    ///     .await?;
    /// let args = Json::parse(r#"{"one":1,"other":2}"#)?;
    /// backroom.enqueue_untyped("add", args).reply_to("sums").correlation_id("order 7").await?;
    ///
    /// let sums = backroom.replies("sums");
    /// let taken = sums.take_wait(10, Duration::from_secs(20)).await?;
    /// for message in taken.messages() {
    ///     let body = &message.message.body;
    ///     assert_eq!(body.correlation_id.as_deref(), Some("order 7"));
    ///     assert_eq!(body.output.as_ref().map(|output| output.as_str()), Some("3"));
    /// }
    /// // Without this, they are delivered again when the lease ends.
    /// taken.acknowledge().await?;
    /// worker.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replies(&self, queue: impl Into<String>) -> Replies {
        Replies { backroom: self.clone(), queue: queue.into(), lease: LEASE_DEFAULT }
    }

    /// Every reply queue that has messages, or has dropped some, by name.
    pub async fn reply_queues(&self) -> Result<Vec<ReplyQueue>, Error> {
        let mut all: Vec<ReplyQueue> = Vec::new();
        loop {
            let after = all.last().map(|queue| queue.name.clone());
            let page =
                self.store().reply_queues(after.as_deref(), QUEUES_AT_ONCE, self.clock().now()).await?;
            let is_last = page.len() < QUEUES_AT_ONCE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

/// A reply queue. Any number of takers, in any number of processes, may share one.
#[derive(Clone)]
pub struct Replies {
    backroom: Backroom,
    queue: String,
    lease: Duration,
}

impl Replies {
    /// How long a taker has for what it takes, at most twelve hours. What is not acknowledged by then is delivered again, to any
    /// taker. Default 30 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Takes at most `limit` messages, the oldest first; none if there are none now. While another taker has a message of a
    /// correlation id, later ones of it are not taken.
    ///
    /// Dropped before it answers, it may have taken messages; they are delivered again when the lease ends.
    pub async fn take(&self, limit: usize) -> Result<Taken, Error> {
        if self.lease.is_zero() || self.lease > backroom_core::message::LEASE_MAX {
            let why =
                format!("take messages: a lease of {:?} is not between a moment and 12 hours", self.lease);
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        bounds::check_name("reply queue", &self.queue)?;
        let engine = self.backroom.engine();
        let now = engine.clock.now();
        let lease = MessageLease::new(engine.ids.lease(), now, self.lease);
        let (reply_to, limit) = (self.queue.clone(), limit.min(TAKE_MAX));
        let take = TakeMessages { reply_to, limit, bytes_max: BYTES_MAX.min(engine.bytes_max), lease };
        let messages = engine.store.take_messages(Arc::new(take), now, Call::First).await?;
        Ok(Taken { replies: self.clone(), lease: lease.id, messages })
    }

    /// As [`take`](Self::take), but waits up to `timeout` for the first message.
    pub async fn take_wait(&self, limit: usize, timeout: Duration) -> Result<Taken, Error> {
        let clock = self.backroom.clock();
        let until = clock.monotonic().saturating_add(timeout);
        let listener = self.backroom.store().notifier().subscribe_replies(&self.queue);
        let mut asks = 0;
        loop {
            let taken = self.take(limit).await?;
            let left = until.saturating_sub(clock.monotonic());
            if !taken.is_empty() || left.is_zero() || limit == 0 {
                return Ok(taken);
            }
            let pause = ASKS[asks.min(ASKS.len() - 1)].min(left);
            asks += 1;
            tokio::select! {
                () = listener.notified() => {}
                () = clock.sleep(pause) => {}
            }
        }
    }

    /// Acknowledges messages that were taken under this lease: they are never delivered again. One answer per id, in order.
    /// Safe to repeat.
    pub async fn acknowledge(&self, lease: LeaseId, ids: &[MessageId]) -> Result<Vec<Acknowledged>, Error> {
        self.backroom.store().acknowledge_messages(lease, Arc::new(ids.to_vec())).await
    }

    /// Gives messages back that were taken under this lease: they are delivered again at once.
    pub async fn release(&self, lease: LeaseId, ids: &[MessageId]) -> Result<(), Error> {
        self.backroom.store().release_messages(lease, Arc::new(ids.to_vec())).await
    }

    /// Messages in their order without taking them, at most `limit`, after the position `after` (0 for the first).
    pub async fn list(&self, after: u64, limit: usize) -> Result<Vec<MessageRow>, Error> {
        self.backroom.store().messages(Some(&self.queue), after, limit.min(TAKE_MAX)).await
    }

    /// The name of the reply queue.
    pub fn name(&self) -> &str {
        &self.queue
    }
}

/// Messages in the hands of one taker, until it acknowledges them, gives them back or its lease ends.
#[must_use = "messages that are not acknowledged are delivered again"]
pub struct Taken {
    replies: Replies,
    lease: LeaseId,
    messages: Vec<MessageRow>,
}

impl Taken {
    /// The messages, those of each correlation id in their order.
    pub fn messages(&self) -> &[MessageRow] {
        &self.messages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The lease of all of them, for [`Replies::acknowledge`] and [`Replies::release`].
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Acknowledges all of them: they are never delivered again. Answers as [`Replies::acknowledge`].
    pub async fn acknowledge(&self) -> Result<Vec<Acknowledged>, Error> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        self.replies.acknowledge(self.lease, &self.ids()).await
    }

    /// Gives all of them back: they are delivered again at once.
    pub async fn release(&self) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        self.replies.release(self.lease, &self.ids()).await
    }

    fn ids(&self) -> Vec<MessageId> {
        self.messages.iter().map(|row| row.message.id).collect()
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("queue", &self.queue)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken")
            .field("lease", &self.lease)
            .field("messages", &self.messages)
            .finish_non_exhaustive()
    }
}

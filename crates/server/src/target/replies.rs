//! Reply queues: to list, to take messages from, to acknowledge.

use std::time::Duration;

use backroom::{LeaseId, MessageId, clock::Clock as _};
use hyper::Method;

use super::{Target, escaped};
use crate::{
    bodies::{MessageTake, TakenIds},
    terminal::Problem,
    views::{Acknowledgements, MessageList, ReplyQueueList, TakenMessages},
};

/// How long one request waits for a message. A server cuts longer waits, and so do proxies.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Target {
    /// Every reply queue that has messages, or has dropped some.
    pub(crate) async fn reply_queues(&self) -> Result<ReplyQueueList, Problem> {
        match self {
            Self::Store(backroom) => Ok(ReplyQueueList { reply_queues: backroom.reply_queues().await? }),
            Self::Server(remote) => remote.get("/v1/replies").await,
        }
    }

    /// Messages in their order; none is taken.
    pub(crate) async fn messages(
        &self,
        queue: &str,
        after: u64,
        limit: usize,
    ) -> Result<MessageList, Problem> {
        match self {
            Self::Store(backroom) => {
                Ok(MessageList { messages: backroom.replies(queue).list(after, limit).await? })
            }
            Self::Server(remote) => {
                remote.get(&format!("/v1/replies/{}?after={after}&limit={limit}", escaped(queue))).await
            }
        }
    }

    /// Takes messages; waits so long for the first one.
    pub(crate) async fn take(
        &self,
        queue: &str,
        limit: usize,
        wait: Duration,
        lease: Duration,
    ) -> Result<TakenMessages, Problem> {
        let remote = match self {
            Self::Store(backroom) => {
                let taken = backroom.replies(queue).lease(lease).take_wait(limit, wait).await?;
                return Ok(TakenMessages { lease: taken.lease(), messages: taken.messages().to_vec() });
            }
            Self::Server(remote) => remote,
        };
        let clock = backroom::clock::SystemClock::default();
        let until = clock.monotonic().saturating_add(wait);
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        loop {
            let left = until.saturating_sub(clock.monotonic());
            let wait_ms = millis(left.min(WAIT_MAX));
            let take = MessageTake { limit: Some(limit), wait_ms, lease_ms: Some(millis(lease)) };
            let path = format!("/v1/replies/{}/take", escaped(queue));
            let taken: TakenMessages = remote.send(Method::POST, &path, &take).await?;
            if !taken.messages.is_empty() || left <= WAIT_MAX {
                return Ok(taken);
            }
        }
    }

    /// Acknowledges messages that were taken; answers what became of each.
    pub(crate) async fn acknowledge(
        &self,
        queue: &str,
        lease: LeaseId,
        ids: &[MessageId],
    ) -> Result<Acknowledgements, Problem> {
        match self {
            Self::Store(backroom) => {
                Ok(Acknowledgements::new(backroom.replies(queue).acknowledge(lease, ids).await?))
            }
            Self::Server(remote) => {
                let path = format!("/v1/replies/{}/acknowledge", escaped(queue));
                remote.send(Method::POST, &path, &TakenIds { lease, ids: ids.to_vec() }).await
            }
        }
    }

    /// Gives messages back that were taken.
    pub(crate) async fn release(
        &self,
        queue: &str,
        lease: LeaseId,
        ids: &[MessageId],
    ) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.replies(queue).release(lease, ids).await?),
            Self::Server(remote) => {
                let path = format!("/v1/replies/{}/release", escaped(queue));
                remote.send(Method::POST, &path, &TakenIds { lease, ids: ids.to_vec() }).await
            }
        }
    }
}

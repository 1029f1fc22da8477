//! Messages to a queue, a subject or a stream of a broker. Each is a job, as a message to a URL is: durable, retried, visible.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{MessageBody, Reply, hidden_within};
use crate::{Draft, Extras, Invalid, JobId, JobRow, Json, RetryPolicy, draft::NewJob};

/// The kind of jobs that send a message to a broker.
pub const KIND: &str = "backroom.reply";
/// The queue of such jobs.
pub const QUEUE: &str = "backroom.replies";
/// What `reply_to` begins with when it names a broker and not a reply queue.
pub const PREFIX: &str = "broker:";

/// Where a message goes at a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerAddress<'a> {
    /// The name that the settings give the broker.
    pub broker: &'a str,
    /// The queue, the subject or the stream.
    pub address: &'a str,
}

impl<'a> BrokerAddress<'a> {
    /// Reads `broker:NAME/ADDRESS`. None if the text names a reply queue.
    pub fn read(reply_to: &'a str) -> Result<Option<Self>, Invalid> {
        let Some(rest) = reply_to.strip_prefix(PREFIX) else { return Ok(None) };
        match rest.split_once('/') {
            Some((broker, address)) if !broker.is_empty() && !address.is_empty() => {
                Ok(Some(Self { broker, address }))
            }
            Some(_) | None => {
                let why = format!("{reply_to:?} names no address at a broker; write broker:NAME/ADDRESS");
                Err(Invalid::new("reply_to", why))
            }
        }
    }
}

/// The args of a job that sends a message to a broker. The job's id names the message: it is the same for every attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyArgs {
    /// Where it is sent, as the caller wrote it.
    pub to: String,
    /// What is sent.
    pub event: MessageBody,
}

/// Twelve attempts within about an hour: the client that asked waits for the answer, and a broker is away for minutes.
pub fn retry_policy() -> RetryPolicy {
    const WAITS: [u64; 11] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800];
    RetryPolicy::list(WAITS.map(Duration::from_secs))
}

/// The job that sends `body`. Its id is derived from that of the message, and differs from that of a callback about the same change.
pub(super) fn job(reply: &Reply, id: Uuid, body: MessageBody, of: &JobRow) -> NewJob {
    let now = body.at;
    let args = ReplyArgs { to: reply.to.clone(), event: body };
    let args = Json::encode(&args).expect("invariant: a message body is JSON of bounded depth");
    let retry = Some(retry_policy());
    let draft = Draft {
        queue: QUEUE.into(),
        extras: Extras {
            retry,
            traceparent: of.extras.traceparent.clone(),
            hidden: hidden_within(&of.extras.hidden),
            ..Extras::default()
        },
        ..Draft::new(KIND, args)
    };
    // The last bit: a hash decides it otherwise.
    let id = JobId(Uuid::from_u128(id.as_u128() ^ 1));
    draft.check_ours(id, now, usize::MAX).expect("invariant: what the draft is made of was checked before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_at_a_broker_has_its_name_and_the_rest() {
        let read = |text| BrokerAddress::read(text).map(|found| found.map(|at| (at.broker, at.address)));
        assert_eq!(read("done"), Ok(None));
        assert_eq!(read("broker:shop/orders.done"), Ok(Some(("shop", "orders.done"))));
        assert_eq!(read("broker:shop/a/b"), Ok(Some(("shop", "a/b"))));
        for wrong in ["broker:", "broker:shop", "broker:shop/", "broker:/a"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

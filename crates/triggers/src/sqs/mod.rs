//! A queue of Amazon SQS as a source.
//!
//! A message is hidden from other readers while a job is made of it, and deleted once that job is durable. One that cannot become a job
//! goes to the dead-letter queue that the redrive policy names. Start reading at [`Source::next`] of [`SqsQueue`].

mod api;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use backroom::{Timestamp, clock::Clock};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use self::api::Queue;
use crate::{
    AwsAccess, Bounds, Delivery, Settled, Source, SourceContext, SourceError, Verdict,
    pump::{Fetch, Pump},
};

/// How long one request waits for the first message. SQS allows no more.
const WAIT: Duration = Duration::from_secs(20);
/// Longest time that giving messages back may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A queue of Amazon SQS, or of a service that speaks its language. The body of a message is that of the delivery, its attributes are
/// headers.
#[derive(Debug)]
pub struct SqsQueue {
    url: String,
    access: AwsAccess,
    ca_file: Option<PathBuf>,
    hidden_for: Duration,
    open: Option<Open>,
    next_receipt: u64,
}

struct Open {
    queue: Queue,
    /// Where messages go that cannot become a job.
    dead_letters: Option<Queue>,
    pump: Pump<Message>,
    clock: Arc<dyn Clock>,
    in_hand: HashMap<u64, Message>,
    /// The reading of the clock up to which what is in hand is surely hidden.
    hidden_until: Duration,
}

impl SqsQueue {
    /// The queue with this URL: `https://sqs.eu-central-1.amazonaws.com/123456789012/orders`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            access: AwsAccess::default(),
            ca_file: None,
            hidden_for: Duration::from_secs(15),
            open: None,
            next_receipt: 0,
        }
    }

    /// Keys and region.
    #[must_use]
    pub fn access(mut self, access: AwsAccess) -> Self {
        self.access = access;
        self
    }

    /// A file in PEM with authorities that are trusted besides those that this machine trusts.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// After so long, a message that was delivered to a process that died is delivered to another one. Default 15 s.
    #[must_use]
    pub fn redeliver_after(mut self, span: Duration) -> Self {
        self.hidden_for = span.clamp(Duration::from_secs(3), Duration::from_secs(12 * 3600));
        self
    }
}

struct Receiving {
    queue: Queue,
    hidden_for: Duration,
}

#[async_trait]
impl Fetch for Receiving {
    type Message = Message;
    const AT_ONCE: usize = 10;

    fn bytes(message: &Message) -> usize {
        message.body().map_or(0, str::len) + 1024
    }

    async fn fetch(&self, may_wait: bool) -> Result<Vec<Message>, SourceError> {
        self.queue.receive(self.hidden_for, if may_wait { WAIT } else { Duration::ZERO }).await
    }
}

fn closed() -> SourceError {
    SourceError::new("read the queue: it is not open")
}

#[async_trait]
impl Source for SqsQueue {
    fn kind(&self) -> &'static str {
        "sqs"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        let redeliver_after_ms = u64::try_from(self.hidden_for.as_millis()).unwrap_or(u64::MAX);
        json!({
            "url": backroom::without_password(&self.url),
            "region": self.access.region,
            "redeliver_after_ms": redeliver_after_ms,
        })
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let queue = Queue::connect(&self.url, &self.access, self.ca_file.as_deref()).await?;
        let about = queue.about().await?;
        let dead_letters = match &about.dead_letters {
            Some((name, account)) => match queue.named(name, account).await {
                Ok(found) => Some(found),
                Err(error) => {
                    let trigger = context.trigger();
                    tracing::warn!(
                        trigger,
                        "{error}; messages that cannot become a job are left to the redrive policy"
                    );
                    None
                }
            },
            None => None,
        };
        let clock = Arc::clone(context.backroom().clock());
        let receiving = Receiving { queue: queue.clone(), hidden_for: self.hidden_for };
        let pump = Pump::start(receiving, Arc::clone(&clock));
        let hidden_until = clock.monotonic();
        self.open = Some(Open { queue, dead_letters, pump, clock, in_hand: HashMap::new(), hidden_until });
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let open = self.open.as_mut().ok_or_else(closed)?;
        let hidden = open.pump.next_hidden(bounds, self.hidden_for, open.clock.as_ref()).await?;
        let (messages, hidden_until) = hidden;
        open.hidden_until = hidden_until;
        let deliver = |message: Message| {
            let receipt = self.next_receipt;
            self.next_receipt += 1;
            let delivery = delivery(&message).receipt(receipt);
            open.in_hand.insert(receipt, message);
            delivery
        };
        Ok(messages.into_iter().map(deliver).collect())
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let open = self.open.as_mut().ok_or_else(closed)?;
        let mut done = Vec::with_capacity(settled.len());
        for Settled { receipt, verdict } in settled {
            let Some(message) = open.in_hand.remove(&receipt) else { continue };
            if let Verdict::Refused { reason, .. } = verdict
                && let Some(letters) = &open.dead_letters
                && let Err(error) = letters.send_copy(&message, &reason).await
            {
                // It is received again until the redrive policy moves it, and blocks nothing.
                tracing::warn!(
                    "{error}; the message {:?} is left to the redrive policy",
                    message.message_id()
                );
                continue;
            }
            done.extend(message.receipt_handle);
        }
        open.queue.delete(done).await
    }

    async fn keep(&mut self, _: &[u64]) -> Result<(), SourceError> {
        let hidden_for = self.hidden_for;
        let open = self.open.as_mut().ok_or_else(closed)?;
        let now = open.clock.monotonic();
        // It is called more often than needed.
        if open.hidden_until.saturating_sub(now) > hidden_for / 2 {
            return Ok(());
        }
        let handles = open.in_hand.values().filter_map(|message| message.receipt_handle.clone()).collect();
        open.queue.hide(handles, hidden_for).await?;
        open.hidden_until = now + hidden_for * 4 / 5;
        Ok(())
    }

    async fn lag(&mut self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let about = tokio::time::timeout(CLOSE_MAX, open.queue.about()).await.ok()?;
        about.ok()?.waiting
    }

    async fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let messages = open.pump.rest().into_iter().chain(open.in_hand.into_values());
        let handles: Vec<String> = messages.filter_map(|message| message.receipt_handle).collect();
        if handles.is_empty() {
            return;
        }
        // If this fails, they are delivered again a while later.
        match tokio::time::timeout(CLOSE_MAX, open.queue.hide(handles, Duration::ZERO)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("messages were not given back: {error}"),
            Err(_) => tracing::debug!("messages were not given back in time"),
        }
    }
}

/// What a message becomes for the frame.
fn delivery(message: &Message) -> Delivery {
    let of = |name: MessageSystemAttributeName| message.attributes().and_then(|all| all.get(&name)).cloned();
    let identity = message.message_id().unwrap_or_default();
    let mut delivery = Delivery::new(identity, message.body().unwrap_or_default());
    for (name, value) in message.message_attributes().into_iter().flatten() {
        let text = match (value.string_value(), value.binary_value()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(bytes)) => STANDARD.encode(bytes.as_ref()),
            (None, None) => continue,
        };
        delivery = delivery.header(name, text);
    }
    let count = of(MessageSystemAttributeName::ApproximateReceiveCount);
    delivery = delivery.header("receive-count", count.unwrap_or_else(|| "1".into()));
    let sent_ms = of(MessageSystemAttributeName::SentTimestamp).and_then(|text| text.parse().ok());
    delivery.at = sent_ms.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    delivery.order_key = of(MessageSystemAttributeName::MessageGroupId);
    delivery
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("in_hand", &self.in_hand.len()).finish_non_exhaustive()
    }
}

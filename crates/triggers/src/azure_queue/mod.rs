//! A queue of Azure Storage as a source.
//!
//! A message is hidden from other readers while a job is made of it, and deleted once that job is durable. One that cannot become a job
//! goes to the queue `NAME-poison`, as Azure Functions has it. The requests are in `api.rs`.

mod api;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom::{Invalid, clock::Clock};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, stream};
use reqwest::Url;
use serde_json::json;

use self::api::{Message, Queue};
use crate::{
    AzureAccess, Bounds, Delivery, Settled, Source, SourceContext, SourceError, Verdict,
    azure::Account,
    cloud::Cloud,
    pump::{Fetch, Pump},
};

/// Requests at once that delete messages, or extend the time in which they are not delivered again.
const AT_ONCE: usize = 16;
/// Longest time that giving messages back, or asking for their number, may take.
const ASIDE_MAX: Duration = Duration::from_secs(5);

/// How the text of a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueEncoding {
    /// What looks like JSON is itself; other text is base64 if it can be.
    #[default]
    Auto,
    /// Base64, as Azure Functions and the older clients write it.
    Base64,
    /// The text itself.
    Text,
}

impl QueueEncoding {
    /// Every encoding.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Base64, Self::Text];

    /// Its name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Base64 => "base64",
            Self::Text => "text",
        }
    }

    /// The content of a message. Fails if the text is not written so.
    fn decode(self, text: &str) -> Result<Vec<u8>, String> {
        let trimmed = text.trim();
        let decoded = STANDARD.decode(trimmed);
        match self {
            Self::Text => Ok(text.into()),
            Self::Base64 => decoded.map_err(|error| {
                format!("the message is no base64: {error}; if it is text, set encoding to text")
            }),
            Self::Auto => {
                let looks_like_json = serde_json::from_str::<serde::de::IgnoredAny>(trimmed).is_ok();
                Ok(if looks_like_json { text.into() } else { decoded.unwrap_or_else(|_| text.into()) })
            }
        }
    }
}

/// A queue of Azure Storage. The content of a message is the body of the delivery.
#[derive(Debug)]
pub struct AzureQueue {
    url: Url,
    account: String,
    access: AzureAccess,
    ca_file: Option<PathBuf>,
    encoding: QueueEncoding,
    hidden_for: Duration,
    poll: Duration,
    open: Option<Open>,
    next_receipt: u64,
}

struct Open {
    queue: Queue,
    pump: Pump<Message>,
    clock: Arc<dyn Clock>,
    in_hand: HashMap<u64, Message>,
    /// The reading of the clock up to which what is in hand is surely hidden.
    hidden_until: Duration,
}

impl AzureQueue {
    /// The queue with this URL: `https://ACCOUNT.queue.core.windows.net/QUEUE`. Elsewhere the account is the first part of the path, as in
    /// `http://127.0.0.1:10001/devstoreaccount1/orders`.
    pub fn new(url: &str) -> Result<Self, Invalid> {
        let wrong = || {
            let why = "is no URL of a queue; write https://ACCOUNT.queue.core.windows.net/QUEUE";
            Invalid::new("url", why)
        };
        let url = Url::parse(url.trim_end_matches('/')).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        let of_host = host.split_once(".queue.").map(|(account, _)| account.to_owned());
        let parts: Vec<&str> = url.path().split('/').skip(1).filter(|part| !part.is_empty()).collect();
        let account = match (of_host, parts.as_slice()) {
            (Some(account), [_]) => account,
            (None, [account, _]) => (*account).to_owned(),
            _ => return Err(wrong()),
        };
        if url.query().is_some() || !url.username().is_empty() {
            return Err(Invalid::new("url", "has more than a queue; write a signature in `sas`"));
        }
        Ok(Self {
            url,
            account,
            access: AzureAccess::default(),
            ca_file: None,
            encoding: QueueEncoding::default(),
            hidden_for: Duration::from_secs(15),
            poll: Duration::from_millis(500),
            open: None,
            next_receipt: 0,
        })
    }

    /// A key or a signature.
    #[must_use]
    pub fn access(mut self, access: AzureAccess) -> Self {
        self.access = access;
        self
    }

    /// A file in PEM with authorities that are trusted besides those that this machine trusts.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// How the text of a message is written.
    #[must_use]
    pub fn encoding(mut self, encoding: QueueEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// After so long, a message that was delivered to a process that died is delivered to another one. Default 15 s.
    #[must_use]
    pub fn redeliver_after(mut self, span: Duration) -> Self {
        self.hidden_for = span.clamp(Duration::from_secs(3), Duration::from_secs(7 * 24 * 3600));
        self
    }

    /// How often an empty queue is asked again. Default 500 ms.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll.max(Duration::from_millis(10));
        self
    }
}

struct Receiving {
    queue: Queue,
    hidden_for: Duration,
    poll: Duration,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Fetch for Receiving {
    type Message = Message;
    const AT_ONCE: usize = 32;

    fn bytes(message: &Message) -> usize {
        message.message_text.len() + 512
    }

    async fn fetch(&self, may_wait: bool) -> Result<Vec<Message>, SourceError> {
        let messages = self.queue.receive(self.hidden_for).await?;
        if messages.is_empty() && may_wait {
            // The service does not wait for messages.
            self.clock.sleep(self.poll).await;
        }
        Ok(messages)
    }
}

fn closed() -> SourceError {
    SourceError::new("read the queue: it is not open")
}

#[async_trait]
impl Source for AzureQueue {
    fn kind(&self) -> &'static str {
        "azure-queue"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        json!({
            "url": self.url.as_str(),
            "encoding": self.encoding.as_str(),
            "poll_ms": u64::try_from(self.poll.as_millis()).unwrap_or(u64::MAX),
            "redeliver_after_ms": u64::try_from(self.hidden_for.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let clock = Arc::clone(context.backroom().clock());
        let cloud = Cloud::new(self.ca_file.as_deref(), &clock)?;
        let account = Account::new(cloud, &self.account, &self.access)?;
        let queue = Queue { account, url: self.url.clone() };
        // A wrong key or a wrong name is known at once.
        queue.count().await?;
        let receiving = Receiving {
            queue: queue.clone(),
            hidden_for: self.hidden_for,
            poll: self.poll,
            clock: Arc::clone(&clock),
        };
        let pump = Pump::start(receiving, Arc::clone(&clock));
        let hidden_until = clock.monotonic();
        self.open = Some(Open { queue, pump, clock, in_hand: HashMap::new(), hidden_until });
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
            let delivery = delivery(&message, self.encoding).receipt(receipt);
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
            if matches!(verdict, Verdict::Refused { .. })
                && let Err(error) = open.queue.poison().put(&message.message_text).await
            {
                // Backroom's own dead letter has it and the reason, so nothing is lost by going on.
                tracing::warn!(
                    "{error}; the message {} is only a dead letter of Backroom",
                    message.message_id
                );
            }
            done.push(message);
        }
        let queue = &open.queue;
        let deletes: Vec<_> = done.iter().map(|message| queue.delete(message)).collect();
        let mut deletes = stream::iter(deletes).buffer_unordered(AT_ONCE);
        while let Some(deleted) = deletes.next().await {
            deleted?;
        }
        Ok(())
    }

    async fn keep(&mut self, _: &[u64]) -> Result<(), SourceError> {
        let hidden_for = self.hidden_for;
        let open = self.open.as_mut().ok_or_else(closed)?;
        let now = open.clock.monotonic();
        // It is called more often than needed.
        if open.hidden_until.saturating_sub(now) > hidden_for / 2 {
            return Ok(());
        }
        let queue = open.queue.clone();
        let hide = async |message: &mut Message| {
            if let Some(receipt) = queue.hide(message, hidden_for).await? {
                message.pop_receipt = receipt;
            }
            Ok::<_, SourceError>(())
        };
        let mut hides = stream::iter(open.in_hand.values_mut().map(hide)).buffer_unordered(AT_ONCE);
        while let Some(hidden) = hides.next().await {
            hidden?;
        }
        open.hidden_until = now + hidden_for * 4 / 5;
        Ok(())
    }

    async fn lag(&mut self) -> Option<u64> {
        let open = self.open.as_ref()?;
        tokio::time::timeout(ASIDE_MAX, open.queue.count()).await.ok()?.ok()?
    }

    async fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let messages: Vec<Message> = open.pump.rest().into_iter().chain(open.in_hand.into_values()).collect();
        let queue = &open.queue;
        let give_back = async {
            let hides: Vec<_> = messages.iter().map(|message| queue.hide(message, Duration::ZERO)).collect();
            stream::iter(hides).buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
        };
        if tokio::time::timeout(ASIDE_MAX, give_back).await.is_err() {
            // They are delivered again a while later.
            tracing::debug!("messages were not given back in time");
        }
    }
}

/// What a message becomes for the frame.
fn delivery(message: &Message, encoding: QueueEncoding) -> Delivery {
    let times = jiff::fmt::rfc2822::DateTimeParser::new();
    let (body, refused) = match encoding.decode(&message.message_text) {
        Ok(body) => (body, None),
        Err(why) => (message.message_text.clone().into_bytes(), Some(why)),
    };
    let delivery = Delivery::new(message.message_id.as_str(), body)
        .header("receive-count", message.dequeue_count.to_string());
    Delivery { at: times.parse_timestamp(&message.insertion_time).ok(), refused, ..delivery }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("in_hand", &self.in_hand.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_an_account_and_a_queue() {
        let account = |url: &str| AzureQueue::new(url).map(|queue| queue.account).ok();
        assert_eq!(account("https://shop.queue.core.windows.net/orders"), Some("shop".into()));
        assert_eq!(account("https://shop.queue.core.windows.net/orders/"), Some("shop".into()));
        assert_eq!(
            account("http://127.0.0.1:10001/devstoreaccount1/orders"),
            Some("devstoreaccount1".into())
        );
        for wrong in [
            "",
            "orders",
            "https://shop.queue.core.windows.net/",
            "https://shop.queue.core.windows.net/a/b",
            "http://127.0.0.1:10001/orders",
            "https://shop.queue.core.windows.net/orders?sig=x",
        ] {
            assert!(AzureQueue::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_text_of_a_message_is_base64_unless_it_looks_like_json() {
        let auto = |text: &str| QueueEncoding::Auto.decode(text).unwrap();
        assert_eq!(auto("{\"a\": 1}"), b"{\"a\": 1}");
        assert_eq!(auto("eyJhIjoxfQ=="), b"{\"a\":1}");
        assert_eq!(auto("1234"), b"1234", "it is JSON");
        assert_eq!(auto("hello, world"), b"hello, world");
        assert_eq!(QueueEncoding::Text.decode("eyJhIjoxfQ==").unwrap(), b"eyJhIjoxfQ==");
        assert!(QueueEncoding::Base64.decode("{}").unwrap_err().contains("set encoding to text"));
    }
}

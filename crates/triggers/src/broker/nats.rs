//! A stream of NATS JetStream, read by a durable pull consumer.
//!
//! The server delivers a message again when it was not acknowledged for the consumer's `ack_wait`. Newer messages would overtake those that a
//! dead reader had in hand. So a single reader first waits for these, while it allows the server to deliver no more than them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::PathBuf,
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event,
    jetstream::{
        self, AckKind,
        consumer::{AckPolicy, DeliverPolicy, FromConsumer as _, PullConsumer, pull},
        stream::Stream,
    },
};
use async_trait::async_trait;
use backroom::{Timestamp, clock::Clock, without_password};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::watch;

use super::{Message, Readers, failed, within};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError, Verdict};

const CONNECT: Duration = Duration::from_secs(10);
/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long one request for messages stands, and how often the server shows that it still does.
const EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What the headers of a CloudEvent begin with (CloudEvents, NATS binding).
const CE_PREFIXES: [&str; 1] = ["ce-"];

/// A stream of NATS JetStream. The server must have it; the durable consumer is made if it does not exist.
pub struct JetStream {
    url: String,
    stream: String,
    consumer: Option<String>,
    subject: String,
    readers: Readers,
    existing: bool,
    ack_wait: Duration,
    prefetch: usize,
    ca_file: Option<PathBuf>,
    open: Option<Open>,
}

struct Open {
    client: Client,
    consumer: PullConsumer,
    messages: pull::Stream,
    /// Whether the connection broke.
    lost: watch::Receiver<bool>,
    ready: VecDeque<Delivery>,
    in_hand: BTreeMap<u64, jetstream::Message>,
    receipts: u64,
    /// What names the stream: one that is deleted and made again counts from one again.
    made: String,
    failed: Option<SourceError>,
}

impl JetStream {
    /// A stream, such as `ORDERS` at `nats://user:password@host:4222`. With `tls://` the connection has TLS.
    pub fn new(url: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            stream: stream.into(),
            consumer: None,
            subject: String::new(),
            readers: Readers::One,
            existing: true,
            ack_wait: Duration::from_secs(15),
            prefetch: 2000,
            ca_file: None,
            open: None,
        }
    }

    /// The durable consumer. Default `backroom-` and the name of the trigger.
    #[must_use]
    pub fn consumer(mut self, consumer: impl Into<String>) -> Self {
        self.consumer = Some(consumer.into());
        self
    }

    /// Only messages with this subject, such as `orders.>`. Default all of the stream.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// How many processes read. Default one.
    #[must_use]
    pub fn readers(mut self, readers: Readers) -> Self {
        self.readers = readers;
        self
    }

    /// Whether messages that are in the stream before the consumer is made count. Default yes.
    #[must_use]
    pub fn existing(mut self, existing: bool) -> Self {
        self.existing = existing;
        self
    }

    /// After so long without an acknowledgement the server delivers a message again. Default 15 s.
    #[must_use]
    pub fn ack_wait(mut self, span: Duration) -> Self {
        self.ack_wait = span.max(Duration::from_millis(100));
        self
    }

    /// Most messages that are delivered and not acknowledged. Default 2,000.
    #[must_use]
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = messages.max(1);
        self
    }

    /// Trusts the authorities whose certificates this file has, in PEM, besides those of the machine.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    fn address(&self) -> String {
        without_password(&self.url)
    }

    fn opened(&mut self) -> Result<&mut Open, SourceError> {
        self.open.as_mut().ok_or_else(|| SourceError::new("read the stream: it is not open"))
    }

    fn failing(&self, what: &str, error: &(dyn std::error::Error + 'static)) -> SourceError {
        failed(&format!("{what} of the stream {:?}", self.stream), &self.address(), error)
    }

    async fn connect(&self) -> Result<(Client, watch::Receiver<bool>), SourceError> {
        let (lost, watched) = watch::channel(false);
        let mut options = ConnectOptions::new()
            .name("backroom")
            .connection_timeout(CONNECT)
            .request_timeout(Some(ANSWER))
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    lost.send_replace(true);
                }
                std::future::ready(())
            });
        if let Some(path) = &self.ca_file {
            options = options.add_root_certificates(path.clone());
        }
        Ok((connect(options, &self.url).await?, watched))
    }

    async fn find(&self, client: &Client) -> Result<Stream, SourceError> {
        let context = jetstream::new(client.clone());
        context.get_stream(&self.stream).await.map_err(|error| {
            let found = failed(&format!("find the stream {:?}", self.stream), &self.address(), &error);
            match found.remedy {
                Some(_) => found,
                None => found.remedy(
                    "make the stream, correct its name in `stream`, or switch JetStream on at the server",
                ),
            }
        })
    }

    /// The consumer, made if it does not exist, with so many messages that may be delivered and not acknowledged.
    async fn put_consumer(
        &self,
        stream: &Stream,
        name: &str,
        pending_max: usize,
    ) -> Result<PullConsumer, SourceError> {
        let wanted = pull::Config {
            durable_name: Some(name.to_owned()),
            deliver_policy: if self.existing { DeliverPolicy::All } else { DeliverPolicy::New },
            ack_policy: AckPolicy::Explicit,
            filter_subject: self.subject.clone(),
            ..pull::Config::default()
        };
        let found: Option<PullConsumer> = stream.get_consumer(name).await.ok();
        let known = found
            .map(|consumer| pull::Config::try_from_consumer_config(consumer.cached_info().config.clone()));
        // What cannot be changed stays as it is.
        let base = match known {
            Some(Ok(config)) if config.filter_subject != wanted.filter_subject => {
                let why = format!(
                    "use the consumer {name:?} of the stream {:?}: it has the subject {:?}",
                    self.stream, config.filter_subject
                );
                return Err(
                    SourceError::new(why).remedy("name another one in `consumer`, or delete this one")
                );
            }
            Some(Ok(config)) => config,
            Some(Err(error)) => return Err(self.failing("use the consumer", &*error)),
            None => wanted,
        };
        let pending_max = i64::try_from(pending_max).unwrap_or(i64::MAX);
        let config = pull::Config { ack_wait: self.ack_wait, max_ack_pending: pending_max, ..base };
        stream.create_consumer(config).await.map_err(|error| self.failing("make the consumer", &error))
    }

    /// Waits for what a dead reader had in hand, and answers it in the order of the stream.
    async fn recover(
        &self,
        stream: &Stream,
        name: &str,
        consumer: &PullConsumer,
        clock: &dyn Clock,
    ) -> Result<BTreeMap<u64, jetstream::Message>, SourceError> {
        let mut found = BTreeMap::new();
        let mut pending = consumer.cached_info().num_ack_pending;
        if pending == 0 {
            return Ok(found);
        }
        tracing::info!(consumer = %name, pending, "waits for messages that another reader had in hand");
        let limited = self.put_consumer(stream, name, pending).await?;
        let begun = clock.monotonic();
        // Each comes once its own time is over. What was deleted from the stream never comes.
        let patience = self.ack_wait.saturating_mul(2) + ANSWER;
        while found.len() < pending && clock.monotonic().saturating_sub(begun) < patience {
            let wanted = limited.batch().max_messages(pending - found.len()).expires(Duration::from_secs(1));
            let mut batch = wanted.messages().await.map_err(|error| self.failing("read", &error))?;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| self.failing("read", &*error))?;
                let sequence = message.info().map_err(|error| self.failing("read", &*error))?.stream_sequence;
                found.insert(sequence, message);
            }
            let info = limited.get_info().await.map_err(|error| self.failing("read the consumer", &error))?;
            pending = info.num_ack_pending;
        }
        Ok(found)
    }
}

/// Connects with the user and the password of the URL, or with its token.
pub(crate) async fn connect(mut options: ConnectOptions, url: &str) -> Result<Client, SourceError> {
    let address = without_password(url);
    let wrong = |why: String| SourceError::new(format!("connect to NATS at {address}: `url` {why}"));
    let mut url = url::Url::parse(url).map_err(|error| wrong(format!("is wrong: {error}")))?;
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), url.password().map(decoded));
    options = match (user, password) {
        (user, None) if user.is_empty() => options,
        (token, None) => options.token(token),
        (user, Some(password)) => options.user_and_password(user, password),
    };
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| wrong("has no host".into()))?;
    options.connect(url.as_str()).await.map_err(|error| failed("connect to NATS", &address, &error))
}

impl Open {
    fn take(&mut self, message: jetstream::Message) -> Result<(), SourceError> {
        self.receipts += 1;
        let read = |error: async_nats::Error| SourceError::new(format!("read a message: {error}"));
        self.ready.push_back(delivery(&message, &self.made, self.receipts).map_err(read)?);
        self.in_hand.insert(self.receipts, message);
        Ok(())
    }
}

fn delivery(message: &jetstream::Message, made: &str, receipt: u64) -> Result<Delivery, async_nats::Error> {
    let info = message.info()?;
    let mut headers = vec![
        ("subject".to_owned(), message.subject.to_string()),
        ("stream".to_owned(), info.stream.to_owned()),
        ("stream-sequence".to_owned(), info.stream_sequence.to_string()),
    ];
    let mut content_type = None;
    for (name, values) in message.headers.iter().flat_map(|headers| headers.iter()) {
        let name = AsRef::<str>::as_ref(name).to_ascii_lowercase();
        for value in values {
            if name == "content-type" {
                content_type = Some(value.to_string());
            } else {
                headers.push((name.clone(), value.to_string()));
            }
        }
    }
    let read = Message {
        identity: format!("{}/{made}/{}", info.stream, info.stream_sequence),
        headers,
        content_type,
        body: message.payload.to_vec(),
        at: Timestamp::from_nanosecond(info.published.unix_timestamp_nanos()).ok(),
        order_key: Some(message.subject.to_string()),
        receipt,
    };
    Ok(read.delivery(&CE_PREFIXES))
}

#[async_trait]
impl Source for JetStream {
    fn kind(&self) -> &'static str {
        "nats"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        json!({
            "url": self.address(), "stream": self.stream, "subject": self.subject, "consumer": self.consumer,
            "readers": self.readers.as_str(),
        })
    }

    fn is_exclusive(&self) -> bool {
        self.readers == Readers::One
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let (client, lost) = self.connect().await?;
        let stream = self.find(&client).await?;
        let name = self.consumer.clone().unwrap_or_else(|| format!("backroom-{}", context.trigger()));
        let mut consumer = self.put_consumer(&stream, &name, self.prefetch).await?;
        let mut recovered = BTreeMap::new();
        if self.readers == Readers::One {
            recovered = self.recover(&stream, &name, &consumer, &**context.backroom().clock()).await?;
            consumer = self.put_consumer(&stream, &name, self.prefetch).await?;
        }
        let bytes = context.bounds().bytes.max(client.server_info().max_payload.saturating_mul(2));
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.prefetch)
            .max_bytes_per_batch(bytes)
            .expires(EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages();
        let messages = messages.await.map_err(|error| self.failing("read", &error))?;
        let mut open = Open {
            client,
            consumer,
            messages,
            lost,
            ready: VecDeque::new(),
            in_hand: BTreeMap::new(),
            receipts: 0,
            made: stream.cached_info().created.unix_timestamp_nanos().to_string(),
            failed: None,
        };
        recovered.into_values().try_for_each(|message| open.take(message))?;
        self.open = Some(open);
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let address = self.address();
        let broken = || {
            let why = format!("read the stream: the connection to {address} broke");
            SourceError::new(why)
                .remedy("the server was restarted, or the network failed; it is connected again")
        };
        let stream = self.stream.clone();
        let failing = |error: &(dyn std::error::Error + 'static)| {
            failed(&format!("read of the stream {stream:?}"), &address, error)
        };
        let open = self.opened()?;
        if let Some(error) = open.failed.take() {
            return Err(error);
        }
        while open.ready.is_empty() {
            let message = tokio::select! {
                biased;
                message = open.messages.next() => message,
                _ = open.lost.wait_for(|lost| *lost) => return Err(broken()),
            };
            match message {
                Some(Ok(message)) => open.take(message)?,
                Some(Err(error)) => return Err(failing(&error)),
                None => return Err(SourceError::new("read the stream: the server ended the request")),
            }
        }
        // Whatever has arrived by now, without a wait.
        let mut bytes: usize = open.ready.iter().map(Delivery::bytes).sum();
        while open.ready.len() < bounds.rows && bytes < bounds.bytes {
            match open.messages.next().now_or_never() {
                Some(Some(Ok(message))) => {
                    open.take(message)?;
                    bytes += open.ready.back().map_or(0, Delivery::bytes);
                }
                Some(Some(Err(error))) => {
                    open.failed = Some(failing(&error));
                    break;
                }
                Some(None) | None => break,
            }
        }
        Ok(within(&mut open.ready, bounds))
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let address = self.address();
        let open = self.opened()?;
        for Settled { receipt, verdict } in settled {
            let Some(message) = open.in_hand.remove(&receipt) else { continue };
            let kind = match verdict {
                Verdict::Accepted => AckKind::Ack,
                // The server reports it to those who watch for terminated messages, and does not deliver it again.
                Verdict::Refused { .. } => AckKind::Term,
            };
            let done = message.ack_with(kind).await;
            done.map_err(|error| failed("acknowledge a message", &address, &*error))?;
        }
        Ok(())
    }

    async fn keep(&mut self, receipts: &[u64]) -> Result<(), SourceError> {
        let address = self.address();
        let open = self.opened()?;
        for message in receipts.iter().filter_map(|receipt| open.in_hand.get(receipt)) {
            let done = message.ack_with(AckKind::Progress).await;
            done.map_err(|error| failed("hold a message", &address, &*error))?;
        }
        Ok(())
    }

    async fn lag(&mut self) -> Option<u64> {
        let info = self.open.as_ref()?.consumer.get_info().await.ok()?;
        Some(info.num_pending + info.num_ack_pending as u64)
    }

    async fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        if *open.lost.borrow() {
            return;
        }
        // Given back in order, so that the next reader gets them at once. If this is lost, it gets them after `ack_wait`.
        while let Some(Some(Ok(message))) = open.messages.next().now_or_never() {
            open.receipts += 1;
            open.in_hand.insert(open.receipts, message);
        }
        for message in open.in_hand.values() {
            if message.ack_with(AckKind::Nak(None)).await.is_err() {
                return;
            }
        }
        if let Err(error) = open.client.flush().await {
            tracing::debug!(%error, "messages were not given back");
        }
    }
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

//! A queue of RabbitMQ, or of another broker that speaks AMQP 0.9.1. Classic and quorum queues are the same to it.
//!
//! What a dead reader had in hand returns to its place in the queue as soon as the broker notices the end of the connection. A message is
//! named by its `message-id`: without one, a message that is delivered again cannot be recognised.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backroom::{Timestamp, clock::Clock, ids::Ids, without_password};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
    uri::{AMQPScheme, AMQPUri},
};
use serde_json::{Value, json};

use super::{Message, Readers, amqp_tls, failed, within};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError, Verdict};

/// Seconds between two signs of life, unless the URL says otherwise: so that a dead network is noticed.
const HEARTBEAT_SECS: u16 = 15;
/// How long the broker may take to accept the connection.
const CONNECT_MILLIS: u64 = 10_000;
/// The same with everything that comes after the connection.
const CONNECT: Duration = Duration::from_secs(20);
/// What the names of a CloudEvent's attributes begin with in the application properties (CloudEvents, AMQP binding).
const CE_PREFIXES: [&str; 2] = ["cloudevents:", "cloudevents_"];

/// A queue of a broker that speaks AMQP 0.9.1. The queue must exist. A message that cannot become a job is rejected, so that the broker
/// passes it to the dead-letter exchange of the queue, if it has one.
pub struct AmqpQueue {
    url: String,
    queue: String,
    readers: Readers,
    prefetch: u16,
    ca_file: Option<PathBuf>,
    open: Option<Open>,
}

struct Open {
    connection: Connection,
    channel: Channel,
    /// For questions, so that a wrong one does not close the other channel.
    questions: Channel,
    consumer: Consumer,
    ready: VecDeque<Delivery>,
    /// The broker's tag of each message in hand, by receipt.
    in_hand: BTreeMap<u64, u64>,
    receipts: u64,
    failed: Option<SourceError>,
    ids: Arc<Ids>,
    clock: Arc<dyn Clock>,
}

impl AmqpQueue {
    /// A queue, such as `orders` at `amqp://user:password@host:5672/%2f`. With `amqps://` the connection has TLS.
    pub fn new(url: impl Into<String>, queue: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            queue: queue.into(),
            readers: Readers::One,
            prefetch: 2000,
            ca_file: None,
            open: None,
        }
    }

    /// How many processes read. Default one.
    #[must_use]
    pub fn readers(mut self, readers: Readers) -> Self {
        self.readers = readers;
        self
    }

    /// Most messages that are delivered and not acknowledged. Default 2,000.
    #[must_use]
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = u16::try_from(messages.max(1)).unwrap_or(u16::MAX);
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
        self.open.as_mut().ok_or_else(|| SourceError::new("read the queue: it is not open"))
    }

    fn failing(&self, what: &str, error: &lapin::Error) -> SourceError {
        failed(&format!("{what} of the queue {:?}", self.queue), &self.address(), error)
    }

    fn queue_name(&self) -> Result<ShortString, SourceError> {
        ShortString::try_new(self.queue.clone())
            .map_err(|_| SourceError::new("read the queue: its name is longer than 255 bytes"))
    }

    /// How many messages wait. Fails if there is no such queue.
    async fn count(&self, questions: &Channel) -> Result<u64, SourceError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = questions.queue_declare(self.queue_name()?, options, FieldTable::default()).await;
        let queue = declared.map_err(|error| {
            let found = self.failing("read the length", &error);
            let is_missing = found.message.contains("NOT_FOUND") || found.message.contains("NOT-FOUND");
            if is_missing {
                found.remedy("declare the queue, or correct its name in `source_queue`")
            } else {
                found
            }
        })?;
        Ok(u64::from(queue.message_count()))
    }
}

/// Connects to a broker.
pub(crate) async fn connect(url: &str, ca_file: Option<&Path>) -> Result<Connection, SourceError> {
    let address = without_password(url);
    let mut uri: AMQPUri = url.parse().map_err(|error: String| {
        SourceError::new(format!("connect to the broker: `url` is wrong: {}", without_password(&error)))
    })?;
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT_SECS));
    uri.query.connection_timeout = uri.query.connection_timeout.or(Some(CONNECT_MILLIS));
    let failing = |error: lapin::Error| failed("connect to the broker", &address, &error);
    let properties = ConnectionProperties::default().with_connection_name("backroom".into());
    let runtime = lapin::runtime::default_runtime().map_err(failing)?;
    if uri.scheme != AMQPScheme::AMQPS {
        return Connection::connect_uri_with_runtime(uri, properties, runtime).await.map_err(failing);
    }
    let (host, port) = (uri.authority.host.clone(), uri.authority.port);
    let stream = Mutex::new(Some(amqp_tls::connect(&host, port, ca_file, &address).await?));
    // Asked once: the library does not connect again by itself.
    let connect = async move |_, _| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    };
    Connection::connector(uri, runtime, connect, properties).await.map_err(failing)
}

/// A value of a header as text; as JSON where it is a list or a table.
fn text(value: &AMQPValue) -> Option<String> {
    match json_of(value) {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn json_of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Float(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::DecimalValue(value) => format!("{}e-{}", value.value, value.scale).into(),
        AMQPValue::ShortString(value) => value.as_str().into(),
        AMQPValue::LongString(value) => value.to_string().into(),
        AMQPValue::Timestamp(seconds) => {
            moment(*seconds).map_or((*seconds).into(), |at| at.to_string().into())
        }
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json_of).collect(),
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| (name.to_string(), json_of(value))).collect()
        }
        AMQPValue::ByteArray(bytes) => STANDARD.encode(bytes.as_slice()).into(),
        AMQPValue::Void => Value::Null,
    }
}

fn moment(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// The delivery of a message. `new_id` names one that its publisher did not name.
fn delivery(message: &lapin::message::Delivery, receipt: u64, new_id: impl FnOnce() -> String) -> Delivery {
    let properties = &message.properties;
    let mut headers = vec![
        ("exchange".to_owned(), message.exchange.to_string()),
        ("routing-key".to_owned(), message.routing_key.to_string()),
        ("redelivered".to_owned(), message.redelivered.to_string()),
    ];
    let known = [
        ("message-id", properties.message_id()),
        ("correlation-id", properties.correlation_id()),
        ("reply-to", properties.reply_to()),
        ("type", properties.kind()),
        ("app-id", properties.app_id()),
        ("user-id", properties.user_id()),
        ("content-encoding", properties.content_encoding()),
    ];
    headers.extend(
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_ref()?.to_string()))),
    );
    let given = properties.headers().iter().flat_map(|headers| headers.inner().iter());
    headers
        .extend(given.filter_map(|(name, value)| Some((name.as_str().to_ascii_lowercase(), text(value)?))));
    let id = properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
    let read = Message {
        identity: id.unwrap_or_else(new_id),
        headers,
        content_type: properties.content_type().as_ref().map(ToString::to_string),
        body: message.data.clone(),
        at: properties.timestamp().and_then(moment),
        order_key: None,
        receipt,
    };
    read.delivery(&CE_PREFIXES)
}

impl Open {
    fn take(&mut self, message: &lapin::message::Delivery) {
        self.receipts += 1;
        let new_id = || self.ids.job(self.clock.now()).to_string();
        self.ready.push_back(delivery(message, self.receipts, new_id));
        self.in_hand.insert(self.receipts, message.delivery_tag);
    }

    /// Acknowledges everything up to a message, all of which is settled.
    async fn acknowledge(&self, up_to: Option<u64>) -> Result<(), lapin::Error> {
        match up_to {
            Some(tag) => self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await,
            None => Ok(()),
        }
    }

    /// Settles messages, which come in the order of their delivery.
    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), lapin::Error> {
        let mut accepted = None;
        for Settled { receipt, verdict } in settled {
            let Some(tag) = self.in_hand.remove(&receipt) else { continue };
            match verdict {
                Verdict::Accepted => accepted = Some(tag),
                Verdict::Refused { .. } => {
                    self.acknowledge(accepted.take()).await?;
                    self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await?;
                }
            }
        }
        self.acknowledge(accepted).await
    }
}

#[async_trait]
impl Source for AmqpQueue {
    fn kind(&self) -> &'static str {
        "amqp"
    }

    fn describe(&self, _: &str) -> Value {
        json!({
            "url": self.address(), "queue": self.queue, "readers": self.readers.as_str(), "prefetch": self.prefetch,
        })
    }

    fn is_exclusive(&self) -> bool {
        self.readers == Readers::One
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let clock = Arc::clone(context.backroom().clock());
        // The client library waits for ever for a server that speaks another protocol.
        let connection = tokio::select! {
            connection = connect(&self.url, self.ca_file.as_deref()) => connection?,
            () = clock.sleep(CONNECT) => {
                let why = format!("connect to the broker at {}: it did not answer within {CONNECT:?}", self.address());
                return Err(SourceError::new(why).remedy("check that `url` names a port where AMQP is spoken"));
            }
        };
        let failing = |error: lapin::Error| self.failing("begin to read", &error);
        let questions = connection.create_channel().await.map_err(failing)?;
        self.count(&questions).await?;
        let channel = connection.create_channel().await.map_err(failing)?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await.map_err(failing)?;
        let tag = ShortString::default();
        let (queue, options) = (self.queue_name()?, BasicConsumeOptions::default());
        let consumer =
            channel.basic_consume(queue, tag, options, FieldTable::default()).await.map_err(failing)?;
        self.open = Some(Open {
            connection,
            channel,
            questions,
            consumer,
            ready: VecDeque::new(),
            in_hand: BTreeMap::new(),
            receipts: 0,
            failed: None,
            ids: Arc::new(Ids::from_entropy()),
            clock,
        });
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let (queue, address) = (self.queue.clone(), self.address());
        let failing = |error: &lapin::Error| failed(&format!("read of the queue {queue:?}"), &address, error);
        let ended = || {
            SourceError::new(format!("read the queue {queue:?} at {address}: the broker ended the delivery"))
                .remedy("see whether the queue was deleted")
        };
        let open = self.opened()?;
        if let Some(error) = open.failed.take() {
            return Err(error);
        }
        while open.ready.is_empty() {
            match open.consumer.next().await {
                Some(Ok(message)) => open.take(&message),
                Some(Err(error)) => return Err(failing(&error)),
                None => return Err(ended()),
            }
        }
        // Whatever has arrived by now, without a wait.
        let mut bytes: usize = open.ready.iter().map(Delivery::bytes).sum();
        while open.ready.len() < bounds.rows && bytes < bounds.bytes {
            match open.consumer.next().now_or_never() {
                Some(Some(Ok(message))) => {
                    open.take(&message);
                    bytes += open.ready.back().map_or(0, Delivery::bytes);
                }
                Some(Some(Err(error))) => {
                    open.failed = Some(failing(&error));
                    break;
                }
                Some(None) => {
                    open.failed = Some(ended());
                    break;
                }
                None => break,
            }
        }
        Ok(within(&mut open.ready, bounds))
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let done = self.opened()?.settle(settled).await;
        done.map_err(|error| self.failing("acknowledge messages", &error))
    }

    async fn lag(&mut self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let waiting = self.count(&open.questions).await.ok()?;
        Some(waiting + open.in_hand.len() as u64)
    }

    async fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        // The broker gives back what was not acknowledged, also when it is not asked.
        if let Err(error) = open.connection.close(200, ShortString::default()).await {
            tracing::debug!(%error, "the connection to the broker was not closed in order");
        }
    }
}

impl fmt::Debug for AmqpQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpQueue").field("queue", &self.queue).finish_non_exhaustive()
    }
}

//! A stream of Redis 6.2 or newer, read by a consumer group.
//!
//! An entry stays *pending* in the group until it is acknowledged. When a reader dies, the next one claims what is pending first, in the
//! order of the stream, and reads new entries after that.

mod reader;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ::redis::{
    AsyncCommands as _, AsyncConnectionConfig, Client, RedisError, RedisResult, TlsCertificates, Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamInfoGroupsReply},
};
use async_trait::async_trait;
use backroom::{Timestamp, without_password};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::reader::Reader;
use super::{Message, Readers, failed, within};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError, Verdict};

/// How long the server may take to answer anything else.
const ANSWER: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// Entries that one command names at most.
const IDS_MAX: usize = 1000;
/// The field that is the body, by default.
const BODY_FIELD: &str = "data";
/// What the fields of a CloudEvent's attributes begin with. CloudEvents has no binding for Redis; this is that of its HTTP and Kafka
/// bindings.
const CE_PREFIXES: [&str; 2] = ["ce_", "ce-"];
/// The state that says that the group was made.
const STARTED: &str = "started";

/// A stream of Redis. The body is the field `data` of an entry, or the whole entry as a JSON object where it has no such field. Other
/// fields are headers. An entry with the fields `ce_specversion`, `ce_id`, `ce_source` and `ce_type` is a CloudEvent.
pub struct RedisStream {
    url: String,
    stream: String,
    group: String,
    body_field: String,
    readers: Readers,
    existing: bool,
    claim_after: Duration,
    dead_letters: Option<String>,
    delete: bool,
    ca_file: Option<PathBuf>,
    open: Option<Open>,
}

struct Open {
    connection: MultiplexedConnection,
    batches: mpsc::Receiver<RedisResult<Vec<StreamId>>>,
    ready: VecDeque<Delivery>,
    in_hand: HashMap<u64, StreamId>,
    receipts: u64,
    _reader: AbortOnDropHandle<()>,
}

impl RedisStream {
    /// A stream, such as `orders` at `redis://user:password@host:6379/0`. With `rediss://` the connection has TLS.
    pub fn new(url: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            stream: stream.into(),
            group: "backroom".into(),
            body_field: BODY_FIELD.into(),
            readers: Readers::One,
            existing: true,
            claim_after: Duration::from_secs(30),
            dead_letters: None,
            delete: false,
            ca_file: None,
            open: None,
        }
    }

    /// The consumer group. It is made if it does not exist. Default `backroom`.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// The field that is the body. Default `data`.
    #[must_use]
    pub fn body_field(mut self, field: impl Into<String>) -> Self {
        self.body_field = field.into();
        self
    }

    /// How many processes read. Default one.
    #[must_use]
    pub fn readers(mut self, readers: Readers) -> Self {
        self.readers = readers;
        self
    }

    /// Whether entries that are in the stream before the first start count. Default yes.
    #[must_use]
    pub fn existing(mut self, existing: bool) -> Self {
        self.existing = existing;
        self
    }

    /// With several readers: how long an entry is pending before another reader claims it. Default 30 s.
    #[must_use]
    pub fn claim_after(mut self, span: Duration) -> Self {
        self.claim_after = span.max(Duration::from_millis(100));
        self
    }

    /// A stream that gets every entry that cannot become a job, with the field `reason`. Default none.
    #[must_use]
    pub fn dead_letters(mut self, stream: impl Into<String>) -> Self {
        self.dead_letters = Some(stream.into());
        self
    }

    /// Whether an entry is deleted once it is acknowledged. Default no, because other groups may read it.
    #[must_use]
    pub fn delete(mut self, delete: bool) -> Self {
        self.delete = delete;
        self
    }

    /// Trusts the authorities whose certificates this file has, in PEM, in place of those of the machine.
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

    /// The name of this reader in the group.
    fn consumer(&self) -> String {
        match self.readers {
            // Always the same, so that no names of dead processes pile up in the group.
            Readers::One => "backroom".into(),
            Readers::Every => {
                let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
                format!("backroom-{}", host.trim())
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, SourceError> {
        connect(&self.url, self.ca_file.as_ref()).await
    }

    /// Makes the group where there is none.
    async fn make_group(
        &self,
        connection: &mut MultiplexedConnection,
        context: &SourceContext,
    ) -> Result<(), SourceError> {
        let state = context.state();
        // A group that was lost with its server begins again with everything there is: jobs stand for their entries.
        let was_started = state.value(STARTED).await?.is_some();
        let from = if self.existing || was_started { "0" } else { "$" };
        let made: RedisResult<Value> =
            connection.xgroup_create_mkstream(&self.stream, &self.group, from).await;
        match made {
            Ok(_) => {}
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(self.failing("make the consumer group", &error)),
        }
        if !was_started {
            state.write(vec![(STARTED.into(), Some("true".into()))]).await?;
        }
        Ok(())
    }

    fn failing(&self, what: &str, error: &RedisError) -> SourceError {
        let found = failed(&format!("{what} of the stream {:?}", self.stream), &self.address(), error);
        match error.code() {
            Some("WRONGTYPE") => found.remedy("the key holds another type; name the stream in `stream`"),
            Some("NOGROUP") => found.remedy("the group or the stream was deleted; it is made again"),
            _ => found,
        }
    }
}

/// Connects to a server.
pub(crate) async fn connect(
    url: &str,
    ca_file: Option<&PathBuf>,
) -> Result<MultiplexedConnection, SourceError> {
    let address = without_password(url);
    let failing = |error: RedisError| failed("connect to Redis", &address, &error);
    let client = match ca_file {
        None => Client::open(url),
        Some(path) => {
            let root_cert = Some(super::read_ca(path)?.into_bytes());
            Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert })
        }
    };
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
    client.map_err(failing)?.get_multiplexed_async_connection_with_config(&config).await.map_err(failing)
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes.clone(),
        Value::SimpleString(text) => text.clone().into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

/// The delivery of an entry.
fn delivery(entry: &StreamId, stream: &str, body_field: &str, receipt: u64) -> Delivery {
    let text = |value: &Value| String::from_utf8_lossy(&bytes(value)).into_owned();
    let mut fields: Vec<_> = entry.map.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| name.as_str());
    let (mut headers, mut content_type) = (vec![("stream".to_owned(), stream.to_owned())], None);
    for (name, value) in &fields {
        match name.to_ascii_lowercase().as_str() {
            _ if *name == body_field => {}
            "content-type" | "content_type" => content_type = Some(text(value)),
            // As other brokers call them, so that a mapping need not know which broker it is.
            name @ ("correlation_id" | "reply_to") => headers.push((name.replace('_', "-"), text(value))),
            name => headers.push((name.to_owned(), text(value))),
        }
    }
    let body = entry.map.get(body_field).map(bytes).unwrap_or_else(|| {
        let object: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| ((*name).clone(), text(value).into())).collect();
        serde_json::Value::Object(object).to_string().into_bytes()
    });
    // The first part of an entry's id is the server's clock in milliseconds, unless its writer chose the id.
    let millis = entry.id.split('-').next().and_then(|millis| millis.parse().ok());
    let message = Message {
        identity: entry.id.clone(),
        headers,
        content_type,
        body,
        at: millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        order_key: None,
        receipt,
    };
    message.delivery(&CE_PREFIXES)
}

#[async_trait]
impl Source for RedisStream {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        json!({
            "url": self.address(), "stream": self.stream, "group": self.group, "readers": self.readers.as_str(),
            "dead_letter_stream": self.dead_letters,
        })
    }

    fn is_exclusive(&self) -> bool {
        self.readers == Readers::One
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let mut connection = self.connect().await?;
        self.make_group(&mut connection, context).await?;
        let reader = Reader {
            // A read that waits at the server would hold up every other command of its connection.
            connection: self.connect().await?,
            stream: self.stream.clone(),
            group: self.group.clone(),
            consumer: self.consumer(),
            readers: self.readers,
            claim_after: self.claim_after,
            bounds: context.bounds(),
            seen: (0, 0),
            clock: Arc::clone(context.backroom().clock()),
        };
        // One batch is in the channel and one in the hand of the task, while the frame makes jobs of a third.
        let (sender, batches) = mpsc::channel(1);
        let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(sender)));
        self.open = Some(Open {
            connection,
            batches,
            ready: VecDeque::new(),
            in_hand: HashMap::new(),
            receipts: 0,
            _reader: reader,
        });
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let (stream, body_field) = (self.stream.clone(), self.body_field.clone());
        let open = self.opened()?;
        while open.ready.is_empty() {
            let entries = match open.batches.recv().await {
                Some(Ok(entries)) => entries,
                Some(Err(error)) => return Err(self.failing("read", &error)),
                None => return Err(SourceError::new("read the stream: its reader has ended")),
            };
            for entry in entries {
                open.receipts += 1;
                open.ready.push_back(delivery(&entry, &stream, &body_field, open.receipts));
                open.in_hand.insert(open.receipts, entry);
            }
        }
        Ok(within(&mut open.ready, bounds))
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let (stream, group, dead_letters, delete) =
            (self.stream.clone(), self.group.clone(), self.dead_letters.clone(), self.delete);
        let open = self.opened()?;
        for part in settled.chunks(IDS_MAX) {
            // In one transaction, so that no dead letter is written twice by an answer that is lost in between.
            let mut commands = ::redis::pipe();
            commands.atomic();
            let entries: Vec<_> = part
                .iter()
                .filter_map(|settled| Some((&settled.verdict, open.in_hand.remove(&settled.receipt)?)))
                .collect();
            for (verdict, entry) in &entries {
                if let (Verdict::Refused { reason, .. }, Some(letters)) = (verdict, &dead_letters) {
                    let add = commands.cmd("XADD").arg(letters).arg("*");
                    add.arg("reason").arg(reason).arg("stream").arg(&stream).arg("entry").arg(&entry.id);
                    for (name, value) in &entry.map {
                        add.arg(name).arg(bytes(value));
                    }
                    add.ignore();
                }
            }
            let ids: Vec<_> = entries.iter().map(|(_, entry)| entry.id.as_str()).collect();
            commands.cmd("XACK").arg(&stream).arg(&group).arg(&ids).ignore();
            // What is stored nowhere else stays in the stream.
            let is_only_here = |verdict: &Verdict| {
                dead_letters.is_none() && matches!(verdict, Verdict::Refused { has_body: false, .. })
            };
            let deleted = entries.iter().filter(|(verdict, _)| delete && !is_only_here(verdict));
            let deleted: Vec<_> = deleted.map(|(_, entry)| entry.id.as_str()).collect();
            if !deleted.is_empty() {
                commands.cmd("XDEL").arg(&stream).arg(&deleted).ignore();
            }
            let done: RedisResult<()> = commands.query_async(&mut open.connection).await;
            if let Err(error) = done {
                return Err(self.failing("acknowledge entries", &error));
            }
        }
        Ok(())
    }

    async fn keep(&mut self, receipts: &[u64]) -> Result<(), SourceError> {
        if self.readers == Readers::One {
            return Ok(());
        }
        let (stream, group, consumer) = (self.stream.clone(), self.group.clone(), self.consumer());
        let open = self.opened()?;
        for part in receipts.chunks(IDS_MAX) {
            let ids: Vec<_> =
                part.iter().filter_map(|receipt| Some(open.in_hand.get(receipt)?.id.as_str())).collect();
            let mut claim = ::redis::cmd("XCLAIM");
            claim.arg(&stream).arg(&group).arg(&consumer).arg(0).arg(&ids).arg("JUSTID");
            let done: RedisResult<Value> = claim.query_async(&mut open.connection).await;
            if let Err(error) = done {
                return Err(self.failing("hold entries", &error));
            }
        }
        Ok(())
    }

    async fn lag(&mut self) -> Option<u64> {
        let (stream, group) = (self.stream.clone(), self.group.clone());
        let open = self.open.as_mut()?;
        let reply: RedisResult<StreamInfoGroupsReply> = open.connection.xinfo_groups(&stream).await;
        let found = reply.ok()?.groups.into_iter().find(|known| known.name == group)?;
        found.lag.map(|lag| (lag + found.pending) as u64)
    }

    async fn close(&mut self) {
        // What is pending belongs to the group; the next reader claims it.
        self.open = None;
    }
}

impl fmt::Debug for RedisStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&str, &str)]) -> StreamId {
        let map =
            fields.iter().map(|(name, value)| ((*name).into(), Value::BulkString(value.as_bytes().into())));
        StreamId { id: "1700000000123-4".into(), map: map.collect(), ..StreamId::default() }
    }

    #[test]
    fn the_field_data_is_the_body_and_others_are_headers() {
        let delivery = delivery(&entry(&[("data", "{}"), ("Tenant", "a")]), "orders", "data", 3);
        assert_eq!(
            (delivery.identity.as_str(), delivery.body.as_slice()),
            ("1700000000123-4", b"{}".as_slice())
        );
        assert_eq!(delivery.header_value("tenant"), Some("a"));
        assert_eq!(delivery.header_value("stream"), Some("orders"));
        assert_eq!(delivery.at, Timestamp::from_millisecond(1_700_000_000_123).ok());
    }

    #[test]
    fn an_entry_without_that_field_is_an_object() {
        let delivery = delivery(&entry(&[("id", "7"), ("name", "a\"b")]), "orders", "data", 3);
        assert_eq!(delivery.body, br#"{"id":"7","name":"a\"b"}"#);
    }
}

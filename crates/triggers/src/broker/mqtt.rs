//! Topics of a broker that speaks MQTT 5, with QoS 1 and a persistent session.
//!
//! The broker delivers again, with the mark *duplicate*, what was not acknowledged when the connection ended. MQTT names no message, so
//! [`Ledger`] does: it is stored before a message becomes a job.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use backroom::{ids::Ids, without_password};
use futures_util::{FutureExt as _, future::BoxFuture};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, PersistedAckMode, PersistedSession,
    SessionStore, SessionStoreError, SessionStoreKey,
    mqttbytes::{
        QoS,
        v5::{Packet, Publish, RetainForwardRule, SubAck, SubscribeFilter, SubscribeReasonCode},
    },
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::task::AbortOnDropHandle;

use super::{Message, failed, ledger::Ledger, within};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError, SourceState};

/// So long without traffic until a sign of life is asked for.
const KEEP_ALIVE_SECS: u16 = 15;
/// Requests to the broker that wait for the task that writes them.
const REQUESTS: usize = 256;
/// A topic that the client never subscribes to. To unsubscribe from it changes nothing, and the broker answers, after everything that came before.
const CONFIRMATION: &str = "backroom/confirmation";
/// The state that has the ledger.
const LEDGER: &str = "ledger";
/// The state that has the topics of the session.
const TOPICS: &str = "topics";

/// Topics of a broker that speaks MQTT 5. One process reads at a time: a broker admits one connection with a client id.
pub struct MqttTopics {
    url: String,
    topics: Vec<String>,
    client_id: Option<String>,
    session_expiry: Duration,
    prefetch: u16,
    ca_file: Option<PathBuf>,
    open: Option<Open>,
}

struct Open {
    client: AsyncClient,
    events: mpsc::UnboundedReceiver<Seen>,
    ready: VecDeque<Delivery>,
    in_hand: BTreeMap<u64, (Publish, u64)>,
    receipts: u64,
    ledger: Ledger,
    /// Whether the ledger differs from what is stored.
    is_changed: bool,
    /// Packet ids and numbers whose acknowledgements the broker has once it has answered so many questions.
    unconfirmed: VecDeque<Vec<(u16, u64)>>,
    failed: Option<SourceError>,
    state: SourceState,
    _events: AbortOnDropHandle<()>,
}

/// What came from the broker.
enum Seen {
    Message(Publish),
    /// It has everything that was sent before the oldest question.
    Confirmed,
    Failed(SourceError),
}

impl MqttTopics {
    /// Topics, such as `sensors/+/temperature` at `mqtt://user:password@host:1883`. With `mqtts://` the connection has TLS.
    pub fn new(url: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            url: url.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            client_id: None,
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            prefetch: 2000,
            ca_file: None,
            open: None,
        }
    }

    /// The client id, to which the broker binds the session. Default `backroom-` and the name of the trigger.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// How long the broker stores messages while no process reads. Default 7 days.
    #[must_use]
    pub fn session_expiry(mut self, span: Duration) -> Self {
        self.session_expiry = span;
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
        self.open.as_mut().ok_or_else(|| SourceError::new("read the topics: the connection is not open"))
    }

    fn options(&self, trigger: &str) -> Result<MqttOptions, SourceError> {
        let wrong = |why: &str| SourceError::new(format!("connect to the broker: `url` {why}"));
        let url = url::Url::parse(&self.url).map_err(|error| wrong(&format!("is wrong: {error}")))?;
        let host = url.host_str().ok_or_else(|| wrong("has no host"))?;
        let is_tls = url.scheme() == "mqtts";
        let port = url.port().unwrap_or(if is_tls { 8883 } else { 1883 });
        let id = self.client_id.clone().unwrap_or_else(|| format!("backroom-{trigger}"));
        let mut options = MqttOptions::new(id, (host, port));
        options.set_keep_alive(KEEP_ALIVE_SECS);
        options.set_clean_start(false);
        let expiry = u32::try_from(self.session_expiry.as_secs()).unwrap_or(u32::MAX);
        options.set_session_expiry_interval(Some(expiry));
        options.set_session_store(NothingSent { expiry });
        options.set_receive_maximum(Some(self.prefetch));
        options.set_ack_mode(AckMode::Manual);
        // A broker drops what is larger than its client allows. What is too large for a job becomes a dead letter.
        options.set_unlimited_incoming_packet_size();
        options.set_request_channel_capacity(REQUESTS);
        options.set_max_request_batch(REQUESTS);
        if !url.username().is_empty() {
            let decoded =
                |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            options.set_credentials(decoded(url.username()), decoded(url.password().unwrap_or_default()));
        }
        if is_tls {
            let tls = TlsConnector::from(Arc::new(super::tls_config(self.ca_file.as_deref())?));
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| wrong("has a host that no certificate can name"))?;
            options.set_socket_connector(move |address, network| {
                let (tls, name) = (tls.clone(), name.clone());
                async move { tls.connect(name, rumqttc::default_socket_connect(address, network).await?).await }
            });
        }
        Ok(options)
    }

    fn failing(&self, error: &ConnectionError) -> SourceError {
        failed("read MQTT", &self.address(), error)
    }

    /// Subscribes, and ends subscriptions that the settings no longer have. Answers how many answers come.
    async fn subscribe(&self, client: &AsyncClient, state: &SourceState) -> Result<usize, SourceError> {
        let failing = |error: rumqttc::ClientError| SourceError::new(format!("subscribe: {error}"));
        let known = state.value(TOPICS).await?;
        let known: Vec<String> = known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let mut answers = 1;
        for topic in known.iter().filter(|topic| !self.topics.contains(topic)) {
            client.unsubscribe(topic.clone()).await.map_err(failing)?;
            answers += 1;
        }
        let filters = self.topics.iter().map(|topic| {
            let mut filter = SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce);
            // Retained messages come once, and not at every start.
            filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
            filter
        });
        client.subscribe_many(filters.collect::<Vec<_>>()).await.map_err(failing)?;
        if known != self.topics {
            state.write(vec![(TOPICS.into(), Some(json!(self.topics).to_string()))]).await?;
        }
        Ok(answers)
    }

    /// Fails if the broker refuses a topic.
    fn check(&self, answer: &SubAck) -> Result<(), SourceError> {
        let refused = answer.return_codes.iter().zip(&self.topics);
        let refused = refused.filter(|(code, _)| !matches!(code, SubscribeReasonCode::Success(_)));
        match refused.map(|(code, topic)| format!("{topic:?} ({code:?})")).next() {
            None => Ok(()),
            Some(what) => {
                let why = format!("subscribe to {what}: the broker at {} refuses it", self.address());
                Err(SourceError::new(why).remedy("check what the user may read, and the form of `topics`"))
            }
        }
    }
}

/// What the client remembers of a session that an earlier process had: nothing, because this client publishes nothing. What it
/// receives is in the [`Ledger`]. Without it the client could neither subscribe nor ask in a session of the broker's.
#[derive(Debug)]
struct NothingSent {
    expiry: u32,
}

impl SessionStore for NothingSent {
    fn load<'a>(
        &'a self,
        key: &'a SessionStoreKey,
    ) -> BoxFuture<'a, Result<Option<PersistedSession>, SessionStoreError>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.expiry),
            outgoing_inflight_upper_limit: None,
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(
        &'a self,
        _: &'a SessionStoreKey,
        _: &'a PersistedSession,
    ) -> BoxFuture<'a, Result<(), SessionStoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> BoxFuture<'a, Result<(), SessionStoreError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Passes on what comes from the broker, until it fails or is dropped.
async fn listen(mut events: EventLoop, seen: mpsc::UnboundedSender<Seen>, address: String) {
    loop {
        let event = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(message))) => Seen::Message(message),
            Ok(Event::Incoming(Packet::UnsubAck(_))) => Seen::Confirmed,
            Ok(_) => continue,
            Err(error) => Seen::Failed(failed("read MQTT", &address, &error)),
        };
        let is_over = matches!(event, Seen::Failed(_));
        // Fails when the source is closed.
        if seen.send(event).is_err() || is_over {
            return;
        }
    }
}

/// What tells two messages with one packet id apart.
fn hash(message: &Publish) -> u64 {
    let mut hash = Sha256::new();
    hash.update(&message.topic);
    hash.update([0]);
    for (name, value) in message.properties.iter().flat_map(|properties| &properties.user_properties) {
        hash.update(name);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    hash.update(&message.payload);
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn delivery(message: &Publish, identity: String, receipt: u64) -> Delivery {
    let topic = String::from_utf8_lossy(&message.topic).into_owned();
    let mut headers =
        vec![("topic".to_owned(), topic.clone()), ("retained".to_owned(), message.retain.to_string())];
    let (mut content_type, mut is_event) = (None, false);
    if let Some(properties) = &message.properties {
        content_type = properties.content_type.clone();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        headers.extend(
            properties.response_topic.iter().map(|topic| ("response-topic".to_owned(), topic.clone())),
        );
        headers.extend(properties.correlation_data.iter().map(|id| ("correlation-id".to_owned(), text(id))));
        let user = || {
            properties.user_properties.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        };
        // In MQTT's binding the attributes have no prefix. So they are attributes only where the version is among them.
        is_event = user().any(|(name, _)| name == "specversion");
        headers.extend(
            user().map(|(name, value)| (if is_event { format!("{}{name}", super::CE) } else { name }, value)),
        );
    }
    let prefixes: &[&str] = if is_event { &[super::CE] } else { &[] };
    let read = Message {
        identity,
        headers,
        content_type,
        body: message.payload.to_vec(),
        at: None,
        order_key: Some(topic),
        receipt,
    };
    read.delivery(prefixes)
}

impl Open {
    fn take(&mut self, message: Publish) {
        self.receipts += 1;
        let number = self.ledger.number(message.pkid, message.dup, hash(&message));
        self.is_changed |= message.pkid != 0;
        self.ready.push_back(delivery(&message, self.ledger.name(number), self.receipts));
        self.in_hand.insert(self.receipts, (message, number));
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Message(message) => self.take(message),
            Seen::Confirmed => {
                for (packet, number) in self.unconfirmed.pop_front().into_iter().flatten() {
                    self.ledger.forget(packet, number);
                    self.is_changed = true;
                }
            }
            Seen::Failed(error) => self.failed = Some(error),
        }
    }

    /// Takes whatever has arrived by now.
    fn see_all(&mut self, bounds: Bounds) {
        let mut bytes: usize = self.ready.iter().map(Delivery::bytes).sum();
        while self.ready.len() < bounds.rows && bytes < bounds.bytes && self.failed.is_none() {
            let Some(Some(seen)) = self.events.recv().now_or_never() else { return };
            let before = self.ready.len();
            self.see(seen);
            bytes += self.ready.range(before..).map(Delivery::bytes).sum::<usize>();
        }
    }

    async fn store(&mut self) -> Result<(), SourceError> {
        if self.is_changed {
            self.state.write(vec![(LEDGER.into(), Some(self.ledger.stored()))]).await?;
            self.is_changed = false;
        }
        Ok(())
    }
}

#[async_trait]
impl Source for MqttTopics {
    fn kind(&self) -> &'static str {
        "mqtt"
    }

    fn describe(&self) -> serde_json::Value {
        json!({ "url": self.address(), "topics": self.topics, "client_id": self.client_id })
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let state = context.state();
        let (client, mut events) =
            AsyncClient::builder(self.options(context.trigger())?).capacity(REQUESTS).build();
        let (mut early, mut answers, mut ledger) = (Vec::new(), None, None);
        // Until the broker has accepted the connection and the topics. The messages of the session may come before.
        while answers != Some(0) {
            match events.poll().await.map_err(|error| self.failing(&error))? {
                Event::Incoming(Packet::ConnAck(accepted)) => {
                    let stored = state.value(LEDGER).await?.filter(|_| accepted.session_present);
                    let session = || Ids::from_entropy().job(context.backroom().clock().now()).to_string();
                    let known = stored.as_deref().and_then(Ledger::read);
                    ledger = Some(known.unwrap_or_else(|| Ledger::new(session())));
                    answers = Some(self.subscribe(&client, &state).await?);
                }
                Event::Incoming(Packet::SubAck(answer)) => {
                    self.check(&answer)?;
                    answers = answers.map(|left| left.saturating_sub(1));
                }
                Event::Incoming(Packet::UnsubAck(_)) => answers = answers.map(|left| left.saturating_sub(1)),
                Event::Incoming(Packet::Publish(message)) => early.push(message),
                Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => {}
            }
        }
        let ledger = ledger
            .ok_or_else(|| SourceError::new("read the topics: the broker did not accept the connection"))?;
        let (seen, receiver) = mpsc::unbounded_channel();
        let mut open = Open {
            client,
            events: receiver,
            ready: VecDeque::new(),
            in_hand: BTreeMap::new(),
            receipts: 0,
            ledger,
            is_changed: true,
            unconfirmed: VecDeque::new(),
            failed: None,
            state,
            _events: AbortOnDropHandle::new(tokio::spawn(listen(events, seen, self.address()))),
        };
        early.into_iter().for_each(|message| open.take(message));
        self.open = Some(open);
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let open = self.opened()?;
        loop {
            open.see_all(bounds);
            if open.ready.is_empty()
                && let Some(error) = open.failed.take()
            {
                return Err(error);
            }
            // The names first: after a crash each message must have the same one.
            open.store().await?;
            if !open.ready.is_empty() {
                return Ok(within(&mut open.ready, bounds));
            }
            match open.events.recv().await {
                Some(seen) => open.see(seen),
                None => return Err(SourceError::new("read the topics: the connection has ended")),
            }
        }
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let failing =
            |error: rumqttc::ClientError| SourceError::new(format!("acknowledge messages: {error}"));
        let open = self.opened()?;
        let mut acknowledged = Vec::with_capacity(settled.len());
        for Settled { receipt, .. } in settled {
            let Some((message, number)) = open.in_hand.remove(&receipt) else { continue };
            if message.pkid != 0 {
                open.client.ack(&message).await.map_err(failing)?;
                acknowledged.push((message.pkid, number));
            }
        }
        if !acknowledged.is_empty() {
            open.client.unsubscribe(CONFIRMATION).await.map_err(failing)?;
            open.unconfirmed.push_back(acknowledged);
        }
        Ok(())
    }

    async fn close(&mut self) {
        // The broker delivers again what was not acknowledged. The session stays.
        self.open = None;
    }
}

impl fmt::Debug for MqttTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttTopics").field("topics", &self.topics).finish_non_exhaustive()
    }
}

//! Topics of a broker that speaks MQTT 5, with QoS 1 and a persistent session.
//!
//! The broker delivers again, with the mark *duplicate*, what was not acknowledged when the connection ended. MQTT names no message, so
//! [`Ledger`] does: it is stored before a message becomes a job.

mod backlog;
mod ledger;
mod reading;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use backroom::{ids::Ids, without_password};
use futures_util::{FutureExt as _, future::BoxFuture};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, MqttOptions, PersistedAckMode, PersistedSession,
    SessionStore, SessionStoreError, SessionStoreKey,
    mqttbytes::{
        QoS,
        v5::{Packet, Publish, RetainForwardRule, SubAck, SubscribeFilter, SubscribeReasonCode},
    },
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::task::AbortOnDropHandle;

use self::{
    backlog::Backlog,
    ledger::Ledger,
    reading::{Intake, Seen, bytes, delivery, hash, listen, locked},
};
use super::{failed, within};
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
    /// Fewer than `prefetch`, once those went beyond the bound.
    in_flight_max: Option<u16>,
    ca_file: Option<PathBuf>,
    /// Messages with QoS 0 that were dropped since the process began.
    dropped: Arc<AtomicU64>,
    open: Option<Open>,
}

struct Open {
    client: AsyncClient,
    /// Bounded by the backlog.
    events: mpsc::UnboundedReceiver<Seen>,
    backlog: Arc<Mutex<Backlog>>,
    ready: VecDeque<Delivery>,
    in_hand: BTreeMap<u64, (Publish, u64)>,
    receipts: u64,
    ledger: Ledger,
    /// Whether the ledger differs from what is stored.
    is_changed: bool,
    /// Packet ids and numbers whose acknowledgements the broker has once it has answered so many questions.
    unconfirmed: VecDeque<Vec<(u16, u64)>>,
    failed: Option<SourceError>,
    /// Whether the connection still works, and is to end because too much has come.
    is_over: bool,
    state: SourceState,
    _events: AbortOnDropHandle<()>,
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
            in_flight_max: None,
            ca_file: None,
            dropped: Arc::default(),
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

    fn options(&self, context: &SourceContext) -> Result<MqttOptions, SourceError> {
        let wrong = |why: &str| SourceError::new(format!("connect to the broker: `url` {why}"));
        let url = url::Url::parse(&self.url).map_err(|error| wrong(&format!("is wrong: {error}")))?;
        let host = url.host_str().ok_or_else(|| wrong("has no host"))?;
        let is_tls = url.scheme() == "mqtts";
        let port = url.port().unwrap_or(if is_tls { 8883 } else { 1883 });
        let id = self.client_id.clone().unwrap_or_else(|| format!("backroom-{}", context.trigger()));
        let mut options = MqttOptions::new(id, (host, port));
        options.set_keep_alive(KEEP_ALIVE_SECS);
        options.set_clean_start(false);
        let expiry = u32::try_from(self.session_expiry.as_secs()).unwrap_or(u32::MAX);
        options.set_session_expiry_interval(Some(expiry));
        options.set_session_store(NothingSent { expiry });
        options.set_receive_maximum(Some(self.in_flight_max.unwrap_or(u16::MAX).min(self.prefetch)));
        options.set_ack_mode(AckMode::Manual);
        // A broker drops what is larger than its client allows.
        options.set_max_packet_size(Some(u32::try_from(context.bounds().bytes).unwrap_or(u32::MAX)));
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

impl Open {
    fn take(&mut self, message: Publish) {
        locked(&self.backlog).taken(message.pkid != 0, bytes(&message));
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
            Seen::Over(error) => (self.failed, self.is_over) = (Some(error), true),
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

    /// Waits until the broker has every acknowledgement, if the connection is to end because too much has come. So each connection
    /// brings some messages further.
    async fn acknowledge_all(&mut self) {
        while self.is_over && !self.unconfirmed.is_empty() {
            match self.events.recv().await {
                Some(seen @ Seen::Confirmed) => self.see(seen),
                // It has QoS 0: those that come while a connection ends are lost.
                Some(Seen::Message(_) | Seen::Over(_)) => {}
                Some(Seen::Failed(_)) | None => return,
            }
        }
    }

    /// Why the connection ended, if it did so by itself. What waits is left: the broker delivers it again.
    fn why_ended(&mut self) -> Option<SourceError> {
        while let Ok(seen) = self.events.try_recv() {
            if let Seen::Failed(error) | Seen::Over(error) = seen {
                return Some(error);
            }
        }
        self.failed.take()
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

    fn describe(&self, _: &str) -> serde_json::Value {
        json!({ "url": self.address(), "topics": self.topics, "client_id": self.client_id })
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn details(&self) -> serde_json::Value {
        json!({ "dropped": self.dropped.load(Relaxed) })
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let state = context.state();
        let (client, mut events) = AsyncClient::builder(self.options(context)?).capacity(REQUESTS).build();
        let backlog = Arc::new(Mutex::new(Backlog::new(context.bounds().bytes)));
        let mut intake = Intake {
            trigger: context.trigger().into(),
            address: self.address(),
            backlog: Arc::clone(&backlog),
            dropped: Arc::clone(&self.dropped),
            clock: Arc::clone(context.backroom().clock()),
            logged_at: None,
            is_over: false,
        };
        let (seen, receiver) = mpsc::unbounded_channel();
        let (mut answers, mut ledger) = (None, None);
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
                Event::Incoming(Packet::Publish(message)) => {
                    if let Some(event) = intake.see(message) {
                        // The receiver is here.
                        let _ = seen.send(event);
                    }
                }
                Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => {}
            }
        }
        let ledger = ledger
            .ok_or_else(|| SourceError::new("read the topics: the broker did not accept the connection"))?;
        self.open = Some(Open {
            client,
            events: receiver,
            backlog,
            ready: VecDeque::new(),
            in_hand: BTreeMap::new(),
            receipts: 0,
            ledger,
            is_changed: true,
            unconfirmed: VecDeque::new(),
            failed: None,
            is_over: false,
            state,
            _events: AbortOnDropHandle::new(tokio::spawn(listen(events, seen, intake))),
        });
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let open = self.opened()?;
        loop {
            open.see_all(bounds);
            if open.ready.is_empty() && open.failed.is_some() {
                open.acknowledge_all().await;
                open.store().await?;
            }
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
                if let Err(error) = open.client.ack(&message).await {
                    return Err(open.why_ended().unwrap_or_else(|| failing(error)));
                }
                acknowledged.push((message.pkid, number));
            }
        }
        if !acknowledged.is_empty() {
            if let Err(error) = open.client.unsubscribe(CONFIRMATION).await {
                return Err(open.why_ended().unwrap_or_else(|| failing(error)));
            }
            open.unconfirmed.push_back(acknowledged);
        }
        Ok(())
    }

    async fn close(&mut self) {
        // The broker delivers again what was not acknowledged. The session stays.
        if let Some(open) = self.open.take() {
            self.in_flight_max = locked(&open.backlog).in_flight_max().or(self.in_flight_max);
        }
    }
}

impl fmt::Debug for MqttTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttTopics").field("topics", &self.topics).finish_non_exhaustive()
    }
}

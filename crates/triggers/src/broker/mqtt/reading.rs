//! Reads the connection of MQTT: what comes is bounded, and becomes deliveries.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use backroom::clock::Clock;
use rumqttc::{
    Event, EventLoop,
    mqttbytes::v5::{Packet, Publish},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    super::{Message, failed},
    backlog::{Admission, Backlog},
};
use crate::{Delivery, SourceError};

/// How often it is logged that messages are dropped.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// What came from the broker.
pub(super) enum Seen {
    Message(Publish),
    /// It has everything that was sent before the oldest question.
    Confirmed,
    /// What comes from now on is left to the broker: the connection is to end once everything before is acknowledged.
    Over(SourceError),
    Failed(SourceError),
}

/// Takes what comes from the broker, within the bound.
pub(super) struct Intake {
    pub(super) trigger: Arc<str>,
    pub(super) address: String,
    pub(super) backlog: Arc<Mutex<Backlog>>,
    pub(super) dropped: Arc<AtomicU64>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) logged_at: Option<Duration>,
    pub(super) is_over: bool,
}

impl Intake {
    /// What to pass on of a message; nothing of one that is dropped.
    pub(super) fn see(&mut self, message: Publish) -> Option<Seen> {
        let admission = locked(&self.backlog).admit(message.pkid != 0, bytes(&message));
        match admission {
            Admission::Taken => Some(Seen::Message(message)),
            Admission::Dropped => {
                let dropped = self.dropped.fetch_add(1, Relaxed) + 1;
                let now = self.clock.monotonic();
                if self.logged_at.is_none_or(|at| now.saturating_sub(at) >= LOGGED_EVERY) {
                    self.logged_at = Some(now);
                    tracing::warn!(
                        trigger = %self.trigger,
                        dropped,
                        "messages with QoS 0 are dropped, because too many wait to become jobs; publish with QoS 1 what must not be lost"
                    );
                }
                None
            }
            Admission::Over if std::mem::replace(&mut self.is_over, true) => None,
            Admission::Over => {
                let (address, most) = (&self.address, locked(&self.backlog).acknowledged_max());
                let why = format!(
                    "read MQTT at {address}: the messages in flight have more than {most} bytes; the connection begins again with fewer"
                );
                Some(Seen::Over(SourceError::new(why)))
            }
        }
    }
}

pub(super) fn locked(backlog: &Mutex<Backlog>) -> MutexGuard<'_, Backlog> {
    backlog.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Roughly how many bytes a message takes in memory.
pub(super) fn bytes(message: &Publish) -> usize {
    let properties = message.properties.iter().map(|properties| {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let users = properties.user_properties.iter().map(|(name, value)| name.len() + value.len() + 48);
        let correlation = properties.correlation_data.as_ref().map_or(0, |data| data.len());
        length(&properties.response_topic)
            + length(&properties.content_type)
            + correlation
            + users.sum::<usize>()
    });
    let properties: usize = properties.sum();
    message.topic.len() + message.payload.len() + properties + 256
}

/// Passes on what comes from the broker, until it fails or is dropped.
pub(super) async fn listen(mut events: EventLoop, seen: mpsc::UnboundedSender<Seen>, mut intake: Intake) {
    loop {
        let event = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(message))) => match intake.see(message) {
                Some(event) => event,
                None => continue,
            },
            Ok(Event::Incoming(Packet::UnsubAck(_))) => Seen::Confirmed,
            Ok(_) => continue,
            Err(error) => Seen::Failed(failed("read MQTT", &intake.address, &error)),
        };
        let is_over = matches!(event, Seen::Failed(_));
        // Fails when the source is closed.
        if seen.send(event).is_err() || is_over {
            return;
        }
    }
}

/// What tells two messages with one packet id apart.
pub(super) fn hash(message: &Publish) -> u64 {
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

pub(super) fn delivery(message: &Publish, identity: String, receipt: u64) -> Delivery {
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
        headers.extend(user().map(|(name, value)| {
            (if is_event { format!("{}{name}", crate::cloud_event::CE) } else { name }, value)
        }));
    }
    let prefixes: &[&str] = if is_event { &[crate::cloud_event::CE] } else { &[] };
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

//! Sends replies to brokers: jobs of the system queue `backroom.replies`, each a message to a queue of AMQP, a subject of NATS or a stream of
//! Redis that the caller named as `broker:NAME/ADDRESS`.
//!
//! A reply is written in the transaction of the change that it reports, and it is a job: it survives every crash, is tried again, is
//! listed as any job, and is sent again by a retry by hand. Its id is the id of the message, the same at every attempt.

mod addresses;
#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom::{
    Context, Failure, Invalid, JobId, Json, Timestamp, Worker,
    core::message::forward::{BrokerAddress, KIND, QUEUE},
};
use serde::Deserialize;

use self::addresses::Addresses;
use crate::SourceError;

/// How many replies one worker sends at once.
const SLOTS: u32 = 8;
/// How long one message may take, with its connection.
const SEND: Duration = Duration::from_secs(30);

/// Brokers that replies go to, by the names that callers use.
#[derive(Debug, Default)]
pub struct ReplyBrokers {
    brokers: BTreeMap<String, ReplyBroker>,
}

/// A broker, and the addresses at it that may get replies.
#[derive(Debug)]
struct ReplyBroker {
    publish: Box<dyn Publish>,
    addresses: Addresses,
}

/// Publishes messages to one broker. Connects when it must.
#[async_trait]
trait Publish: fmt::Debug + Send + Sync {
    /// Publishes a message, and answers once the broker has it.
    async fn publish(&self, address: &str, message: &Reply) -> Result<(), Unsent>;
}

/// A message for a broker: a CloudEvent, whose data is the message as a reply queue has it.
#[derive(Debug)]
struct Reply {
    id: JobId,
    /// `backroom.job.completed` and the like.
    about: String,
    /// The job.
    subject: String,
    at: Timestamp,
    correlation_id: Option<String>,
    traceparent: Option<String>,
    data: String,
}

/// Why a message was not sent.
#[derive(Debug)]
enum Unsent {
    /// Another attempt may succeed.
    Failed(SourceError),
    /// No attempt can succeed.
    #[cfg_attr(
        not(any(feature = "amqp", feature = "nats")),
        expect(dead_code, reason = "Redis takes any key")
    )]
    Refused(String),
}

impl Reply {
    /// The attributes of the CloudEvent, without those that a binding has a place of its own for.
    fn attributes(&self) -> Vec<(&'static str, String)> {
        let mut attributes = vec![
            ("specversion", "1.0".to_owned()),
            ("id", self.id.to_string()),
            ("source", "backroom".to_owned()),
            ("type", self.about.clone()),
            ("subject", self.subject.clone()),
            ("time", self.at.to_string()),
        ];
        attributes.extend(self.traceparent.iter().map(|text| ("traceparent", text.clone())));
        attributes
    }
}

impl ReplyBrokers {
    /// No broker yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a broker under the name that callers use. The scheme of the URL says which sort it is: `amqp`, `nats` or `redis`, and with TLS
    /// `amqps`, `tls` or `rediss`. Replies go only to addresses that fit one of the patterns, in which `*` stands for any characters;
    /// with `["*"]`, to every address. A reply to another one is discarded.
    pub fn add<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        url: &str,
        ca_file: Option<PathBuf>,
        addresses: impl IntoIterator<Item = S>,
    ) -> Result<Self, Invalid> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let publish: Box<dyn Publish> = match scheme {
            #[cfg(feature = "amqp")]
            "amqp" | "amqps" => Box::new(amqp::Amqp::new(url, ca_file)),
            #[cfg(feature = "nats")]
            "nats" | "tls" => Box::new(nats::Nats::new(url, ca_file)),
            #[cfg(feature = "redis")]
            "redis" | "rediss" => Box::new(redis::Redis::new(url, ca_file)),
            _ => {
                // The URL may have a password.
                let why = format!(
                    "has the scheme {scheme:?}; replies go to amqp, amqps, nats, tls, redis and rediss"
                );
                return Err(Invalid::new("url", why));
            }
        };
        let addresses = Addresses::new(addresses.into_iter().map(Into::into).collect());
        self.brokers.insert(name.into(), ReplyBroker { publish, addresses });
        Ok(self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.brokers.is_empty()
    }

    /// Has the worker send replies: it also serves the queue `backroom.replies`, with slots of its own. Any number of workers may.
    pub fn serve(self, worker: Worker) -> Worker {
        let brokers = Arc::new(self);
        worker.queue(QUEUE, SLOTS).handle_untyped(KIND, move |args, context| {
            let brokers = Arc::clone(&brokers);
            async move { brokers.send(args, context).await }
        })
    }

    /// Sends one reply.
    async fn send(&self, args: Json, context: Context) -> Result<Json, Failure> {
        let args: Args = args.decode().map_err(Failure::discard)?;
        let to = BrokerAddress::read(&args.to).map_err(Failure::discard)?;
        let to = to.ok_or_else(|| Failure::discard(format!("{:?} names no broker", args.to)))?;
        let Some(broker) = self.brokers.get(to.broker) else {
            // A server with other settings may know it, or these may be changed.
            let why = format!(
                "the settings of this server have no broker {:?}; add [brokers.{}]",
                to.broker, to.broker
            );
            return Err(Failure::retry(why));
        };
        if !broker.addresses.permit(to.address) {
            let why = format!(
                "brokers.{}.addresses in the settings of this server does not permit replies to {:?}",
                to.broker, to.address
            );
            return Err(Failure::discard(why));
        }
        let known: Known = args.event.decode().map_err(Failure::discard)?;
        let message = Reply {
            id: context.id(),
            about: format!("backroom.job.{}", known.about),
            subject: known.job_id.to_string(),
            at: known.at,
            correlation_id: known.correlation_id,
            traceparent: context.traceparent().map(str::to_owned),
            data: args.event.as_str().to_owned(),
        };
        let clock = Arc::clone(context.backroom().clock());
        let sent = tokio::select! {
            sent = broker.publish.publish(to.address, &message) => sent,
            () = clock.sleep(SEND) => {
                let why = format!("send the reply: the broker {:?} did not answer within {SEND:?}", to.broker);
                Err(Unsent::Failed(SourceError::new(why)))
            }
        };
        match sent {
            Ok(()) => Ok(Json::null()),
            Err(Unsent::Failed(error)) => Err(Failure::retry(error.to_string())),
            Err(Unsent::Refused(why)) => Err(Failure::discard(why)),
        }
    }
}

/// Whether replies may go to this address of a broker with these patterns: see [`ReplyBrokers::add`].
pub fn permits_reply(patterns: &[String], address: &str) -> bool {
    Addresses::new(patterns.to_vec()).permit(address)
}

/// What a job is to send, and where.
#[derive(Debug, Deserialize)]
struct Args {
    to: String,
    /// Sent as it was stored, with fields of newer programs that this one does not know.
    event: Json,
}

/// What of the message stands around it.
#[derive(Debug, Deserialize)]
struct Known {
    #[serde(rename = "type")]
    about: String,
    job_id: JobId,
    at: Timestamp,
    #[serde(default)]
    correlation_id: Option<String>,
}

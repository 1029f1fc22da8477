//! Replies to queues of a broker that speaks AMQP 0.9.1, through its default exchange.

use std::path::PathBuf;

use async_trait::async_trait;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::sync::Mutex;

use super::{Publish, Reply, Unsent};
use crate::{SourceError, broker};

#[derive(Debug)]
pub(super) struct Amqp {
    url: String,
    ca_file: Option<PathBuf>,
    open: Mutex<Option<(Connection, Channel)>>,
}

impl Amqp {
    pub(super) fn new(url: &str, ca_file: Option<PathBuf>) -> Self {
        Self { url: url.into(), ca_file, open: Mutex::new(None) }
    }

    async fn channel(&self) -> Result<Channel, SourceError> {
        let mut open = self.open.lock().await;
        if let Some((connection, channel)) = &*open
            && connection.status().connected()
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let connection = broker::amqp_connect(&self.url, self.ca_file.as_deref()).await?;
        let failing = |error: lapin::Error| SourceError::new(format!("open a channel for replies: {error}"));
        let channel = connection.create_channel().await.map_err(failing)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failing)?;
        *open = Some((connection, channel.clone()));
        Ok(channel)
    }
}

#[async_trait]
impl Publish for Amqp {
    async fn publish(&self, address: &str, message: &Reply) -> Result<(), Unsent> {
        let name = |text: &str| {
            ShortString::try_new(text)
                .map_err(|_| Unsent::Refused(format!("{text:?} is longer than 255 bytes")))
        };
        let mut headers = FieldTable::default();
        for (attribute, value) in message.attributes() {
            headers.insert(format!("cloudEvents:{attribute}").into(), AMQPValue::LongString(value.into()));
        }
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            // Written to the disk of the broker.
            .with_delivery_mode(2)
            .with_message_id(name(&message.id.to_string())?)
            .with_type(name(&message.about)?)
            .with_timestamp(u64::try_from(message.at.as_second()).unwrap_or(0))
            .with_headers(headers);
        if let Some(id) = &message.correlation_id {
            properties = properties.with_correlation_id(name(id)?);
        }
        let failing =
            |error: lapin::Error| Unsent::Failed(SourceError::new(format!("send the reply: {error}")));
        let channel = self.channel().await.map_err(Unsent::Failed)?;
        // Without a queue of this name the broker returns the message.
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = channel.basic_publish(
            ShortString::default(),
            name(address)?,
            options,
            message.data.as_bytes(),
            properties,
        );
        match sent.await.map_err(failing)?.await.map_err(failing)? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => {
                Err(Unsent::Refused(format!("the broker has no queue {address:?}; its client may be gone")))
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => {
                Err(Unsent::Failed(SourceError::new("send the reply: the broker did not accept it")))
            }
        }
    }
}

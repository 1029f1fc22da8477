//! RabbitMQ, with quorum queues and with classic ones.

use std::time::Duration;

use backroom_testbed::BrokerKind;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{
    bench::{Bench, Sent},
    scenarios,
};

/// A queue of this sort, with a queue for its dead letters.
pub(crate) struct Amqp<const IS_QUORUM: bool>;

type Quorum = Amqp<true>;
pub(crate) type Classic = Amqp<false>;

async fn connect(url: &str) -> (Connection, Channel) {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    // RabbitMQ ends a connection whose greeting takes ten seconds, as on a machine that is busy with a start.
    let connection = match connect().await {
        Ok(connection) => connection,
        Err(_) => connect().await.unwrap(),
    };
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

impl<const IS_QUORUM: bool> Bench for Amqp<IS_QUORUM> {
    const KIND: BrokerKind = BrokerKind::RabbitMq;
    /// RabbitMQ 3.10 has then forgotten a classic queue, and never finds a leader for a quorum queue again. Both were seen within half a second.
    const FORGETS_WITHIN: Duration = Duration::from_secs(3);
    /// Each start takes ten seconds and more.
    const ENDS: usize = 1;

    fn source(url: &str, name: &str) -> String {
        format!("type = \"amqp\"\nurl = \"{url}\"\nsource_queue = \"{name}\"")
    }

    async fn make(url: &str, name: &str) {
        let (connection, channel) = connect(url).await;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let dead = format!("{name}.dead");
        channel.queue_declare(dead.as_str().into(), options, FieldTable::default()).await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text(if IS_QUORUM { "quorum" } else { "classic" }));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(&dead));
        channel.queue_declare(name.into(), options, arguments).await.unwrap();
        connection.close(200, ShortString::default()).await.unwrap();
    }

    async fn publish(url: &str, name: &str, messages: Vec<Sent>) {
        let (connection, channel) = connect(url).await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        for part in messages.chunks(500) {
            let mut confirmations = Vec::new();
            for message in part {
                let mut headers = FieldTable::default();
                for (attribute, value) in &message.event {
                    headers.insert(format!("cloudEvents:{attribute}").into(), text(value));
                }
                for (header, value) in &message.headers {
                    headers.insert(header.as_str().into(), text(value));
                }
                let mut properties = BasicProperties::default()
                    .with_delivery_mode(2)
                    .with_message_id(message.id.as_str().into())
                    .with_headers(headers);
                if let Some(content_type) = &message.content_type {
                    properties = properties.with_content_type(content_type.as_str().into());
                }
                let (exchange, options) = (ShortString::default(), BasicPublishOptions::default());
                let sent = channel.basic_publish(exchange, name.into(), options, &message.body, properties);
                confirmations.push(sent.await.unwrap());
            }
            for confirmation in confirmations {
                let confirmed =
                    tokio::time::timeout(Duration::from_secs(60), confirmation).await.unwrap().unwrap();
                assert!(confirmed.is_ack());
            }
        }
        connection.close(200, ShortString::default()).await.unwrap();
    }

    async fn dead_letters(url: &str, name: &str) -> Option<usize> {
        let (connection, channel) = connect(url).await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel
            .queue_declare(format!("{name}.dead").into(), options, FieldTable::default())
            .await
            .unwrap();
        let count = queue.message_count();
        connection.close(200, ShortString::default()).await.unwrap();
        Some(count as usize)
    }
}

#[test]
fn each_message_of_a_quorum_queue_is_one_job_while_the_broker_is_killed_and_restarted() {
    scenarios::the_broker_restarts::<Quorum>();
}

#[test]
fn each_message_of_a_classic_queue_is_one_job_while_the_broker_is_killed_and_restarted() {
    scenarios::the_broker_restarts::<Classic>();
}

#[test]
fn each_message_is_one_job_while_backroom_is_killed() {
    scenarios::backroom_is_killed::<Quorum>(3);
}

#[test]
#[ignore = "twenty kills; the ordinary test has three"]
fn each_message_is_one_job_while_backroom_is_killed_twenty_times() {
    scenarios::backroom_is_killed::<Quorum>(20);
    scenarios::backroom_is_killed::<Classic>(20);
}

#[test]
fn each_message_is_one_job_while_the_connection_is_cut_before_the_acknowledgement() {
    scenarios::the_connection_is_cut::<Classic>();
}

#[test]
fn a_message_becomes_a_job_and_a_second_server_takes_over() {
    scenarios::a_message_becomes_a_job::<Classic>();
    scenarios::a_second_server_takes_over::<Classic>();
}

#[test]
fn every_server_reads_where_that_is_chosen() {
    scenarios::every_server_reads::<Quorum>("");
}

#[test]
fn bad_messages_are_dead_letters() {
    scenarios::bad_messages_are_dead_letters::<Quorum>();
}

#[test]
fn cloud_events_are_understood() {
    scenarios::cloud_events_are_understood::<Classic>();
}

#[test]
fn what_is_wrong_is_said_once() {
    scenarios::what_is_wrong_is_said_once::<Classic>(Some("amqps"));
}

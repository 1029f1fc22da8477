//! NATS JetStream.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use backroom_testbed::BrokerKind;

use crate::{
    bench::{Bench, Sent},
    scenarios,
};

pub(crate) struct Nats;

pub(crate) async fn connect(url: &str) -> jetstream::Context {
    let options = async_nats::ConnectOptions::with_user_and_password("backroom".into(), "geheim".into());
    jetstream::new(options.connect(url.replace("backroom:geheim@", "")).await.unwrap())
}

impl Bench for Nats {
    const KIND: BrokerKind = BrokerKind::Nats;

    fn source(url: &str, name: &str) -> String {
        format!("type = \"nats\"\nurl = \"{url}\"\nstream = \"{name}\"\nredeliver_after = \"1s\"")
    }

    async fn make(url: &str, name: &str) {
        let config = jetstream::stream::Config {
            name: name.into(),
            subjects: vec![format!("{name}.>")],
            ..jetstream::stream::Config::default()
        };
        connect(url).await.create_stream(config).await.unwrap();
    }

    async fn publish(url: &str, name: &str, messages: Vec<Sent>) {
        let context = connect(url).await;
        for part in messages.chunks(500) {
            let mut acknowledgements = Vec::new();
            for message in part {
                let mut headers = HeaderMap::new();
                message.content_type.iter().for_each(|value| headers.insert("Content-Type", value.as_str()));
                for (attribute, value) in &message.event {
                    headers.insert(format!("ce-{attribute}").as_str(), value.as_str());
                }
                for (header, value) in &message.headers {
                    headers.insert(header.as_str(), value.as_str());
                }
                headers.insert("Nats-Msg-Id", message.id.as_str());
                let sent =
                    context.publish_with_headers(format!("{name}.a"), headers, message.body.clone().into());
                acknowledgements.push(sent.await.unwrap());
            }
            for acknowledgement in acknowledgements {
                tokio::time::timeout(Duration::from_secs(60), acknowledgement.into_future())
                    .await
                    .unwrap()
                    .unwrap();
            }
        }
    }

    async fn dead_letters(_: &str, _: &str) -> Option<usize> {
        None
    }
}

#[test]
fn a_message_becomes_a_job() {
    scenarios::a_message_becomes_a_job::<Nats>();
}

#[test]
fn each_message_is_one_job_while_the_broker_is_killed_and_restarted() {
    scenarios::the_broker_restarts::<Nats>();
}

#[test]
fn each_message_is_one_job_while_backroom_is_killed() {
    scenarios::backroom_is_killed::<Nats>(3);
}

#[test]
#[ignore = "twenty kills; the ordinary test has three"]
fn each_message_is_one_job_while_backroom_is_killed_twenty_times() {
    scenarios::backroom_is_killed::<Nats>(20);
}

#[test]
fn each_message_is_one_job_while_the_connection_is_cut_before_the_acknowledgement() {
    scenarios::the_connection_is_cut::<Nats>();
}

#[test]
fn a_second_server_takes_over() {
    scenarios::a_second_server_takes_over::<Nats>();
}

#[test]
fn every_server_reads_where_that_is_chosen() {
    scenarios::every_server_reads::<Nats>("");
}

#[test]
fn bad_messages_are_dead_letters() {
    scenarios::bad_messages_are_dead_letters::<Nats>();
}

#[test]
fn cloud_events_are_understood() {
    scenarios::cloud_events_are_understood::<Nats>();
}

#[test]
fn what_is_wrong_is_said_once() {
    scenarios::what_is_wrong_is_said_once::<Nats>(Some("tls"));
}

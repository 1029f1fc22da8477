//! Mosquitto, by MQTT 5.

use std::{collections::BTreeSet, time::Duration};

use backroom_testbed::BrokerKind;
use rumqttc::{
    AsyncClient, Event, MqttOptions, PublishOptions,
    mqttbytes::{
        QoS,
        v5::{Packet, PublishProperties},
    },
};

use crate::{
    bench::{Bench, Sent},
    scenarios,
};

pub(crate) struct Mqtt;

fn options(url: &str) -> MqttOptions {
    let rest = url.split_once("://").unwrap().1;
    let (login, address) = rest.split_once('@').unwrap();
    let ((user, password), (host, port)) = (login.split_once(':').unwrap(), address.split_once(':').unwrap());
    let mut options = MqttOptions::new("publisher", (host, port.parse::<u16>().unwrap()));
    options.set_credentials(user, password.to_owned());
    options.set_unlimited_incoming_packet_size();
    options
}

impl Bench for Mqtt {
    const KIND: BrokerKind = BrokerKind::Mosquitto;
    const LOSES_WHEN_KILLED: bool = true;

    fn source(url: &str, name: &str) -> String {
        format!("type = \"mqtt\"\nurl = \"{url}\"\ntopics = [\"{name}/#\"]")
    }

    /// The broker stores messages for a session only, so that of the trigger is made first.
    async fn make(url: &str, name: &str) {
        let mut options = options(url);
        options.set_client_id("backroom-in".into());
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(3600));
        let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
        client.subscribe(format!("{name}/#"), QoS::AtLeastOnce).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    }

    async fn publish(url: &str, name: &str, messages: Vec<Sent>) {
        let (client, mut events) = AsyncClient::builder(options(url)).capacity(messages.len() + 10).build();
        let mut waiting = messages.len();
        for message in messages {
            let mut properties =
                PublishProperties { content_type: message.content_type, ..PublishProperties::default() };
            properties.user_properties.extend(message.event);
            properties.user_properties.extend(message.headers);
            let how = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
            client.publish(format!("{name}/a"), message.body, how).await.unwrap();
        }
        let mut seen = BTreeSet::new();
        while waiting > 0 {
            let event = tokio::time::timeout(Duration::from_secs(60), events.poll()).await.unwrap().unwrap();
            if let Event::Incoming(Packet::PubAck(ack)) = event {
                seen.insert(ack.pkid);
                waiting -= 1;
            }
        }
    }

    async fn dead_letters(_: &str, _: &str) -> Option<usize> {
        None
    }
}

#[test]
fn a_message_becomes_a_job() {
    scenarios::a_message_becomes_a_job::<Mqtt>();
}

#[test]
fn each_message_is_one_job_while_the_broker_restarts() {
    scenarios::the_broker_restarts::<Mqtt>();
}

#[test]
fn each_message_is_one_job_while_backroom_is_killed() {
    scenarios::backroom_is_killed::<Mqtt>(3);
}

#[test]
#[ignore = "twenty kills; the ordinary test has three"]
fn each_message_is_one_job_while_backroom_is_killed_twenty_times() {
    scenarios::backroom_is_killed::<Mqtt>(20);
}

#[test]
fn each_message_is_one_job_while_the_connection_is_cut_before_the_acknowledgement() {
    scenarios::the_connection_is_cut::<Mqtt>();
}

#[test]
fn a_second_server_takes_over() {
    scenarios::a_second_server_takes_over::<Mqtt>();
}

#[test]
fn bad_messages_are_dead_letters() {
    scenarios::bad_messages_are_dead_letters::<Mqtt>();
}

#[test]
fn cloud_events_are_understood() {
    scenarios::cloud_events_are_understood::<Mqtt>();
}

#[test]
fn what_is_wrong_is_said_once() {
    scenarios::what_is_wrong_is_said_once::<Mqtt>(Some("mqtts"));
}

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
    bench::{Bench, Sent, World, each_once_in_order, until, until_newest},
    scenarios,
    serve_support::Server,
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

/// Publishes so many messages with QoS 0, then one with QoS 1.
async fn flood(url: &str, name: &str, count: usize, body: &str) {
    let (client, mut events) = AsyncClient::builder(options(url)).capacity(count + 10).build();
    for _ in 0..count {
        let how = PublishOptions::new(QoS::AtMostOnce);
        client.publish(format!("{name}/a"), body.to_owned(), how).await.unwrap();
    }
    let how = PublishOptions::new(QoS::AtLeastOnce);
    client.publish(format!("{name}/a"), r#"{"n":"last"}"#, how).await.unwrap();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), events.poll()).await.unwrap().unwrap();
        if matches!(event, Event::Incoming(Packet::PubAck(_))) {
            return;
        }
    }
}

/// A world whose trigger waits, because its queue is full.
fn waiting() -> (World<Mqtt>, Server) {
    let world = World::<Mqtt>::start();
    world.settings(
        &world.broker.url(),
        "kind = \"number\"\nqueue = \"narrow\"\nargs = { n = \"{{body/n}}\" }\n",
    );
    let server = Server::start(&world.place, &[]);
    world.place.json(["queues", "limit", "narrow", "1"]);
    world.publish(Sent::numbers(0..2));
    until(&server, "it waits", || server.get("/metrics").text().contains("activity=\"blocked\"} 1"));
    (world, server)
}

#[test]
fn a_flood_of_messages_with_qos_0_takes_a_bound_of_memory_and_is_counted() {
    const MIB: usize = 1024 * 1024;
    let (world, server) = waiting();
    let before = resident(&server);
    let body = format!("{{\"n\":\"{}\"}}", "x".repeat(100 * 1024));
    world.run(flood(&world.broker.url(), &world.name, 3000, &body));
    until(&server, "messages are dropped", || server.log().contains("messages with QoS 0 are dropped"));
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 100 * MIB, "300 MB were published, and the server has {} MB more", grown / MIB);
    world.place.json(["queues", "limit", "narrow", "none"]);
    until(&server, "the message with QoS 1 is a job", || {
        server.get("/v1/jobs?limit=1").json()["jobs"][0]["args"]["n"] == "last"
    });
    until(&server, "what was dropped is shown", || {
        let shown = server.get("/v1/triggers/in").json();
        shown["readers"][0]["status"]["details"]["dropped"].as_u64().is_some_and(|dropped| dropped > 1000)
    });
    let log = server.stop();
    assert_eq!(log.matches("messages with QoS 0 are dropped").count(), 1, "{log}");
}

#[test]
fn large_messages_with_qos_1_go_beyond_the_bound_and_are_one_job_each() {
    let (world, server) = waiting();
    let large =
        |n: usize| Sent::new(&format!("m{n}"), format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(3_000_000)));
    world.publish((2..26).map(large).collect());
    world.place.json(["queues", "limit", "narrow", "none"]);
    until_newest(&server, 25);
    let log = server.stop();
    assert!(log.contains("begins again with fewer"), "{log}");
    each_once_in_order(&world.place, 26);
}

/// Bytes of memory that a server has.
fn resident(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
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

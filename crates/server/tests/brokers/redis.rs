//! Redis streams.

use ::redis::{AsyncCommands as _, Client, pipe};
use backroom_testbed::BrokerKind;

use crate::{
    bench::{Bench, Sent, World, counted, until, until_newest},
    scenarios,
    serve_support::Server,
};

pub(crate) struct Redis;

async fn connect(url: &str) -> ::redis::aio::MultiplexedConnection {
    let config = ::redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    // A server that was started again reads its file first.
    while connection.ping::<String>().await.is_err() {
        tokio::task::yield_now().await;
    }
    connection
}

impl Bench for Redis {
    const KIND: BrokerKind = BrokerKind::Redis;

    fn source(url: &str, name: &str) -> String {
        format!(
            "type = \"redis\"\nurl = \"{url}\"\nstream = \"{name}\"\ndead_letter_stream = \"{name}.dead\""
        )
    }

    async fn make(_: &str, _: &str) {}

    async fn publish(url: &str, name: &str, messages: Vec<Sent>) {
        let mut connection = connect(url).await;
        for part in messages.chunks(500) {
            let mut commands = pipe();
            for message in part {
                let add = commands.cmd("XADD").arg(name).arg("*").arg("data").arg(&message.body);
                message.content_type.iter().for_each(|value| {
                    add.arg("content-type").arg(value);
                });
                for (attribute, value) in &message.event {
                    add.arg(format!("ce_{attribute}")).arg(value);
                }
                for (header, value) in &message.headers {
                    add.arg(header).arg(value);
                }
                add.ignore();
            }
            let () = commands.query_async(&mut connection).await.unwrap();
        }
    }

    async fn dead_letters(url: &str, name: &str) -> Option<usize> {
        Some(connect(url).await.xlen(format!("{name}.dead")).await.unwrap())
    }
}

#[test]
fn a_message_becomes_a_job() {
    scenarios::a_message_becomes_a_job::<Redis>();
}

#[test]
fn each_message_is_one_job_while_the_broker_is_killed_and_restarted() {
    scenarios::the_broker_restarts::<Redis>();
}

#[test]
fn each_message_is_one_job_while_backroom_is_killed() {
    scenarios::backroom_is_killed::<Redis>(3);
}

#[test]
#[ignore = "twenty kills; the ordinary test has three"]
fn each_message_is_one_job_while_backroom_is_killed_twenty_times() {
    scenarios::backroom_is_killed::<Redis>(20);
}

#[test]
fn each_message_is_one_job_while_the_connection_is_cut_before_the_acknowledgement() {
    scenarios::the_connection_is_cut::<Redis>();
}

/// Deleted, it would be gone everywhere.
#[test]
fn an_entry_that_is_too_large_for_a_dead_letter_is_not_deleted() {
    let world = World::<Redis>::start();
    let source =
        format!("type = \"redis\"\nurl = \"{}\"\nstream = \"large\"\ndelete = true", world.broker.url());
    world.write_settings(&format!("[triggers.in]\n{source}\nkind = \"number\"\n"));
    let large = |id: &str, bytes: usize| Sent::new(id, format!("\"{}\"", "x".repeat(bytes)));
    let messages =
        vec![Sent::number(0), large("stored", 2_000_000), large("larger", 17_000_000), Sent::number(1)];
    world.run(Redis::publish(&world.broker.url(), "large", messages));
    let server = Server::start(&world.place, &[]);
    until_newest(&server, 1);
    until(&server, "the others are deleted", || {
        let left: usize =
            world.run(async { connect(&world.broker.url()).await.xlen("large").await.unwrap() });
        left == 1
    });
    until(&server, "none is pending", || counted(&server, "trigger_lag", "in", "") == Some(0));
    let letters = server.get("/v1/dead-letters?limit=10").json();
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 2, "{letters}");
    let log = server.stop();
    assert_eq!(log.matches("is too large for a dead letter").count(), 1, "{log}");
}

#[test]
fn a_second_server_takes_over() {
    scenarios::a_second_server_takes_over::<Redis>();
}

#[test]
fn every_server_reads_where_that_is_chosen() {
    scenarios::every_server_reads::<Redis>("redeliver_after = \"1s\"");
}

#[test]
fn bad_messages_are_dead_letters() {
    scenarios::bad_messages_are_dead_letters::<Redis>();
}

#[test]
fn cloud_events_are_understood() {
    scenarios::cloud_events_are_understood::<Redis>();
}

#[test]
fn what_is_wrong_is_said_once() {
    scenarios::what_is_wrong_is_said_once::<Redis>(Some("rediss"));
}

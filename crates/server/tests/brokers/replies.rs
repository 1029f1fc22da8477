//! Replies to brokers: a message asks, and the answer goes back the same way.

use std::time::Duration;

use ::redis::{AsyncCommands as _, streams::StreamRangeReply};
use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use serde_json::Value;

use crate::{
    bench::{World, until},
    nats::Nats,
    redis::Redis,
    serve_support::Server,
};

/// A kind that answers with its args.
const ECHO: &str = "[kinds.echo]\ncommand = [\"cat\"]\n";

#[test]
fn an_amqp_message_with_reply_to_gets_the_output_with_its_correlation_id() {
    let world = World::<crate::amqp::Classic>::start();
    let url = world.broker.url();
    world.write_settings(&format!(
        "{ECHO}\n[brokers.shop]\nurl = \"{url}\"\n\n[triggers.in]\n{}\nkind = \"echo\"\nreply_to = \"broker:shop/{{{{header.reply-to}}}}\"\n",
        <crate::amqp::Classic as crate::bench::Bench>::source(&url, &world.name),
    ));
    let server = Server::start(&world.place, &[]);
    let (answer, id, kind) = world.run(async {
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
        let consume = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut answers = channel
            .basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default())
            .await
            .unwrap();
        let ask = BasicProperties::default()
            .with_message_id("question".into())
            .with_reply_to(queue.name().clone())
            .with_correlation_id("c-7".into());
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(ShortString::default(), world.name.as_str().into(), options, b"{\"n\":7}", ask)
            .await
            .unwrap();
        let answer =
            tokio::time::timeout(Duration::from_secs(60), answers.next()).await.unwrap().unwrap().unwrap();
        let properties = answer.properties.clone();
        connection.close(200, ShortString::default()).await.unwrap();
        (answer.data, properties.correlation_id().clone(), properties.kind().clone())
    });
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((&answer["type"], &answer["output"]["n"]), (&"completed".into(), &7.into()), "{answer}");
    assert_eq!(id.unwrap().as_str(), "c-7");
    assert_eq!(kind.unwrap().as_str(), "backroom.job.completed");
    // A queue that does not exist discards the reply with its reason.
    let job = world.place.enqueue(&["echo", "1", "--reply-to", "broker:shop/gone"]);
    until(&server, "the reply is given up", || {
        let list = world.place.json(["jobs", "--queue", "backroom.replies", "--state", "discarded"]);
        list["jobs"].as_array().unwrap().iter().any(|reply| {
            reply["args"]["event"]["job_id"] == job.as_str()
                && reply["reason"].as_str().unwrap().contains("no queue")
        })
    });
    server.stop();
}

#[test]
fn a_reply_to_the_broker_itself_or_to_an_address_that_is_not_permitted_is_discarded() {
    let nats = World::<Nats>::start();
    let url = nats.broker.url();
    nats.write_settings(&format!(
        "{ECHO}\n[brokers.n]\nurl = \"{url}\"\n[brokers.few]\nurl = \"{url}\"\naddresses = [\"{}.ok.*\"]\n",
        nats.name
    ));
    let count = || {
        nats.run(async {
            let stream = crate::nats::connect(&url).await.get_stream(&nats.name).await.unwrap();
            stream.cached_info().state.messages
        })
    };
    nats.run(<Nats as crate::bench::Bench>::publish(
        &url,
        &nats.name,
        vec![crate::bench::Sent::new("held", "1")],
    ));
    assert_eq!(count(), 1);
    let name = &nats.name;
    let refused = [
        (format!("broker:n/$JS.API.STREAM.PURGE.{name}"), "belong to the broker itself"),
        ("broker:n/_INBOX.abc".to_owned(), "requests of other clients"),
        (format!("broker:n/{name}.a $JS.API.STREAM.PURGE.{name}"), "not the name of one subject"),
        (format!("broker:few/{name}.other"), "brokers.few.addresses"),
    ];
    let server = Server::start(&nats.place, &[]);
    for (to, _) in &refused {
        nats.place.enqueue(&["echo", "1", "--reply-to", to]);
    }
    nats.place.enqueue(&["echo", "1", "--reply-to", &format!("broker:few/{name}.ok.a")]);
    until(&server, "the replies are given up", || {
        let list = nats.place.json(["jobs", "--queue", "backroom.replies", "--state", "discarded"]);
        let jobs = list["jobs"].as_array().unwrap().clone();
        refused.iter().all(|(to, why)| {
            jobs.iter()
                .any(|job| job["args"]["to"] == to.as_str() && job["reason"].as_str().unwrap().contains(why))
        })
    });
    until(&server, "the reply that is permitted arrives", || count() == 2);
    server.stop();
}

#[test]
fn a_stream_of_redis_and_a_subject_of_nats_get_replies_also_after_the_broker_was_away() {
    let (mut redis, nats) = (World::<Redis>::alone(), World::<Nats>::start());
    redis.write_settings(&format!(
        "{ECHO}\n[brokers.r]\nurl = \"{}\"\n[brokers.n]\nurl = \"{}\"\n",
        redis.broker.url(),
        nats.broker.url()
    ));
    redis.broker.stop().unwrap();
    let server = Server::start(&redis.place, &[]);
    let to_nats = format!("broker:n/{}.answers", nats.name);
    redis.place.enqueue(&["echo", "{\"n\":1}", "--reply-to", "broker:r/answers", "--correlation-id", "c1"]);
    redis.place.enqueue(&["echo", "{\"n\":2}", "--reply-to", &to_nats, "--correlation-id", "c2"]);
    until(&server, "the reply was tried in vain", || {
        let list = redis.place.json(["jobs", "--queue", "backroom.replies"]);
        list["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|job| job["args"]["to"] == "broker:r/answers" && job["attempt"].as_u64() >= Some(1))
    });
    redis.broker.start_again().unwrap();
    let read = || {
        redis.run(async {
            let client = ::redis::Client::open(redis.broker.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let reply: StreamRangeReply = connection.xrange_all("answers").await.unwrap();
            reply.ids
        })
    };
    until(&server, "the reply is in the stream", || !read().is_empty());
    let entries = read();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].get::<String>("correlation_id").as_deref(), Some("c1"));
    let data: Value = serde_json::from_str(&entries[0].get::<String>("data").unwrap()).unwrap();
    assert_eq!(data["output"]["n"], 1);
    assert_eq!(entries[0].get::<String>("ce_type").as_deref(), Some("backroom.job.completed"));
    let message = nats.run(async {
        let context = crate::nats::connect(&nats.broker.url()).await;
        let stream = context.get_stream(&nats.name).await.unwrap();
        let subject = format!("{}.answers", nats.name);
        loop {
            if let Ok(message) = stream.get_last_raw_message_by_subject(&subject).await {
                return message;
            }
            tokio::task::yield_now().await;
        }
    });
    let data: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!((&data["output"]["n"], &data["correlation_id"]), (&2.into(), &"c2".into()));
    assert_eq!(message.headers.get("correlation-id").map(|value| value.as_str()), Some("c2"));
    server.stop();
}

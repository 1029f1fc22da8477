//! How fast brokers are read, beside a loop of the same client library that does nothing with the messages. Run by hand:
//! `cargo test --release --all-features -p backroom-triggers --test broker_rates -- --ignored --nocapture --test-threads 1`.

#![cfg(all(feature = "amqp", feature = "mqtt", feature = "nats", feature = "redis"))]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "in a test a panic is the report, and this one measures"
)]

mod support;

use std::time::Duration;

use backroom_testbed::{Broker, BrokerKind};
use backroom_triggers::{AmqpQueue, JetStream, Mapping, MqttTopics, RedisStream, Source, Triggers};
use futures_util::StreamExt as _;
use support::{Place, until};

const MESSAGES: usize = 50_000;
/// Messages that the bare loop acknowledges at once, where the protocol can do so.
const BATCH: usize = 1000;

fn body(n: usize) -> String {
    format!(r#"{{"order":{n},"customer":"c{}","total":12.50,"items":["socks","shoes"]}}"#, n % 100)
}

/// Prints both rates. `bare` takes all messages that were published before, and so does the source.
async fn compare(name: &str, bare: Duration, source: impl Source) {
    let place = Place::new();
    let backroom = place.open().await;
    let clock = backroom.clock();
    let begun = clock.monotonic();
    let mapping = Mapping::kind("order").build().unwrap();
    let triggers = Triggers::new(&backroom).add("in", source, mapping).start().await.unwrap();
    until(&backroom, "all are jobs", async || {
        triggers.status("in").is_some_and(|status| status.counters.enqueued as usize >= MESSAGES)
    })
    .await;
    let took = clock.monotonic() - begun;
    triggers.stop().await;
    let rate = |took: Duration| MESSAGES as f64 / took.as_secs_f64();
    let (bare, ours) = (rate(bare), rate(took));
    println!("{name}: bare loop {bare:.0}/s, durable jobs {ours:.0}/s, ratio {:.2}", ours / bare);
}

/// How long something takes.
async fn timed(work: impl Future<Output = ()>) -> Duration {
    let clock = backroom::clock::SystemClock::default();
    let begun = backroom::clock::Clock::monotonic(&clock);
    work.await;
    backroom::clock::Clock::monotonic(&clock) - begun
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn redis() {
    use redis::{
        AsyncCommands as _,
        streams::{StreamReadOptions, StreamReadReply},
    };
    let broker = Broker::start(BrokerKind::Redis).unwrap();
    let client = redis::Client::open(broker.url()).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    for part in (0..MESSAGES).collect::<Vec<_>>().chunks(BATCH) {
        let mut commands = redis::pipe();
        part.iter().for_each(|n| {
            commands.cmd("XADD").arg("in").arg("*").arg("data").arg(body(*n)).ignore();
        });
        let () = commands.query_async(&mut connection).await.unwrap();
    }
    let () = connection.xgroup_create("in", "bare", "0").await.unwrap();
    let bare = timed(async {
        let mut left = MESSAGES;
        while left > 0 {
            let options = StreamReadOptions::default().group("bare", "c").count(BATCH);
            let reply: StreamReadReply = connection.xread_options(&["in"], &[">"], &options).await.unwrap();
            let ids: Vec<_> =
                reply.keys.iter().flat_map(|key| &key.ids).map(|entry| entry.id.clone()).collect();
            let () = connection.xack("in", "bare", &ids).await.unwrap();
            left -= ids.len();
        }
    })
    .await;
    compare("Redis", bare, RedisStream::new(broker.url(), "in")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn nats() {
    use async_nats::jetstream::{self, consumer::pull};
    let broker = Broker::start(BrokerKind::Nats).unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("backroom".into(), "geheim".into());
    let context =
        jetstream::new(options.connect(broker.url().replace("backroom:geheim@", "")).await.unwrap());
    let config =
        jetstream::stream::Config { name: "in".into(), subjects: vec!["in.>".into()], ..Default::default() };
    let stream = context.create_stream(config).await.unwrap();
    for part in (0..MESSAGES).collect::<Vec<_>>().chunks(BATCH) {
        let mut sent = Vec::new();
        for n in part {
            sent.push(context.publish("in.a", body(*n).into()).await.unwrap());
        }
        for sent in sent {
            sent.await.unwrap();
        }
    }
    let config =
        pull::Config { durable_name: Some("bare".into()), max_ack_pending: 2000, ..Default::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let bare = timed(async {
        let mut messages = consumer.stream().max_messages_per_batch(2000).messages().await.unwrap();
        for _ in 0..MESSAGES {
            messages.next().await.unwrap().unwrap().ack().await.unwrap();
        }
    })
    .await;
    compare("NATS JetStream", bare, JetStream::new(broker.url(), "in")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn amqp() {
    use lapin::{
        BasicProperties, Connection, ConnectionProperties,
        options::*,
        types::{AMQPValue, FieldTable},
    };
    let broker = Broker::start(BrokerKind::RabbitMq).unwrap();
    for kind in ["classic", "quorum"] {
        let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        for queue in ["bare", "in"] {
            let name = format!("{kind}-{queue}");
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(name.as_str().into(), durable, arguments).await.unwrap();
            for part in (0..MESSAGES).collect::<Vec<_>>().chunks(BATCH) {
                let mut sent = Vec::new();
                for n in part {
                    let properties = BasicProperties::default()
                        .with_delivery_mode(2)
                        .with_message_id(n.to_string().into());
                    let (options, body) = (BasicPublishOptions::default(), body(*n));
                    let publish = channel.basic_publish(
                        "".into(),
                        name.as_str().into(),
                        options,
                        body.as_bytes(),
                        properties,
                    );
                    sent.push(publish.await.unwrap());
                }
                for sent in sent {
                    sent.await.unwrap();
                }
            }
        }
        channel.basic_qos(2000, BasicQosOptions::default()).await.unwrap();
        let (queue, options) = (format!("{kind}-bare"), BasicConsumeOptions::default());
        let bare = timed(async {
            let mut consumer =
                channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap();
            for n in 1..=MESSAGES {
                let message = consumer.next().await.unwrap().unwrap();
                if n % BATCH == 0 {
                    message.ack(BasicAckOptions { multiple: true }).await.unwrap();
                }
            }
        })
        .await;
        compare(&format!("RabbitMQ, {kind} queue"), bare, AmqpQueue::new(broker.url(), format!("{kind}-in")))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn mqtt() {
    use rumqttc::{
        AckMode, AsyncClient, Event, EventLoop, MqttOptions, PublishOptions,
        mqttbytes::{QoS, v5::Packet},
    };
    let broker = Broker::start(BrokerKind::Mosquitto).unwrap();
    let connect = |id: &str| -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(id, ("127.0.0.1", broker.port()));
        options.set_credentials("backroom", "geheim");
        options.set_clean_start(false);
        options.set_broker_session_resume_policy(rumqttc::BrokerSessionResumePolicy::AllowBrokerOnly);
        options.set_session_expiry_interval(Some(3600));
        options.set_receive_maximum(Some(2000));
        options.set_ack_mode(AckMode::Manual);
        options.set_max_request_batch(256);
        AsyncClient::builder(options).capacity(MESSAGES + 10).build()
    };
    // The sessions first: the broker stores messages for sessions only.
    for id in ["bare", "backroom-in"] {
        let (client, mut events) = connect(id);
        client.subscribe("in/#", QoS::AtLeastOnce).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    }
    let (client, mut events) = connect("publisher");
    for n in 0..MESSAGES {
        client.publish("in/a", body(n), PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
    }
    let mut waiting = MESSAGES;
    while waiting > 0 {
        waiting -= usize::from(matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))));
    }
    let bare = timed(async {
        let (client, mut events) = connect("bare");
        let mut left = MESSAGES;
        while left > 0 {
            if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
                client.ack(&message).await.unwrap();
                left -= 1;
            }
        }
    })
    .await;
    compare("Mosquitto", bare, MqttTopics::new(broker.url(), ["in/#"])).await;
}

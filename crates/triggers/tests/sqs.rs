//! Messages of Amazon SQS become jobs: real requests to moto, a real store.

#![cfg(feature = "sqs")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod queues;
mod support;

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry},
};
use backroom::Backroom;
use backroom_testbed::{Emulator, Proxy};
use backroom_triggers::{Activity, AwsAccess, Mapping, RunningTriggers, SqsQueue, Triggers, admin};
use queues::{numbers, until_numbers};
use support::{Place, jobs, until, until_status};

struct Sqs {
    emulator: Emulator,
    client: Client,
}

impl Sqs {
    fn new() -> Self {
        let emulator = Emulator::moto().unwrap();
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(emulator.url())
            .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        Self { client: Client::from_conf(config.build()), emulator }
    }

    async fn make(&self, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
        let mut request = self.client.create_queue().queue_name(name);
        for (key, value) in attributes {
            request = request.attributes(key.clone(), *value);
        }
        request.send().await.unwrap().queue_url.unwrap()
    }

    async fn send(&self, url: &str, bodies: impl IntoIterator<Item = String>) {
        let bodies: Vec<String> = bodies.into_iter().collect();
        for chunk in bodies.chunks(10) {
            let entry = |(id, body): (usize, &String)| {
                SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().unwrap()
            };
            let entries = chunk.iter().enumerate().map(entry).collect();
            let sent =
                self.client.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
            assert!(sent.unwrap().failed().is_empty());
        }
    }

    /// Messages that are there, hidden ones included.
    async fn left(&self, url: &str) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let asked =
            self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
        let answer = asked.send().await.unwrap();
        names.iter().map(|name| answer.attributes().unwrap()[name].parse::<u64>().unwrap()).sum()
    }
}

fn source(url: &str) -> SqsQueue {
    let access = AwsAccess {
        access_key: Some("AKIATEST".into()),
        secret_key: Some("secret".into()),
        region: Some("us-east-1".into()),
    };
    SqsQueue::new(url).access(access).redeliver_after(Duration::from_secs(3))
}

async fn start(backroom: &Backroom, queue: SqsQueue) -> RunningTriggers {
    start_with(backroom, queue, Mapping::kind("message").build().unwrap()).await
}

async fn start_with(backroom: &Backroom, queue: SqsQueue, mapping: Mapping) -> RunningTriggers {
    Triggers::new(backroom).lease(Duration::from_secs(2)).add("in", queue, mapping).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_become_one_job_each_and_are_deleted() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let url = sqs.make("orders", &[]).await;
    sqs.send(&url, numbers(0..120)).await;
    let triggers = start(&backroom, source(&url)).await;
    until_numbers(&backroom, 0..120).await;
    sqs.send(&url, numbers(120..125)).await;
    until_numbers(&backroom, 0..125).await;
    until(&backroom, "the queue is empty", async || sqs.left(&url).await == 0).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_which_a_request_has_waited_long_becomes_a_job_at_once() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let url = sqs.make("orders", &[]).await;
    let triggers = start(&backroom, source(&url)).await;
    // Longer than a message is hidden.
    backroom.clock().sleep(Duration::from_secs(5)).await;
    sqs.send(&url, numbers(0..3)).await;
    until_numbers(&backroom, 0..3).await;
    assert_eq!(triggers.status("in").unwrap().counters.duplicates, 0);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_headers_and_a_queue_in_order_stays_in_order() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let url = sqs.make("orders.fifo", &[(QueueAttributeName::FifoQueue, "true")]).await;
    for n in 0..25 {
        let attribute =
            MessageAttributeValue::builder().data_type("String").string_value("eu").build().unwrap();
        let sent = sqs.client.send_message().queue_url(&url).message_body(format!("{{\"n\":{n}}}"));
        let sent = sent.message_group_id("shop-7").message_deduplication_id(n.to_string());
        sent.message_attributes("Region", attribute).send().await.unwrap();
    }
    let args =
        backroom::Json::parse(r#"{"n":"{{body/n}}","region":"{{header.region}}","at":"{{at}}"}"#).unwrap();
    let mapping = Mapping::kind("message").lane("{{key}}").args(args).build().unwrap();
    let triggers = start_with(&backroom, source(&url), mapping).await;
    until(&backroom, "all are there", async || jobs(&backroom).await.len() >= 25).await;
    for (n, job) in jobs(&backroom).await.iter().enumerate() {
        let args: serde_json::Value = job.args.decode().unwrap();
        assert_eq!((args["n"].as_u64(), args["region"].as_str()), (Some(n as u64), Some("eu")));
        assert!(args["at"].is_string());
        assert_eq!(job.lane.as_deref(), Some("shop-7"));
    }
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_become_a_job_goes_to_the_dead_letter_queue_with_the_reason() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let dead = sqs.make("orders-dead", &[]).await;
    let policy =
        r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:orders-dead","maxReceiveCount":"3"}"#;
    let url = sqs.make("orders", &[(QueueAttributeName::RedrivePolicy, policy)]).await;
    sqs.send(&url, ["no json".to_owned()].into_iter().chain(numbers(0..3))).await;
    let triggers = start(&backroom, source(&url)).await;
    until_numbers(&backroom, 0..3).await;
    until(&backroom, "the queue is empty", async || sqs.left(&url).await == 0).await;
    let letters = sqs.client.receive_message().queue_url(&dead).message_attribute_names("All").send().await;
    let letters = letters.unwrap().messages.unwrap();
    assert_eq!(letters[0].body(), Some("no json"));
    let reason = letters[0].message_attributes().unwrap()["backroom-reason"].string_value().unwrap();
    assert!(reason.contains("is no JSON"), "{reason}");
    let ours = admin::dead_letters(&backroom, Some("in"), None, 10).await.unwrap();
    assert_eq!(ours.len(), 1);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_jobs_leaves_the_messages_where_they_are() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let url = sqs.make("orders", &[]).await;
    sqs.send(&url, numbers(0..30)).await;
    backroom.limit_depth("narrow", Some(10)).await.unwrap();
    let mapping = Mapping::kind("message").queue("narrow").build().unwrap();
    let triggers = start_with(&backroom, source(&url), mapping).await;
    until_status(&backroom, &triggers, "it waits", |status| status.activity == Activity::Blocked).await;
    // Longer than SQS hides a message that nothing is done with.
    backroom.clock().sleep(Duration::from_secs(5)).await;
    let durable = jobs(&backroom).await.len() as u64;
    assert!(sqs.left(&url).await >= 30 - durable, "a message is deleted whose job is not durable");
    backroom.limit_depth("narrow", None).await.unwrap();
    until_numbers(&backroom, 0..30).await;
    until(&backroom, "the queue is empty", async || sqs.left(&url).await == 0).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_process_that_dies_are_taken_by_another_one() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let (first, second) = (place.open().await, place.open().await);
    let url = sqs.make("orders", &[]).await;
    first.limit_depth("narrow", Some(1)).await.unwrap();
    let mapping = || Mapping::kind("message").queue("narrow").build().unwrap();
    sqs.send(&url, numbers(0..20)).await;
    // The first process has all messages in hand and cannot make jobs of them.
    let dying = start_with(&first, source(&url), mapping()).await;
    until_status(&first, &dying, "it waits", |status| status.activity == Activity::Blocked).await;
    dying.abandon();
    first.limit_depth("narrow", None).await.unwrap();
    let triggers = start_with(&second, source(&url), mapping()).await;
    until_numbers(&second, 0..20).await;
    until(&second, "the queue is empty", async || sqs.left(&url).await == 0).await;
    assert_eq!(jobs(&second).await.len(), 20);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_deletion_is_cut_come_again_and_make_no_second_job() {
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let proxy = Proxy::start(sqs.emulator.port()).unwrap();
    let url = sqs.make("orders", &[]).await;
    sqs.send(&url, numbers(0..5)).await;
    proxy.cut_before(b"DeleteMessageBatch");
    let through = url.replace(&format!(":{}/", sqs.emulator.port()), &format!(":{}/", proxy.port()));
    let triggers = start(&backroom, source(&through)).await;
    until_numbers(&backroom, 0..5).await;
    until_status(&backroom, &triggers, "it gives up deleting", |status| status.counters.errors > 0).await;
    assert_eq!(sqs.left(&url).await, 5);
    proxy.pass();
    sqs.send(&url, numbers(5..10)).await;
    until_numbers(&backroom, 0..10).await;
    until(&backroom, "the queue is empty", async || sqs.left(&url).await == 0).await;
    assert!(triggers.status("in").unwrap().counters.duplicates >= 5);
    assert_eq!(jobs(&backroom).await.len(), 10);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_is_read_again_once_it_runs() {
    let (place, mut sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let url = sqs.make("orders", &[]).await;
    sqs.send(&url, numbers(0..5)).await;
    let triggers = start(&backroom, source(&url)).await;
    until_numbers(&backroom, 0..5).await;
    sqs.emulator.kill();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    sqs.emulator.restart().unwrap();
    // It stores in memory, so the queue is gone, and that is said.
    until_status(&backroom, &triggers, "the queue is missed", |status| {
        status.error.as_ref().is_some_and(|error| error.contains("make the queue"))
    })
    .await;
    sqs.make("orders", &[]).await;
    sqs.send(&url, numbers(5..10)).await;
    until_numbers(&backroom, 0..10).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, and takes a machine of its own: `cargo test --release --test sqs -- --ignored --nocapture`"]
async fn messages_become_durable_jobs_at_a_rate_near_that_of_a_bare_loop() {
    const MESSAGES: u64 = 3000;
    let (place, sqs) = (Place::new(), Sqs::new());
    let backroom = place.open().await;
    let clock = backroom.clock();
    let mut ratios = Vec::new();
    for round in 0..3 {
        let bare = sqs.make(&format!("bare-{round}"), &[]).await;
        sqs.send(&bare, numbers(0..MESSAGES)).await;
        let begun = clock.monotonic();
        // A consumer that does nothing but receive and delete, one request after the other.
        loop {
            let received =
                sqs.client.receive_message().queue_url(&bare).max_number_of_messages(10).send().await;
            let messages = received.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            let entry = |(id, message): (usize, aws_sdk_sqs::types::Message)| {
                let entry = aws_sdk_sqs::types::DeleteMessageBatchRequestEntry::builder().id(id.to_string());
                entry.receipt_handle(message.receipt_handle.unwrap()).build().unwrap()
            };
            let entries = messages.into_iter().enumerate().map(entry).collect();
            sqs.client
                .delete_message_batch()
                .queue_url(&bare)
                .set_entries(Some(entries))
                .send()
                .await
                .unwrap();
        }
        let of_loop = clock.monotonic() - begun;
        let name = format!("jobs-{round}");
        let url = sqs.make(&name, &[]).await;
        sqs.send(&url, numbers(0..MESSAGES)).await;
        let mapping = Mapping::kind("message").build().unwrap();
        let begun = clock.monotonic();
        let queue = source(&url).redeliver_after(Duration::from_secs(60));
        let triggers = Triggers::new(&backroom).add(&name, queue, mapping).start().await.unwrap();
        while sqs.left(&url).await > 0 {
            clock.sleep(Duration::from_millis(20)).await;
        }
        let of_trigger = clock.monotonic() - begun;
        assert_eq!(triggers.status(&name).unwrap().counters.enqueued, MESSAGES);
        triggers.stop().await;
        println!("{MESSAGES} messages: bare loop {of_loop:?}, durable jobs {of_trigger:?}");
        ratios.push(of_loop.as_secs_f64() / of_trigger.as_secs_f64());
    }
    println!("ratios: {ratios:.2?}");
}

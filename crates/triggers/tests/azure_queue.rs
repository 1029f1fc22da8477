//! Messages of Azure Storage Queues become jobs: real requests to Azurite, which checks every signature; a real store.

#![cfg(feature = "azure-queue")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod queues;
mod support;

use std::time::Duration;

use backroom::Backroom;
use backroom_testbed::{AZURITE_ACCOUNT, AZURITE_KEY, Emulator, Proxy};
use backroom_triggers::{
    Activity, AzureAccess, AzureQueue, Mapping, QueueEncoding, RunningTriggers, Triggers, admin,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use object_store::{
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential},
    client::{HttpRequest, HttpRequestBody},
};
use queues::{numbers, until_numbers};
use support::{Place, jobs, until, until_status};
use tempfile::TempDir;

struct Queues {
    emulator: Emulator,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Queues {
    fn new() -> Self {
        // The clients of tests need one; the sources bring their own.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let emulator = Emulator::azure_queue(folder.path()).unwrap();
        Self { emulator, client: reqwest::Client::new(), _folder: folder }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.emulator.url())
    }

    async fn make(&self, name: &str) {
        self.ask("PUT", &self.url(name), "").await;
    }

    async fn send(&self, name: &str, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
            self.ask("POST", &format!("{}/messages", self.url(name)), &body).await;
        }
    }

    /// The texts of messages that are visible, or are hidden no longer.
    async fn peek(&self, name: &str) -> String {
        self.ask("GET", &format!("{}/messages?peekonly=true&numofmessages=32", self.url(name)), "").await.1
    }

    /// Messages that are there, hidden ones included.
    async fn left(&self, name: &str) -> u64 {
        let (headers, _) = self.ask("GET", &format!("{}?comp=metadata", self.url(name)), "").await;
        headers["x-ms-approximate-messages-count"].to_str().unwrap().parse().unwrap()
    }

    async fn ask(&self, method: &str, url: &str, body: &str) -> (reqwest::header::HeaderMap, String) {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = url.parse().unwrap();
        request.headers_mut().insert("content-length", body.len().into());
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(AZURITE_KEY).unwrap());
        AzureAuthorizer::new(&credential, AZURITE_ACCOUNT).try_authorize(&mut request).unwrap();
        let (parts, _) = request.into_parts();
        let request = self.client.request(parts.method, url).headers(parts.headers).body(body.to_owned());
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {url}: {status}: {text}");
        (headers, text)
    }

    fn source(&self, name: &str) -> AzureQueue {
        source(&self.url(name))
    }
}

fn source(url: &str) -> AzureQueue {
    let access = AzureAccess { account_key: Some(AZURITE_KEY.into()), sas: None };
    let queue = AzureQueue::new(url).unwrap().access(access);
    queue.poll(Duration::from_millis(100)).redeliver_after(Duration::from_secs(3))
}

async fn start(backroom: &Backroom, queue: AzureQueue) -> RunningTriggers {
    start_with(backroom, queue, Mapping::kind("message").build().unwrap()).await
}

async fn start_with(backroom: &Backroom, queue: AzureQueue, mapping: Mapping) -> RunningTriggers {
    Triggers::new(backroom).lease(Duration::from_secs(2)).add("in", queue, mapping).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_become_one_job_each_and_are_deleted() {
    let (place, queues) = (Place::new(), Queues::new());
    let backroom = place.open().await;
    queues.make("orders").await;
    queues.send("orders", numbers(0..60)).await;
    // As Azure Functions writes them.
    queues.send("orders", numbers(60..70).map(|text| STANDARD.encode(text))).await;
    let triggers = start(&backroom, queues.source("orders")).await;
    until_numbers(&backroom, 0..70).await;
    queues.send("orders", numbers(70..75)).await;
    until_numbers(&backroom, 0..75).await;
    until(&backroom, "the queue is empty", async || queues.left("orders").await == 0).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_become_a_job_goes_to_the_poison_queue() {
    let (place, queues) = (Place::new(), Queues::new());
    let backroom = place.open().await;
    queues.make("orders").await;
    queues.send("orders", ["<no> & json".to_owned()].into_iter().chain(numbers(0..3))).await;
    let triggers = start(&backroom, queues.source("orders").encoding(QueueEncoding::Text)).await;
    until_numbers(&backroom, 0..3).await;
    until(&backroom, "the queue is empty", async || queues.left("orders").await == 0).await;
    let poison = queues.peek("orders-poison").await;
    assert!(poison.contains("&lt;no&gt; &amp; json") || poison.contains("&lt;no> &amp; json"), "{poison}");
    let ours = admin::dead_letters(&backroom, Some("in"), None, 10).await.unwrap();
    assert!(ours[0].reason.contains("is no JSON"), "{}", ours[0].reason);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_jobs_leaves_the_messages_where_they_are() {
    let (place, queues) = (Place::new(), Queues::new());
    let backroom = place.open().await;
    queues.make("orders").await;
    queues.send("orders", numbers(0..30)).await;
    backroom.limit_depth("narrow", Some(10)).await.unwrap();
    let mapping = Mapping::kind("message").queue("narrow").build().unwrap();
    let triggers = start_with(&backroom, queues.source("orders"), mapping).await;
    until_status(&backroom, &triggers, "it waits", |status| status.activity == Activity::Blocked).await;
    // Longer than a message is hidden that nothing is done with.
    backroom.clock().sleep(Duration::from_secs(5)).await;
    let durable = jobs(&backroom).await.len() as u64;
    assert!(queues.left("orders").await >= 30 - durable, "a message is deleted whose job is not durable");
    backroom.limit_depth("narrow", None).await.unwrap();
    until_numbers(&backroom, 0..30).await;
    until(&backroom, "the queue is empty", async || queues.left("orders").await == 0).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_process_that_dies_are_taken_by_another_one() {
    let (place, queues) = (Place::new(), Queues::new());
    let (first, second) = (place.open().await, place.open().await);
    queues.make("orders").await;
    first.limit_depth("narrow", Some(1)).await.unwrap();
    let mapping = || Mapping::kind("message").queue("narrow").build().unwrap();
    queues.send("orders", numbers(0..20)).await;
    let dying = start_with(&first, queues.source("orders"), mapping()).await;
    until_status(&first, &dying, "it waits", |status| status.activity == Activity::Blocked).await;
    dying.abandon();
    first.limit_depth("narrow", None).await.unwrap();
    let triggers = start_with(&second, queues.source("orders"), mapping()).await;
    until_numbers(&second, 0..20).await;
    until(&second, "the queue is empty", async || queues.left("orders").await == 0).await;
    assert_eq!(jobs(&second).await.len(), 20);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopped_and_started_again_loses_no_message() {
    let (place, mut queues) = (Place::new(), Queues::new());
    let backroom = place.open().await;
    queues.make("orders").await;
    queues.send("orders", numbers(0..5)).await;
    let triggers = start(&backroom, queues.source("orders")).await;
    until_numbers(&backroom, 0..5).await;
    queues.emulator.stop();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    queues.emulator.restart().unwrap();
    queues.send("orders", numbers(5..10)).await;
    until_numbers(&backroom, 0..10).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_deletion_is_cut_come_again_and_make_no_second_job() {
    let (place, queues) = (Place::new(), Queues::new());
    let backroom = place.open().await;
    let proxy = Proxy::start(queues.emulator.port()).unwrap();
    queues.make("orders").await;
    queues.send("orders", numbers(0..5)).await;
    proxy.cut_before(b"DELETE ");
    let through = format!("http://127.0.0.1:{}/{AZURITE_ACCOUNT}/orders", proxy.port());
    let triggers = start(&backroom, source(&through)).await;
    until_numbers(&backroom, 0..5).await;
    until_status(&backroom, &triggers, "it gives up deleting", |status| status.counters.errors > 0).await;
    assert_eq!(queues.left("orders").await, 5);
    proxy.pass();
    queues.send("orders", numbers(5..10)).await;
    until_numbers(&backroom, 0..10).await;
    until(&backroom, "the queue is empty", async || queues.left("orders").await == 0).await;
    assert!(triggers.status("in").unwrap().counters.duplicates >= 5);
    assert_eq!(jobs(&backroom).await.len(), 10);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_wrong_name_are_reported_with_what_to_check() {
    let (place, queues) = (Place::new(), Queues::new());
    let backroom = place.open().await;
    queues.make("orders").await;
    let wrong = AzureAccess { account_key: Some("d3Jvbmc=".into()), sas: None };
    let triggers = start(&backroom, queues.source("orders").access(wrong)).await;
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    let error = triggers.status("in").unwrap().error.unwrap();
    assert!(error.contains("403") && error.contains("check `account_key`"), "{error}");
    assert!(!error.contains("d3Jvbmc="), "{error}");
    triggers.stop().await;
    let triggers = start(&backroom, queues.source("others")).await;
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    let error = triggers.status("in").unwrap().error.unwrap();
    assert!(error.contains("404") && error.contains("make the queue"), "{error}");
    triggers.stop().await;
}

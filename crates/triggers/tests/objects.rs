//! Buckets become jobs: real requests to moto (S3) and to Azurite (Azure Blob Storage), a real store.

#![cfg(feature = "objects")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bucket;
mod support;

use std::time::Duration;

use backroom::Backroom;
use backroom_testbed::Proxy;
use backroom_triggers::{
    Activity, AwsAccess, AzureAccess, Mapping, ObjectEvent, Objects, RunningTriggers, Triggers, admin,
};
use bucket::Bucket;
use support::{Place, jobs, until, until_status};

async fn start(backroom: &Backroom, objects: Objects) -> RunningTriggers {
    let mapping = Mapping::kind("object").build().unwrap();
    Triggers::new(backroom).lease(Duration::from_secs(2)).add("in", objects, mapping).start().await.unwrap()
}

/// `event key` of every job, in order of their text.
async fn events(backroom: &Backroom) -> Vec<String> {
    let event = |job: &backroom::JobRow| {
        let args: serde_json::Value = job.args.decode().unwrap();
        format!("{} {}", args["event"].as_str().unwrap(), args["key"].as_str().unwrap())
    };
    let mut events: Vec<String> = jobs(backroom).await.iter().map(event).collect();
    events.sort();
    events
}

async fn until_events(backroom: &Backroom, wanted: &[&str]) {
    let found = async || events(backroom).await;
    until(backroom, &format!("there are {wanted:?}"), async || found().await.len() >= wanted.len()).await;
    assert_eq!(found().await, wanted);
}

/// Waits until the bucket was compared once more from now on.
async fn until_compared(backroom: &Backroom, triggers: &RunningTriggers) {
    let seen = async || triggers.status("in").unwrap().details["scans"].as_u64().unwrap_or(0);
    let before = seen().await;
    until(backroom, "it was compared again", async || seen().await > before + 1).await;
}

/// What holds for every service.
async fn the_story_of_a_bucket(bucket: &mut Bucket) {
    let place = Place::new();
    let backroom = place.open().await;
    bucket.make().await;
    for key in ["a.txt", "deep/b.txt", "deep/folder/"] {
        bucket.put(key, "x").await;
    }
    let triggers = start(&backroom, bucket.source("").events(&ObjectEvent::ALL)).await;
    until_events(&backroom, &["created a.txt", "created deep/b.txt"]).await;
    bucket.put("deep/b.txt", "longer").await;
    until_events(&backroom, &["changed deep/b.txt", "created a.txt", "created deep/b.txt"]).await;
    bucket.delete("a.txt").await;
    until(&backroom, "it is gone", async || events(&backroom).await.contains(&"removed a.txt".into())).await;
    bucket.put("a.txt", "again").await;
    let all = ["changed deep/b.txt", "created a.txt", "created a.txt", "created deep/b.txt", "removed a.txt"];
    until_events(&backroom, &all).await;
    let job = jobs(&backroom).await.remove(0);
    let args: serde_json::Value = job.args.decode().unwrap();
    assert_eq!(args["bucket"], "in-bucket");
    assert_eq!(args["size"], 1);
    assert!(!args["etag"].as_str().unwrap().is_empty());
    assert!(args["modified_at"].is_string(), "{args}");
    triggers.stop().await;
    // What happens while it is stopped is found, and nothing is found twice.
    bucket.put("deep/c.txt", "x").await;
    bucket.delete("deep/b.txt").await;
    let triggers = start(&backroom, bucket.source("").events(&ObjectEvent::ALL)).await;
    until(&backroom, "both are found", async || jobs(&backroom).await.len() >= 7).await;
    until_compared(&backroom, &triggers).await;
    let events = events(&backroom).await;
    assert_eq!(events.len(), 7, "{events:?}");
    assert!(events.contains(&"created deep/c.txt".into()) && events.contains(&"removed deep/b.txt".into()));
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_s3_that_appear_change_and_go_become_one_job_each() {
    the_story_of_a_bucket(&mut Bucket::s3()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_azure_that_appear_change_and_go_become_one_job_each() {
    the_story_of_a_bucket(&mut Bucket::azure()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_objects_than_a_page_has_become_one_job_each_and_changes_among_them_are_found() {
    let place = Place::new();
    let backroom = place.open().await;
    let bucket = Bucket::s3();
    bucket.make().await;
    // Keys in the order of their bytes, with signs that are encoded on the way.
    bucket.put_many("n #+%41ä", 2100, "x");
    let triggers = start(&backroom, bucket.source("n ").events(&ObjectEvent::ALL)).await;
    until(&backroom, "all are there", async || jobs(&backroom).await.len() >= 2100).await;
    bucket.put("n 000999+%41ä", "changed").await;
    bucket.delete("n 001000+%41ä").await;
    bucket.delete("n 002099+%41ä").await;
    bucket.put("n 001000+%41ä!", "between").await;
    until(&backroom, "the changes are there", async || jobs(&backroom).await.len() >= 2104).await;
    until_compared(&backroom, &triggers).await;
    let late: Vec<_> =
        events(&backroom).await.into_iter().filter(|event| !event.starts_with("created")).collect();
    assert_eq!(late, ["changed n 000999+%41ä", "removed n 001000+%41ä", "removed n 002099+%41ä"]);
    assert_eq!(jobs(&backroom).await.len(), 2104);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_cut_off_removes_nothing_and_is_begun_again() {
    let place = Place::new();
    let backroom = place.open().await;
    let bucket = Bucket::s3();
    bucket.make().await;
    bucket.put_many("n #", 1500, "x");
    let proxy = Proxy::start(bucket.port()).unwrap();
    let through = format!("http://127.0.0.1:{}", proxy.port());
    let triggers = start(&backroom, bucket.source_at("n ", &through).events(&ObjectEvent::ALL)).await;
    until(&backroom, "all are there", async || jobs(&backroom).await.len() >= 1500).await;
    // The first page arrives, and no other one.
    proxy.cut_before(b"continuation-token=");
    until_status(&backroom, &triggers, "it fails", |status| status.counters.errors > 0).await;
    bucket.put("n 001600", "x").await;
    proxy.pass();
    until(&backroom, "the new one is there", async || jobs(&backroom).await.len() > 1500).await;
    assert!(events(&backroom).await.iter().all(|event| event.starts_with("created")));
    assert_eq!(jobs(&backroom).await.len(), 1501);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_paths_hold_up_nothing() {
    let place = Place::new();
    let backroom = place.open().await;
    let bucket = Bucket::s3();
    bucket.make().await;
    for key in ["a", "a//b", "ä €", "a&<b>", "p%41", " spaced ", "😀"] {
        bucket.put(key, "x").await;
    }
    let triggers = start(&backroom, bucket.source("")).await;
    let all = [
        "created  spaced ",
        "created a",
        "created a&<b>",
        "created a//b",
        "created p%41",
        "created ä €",
        "created 😀",
    ];
    until_events(&backroom, &all).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_reported_with_what_to_check_and_a_right_one_goes_on() {
    for bucket in [Bucket::s3_that_checks_keys(), Bucket::azure()] {
        let place = Place::new();
        let backroom = place.open().await;
        bucket.make().await;
        bucket.put("a", "x").await;
        let wrong = bucket
            .source("")
            .aws(AwsAccess {
                access_key: Some("AKIAWRONG".into()),
                secret_key: Some("wrong-s3cret".into()),
                region: None,
            })
            .azure(AzureAccess { account_key: Some("d3Jvbmc=".into()), sas: None });
        let triggers = start(&backroom, wrong).await;
        until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
        let error = triggers.status("in").unwrap().error.unwrap();
        assert!(error.contains("403") && error.contains("check `ac"), "{error}");
        assert!(!error.contains("wrong-s3cret") && !error.contains("d3Jvbmc="), "{error}");
        triggers.stop().await;
        let triggers = start(&backroom, bucket.source("")).await;
        until_events(&backroom, &["created a"]).await;
        let shown = admin::get(&backroom, "in").await.unwrap().definition.as_str().to_owned();
        assert!(!shown.contains(backroom_testbed::AZURITE_KEY), "{shown}");
        triggers.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_reported_with_its_remedy() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
    let place = Place::new();
    let backroom = place.open().await;
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(place.path(name), text).unwrap();
        place.path(name)
    };
    let (ca_file, server, key) = (
        file("ca.pem", &authority),
        file("server.pem", &server.pem()),
        file("key.pem", &key.serialize_pem()),
    );
    let bucket = Bucket::azure();
    bucket.make_with(&[("a", "x")]).await;
    let bucket = bucket.with_tls(&server, &key);
    let triggers = start(&backroom, bucket.source("")).await;
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    let error = triggers.status("in").unwrap().error.unwrap();
    assert!(error.contains("certificate") && error.contains("`ca_file`"), "{error}");
    triggers.stop().await;
    let triggers = start(&backroom, bucket.source("").ca_file(ca_file)).await;
    until_events(&backroom, &["created a"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_removed_is_an_error_and_none_of_its_objects_counts_as_removed() {
    let place = Place::new();
    let backroom = place.open().await;
    let mut bucket = Bucket::s3();
    bucket.make().await;
    bucket.put("a", "x").await;
    let triggers = start(&backroom, bucket.source("").events(&ObjectEvent::ALL)).await;
    until_events(&backroom, &["created a"]).await;
    // It stores in memory, so its buckets are gone.
    bucket.restart();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    until(&backroom, "the bucket is missed", async || {
        triggers.status("in").unwrap().error.is_some_and(|error| error.contains("make the bucket"))
    })
    .await;
    bucket.make_with(&[("a", "x"), ("b", "x")]).await;
    until(&backroom, "b is found", async || events(&backroom).await.contains(&"created b".into())).await;
    assert_eq!(events(&backroom).await, ["created a", "created b"]);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopped_and_started_again_loses_no_object() {
    let place = Place::new();
    let backroom = place.open().await;
    let mut bucket = Bucket::azure();
    bucket.make().await;
    bucket.put("a", "x").await;
    let triggers = start(&backroom, bucket.source("").events(&ObjectEvent::ALL)).await;
    until_events(&backroom, &["created a"]).await;
    bucket.stop();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    bucket.restart();
    bucket.put("b", "x").await;
    until_events(&backroom, &["created a", "created b"]).await;
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_takes_over_when_the_first_one_dies() {
    let place = Place::new();
    let (first, second) = (place.open().await, place.open().await);
    let bucket = Bucket::s3();
    bucket.make().await;
    let dying = start(&first, bucket.source("")).await;
    until_status(&first, &dying, "the first one reads", |status| status.activity == Activity::Running).await;
    let waiting = start(&second, bucket.source("")).await;
    until_status(&second, &waiting, "the second one waits", |status| status.activity == Activity::Standby)
        .await;
    dying.abandon();
    bucket.put("a", "x").await;
    until_events(&second, &["created a"]).await;
    waiting.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_were_there_before_may_be_left_out_and_another_bucket_starts_from_the_beginning() {
    let place = Place::new();
    let backroom = place.open().await;
    let bucket = Bucket::s3();
    bucket.make().await;
    bucket.put("old", "x").await;
    let source = || bucket.source("").events(&ObjectEvent::ALL).existing(false);
    let triggers = start(&backroom, source()).await;
    until_compared(&backroom, &triggers).await;
    bucket.put("new", "x").await;
    until_events(&backroom, &["created new"]).await;
    triggers.stop().await;
    let other = bucket.named("other-bucket");
    other.make().await;
    other.put("theirs", "x").await;
    let triggers = start(&backroom, other.source("").events(&ObjectEvent::ALL)).await;
    until_events(&backroom, &["created new", "created theirs"]).await;
    until_compared(&backroom, &triggers).await;
    assert_eq!(events(&backroom).await.len(), 2, "nothing of the first bucket counts as removed");
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes a machine of its own: `cargo test --test objects -- --ignored`"]
async fn ten_thousand_keys_that_change_in_a_second_become_one_job_each() {
    const KEYS: u64 = 10_000;
    let place = Place::new();
    let backroom = place.open().await;
    let bucket = Bucket::s3();
    bucket.make().await;
    let triggers = start(&backroom, bucket.source("").events(&ObjectEvent::ALL)).await;
    let clock = backroom.clock();
    for (round, content) in [(1, "one"), (2, "two")] {
        bucket.put_many("many/#", usize::try_from(KEYS).unwrap(), content);
        let begun = clock.monotonic();
        while triggers.status("in").unwrap().counters.enqueued < round * KEYS {
            assert!(clock.monotonic() - begun < Duration::from_secs(300), "{:?}", triggers.status("in"));
            clock.sleep(Duration::from_millis(50)).await;
        }
        println!("{KEYS} objects are jobs after {:?}", clock.monotonic() - begun);
    }
    until_compared(&backroom, &triggers).await;
    let counters = triggers.status("in").unwrap().counters;
    assert_eq!((counters.enqueued, counters.duplicates, counters.refused), (2 * KEYS, 0, 0));
    triggers.stop().await;
}

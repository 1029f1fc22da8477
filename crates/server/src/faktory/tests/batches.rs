//! Batches: pushed to, committed, opened again, nested.

use serde_json::json;

use super::*;

/// Opens a batch. `more` is the rest of its JSON.
async fn open(client: &mut Client, more: &str) -> String {
    let bid = client.says(&format!("BATCH NEW {{\"description\":\"orders\"{more}}}")).await;
    assert!(!bid.starts_with('-'), "{bid}");
    bid
}

/// A job at the end of a batch, in the queue `ends`.
fn end(name: &str, kind: &str) -> String {
    format!(r#","{name}":{{"jobtype":"{kind}","args":[],"queue":"ends"}}"#)
}

fn in_batch(bid: &str) -> String {
    format!(r#","custom":{{"bid":"{bid}"}}"#)
}

async fn counts(client: &mut Client, bid: &str) -> (Value, Value, Value) {
    let status = client.json(&format!("BATCH STATUS {bid}")).await;
    (status["total"].clone(), status["pending"].clone(), status["failed"].clone())
}

/// What is known of the jobs at the end: that of the end, and that of the success.
async fn ends(client: &mut Client, bid: &str) -> (Value, Value) {
    let status = client.json(&format!("BATCH STATUS {bid}")).await;
    (status["complete_st"].clone(), status["success_st"].clone())
}

fn numbers(total: u64, pending: u64, failed: u64) -> (Value, Value, Value) {
    (total.into(), pending.into(), failed.into())
}

fn states(complete: &str, success: &str) -> (Value, Value) {
    (complete.into(), success.into())
}

#[tokio::test]
async fn the_jobs_at_the_end_come_after_the_commit_and_the_last_member() {
    let place = Place::new().await;
    let mut producer = place.producer().await;
    let mut worker = place.consumer("w-1").await;
    let bid = open(&mut producer, &(end("success", "all-good") + &end("complete", "all-over"))).await;
    assert_eq!(producer.push("member-01", &in_batch(&bid)).await, "+OK");
    assert_eq!(producer.push("member-02", &in_batch(&bid)).await, "+OK");
    assert_eq!(counts(&mut producer, &bid).await, numbers(2, 2, 0));
    let job = worker.fetch(&place).await;
    assert_eq!(job["custom"]["bid"], bid.as_str(), "a handler finds the batch there");
    worker.says(r#"ACK {"jid":"member-01"}"#).await;
    worker.fetch(&place).await;
    worker.says(r#"ACK {"jid":"member-02"}"#).await;
    assert_eq!(counts(&mut producer, &bid).await, numbers(2, 0, 0));
    assert_eq!(ends(&mut producer, &bid).await, states("", ""), "it is not committed");
    assert_eq!(worker.fetch_from(&place, "ends").await, Value::Null);
    assert_eq!(producer.says(&format!("BATCH COMMIT {bid}")).await, "+OK");
    assert_eq!(producer.says(&format!("BATCH COMMIT {bid}")).await, "+OK", "a repeat changes nothing");
    assert_eq!(ends(&mut producer, &bid).await, states("1", ""));
    let job = worker.fetch_from(&place, "ends").await;
    assert_eq!((&job["jobtype"], &job["custom"]["_bid"]), (&json!("all-over"), &json!(bid)));
    worker.says(&format!("ACK {}", json!({ "jid": job["jid"] }))).await;
    assert_eq!(ends(&mut producer, &bid).await, states("2", "1"));
    let job = worker.fetch_from(&place, "ends").await;
    assert_eq!(job["jobtype"], "all-good");
    worker.says(&format!("ACK {}", json!({ "jid": job["jid"] }))).await;
    assert_eq!(ends(&mut producer, &bid).await, states("2", "2"));
    let status = producer.json(&format!("BATCH STATUS {bid}")).await;
    assert_eq!((&status["bid"], &status["description"]), (&json!(bid), &json!("orders")));
    assert!(status["created_at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert!(status.get("parent_bid").is_none());
}

#[tokio::test]
async fn a_member_that_fails_for_good_lets_the_batch_end_without_success() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    let bid = open(&mut client, &(end("success", "all-good") + &end("complete", "all-over"))).await;
    let jobs = json!([
        { "jid": "good-0001", "jobtype": "a", "args": [], "custom": { "bid": bid } },
        { "jid": "fails-001", "jobtype": "a", "args": [], "retry": 0, "custom": { "bid": bid } },
        { "jid": "alone-001", "jobtype": "a", "args": [], "queue": "other" },
        { "jid": "lost-0001", "jobtype": "a", "args": [], "custom": { "bid": "b-unknown" } },
    ]);
    let errors = client.json(&format!("PUSHB {jobs}")).await;
    assert_eq!(errors, json!({ "lost-0001": "No such batch b-unknown" }));
    client.says(&format!("BATCH COMMIT {bid}")).await;
    for (jid, end) in [("good-0001", "ACK"), ("fails-001", "FAIL")] {
        assert_eq!(client.fetch(&place).await["jid"], jid);
        assert_eq!(client.says(&format!("{end} {{\"jid\":\"{jid}\"}}")).await, "+OK");
    }
    assert_eq!(counts(&mut client, &bid).await, numbers(2, 0, 1));
    assert_eq!(ends(&mut client, &bid).await, states("1", ""));
}

#[tokio::test]
async fn a_running_member_adds_to_a_committed_batch_and_others_open_it_first() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    let bid = open(&mut client, &end("complete", "all-over")).await;
    client.push("member-01", &in_batch(&bid)).await;
    client.says(&format!("BATCH COMMIT {bid}")).await;
    let refused = client.push("outside-1", &in_batch(&bid)).await;
    assert!(refused.starts_with("-ERR ") && refused.contains("is closed"), "{refused}");
    // As every client does it within a handler.
    client.fetch(&place).await;
    assert_eq!(client.says(&format!("BATCH OPEN {bid}")).await, bid);
    assert_eq!(client.push("member-02", &in_batch(&bid)).await, "+OK");
    let nested = open(&mut client, &format!(r#","parent_bid":"{bid}""#)).await;
    assert_eq!(client.says(&format!("BATCH COMMIT {nested}")).await, "+OK");
    assert_eq!(client.says(r#"ACK {"jid":"member-01"}"#).await, "+OK");
    assert_eq!(counts(&mut client, &bid).await, numbers(2, 1, 0), "it was never open to others");
    // From outside, as existing servers allow it.
    assert_eq!(client.says(&format!("BATCH OPEN {bid}")).await, bid);
    assert_eq!(client.push("member-03", &in_batch(&bid)).await, "+OK");
    for jid in ["member-02", "member-03"] {
        assert_eq!(client.fetch(&place).await["jid"], jid);
        client.says(&format!("ACK {{\"jid\":\"{jid}\"}}")).await;
    }
    assert_eq!(ends(&mut client, &bid).await, states("", ""));
    client.says(&format!("BATCH COMMIT {bid}")).await;
    assert_eq!(ends(&mut client, &bid).await, states("1", ""));
    // Once more: the job at the end was enqueued, and is not enqueued again.
    assert_eq!(client.says(&format!("BATCH OPEN {bid}")).await, bid);
    assert_eq!(client.push("member-04", &in_batch(&bid)).await, "+OK");
    client.says(&format!("BATCH COMMIT {bid}")).await;
    assert_eq!(counts(&mut client, &bid).await, numbers(4, 1, 0));
    client.fetch(&place).await;
    client.says(r#"ACK {"jid":"member-04"}"#).await;
    assert_eq!(client.fetch_from(&place, "ends").await["jobtype"], "all-over");
    assert_eq!(client.fetch_from(&place, "ends").await, Value::Null);
}

#[tokio::test]
async fn batches_are_nested_and_count_their_own_jobs_only() {
    let place = Place::new().await;
    let mut client = place.producer().await;
    let parent = open(&mut client, "").await;
    client.push("parent-01", &in_batch(&parent)).await;
    let child = open(&mut client, &format!(r#","parent_bid":"{parent}""#)).await;
    client.push("child-001", &in_batch(&child)).await;
    client.push("child-002", &in_batch(&child)).await;
    for bid in [&child, &parent] {
        assert_eq!(client.says(&format!("BATCH COMMIT {bid}")).await, "+OK");
    }
    assert_eq!(counts(&mut client, &parent).await, numbers(1, 1, 0));
    assert_eq!(counts(&mut client, &child).await, numbers(2, 2, 0));
    assert_eq!(client.json(&format!("BATCH STATUS {child}")).await["parent_bid"], parent.as_str());
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_said() {
    let place = Place::new().await;
    let mut client = place.producer().await;
    for command in ["OPEN", "COMMIT", "STATUS"] {
        for bid in ["b-unknown", "0190b0a0-0000-7000-8000-000000000000"] {
            let answer = client.says(&format!("BATCH {command} {bid}")).await;
            assert_eq!(answer, format!("-ERR No such batch {bid}"), "{command}");
        }
    }
    let answer = client.says(r#"BATCH NEW {"parent_bid":"b-unknown"}"#).await;
    assert_eq!(answer, "-ERR No such batch b-unknown");
    let answer = client.says(r#"BATCH NEW {"success":{"args":[]}}"#).await;
    assert_eq!(answer, "-ERR jobs must have a jobtype parameter");
    let unique = r#"BATCH NEW {"complete":{"jobtype":"a","args":[],"custom":{"unique_for":60}}}"#;
    assert!(client.says(unique).await.contains("unique key"));
    let bid = open(&mut client, "").await;
    place.state.backroom.batch(bid.parse().unwrap()).cancel("not wanted").await.unwrap();
    assert!(client.push("member-01", &in_batch(&bid)).await.contains("was cancelled"));
    assert_eq!(client.says(&format!("BATCH OPEN {bid}")).await, format!("-ERR batch {bid} was cancelled"));
}

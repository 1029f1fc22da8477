//! The way of a job: pushed, fetched, finished.

use backroom::{Draft, Json, State};
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_job_is_pushed_fetched_and_finished() {
    let place = Place::new().await;
    let mut producer = place.producer().await;
    let mut consumer = place.consumer("w-1").await;
    assert_eq!(consumer.fetch(&place).await, Value::Null);
    assert_eq!(
        producer.push("12345678", r#","custom":{"locale":"de"},"retry":3,"backtrace":5"#).await,
        "+OK"
    );
    let job = consumer.fetch(&place).await;
    assert_eq!(
        (
            &job["jid"],
            &job["jobtype"],
            &job["queue"],
            &job["args"],
            &job["retry"],
            &job["custom"],
            &job["backtrace"]
        ),
        (
            &json!("12345678"),
            &json!("work"),
            &json!("default"),
            &json!([1]),
            &json!(3),
            &json!({"locale": "de"}),
            &json!(5)
        )
    );
    let running = place.job().await;
    assert_eq!((running.state, running.worker.as_deref()), (State::Running, Some("faktory/w-1")));
    assert_eq!(consumer.fetch(&place).await, Value::Null);
    assert_eq!(consumer.says(r#"ACK {"jid":"12345678"}"#).await, "+OK");
    assert_eq!(place.job().await.state, State::Completed);
    assert_eq!(consumer.says(r#"ACK {"jid":"12345678"}"#).await, "+OK", "a second time is no error");
    assert_eq!(consumer.says(r#"FAIL {"jid":"12345678"}"#).await, "-ERR Job not found 12345678");
}

#[tokio::test]
async fn jobs_of_other_clients_are_fetched_too_but_those_of_the_settings_are_left() {
    let place = Place::with(|settings| {
        settings.kinds.insert("resize".into(), config::Kind::default());
    })
    .await;
    let draft = |kind: &str| Draft::new(kind, Json::parse(r#"{"a": 1}"#).unwrap());
    place.state.backroom.enqueue_draft(draft("resize")).await.unwrap();
    let other = place.state.backroom.enqueue_draft(draft("mail")).await.unwrap();
    let mut consumer = place.consumer("w-1").await;
    let job = consumer.fetch(&place).await;
    assert_eq!(
        (&job["jobtype"], &job["args"], &job["jid"]),
        (&json!("mail"), &json!([{"a": 1}]), &json!(other.id().to_string()))
    );
    assert_eq!(consumer.fetch(&place).await, Value::Null);
    let ack = format!(r#"ACK {{"jid":"{}"}}"#, other.id());
    assert_eq!(consumer.says(&ack).await, "+OK");
    assert_eq!(place.state.backroom.job(other.id()).await.unwrap().state, State::Completed);
}

#[tokio::test]
async fn queues_are_served_in_strict_order() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    for (jid, queue) in [("low-00001", "low"), ("high-0001", "high"), ("low-00002", "low")] {
        client.push(jid, &format!(r#","queue":"{queue}""#)).await;
    }
    for expected in ["high-0001", "low-00001", "low-00002"] {
        assert_eq!(client.fetch_from(&place, "high low high").await["jid"], expected);
    }
}

#[tokio::test]
async fn a_batch_of_jobs_is_taken_but_for_those_that_are_wrong() {
    let place = Place::new().await;
    let mut client = place.producer().await;
    let jobs = json!([
        { "jid": "good-0001", "jobtype": "a", "args": [] },
        { "jid": "bad", "jobtype": "a", "args": [] },
        { "jid": "bad-args1", "jobtype": "a" },
        { "jid": "bad-name1", "jobtype": "backroom.x", "args": [] },
        { "jid": "once-0001", "jobtype": "a", "args": [1], "custom": { "unique_for": 60 } },
        { "jid": "once-0002", "jobtype": "a", "args": [1], "custom": { "unique_for": 60 } },
        { "jid": "good-0002", "jobtype": "a", "args": [], "queue": "other" },
    ]);
    let errors = client.json(&format!("PUSHB {jobs}")).await;
    assert_eq!(errors["bad"], "jobs must have a reasonable jid parameter");
    assert_eq!(errors["bad-args1"], "jobs must have an args parameter");
    assert_eq!(errors["once-0002"], "NOTUNIQUE Job not unique");
    assert!(errors["bad-name1"].is_string());
    assert_eq!(errors.as_object().unwrap().len(), 4);
    let jids: Vec<_> = place.jobs().await.iter().map(super::super::jid::of).collect();
    assert_eq!(jids, ["good-0001", "once-0001", "good-0002"]);
    assert_eq!(client.json("PUSHB []").await, json!({}));
}

#[tokio::test]
async fn a_job_is_unique_until_it_is_done_or_begun_or_its_time_is_over() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    let not_unique = "-NOTUNIQUE Job not unique";
    let until_success = r#","custom":{"unique_for":60}"#;
    assert_eq!(client.push("success-1", until_success).await, "+OK");
    assert_eq!(client.push("success-2", until_success).await, not_unique);
    assert_eq!(client.push("success-3", "").await, "+OK", "a job that does not ask for it is stored");
    assert_eq!(client.push("success-4", r#","queue":"other","custom":{"unique_for":60}"#).await, "+OK");
    assert_eq!(client.fetch(&place).await["jid"], "success-1");
    assert_eq!(client.push("success-5", until_success).await, not_unique);
    client.says(r#"ACK {"jid":"success-1"}"#).await;
    assert_eq!(client.push("success-6", until_success).await, "+OK");
    place.clock.advance(Duration::from_secs(61));
    assert_eq!(client.push("success-7", until_success).await, "+OK", "its time is over");

    let until_start = r#","queue":"third","custom":{"unique_for":60,"unique_until":"start"}"#;
    assert_eq!(client.push("start-001", until_start).await, "+OK");
    assert_eq!(client.push("start-002", until_start).await, not_unique);
    assert_eq!(client.fetch_from(&place, "third").await["jid"], "start-001");
    assert_eq!(client.push("start-003", until_start).await, "+OK");
}

#[tokio::test]
async fn a_job_that_starts_later_or_has_expired_is_not_fetched() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    let at = |secs: i64| (place.now() + jiff::SignedDuration::from_secs(secs)).to_string();
    client.push("later-001", &format!(r#","at":"{}""#, at(10))).await;
    client.push("expired-1", &format!(r#","custom":{{"expires_at":"{}"}}"#, at(5))).await;
    assert_eq!(client.push("expired-2", &format!(r#","custom":{{"expires_at":"{}"}}"#, at(-5))).await, "+OK");
    assert_eq!(place.jobs().await.len(), 2, "what has expired already is dropped");
    place.clock.advance(Duration::from_secs(6));
    assert_eq!(client.fetch(&place).await, Value::Null);
    place.clock.advance(Duration::from_secs(6));
    assert_eq!(client.fetch(&place).await["jid"], "later-001");
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_gets_no_job() {
    let place = Place::new().await;
    let mut waits = place.consumer("w-1").await;
    waits.send("FETCH default").await;
    waits.goes().await;
    let mut other = place.consumer("w-2").await;
    other.push("12345678", "").await;
    assert_eq!(other.fetch(&place).await["jid"], "12345678");
}

#[tokio::test]
async fn the_progress_of_a_tracked_job_is_shown() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    client.push("tracked-1", r#","custom":{"track":1}"#).await;
    client.push("ordinary1", "").await;
    assert_eq!(client.json("TRACK GET tracked-1").await["state"], "enqueued");
    let unknown = json!({ "jid": "ordinary1", "state": "unknown", "updated_at": "" });
    assert_eq!(client.json("TRACK GET ordinary1").await, unknown);
    client.fetch(&place).await;
    assert_eq!(client.says(r#"TRACK SET {"jid":"tracked-1","percent":32,"desc":"half"}"#).await, "+OK");
    assert_eq!(client.says(r#"TRACK SET {"jid":"tracked-1","percent":33}"#).await, "+OK");
    let shown = client.json("TRACK GET tracked-1").await;
    assert_eq!(
        (&shown["state"], &shown["percent"], &shown["desc"]),
        (&json!("working"), &json!(33), &json!("half"))
    );
    client.says(r#"ACK {"jid":"tracked-1"}"#).await;
    let shown = client.json("TRACK GET tracked-1").await;
    assert_eq!((&shown["state"], &shown["percent"]), (&json!("success"), &json!(33)));
    assert_eq!(
        client.says(r#"TRACK SET {"jid":"tracked-1","percent":99}"#).await,
        "+OK",
        "too late is no error"
    );
    assert_eq!(client.says(r#"TRACK SET {"percent":9}"#).await, "-ERR invalid TRACK: it names no jid");
}

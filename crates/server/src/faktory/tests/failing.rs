//! Jobs that fail, and reservations that end.

use backroom::State;
use serde_json::json;

use super::*;

const FAIL: &str = r#"FAIL {"jid":"12345678","errtype":"IOError","message":"no disk","backtrace":["a.rb:1","a.rb:2","a.rb:3"]}"#;

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_says_why_it_failed() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    client.push("12345678", r#","retry":2,"backtrace":2"#).await;
    for count in 0..3 {
        place.clock.advance(Duration::from_secs(3600));
        let job = client.fetch(&place).await;
        let failure = (count > 0).then(|| &job["failure"]);
        assert_eq!(failure.is_none(), job.get("failure").is_none(), "{job}");
        if let Some(failure) = failure {
            assert_eq!(
                (&failure["retry_count"], &failure["remaining"]),
                (&json!(count - 1), &json!(3 - count))
            );
            assert_eq!((&failure["errtype"], &failure["message"]), (&json!("IOError"), &json!("no disk")));
            assert_eq!(failure["backtrace"], json!(["a.rb:1", "a.rb:2"]));
            assert!(failure["failed_at"].is_string() && failure["next_at"].is_string());
        }
        assert_eq!(client.says(FAIL).await, "+OK");
    }
    let job = place.job().await;
    assert_eq!(
        (job.state, job.attempt),
        (State::Discarded, 3),
        "after the first attempt it was tried twice more"
    );
}

#[tokio::test]
async fn a_job_without_retries_is_forgotten_and_one_with_minus_one_is_given_up() {
    for (retry, state, dead) in [(0, State::Cancelled, 0), (-1, State::Discarded, 1)] {
        let place = Place::new().await;
        let mut client = place.consumer("w-1").await;
        client.push("12345678", &format!(r#","retry":{retry}"#)).await;
        client.fetch(&place).await;
        assert_eq!(client.says(FAIL).await, "+OK");
        assert_eq!(place.job().await.state, state, "{retry}");
        assert_eq!(client.json("INFO").await["faktory"]["sets"]["dead"], dead);
    }
}

#[tokio::test]
async fn a_job_that_is_not_finished_in_its_time_fails() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    client.push("12345678", r#","reserve_for":600,"retry":5"#).await;
    client.fetch(&place).await;
    place.pass(590).await;
    assert_eq!(place.job().await.state, State::Running);
    place.pass(20).await;
    let job = place.job().await;
    assert_eq!((job.state, job.attempt), (State::Queued, 1));
    let attempts = place.state.backroom.attempts(job.id).await.unwrap();
    assert_eq!(attempts[0].error, "ReservationExpired: Faktory job reservation expired");
    assert_eq!(
        place.consumer("w-2").await.says(r#"ACK {"jid":"12345678"}"#).await,
        "+OK",
        "too late is no error, and changes nothing"
    );
    assert_eq!(place.job().await.state, State::Queued);
}

#[tokio::test]
async fn a_worker_can_ask_for_more_time() {
    let place = Place::new().await;
    let mut client = place.consumer("w-1").await;
    client.push("12345678", r#","reserve_for":600"#).await;
    client.fetch(&place).await;
    let until = place.now() + jiff::SignedDuration::from_secs(3600);
    let set = format!(r#"TRACK SET {{"jid":"12345678","reserve_until":"{until}"}}"#);
    assert_eq!(client.says(&set).await, "+OK");
    place.pass(3590).await;
    assert_eq!(place.job().await.state, State::Running);
    place.pass(20).await;
    assert_eq!(place.job().await.state, State::Queued);
}

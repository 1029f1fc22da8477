//! Jobs that fail, and reservations that end.

use backroom::{
    ErrorKind, State,
    store::{MemoryStore, layer::Verb},
    testing::faults::{Fault, Faults},
};
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

/// A server over a store whose calls can fail.
fn failing_place() -> (Place, Arc<Faults>) {
    let clock = Arc::new(TestClock::default());
    let faults = Arc::new(Faults::new(Arc::new(MemoryStore::new())));
    let backroom = Options::new().clock(Arc::clone(&clock) as _).over(Arc::clone(&faults) as _);
    (Place::over(backroom, clock, |_| {}), faults)
}

/// Fetches while calls of the store fail. Some are repeated for a while, so time passes.
async fn fetch_in_vain(place: &Place, client: &mut Client) {
    client.send("FETCH default").await;
    let answer = client.answer();
    tokio::pin!(answer);
    let refused = loop {
        tokio::select! {
            biased;
            refused = &mut answer => break refused,
            () = tokio::task::yield_now() => place.clock.advance(Duration::from_millis(20)),
        }
    };
    assert!(refused.starts_with("-ERR "), "{refused}");
}

/// Fetches while the store is away, and again when it answers.
async fn fetch_through_an_outage(place: &Place, faults: &Faults, client: &mut Client) {
    fetch_in_vain(place, client).await;
    let running = |jobs: Vec<JobRow>| jobs.iter().filter(|job| job.state == State::Running).count();
    faults.heal();
    let before = running(place.jobs().await);
    assert_eq!(client.fetch(place).await["jid"], "12345678");
    assert_eq!((before, running(place.jobs().await)), (1, 1));
    assert_eq!(client.says(r#"ACK {"jid":"12345678"}"#).await, "+OK");
}

#[tokio::test]
async fn a_job_whose_claim_and_its_repeat_were_not_answered_is_fetched_when_the_store_answers_again() {
    let (place, faults) = failing_place();
    let mut client = place.consumer("w-1").await;
    // The row of the worker names its queue from now on, so the next call of the store is the claim.
    assert_eq!(client.fetch(&place).await, Value::Null);
    client.push("12345678", "").await;
    faults.cut(Fault::After);
    fetch_through_an_outage(&place, &faults, &mut client).await;

    // The same for a client that asks no more, while its worker lives.
    client.push("12345678", "").await;
    faults.cut(Fault::After);
    fetch_in_vain(&place, &mut client).await;
    // Another try in vain. The store repeats its calls for a while, so time passes.
    let faktory = Arc::clone(&place.faktory);
    let tick = tokio::spawn(async move { faktory.tick().await });
    while !tick.is_finished() {
        place.clock.advance(Duration::from_millis(20));
        tokio::task::yield_now().await;
    }
    faults.heal();
    assert_eq!(place.job().await.state, State::Running);
    place.pass(5).await;
    assert_eq!((place.job().await.state, place.job().await.attempt), (State::Queued, 0));
}

#[tokio::test]
async fn a_job_whose_earlier_failure_cannot_be_read_goes_back_although_that_is_not_answered_at_first() {
    let (place, faults) = failing_place();
    let mut client = place.consumer("w-1").await;
    client.push("12345678", "").await;
    client.fetch(&place).await;
    assert_eq!(client.says(FAIL).await, "+OK");
    place.clock.advance(Duration::from_secs(3600));
    faults.refuse(Verb::Attempts, ErrorKind::Unavailable);
    fetch_in_vain(&place, &mut client).await;
    assert_eq!(place.job().await.state, State::Queued, "given back at once");
    faults.heal();
    assert_eq!(client.fetch(&place).await["jid"], "12345678");
}

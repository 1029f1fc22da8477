//! Workers that live, stop, fall silent, and come back.

use backroom::{State, Worker};

use super::*;

async fn rescued(place: &Place) {
    // The upkeep of any process observes heartbeats by its own clock.
    let upkeep = Worker::new(&place.state.backroom).only_upkeep().start().await.expect("upkeep");
    for _ in 0..200 {
        if place.jobs().await.iter().all(|job| job.state != State::Running) {
            break;
        }
        place.clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let stopping = tokio::spawn(upkeep.stop());
    while !stopping.is_finished() {
        place.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    stopping.await.expect("no panic").expect("stopped");
}

#[tokio::test]
async fn a_worker_that_beats_lives_and_is_answered_with_what_it_announced() {
    let place = Place::new().await;
    let mut worker = place.consumer("w-1").await;
    worker.push("12345678", r#","reserve_for":86400"#).await;
    worker.fetch(&place).await;
    for _ in 0..20 {
        place.pass(15).await;
        assert_eq!(worker.says(r#"BEAT {"wid":"w-1","rss_kb":1000}"#).await, "+OK");
    }
    assert_eq!(place.job().await.state, State::Running);
    let quiet = r#"{"state":"quiet"}"#;
    assert_eq!(worker.says(r#"BEAT {"wid":"w-1","current_state":"quiet"}"#).await, quiet);
    assert_eq!(worker.says(r#"BEAT {"wid":"w-1"}"#).await, quiet);
    worker.push("second-01", "").await;
    assert_eq!(worker.fetch(&place).await, Value::Null, "a quiet worker gets no job");
    let terminate = r#"{"state":"terminate"}"#;
    assert_eq!(worker.says(r#"BEAT {"wid":"w-1","current_state":"terminate"}"#).await, terminate);
    assert_eq!(worker.says(r#"ACK {"jid":"12345678"}"#).await, "+OK");
    let row = &place.state.backroom.workers().await.unwrap()[0];
    assert!(row.name == "faktory/w-1" && row.stopping && row.handles("anything"));
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_cut_and_its_jobs_run_elsewhere() {
    let place = Place::new().await;
    let mut worker = place.consumer("w-1").await;
    worker.push("12345678", "").await;
    worker.fetch(&place).await;
    assert_eq!(worker.says(r#"BEAT {"wid":"w-1"}"#).await, "+OK");
    place.pass(59).await;
    assert_eq!(place.job().await.state, State::Running);
    place.pass(2).await;
    worker.expect_close().await;
    rescued(&place).await;
    let mut other = place.consumer("w-2").await;
    place.clock.advance(Duration::from_secs(60));
    assert_eq!(other.fetch(&place).await["jid"], "12345678");
    // The first one comes back under its name: it is another worker now, and what it had is lost.
    let mut again = place.consumer("w-1").await;
    assert_eq!(again.says(r#"ACK {"jid":"12345678"}"#).await, "+OK");
    let job = place.job().await;
    assert_eq!((job.state, job.worker.as_deref()), (State::Completed, Some("faktory/w-2")));
}

#[tokio::test]
async fn a_worker_that_never_beats_has_its_job_for_as_long_as_it_is_reserved() {
    let place = Place::new().await;
    let mut worker = place.consumer("w-1").await;
    worker.push("12345678", r#","reserve_for":900"#).await;
    worker.fetch(&place).await;
    worker.goes().await;
    for _ in 0..29 {
        place.pass(30).await;
        assert_eq!(place.job().await.state, State::Running);
    }
    place.pass(60).await;
    assert_eq!(place.job().await.state, State::Queued);
}

#[tokio::test]
async fn a_job_is_finished_over_another_connection_and_without_a_name() {
    let place = Place::new().await;
    let mut one = place.producer().await;
    one.push("12345678", "").await;
    assert_eq!(one.fetch(&place).await["jid"], "12345678");
    one.goes().await;
    let mut other = place.producer().await;
    assert_eq!(other.says(r#"ACK {"jid":"12345678"}"#).await, "+OK");
    assert_eq!(place.job().await.state, State::Completed);
    place.pass(5).await;
    assert_eq!(place.state.backroom.workers().await.unwrap(), [], "its row is gone");
}

#[tokio::test]
async fn after_a_restart_a_worker_finishes_what_it_fetched_before() {
    let place = Place::new().await;
    let mut worker = place.consumer("w-1").await;
    for jid in ["first-001", "second-01", "third-001"] {
        worker.push(jid, r#","retry":4"#).await;
        worker.fetch(&place).await;
    }
    let restarted = place.again();
    let mut worker = restarted.consumer("w-1").await;
    assert_eq!(worker.says(r#"ACK {"jid":"first-001"}"#).await, "+OK");
    assert_eq!(worker.says(r#"FAIL {"jid":"second-01"}"#).await, "+OK");
    let states: Vec<_> = restarted.jobs().await.iter().map(|job| job.state).collect();
    assert_eq!(states, [State::Completed, State::Queued, State::Running]);
    // A connection of no worker finds it, too.
    let mut other = place.again().producer().await;
    assert_eq!(other.says(r#"ACK {"jid":"third-001"}"#).await, "+OK");
    assert_eq!(place.job().await.state, State::Completed);
    assert_eq!(other.says(r#"FAIL {"jid":"third-001"}"#).await, "-ERR Job not found third-001");
}

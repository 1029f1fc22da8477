//! A standby that follows a primary: opening it says what it is, and reading it works.

#![cfg(all(feature = "postgres", unix))]

mod common;
mod postgres_support;
mod postgres_testbed;

use std::time::Duration;

use backroom::{Backroom, ErrorKind, Filter, State, Worker};
use common::{Double, double, soon};
use postgres_testbed::{server, until};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_named_when_it_is_opened_and_can_be_read() {
    let (mut primary, mut standby) = (server::make(), server::empty());
    primary.start().unwrap();
    let backroom = Backroom::open(&server::url(&primary)).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 1).handle(double).start().await.unwrap();
    standby.become_standby_of(&primary).unwrap();
    standby.start().unwrap();
    // After the copy was made, so that it streams.
    let done = backroom.enqueue(Double(21)).await.unwrap();
    assert_eq!(soon("the job", done.wait()).await.unwrap(), 42);

    let url = server::url(&standby);
    let refused = Backroom::open(&url).await.expect_err("it takes no writes");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let said = refused.to_string();
    assert!(said.contains("read-only standby") && said.contains("name the primary"), "{said}");

    let reader = Backroom::open_to_read(&url).await.unwrap();
    let completed = Filter { states: vec![State::Completed], ..Filter::default() };
    until("the job's end is streamed", LIMIT, async || {
        (!reader.list(completed.clone(), None, 10).await.unwrap().jobs.is_empty()).then_some(())
    })
    .await;
    assert_eq!(reader.job(done.id()).await.unwrap().state, State::Completed);
    assert!(reader.attempts(done.id()).await.unwrap().is_empty());
    assert!(reader.log(done.id(), 0).await.unwrap().is_empty());
    assert_eq!(reader.queues().await.unwrap().len(), 1);
    assert_eq!(reader.workers().await.unwrap().len(), 1);
    assert!(!reader.counts().await.unwrap().is_empty());
    let health = reader.health().await.unwrap();
    let writes = health.checks.iter().find(|check| check.name == "server takes writes").unwrap();
    assert!(!writes.ok && writes.found.contains("standby"), "{writes:?}");
    let refused = reader.enqueue(Double(1)).await.expect_err("it takes no writes");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("read-only standby"), "{refused}");
    assert_eq!(
        backroom::store::version(&url).await.unwrap(),
        backroom::store::version(&server::url(&primary)).await.unwrap()
    );

    // What reads goes on when the standby becomes the primary, and may write then.
    worker.stop().await.unwrap();
    drop(primary);
    standby.promote().unwrap();
    let written =
        until("the new primary takes a job", LIMIT, async || reader.enqueue(Double(1)).await.ok()).await;
    assert_eq!(reader.job(written.id()).await.unwrap().state, State::Queued);
}

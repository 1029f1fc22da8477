//! Messages in reply queues on PostgreSQL: several processes, and transactions of the caller.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;
mod reply_takers;

use std::time::Duration;

use backroom::{Backroom, JobId, MessageKind, Worker};
use common::{Double, double, soon};
use postgres_support::{Place, client};

async fn open(place: &Place) -> Backroom {
    Backroom::open(&place.url()).await.unwrap()
}

/// The jobs of the messages that come first.
async fn replying(backroom: &Backroom) -> Vec<JobId> {
    let taken = soon("a message", backroom.replies("r").take_wait(9, Duration::from_secs(20))).await.unwrap();
    taken.messages().iter().map(|row| row.message.body.job_id).collect()
}

#[test]
fn taker_process() {
    reply_takers::take_if_asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn takers_that_are_killed_lose_no_message_of_a_database() {
    let place = Place::new();
    reply_takers::killed_takers_lose_nothing(&place.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taker_of_another_process_is_notified() {
    let place = Place::new();
    let (here, there) = (open(&place).await, open(&place).await);
    let listener = there.store().notifier().subscribe_replies("r");
    let job = here.enqueue(Double(1)).reply_to("r").await.unwrap();
    job.cancel().await.unwrap();
    soon("the hint", listener.notified()).await;
    assert_eq!(replying(&there).await, [job.id()]);
}

/// Claims of jobs whose start is reported are made in transactions. They take the jobs between others, and those others
/// still end on trays.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_report_their_start_are_claimed_among_many_others() {
    let place = Place::new();
    let backroom = open(&place).await;
    backroom.enqueue_many((0..500).map(Double)).await.unwrap();
    for number in 0..20 {
        backroom
            .enqueue(Double(number))
            .reply_to("r")
            .reply_on([MessageKind::Started, MessageKind::Completed])
            .await
            .unwrap();
    }
    backroom.enqueue_many((0..500).map(Double)).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 64).handle(double);
    soon("all jobs", worker.run_until_empty()).await.unwrap();
    let counts = backroom.counts().await.unwrap();
    assert_eq!(
        counts.iter().map(|count| (count.state.as_str(), count.jobs)).collect::<Vec<_>>(),
        [("completed", 1020)]
    );
    let taken = backroom.replies("r").take(100).await.unwrap();
    let about = |kind| taken.messages().iter().filter(|row| row.message.body.about == kind).count();
    assert_eq!((about(MessageKind::Started), about(MessageKind::Completed)), (20, 20));
    for job in taken.messages().iter().map(|row| row.message.body.job_id) {
        let of_job = taken.messages().iter().filter(|row| row.message.body.job_id == job);
        let kinds: Vec<_> = of_job.map(|row| row.message.body.about).collect();
        assert_eq!(kinds, [MessageKind::Started, MessageKind::Completed]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_callers_transaction_replies_if_the_transaction_commits() {
    let place = Place::new();
    let backroom = open(&place).await;
    let mut own = client(&place.server).await;
    let worker = Worker::new(&backroom).handle(double).start().await.unwrap();
    let transaction = own.transaction().await.unwrap();
    backroom.enqueue(Double(1)).reply_to("r").within_postgres(&transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    let transaction = own.transaction().await.unwrap();
    let job = backroom.enqueue(Double(2)).reply_to("r").within_postgres(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(replying(&backroom).await, [job.id()]);
    worker.stop().await.unwrap();
}

#[cfg(feature = "sqlx")]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_callers_sqlx_transaction_replies_if_the_transaction_commits() {
    let place = Place::new();
    let backroom = open(&place).await;
    let shop = sqlx::PgPool::connect(&place.server).await.unwrap();
    let worker = Worker::new(&backroom).handle(double).start().await.unwrap();
    let mut transaction = shop.begin().await.unwrap();
    backroom.enqueue(Double(1)).reply_to("r").within_sqlx(&mut transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = shop.begin().await.unwrap();
    let job = backroom.enqueue(Double(2)).reply_to("r").within_sqlx(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(replying(&backroom).await, [job.id()]);
    worker.stop().await.unwrap();
}

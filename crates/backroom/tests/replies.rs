//! Messages in reply queues, as programs use them: over a store in memory and over SQLite.

mod common;
#[cfg(feature = "sqlite")]
mod reply_takers;

use std::time::Duration;

use backroom::{
    Acknowledged, Backroom, Context, ErrorKind, Failure, Json, MessageKind, RetryPolicy, Worker,
    store::{Store, copy_messages},
};
use common::{Double, double, fresh_stores, soon, sqlite};

fn about(taken: &backroom::Taken) -> Vec<MessageKind> {
    taken.messages().iter().map(|row| row.message.body.about).collect()
}

#[cfg(feature = "sqlite")]
#[test]
fn taker_process() {
    reply_takers::take_if_asked();
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn takers_that_are_killed_lose_no_message_of_a_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("backroom.db").display());
    reply_takers::killed_takers_lose_nothing(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_learns_the_output_from_its_reply_queue_without_polling() {
    let (backroom, _folder) = sqlite().await;
    let worker = Worker::new(&backroom).handle(double).start().await.unwrap();
    let replies = backroom.replies("sums");
    let waiting = tokio::spawn(async move { replies.take_wait(10, Duration::from_secs(20)).await.unwrap() });
    backroom.enqueue(Double(21)).reply_to("sums").correlation_id("order 7").await.unwrap();
    let taken = soon("the message", waiting).await.unwrap();
    let body = &taken.messages()[0].message.body;
    assert_eq!((body.correlation_id.as_deref(), body.kind.as_str()), (Some("order 7"), "double"));
    assert_eq!(body.output, Some(Json::parse("42").unwrap()));
    assert_eq!(taken.acknowledge().await.unwrap(), [Acknowledged::Done]);
    assert_eq!(backroom.reply_queues().await.unwrap(), []);
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_chosen_kind_of_message_comes_in_the_order_of_the_jobs_life() {
    let (backroom, _folder) = sqlite().await;
    let handler = async |_: Double, ctx: Context| -> Result<u32, Failure> {
        if ctx.attempt() == 1 {
            return Err("not yet".into());
        }
        ctx.progress(50, "half");
        Ok(1)
    };
    let worker = Worker::new(&backroom).handle(handler).start().await.unwrap();
    let job = backroom
        .enqueue(Double(1))
        .retry(RetryPolicy::constant(Duration::from_millis(1)))
        .reply_to("all")
        .reply_on([
            MessageKind::Started,
            MessageKind::Progress,
            MessageKind::FailedAttempt,
            MessageKind::Completed,
        ])
        .await
        .unwrap();
    soon("the output", job.wait()).await.unwrap();
    let taken = backroom.replies("all").take(10).await.unwrap();
    let expected = [
        MessageKind::Started,
        MessageKind::FailedAttempt,
        MessageKind::Started,
        MessageKind::Progress,
        MessageKind::Completed,
    ];
    assert_eq!(about(&taken), expected);
    assert_eq!(taken.messages()[1].message.body.error.as_deref(), Some("not yet"));
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_taker_does_not_acknowledge_comes_again_after_its_lease() {
    for store in fresh_stores().await {
        let backroom = &store.backroom;
        let job = backroom.enqueue(Double(1)).reply_to("r").await.unwrap();
        job.cancel().await.unwrap();
        let replies = backroom.replies("r").lease(Duration::from_secs(10));
        let first = replies.take(5).await.unwrap();
        assert_eq!(about(&first), [MessageKind::Cancelled]);
        assert!(replies.take(5).await.unwrap().is_empty());
        store.clock.advance(Duration::from_secs(11));
        let second = replies.take(5).await.unwrap();
        assert_eq!(second.messages()[0].deliveries, 2);
        assert_eq!(first.acknowledge().await.unwrap(), [Acknowledged::Lost]);
        second.release().await.unwrap();
        let third = replies.take(5).await.unwrap();
        assert_eq!(third.acknowledge().await.unwrap(), [Acknowledged::Done]);
        assert_eq!(second.acknowledge().await.unwrap(), [Acknowledged::Done], "it is gone");
    }
}

#[tokio::test]
async fn many_jobs_reply_to_one_queue_and_wrong_names_are_refused() {
    for store in fresh_stores().await {
        let backroom = &store.backroom;
        let many =
            backroom.enqueue_many((0..10).map(Double)).reply_to("r").correlation_id("batch").await.unwrap();
        assert_eq!(many.created, 10);
        for job in backroom.list(backroom::Filter::default(), None, 100).await.unwrap().jobs {
            backroom.cancel(job.id).await.unwrap();
        }
        assert_eq!(backroom.replies("r").take(100).await.unwrap().messages().len(), 10);
        let refused = backroom.enqueue(Double(1)).correlation_id("x").await.unwrap_err();
        assert!(refused.to_string().contains("reply_to"), "{refused}");
        let refused = backroom.replies("").take(1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        let refused = backroom.replies("r").lease(Duration::ZERO).take(1).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn upkeep_drops_messages_that_are_never_taken_and_counts_them() {
    for store in fresh_stores().await {
        let backroom = &store.backroom;
        let job = backroom.enqueue(Double(1)).reply_to("r").await.unwrap();
        job.cancel().await.unwrap();
        store.clock.advance(Duration::from_secs(8 * 24 * 3600));
        let worker = Worker::new(backroom).handle(double).start().await.unwrap();
        common::until("the message is dropped", async || {
            store.clock.advance(Duration::from_millis(100));
            backroom.reply_queues().await.unwrap().iter().all(|queue| queue.messages == 0)
        })
        .await;
        assert_eq!(backroom.reply_queues().await.unwrap()[0].dropped, 1);
        let stopping = tokio::spawn(worker.stop());
        common::until("the worker stops", async || {
            store.clock.advance(Duration::from_millis(100));
            stopping.is_finished()
        })
        .await;
    }
}

#[tokio::test]
async fn a_move_takes_messages_along_in_their_order_and_once() {
    for (from, to) in fresh_stores().await.into_iter().zip(fresh_stores().await.into_iter().rev()) {
        let (from, to) = (&from.backroom, &to.backroom);
        for number in 0..700u32 {
            let job = from.enqueue(Double(number)).reply_to("r").correlation_id("all").await.unwrap();
            job.cancel().await.unwrap();
        }
        let (source, target): (&dyn Store, &dyn Store) = (from.store().as_ref(), to.store().as_ref());
        assert_eq!(copy_messages(source, target).await.unwrap(), 700);
        assert_eq!(copy_messages(source, target).await.unwrap(), 0);
        let ids = async |backroom: &Backroom| {
            let taken = backroom.replies("r").take(1000).await.unwrap();
            taken.messages().iter().map(|row| row.message.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(to).await, ids(from).await);
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn another_process_is_notified_of_a_message_and_takes_it() {
    let (here, folder) = sqlite().await;
    let there =
        Backroom::open(&format!("sqlite:{}", folder.path().join("backroom.db").display())).await.unwrap();
    let listener = there.store().notifier().subscribe_replies("r");
    let job = here.enqueue(Double(1)).reply_to("r").await.unwrap();
    job.cancel().await.unwrap();
    soon("the hint", listener.notified()).await;
    assert_eq!(about(&there.replies("r").take(1).await.unwrap()), [MessageKind::Cancelled]);
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_callers_transaction_replies_if_the_transaction_commits() {
    let (backroom, folder) = sqlite().await;
    let mut application = rusqlite::Connection::open(folder.path().join("backroom.db")).unwrap();
    application.busy_timeout(Duration::from_secs(5)).unwrap();
    // A deferred one could not write any more once the worker has written.
    let immediate = rusqlite::TransactionBehavior::Immediate;
    let worker = Worker::new(&backroom).handle(double).start().await.unwrap();
    let transaction = application.transaction_with_behavior(immediate).unwrap();
    backroom.enqueue(Double(1)).reply_to("r").within(&transaction).unwrap();
    transaction.rollback().unwrap();
    let transaction = application.transaction_with_behavior(immediate).unwrap();
    let job = backroom.enqueue(Double(2)).reply_to("r").within(&transaction).unwrap();
    transaction.commit().unwrap();
    let taken =
        soon("the message", backroom.replies("r").take_wait(9, Duration::from_secs(20))).await.unwrap();
    let jobs: Vec<_> = taken.messages().iter().map(|row| row.message.body.job_id).collect();
    assert_eq!(jobs, [job.id()]);
    worker.stop().await.unwrap();
}

#[cfg(feature = "sqlx-sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_callers_sqlx_transaction_replies_if_the_transaction_commits() {
    let (backroom, folder) = sqlite().await;
    let url = format!("sqlite:{}", folder.path().join("backroom.db").display());
    let shop = sqlx::SqlitePool::connect(&url).await.unwrap();
    let worker = Worker::new(&backroom).handle(double).start().await.unwrap();
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    backroom.enqueue(Double(1)).reply_to("r").within_sqlx_sqlite(&mut transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let job = backroom.enqueue(Double(2)).reply_to("r").within_sqlx_sqlite(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let taken =
        soon("the message", backroom.replies("r").take_wait(9, Duration::from_secs(20))).await.unwrap();
    let jobs: Vec<_> = taken.messages().iter().map(|row| row.message.body.job_id).collect();
    assert_eq!(jobs, [job.id()]);
    worker.stop().await.unwrap();
}

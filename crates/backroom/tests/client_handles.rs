//! Handles, jobs of several kinds in one go, and changes of a job that waits for its turn.

mod common;

use std::time::Duration;

use backroom::{Context, ErrorKind, Failure, Job, Json, State, UniqueRule, Worker};
use common::{Act, Double, act, double, fresh_stores, soon};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_handle_of_the_wrong_type_is_refused() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let id = b.enqueue(Double(4)).await.unwrap().id();
        let wrong = b.handle::<Act>(id).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Refused);
        let said = wrong.to_string();
        assert!(said.contains(&format!("job {id} as \"act\": it is of kind \"double\"")), "{said}");
        let right = b.handle::<Double>(id).await.unwrap();
        Worker::new(b).handle(double).run_until_empty().await.unwrap();
        assert_eq!(right.wait().await.unwrap(), 8);
        b.delete(id).await.unwrap();
        assert_eq!(b.handle::<Double>(id).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[derive(Serialize, Deserialize)]
struct Renamed(u32);

impl Job for Renamed {
    const KIND: &'static str = "twice";
    const ALIASES: &'static [&'static str] = &["double"];
    type Output = u32;
}

#[tokio::test]
async fn a_handle_takes_a_job_of_an_earlier_name_of_its_kind() {
    for store in fresh_stores().await {
        let id = store.backroom.enqueue(Double(4)).await.unwrap().id();
        Worker::new(&store.backroom).handle(double).run_until_empty().await.unwrap();
        assert_eq!(store.backroom.handle::<Renamed>(id).await.unwrap().wait().await.unwrap(), 8);
    }
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_up_and_the_job_goes_on() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue(Double(4)).await.unwrap();
        assert_eq!(job.wait_timeout(Duration::ZERO).await.unwrap(), None);
        let waiting = tokio::spawn({
            let job = job.clone();
            async move { (job.wait_timeout(MINUTE).await, job.finished_timeout(MINUTE).await) }
        });
        // Both waits sleep until the clock moves.
        while !waiting.is_finished() {
            store.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        let (output, row) = waiting.await.unwrap();
        assert_eq!((output.unwrap(), row.unwrap()), (None, None));
        assert_eq!(job.status().await.unwrap().state, State::Queued);
        Worker::new(b).handle(double).run_until_empty().await.unwrap();
        assert_eq!(job.wait_timeout(MINUTE).await.unwrap(), Some(8));
        assert_eq!(job.finished_timeout(MINUTE).await.unwrap().unwrap().state, State::Completed);
        let untyped = b.handle_untyped(job.id());
        assert_eq!(untyped.wait_timeout(MINUTE).await.unwrap(), Some(Json::parse("8").unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_followed_without_pinning() {
    let (b, _dir) = common::sqlite().await;
    let job = b.enqueue(Double(1)).await.unwrap();
    // `next` needs `Unpin`.
    let mut progress = job.progress();
    let worker = Worker::new(&b).handle(|job: Double, ctx: Context| async move {
        ctx.progress(50, "half");
        Ok::<_, Failure>(job.0)
    });
    let worker = worker.start().await.unwrap();
    let first = soon("progress", progress.next()).await.unwrap().unwrap();
    assert_eq!((first.percent, first.message.as_str()), (50, "half"));
    assert!(soon("the end", progress.next()).await.is_none());
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn jobs_of_several_kinds_are_enqueued_in_one_go() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let jobs = [
            b.enqueue(Double(4)).priority(1).tag("first").into_draft().unwrap(),
            b.enqueue(Act::Succeed).delay(MINUTE).into_draft().unwrap(),
            b.enqueue_untyped("mail", Json::parse("[1]").unwrap()).into_draft().unwrap(),
            b.enqueue(Double(5)).unique(UniqueRule::by_key("k")).into_draft().unwrap(),
            b.enqueue(Double(6)).unique(UniqueRule::by_key("k")).into_draft().unwrap(),
        ];
        let done = b.enqueue_many_drafts(jobs).queue("many").tag("all").meta("a", "b").await.unwrap();
        assert_eq!((done.created, done.kept), (4, 1));
        let mut found = b.list(backroom::Filter::default(), None, 10).await.unwrap().jobs;
        found.reverse();
        let kinds: Vec<_> = found.iter().map(|job| (job.kind.as_str(), job.args.as_str())).collect();
        assert_eq!(kinds, [("double", "4"), ("act", "\"Succeed\""), ("mail", "[1]"), ("double", "5")]);
        assert_eq!(found[0].priority, 1);
        assert_eq!(found[0].tags, ["first", "all"]);
        assert!(found[1].scheduled_at > b.clock().now());
        assert!(found.iter().all(|job| job.queue == "many" && job.meta["a"] == "b"));
    }
}

#[tokio::test]
async fn one_refused_job_of_several_keeps_out_all_of_its_transaction() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let jobs = [
            b.enqueue(Double(4)).into_draft().unwrap(),
            b.enqueue(Act::Fail).priority(10).into_draft().unwrap(),
        ];
        assert_eq!(b.enqueue_many_drafts(jobs).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(b.list(backroom::Filter::default(), None, 10).await.unwrap().jobs, []);
    }
}

#[tokio::test]
async fn a_queued_job_is_changed_until_it_runs() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue(Double(4)).expires_in(10 * MINUTE).await.unwrap();
        job.amend().delay(MINUTE).priority(1).args(&Double(5)).await.unwrap();
        let row = job.status().await.unwrap();
        assert_eq!((row.priority, row.args.as_str(), row.revision), (1, "5", 1));
        assert_eq!(row.scheduled_at.duration_since(row.created_at).as_secs(), 60);
        let at = row.scheduled_at;
        b.amend(job.id()).at(at).priority(1).args(&Json::parse("5").unwrap()).await.unwrap();
        assert_eq!(job.status().await.unwrap(), row, "nothing changed, so nothing was written");

        let late = b.amend(job.id()).delay(10 * MINUTE).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Refused);
        assert!(late.to_string().contains("expires before that time"), "{late}");
        assert_eq!(b.amend(job.id()).priority(10).await.unwrap_err().kind(), ErrorKind::Invalid);
        let keyed = b.enqueue(Double(9)).unique(UniqueRule::by_args()).await.unwrap();
        let of_args = keyed.amend().args(&Double(8)).await.unwrap_err();
        assert!(of_args.to_string().contains("unique key was made from its args"), "{of_args}");
        b.cancel(keyed.id()).await.unwrap();

        store.clock.advance(MINUTE);
        Worker::new(b).handle(double).handle(act).run_until_empty().await.unwrap();
        assert_eq!(job.wait().await.unwrap(), 10);
        let over = job.amend().priority(2).await.unwrap_err();
        assert_eq!(over.kind(), ErrorKind::Refused);
        assert!(over.to_string().contains("it is completed"), "{over}");
    }
}

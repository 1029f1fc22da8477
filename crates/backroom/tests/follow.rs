//! Following a job in SQLite and in memory: its events, in order, from any place.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod follow_support;

use std::time::Duration;

use backroom::{Context, Cursor, ErrorKind, Failure, JobEvent, News, State, Worker, testing::drain};
use common::{Double, fresh_stores, pass, soon, with_faults};
use futures_util::StreamExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    follow_support::work_if_asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_once_and_in_order_however_often_readers_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("backroom.db").display());
    follow_support::each_event_comes_once_and_in_order_however_often_readers_are_cut_off(&url).await;
}

/// A short text for each event.
fn text(event: &JobEvent) -> String {
    match &event.news {
        News::State(job) => job.state.to_string(),
        News::Progress(progress) => format!("{} %", progress.percent),
        News::Line(line) => line.line.clone(),
        News::Attempt(attempt) => format!("{}: {}", attempt.end.as_str(), attempt.error),
        _ => unreachable!("no other news"),
    }
}

async fn texts(backroom: &backroom::Backroom, job: backroom::JobId, after: Option<Cursor>) -> Vec<String> {
    let events: Vec<_> = soon("follow", backroom.follow(job, after).collect()).await;
    events.iter().map(|event: &Result<JobEvent, _>| text(event.as_ref().unwrap())).collect()
}

fn talker(backroom: &backroom::Backroom) -> Worker {
    Worker::new(backroom).handle(async |job: Double, ctx: Context| {
        ctx.log("one");
        ctx.progress(50, "half");
        ctx.log("two");
        if ctx.attempt() == 1 { Err(Failure::discard("no more")) } else { Ok(job.0) }
    })
}

#[tokio::test]
async fn a_job_that_is_over_shows_its_lines_then_its_end() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        soon("drain", drain(talker(&store.backroom))).await.unwrap();
        let all = texts(&store.backroom, job.id(), None).await;
        assert_eq!(all, ["one", "two", "discarded: no more", "50 %", "discarded"]);
    }
}

#[tokio::test]
async fn a_stream_that_continues_behind_the_end_is_empty_until_the_job_is_retried() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        soon("drain", drain(talker(&store.backroom))).await.unwrap();
        let events: Vec<_> = job.follow(None).collect().await;
        let last = events.last().unwrap().as_ref().unwrap().cursor;
        assert_eq!(texts(&store.backroom, job.id(), Some(last)).await, [""; 0]);
        store.backroom.retry(job.id()).await.unwrap();
        soon("drain", drain(talker(&store.backroom))).await.unwrap();
        let more = texts(&store.backroom, job.id(), Some(last)).await;
        assert_eq!(more, ["one", "two", "completed"], "the progress is the same as before");
    }
}

#[tokio::test]
async fn what_happens_is_seen_at_once_and_without_the_clock() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let mut events = job.follow(None);
        let first = soon("the first state", events.next()).await.unwrap().unwrap();
        assert_eq!(text(&first), "queued");
        let (drained, rest) =
            tokio::join!(drain(talker(&store.backroom)), soon("the end", events.collect::<Vec<_>>()));
        drained.unwrap();
        let rest: Vec<String> = rest.iter().map(|event| text(event.as_ref().unwrap())).collect();
        let recorded: Vec<_> = rest.iter().filter(|text| *text != "running" && *text != "50 %").collect();
        assert_eq!(recorded, ["one", "two", "discarded: no more", "discarded"], "{rest:?}");
    }
}

#[tokio::test]
async fn a_job_that_is_missing_or_is_deleted_ends_the_stream_with_an_error() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let mut events = job.follow(None);
        assert_eq!(text(&soon("state", events.next()).await.unwrap().unwrap()), "queued");
        store.backroom.delete(job.id()).await.unwrap();
        let error = soon("error", events.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(soon("end", events.next()).await.is_none());
        let events: Vec<_> = job.follow(None).collect().await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_cursor_that_is_ahead_of_the_store_begins_from_the_beginning() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        soon("drain", drain(talker(&store.backroom))).await.unwrap();
        let whole = texts(&store.backroom, job.id(), None).await;
        // Too many lines, too many attempts, too late a revision.
        for ahead in ["1.3.1.2.-", "1.2.2.2.-", "1.0.0.99.-"] {
            let cursor: Cursor = ahead.parse().unwrap();
            assert_eq!(texts(&store.backroom, job.id(), Some(cursor)).await, whole, "{ahead}");
        }
        let behind: Cursor = "1.1.0.-.-".parse().unwrap();
        assert_eq!(texts(&store.backroom, job.id(), Some(behind)).await, whole[1..]);
        assert_eq!(job.status().await.unwrap().state, State::Discarded);
    }
}

#[tokio::test]
async fn an_idle_follower_reads_every_four_minutes_and_a_busy_neighbour_does_not_make_it_read_more_than_twice_a_second()
 {
    let (backroom, _, faults, clock) = with_faults();
    let job = backroom.enqueue(Double(1)).await.unwrap();
    let mut events = job.follow(None);
    assert_eq!(text(&soon("state", events.next()).await.unwrap().unwrap()), "queued");
    let follower = tokio::spawn(async move { events.next().await });
    pass(&clock, Duration::from_secs(300)).await;
    let before = faults.calls();
    pass(&clock, Duration::from_secs(2400)).await;
    let calls = faults.calls() - before;
    // A read is two calls: the row, and the history.
    assert!((2 * 9..=2 * 11).contains(&calls), "{calls} calls in forty minutes");
    let before = faults.calls();
    for _ in 0..20 * 10 {
        backroom.store().notifier().notify_all();
        pass(&clock, Duration::from_millis(50)).await;
    }
    let calls = faults.calls() - before;
    assert!(calls <= 2 * 2 * 11, "{calls} calls in ten seconds");
    assert!(!follower.is_finished());
    backroom.cancel(job.id()).await.unwrap();
    pass(&clock, Duration::from_secs(1)).await;
    assert_eq!(text(&soon("the end", follower).await.unwrap().unwrap().unwrap()), "cancelled");
}

#[tokio::test]
async fn a_follower_without_hints_of_other_processes_reads_twice_a_second() {
    let (backroom, _, faults, clock) = with_faults();
    backroom.store().notifier().hear_no_others();
    let job = backroom.enqueue(Double(1)).await.unwrap();
    let mut events = job.follow(None);
    assert_eq!(text(&soon("state", events.next()).await.unwrap().unwrap()), "queued");
    let _follower = tokio::spawn(async move { events.next().await });
    pass(&clock, Duration::from_secs(60)).await;
    let before = faults.calls();
    pass(&clock, Duration::from_secs(10)).await;
    let calls = faults.calls() - before;
    assert!((2 * 9..=2 * 21).contains(&calls), "{calls} calls in ten seconds");
}

//! What a client can do, and the errors for invalid requests.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Context, ErrorKind, Failure, Filter, Json, State, Timestamp, UniqueRule, Worker,
    testing::{assert_enqueued, drain, perform, refute_enqueued},
};
use common::{Act, Double, act, double, fresh_stores, soon};
use futures_util::StreamExt;

#[tokio::test]
async fn every_option_of_an_enqueue_reaches_the_row() {
    for store in fresh_stores().await {
        let now = store.backroom.clock().now();
        let job = store
            .backroom
            .enqueue(Double(1))
            .queue("images")
            .lane("tenant-42")
            .priority(2)
            .delay(Duration::from_secs(60))
            .expires_in(Duration::from_secs(120))
            .timeout(Duration::from_secs(5))
            .max_attempts(3)
            .unique(UniqueRule::by_key("k"))
            .tag("blue")
            .meta("trace", "abc")
            .await
            .unwrap();
        assert!(job.is_new());
        let row = job.status().await.unwrap();
        assert_eq!((row.queue.as_str(), row.lane.as_deref(), row.priority), ("images", Some("tenant-42"), 2));
        assert_eq!(row.scheduled_at.duration_since(now).as_secs(), 60);
        assert_eq!(row.expires_at.unwrap().duration_since(now).as_secs(), 120);
        assert_eq!((row.extras.timeout, row.max_attempts), (Some(Duration::from_secs(5)), 3));
        assert_eq!((row.tags, row.extras.meta["trace"].as_str()), (vec!["blue".to_owned()], "abc"));
        assert_eq!(row.unique_key.as_deref(), Some("double=k"));
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_a_word_on_what_and_why() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let past = Timestamp::from_second(1).unwrap();
        let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        let long = "x".repeat(129);
        let cases = [
            (b.enqueue(Double(1)).queue("").await, "queue is empty"),
            (b.enqueue(Double(1)).queue(&long).await, "queue is 129 bytes long"),
            (b.enqueue(Double(1)).queue("a\0b").await, "control character"),
            (b.enqueue(Double(1)).queue(" images").await, "white space"),
            (b.enqueue(Double(1)).priority(10).await, "priority is 10"),
            (b.enqueue(Double(1)).at(past).await, "in the past"),
            (b.enqueue(Double(1)).delay(Duration::MAX).await, "ten years"),
            (b.enqueue(Double(1)).expires_in(Duration::ZERO).await, "could never run"),
            (b.enqueue(Double(1)).timeout(Duration::ZERO).await, "timeout"),
            (b.enqueue(Double(1)).max_attempts(0).await, "max_attempts is 0"),
            (b.enqueue(Double(1)).tag("t").tag("t").await, "given twice"),
            (b.enqueue(Double(1)).meta("k", "a\0b").await, "NUL"),
        ];
        for (answer, said) in cases {
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains(said), "{error} lacks {said:?}");
        }
        assert!(Json::parse(deep).unwrap_err().to_string().contains("nested 101 deep"));
        assert!(Json::parse("{").unwrap_err().to_string().contains("does not parse"));
        let large = Json::encode(&"x".repeat(1024 * 1024)).unwrap();
        let error = b.enqueue_untyped("double", large).await.unwrap_err();
        assert!(error.to_string().contains("args are 1048578 bytes"), "{error}");
        assert_eq!(b.counts().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_million_jobs_are_taken_from_the_iterator_as_they_are_written() {
    // A smaller number than a million, and the same proof: never more than two chunks are in hand.
    for store in fresh_stores().await {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let jobs = (0..10_000).map(move |number| {
            counter.fetch_add(1, Ordering::SeqCst);
            Double(number)
        });
        let many = store.backroom.enqueue_many(jobs).queue("bulk").priority(7).await.unwrap();
        assert_eq!((many.created, taken.load(Ordering::SeqCst)), (10_000, 10_000));
        let counts = store.backroom.counts().await.unwrap();
        assert_eq!((counts[0].queue.as_str(), counts[0].jobs), ("bulk", 10_000));
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_many_says_how_many_are_stored() {
    for store in fresh_stores().await {
        let good = (0..2500).map(|number| Json::encode(&number).unwrap());
        let bad = std::iter::once(Json::encode(&"x".repeat(1024 * 1024)).unwrap());
        let jobs: Vec<_> = good.chain(bad).collect();
        let error = store.backroom.enqueue_many_untyped("double", jobs).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("2000 jobs were handled"), "{error}");
        assert_eq!(store.backroom.counts().await.unwrap()[0].jobs, 2000);
    }
}

#[tokio::test]
async fn unique_jobs_keep_replace_or_reject() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let rule = UniqueRule::by_key("only");
        let first = b.enqueue(Double(1)).unique(rule.clone()).await.unwrap();
        let kept = b.enqueue(Double(2)).unique(rule.clone()).await.unwrap();
        assert_eq!((kept.id(), kept.is_new()), (first.id(), false));
        let replaced = b.enqueue(Double(3)).unique(rule.clone().replace()).await.unwrap();
        assert_eq!(replaced.id(), first.id());
        assert_eq!(first.status().await.unwrap().args.as_str(), "3");
        let error = b.enqueue(Double(4)).unique(rule.clone().reject()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyHeld { holder: first.id() });
        soon("drain", drain(Worker::new(b).handle(double))).await.unwrap();
        assert!(b.enqueue(Double(5)).unique(rule).await.unwrap().is_new(), "free again once finished");
    }
}

#[tokio::test]
async fn progress_is_a_stream_that_ends_with_the_job() {
    for store in fresh_stores().await {
        let job = store.backroom.enqueue(Double(1)).await.unwrap();
        let stream = job.progress();
        let worker = Worker::new(&store.backroom).handle(|job: Double, ctx: Context| async move {
            ctx.progress(100, "all of it");
            Ok::<_, Failure>(job.0)
        });
        soon("drain", drain(worker)).await.unwrap();
        let seen: Vec<_> = soon("the end", stream.collect::<Vec<_>>()).await;
        assert_eq!(seen.last().unwrap().as_ref().unwrap().percent, 100);
    }
}

#[tokio::test]
async fn cancel_retry_and_delete_do_as_the_state_allows() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue(Act::Succeed).delay(Duration::from_secs(3600)).await.unwrap();
        job.cancel().await.unwrap();
        job.cancel().await.unwrap();
        assert_eq!(job.status().await.unwrap().state, State::Cancelled);
        b.retry(job.id()).await.unwrap();
        soon("drain", drain(Worker::new(b).handle(act))).await.unwrap();
        assert_eq!(job.wait().await.unwrap(), "done");
        b.delete(job.id()).await.unwrap();
        for error in [
            b.delete(job.id()).await.unwrap_err(),
            b.retry(job.id()).await.unwrap_err(),
            b.cancel(job.id()).await.unwrap_err(),
            job.wait().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
    }
}

#[tokio::test]
async fn a_running_job_is_not_retried_and_not_deleted() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let job = b.enqueue(Act::Hang).await.unwrap();
        let worker = Worker::new(b).handle(act).start().await.unwrap();
        let running = async {
            while job.status().await.unwrap().state != State::Running {
                tokio::task::yield_now().await;
            }
        };
        soon("running", running).await;
        assert_eq!(b.retry(job.id()).await.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(b.delete(job.id()).await.unwrap_err().kind(), ErrorKind::Refused);
        job.cancel().await.unwrap();
        soon("the end", job.finished()).await.unwrap();
        soon("stop", worker.stop()).await.unwrap();
    }
}

#[tokio::test]
async fn lists_come_in_pages_the_newest_first() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        for number in 0..7 {
            b.enqueue(Double(number)).tag(if number % 2 == 0 { "even" } else { "odd" }).await.unwrap();
        }
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = b.list(Filter::default(), before, 3).await.unwrap();
            seen.extend(page.jobs.iter().map(|job| job.args.as_str().parse::<u32>().unwrap()));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
        let odd = Filter { tag: Some("odd".into()), ..Filter::default() };
        assert_eq!(b.list(odd, None, 100).await.unwrap().jobs.len(), 3);
        assert_eq!(b.list(Filter::default(), None, 0).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(b.list(Filter::default(), None, 1001).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn explain_accounts_for_every_live_job() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        let said = async |id| {
            let reasons = b.explain(id).await.unwrap().reasons;
            reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let later = b.enqueue(Double(1)).delay(Duration::from_secs(240)).await.unwrap();
        assert!(said(later.id()).await.contains("due in 4 min"));
        let now = b.enqueue(Double(2)).await.unwrap();
        assert!(said(now.id()).await.contains("no worker is alive"));
        b.pause("default").await.unwrap();
        assert!(said(now.id()).await.contains("queue default is paused"));
        let behind = b.enqueue(Double(3)).await.unwrap();
        assert!(said(behind.id()).await.contains("behind one due job"));
    }
}

#[tokio::test]
async fn a_paused_queue_waits_and_a_resumed_one_goes_on() {
    for store in fresh_stores().await {
        let b = &store.backroom;
        b.pause("default").await.unwrap();
        let job = b.enqueue(Double(4)).await.unwrap();
        soon("drain", drain(Worker::new(b).handle(double))).await.unwrap();
        assert_eq!(job.status().await.unwrap().state, State::Queued);
        b.resume("default").await.unwrap();
        soon("drain", drain(Worker::new(b).handle(double))).await.unwrap();
        assert_eq!(job.wait().await.unwrap(), 8);
        assert_eq!(b.pause("").await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_closed_client_says_so() {
    for store in fresh_stores().await {
        store.backroom.close().await.unwrap();
        assert_eq!(store.backroom.enqueue(Double(1)).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn urls_that_name_no_store_are_refused() {
    for url in ["", "backroom.db", "mysql://x", "sqlite"] {
        let error = Backroom::open(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
    }
}

#[tokio::test]
async fn the_kit_performs_and_asserts() {
    let performed = perform(act, Act::Fail).await.unwrap();
    assert_eq!(performed.job.state, State::Queued);
    assert!(performed.output::<Act>().unwrap_err().message().contains("it failed"));
    assert_eq!(perform(double, Double(8)).await.unwrap().output::<Double>().unwrap(), 16);
    for store in fresh_stores().await {
        store.backroom.enqueue(Double(5)).await.unwrap();
        let row = assert_enqueued(&store.backroom, |job: &Double| job.0 == 5).await;
        assert_eq!(row.kind, "double");
        refute_enqueued(&store.backroom, |job: &Double| job.0 == 6).await;
        let backroom = store.backroom.clone();
        let failed = tokio::spawn(async move { assert_enqueued(&backroom, |job: &Double| job.0 == 6).await });
        assert!(failed.await.unwrap_err().is_panic());
    }
}

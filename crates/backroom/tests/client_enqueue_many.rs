//! Jobs of several kinds in one call.

mod common;

use std::time::Duration;

use backroom::{ErrorKind, Json, UniqueRule};
use common::{Act, Double, fresh_stores};

const MINUTE: Duration = Duration::from_secs(60);

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
        assert_eq!((done.created, done.duplicates), (4, 1));
        let mut found = b.list(backroom::Filter::default(), None, 10).await.unwrap().jobs;
        found.reverse();
        let kinds: Vec<_> = found.iter().map(|job| (job.kind.as_str(), job.args.as_str())).collect();
        assert_eq!(kinds, [("double", "4"), ("act", "\"Succeed\""), ("mail", "[1]"), ("double", "5")]);
        assert_eq!(found[0].priority, 1);
        assert_eq!(found[0].tags, ["first", "all"]);
        assert!(found[1].scheduled_at > b.clock().now());
        assert!(found.iter().all(|job| job.queue == "many" && job.extras.meta["a"] == "b"));
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

//! Changing a job that waits for its turn.

mod common;

use std::time::Duration;

use backroom::{ErrorKind, Json, UniqueRule, Worker};
use common::{Double, act, double, fresh_stores};

const MINUTE: Duration = Duration::from_secs(60);

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

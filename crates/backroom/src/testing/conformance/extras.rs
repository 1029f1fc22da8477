//! What a caller chooses beside the columns goes with the job wherever it goes.

use std::sync::Arc;

use backroom_core::{Draft, Event};

use super::env::{Env, decide, draft, every_extra, fail, succeed};
use crate::store::{Call, Filter, Record};

pub(super) async fn a_job_with_every_extra_comes_back_from_everywhere(env: Env) {
    let extras = every_extra();
    let full = || Draft { extras: extras.clone(), ..draft() };
    let put = env.put_many([full(), full(), draft()]).await;
    let listed = env.store.list(Arc::new(Filter::default()), None, 9).await.expect("list");
    assert!(put.iter().all(|job| listed.contains(job)));
    // Together, so that a store that writes the jobs of a claim in one row does so.
    let claimed = env.store.claim(Arc::new(env.claim_of(9)), env.now, Call::First).await.expect("claim");
    assert_eq!(claimed.len(), 3);
    for job in &claimed {
        let found = put.iter().find(|put| put.id == job.id).expect("a job of these");
        assert_eq!(job.extras, found.extras);
        assert_eq!(env.read(job.id).await, *job);
    }
    let full: Vec<_> = claimed.iter().filter(|job| job.extras == extras).collect();
    let done = env.drive(full[0], succeed(full[0]), env.at(1)).await;
    assert_eq!(env.read(done.id).await.extras, extras);
    let failed = env.drive(full[1], fail(full[1]), env.at(1)).await;
    assert_eq!(env.read(failed.id).await.extras, extras);
    let revived = env.drive(&done, Event::Retry, env.at(2)).await;
    assert_eq!(env.read(revived.id).await.extras, extras);
}

pub(super) async fn a_record_with_every_extra_is_imported_live_and_finished(env: Env) {
    let job = || env.new_job(Draft { extras: every_extra(), ..draft() }).job;
    let (live, mut finished) = (job(), job());
    decide(&finished, Event::Cancel { reason: "not wanted".into() }, env.now).write_to(&mut finished);
    let record = |job: &_| Record { job: Clone::clone(job), attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None };
    env.store.import(Arc::new(vec![record(&live), record(&finished)])).await.expect("import");
    assert_eq!((env.read(live.id).await, env.read(finished.id).await), (live, finished));
}

//! Whole records move from store to store.
//!
//! A repeated import finds its records stored, so its count is not looked at: the rows are.

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Attempt, AttemptEnd, Draft, Event, JobRow, Queue, State, transition,
    unique::{UniqueRule, UniqueWhile},
};

use super::env::{Env, KIND, WORKER, cancel, decide, draft, fail, json, lines, progress, sorted_ids, succeed};
use crate::store::{Prune, Record};

fn after(job: &JobRow, change: &backroom_core::Change) -> JobRow {
    let mut job = job.clone();
    change.write_to(&mut job);
    job
}

/// A record for every state, each as the state machine makes it.
fn records(env: &Env) -> Vec<Record> {
    let queued = env.new_job(Draft { tags: vec!["t".into()], ..draft() }).job;
    let run = |job: &JobRow| {
        let event = Event::Claim { lease: env.ids.lease(), until: env.at(30), due: env.now, worker: WORKER.into() };
        after(job, &transition::apply(job, event, env.now).expect("claimable").expect("a change"))
    };
    let fresh = || run(&env.new_job(draft()).job);
    let plain = |job: JobRow| Record { job, attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None };
    let running = JobRow { progress: Some(progress(7, "on it")), woken: true, ..fresh() };
    let marked = after(&fresh(), &decide(&fresh(), cancel(), env.at(1)));
    let marked = JobRow { id: env.new_job(draft()).job.id, ..marked };
    let done = fresh();
    let done = after(&done, &decide(&done, succeed(&done), env.at(2)));
    let failed = fresh();
    let failure = decide(&failed, fail(&failed), env.at(3));
    let retrying = Record {
        job: after(&failed, &failure),
        attempts: failure.attempt_ended().cloned().into_iter().collect(),
        lines: lines(&failed, 0, &["one", "two"]),
        edges: Vec::new(),
        journal: None,
    };
    let parked = fresh();
    let lease = parked.lease_id.expect("it ran");
    let waiting = after(&parked, &decide(&parked, Event::Suspend { lease }, env.at(4)));
    let given_up = JobRow { max_attempts: 1, ..fresh() };
    let discarded = after(&given_up, &decide(&given_up, fail(&given_up), env.at(5)));
    let unique = env.new_job(Draft {
        unique: Some(UniqueRule::by_key("k").within(Duration::from_secs(9))),
        ..draft()
    });
    let cancelled = after(&unique.job, &decide(&unique.job, cancel(), env.at(6)));
    let mut all: Vec<_> =
        [queued, running, marked, done, waiting, discarded, cancelled].map(plain).into();
    all.push(retrying);
    all
}

async fn import(env: &Env, records: &[Record]) {
    env.store.import(Arc::new(records.to_vec())).await.expect("import");
}

async fn assert_stored(env: &Env, records: &[Record]) {
    for record in records {
        assert_eq!(env.read(record.job.id).await, record.job);
        assert_eq!(env.attempts(record.job.id).await, record.attempts);
        assert_eq!(env.logs(record.job.id).await, record.lines);
    }
    assert_eq!(env.all().await.len(), records.len());
}

pub(super) async fn records_in_every_state_come_back_as_they_were(env: Env) {
    let records = records(&env);
    for state in State::ALL {
        assert!(records.iter().any(|record| record.job.state == state), "{state} is missing");
    }
    import(&env, &records).await;
    assert_stored(&env, &records).await;
    assert_eq!(env.store.queues().await.expect("queues"), [Queue::new("default")]);
    import(&env, &[]).await;
}

pub(super) async fn a_record_that_is_stored_already_is_left_alone(env: Env) {
    let mut records = records(&env);
    import(&env, &records[..3]).await;
    let mut changed = records.clone();
    changed[0].job.kind = "changed".into();
    changed[1].lines = lines(&changed[1].job, 0, &["changed"]);
    changed[2].attempts = vec![Attempt {
        lease_id: env.ids.lease(),
        attempt: 9,
        end: AttemptEnd::Panicked,
        error: "changed".into(),
        worker: None,
        started_at: None,
        ended_at: env.now,
    }];
    import(&env, &changed).await;
    assert_stored(&env, &records).await;
    // What an import may hold besides: a record without a worker or a start.
    changed[2].job.id = env.new_job(draft()).job.id;
    records.push(changed[2].clone());
    import(&env, &records).await;
    assert_stored(&env, &records).await;
}

pub(super) async fn a_job_that_was_imported_and_pruned_does_not_come_back(env: Env) {
    let records = records(&env);
    import(&env, &records).await;
    let (queued, running) = (&records[0], &records[1]);
    let ended = [
        env.drive(&queued.job, cancel(), env.at(10)).await,
        env.drive(&running.job, succeed(&running.job), env.at(10)).await,
    ];
    for job in ended {
        let prune = Prune {
            queue: job.queue,
            state: job.state,
            finished_before: Some(env.at(11)),
            beyond: None,
            limit: 100,
        };
        env.store.prune(Arc::new(prune), env.at(11)).await.expect("prune");
        assert_eq!(env.find(job.id).await, None);
    }
    import(&env, &[queued.clone(), running.clone()]).await;
    assert_eq!((env.find(queued.job.id).await, env.find(running.job.id).await), (None, None));
    // A delete by id also forgets that the job was imported.
    let waiting = records.iter().find(|record| record.job.state == State::Waiting);
    let waiting = waiting.expect("one in every state");
    env.store.delete(waiting.job.id, env.now).await.expect("delete");
    import(&env, std::slice::from_ref(waiting)).await;
    assert_eq!(env.read(waiting.job.id).await, waiting.job);
}

pub(super) async fn a_record_whose_key_is_held_refuses_the_whole_import(env: Env) {
    let keyed = || Draft { unique: Some(UniqueRule::by_key("k")), ..draft() };
    let record = |draft| Record { job: env.new_job(draft).job, attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None };
    let holder = env.put(keyed()).await;
    let refused = env.store.import(Arc::new(vec![record(draft()), record(keyed())])).await;
    let error = refused.expect_err("the key is held");
    assert_eq!(error.kind(), crate::ErrorKind::KeyHeld { holder: holder.id });
    assert_eq!(env.all().await, std::slice::from_ref(&holder), "not even the record before it");
    // A job that has released its key collides with no other.
    let mut finished = record(keyed());
    finished.job = after(&finished.job, &decide(&finished.job, cancel(), env.now));
    assert_eq!(finished.job.unique_while, Some(UniqueWhile::Live));
    import(&env, &[finished.clone()]).await;
    assert_eq!(sorted_ids(&env.all().await), sorted_ids(&[holder, finished.job]));
}

pub(super) async fn imported_jobs_go_on_where_they_were(env: Env) {
    let records = records(&env);
    import(&env, &records).await;
    let running = &records[1].job;
    let done = env.drive(running, succeed(running), env.at(8)).await;
    assert_eq!(done.output, Some(json(r#"{"path":"out.jpg"}"#)));
    let queued = env.take().await;
    assert_eq!((queued.id, queued.kind.as_str()), (records[0].job.id, KIND));
    env.drive(&records[3].job, Event::Retry, env.at(9)).await;
}

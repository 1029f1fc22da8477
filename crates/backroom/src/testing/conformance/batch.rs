//! Batches.

use std::sync::Arc;

use backroom_core::{
    Draft, Event, JobId, JobRow, LeaseId, State,
    batch::{Batch, BatchId, Counts, EndJob, STRIPES_DEFAULT},
    links::Links,
};

use super::env::{Env, cancel, decide, draft, json, lease, succeed};
use crate::store::{
    BatchRow, BatchTurn, Call, Committed, Filter, InsertLinked, Inserted, NewLinked, OpenBatch,
};

const FINISH: &str = "batch_finished";
const SUCCESS: &str = "batch_succeeded";

/// A batch with both end jobs.
fn new_batch(env: &Env, parent: Option<&Batch>) -> Batch {
    let id = BatchId(env.ids.job(env.now).0);
    // In a queue of their own, so that they are not claimed with the members.
    let end = |kind: &str| Some(Draft { queue: "ends".into(), ..Draft::new(kind, json("{}")) });
    let batch = Batch::open(id, parent, STRIPES_DEFAULT, env.now).expect("a batch");
    Batch { on_finish: end(FINISH), on_success: end(SUCCESS), ..batch }
}

async fn open(env: &Env, batch: Batch) -> BatchRow {
    let open = OpenBatch { batch, by: None };
    env.store.open_batch(Arc::new(open), env.now).await.expect("open")
}

fn member(env: &Env, batch: BatchId) -> NewLinked {
    let mut new = env.new_job(draft());
    new.job.links = Some(Box::new(Links { batch: Some(batch), ..Links::default() }));
    NewLinked { new, edges: Vec::new() }
}

async fn add_by(
    env: &Env,
    batch: BatchId,
    count: usize,
    by: Option<(JobId, LeaseId)>,
) -> Result<Vec<JobId>, crate::Error> {
    let jobs: Vec<_> = (0..count).map(|_| member(env, batch)).collect();
    let ids = jobs.iter().map(|linked| linked.new.job.id).collect();
    let insert = InsertLinked { jobs, by };
    let answers = env.store.insert_linked(Arc::new(insert), env.now, Call::First).await?;
    assert_eq!(answers, vec![Inserted::Created; count]);
    Ok(ids)
}

async fn add(env: &Env, batch: BatchId, count: usize) -> Vec<JobId> {
    add_by(env, batch, count, None).await.expect("add members")
}

async fn turn(env: &Env, batch: BatchId, turn: BatchTurn) -> BatchRow {
    env.store.turn_batch(batch, turn, env.now).await.expect("turn a batch").expect("it is stored")
}

async fn read(env: &Env, batch: BatchId) -> BatchRow {
    env.store.batch(batch).await.expect("read a batch").expect("it is stored")
}

async fn counts(env: &Env, batch: BatchId) -> Counts {
    read(env, batch).await.counts()
}

fn counted(live: u64, completed: u64, cancelled: u64, discarded: u64) -> Counts {
    Counts { live, completed, cancelled, discarded }
}

/// The end jobs of a batch that are stored, by which they are.
async fn ends(env: &Env, batch: BatchId) -> Vec<EndJob> {
    let filter = Filter { queue: Some("ends".into()), ..Filter::default() };
    let jobs = env.store.list(Arc::new(filter), None, 100).await.expect("list");
    let of =
        |job: &JobRow| job.links.as_ref().and_then(|links| links.ends).filter(|ends| ends.batch == batch);
    let mut ends: Vec<_> = jobs.iter().filter_map(of).map(|ends| ends.which).collect();
    ends.sort_by_key(|which| *which == EndJob::Success);
    ends
}

async fn claim_all(env: &Env, count: usize) -> Vec<JobRow> {
    let running = env.claim(env.claim_of(count)).await;
    assert_eq!(running.len(), count);
    running
}

pub(super) async fn an_empty_batch_ends_when_it_is_closed(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    assert_eq!(ends(&env, id).await, []);
    let closed = turn(&env, id, BatchTurn::Close).await;
    assert!(closed.batch.has_ended() && closed.batch.succeeded_at.is_some());
    assert_eq!(ends(&env, id).await, [EndJob::Finish, EndJob::Success]);
    turn(&env, id, BatchTurn::Close).await;
    assert_eq!(ends(&env, id).await.len(), 2, "once");
}

pub(super) async fn the_last_member_to_end_enqueues_the_end_jobs(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    add(&env, id, 3).await;
    let running = claim_all(&env, 3).await;
    env.drive(&running[0], succeed(&running[0]), env.now).await;
    assert_eq!(counts(&env, id).await, counted(2, 1, 0, 0));
    let closed = turn(&env, id, BatchTurn::Close).await;
    assert!(!closed.batch.has_ended());
    env.drive(&running[1], succeed(&running[1]), env.now).await;
    assert_eq!(ends(&env, id).await, []);
    env.drive(&running[2], succeed(&running[2]), env.now).await;
    assert_eq!(counts(&env, id).await, counted(0, 3, 0, 0));
    assert_eq!(ends(&env, id).await, [EndJob::Finish, EndJob::Success]);
    assert!(read(&env, id).await.batch.has_ended());
}

pub(super) async fn a_batch_that_is_open_does_not_end(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    add(&env, id, 1).await;
    let running = env.take().await;
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(ends(&env, id).await, []);
    add(&env, id, 1).await;
    let running = env.take().await;
    turn(&env, id, BatchTurn::Close).await;
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(ends(&env, id).await, [EndJob::Finish, EndJob::Success]);
}

pub(super) async fn a_member_that_failed_may_be_retried_to_a_success(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    add(&env, id, 2).await;
    turn(&env, id, BatchTurn::Close).await;
    let running = claim_all(&env, 2).await;
    let discard = Event::Discard { lease: lease(&running[0]), reason: "broken".into() };
    env.drive(&running[0], discard, env.now).await;
    env.drive(&running[1], succeed(&running[1]), env.now).await;
    assert_eq!(counts(&env, id).await, counted(0, 1, 0, 1));
    assert_eq!(ends(&env, id).await, [EndJob::Finish], "it finished, and did not succeed");
    let failed = env.read(running[0].id).await;
    env.drive(&failed, Event::Retry, env.now).await;
    assert_eq!(counts(&env, id).await, counted(1, 1, 0, 0));
    assert!(!read(&env, id).await.batch.has_ended());
    let running = env.take().await;
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(ends(&env, id).await, [EndJob::Finish, EndJob::Success], "each once");
}

pub(super) async fn the_gate_decides_who_adds(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    add(&env, id, 1).await;
    let running = env.take().await;
    let member = Some((running.id, lease(&running)));
    turn(&env, id, BatchTurn::Close).await;
    let refused = add_by(&env, id, 1, None).await.expect_err("closed");
    assert!(refused.to_string().contains("is closed"), "{refused}");
    add_by(&env, id, 2, member).await.expect("a member that runs may add");
    assert_eq!(counts(&env, id).await, counted(3, 0, 0, 0));
    let stale = Some((running.id, env.ids.lease()));
    assert!(add_by(&env, id, 1, stale).await.is_err(), "its lease is another one");
    let elsewhere = open(&env, new_batch(&env, None)).await.batch.id;
    turn(&env, elsewhere, BatchTurn::Close).await;
    assert!(add_by(&env, elsewhere, 1, member).await.is_err(), "it is a member of another batch");
    turn(&env, id, BatchTurn::Cancel).await;
    let refused = add_by(&env, id, 1, member).await.expect_err("cancelled");
    assert!(refused.to_string().contains("was cancelled"), "{refused}");
    let unknown = BatchId(env.ids.job(env.now).0);
    assert!(
        add_by(&env, unknown, 1, None).await.expect_err("unknown").to_string().contains("does not exist")
    );
    assert_eq!(counts(&env, id).await, counted(3, 0, 0, 0), "what was refused is not stored");
}

pub(super) async fn a_batch_counts_as_a_member_of_its_parent(env: Env) {
    let outer = open(&env, new_batch(&env, None)).await.batch;
    let inner = open(&env, new_batch(&env, Some(&outer))).await.batch;
    assert_eq!(counts(&env, outer.id).await, counted(1, 0, 0, 0));
    add(&env, inner.id, 1).await;
    turn(&env, outer.id, BatchTurn::Close).await;
    turn(&env, inner.id, BatchTurn::Close).await;
    let running = env.take().await;
    assert_eq!(ends(&env, outer.id).await, []);
    let discard = Event::Discard { lease: lease(&running), reason: "broken".into() };
    env.drive(&running, discard, env.now).await;
    assert_eq!(counts(&env, outer.id).await, counted(0, 0, 0, 1));
    assert_eq!(ends(&env, outer.id).await, [EndJob::Finish]);
    let failed = env.read(running.id).await;
    env.drive(&failed, Event::Retry, env.now).await;
    assert_eq!(counts(&env, outer.id).await, counted(1, 0, 0, 0), "it lives again");
    let running = env.take().await;
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(counts(&env, outer.id).await, counted(0, 1, 0, 0));
    assert_eq!(ends(&env, outer.id).await, [EndJob::Finish, EndJob::Success]);
    assert_eq!(ends(&env, inner.id).await, [EndJob::Finish, EndJob::Success]);
    let nested = env.store.batches(Some(outer.id), None, 10).await.expect("list");
    assert_eq!(nested.iter().map(|row| row.batch.id).collect::<Vec<_>>(), [inner.id]);
}

pub(super) async fn a_closed_batch_is_opened_again(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    turn(&env, id, BatchTurn::Close).await;
    let open = turn(&env, id, BatchTurn::Reopen).await;
    assert!(open.batch.closed_at.is_none());
    add(&env, id, 1).await;
    turn(&env, id, BatchTurn::Close).await;
    let running = env.take().await;
    env.drive(&running, succeed(&running), env.now).await;
    assert!(read(&env, id).await.batch.has_ended());
    assert_eq!(ends(&env, id).await, [EndJob::Finish, EndJob::Success], "each once");
}

pub(super) async fn a_repeated_open_and_a_repeated_add_add_nothing(env: Env) {
    let batch = new_batch(&env, None);
    open(&env, batch.clone()).await;
    let call = InsertLinked { jobs: vec![member(&env, batch.id), member(&env, batch.id)], by: None };
    let call = Arc::new(call);
    for again in [Call::First, Call::Repeated, Call::Repeated] {
        let answers = env.store.insert_linked(Arc::clone(&call), env.now, again).await.expect("add");
        assert_eq!(answers, [Inserted::Created; 2]);
        assert_eq!(counts(&env, batch.id).await, counted(2, 0, 0, 0));
    }
    open(&env, Batch { description: Some("another".into()), ..batch.clone() }).await;
    let stored = read(&env, batch.id).await;
    assert_eq!((stored.batch.description.clone(), stored.counts().live), (None, 2), "it stays as it was");
}

pub(super) async fn a_live_member_that_is_deleted_counts_as_cancelled(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    let ids = add(&env, id, 2).await;
    env.store.delete(ids[0], env.now).await.expect("delete");
    assert_eq!(counts(&env, id).await, counted(1, 0, 1, 0));
    let job = env.read(ids[1]).await;
    let job = env.drive(&job, cancel(), env.now).await;
    assert_eq!(counts(&env, id).await, counted(0, 0, 2, 0));
    let asked = Arc::new(vec![(job.id, job.revision)]);
    env.store.delete_unmoved(asked, env.now).await.expect("delete");
    assert_eq!(counts(&env, id).await, counted(0, 0, 2, 0), "it had ended before");
}

pub(super) async fn members_are_listed_by_their_batch(env: Env) {
    let one = open(&env, new_batch(&env, None)).await.batch.id;
    let other = open(&env, new_batch(&env, None)).await.batch.id;
    let mut ids = add(&env, one, 3).await;
    add(&env, other, 2).await;
    env.put(draft()).await;
    let job = env.read(ids[0]).await;
    env.drive(&job, cancel(), env.now).await;
    let filter = Filter { batch: Some(one), ..Filter::default() };
    let listed = env.store.list(Arc::new(filter.clone()), None, 10).await.expect("list");
    ids.reverse();
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    let cancelled = Filter { states: vec![State::Cancelled], ..filter };
    assert_eq!(env.store.list(Arc::new(cancelled), None, 10).await.expect("list").len(), 1);
    let batches = env.store.batches(None, None, 10).await.expect("list");
    assert_eq!(batches.iter().map(|row| row.batch.id).collect::<Vec<_>>(), [other, one]);
    let older = env.store.batches(None, Some(other), 10).await.expect("list");
    assert_eq!(older.iter().map(|row| row.batch.id).collect::<Vec<_>>(), [one]);
}

pub(super) async fn members_that_end_at_the_same_time_end_the_batch_once(env: Env) {
    let env = Arc::new(env);
    for _ in 0..4 {
        let id = open(&env, new_batch(&env, None)).await.batch.id;
        add(&env, id, 8).await;
        turn(&env, id, BatchTurn::Close).await;
        let running = claim_all(&env, 8).await;
        let mut tasks = tokio::task::JoinSet::new();
        for job in running {
            let env = Arc::clone(&env);
            tasks.spawn(async move {
                while env.commit(decide(&job, succeed(&job), env.now)).await == Committed::RowLocked {}
            });
        }
        tasks.join_all().await;
        assert_eq!(counts(&env, id).await, counted(0, 8, 0, 0));
        assert_eq!(ends(&env, id).await, [EndJob::Finish, EndJob::Success]);
    }
}

pub(super) async fn a_batch_is_imported_with_its_counts_and_a_newer_copy_replaces_an_older(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    add(&env, id, 2).await;
    let older = read(&env, id).await;
    add(&env, id, 1).await;
    let newer = read(&env, id).await;
    env.store.import_batches(Arc::new(vec![older])).await.expect("import");
    assert_eq!(counts(&env, id).await, counted(3, 0, 0, 0));
    let imported = Batch { id: BatchId(env.ids.job(env.now).0), ..newer.batch.clone() };
    let row = BatchRow { batch: imported.clone(), ..newer };
    env.store.import_batches(Arc::new(vec![row])).await.expect("import");
    assert_eq!(counts(&env, imported.id).await, counted(3, 0, 0, 0));
}

pub(super) async fn a_batch_that_ended_long_ago_goes_once_it_has_no_members(env: Env) {
    let id = open(&env, new_batch(&env, None)).await.batch.id;
    let lives = open(&env, new_batch(&env, None)).await.batch.id;
    let ids = add(&env, id, 1).await;
    turn(&env, id, BatchTurn::Close).await;
    let job = env.read(ids[0]).await;
    env.drive(&job, cancel(), env.now).await;
    env.store.prune_batches(env.at(100), 10).await.expect("prune");
    assert!(env.store.batch(id).await.expect("read").is_some(), "it has a member");
    env.store.delete(ids[0], env.now).await.expect("delete");
    env.store.prune_batches(env.at(-100), 10).await.expect("prune");
    assert!(env.store.batch(id).await.expect("read").is_some(), "it ended later");
    env.store.prune_batches(env.at(100), 10).await.expect("prune");
    assert_eq!(env.store.batch(id).await.expect("read"), None);
    assert!(env.store.batch(lives).await.expect("read").is_some());
}

pub(super) async fn a_forgotten_batch_counts_on_and_enqueues_nothing_at_its_end(env: Env) {
    let parent = open(&env, new_batch(&env, None)).await.batch;
    let described = Batch { description: Some("invoices of Ada".into()), ..new_batch(&env, Some(&parent)) };
    let id = open(&env, described).await.batch.id;
    add(&env, id, 2).await;
    turn(&env, parent.id, BatchTurn::Close).await;
    for _ in 0..2 {
        let row = turn(&env, id, BatchTurn::Forget).await;
        assert_eq!(row.batch.description, None);
        assert_eq!((&row.batch.on_success, &row.batch.on_finish), (&None, &None));
        assert_eq!(read(&env, id).await, row);
    }
    // It is as open as it was.
    add(&env, id, 1).await;
    turn(&env, id, BatchTurn::Close).await;
    turn(&env, id, BatchTurn::Forget).await;
    for job in claim_all(&env, 3).await {
        env.drive(&job, succeed(&job), env.now).await;
    }
    assert_eq!(counts(&env, id).await, counted(0, 3, 0, 0));
    assert!(read(&env, id).await.batch.succeeded_at.is_some());
    assert_eq!(ends(&env, id).await, []);
    // The batch that it is in has its own end jobs.
    assert_eq!(counts(&env, parent.id).await, counted(0, 1, 0, 0));
    assert_eq!(ends(&env, parent.id).await, [EndJob::Finish, EndJob::Success]);
}

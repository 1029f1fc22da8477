//! Jobs that run after others.

use std::{collections::BTreeSet, sync::Arc};

use backroom_core::{
    Event, JobId, JobRow, State,
    dependency::{Edge, EdgeState, OnFailure, SETTLED_MAX},
    links::{After, Links},
};

use super::env::{Env, cancel, decide, draft, lease, succeed};
use crate::store::{
    Call, Committed, EdgesOfJob, InsertLinked, Inserted, Neighbour, NewLinked, Prune, Record, Side,
};

fn edge(predecessor: JobId, on_failure: OnFailure) -> Edge {
    Edge { predecessor, on_failure }
}

fn after(env: &Env, predecessors: &[(JobId, OnFailure)]) -> NewLinked {
    let edges = predecessors.iter().map(|(id, on_failure)| edge(*id, *on_failure)).collect();
    NewLinked { new: env.new_job(draft()), edges }
}

async fn insert(env: &Env, jobs: Vec<NewLinked>) -> Vec<Inserted> {
    let insert = InsertLinked { jobs, by: None };
    env.store.insert_linked(Arc::new(insert), env.now, Call::First).await.expect("insert with links")
}

/// Stores a job after others and reads it.
async fn put_after(env: &Env, predecessors: &[(JobId, OnFailure)]) -> JobRow {
    let linked = after(env, predecessors);
    let id = linked.new.job.id;
    assert_eq!(insert(env, vec![linked]).await, [Inserted::Created]);
    env.read(id).await
}

async fn neighbours(env: &Env, job: JobId, side: Side, only_open: bool) -> Vec<Neighbour> {
    let of = EdgesOfJob { job, side, only_open };
    env.store.edges(of, None, 10_000).await.expect("edges")
}

async fn edge_state(env: &Env, dependant: JobId) -> EdgeState {
    let edges = neighbours(env, dependant, Side::Predecessors, false).await;
    assert_eq!(edges.len(), 1);
    edges[0].edge
}

async fn state(env: &Env, id: JobId) -> State {
    env.read(id).await.state
}

fn held(job: &JobRow) -> Option<After> {
    job.links.as_ref().and_then(|links| links.after)
}

/// A job that runs, as it is stored now.
async fn run(env: &Env) -> JobRow {
    env.put(draft()).await;
    env.take().await
}

async fn drive(env: &Env, id: JobId, event: Event) -> JobRow {
    let job = env.read(id).await;
    env.drive(&job, event, env.now).await
}

pub(super) async fn every_edge_goes_as_the_table_says(env: Env) {
    use OnFailure::{Cancel, Run, Wait};
    let table = [
        ("completed", Cancel, State::Queued, EdgeState::Met),
        ("completed", Run, State::Queued, EdgeState::Met),
        ("completed", Wait, State::Queued, EdgeState::Met),
        ("discarded", Cancel, State::Cancelled, EdgeState::Broken),
        ("discarded", Run, State::Queued, EdgeState::Met),
        ("discarded", Wait, State::Waiting, EdgeState::Open),
        ("cancelled", Cancel, State::Cancelled, EdgeState::Broken),
        ("cancelled", Run, State::Queued, EdgeState::Met),
        ("cancelled", Wait, State::Waiting, EdgeState::Open),
        ("deleted", Cancel, State::Cancelled, EdgeState::Broken),
        ("deleted", Run, State::Queued, EdgeState::Met),
        ("deleted", Wait, State::Cancelled, EdgeState::Broken),
    ];
    for (end, policy, expected, edge) in table {
        let case = format!("{end}, {policy}");
        let first = if end == "deleted" { env.put(draft()).await } else { run(&env).await };
        let dependant = put_after(&env, &[(first.id, policy)]).await;
        assert_eq!((dependant.state, held(&dependant)), (State::Waiting, Some(After::Held)), "{case}");
        assert_eq!(edge_state(&env, dependant.id).await, EdgeState::Open, "{case}");
        let first = env.read(first.id).await;
        assert!(first.links.as_ref().is_some_and(|links| links.followed), "{case}");
        match end {
            "completed" => _ = env.drive(&first, succeed(&first), env.now).await,
            "discarded" => {
                let reason = "broken".into();
                env.drive(&first, Event::Discard { lease: lease(&first), reason }, env.now).await;
            }
            "cancelled" => {
                let stop = Event::Stop { lease: lease(&first), reason: "enough".into() };
                env.drive(&first, stop, env.now).await;
            }
            _ => _ = env.store.delete(first.id, env.now).await.expect("delete"),
        }
        let after = env.read(dependant.id).await;
        assert_eq!(after.state, expected, "{case}");
        assert_eq!(edge_state(&env, dependant.id).await, edge, "{case}");
        match expected {
            State::Cancelled => {
                let reason = after.reason.clone().unwrap_or_default();
                assert!(reason.starts_with(&format!("predecessor {} (work) was ", first.id)), "{case}: {reason}");
            }
            State::Waiting => assert_eq!(held(&after), Some(After::Held), "{case}"),
            _ => {
                assert_eq!(held(&after), Some(After::Released), "{case}");
                // It runs to its end, so that it is not due in the next case.
                let running = env.take().await;
                assert_eq!(running.id, after.id, "{case}");
                env.drive(&running, succeed(&running), env.now).await;
            }
        }
    }
}

pub(super) async fn a_predecessor_that_has_ended_counts_as_what_it_is(env: Env) {
    let completed = env.completed().await;
    let cancelled = env.cancelled_at(draft(), 1).await;
    let met = put_after(&env, &[(completed.id, OnFailure::Cancel)]).await;
    assert_eq!((met.state, held(&met)), (State::Queued, Some(After::Released)));
    let broken = put_after(&env, &[(cancelled.id, OnFailure::Cancel)]).await;
    assert_eq!((broken.state, held(&broken)), (State::Cancelled, Some(After::Held)));
    assert!(broken.reason.is_some_and(|reason| reason.contains("was cancelled: not wanted")));
    let waits = put_after(&env, &[(completed.id, OnFailure::Cancel), (cancelled.id, OnFailure::Wait)]).await;
    assert_eq!(waits.state, State::Waiting);
    // It has the mark although it had finished: its retry and its end settle the edge.
    drive(&env, cancelled.id, Event::Retry).await;
    assert_eq!(state(&env, waits.id).await, State::Waiting);
    let runs = env.claim(env.claim_of(10)).await;
    assert_eq!(BTreeSet::from_iter(runs.iter().map(|job| job.id)), BTreeSet::from([met.id, cancelled.id]));
    for job in runs {
        env.drive(&job, succeed(&job), env.now).await;
    }
    assert_eq!(state(&env, waits.id).await, State::Queued);
}

pub(super) async fn a_job_waits_for_all_of_its_predecessors(env: Env) {
    let jobs = env.put_many([draft(), draft(), draft()]).await;
    let edges: Vec<_> = jobs.iter().map(|job| (job.id, OnFailure::Cancel)).collect();
    let dependant = put_after(&env, &edges).await;
    let running = env.claim(env.claim_of(10)).await;
    assert_eq!(running.len(), 3);
    for (done, job) in running.iter().enumerate() {
        assert_eq!(state(&env, dependant.id).await, State::Waiting, "after {done} of 3");
        let job = env.read(job.id).await;
        env.drive(&job, succeed(&job), env.now).await;
    }
    let after = env.read(dependant.id).await;
    assert_eq!((after.state, held(&after)), (State::Queued, Some(After::Released)));
    assert_eq!(env.take().await.id, dependant.id);
}

pub(super) async fn ends_of_one_call_release_a_job_once_and_a_failure_among_them_cancels_it(env: Env) {
    for fails in [false, true] {
        let jobs = env.put_many([draft(), draft()]).await;
        let edges: Vec<_> = jobs.iter().map(|job| (job.id, OnFailure::Cancel)).collect();
        let dependant = put_after(&env, &edges).await;
        let running = env.claim(env.claim_of(10)).await;
        let mut changes = Vec::new();
        for job in &running {
            let job = env.read(job.id).await;
            let discard = Event::Discard { lease: lease(&job), reason: "broken".into() };
            let event = if fails && job.id == jobs[1].id { discard } else { succeed(&job) };
            changes.push(decide(&job, event, env.now));
        }
        assert_eq!(env.commit_many(changes).await, [Committed::Done, Committed::Done]);
        let expected = if fails { State::Cancelled } else { State::Queued };
        assert_eq!(state(&env, dependant.id).await, expected);
        if !fails {
            drive(&env, dependant.id, cancel()).await;
        }
    }
}

pub(super) async fn an_end_that_was_decided_before_the_enqueue_is_decided_again(env: Env) {
    let running = run(&env).await;
    let decided = decide(&running, succeed(&running), env.now);
    let dependant = put_after(&env, &[(running.id, OnFailure::Cancel)]).await;
    assert_eq!(env.commit(decided).await, Committed::Stale, "it would leave the dependant behind");
    let running = env.read(running.id).await;
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(state(&env, dependant.id).await, State::Queued);
}

pub(super) async fn a_job_of_a_large_claim_is_followed(env: Env) {
    env.put_many((0..20).map(|_| draft())).await;
    let running = env.claim(env.claim_of(20)).await;
    assert_eq!(running.len(), 20);
    let dependant =
        put_after(&env, &[(running[3].id, OnFailure::Cancel), (running[7].id, OnFailure::Cancel)]).await;
    for job in &running {
        let job = env.read(job.id).await;
        env.drive(&job, succeed(&job), env.now).await;
    }
    assert_eq!(state(&env, dependant.id).await, State::Queued);
}

pub(super) async fn a_repeated_insert_adds_nothing(env: Env) {
    let first = run(&env).await;
    let linked = after(&env, &[(first.id, OnFailure::Cancel)]);
    let id = linked.new.job.id;
    let call = Arc::new(InsertLinked { jobs: vec![linked], by: None });
    let answer = env.store.insert_linked(Arc::clone(&call), env.now, Call::First).await.expect("insert");
    assert_eq!(answer, [Inserted::Created]);
    drive(&env, first.id, succeed(&first)).await;
    let running = env.take().await;
    let ended = env.drive(&running, succeed(&running), env.now).await;
    let answer = env.store.insert_linked(call, env.now, Call::Repeated).await.expect("insert again");
    assert_eq!(answer, [Inserted::Created]);
    assert_eq!(env.read(id).await, ended);
    assert_eq!(edge_state(&env, id).await, EdgeState::Met);
}

pub(super) async fn an_unknown_predecessor_refuses_the_whole_call(env: Env) {
    let known = env.put(draft()).await;
    let good = after(&env, &[(known.id, OnFailure::Cancel)]);
    let bad = after(&env, &[(env.new_job(draft()).job.id, OnFailure::Cancel)]);
    let insert = InsertLinked { jobs: vec![good, bad], by: None };
    let error = env.store.insert_linked(Arc::new(insert), env.now, Call::First).await.expect_err("unknown");
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(env.all().await.len(), 1, "nothing is stored");
}

pub(super) async fn jobs_of_one_call_run_after_each_other(env: Env) {
    let first = NewLinked { new: env.new_job(draft()), edges: Vec::new() };
    let second = after(&env, &[(first.new.job.id, OnFailure::Cancel)]);
    let third = after(&env, &[(first.new.job.id, OnFailure::Run), (second.new.job.id, OnFailure::Run)]);
    let ids = [first.new.job.id, second.new.job.id, third.new.job.id];
    assert_eq!(insert(&env, vec![first, second, third]).await, [Inserted::Created; 3]);
    for (place, id) in ids.iter().enumerate() {
        let running = env.take().await;
        assert_eq!(running.id, *id, "job {place} is next");
        env.drive(&running, succeed(&running), env.now).await;
    }
}

pub(super) async fn a_failure_goes_down_a_chain(env: Env) {
    let first = env.put(draft()).await;
    let mut chain = vec![first.id];
    for _ in 0..5 {
        let last = chain[chain.len() - 1];
        chain.push(put_after(&env, &[(last, OnFailure::Cancel)]).await.id);
    }
    let last = put_after(&env, &[(chain[5], OnFailure::Run)]).await;
    drive(&env, first.id, cancel()).await;
    for id in &chain {
        assert_eq!(state(&env, *id).await, State::Cancelled);
    }
    assert_eq!(state(&env, last.id).await, State::Queued, "this edge says to run anyway");
}

pub(super) async fn a_retried_predecessor_is_waited_for_again(env: Env) {
    let first = run(&env).await;
    let other = env.put(draft()).await;
    let dependant =
        put_after(&env, &[(first.id, OnFailure::Cancel), (other.id, OnFailure::Cancel)]).await;
    let job = env.read(first.id).await;
    env.drive(&job, succeed(&job), env.now).await;
    drive(&env, first.id, Event::Retry).await;
    let open = neighbours(&env, dependant.id, Side::Predecessors, true).await;
    assert_eq!(open.len(), 2, "the edge that was met is open again");
    for job in env.claim(env.claim_of(10)).await {
        assert_eq!(state(&env, dependant.id).await, State::Waiting);
        env.drive(&job, succeed(&job), env.now).await;
    }
    assert_eq!(state(&env, dependant.id).await, State::Queued);
}

pub(super) async fn a_retried_dependant_waits_for_a_predecessor_that_lives_and_for_no_other(env: Env) {
    let first = env.put(draft()).await;
    let dependant = put_after(&env, &[(first.id, OnFailure::Cancel)]).await;
    drive(&env, first.id, cancel()).await;
    assert_eq!(state(&env, dependant.id).await, State::Cancelled);
    // The predecessor still has failed: the operator decides.
    let job = env.read(dependant.id).await;
    // It is released in the same transaction, so a repeated call finds another row.
    let answer = env.commit(decide(&job, Event::Retry, env.now)).await;
    assert!(matches!(answer, Committed::Done | Committed::Stale), "{answer:?}");
    assert_eq!(state(&env, dependant.id).await, State::Queued);
    assert_eq!(edge_state(&env, dependant.id).await, EdgeState::Waived);
    drive(&env, dependant.id, cancel()).await;

    let second = put_after(&env, &[(first.id, OnFailure::Cancel)]).await;
    assert_eq!(second.state, State::Cancelled);
    drive(&env, first.id, Event::Retry).await;
    let job = env.read(second.id).await;
    assert_eq!(env.commit(decide(&job, Event::Retry, env.now)).await, Committed::Done);
    let second = env.read(second.id).await;
    assert_eq!((second.state, held(&second)), (State::Waiting, Some(After::Held)));
    let running = env.take().await;
    assert_eq!(running.id, first.id);
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(state(&env, second.id).await, State::Queued);
}

pub(super) async fn many_dependants_are_settled_by_several_transactions(env: Env) {
    let first = run(&env).await;
    let many = SETTLED_MAX + 60;
    let jobs: Vec<_> = (0..many).map(|_| after(&env, &[(first.id, OnFailure::Cancel)])).collect();
    let ids: Vec<_> = jobs.iter().map(|linked| linked.new.job.id).collect();
    assert_eq!(insert(&env, jobs).await, vec![Inserted::Created; many]);
    let first = env.read(first.id).await;
    env.drive(&first, succeed(&first), env.now).await;
    let released = async || env.all().await.iter().filter(|job| job.state == State::Queued).count();
    let at_once = released().await;
    assert!(at_once <= SETTLED_MAX, "one transaction is bounded: {at_once}");
    while env.store.settle_left(env.now).await.expect("settle") {}
    assert_eq!(released().await, many);
    assert_eq!(state(&env, ids[many - 1]).await, State::Queued);
}

pub(super) async fn pruning_spares_a_job_while_one_that_runs_after_it_lives(env: Env) {
    let first = run(&env).await;
    let dependant = put_after(&env, &[(first.id, OnFailure::Cancel)]).await;
    let job = env.read(first.id).await;
    env.drive(&job, succeed(&job), env.now).await;
    let prune = |state| {
        let (queue, finished_before) = (super::env::QUEUE.to_owned(), Some(env.at(1000)));
        Arc::new(Prune { queue, state, finished_before, beyond: None, limit: 100 })
    };
    env.store.prune(prune(State::Completed), env.at(2000)).await.expect("prune");
    assert!(env.find(first.id).await.is_some(), "its output may still be read");
    drive(&env, dependant.id, cancel()).await;
    env.store.prune(prune(State::Completed), env.at(2000)).await.expect("prune");
    assert_eq!(env.find(first.id).await, None);
    env.store.prune(prune(State::Cancelled), env.at(2000)).await.expect("prune");
    assert_eq!(env.find(dependant.id).await, None);
    assert_eq!(neighbours(&env, dependant.id, Side::Predecessors, false).await, [], "its edges go with it");
}

pub(super) async fn edges_come_in_pages_with_the_states_of_their_jobs(env: Env) {
    let jobs = env.put_many([draft(), draft(), draft()]).await;
    let edges: Vec<_> = jobs.iter().map(|job| (job.id, OnFailure::Wait)).collect();
    let dependant = put_after(&env, &edges).await;
    drive(&env, jobs[0].id, cancel()).await;
    let of = EdgesOfJob { job: dependant.id, side: Side::Predecessors, only_open: false };
    let page = env.store.edges(of, None, 2).await.expect("edges");
    assert_eq!(page.iter().map(|one| one.job).collect::<Vec<_>>(), [jobs[0].id, jobs[1].id]);
    let found = page[0].found.clone().expect("it is stored");
    assert_eq!((found.kind.as_str(), found.state), ("work", State::Cancelled));
    let page = env.store.edges(of, Some(jobs[1].id), 2).await.expect("edges");
    assert_eq!(page.iter().map(|one| one.job).collect::<Vec<_>>(), [jobs[2].id]);
    let dependants = neighbours(&env, jobs[1].id, Side::Dependants, true).await;
    assert_eq!(dependants.len(), 1);
    assert_eq!((dependants[0].job, dependants[0].on_failure), (dependant.id, OnFailure::Wait));
}

pub(super) async fn predecessors_that_end_at_the_same_time_leave_no_job_waiting(env: Env) {
    let env = Arc::new(env);
    for _ in 0..5 {
        let jobs = env.put_many((0..6).map(|_| draft())).await;
        let edges: Vec<_> = jobs.iter().map(|job| (job.id, OnFailure::Cancel)).collect();
        let dependant = put_after(&env, &edges).await;
        let running = env.claim(env.claim_of(10)).await;
        assert_eq!(running.len(), 6);
        let mut ends = tokio::task::JoinSet::new();
        for job in running {
            let env = Arc::clone(&env);
            ends.spawn(async move {
                let job = env.read(job.id).await;
                while env.commit(decide(&job, succeed(&job), env.now)).await == Committed::RowLocked {}
            });
        }
        ends.join_all().await;
        assert_eq!(state(&env, dependant.id).await, State::Queued);
        drive(&env, dependant.id, cancel()).await;
    }
}

pub(super) async fn edges_are_imported_with_their_jobs(env: Env) {
    let first = env.new_job(draft()).job;
    let links = |links: Links| Some(Box::new(links));
    let first = JobRow { links: links(Links { followed: true, ..Links::default() }), ..first };
    let held = Links { after: Some(After::Held), ..Links::default() };
    let second = JobRow { state: State::Waiting, links: links(held), ..env.new_job(draft()).job };
    let record = |job: &JobRow, edges| Record { job: job.clone(), attempts: Vec::new(), lines: Vec::new(), edges, journal: None };
    let edges = vec![(edge(first.id, OnFailure::Cancel), EdgeState::Open)];
    env.store.import(Arc::new(vec![record(&second, edges)])).await.expect("import");
    env.store.import(Arc::new(vec![record(&first, Vec::new())])).await.expect("import");
    assert_eq!(edge_state(&env, second.id).await, EdgeState::Open);
    let running = env.take().await;
    assert_eq!(running.id, first.id);
    env.drive(&running, succeed(&running), env.now).await;
    assert_eq!(state(&env, second.id).await, State::Queued);
}

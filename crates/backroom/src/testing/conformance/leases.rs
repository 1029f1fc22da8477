//! Workers outside of the program: claims, leases, ends and reports by calls, over any store.

use std::{sync::Arc, time::Duration};

use backroom_core::{JobId, Json, LeaseId, RetryPolicy, State};
use uuid::Uuid;

use super::env::{Env, KIND, QUEUE, draft};
use crate::{
    ClaimOrder, Commit, LeaseHeld, Leases, Options, QueueOrder, RemoteWorker, Report, RunKey, RunOutcome,
    Settled,
};

const OWNER: &str = "token";

/// Another server over the same store: it remembers nothing.
fn leases(env: &Env) -> Leases {
    Options::new().over(Arc::clone(&env.store)).leases()
}

fn worker(name: &str) -> RemoteWorker {
    RemoteWorker {
        name: name.into(),
        instance: Uuid::from_u128(7),
        owner: OWNER.into(),
        host: "far".into(),
        queues: vec![(QUEUE.into(), 10)],
        kinds: vec![KIND.into()].into(),
        claims: None,
        keys: Vec::new(),
        slots: 10,
        lease: Duration::from_secs(30),
        stopping: false,
        running: 0,
    }
}

fn order(env: &Env, limit: usize) -> ClaimOrder {
    ClaimOrder {
        id: env.ids.lease(),
        is_repeated: false,
        queues: QueueOrder::strict([QUEUE]),
        limit,
        bytes_max: 1 << 20,
        wait: Duration::ZERO,
    }
}

async fn claimed(leases: &Leases, by: &RemoteWorker, order: ClaimOrder) -> Vec<RunKey> {
    let lease = order.id;
    let jobs = leases.claim(by, order).await.expect("claim");
    let mut runs: Vec<_> = jobs.iter().map(|job| RunKey { job: job.id, lease }).collect();
    runs.sort_unstable();
    runs
}

fn done(run: RunKey) -> Commit {
    Commit { run, outcome: RunOutcome::Succeed(Json::parse("[1.0]").expect("JSON")), ran: None }
}

fn failed(run: RunKey) -> Commit {
    let outcome = RunOutcome::Fail {
        error: "no".into(),
        timed_out: false,
        delay: Some(Duration::from_secs(60)),
        retry: RetryPolicy::DEFAULT,
    };
    Commit { run, outcome, ran: None }
}

async fn commit(leases: &Leases, by: &RemoteWorker, commits: Vec<Commit>) -> Vec<Settled> {
    leases.commit(Some((&by.name, &by.owner)), commits).await.expect("commit")
}

async fn state(env: &Env, id: JobId) -> State {
    env.read(id).await.state
}

pub(super) async fn a_remote_worker_is_listed_and_its_jobs_end_as_it_says(env: Env) {
    let jobs = env.put_many(vec![draft(); 6]).await;
    let (leases, by) = (leases(&env), worker("far-1"));
    let runs = claimed(&leases, &by, order(&env, 10)).await;
    assert_eq!(runs.len(), jobs.len());
    let row = env.store.workers(env.now).await.expect("workers").remove(0);
    assert_eq!((row.name.as_str(), row.slots, row.details.owner.as_deref()), ("far-1", 10, Some(OWNER)));
    let outcomes = [
        done(runs[0]),
        failed(runs[1]),
        Commit { outcome: RunOutcome::Discard("bad".into()), ..done(runs[2]) },
        Commit { outcome: RunOutcome::Cancel("unwanted".into()), ..done(runs[3]) },
        Commit { outcome: RunOutcome::Snooze(Duration::from_secs(60)), ..done(runs[4]) },
        Commit { outcome: RunOutcome::Release, ..done(runs[5]) },
    ];
    let states =
        [State::Completed, State::Queued, State::Discarded, State::Cancelled, State::Queued, State::Queued];
    assert_eq!(commit(&leases, &by, outcomes.to_vec()).await, states.map(Settled::Recorded));
    for (run, state) in runs.iter().zip(states) {
        assert_eq!(env.read(run.job).await.state, state);
    }
    let attempts: Vec<_> = runs.iter().map(|run| run.job).collect();
    assert_eq!(env.read(attempts[1]).await.attempt, 1, "a failure is charged");
    assert_eq!(env.read(attempts[4]).await.attempt, 0, "a snooze is not");
    leases.leave(&by).await.expect("leave");
    assert_eq!(env.store.workers(env.now).await.expect("workers"), []);
}

pub(super) async fn a_repeated_claim_answers_with_what_the_lost_one_took_and_takes_nothing_else(env: Env) {
    env.put_many(vec![draft(); 3]).await;
    let (leases_here, by) = (leases(&env), worker("far-1"));
    let lost = order(&env, 2);
    let taken = claimed(&leases_here, &by, lost.clone()).await;
    let repeat = ClaimOrder { is_repeated: true, ..lost };
    assert_eq!(claimed(&leases(&env), &by, repeat.clone()).await, taken);
    let nothing = ClaimOrder { is_repeated: true, ..order(&env, 2) };
    assert_eq!(claimed(&leases_here, &by, nothing).await, [], "the lost claim took nothing");
    let thief = RemoteWorker { instance: Uuid::from_u128(8), ..worker("far-2") };
    assert_eq!(claimed(&leases_here, &thief, repeat).await, [], "the claim of another worker");
}

pub(super) async fn what_runs_under_the_name_of_a_worker_is_found_by_every_server(env: Env) {
    env.put_many(vec![draft(); 3]).await;
    let (first, by, other) = (leases(&env), worker("far-1"), worker("far-2"));
    let runs = claimed(&first, &by, order(&env, 2)).await;
    claimed(&first, &other, order(&env, 1)).await;
    let second = leases(&env);
    let found = second.runs_of(&by.name, 10).await.expect("runs");
    let mut keys: Vec<_> =
        found.iter().filter_map(|job| Some(RunKey { job: job.id, lease: job.lease_id? })).collect();
    keys.sort_unstable();
    assert_eq!(keys, runs);
    assert_eq!(second.runs_of(&by.name, 1).await.expect("runs").len(), 1);
    assert_eq!(second.runs_of("unheard-of", 10).await.expect("runs"), []);
    second.alive(&by).await.expect("it lives, and names no leases");
    assert_eq!(second.status(&runs).await.expect("status"), [LeaseHeld::Held; 2]);
    commit(&second, &by, vec![done(runs[0])]).await;
    assert_eq!(first.status(&runs).await.expect("status"), [LeaseHeld::Lost, LeaseHeld::Held]);
}

pub(super) async fn a_commit_whose_answer_was_lost_is_recorded_once(env: Env) {
    env.put_many(vec![draft(); 3]).await;
    let (first, by) = (leases(&env), worker("far-1"));
    let runs = claimed(&first, &by, order(&env, 3)).await;
    let discard = Commit { outcome: RunOutcome::Discard("bad".into()), ..done(runs[2]) };
    let commits = vec![done(runs[0]), failed(runs[1]), discard];
    let answers = commit(&first, &by, commits.clone()).await;
    assert_eq!(answers, [State::Completed, State::Queued, State::Discarded].map(Settled::Recorded));
    let before: Vec<_> = env.all().await;
    for again in [&first, &leases(&env)] {
        assert_eq!(commit(again, &by, commits.clone()).await, answers);
    }
    assert_eq!(env.all().await, before, "nothing was written again");
    assert_eq!(env.store.attempts(runs[1].job).await.expect("attempts").len(), 1);
}

pub(super) async fn a_lease_gets_one_outcome(env: Env) {
    env.put_many(vec![draft(); 2]).await;
    let (leases_here, by) = (leases(&env), worker("far-1"));
    let runs = claimed(&leases_here, &by, order(&env, 2)).await;
    let both = vec![done(runs[0]), failed(runs[0]), failed(runs[1])];
    let answers = commit(&leases_here, &by, both).await;
    assert_eq!(
        answers,
        [Settled::Recorded(State::Completed), Settled::Lost, Settled::Recorded(State::Queued)]
    );
    for (run, other) in [(runs[0], failed(runs[0])), (runs[1], done(runs[1]))] {
        let before = env.read(run.job).await;
        assert_eq!(commit(&leases(&env), &by, vec![other]).await, [Settled::Lost]);
        assert_eq!(env.read(run.job).await, before);
    }
    let unknown = RunKey { job: env.ids.job(env.now), lease: runs[0].lease };
    assert_eq!(commit(&leases_here, &by, vec![done(unknown)]).await, [Settled::Lost]);
}

pub(super) async fn only_the_worker_that_has_a_lease_uses_it(env: Env) {
    env.put(draft()).await;
    let (leases_here, by) = (leases(&env), worker("far-1"));
    let run = claimed(&leases_here, &by, order(&env, 1)).await[0];
    let other = RemoteWorker { instance: Uuid::from_u128(8), ..worker("far-2") };
    assert_eq!(claimed(&leases_here, &other, order(&env, 1)).await, []);
    let stranger = RemoteWorker { owner: "another token".into(), ..by.clone() };
    for thief in [&other, &stranger] {
        for leases in [&leases_here, &leases(&env)] {
            assert_eq!(commit(leases, thief, vec![done(run)]).await, [Settled::NotYours], "{thief:?}");
            let report = Report { progress: Some((50, "half".into())), ..Report::default() };
            let caller = Some((thief.name.as_str(), thief.owner.as_str()));
            let held = leases.report(caller, vec![(run, report)]).await.expect("report");
            assert_eq!(held, [LeaseHeld::Lost]);
        }
    }
    assert!(leases_here.extend(&stranger, &[run], &[]).await.is_err(), "the worker of another caller");
    let twin = RemoteWorker { instance: Uuid::from_u128(9), ..by.clone() };
    assert!(leases_here.claim(&twin, order(&env, 1)).await.is_err(), "the name is taken");
    let job = env.read(run.job).await;
    assert_eq!((job.state, job.progress), (State::Running, None));
    assert_eq!(commit(&leases_here, &by, vec![done(run)]).await, [Settled::Recorded(State::Completed)]);
}

pub(super) async fn a_run_that_its_worker_does_not_name_twice_is_given_back(env: Env) {
    env.put_many(vec![draft(); 3]).await;
    let (leases, by) = (leases(&env), worker("far-1"));
    let known = claimed(&leases, &by, order(&env, 1)).await[0];
    let open = order(&env, 1);
    let claims = [open.id];
    claimed(&leases, &by, open).await;
    let lost = claimed(&leases, &by, order(&env, 1)).await[0];
    let extend =
        async |runs: &[RunKey], claims: &[LeaseId]| leases.extend(&by, runs, claims).await.expect("extend");
    assert_eq!(extend(&[known], &claims).await.given_back, 0, "it may be under way");
    assert_eq!(state(&env, lost.job).await, State::Running);
    let extended = extend(&[known, lost], &claims).await;
    assert_eq!((extended.leases, extended.given_back), (vec![LeaseHeld::Held, LeaseHeld::Held], 0));
    extend(&[known], &claims).await;
    assert_eq!(extend(&[known], &claims).await.given_back, 1);
    let job = env.read(lost.job).await;
    assert_eq!((job.state, job.attempt, job.crashes), (State::Queued, 0, 0));
    assert_eq!(extend(&[known, lost], &claims).await.leases, [LeaseHeld::Held, LeaseHeld::Lost]);
    assert_eq!(state(&env, known.job).await, State::Running);
}

pub(super) async fn extend_reports_what_was_cancelled(env: Env) {
    env.put_many(vec![draft(); 2]).await;
    let (leases, by) = (leases(&env), worker("far-1"));
    let runs = claimed(&leases, &by, order(&env, 2)).await;
    let backroom = Options::new().over(Arc::clone(&env.store));
    backroom.cancel(runs[1].job).await.expect("cancel");
    let held = leases.extend(&by, &runs, &[]).await.expect("extend").leases;
    assert_eq!(held, [LeaseHeld::Held, LeaseHeld::CancelRequested]);
    // Success wins; any other end of the cancelled job is a cancel.
    assert_eq!(commit(&leases, &by, vec![failed(runs[1])]).await, [Settled::Recorded(State::Cancelled)]);
}

pub(super) async fn a_worker_that_was_declared_dead_is_refused(env: Env) {
    env.put(draft()).await;
    let (leases_here, by) = (leases(&env), worker("far-1"));
    let run = claimed(&leases_here, &by, order(&env, 1)).await[0];
    let beats = env.store.workers(env.now).await.expect("workers")[0].beats;
    assert!(env.store.declare_dead("far-1", Some(beats), env.now).await.expect("declare_dead"));
    let error = leases(&env).extend(&by, &[run], &[]).await.expect_err("a dead worker");
    assert_eq!(error.kind(), crate::ErrorKind::Refused);
    let renamed = RemoteWorker { name: "far-1b".into(), instance: Uuid::from_u128(9), ..by };
    let held = leases_here.extend(&renamed, &[], &[]).await.expect("extend");
    assert_eq!(held.leases, []);
}

pub(super) async fn reports_are_written_once(env: Env) {
    env.put(draft()).await;
    let (leases_here, by) = (leases(&env), worker("far-1"));
    let run = claimed(&leases_here, &by, order(&env, 1)).await[0];
    let caller = Some(("far-1", OWNER));
    let report = Report {
        progress: Some((140, "most".into())),
        lines: vec!["a".into(), "b\n".into()],
        first_line: Some(0),
    };
    for leases in [&leases_here, &leases(&env)] {
        let held = leases.report(caller, vec![(run, report.clone())]).await.expect("report");
        assert_eq!(held, [LeaseHeld::Held]);
    }
    // A caller that does not count lines, with the token of the run.
    let further = Report { lines: vec!["c".into()], ..Report::default() };
    leases(&env).report(None, vec![(run, further)]).await.expect("report");
    let lines = env.store.logs(run.job, 0, 10).await.expect("logs");
    let lines: Vec<_> = lines.iter().map(|line| (line.seq, line.line.as_str())).collect();
    assert_eq!(lines, [(0, "a"), (1, "b"), (2, "c")]);
    let progress = env.read(run.job).await.progress.expect("progress");
    assert_eq!((progress.percent, progress.message.as_str()), (100, "most"));
    let foreign = RunKey { lease: env.ids.lease(), ..run };
    let held = leases_here.report(None, vec![(foreign, Report::default())]).await.expect("report");
    assert_eq!(held, [LeaseHeld::Lost]);
}

//! What the tests of the core share: moments, leases, jobs in every situation, one event of each sort, and the
//! invariants that every stored job obeys.
#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]

use std::time::Duration;

use backroom_core::{
    Amendment, AttemptEnd, Event, Extras, JobId, JobRow, Json, LeaseId, Loss, Part, RetryPolicy, State,
    Suspicion, Timestamp,
    bounds::{self, CRASH_SPAN, MESSAGE_BYTES_MAX, NAME_BYTES_MAX},
    draft::{Draft, When},
    links::Links,
    unique::UniqueWhile,
    workflow,
};
use uuid::Uuid;

/// The lease of the current run, or of the last one.
pub(crate) const LEASE: LeaseId = LeaseId(Uuid::from_u128(0x1ea5e));
/// A lease of some earlier run.
pub(crate) const STALE: LeaseId = LeaseId(Uuid::from_u128(0x57a1e));
/// The lease that a claim brings.
pub(crate) const FRESH: LeaseId = LeaseId(Uuid::from_u128(0xf5e54));

/// The current time in every test.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a moment in 2027")
}

/// `secs` after the current time; before it when negative.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).expect("a moment near 2027")
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text).expect("the test's JSON is valid")
}

pub(crate) fn id() -> JobId {
    JobId(Uuid::from_u128(0x10b))
}

pub(crate) fn draft() -> Draft {
    Draft::new("make_thumbnail", json(r#"{"photo":"a.jpg","width":320}"#))
}

/// A queued job, due a minute ago, that failed once and holds a key while it lives.
pub(crate) fn queued() -> JobRow {
    JobRow {
        id: id(),
        kind: "make_thumbnail".into(),
        queue: "images".into(),
        lane: None,
        priority: 5,
        state: State::Queued,
        args: json("{}"),
        attempt: 1,
        max_attempts: 5,
        crashes: 0,
        scheduled_at: at(-60),
        expires_at: None,
        unique_key: Some("make_thumbnail=a".into()),
        unique_while: Some(UniqueWhile::Live),
        unique_held: true,
        lease_id: Some(LEASE),
        lease_until: None,
        worker: Some("worker-1".into()),
        progress: None,
        output: None,
        reason: None,
        cancel_requested_at: None,
        woken: false,
        created_at: at(-3600),
        started_at: Some(at(-120)),
        finished_at: None,
        tags: vec!["tag".into()],
        extras: Extras::default(),
        revision: 7,
        suspicion: None,
        links: None,
    }
}

/// A job on its second attempt of five under [`LEASE`].
pub(crate) fn running() -> JobRow {
    JobRow {
        state: State::Running,
        attempt: 2,
        lease_until: Some(at(20)),
        started_at: Some(at(-10)),
        ..queued()
    }
}

/// The same job, finished.
pub(crate) fn finished(state: State) -> JobRow {
    JobRow {
        state,
        lease_until: None,
        unique_held: false,
        output: (state == State::Completed).then(|| json("1")),
        reason: (state != State::Completed).then(|| "asked by Bob".into()),
        finished_at: Some(at(-5)),
        ..running()
    }
}

fn cancelling(job: JobRow) -> JobRow {
    JobRow { cancel_requested_at: Some(at(-3)), reason: Some("asked by Bob".into()), ..job }
}

/// The evidence of crashes of which the last was found at `secs`.
pub(crate) fn suspicion(on_trial: u32, alone: u32, secs: i64) -> Suspicion {
    Suspicion { on_trial, alone, at: at(secs), ran_ms: 3000 }
}

/// The same job, of a workflow that has children, or steps that can be undone.
pub(crate) fn tied(job: JobRow) -> JobRow {
    JobRow { links: Some(Box::new(Links { journal: true, ..Links::default() })), ..job }
}

/// Every situation of a job that makes a difference to what an event does.
pub(crate) fn starts() -> Vec<(&'static str, JobRow)> {
    let mut starts = plain_starts();
    starts.extend(tied_starts());
    starts
}

fn tied_starts() -> Vec<(&'static str, JobRow)> {
    let last = || JobRow { attempt: 5, ..running() };
    let prime = || JobRow { crashes: 3, suspicion: Some(suspicion(1, 1, -100)), ..running() };
    let waiting = || JobRow { state: State::Waiting, lease_until: None, attempt: 1, ..running() };
    let mut moved_on = tied(prime());
    workflow::moved_on(&mut moved_on);
    vec![
        ("queued, tied to a journal", tied(queued())),
        ("queued, not due, tied to a journal", tied(JobRow { scheduled_at: at(60), ..queued() })),
        ("queued, tied to a journal, cancel pending", tied(cancelling(queued()))),
        (
            "running, tied to a journal, expires later",
            tied(JobRow { expires_at: Some(at(600)), ..running() }),
        ),
        ("running, tied to a journal, cancel pending", tied(cancelling(running()))),
        (
            "running, tied to a journal, woken, cancel pending",
            tied(cancelling(JobRow { woken: true, ..running() })),
        ),
        ("running, last attempt, tied to a journal", tied(last())),
        ("running, last attempt, tied to a journal, cancel pending", tied(cancelling(last()))),
        ("running, tied to a journal, crashed on trial and alone", tied(prime())),
        ("running, tied to a journal, crashed, moved on since", JobRow { revision: 7, ..moved_on }),
        ("waiting, tied to a journal", tied(waiting())),
        ("waiting, tied to a journal, cancel pending", tied(cancelling(waiting()))),
        ("cancelled, tied to a journal", tied(cancelling(finished(State::Cancelled)))),
        ("discarded, tied to a journal", tied(finished(State::Discarded))),
    ]
}

fn plain_starts() -> Vec<(&'static str, JobRow)> {
    let woken = || JobRow { woken: true, ..running() };
    let last = || JobRow { attempt: 5, ..running() };
    let suspect = || JobRow { crashes: 1, suspicion: Some(suspicion(0, 0, -100)), ..running() };
    let prime = || JobRow { crashes: 3, suspicion: Some(suspicion(1, 1, -100)), ..running() };
    let long_ago = || JobRow { suspicion: Some(suspicion(1, 1, -1_000_000)), ..prime() };
    let waiting = || JobRow { state: State::Waiting, lease_until: None, attempt: 1, ..running() };
    let gone = Some(at(-1));
    vec![
        ("queued, due", queued()),
        ("queued, not due", JobRow { scheduled_at: at(60), ..queued() }),
        ("queued, due, expired", JobRow { expires_at: gone, ..queued() }),
        ("queued, not due, expired", JobRow { scheduled_at: at(60), expires_at: gone, ..queued() }),
        ("running", running()),
        ("running, cancel pending", cancelling(running())),
        ("running, woken", woken()),
        ("running, woken, cancel pending", cancelling(woken())),
        ("running, last attempt", last()),
        ("running, last attempt, cancel pending", cancelling(last())),
        ("running, crashed once", suspect()),
        ("running, crashed on trial and alone", prime()),
        ("running, crashed on trial and alone, cancel pending", cancelling(prime())),
        ("running, crashes long ago", long_ago()),
        ("waiting", waiting()),
        ("waiting, expired", JobRow { expires_at: gone, ..waiting() }),
        (
            "waiting, not begun, not due",
            JobRow { started_at: None, attempt: 0, scheduled_at: at(60), ..waiting() },
        ),
        ("completed", finished(State::Completed)),
        ("cancelled", cancelling(finished(State::Cancelled))),
        ("cancelled, expired", JobRow { expires_at: gone, ..finished(State::Cancelled) }),
        ("discarded, attempts spent", JobRow { attempt: 5, ..finished(State::Discarded) }),
        (
            "discarded, poison",
            JobRow { crashes: 4, suspicion: Some(suspicion(1, 2, -5)), ..finished(State::Discarded) },
        ),
    ]
}

/// The seven reports that a run makes about itself, under `lease`.
pub(crate) fn reports(lease: LeaseId) -> Vec<Event> {
    let retry = RetryPolicy::constant(secs(60)).jitter(0);
    vec![
        Event::Succeed { lease, output: json(r#"{"ok":true}"#) },
        Event::Fail { lease, end: AttemptEnd::Failed, error: "boom".into(), delay: None, retry, chance: 0.5 },
        Event::Discard { lease, reason: "no such picture".into() },
        Event::Stop { lease, reason: "not wanted".into() },
        Event::Snooze { lease, delay: secs(300) },
        Event::Release { lease },
        Event::Suspend { lease },
    ]
}

/// The claim that the tests make.
pub(crate) fn claim() -> Event {
    Event::Claim { lease: FRESH, until: at(30), due: now(), worker: "worker-2".into() }
}

/// The events from outside a run.
pub(crate) fn calls() -> Vec<Event> {
    let cancel = Event::Cancel { reason: "asked by Ann".into() };
    let lost = losses().into_iter().map(Event::LeaseLost);
    let amend = Amendment::check(
        Some(When::In(secs(300))),
        Some(1),
        Some(json(r#"{"width":320}"#)),
        now(),
        bounds::JSON_BYTES_MAX,
    );
    let amend = Event::Amend { to: amend.expect("within the bounds") };
    let give_up = Event::GiveUp { reason: "given up by Ann".into() };
    lost.chain([Event::Wake, cancel, Event::Retry, give_up, Event::Expire, amend]).collect()
}

/// Every way in which a worker loses a job.
pub(crate) fn losses() -> Vec<Loss> {
    let parts = [Part::Alone, Part::OnTrial, Part::Beside, Part::Uncharged, Part::Cleared];
    let died = parts.map(|part| Loss::Died { part, span: CRASH_SPAN });
    let not_begun = [false, true].map(|cleared| Loss::NotBegun { cleared });
    died.into_iter().chain(not_begun).chain([Loss::Outlived { why: "the host was frozen".into() }]).collect()
}

/// What is true of every job between two events. `Err` names what is not.
pub(crate) fn invariants(job: &JobRow) -> Result<(), String> {
    let running = job.state == State::Running;
    let finished = job.state.is_finished();
    let given_up = matches!(job.state, State::Cancelled | State::Discarded);
    let pending = !finished && job.cancel_requested_at.is_some();
    let moments = [
        Some(job.scheduled_at),
        Some(job.created_at),
        job.expires_at,
        job.lease_until,
        job.cancel_requested_at,
        job.started_at,
        job.finished_at,
    ];
    let hold_is_right = match job.unique_while {
        Some(UniqueWhile::Live | UniqueWhile::LiveUntil(_)) => !(job.unique_held && finished),
        Some(UniqueWhile::Queued | UniqueWhile::QueuedUntil(_)) => {
            !job.unique_held || job.state == State::Queued
        }
        Some(UniqueWhile::Until(_)) => true,
        None => !job.unique_held,
    };
    let rules = [
        ("the attempt is within the budget", job.attempt <= job.max_attempts),
        ("a job that may be claimed has an attempt left", {
            !matches!(job.state, State::Queued | State::Waiting) || job.attempt < job.max_attempts
        }),
        ("a running job was charged an attempt", !running || job.attempt > 0),
        ("poison is not live", {
            finished || !job.suspicion.is_some_and(|suspicion| suspicion.is_poison(job.crashes))
        }),
        ("evidence is set exactly if there are crashes", job.suspicion.is_some() == (job.crashes > 0)),
        ("the evidence is of its crashes", {
            job.suspicion.is_none_or(|suspicion| suspicion.on_trial + suspicion.alone <= job.crashes)
        }),
        ("lease_until is set exactly while running", job.lease_until.is_some() == running),
        ("a running job has lease, worker and start", {
            !running || (job.lease_id.is_some() && job.worker.is_some() && job.started_at.is_some())
        }),
        ("finished_at is set exactly when finished", job.finished_at.is_some() == finished),
        ("output is set exactly when completed", job.output.is_some() == (job.state == State::Completed)),
        ("reason is set exactly when given up or asked to stop", {
            job.reason.is_some() == (given_up || pending)
        }),
        ("a reason fits its line", job.reason.as_ref().is_none_or(|r| r.len() <= MESSAGE_BYTES_MAX)),
        ("a live job with a pending cancel runs, or has something to undo", {
            job.cancel_requested_at.is_none() || running || finished || job.undoes()
        }),
        ("a wake is remembered only while running", !job.woken || running),
        ("key and hold come together", job.unique_key.is_some() == job.unique_while.is_some()),
        ("the key is held only while its rule allows", hold_is_right),
        ("moments are whole microseconds", {
            moments.iter().flatten().all(|at| bounds::whole_micros(*at) == *at)
        }),
        ("the priority is a digit", job.priority <= 9),
        ("names fit", job.kind.len() <= NAME_BYTES_MAX && job.queue.len() <= NAME_BYTES_MAX),
    ];
    match rules.iter().find(|(_, holds)| !holds) {
        Some((rule, _)) => Err(format!("broken: {rule}: {job:?}")),
        None => Ok(()),
    }
}

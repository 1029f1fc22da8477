//! No job is ever simply stuck: every situation has reasons that people understand.

mod common;

use std::collections::BTreeSet;

use backroom_core::{
    JobRow, State,
    dependency::WaitsFor,
    explain::{Facts, Reason, RunFacts, WorkerFacts, explain},
};
use common::{at, finished, now, queued, running, starts, suspicion};
use proptest::prelude::*;

fn worker() -> WorkerFacts {
    WorkerFacts {
        name: "worker-1".into(),
        queues: vec![("images".into(), 4)],
        kinds: vec!["make_thumbnail".into()].into(),
        slots: 4,
        running: 1,
        stopping: false,
        breakers: Vec::new(),
        keys: Vec::new(),
    }
}

fn free() -> Facts {
    Facts { workers: vec![worker()], ..Facts::default() }
}

fn served_by(workers: impl Into<Vec<WorkerFacts>>) -> Facts {
    Facts { workers: workers.into(), ..Facts::default() }
}

#[test]
fn a_kind_whose_endpoint_fails_at_every_worker_is_named() {
    let breaker = || ("make_thumbnail".to_owned(), now(), "no connection".to_owned());
    let pausing = WorkerFacts { breakers: vec![breaker()], ..worker() };
    let of_another = WorkerFacts { breakers: vec![("send_mail".into(), now(), "no".into())], ..worker() };
    let reasons = explain(&queued(), &served_by([pausing.clone(), pausing.clone()]), now());
    assert!(matches!(&reasons[..], [Reason::BreakerOpen { workers: 2, .. }]), "{reasons:?}");
    assert!(reasons[0].to_string().contains("no connection"), "{}", reasons[0]);
    for free in [worker(), of_another] {
        assert_eq!(explain(&queued(), &served_by([pausing.clone(), free]), now()), [Reason::Ready]);
    }
}

/// (the case, the job, the facts, the reasons as texts)
fn cases() -> Vec<(&'static str, JobRow, Facts, Vec<&'static str>)> {
    let later = |secs| JobRow { scheduled_at: at(secs), attempt: 0, ..queued() };
    let elsewhere = WorkerFacts { queues: vec![("mail".into(), 4)], ..worker() };
    let unable = WorkerFacts { kinds: vec!["send_mail".into()].into(), ..worker() };
    let full = WorkerFacts { running: 4, ..worker() };
    let leaving = WorkerFacts { stopping: true, ..worker() };
    let ahead = |ahead| Facts { ahead, ..free() };
    let paused = Facts { paused_at: Some(at(-9)), ..free() };
    let ready = "ready; the next free worker claims it";
    vec![
        ("ready", queued(), free(), vec![ready]),
        ("due at this moment", later(0), free(), vec![ready]),
        ("soon", later(119), free(), vec!["due in 119 s"]),
        ("minutes", later(120), free(), vec!["due in 2 min"]),
        ("hours", later(7200), free(), vec!["due in 2 h"]),
        ("days", later(2 * 86_400), free(), vec!["due in 2 d"]),
        (
            "backing off",
            JobRow { attempt: 2, ..later(60) },
            free(),
            vec!["due in 60 s", "attempt 2 of 5 failed; backing off"],
        ),
        ("not due, jobs ahead", later(5), ahead(9), vec!["due in 5 s"]),
        ("paused", queued(), paused, vec!["queue images is paused"]),
        ("no worker", queued(), served_by([]), vec!["no worker is alive"]),
        ("not served", queued(), served_by([elsewhere.clone()]), vec!["no worker serves queue images"]),
        ("not handled", queued(), served_by([unable.clone()]), vec!["no worker handles kind make_thumbnail"]),
        (
            "split duties",
            queued(),
            served_by([elsewhere, unable.clone()]),
            vec!["no worker handles kind make_thumbnail"],
        ),
        (
            "full",
            queued(),
            served_by([full.clone(), unable]),
            vec!["all slots that could run it are taken (4 running on 4 slots)"],
        ),
        (
            "one stopping",
            queued(),
            served_by([leaving.clone()]),
            vec!["the one worker that could run it is stopping"],
        ),
        (
            "all stopping",
            queued(),
            served_by([leaving.clone(), leaving.clone()]),
            vec!["all 2 workers that could run it are stopping"],
        ),
        (
            "one full, one stopping",
            queued(),
            served_by([full.clone(), leaving.clone()]),
            vec!["all slots that could run it are taken (4 running on 4 slots)"],
        ),
        ("one free, one stopping", queued(), served_by([leaving, worker()]), vec![ready]),
        ("one full, one free", queued(), served_by([full, worker()]), vec![ready]),
        ("one ahead", queued(), ahead(1), vec!["behind one due job of its queue"]),
        ("many ahead", queued(), ahead(12), vec!["behind 12 due jobs of its queue"]),
        (
            "crashed once",
            JobRow { crashes: 1, suspicion: Some(suspicion(0, 0, -60)), ..queued() },
            free(),
            vec![
                ready,
                "suspected of killing its worker (1 crash, 0 alone); begins next while no other suspect is on trial",
            ],
        ),
        (
            "crashed twice, on trial",
            JobRow { crashes: 2, suspicion: Some(suspicion(1, 0, -60)), ..queued() },
            served_by([]),
            vec![
                "no worker is alive",
                "suspected of killing its worker (2 crashes, 0 alone); runs alone in its process next",
            ],
        ),
        (
            "crashed alone, not due",
            JobRow { crashes: 3, suspicion: Some(suspicion(1, 1, -1)), scheduled_at: at(20), ..queued() },
            free(),
            vec![
                "due in 20 s",
                "attempt 1 of 5 failed; backing off",
                "suspected of killing its worker (3 crashes, 1 alone); runs alone in its process next, from \
                 2027-01-15T08:00:20Z",
            ],
        ),
        (
            "crashed long ago",
            JobRow { crashes: 3, suspicion: Some(suspicion(1, 1, -1_000_000)), ..queued() },
            free(),
            vec![ready],
        ),
        (
            "expires",
            JobRow { expires_at: Some(at(60)), ..queued() },
            free(),
            vec![ready, "expires at 2027-01-15T08:01:00Z if it has not begun by then"],
        ),
        (
            "expired",
            JobRow { expires_at: Some(now()), ..queued() },
            free(),
            vec!["expired at 2027-01-15T08:00:00Z before it began; it will be cancelled"],
        ),
        ("running", running(), free(), vec!["running on worker worker-1"]),
        (
            "worker is gone",
            running(),
            Facts { holder_is_gone: true, ..free() },
            vec!["worker worker-1 died, or its heartbeat has stopped; another worker takes the job"],
        ),
        (
            "long since claimed by a worker that lives",
            JobRow { lease_until: Some(at(-7)), ..running() },
            free(),
            vec!["running on worker worker-1"],
        ),
        (
            "stopping",
            JobRow { cancel_requested_at: Some(at(-1)), ..running() },
            free(),
            vec!["running on worker worker-1", "a stop was requested; its handler was notified"],
        ),
        (
            "parked",
            JobRow { state: State::Waiting, lease_until: None, ..running() },
            free(),
            vec!["parked until a timer, signal, child or dependency wakes it"],
        ),
        (
            "held",
            JobRow { state: State::Waiting, lease_until: None, ..running() },
            Facts { waits_for: Some(WaitsFor::new(2, Vec::new())), ..free() },
            vec!["waits for 2 jobs"],
        ),
        ("completed", finished(State::Completed), free(), vec!["completed"]),
        ("cancelled", finished(State::Cancelled), free(), vec!["cancelled: asked by Bob"]),
        ("discarded", finished(State::Discarded), free(), vec!["discarded: asked by Bob"]),
    ]
}

/// A new reason fails below as soon as a case reaches it without a place here.
const fn place_of(reason: &Reason) -> usize {
    match reason {
        Reason::Finished { .. } => 0,
        Reason::Running { .. } => 1,
        Reason::WorkerGone { .. } => 2,
        Reason::CancelRequested { .. } => 3,
        Reason::Parked => 4,
        Reason::NotDue { .. } => 5,
        Reason::BacksOff { .. } => 6,
        Reason::Suspected { .. } => 7,
        Reason::Expires { .. } => 8,
        Reason::Expired { .. } => 9,
        Reason::QueuePaused { .. } => 10,
        Reason::NoWorker => 11,
        Reason::NoWorkerForQueue { .. } => 12,
        Reason::NoWorkerForKind { .. } => 13,
        Reason::WorkersStopping { .. } => 14,
        Reason::SlotsTaken { .. } => 15,
        Reason::Behind { .. } => 16,
        Reason::Ready => 17,
        Reason::WaitsFor(_) => 18,
        _ => panic!("a reason has no place here"),
    }
}
const REASONS: usize = 19;

#[test]
fn every_case_is_explained_by_these_texts() {
    for (case, job, facts, expected) in cases() {
        let said: Vec<_> = explain(&job, &facts, now()).iter().map(Reason::to_string).collect();
        assert_eq!(said, expected, "{case}");
    }
}

#[test]
fn every_reason_is_reached_and_survives_json() {
    let mut reached = BTreeSet::new();
    for (_, job, facts, _) in cases() {
        for reason in explain(&job, &facts, now()) {
            reached.insert(place_of(&reason));
            let text = serde_json::to_string(&reason).expect("encodes");
            assert!(text.starts_with(r#"{"reason":""#), "{text}");
            assert_eq!(serde_json::from_str::<Reason>(&text).expect("decodes"), reason);
        }
    }
    assert_eq!(reached, (0..REASONS).collect());
}

proptest! {
    #[test]
    fn every_job_has_reasons_that_fit_its_state(
        start in 0..starts().len(),
        paused: bool,
        ahead in 0u64..3,
        workers in prop::collection::vec(any::<(bool, bool, bool)>().prop_flat_map(|duty| (Just(duty), 0u32..3, 0u32..3)), 0..3),
        offset in -100_000i64..100_000,
    ) {
        let (situation, job) = starts().swap_remove(start);
        let workers = workers.into_iter().map(|((serves, handles, stopping), slots, running)| WorkerFacts {
            queues: vec![(if serves { "images" } else { "mail" }.into(), slots)],
            kinds: vec![if handles { "make_thumbnail" } else { "send_mail" }.into()].into(),
            slots,
            running,
            stopping,
            ..worker()
        });
        let facts = Facts { paused_at: paused.then(now), workers: workers.collect(), ahead, ..Facts::default() };
        let reasons = explain(&job, &facts, at(offset));
        prop_assert!(!reasons.is_empty(), "{situation}");
        prop_assert!(reasons.iter().all(|reason| !reason.to_string().is_empty()));
        // It is ready exactly if a worker with a free slot could claim it now.
        let able = facts.workers.iter().filter(|w| w.queues[0].0 == "images" && w.kinds.includes("make_thumbnail"));
        let free = able.filter(|w| !w.stopping && w.running < w.slots).count() > 0;
        let claim = backroom_core::transition::apply(&job, common::claim(), at(offset));
        let open = claim.is_ok() && !paused && ahead == 0 && free;
        prop_assert_eq!(reasons.contains(&Reason::Ready), open, "{}: {:?}", situation, reasons);
    }
}

/// A job of `queue` that worker-1 runs for so many seconds.
fn run(queue: &str, secs: i64) -> RunFacts {
    let job = queued().id;
    RunFacts { job, kind: "hang".into(), queue: queue.into(), worker: "worker-1".into(), since: at(-secs) }
}

#[test]
fn when_the_slots_of_its_queue_are_taken_the_reason_names_the_jobs_that_hold_them() {
    let shared = WorkerFacts { queues: vec![("images".into(), 2), ("mail".into(), 2)], ..worker() };
    let said = |running: Vec<RunFacts>| {
        let facts = Facts { workers: vec![shared.clone()], running, ..Facts::default() };
        explain(&queued(), &facts, now()).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let ready = ["ready; the next free worker claims it"];
    assert_eq!(said(vec![run("images", 9)]), ready);
    assert_eq!(said(vec![run("images", 9), run("mail", 9)]), ready, "other slots do not count");
    let job = queued().id;
    assert_eq!(
        said(vec![run("images", 60), run("images", 7200), run("images", 1)]),
        [format!(
            "all slots that could run it are taken (2 running on 2 slots); for longest by job {job} (hang) on worker \
             worker-1 for 2 h, then job {job} (hang) on worker worker-1 for 60 s, then job {job} (hang) on worker \
             worker-1 for 1 s"
        )]
    );
    let elsewhere = RunFacts { worker: "worker-2".into(), ..run("images", 60) };
    assert_eq!(said(vec![elsewhere.clone(), elsewhere]), ready, "slots of another worker do not count");
}

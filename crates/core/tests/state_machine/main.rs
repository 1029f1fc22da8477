//! Every situation meets every event, and the answer is what the table says. The same table prints
//! `docs/state-machine.md`, so page and code cannot differ.

#[path = "../common/mod.rs"]
mod common;
mod page;
mod table;
mod words;

use std::collections::BTreeSet;

use backroom_core::{
    Change, Effect, Event, JobRow, Loss, Part, Refused, State, transition::apply, unique::UniqueWhile,
};
use common::{LEASE, STALE, at, calls, claim, finished, invariants, now, queued, reports, running, starts};

const REMEDY: &str =
    "if the change is meant, run: UPDATE_DOCS=1 cargo test -p backroom-core --test state_machine";

/// One event of each sort; reports once under the current lease and once under a stale one.
fn events() -> Vec<(String, Event)> {
    let named = |event: Event| (event.name().to_owned(), event);
    let stale = |event: Event| (format!("{}, stale lease", event.name()), event);
    let current = [claim()].into_iter().chain(reports(LEASE)).map(named);
    current.chain(reports(STALE).into_iter().map(stale)).chain(calls().into_iter().map(named)).collect()
}

/// A new event does not compile here until it has a place, and fails below until `events` makes one.
const fn place_of_event(event: &Event) -> usize {
    match event {
        Event::Claim { .. } => 0,
        Event::Succeed { .. } => 1,
        Event::Fail { .. } => 2,
        Event::Discard { .. } => 3,
        Event::Stop { .. } => 4,
        Event::Snooze { .. } => 5,
        Event::Release { .. } => 6,
        Event::Suspend { .. } => 7,
        Event::LeaseLost(loss) => 8 + place_of_loss(loss),
        Event::Wake => 16,
        Event::Cancel { .. } => 17,
        Event::Retry => 18,
        Event::Expire => 19,
        Event::Amend { .. } => 20,
        Event::GiveUp { .. } => 21,
    }
}
const EVENTS: usize = 22;

const fn place_of_loss(loss: &Loss) -> usize {
    match loss {
        Loss::Died { part: Part::Alone, .. } => 0,
        Loss::Died { part: Part::OnTrial, .. } => 1,
        Loss::Died { part: Part::Beside, .. } => 2,
        Loss::Died { part: Part::Uncharged, .. } => 3,
        Loss::Died { part: Part::Cleared, .. } => 4,
        Loss::NotBegun { cleared: false } => 5,
        Loss::NotBegun { cleared: true } => 6,
        Loss::Outlived { .. } => 7,
    }
}

/// A new state does not compile here until it has a place, and fails below until a situation starts in it.
const fn place_of_state(state: State) -> usize {
    match state {
        State::Queued => 0,
        State::Running => 1,
        State::Waiting => 2,
        State::Completed => 3,
        State::Cancelled => 4,
        State::Discarded => 5,
    }
}
const STATES: usize = 6;

#[test]
fn every_state_and_every_event_is_in_the_table() {
    let states: BTreeSet<_> = State::ALL.into_iter().map(place_of_state).collect();
    assert_eq!(states, (0..STATES).collect(), "State::ALL leaves a state out");
    let started: BTreeSet<_> = starts().iter().map(|(_, job)| place_of_state(job.state)).collect();
    assert_eq!(started, states, "a state has no situation in common::starts");
    let made: BTreeSet<_> = events().iter().map(|(_, event)| place_of_event(event)).collect();
    assert_eq!(made, (0..EVENTS).collect(), "an event is missing in common::reports or common::calls");

    let situations: Vec<_> = starts().into_iter().map(|(name, _)| name).collect();
    let written: Vec<_> = table::rows().map(|(name, _)| *name).collect();
    assert_eq!(written, situations, "the table's situations are not those of common::starts");
    let names: Vec<_> = events().into_iter().map(|(name, _)| name).collect();
    for (situation, lines) in table::rows() {
        let written: Vec<_> = lines.iter().map(|(event, _)| *event).collect();
        assert_eq!(written, names, "the table's events for a job that is {situation:?}");
    }
}

#[test]
fn every_situation_is_one_a_store_may_hold() {
    for (situation, job) in starts() {
        invariants(&job).unwrap_or_else(|broken| panic!("{situation}: {broken}"));
    }
}

#[test]
fn every_event_does_to_every_situation_what_the_table_says() {
    let mut wrong = Vec::new();
    for ((situation, job), (_, lines)) in starts().into_iter().zip(table::rows()) {
        for ((name, event), (_, expected)) in events().into_iter().zip(*lines) {
            let answer = apply(&job, event.clone(), now());
            check_guards(&job, &event, &answer);
            let said = words::of(&job, &event, &answer);
            if said != *expected {
                wrong.push(format!("{situation} + {name}\n  table: {expected}\n  code:  {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of the pairs differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the descriptions leave out because it holds for every change.
fn check_guards(job: &JobRow, event: &Event, answer: &Result<Option<Change>, Refused>) {
    let Ok(Some(change)) = answer else { return };
    assert_eq!(change.id, job.id);
    assert_eq!(sent(change), whom_to_notify(job, change));
    assert_eq!(change.revision_before, job.revision, "the guard is the revision that was read");
    assert_eq!(change.lease, event.lease(), "a report is guarded by its lease, a call by none");
    let mut after = job.clone();
    change.write_to(&mut after);
    assert_eq!(after.revision, job.revision + 1);
    invariants(&after).expect("invariants hold after the change");
    if let Some(attempt) = change.attempt_ended() {
        assert_eq!(attempt.attempt, job.attempt, "the record names the attempt that ended");
        assert_eq!(Some(attempt.lease_id), job.lease_id);
        assert_eq!((&attempt.worker, attempt.started_at), (&job.worker, job.started_at));
        assert_eq!(attempt.ended_at, now());
    }
}

/// The effects that are not stored.
fn sent(change: &Change) -> Vec<Effect> {
    change.effects.iter().filter(|effect| !effect.is_stored()).cloned().collect()
}

/// A job that waits for its turn is for the workers of its queue, and a cancel that is pending for the worker that runs it.
fn whom_to_notify(job: &JobRow, change: &Change) -> Vec<Effect> {
    let queue = Effect::NotifyQueue { queue: job.queue.clone(), due_at: change.scheduled_at };
    match change.state {
        State::Queued => vec![queue],
        State::Running if change.cancel_requested_at.is_some() => vec![Effect::NotifyCancel],
        State::Running | State::Waiting | State::Completed | State::Cancelled | State::Discarded => vec![],
    }
}

/// (how long the key is held, held before, situation, event, held after), each by hand.
const HOLDS: &[(&str, bool, &str, &str, bool)] = &[
    ("live", true, "queued", "claim", true),
    ("live", true, "running", "fail", true),
    ("live", true, "running", "suspend", true),
    ("live", true, "running", "succeed", false),
    ("live", true, "running", "stop", false),
    ("live", true, "running", "discard", false),
    ("live", true, "queued", "cancel", false),
    ("live", true, "queued", "give up by hand", false),
    ("live", false, "completed", "retry by hand", true),
    ("queued", true, "queued", "claim", false),
    ("queued", false, "running", "fail", false),
    ("queued", false, "running", "release", false),
    ("queued", true, "queued", "cancel", false),
    ("queued", false, "completed", "retry by hand", false),
    ("until", true, "queued", "claim", true),
    ("until", true, "running", "succeed", true),
    ("until", true, "running", "discard", true),
    ("until", true, "queued", "cancel", true),
    ("until", true, "queued", "give up by hand", true),
    ("until", true, "completed", "retry by hand", true),
    ("until", false, "queued", "claim", false),
    ("until", false, "completed", "retry by hand", false),
    ("live until", true, "queued", "claim", true),
    ("live until", true, "running", "fail", true),
    ("live until", true, "running", "succeed", false),
    ("live until", true, "queued", "cancel", false),
    ("live until", false, "completed", "retry by hand", true),
    ("live until gone", false, "completed", "retry by hand", false),
    ("queued until", true, "queued", "claim", false),
    ("queued until", true, "queued", "cancel", false),
    ("queued until", false, "completed", "retry by hand", false),
    ("none", false, "queued", "claim", false),
    ("none", false, "completed", "retry by hand", false),
];

#[test]
fn a_key_is_held_as_long_as_its_rule_says() {
    for &(hold, held, situation, event, expected) in HOLDS {
        let unique_while = match hold {
            "live" => Some(UniqueWhile::Live),
            "queued" => Some(UniqueWhile::Queued),
            "until" => Some(UniqueWhile::Until(at(600))),
            "live until" => Some(UniqueWhile::LiveUntil(at(600))),
            "live until gone" => Some(UniqueWhile::LiveUntil(at(-600))),
            "queued until" => Some(UniqueWhile::QueuedUntil(at(600))),
            "none" => None,
            other => panic!("no such hold: {other}"),
        };
        let job = match situation {
            "queued" => queued(),
            "running" => running(),
            "completed" => finished(State::Completed),
            other => panic!("no such situation: {other}"),
        };
        let unique_key = unique_while.map(|_| "make_thumbnail=a".to_owned());
        let job = JobRow { unique_key, unique_while, unique_held: held, ..job };
        let (_, made) = events().into_iter().find(|(name, _)| name == event).expect("the event exists");
        let change = apply(&job, made, now()).expect("taken").expect("something changes");
        assert_eq!(change.unique_held, expected, "held while {hold}, {situation} + {event}");
    }
}

#[test]
fn docs_state_machine_is_what_this_table_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machine.md");
    let printed = page::print();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
            .expect("docs/ is writable");
        std::fs::write(path, &printed).expect("docs/state-machine.md is writable");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == printed, "docs/state-machine.md is not what the state machine does; {REMEDY}");
}

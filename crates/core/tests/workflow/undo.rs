//! Compensations, and what becomes of children when a workflow ends or a branch loses.

use backroom_core::{
    RetryPolicy, Timestamp,
    links::ChildPolicy,
    workflow::{
        Answer, Ask, Attempted, Cause, EntryState, Header, Journal, Next, Phase, Run, ScopeId, Undo, Write,
    },
};

use crate::{
    WORKFLOW, ask,
    common::{at, json, now, secs},
    entries, run_over, step, write,
};

fn compensated() -> Ask {
    Ask::Step { retry: RetryPolicy::constant(secs(7)), max_tries: 1, is_compensated: true }
}

/// Asks for a step and runs it.
fn done(run: &mut Run, name: &str, ask_for: Ask, attempted: Attempted) {
    let ticket = ask(run, name, ask_for);
    let Next::Execute { .. } = run.next(now()) else { panic!("a step is to be run") };
    let writes = run.tried(ticket, attempted, now(), 0.5);
    run.wrote(&writes);
    assert_eq!(run.next(now()), Next::Poll);
    assert!(run.answer(ticket).is_some());
}

fn ok() -> Attempted {
    Attempted::Value(json("1"))
}

/// A workflow that reserved, failed to charge, noted and shipped.
fn four_steps() -> Run {
    let mut run = run_over(Vec::new(), Vec::new());
    done(&mut run, "reserve", compensated(), ok());
    done(&mut run, "charge", compensated(), Attempted::GivenUp("refused".into()));
    done(&mut run, "note", step(), ok());
    done(&mut run, "ship", compensated(), ok());
    run
}

fn cancelled() -> Cause {
    Cause::Cancelled { reason: "not wanted".into() }
}

/// The keys of the compensations, in the order in which they run.
fn undo(run: &mut Run) -> Vec<String> {
    let mut keys = Vec::new();
    while let Next::Undo { key, .. } = run.next(now()) {
        let writes = run.undone(&key, ok(), now(), 0.5);
        run.wrote(&writes);
        keys.push(key);
    }
    keys
}

#[test]
fn what_was_done_is_undone_in_reverse_and_nothing_else() {
    for cause in [cancelled(), Cause::Failed { error: "no".into() }] {
        let mut run = four_steps();
        let writes = run.fail(cause.clone());
        assert_eq!(writes, [Write::Phase(Phase::Undoing { cause: cause.clone() })]);
        run.wrote(&writes);
        assert_eq!(undo(&mut run), ["ship", "reserve"]);
        assert_eq!(run.next(now()), Next::Undone(cause.clone()));
        assert_eq!(run.fail(cause), [], "it has failed already");
    }
}

#[test]
fn a_workflow_that_is_killed_while_it_undoes_goes_on_where_it_was() {
    let mut run = four_steps();
    run.wrote(&run.fail(cancelled()));
    let writes = run.undone("ship", ok(), now(), 0.5);
    run.wrote(&writes);
    let header = Header { phase: Phase::Undoing { cause: cancelled() }, ..Header::begin(None, now()) };
    let journal = Journal::load(header, entries(&run)).unwrap();
    let mut again = Run::begin(WORKFLOW, journal, Vec::new());
    // The code runs up to the place where it was, so that its compensations are known, and no further.
    for name in ["reserve", "charge", "note", "ship"] {
        let asked = if name == "note" { step() } else { compensated() };
        let ticket = ask(&mut again, name, asked);
        assert_eq!(again.next(now()), Next::Poll);
        assert!(again.answer(ticket).is_some());
    }
    ask(&mut again, "mail", step());
    assert_eq!(undo(&mut again), ["reserve"]);
}

#[test]
fn a_compensation_is_tried_until_it_succeeds_and_shows_how_it_stands() {
    let mut run = four_steps();
    run.wrote(&run.fail(cancelled()));
    let mut real = now();
    for tries in 1..40 {
        let Next::Undo { key, try_number } = run.next(real) else { panic!("try {tries}") };
        assert_eq!((key.as_str(), try_number), ("ship", tries), "no other step before it");
        let writes = run.undone(&key, Attempted::GivenUp("busy".into()), real, 0.5);
        run.wrote(&writes);
        let Some(Undo::Trying { due_at, error, .. }) = run.journal().entry("ship").unwrap().undo.clone()
        else {
            panic!("it is tried again")
        };
        assert_eq!(error, "busy");
        assert_eq!(run.next(real), Next::Park { until: Some(due_at) });
        let waits = due_at.duration_since(real);
        assert!(waits.as_secs() <= 3600, "an hour at most: {waits}");
        real = due_at;
    }
    let writes = run.undone("ship", ok(), real, 0.5);
    run.wrote(&writes);
    assert!(matches!(run.next(real), Next::Undo { key, .. } if key == "reserve"));
}

/// A race of a child against a timer; the timer's branch wins.
fn raced(policy: ChildPolicy) -> (Run, Vec<Write>) {
    let mut run = run_over(Vec::new(), Vec::new());
    let both = run.open_scope(ScopeId::ROOT, "first").unwrap();
    let scopes = ["0", "1"].map(|name| run.open_scope(both, name).unwrap());
    let branches = scopes.map(|scope| run.path(scope).to_owned()).to_vec();
    let race = ask(&mut run, "first", Ask::Race { branches });
    let child = run.ask(scopes[0], "ship", Ask::Child { policy }).unwrap();
    let timer = run.ask(scopes[1], "tea", Ask::Sleep(secs(30))).unwrap();
    write(&mut run, 0);
    write(&mut run, 0);
    write(&mut run, 40);
    assert_eq!((run.next(at(40)), run.answer(timer)), (Next::Poll, Some(Answer::Fired)));
    run.won(race, 1);
    let writes = write(&mut run, 40);
    assert_eq!((run.next(at(40)), run.answer(race)), (Next::Poll, Some(Answer::Won { branch: 1 })));
    run.forget(child);
    (run, writes)
}

#[test]
fn the_loser_of_a_race_is_recorded_and_its_child_cancelled_as_the_policy_says() {
    for (policy, is_cancelled) in
        [(ChildPolicy::Cancel, true), (ChildPolicy::CancelOnFailure, true), (ChildPolicy::Abandon, false)]
    {
        let (run, writes) = raced(policy);
        assert_eq!(run.journal().entry("first/0/ship").unwrap().state, EntryState::Lost);
        let cancels = |write: &Write| matches!(write, Write::CancelChild { reason, .. } if reason.contains("lost a race"));
        assert_eq!(writes.iter().any(cancels), is_cancelled, "{policy:?}");
        assert_eq!(run.completed(), [], "a lost child is no child any longer");
    }
}

#[test]
fn a_recorded_winner_counts_although_another_branch_is_ready_in_this_run() {
    let (run, _) = raced(ChildPolicy::Cancel);
    let mut again = run_over(entries(&run), Vec::new());
    let race = ask(&mut again, "first", Ask::Race { branches: Vec::new() });
    again.won(race, 0);
    // The timer is asked for by no code of this deploy.
    assert_eq!((again.next(at(99)), again.answer(race)), (Next::Poll, Some(Answer::Won { branch: 1 })));
}

#[test]
fn children_that_run_at_the_end_go_by_their_policies() {
    let ends = |policy| {
        let mut run = run_over(Vec::new(), Vec::new());
        ask(&mut run, "ship", Ask::Child { policy });
        write(&mut run, 0);
        let cancels =
            |writes: Vec<Write>| writes.iter().any(|write| matches!(write, Write::CancelChild { .. }));
        [
            run.completed(),
            run.continued(),
            run.fail(cancelled()),
            run.fail(Cause::Failed { error: "no".into() }),
        ]
        .map(cancels)
    };
    assert_eq!(ends(ChildPolicy::Cancel), [true; 4]);
    assert_eq!(ends(ChildPolicy::CancelOnFailure), [false, false, true, true]);
    assert_eq!(ends(ChildPolicy::Abandon), [false; 4]);
    let _: Timestamp = now();
}

//! A retry of a workflow that has ended badly: what failed last runs again, and nothing that was done is done twice.

use backroom_core::{
    LeaseId,
    links::{ChildEnd, ChildPolicy},
    workflow::{
        Answer, Arrival, Arrived, Ask, Attempted, Cause, Entry, EntryKind, EntryState, Journal, Next, Phase,
        Resumed, Run, ScopeId, Undo, Write,
    },
};
use uuid::Uuid;

use crate::{
    WORKFLOW, ask,
    common::{LEASE, at, json, now, secs},
    run_over, step, write,
};

fn failed() -> Cause {
    Cause::Failed { error: "no".into() }
}

fn refused() -> Attempted {
    Attempted::GivenUp("refused".into())
}

/// Asks for a step in this scope, runs it and takes its answer.
fn run_step(run: &mut Run, scope: ScopeId, name: &str, attempted: Attempted) -> Answer {
    let ticket = run.ask(scope, name, step()).unwrap();
    let Next::Execute { try_number: 1, .. } = run.next(now()) else { panic!("{name} is to be run") };
    let writes = run.tried(ticket, attempted, now(), 0.5);
    run.wrote(&writes);
    assert_eq!(run.next(now()), Next::Poll);
    run.answer(ticket).unwrap()
}

fn done() -> Attempted {
    Attempted::Value(json("1"))
}

/// The journal of a run that has failed.
fn fail(mut run: Run, cause: Cause) -> Journal {
    let writes = run.fail(cause);
    run.wrote(&writes);
    run.journal().clone()
}

fn keys(resumed: &Resumed) -> Vec<String> {
    let Resumed::Forward(writes) = resumed else { panic!("it goes on forward: {resumed:?}") };
    let key = |write: &Write| match write {
        Write::Entry(Entry { key, state: EntryState::Superseded { .. }, .. }) => Some(key.clone()),
        _ => None,
    };
    writes.iter().filter_map(key).collect()
}

#[test]
fn the_step_that_failed_last_runs_again_and_the_others_answer_from_the_journal() {
    let mut run = run_over(Vec::new(), Vec::new());
    run_step(&mut run, ScopeId::ROOT, "reserve", done());
    run_step(&mut run, ScopeId::ROOT, "charge", refused());
    let mut journal = fail(run, failed());
    assert_eq!(journal.header.failed, ["charge"]);

    assert_eq!(journal.resume(None, &[]), Resumed::AsItWas, "its process died while it undid");
    let resumed = journal.resume(Some(LEASE), &[]);
    assert_eq!(keys(&resumed), ["charge"]);
    assert_eq!((&journal.header.phase, journal.header.resumes), (&Phase::Forward, 1));
    assert!(journal.header.failed.is_empty());
    let error = EntryState::Superseded { error: "refused".into() };
    assert_eq!(journal.entry("charge").unwrap().state, error, "the journal shows why it runs again");

    let mut again = Run::begin(WORKFLOW, journal, Vec::new());
    let reserve = ask(&mut again, "reserve", step());
    assert_eq!((again.next(now()), again.answer(reserve).is_some()), (Next::Poll, true));
    assert_eq!(run_step(&mut again, ScopeId::ROOT, "charge", done()), Answer::Value { value: json("1") });
    assert_eq!(again.journal().answered().count(), 2);

    // The same end is no second retry, and another one is.
    let mut journal = fail(again, failed());
    assert_eq!(journal.resume(Some(LEASE), &[]), Resumed::AsItWas);
    assert_eq!(keys(&journal.resume(Some(LeaseId(Uuid::from_u128(8))), &[])), Vec::<String>::new());
    assert_eq!((journal.header.phase, journal.header.resumes), (Phase::Forward, 2));
}

#[test]
fn a_failure_that_the_code_dealt_with_stays() {
    let mut run = run_over(Vec::new(), Vec::new());
    run_step(&mut run, ScopeId::ROOT, "card", refused());
    run_step(&mut run, ScopeId::ROOT, "invoice", refused());
    let mut journal = fail(run, failed());
    assert_eq!(journal.header.failed, ["invoice"], "the code went on after the first one");
    assert_eq!(keys(&journal.resume(Some(LEASE), &[])), ["invoice"]);
    assert!(matches!(journal.entry("card").unwrap().state, EntryState::Closed { .. }));
}

#[test]
fn what_runs_beside_the_scope_of_a_failure_does_not_depend_on_it() {
    let mut run = run_over(Vec::new(), Vec::new());
    let all = run.open_scope(ScopeId::ROOT, "all").unwrap();
    let [one, other] = ["0", "1"].map(|name| run.open_scope(all, name).unwrap());
    run_step(&mut run, one, "pack", refused());
    run_step(&mut run, other, "print", done());
    run_step(&mut run, other, "fold", refused());
    run_step(&mut run, other, "staple", done());
    let journal = fail(run, failed());
    assert_eq!(journal.header.failed, ["all/0/pack"], "the other branch went on after its own failure");
}

#[test]
fn steps_that_run_side_by_side_do_not_hide_the_failure_of_each_other() {
    let mut run = run_over(Vec::new(), Vec::new());
    let [one, other] = ["pack", "print"].map(|name| ask(&mut run, name, step()));
    for _ in 0..2 {
        assert!(matches!(run.next(now()), Next::Execute { .. }));
    }
    for (ticket, attempted) in [(one, refused()), (other, done())] {
        let writes = run.tried(ticket, attempted, now(), 0.5);
        run.wrote(&writes);
        assert_eq!(run.next(now()), Next::Poll);
        assert!(run.answer(ticket).is_some());
    }
    assert_eq!(fail(run, failed()).header.failed, ["pack"]);
}

#[test]
fn answers_that_the_run_has_not_asked_for_count_as_later() {
    let closed = |key: &str, seq: u64, answer: Answer| Entry {
        key: key.into(),
        kind: EntryKind::Step,
        state: EntryState::Closed { seq, at: now(), answer },
        undo: None,
        began_at: None,
        tries: 1,
    };
    let no = || Answer::Failed { error: "no".into() };
    let yes = || Answer::Value { value: json("1") };
    for (last, failed_keys) in [(no(), vec!["b"]), (yes(), vec![])] {
        // Code of another language asks by key, and only for what it waits for.
        let run = run_over(vec![closed("a", 1, no()), closed("b", 2, last)], Vec::new());
        assert_eq!(fail(run, failed()).header.failed, failed_keys);
    }
}

#[test]
fn a_workflow_that_has_undone_something_ends_again_and_says_why() {
    let compensated = || Ask::Step {
        retry: backroom_core::RetryPolicy::constant(secs(7)),
        max_tries: 1,
        is_compensated: true,
    };
    let mut run = run_over(Vec::new(), Vec::new());
    let ticket = ask(&mut run, "reserve", compensated());
    assert!(matches!(run.next(now()), Next::Execute { .. }));
    let writes = run.tried(ticket, done(), now(), 0.5);
    run.wrote(&writes);
    run.next(now());
    run.answer(ticket);
    let writes = run.fail(failed());
    run.wrote(&writes);
    assert_eq!(run.journal().undone(), None);
    let writes = run.undone("reserve", done(), at(1), 0.5);
    run.wrote(&writes);
    let mut journal = run.journal().clone();
    assert!(matches!(journal.entry("reserve").unwrap().undo, Some(Undo::Done { .. })));
    let Resumed::Undone(Cause::Failed { error }) = journal.clone().resume(Some(LEASE), &[]) else {
        panic!("it cannot go on")
    };
    assert!(error.contains("has undone what it had done (step \"reserve\")"), "{error}");
    assert_eq!(journal.resume(None, &[]), Resumed::AsItWas, "it goes on to undo after a crash");
}

#[test]
fn a_workflow_with_something_left_to_undo_goes_on_with_that_after_a_retry() {
    let closed = |key: &str, seq, undo| Entry {
        key: key.into(),
        kind: EntryKind::Step,
        state: EntryState::Closed { seq, at: now(), answer: Answer::Value { value: json("1") } },
        undo: Some(undo),
        began_at: None,
        tries: 1,
    };
    let trying = Undo::Trying { tries: 3, due_at: at(9), error: "no".into() };
    for left in [Undo::Due, trying] {
        let entries = vec![closed("a", 1, left), closed("b", 2, Undo::Done { at: at(3) })];
        let mut run = run_over(entries, Vec::new());
        let writes = run.fail(failed());
        run.wrote(&writes);
        let mut journal = run.journal().clone();
        assert_eq!(journal.undone(), None);
        assert_eq!(journal.resume(Some(LEASE), &[]), Resumed::AsItWas);
    }
}

#[test]
fn children_that_failed_or_were_cancelled_with_the_workflow_begin_again_as_other_jobs() {
    let mut run = run_over(Vec::new(), Vec::new());
    let policies = [("a", ChildPolicy::Cancel), ("b", ChildPolicy::Abandon), ("c", ChildPolicy::Cancel)];
    let mut jobs = Vec::new();
    for (name, policy) in policies {
        ask(&mut run, name, Ask::Child { policy });
        let writes = write(&mut run, 0);
        let Some(Write::StartChild { job, .. }) = writes.last() else { panic!("a child begins") };
        jobs.push(*job);
    }
    let end = ChildEnd::Discarded { reason: "no paper".into() };
    let what = Arrived::Child { key: "a".into(), job: jobs[0], end };
    run.arrived([Arrival { n: 1, at: now(), what }]);
    write(&mut run, 0);
    assert_eq!(run.next(now()), Next::Poll);
    let mut journal = fail(run, failed());
    let end = ChildEnd::Completed { output: json("1") };
    let what = Arrived::Child { key: "c".into(), job: jobs[2], end };
    let completed = [Arrival { n: 2, at: now(), what }];
    assert_eq!(
        keys(&journal.clone().resume(Some(LEASE), &completed)),
        ["a"],
        "it has completed although it was cancelled"
    );
    let resumed = journal.resume(Some(LEASE), &[]);
    assert_eq!(keys(&resumed), ["a", "c"], "the abandoned one runs on");
    let mut again = Run::begin(WORKFLOW, journal, Vec::new());
    for (name, policy) in policies {
        ask(&mut again, name, Ask::Child { policy });
    }
    let mut begun = Vec::new();
    while let Next::Write(writes) = again.next(now()) {
        begun.extend(writes.iter().filter_map(|write| match write {
            Write::StartChild { key, job, .. } => Some((key.clone(), *job)),
            _ => None,
        }));
        again.wrote(&writes);
    }
    assert_eq!(begun.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert!(begun.iter().all(|(_, job)| !jobs.contains(job)), "a job of the same id has ended");
}

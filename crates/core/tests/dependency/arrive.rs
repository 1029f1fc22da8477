//! Jobs that are enqueued after others, some of which have ended.

use backroom_core::{
    Effect, JobRow, MessageKinds, Reply, State,
    dependency::{Arrival, EDGES_MAX, Edge, EdgeState, OnFailure, PredecessorFacts, arrive},
    links::After,
};

use crate::{common::now, job_id, job_in, new_job};

fn after(predecessors: &[(JobRow, OnFailure)]) -> Arrival {
    let edges: Vec<_> = predecessors
        .iter()
        .map(|(job, on_failure)| Edge { predecessor: job.id, on_failure: *on_failure })
        .collect();
    let rows: Vec<_> = predecessors.iter().map(|(job, _)| Some(PredecessorFacts::of(job))).collect();
    arrive(new_job(99), &edges, &rows, now()).unwrap()
}

#[test]
fn a_job_after_one_predecessor_is_stored_by_the_state_of_the_predecessor() {
    use EdgeState::{Broken, Met, Open};
    use OnFailure::{Cancel, Run, Wait};
    let table = [
        (State::Queued, [(Cancel, Open), (Run, Open), (Wait, Open)]),
        (State::Running, [(Cancel, Open), (Run, Open), (Wait, Open)]),
        (State::Waiting, [(Cancel, Open), (Run, Open), (Wait, Open)]),
        (State::Completed, [(Cancel, Met), (Run, Met), (Wait, Met)]),
        (State::Cancelled, [(Cancel, Broken), (Run, Met), (Wait, Open)]),
        (State::Discarded, [(Cancel, Broken), (Run, Met), (Wait, Open)]),
    ];
    for (predecessor, cases) in table {
        for (policy, edge) in cases {
            let arrival = after(&[(job_in(1, predecessor), policy)]);
            let expected = match edge {
                Open => (State::Waiting, After::Held),
                Met | EdgeState::Waived => (State::Queued, After::Released),
                Broken => (State::Cancelled, After::Held),
            };
            assert_eq!(arrival.edges[0].1, edge, "{predecessor} {policy}");
            assert_eq!(
                (arrival.job.state, arrival.job.links.as_ref().unwrap().after.unwrap()),
                expected,
                "{predecessor} {policy}"
            );
            crate::common::invariants(&arrival.job).unwrap();
        }
    }
}

#[test]
fn one_open_edge_makes_it_wait_and_one_broken_edge_cancels_it() {
    let done = || (job_in(1, State::Completed), OnFailure::Cancel);
    let open = || (job_in(2, State::Running), OnFailure::Cancel);
    let broken = || (job_in(3, State::Discarded), OnFailure::Cancel);
    assert_eq!(after(&[done()]).job.state, State::Queued);
    assert_eq!(after(&[done(), open()]).job.state, State::Waiting);
    let cancelled = after(&[done(), open(), broken()]).job;
    assert_eq!(cancelled.state, State::Cancelled);
    let reason =
        "predecessor 00000000-0000-0000-0000-000000000003 (make_thumbnail) was discarded: asked by Bob";
    assert_eq!(cancelled.reason.as_deref(), Some(reason));
}

#[test]
fn a_cancel_at_arrival_is_reported_to_those_who_asked() {
    let mut job = new_job(99);
    job.extras.reply =
        Some(Reply { to: "replies".into(), correlation_id: None, on: MessageKinds::default() });
    let edge = Edge { predecessor: job_id(1), on_failure: OnFailure::Cancel };
    let failed = job_in(1, State::Cancelled);
    let arrival = arrive(job, &[edge], &[Some(PredecessorFacts::of(&failed))], now()).unwrap();
    assert!(matches!(&arrival.effects[..], [Effect::Message(_)]), "{:?}", arrival.effects);
}

#[test]
fn a_job_without_edges_is_stored_as_it_is() {
    let arrival = arrive(new_job(99), &[], &[], now()).unwrap();
    assert_eq!(arrival.job, new_job(99));
}

#[test]
fn unknown_repeated_and_too_many_predecessors_are_refused() {
    let edge = |n: u128| Edge { predecessor: job_id(n), on_failure: OnFailure::Cancel };
    let refused = |edges: &[Edge], rows: &[Option<&JobRow>]| {
        let rows: Vec<_> = rows.iter().map(|row| row.map(PredecessorFacts::of)).collect();
        arrive(new_job(99), edges, &rows, now()).unwrap_err().to_string()
    };
    let one = job_in(1, State::Running);
    assert!(refused(&[edge(1)], &[None]).contains("does not exist: it was never enqueued, or was deleted"));
    assert!(refused(&[edge(1)], &[]).contains("does not exist"));
    assert!(refused(&[edge(2)], &[Some(&one)]).contains("000002 does not exist"), "another row is no answer");
    assert!(refused(&[edge(1), edge(1)], &[Some(&one), Some(&one)]).contains("is given twice"));
    assert!(refused(&[edge(99)], &[Some(&new_job(99))]).contains("is the job itself"));
    let many: Vec<_> = (1000..1001 + EDGES_MAX as u128).map(edge).collect();
    assert!(refused(&many, &[]).contains("are 10001; a job may have at most 10000"));
}

//! Retries of jobs that were enqueued after others.

use backroom_core::{
    Effect, Refused, State,
    dependency::{
        Edge, EdgeState, EdgesOf, Happening, OnFailure,
        retry::{edge_after_retry, retry},
    },
    links::{After, LinkEffect, Links},
};

use crate::{common::now, job_id, job_in};

#[test]
fn every_edge_of_a_retried_job_takes_the_state_of_the_table() {
    use EdgeState::{Broken, Met, Open, Waived};
    let live = [State::Queued, State::Running, State::Waiting].map(Some);
    let failed = [Some(State::Cancelled), Some(State::Discarded), None];
    for predecessor in live {
        for edge in [Open, Broken] {
            assert_eq!(edge_after_retry(edge, predecessor), Open);
        }
    }
    for predecessor in failed {
        for edge in [Open, Broken] {
            assert_eq!(edge_after_retry(edge, predecessor), Waived);
        }
    }
    for edge in [Open, Broken] {
        assert_eq!(edge_after_retry(edge, Some(State::Completed)), Met);
    }
    for predecessor in State::ALL.map(Some).into_iter().chain([None]) {
        assert_eq!(edge_after_retry(Met, predecessor), Met);
        assert_eq!(edge_after_retry(Waived, predecessor), Waived);
    }
}

fn retried(job: State, edge: EdgeState, predecessor: State) -> backroom_core::dependency::retry::Retried {
    let links = Links { after: Some(After::Held), followed: true, ..Links::default() };
    let edges = [(Edge { predecessor: job_id(1), on_failure: OnFailure::Cancel }, edge)];
    retry(&job_in(2, job), &links, &edges, &[Some(&job_in(1, predecessor))], now()).unwrap().unwrap()
}

#[test]
fn a_job_whose_predecessor_lives_again_waits_for_it() {
    let retried = retried(State::Cancelled, EdgeState::Broken, State::Queued);
    assert_eq!((retried.change.state, retried.links.after), (State::Waiting, Some(After::Held)));
    assert_eq!(retried.edges, [EdgeState::Open]);
    let notifies = |effect: &Effect| matches!(effect, Effect::NotifyQueue { .. });
    assert!(!retried.change.effects.iter().any(notifies), "no worker is to be notified");
    let edges = EdgesOf {
        predecessor: job_id(2),
        kind: "make_thumbnail".into(),
        happening: Happening::Again,
        reason: None,
    };
    assert_eq!(retried.effects, [LinkEffect::Edges(edges)], "those that run after it wait again");
}

#[test]
fn an_operator_may_run_a_job_whose_predecessor_has_failed() {
    let retried = retried(State::Cancelled, EdgeState::Broken, State::Discarded);
    assert_eq!((retried.change.state, retried.links.after), (State::Queued, Some(After::Released)));
    assert_eq!(retried.edges, [EdgeState::Waived]);
}

#[test]
fn a_job_that_ran_does_not_wait_a_second_time() {
    let retried = retried(State::Discarded, EdgeState::Met, State::Running);
    assert_eq!((retried.change.state, retried.edges), (State::Queued, vec![EdgeState::Met]));
}

#[test]
fn a_job_that_waits_cannot_be_retried() {
    let links = Links { after: Some(After::Held), ..Links::default() };
    let refused = retry(&job_in(2, State::Waiting), &links, &[], &[], now());
    assert!(matches!(refused, Err(Refused::NotInState { .. })));
}

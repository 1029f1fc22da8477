//! Retries of jobs that were enqueued after others.

use backroom_core::{
    Change, Effect, Event, JobRow, Refused, State,
    dependency::{
        EdgeState, EdgesOf, Happening,
        retry::{Reopened, edge_after_retry, reopen},
    },
    links::{After, LinkEffect, Links},
    transition::apply,
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

/// The retry of a job with one edge, and what then becomes of the edge.
fn retried(job: State, edge: EdgeState, predecessor: State) -> (Change, Reopened) {
    let links = Links { after: Some(After::Held), followed: true, ..Links::default() };
    let mut job = JobRow { links: Some(Box::new(links)), ..job_in(2, job) };
    let change = apply(&job, Event::Retry, now()).unwrap().unwrap();
    change.write_to(&mut job);
    assert!(job.is_held());
    (change, reopen(&job, &[(edge, Some(predecessor))], now()))
}

fn link_effects(change: &Change) -> Vec<LinkEffect> {
    let of = |effect: &Effect| match effect {
        Effect::Link { effect, .. } => Some((**effect).clone()),
        _ => None,
    };
    change.effects.iter().filter_map(of).collect()
}

#[test]
fn a_job_whose_predecessor_lives_again_waits_for_it() {
    let (change, reopened) = retried(State::Cancelled, EdgeState::Broken, State::Queued);
    assert_eq!(change.state, State::Waiting);
    assert_eq!(reopened, Reopened { edges: vec![EdgeState::Open], change: None });
    let notifies = |effect: &Effect| matches!(effect, Effect::NotifyQueue { .. });
    assert!(!change.effects.iter().any(notifies), "no worker is to be notified");
    let edges = EdgesOf {
        predecessor: job_id(2),
        kind: "make_thumbnail".into(),
        happening: Happening::Again,
        reason: None,
    };
    let expected = [LinkEffect::Reopen(job_id(2)), LinkEffect::Edges(edges)];
    assert_eq!(link_effects(&change), expected, "those that run after it wait again");
}

#[test]
fn an_operator_may_run_a_job_whose_predecessor_has_failed() {
    let (_, reopened) = retried(State::Cancelled, EdgeState::Broken, State::Discarded);
    assert_eq!(reopened.edges, [EdgeState::Waived]);
    let change = reopened.change.unwrap();
    assert_eq!((change.state, change.links.unwrap().after), (State::Queued, Some(After::Released)));
    assert!(change.effects.iter().any(|effect| matches!(effect, Effect::NotifyQueue { .. })));
}

#[test]
fn a_job_that_ran_does_not_wait_a_second_time() {
    let (_, reopened) = retried(State::Discarded, EdgeState::Met, State::Running);
    assert_eq!(reopened.edges, [EdgeState::Met]);
    assert_eq!(reopened.change.unwrap().state, State::Queued);
}

#[test]
fn a_timer_or_a_signal_does_not_wake_a_held_job() {
    let with = |after| {
        let links = Links { after: Some(after), ..Links::default() };
        JobRow { links: Some(Box::new(links)), ..job_in(2, State::Waiting) }
    };
    assert_eq!(apply(&with(After::Held), Event::Wake, now()), Ok(None));
    assert!(apply(&with(After::Released), Event::Wake, now()).unwrap().is_some());
}

#[test]
fn a_job_that_waits_cannot_be_retried() {
    let links = Links { after: Some(After::Held), ..Links::default() };
    let job = JobRow { links: Some(Box::new(links)), ..job_in(2, State::Waiting) };
    assert!(matches!(apply(&job, Event::Retry, now()), Err(Refused::NotInState { .. })));
}

//! A store in memory that carries out what the core decides, in small transactions, with other calls between any two of them.

use std::collections::BTreeMap;

use backroom_core::{
    Change, Effect, Event, JobId, JobRow, LeaseId, State,
    dependency::{
        Edge, EdgeState, EdgesOf, OnFailure, PredecessorFacts, arrive,
        retry::reopen,
        settle::{Dependant, settle},
    },
    links::{After, LinkEffect, effects_of_deletion, follow},
    transition::apply,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    common::{self, LEASE, at, json, now},
    job_id, new_job,
};

#[derive(Default)]
struct Store {
    jobs: BTreeMap<JobId, JobRow>,
    /// By dependant and predecessor.
    edges: BTreeMap<(JobId, JobId), (OnFailure, EdgeState)>,
    /// Edges that are left for the next transactions, each with the last dependant that was settled.
    left: Vec<(EdgesOf, Option<JobId>)>,
    /// Most edges that one transaction settles.
    page: usize,
}

impl Store {
    /// Writes a change, and answers with what follows for other jobs.
    fn write(&mut self, change: &Change) -> Vec<LinkEffect> {
        let job = self.jobs.get_mut(&change.id).unwrap();
        change.write_to(job);
        common::invariants(job).unwrap();
        let of = |effect: &Effect| match effect {
            Effect::Link { effect, .. } => Some((**effect).clone()),
            _ => None,
        };
        change.effects.iter().filter_map(of).collect()
    }

    fn event(&mut self, id: JobId, event: Event) {
        if let Ok(Some(change)) = apply(&self.jobs[&id], event, now()) {
            let effects = self.write(&change);
            self.transaction(effects);
        }
    }

    fn enqueue(&mut self, id: JobId, after: &[(JobId, OnFailure)]) {
        let edges: Vec<_> = after
            .iter()
            .filter(|(predecessor, _)| self.jobs.contains_key(predecessor))
            .map(|(predecessor, on_failure)| Edge { predecessor: *predecessor, on_failure: *on_failure })
            .collect();
        for edge in &edges {
            if let Some(change) = follow(&self.jobs[&edge.predecessor]) {
                self.write(&change);
            }
        }
        let rows: Vec<_> =
            edges.iter().map(|edge| Some(PredecessorFacts::of(&self.jobs[&edge.predecessor]))).collect();
        let new = JobRow { id, ..new_job(0) };
        let Ok(arrival) = arrive(new, &edges, &rows, now()) else { return };
        for (edge, state) in arrival.edges {
            self.edges.insert((id, edge.predecessor), (edge.on_failure, state));
        }
        self.jobs.insert(id, arrival.job);
    }

    fn delete(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.edges.retain(|(dependant, _), _| *dependant != id);
        self.transaction(effects_of_deletion(&job, job.links.as_deref()));
    }

    /// Decides about all edges of a job that was retried.
    fn reopen(&mut self, id: JobId) -> Vec<LinkEffect> {
        let of_job = self.edges.iter().filter(|((dependant, _), _)| *dependant == id);
        let edges: Vec<_> = of_job
            .map(|((_, predecessor), (_, state))| {
                (*predecessor, (*state, self.jobs.get(predecessor).map(|row| row.state)))
            })
            .collect();
        let states: Vec<_> = edges.iter().map(|(_, state)| *state).collect();
        let reopened = reopen(&self.jobs[&id], &states, now());
        for ((predecessor, _), state) in edges.iter().zip(&reopened.edges) {
            self.edges.get_mut(&(id, *predecessor)).unwrap().1 = *state;
        }
        reopened.change.map_or_else(Vec::new, |change| self.write(&change))
    }

    /// The rest of a transaction whose change is written: a page of edges, and what is left as rows.
    fn transaction(&mut self, effects: Vec<LinkEffect>) {
        let mut work = Vec::new();
        for effect in effects {
            match effect {
                LinkEffect::Edges(edges) => work.push((edges, None)),
                LinkEffect::Reopen(id) => assert!(self.reopen(id).is_empty(), "a release has no such effect"),
                LinkEffect::Member(_) | LinkEffect::Child(_) | LinkEffect::Cancel(_) => {}
            }
        }
        let mut budget = self.page;
        while let Some((edges, last)) = work.pop() {
            let from = edges.predecessor;
            let of_predecessor = |(dependant, predecessor): &&(JobId, JobId)| {
                *predecessor == from && last.is_none_or(|last| *dependant > last)
            };
            let Some(key) = self.edges.keys().find(of_predecessor).copied() else { continue };
            if budget == 0 {
                self.left.push((edges, last));
                continue;
            }
            budget -= 1;
            work.push((edges.clone(), Some(key.0)));
            work.extend(self.settle(&edges, key).into_iter().map(|edges| (edges, None)));
        }
    }

    fn settle(&mut self, edges: &EdgesOf, key: (JobId, JobId)) -> Vec<EdgesOf> {
        let (on_failure, edge) = self.edges[&key];
        let others_open = self
            .edges
            .iter()
            .any(|(other, (_, state))| other.0 == key.0 && other.1 != key.1 && *state == EdgeState::Open);
        let job = self.jobs[&key.0].clone();
        let settled = settle(edges, &Dependant { job, on_failure, edge, others_open }, now());
        self.edges.insert(key, (on_failure, settled.edge));
        if (edge, settled.edge) == (EdgeState::Open, EdgeState::Met) {
            let predecessor = self.jobs.get(&key.1);
            let is_over = predecessor.is_none_or(|job| job.state.is_finished());
            assert!(is_over, "an edge is met while its predecessor lives");
        }
        let effects = settled.change.map_or_else(Vec::new, |change| self.write(&change));
        let edges = effects.into_iter().filter_map(|effect| match effect {
            LinkEffect::Edges(edges) => Some(edges),
            LinkEffect::Reopen(_) | LinkEffect::Member(_) | LinkEffect::Child(_) | LinkEffect::Cancel(_) => {
                None
            }
        });
        edges.collect()
    }

    /// A transaction that settles edges that are left.
    fn go_on(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let (edges, last) = self.left.remove(0);
        let edges = edges.read_again(self.jobs.get(&edges.predecessor));
        let mut budget = self.page.max(1);
        let mut last = last;
        let mut follow_up = Vec::new();
        while budget > 0 {
            let of_predecessor = |(dependant, predecessor): &&(JobId, JobId)| {
                *predecessor == edges.predecessor && last.is_none_or(|last| *dependant > last)
            };
            let Some(key) = self.edges.keys().find(of_predecessor).copied() else {
                self.left.extend(follow_up.into_iter().map(|edges| (edges, None)));
                return;
            };
            follow_up.extend(self.settle(&edges, key));
            last = Some(key.0);
            budget -= 1;
        }
        self.left.push((edges, last));
        self.left.extend(follow_up.into_iter().map(|edges| (edges, None)));
    }

    /// What is true once no edge is left to settle.
    fn check(&self) {
        for ((dependant, predecessor), (policy, state)) in &self.edges {
            let job = &self.jobs[dependant];
            let before = self.jobs.get(predecessor).map(|row| row.state);
            let case = format!("{policy}, {state:?}: {before:?} -> {}", job.state);
            match state {
                EdgeState::Open if !job.state.is_finished() => {
                    let after = job.links.as_ref().unwrap().after;
                    assert_eq!((job.state, after), (State::Waiting, Some(After::Held)), "{case}");
                    let is_cause = match before {
                        Some(State::Queued | State::Running | State::Waiting) => true,
                        Some(State::Cancelled | State::Discarded) => *policy == OnFailure::Wait,
                        Some(State::Completed) | None => false,
                    };
                    assert!(is_cause, "what it waits for can still come: {case}");
                }
                EdgeState::Broken => assert!(job.state.is_finished(), "{case}"),
                EdgeState::Open | EdgeState::Met | EdgeState::Waived => {}
            }
        }
        for (id, job) in &self.jobs {
            let waits = |(key, (_, state)): (&(JobId, JobId), &(OnFailure, EdgeState))| {
                key.0 == *id && *state == EdgeState::Open
            };
            if job.state == State::Waiting {
                assert!(self.edges.iter().any(waits), "a job that waits has an open edge");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Enqueue(Vec<(u8, u8)>),
    Claim(u8),
    Complete(u8),
    Discard(u8),
    Cancel(u8),
    Retry(u8),
    Delete(u8),
    GoOn,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => vec((any::<u8>(), any::<u8>()), 0..4).prop_map(Op::Enqueue),
        4 => any::<u8>().prop_map(Op::Claim),
        4 => any::<u8>().prop_map(Op::Complete),
        2 => any::<u8>().prop_map(Op::Discard),
        1 => any::<u8>().prop_map(Op::Cancel),
        3 => any::<u8>().prop_map(Op::Retry),
        1 => any::<u8>().prop_map(Op::Delete),
        3 => Just(Op::GoOn),
    ]
}

fn run(ops: Vec<Op>, page: usize) {
    let mut store = Store { page, ..Store::default() };
    let mut next = 1;
    for op in ops {
        let pick = |store: &Store, n: u8| {
            let ids: Vec<_> = store.jobs.keys().copied().collect();
            (!ids.is_empty()).then(|| ids[usize::from(n) % ids.len()])
        };
        let lease: LeaseId = LEASE;
        match op {
            Op::Enqueue(after) => {
                let after: Vec<_> = after
                    .into_iter()
                    .filter_map(|(n, policy)| {
                        Some((pick(&store, n)?, OnFailure::ALL[usize::from(policy) % 3]))
                    })
                    .collect();
                store.enqueue(job_id(next), &after);
                next += 1;
            }
            Op::Claim(n) => {
                let claim = Event::Claim { lease, until: at(30), due: now(), worker: "w".into() };
                pick(&store, n).into_iter().for_each(|id| store.event(id, claim.clone()));
            }
            Op::Complete(n) => {
                let succeed = Event::Succeed { lease, output: json("1") };
                pick(&store, n).into_iter().for_each(|id| store.event(id, succeed.clone()));
            }
            Op::Discard(n) => {
                let discard = Event::Discard { lease, reason: "broken".into() };
                pick(&store, n).into_iter().for_each(|id| store.event(id, discard.clone()));
            }
            Op::Cancel(n) => {
                let cancel = Event::Cancel { reason: "not wanted".into() };
                pick(&store, n).into_iter().for_each(|id| store.event(id, cancel.clone()));
            }
            Op::Retry(n) => pick(&store, n).into_iter().for_each(|id| store.event(id, Event::Retry)),
            Op::Delete(n) => pick(&store, n).into_iter().for_each(|id| store.delete(id)),
            Op::GoOn => store.go_on(),
        }
    }
    for _ in 0..10_000 {
        store.go_on();
    }
    assert!(store.left.is_empty());
    store.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_job_waits_for_what_cannot_come_and_none_runs_too_early(ops in vec(op(), 1..60), page in 0usize..4) {
        run(ops, page);
    }

    #[test]
    fn the_same_holds_where_each_transaction_settles_all(ops in vec(op(), 1..60)) {
        run(ops, usize::MAX);
    }
}

#[test]
fn a_failure_cancels_a_chain_of_any_length_without_recursion() {
    let mut store = Store { page: 500, ..Store::default() };
    store.enqueue(job_id(1), &[]);
    for n in 2..=3000 {
        store.enqueue(job_id(n), &[(job_id(n - 1), OnFailure::Cancel)]);
    }
    store.event(job_id(1), Event::Cancel { reason: "not wanted".into() });
    let cancelled = |store: &Store| store.jobs.values().filter(|job| job.state == State::Cancelled).count();
    assert_eq!(cancelled(&store), 501, "one transaction is bounded");
    let mut transactions = 0;
    while !store.left.is_empty() {
        store.go_on();
        transactions += 1;
    }
    assert_eq!(cancelled(&store), 3000);
    assert!(transactions <= 3000);
    let reason = store.jobs[&job_id(3000)].reason.clone().unwrap();
    assert!(
        reason.starts_with("predecessor 00000000-0000-0000-0000-000000000bb7 (make_thumbnail) was cancelled"),
        "{reason}"
    );
}

#[test]
fn a_dependant_with_a_later_start_is_released_to_that_start() {
    let mut store = Store { page: 500, ..Store::default() };
    store.enqueue(job_id(1), &[]);
    store.enqueue(job_id(2), &[(job_id(1), OnFailure::Run)]);
    store.jobs.get_mut(&job_id(2)).unwrap().scheduled_at = at(3600);
    store.event(job_id(1), Event::Cancel { reason: "not wanted".into() });
    let job = &store.jobs[&job_id(2)];
    assert_eq!((job.state, job.scheduled_at), (State::Queued, at(3600)));
}

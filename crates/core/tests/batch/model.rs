//! A store in memory with two levels of batches, members that are added, end and are retried in any order.

use std::collections::BTreeMap;

use backroom_core::{
    JobId,
    batch::{Adder, Batch, BatchId, Counts, Gate, MemberState, Stripe, Tally, may_add},
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use crate::{batch_id, common::at, opened};

#[derive(Default)]
struct Store {
    batches: BTreeMap<BatchId, (Batch, Vec<Stripe>)>,
    members: BTreeMap<Uuid, (BatchId, MemberState)>,
    ends: BTreeMap<JobId, String>,
    clock: i64,
    /// How often the row of a batch was written.
    rows_written: usize,
}

impl Store {
    fn now(&mut self) -> backroom_core::Timestamp {
        self.clock += 1;
        at(self.clock)
    }

    /// The end of a transaction: what it does to members goes to stripes, and from those to batches and their parents.
    fn write(&mut self, mut tally: Tally) {
        let now = self.now();
        loop {
            let stripes: Vec<_> = tally.stripes().collect();
            if stripes.is_empty() {
                return;
            }
            tally = Tally::default();
            let mut written: BTreeMap<BatchId, Vec<(Counts, Stripe)>> = BTreeMap::new();
            for (id, at, delta) in stripes {
                let row = &mut self.batches.get_mut(&id).unwrap().1[usize::from(at)];
                let before = row.counts;
                *row = row.after(delta).expect("no count is below zero");
                written.entry(id).or_default().push((before, *row));
            }
            for (id, written) in written {
                if let Some(crossings) = Batch::crossings(written) {
                    let (mut batch, stripes) = self.batches[&id].clone();
                    let counts = Counts::sum(stripes.iter().map(|stripe| stripe.counts));
                    let crossed = batch.crossed(crossings, counts, now).unwrap();
                    self.wrote(batch, stripes, crossed, &mut tally);
                }
            }
        }
    }

    fn wrote(
        &mut self,
        batch: Batch,
        stripes: Vec<Stripe>,
        crossed: backroom_core::batch::Crossed,
        tally: &mut Tally,
    ) {
        self.rows_written += 1;
        for new in &crossed.jobs {
            let name = format!("{} of {}", new.job.kind, batch.id);
            assert_eq!(self.ends.insert(new.job.id, name), None, "an end job is enqueued once");
        }
        if let (Some((from, to)), Some(parent)) = (crossed.in_parent, batch.parent) {
            tally.changed(&self.batches[&parent].0, batch.id.0, from, to);
        }
        self.batches.insert(batch.id, (batch, stripes));
    }

    fn open(&mut self, id: BatchId, parent: Option<BatchId>, stripes: u16) {
        let parent = parent.map(|parent| self.batches[&parent].0.clone());
        let of = opened(stripes);
        let batch = Batch::open(id, parent.as_ref(), stripes, of.opened_at).unwrap();
        let batch = Batch { on_success: of.on_success, on_finish: of.on_finish, ..batch };
        let stripes = vec![Stripe::OPENED; usize::from(stripes)];
        self.batches.insert(id, (batch, stripes));
        if let Some(parent) = parent {
            let mut tally = Tally::default();
            tally.added(&parent, id.0, MemberState::Live);
            self.write(tally);
        }
    }

    fn add(&mut self, id: BatchId, member: Uuid, adder: Adder) {
        let (batch, stripes) = &self.batches[&id];
        let gate = stripes[usize::from(batch.stripe_of(member))].gate;
        if may_add(id, gate, adder).is_ok() {
            let mut tally = Tally::default();
            tally.added(batch, member, MemberState::Live);
            self.members.insert(member, (id, MemberState::Live));
            self.write(tally);
        }
    }

    fn change(&mut self, member: Uuid, to: MemberState) {
        let (id, from) = self.members[&member];
        self.members.insert(member, (id, to));
        let mut tally = Tally::default();
        tally.changed(&self.batches[&id].0, member, from, to);
        self.write(tally);
    }

    fn close(&mut self, id: BatchId) {
        let now = self.now();
        let (batch, mut stripes) = self.batches[&id].clone();
        stripes.iter_mut().for_each(|stripe| stripe.gate = Gate::Closed);
        if let Some(closed) = batch.close(&stripes, now).unwrap() {
            let mut tally = Tally::default();
            self.wrote(closed.batch, stripes, closed.crossed, &mut tally);
            self.write(tally);
        }
    }

    fn children(&self, id: BatchId) -> impl Iterator<Item = &Batch> {
        self.batches.values().map(|(batch, _)| batch).filter(move |batch| batch.parent == Some(id))
    }

    /// Recomputes everything from the members, and compares.
    fn check(&self) {
        for (id, (batch, stripes)) in &self.batches {
            let of_batch = |state| {
                let members = self.members.values().filter(|(of, is)| of == id && *is == state).count();
                (members + self.children(*id).filter(|child| child.as_member() == state).count()) as u64
            };
            let counts = Counts::sum(stripes.iter().map(|stripe| stripe.counts));
            let expected = Counts {
                live: of_batch(MemberState::Live),
                completed: of_batch(MemberState::Completed),
                cancelled: of_batch(MemberState::Cancelled),
                discarded: of_batch(MemberState::Discarded),
            };
            assert_eq!(counts, expected);
            let is_closed = batch.closed_at.is_some();
            assert_eq!(batch.has_ended(), is_closed && counts.live == 0);
            if is_closed {
                let filled = stripes.iter().filter(|stripe| stripe.counts.live > 0).count();
                assert_eq!(usize::from(batch.filled), filled);
            }
            let enqueued = |kind: &str| self.ends.values().any(|name| *name == format!("{kind} of {id}"));
            assert_eq!(enqueued("report"), batch.finished_at.is_some());
            assert_eq!(enqueued("publish"), batch.succeeded_at.is_some());
            if batch.has_ended() {
                assert!(enqueued("report"));
                assert!(enqueued("publish") || counts.failed() > 0);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Add { batch: u8, inside: bool },
    End { member: u8, to: u8 },
    Retry { member: u8 },
    Close { batch: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any::<u8>(), any::<bool>()).prop_map(|(batch, inside)| Op::Add { batch, inside }),
        6 => (any::<u8>(), 0u8..3).prop_map(|(member, to)| Op::End { member, to }),
        2 => any::<u8>().prop_map(|member| Op::Retry { member }),
        1 => any::<u8>().prop_map(|batch| Op::Close { batch }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn counts_and_ends_are_those_of_the_members_after_every_transaction(
        ops in vec(op(), 1..80), stripes in 1u16..5
    ) {
        let mut store = Store::default();
        store.open(batch_id(1), None, stripes);
        store.open(batch_id(2), Some(batch_id(1)), stripes);
        store.open(batch_id(3), Some(batch_id(2)), stripes);
        for (index, op) in ops.into_iter().enumerate() {
            let pick = |n: u8, live: bool| {
                let is = |(_, (_, state)): &(&Uuid, &(BatchId, MemberState))| (*state == MemberState::Live) == live;
                let found: Vec<_> = store.members.iter().filter(is).map(|(member, _)| *member).collect();
                (!found.is_empty()).then(|| found[usize::from(n) % found.len()])
            };
            match op {
                Op::Add { batch, inside } => {
                    let id = batch_id(u128::from(batch % 3) + 1);
                    let runs = store.members.values().any(|is| *is == (id, MemberState::Live));
                    let adder = if inside && runs { Adder::Member } else { Adder::Outside };
                    store.add(id, Uuid::from_u128(1000 + index as u128), adder);
                }
                Op::End { member, to } => {
                    let to = [MemberState::Completed, MemberState::Cancelled, MemberState::Discarded][usize::from(to)];
                    pick(member, true).into_iter().for_each(|member| store.change(member, to));
                }
                Op::Retry { member } => {
                    pick(member, false).into_iter().for_each(|member| store.change(member, MemberState::Live));
                }
                Op::Close { batch } => store.close(batch_id(u128::from(batch % 3) + 1)),
            }
            store.check();
        }
    }
}

#[test]
fn the_row_of_a_batch_is_written_once_for_each_of_its_stripes_and_not_for_each_member() {
    let mut store = Store::default();
    store.open(batch_id(1), None, 16);
    for n in 0..10_000 {
        store.add(batch_id(1), Uuid::from_u128(n), Adder::Outside);
        // Stripes run empty again and again while the batch is open.
        store.change(Uuid::from_u128(n), MemberState::Completed);
    }
    assert_eq!(store.rows_written, 0);
    for n in 10_000..20_000 {
        store.add(batch_id(1), Uuid::from_u128(n), Adder::Outside);
    }
    store.close(batch_id(1));
    for n in 10_000..20_000 {
        store.change(Uuid::from_u128(n), MemberState::Completed);
    }
    assert_eq!(store.rows_written, 1 + 16, "the close, and each stripe that ran empty");
    store.check();
}

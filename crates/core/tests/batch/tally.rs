//! What one transaction does to stripes.

use backroom_core::batch::{Batch, Counts, MemberState, Stripe, Tally};
use uuid::Uuid;

use crate::{batch_id, common::now, opened};

fn member(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

#[test]
fn ids_that_are_chosen_together_spread_over_all_stripes() {
    let batch = opened(16);
    let mut counts = [0; 16];
    for n in 0..1600 {
        counts[usize::from(batch.stripe_of(member(0x0190_7000_8000_0000_0000_0000_0000_0000 + n)))] += 1;
    }
    assert_eq!(counts, [100; 16]);
}

#[test]
fn a_stripe_is_written_once_however_many_members_change() {
    let batch = opened(1);
    let mut tally = Tally::default();
    for n in 0..500 {
        tally.changed(&batch, member(n), MemberState::Live, MemberState::Completed);
    }
    let written: Vec<_> = tally.stripes().collect();
    let [(id, 0, delta)] = written[..] else { panic!("{written:?}") };
    assert_eq!((id, delta.of(MemberState::Live), delta.of(MemberState::Completed)), (batch.id, -500, 500));
}

#[test]
fn what_evens_out_is_not_written() {
    let batch = opened(1);
    let mut tally = Tally::default();
    tally.changed(&batch, member(1), MemberState::Live, MemberState::Discarded);
    tally.changed(&batch, member(1), MemberState::Discarded, MemberState::Live);
    assert_eq!(tally.stripes().count(), 0);
}

#[test]
fn the_deepest_batches_are_locked_first_and_all_in_one_order() {
    let outer = Batch { id: batch_id(1), ..opened(4) };
    let inner = Batch::open(batch_id(2), Some(&outer), 4, now()).unwrap();
    let mut tally = Tally::default();
    for n in [3, 1, 0, 2] {
        tally.added(&outer, member(n), MemberState::Live);
        tally.added(&inner, member(n), MemberState::Live);
    }
    let order: Vec<_> = tally.stripes().map(|(batch, stripe, _)| (batch, stripe)).collect();
    let expected = [inner.id, outer.id].map(|id| (0..4).map(move |stripe| (id, stripe)));
    assert_eq!(order, expected.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn a_stripe_that_would_count_below_zero_is_damage() {
    let batch = opened(1);
    let mut tally = Tally::default();
    tally.changed(&batch, member(1), MemberState::Live, MemberState::Completed);
    let delta = tally.stripes().next().unwrap().2;
    assert_eq!(Stripe::OPENED.after(delta), None);
    let counts = Counts { live: 1, ..Counts::default() };
    let after = Stripe { counts, ..Stripe::OPENED }.after(delta).unwrap();
    assert_eq!(after.counts, Counts { completed: 1, ..Counts::default() });
}

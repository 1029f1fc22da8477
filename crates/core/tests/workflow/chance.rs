//! Random numbers and ids that every run gets again.

use std::collections::BTreeSet;

use backroom_core::{
    JobId,
    workflow::{
        Header,
        chance::{chance, random, uuid},
    },
};
use uuid::Uuid;

use crate::{WORKFLOW, common::now};

#[test]
fn the_same_key_has_the_same_chance_and_another_key_workflow_or_generation_has_another() {
    let header = Header::begin(None, now());
    let next = header.next_generation(None, now());
    let other = JobId(Uuid::from_u128(1));
    let draws = [
        random(WORKFLOW, &header, "a"),
        random(WORKFLOW, &header, "b"),
        random(WORKFLOW, &next, "a"),
        random(other, &header, "a"),
    ];
    assert_eq!(BTreeSet::from(draws).len(), 4);
    assert_eq!(random(WORKFLOW, &header, "a"), draws[0]);
    assert_eq!(uuid(WORKFLOW, &header, "a"), uuid(WORKFLOW, &header, "a"));
    assert_eq!(uuid(WORKFLOW, &header, "a").get_version_num(), 4);
}

#[test]
fn every_bit_of_a_random_number_varies_and_chances_are_even() {
    let header = Header::begin(None, now());
    let mut ones = [0; 64];
    let mut low = 0;
    for n in 0..2000 {
        let key = n.to_string();
        let drawn = random(WORKFLOW, &header, &key);
        (0..64).for_each(|bit| ones[bit] += (drawn >> bit) & 1);
        let chance = chance(WORKFLOW, &header, &key);
        assert!((0.0..1.0).contains(&chance));
        low += u32::from(chance < 0.5);
    }
    assert!(ones.iter().all(|ones| (800..1200).contains(ones)), "{ones:?}");
    assert!((800..1200).contains(&low), "{low}");
}

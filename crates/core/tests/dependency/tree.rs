//! The order of an act on a whole sub-tree.

use backroom_core::{
    JobId,
    dependency::{
        NODES_MAX,
        tree::{TreeAct, TreeWalk},
    },
};
use proptest::{collection::vec, prelude::*};

use crate::job_id;

/// Walks edges (predecessor, dependant) from job 0, in pages of two.
fn walk(edges: &[(u128, u128)]) -> TreeWalk {
    let mut walk = TreeWalk::new(job_id(0));
    while let Some(job) = walk.next_job() {
        let after: Vec<JobId> =
            edges.iter().filter(|(from, _)| job_id(*from) == job).map(|(_, to)| job_id(*to)).collect();
        let mut pages = after.chunks(2).peekable();
        if pages.peek().is_none() {
            walk.found(&[], true).unwrap();
        }
        while let Some(page) = pages.next() {
            walk.found(page, pages.peek().is_none()).unwrap();
        }
    }
    walk
}

#[test]
fn a_retry_goes_from_predecessors_to_dependants_and_a_cancel_the_other_way() {
    // The short path to 3 is found before the long one.
    let walk = walk(&[(0, 3), (0, 1), (1, 2), (2, 3)]);
    assert_eq!(walk.order(TreeAct::Retry), [0, 1, 2, 3].map(job_id));
    assert_eq!(walk.order(TreeAct::Cancel), [3, 2, 1, 0].map(job_id));
    assert_eq!(walk.order(TreeAct::Delete), walk.order(TreeAct::Cancel));
}

#[test]
fn a_tree_that_is_too_large_is_refused() {
    let mut walk = TreeWalk::new(job_id(0));
    let dependants: Vec<_> = (1..=NODES_MAX as u128).map(job_id).collect();
    let refused = walk.found(&dependants, true).unwrap_err();
    assert!(refused.to_string().contains("has more than 100000 jobs"), "{refused}");
}

proptest! {
    #[test]
    fn each_job_stands_once_and_behind_all_of_its_predecessors(
        edges in vec((0u128..30, 1u128..30), 0..90)
    ) {
        let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from < to).collect();
        let order = walk(&edges).order(TreeAct::Retry);
        let place = |n: u128| order.iter().position(|job| *job == job_id(n));
        for (from, to) in edges {
            if let Some(from) = place(from) {
                prop_assert!(from < place(to).unwrap());
            }
        }
        let mut once = order.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), order.len());
    }
}

//! Random programs have the result of the reference, however often and wherever their runs are killed.

use crate::{
    journaled,
    program::{Dice, Node, random, signals},
    reference,
};

#[test]
fn a_thousand_random_programs_have_the_result_of_the_reference_however_often_they_are_killed() {
    let (mut kills, mut ended, mut failed, mut undone, mut stuck) = (0, 0, 0, 0, 0);
    for seed in 0..1000 {
        let mut dice = Dice(seed);
        let program = random(&mut dice);
        let signals = signals(&mut dice);
        let expected = reference::interpret(&program, &signals);
        for (round, kills_max) in [0, 3, 1000].into_iter().enumerate() {
            let (outcome, died) =
                journaled::interpret(&program, &signals, seed * 10 + round as u64, kills_max);
            assert_eq!(outcome, expected, "seed {seed}, at most {kills_max} kills: {program:#?} {signals:?}");
            kills += died;
        }
        undone += expected.undone.len();
        match expected.end {
            Some(Ok(_)) => ended += 1,
            Some(Err(_)) => failed += 1,
            None => stuck += 1,
        }
    }
    // The programs are of every sort.
    assert!(kills > 10_000, "{kills}");
    assert!(ended > 300 && failed > 50 && undone > 50 && stuck > 50, "{ended} {failed} {undone} {stuck}");
}

#[test]
fn a_cancel_at_any_write_undoes_what_was_recorded_as_done_in_reverse_and_nothing_else() {
    let mut undone = 0;
    for seed in 0..500 {
        let mut dice = Dice(seed);
        let program = random(&mut dice);
        let after = u32::try_from(dice.below(20)).unwrap();
        let (done, undid) = journaled::cancel(&program, seed, after);
        let in_reverse: Vec<_> = done.into_iter().rev().collect();
        assert_eq!(undid, in_reverse, "seed {seed}, after {after} writes");
        undone += undid.len();
    }
    assert!(undone > 80, "{undone}");
}

/// How many statements of each sort there are.
fn count(nodes: &[Node], counts: &mut [u32; 6]) {
    for node in nodes {
        match node {
            Node::Step { .. } => counts[0] += 1,
            Node::Sleep { .. } | Node::Now { .. } | Node::Random { .. } | Node::Patch { .. } => {
                counts[1] += 1
            }
            Node::Wait { .. } => counts[2] += 1,
            Node::Child { .. } => counts[3] += 1,
            Node::Join { branches, .. } => {
                counts[4] += 1;
                branches.iter().for_each(|branch| count(branch, counts));
            }
            Node::Race { branches, .. } => {
                counts[5] += 1;
                branches.iter().for_each(|branch| count(branch, counts));
            }
            Node::Loop { body, .. } => count(body, counts),
            Node::IfEven { then, other } => {
                count(then, counts);
                count(other, counts);
            }
        }
    }
}

#[test]
fn the_random_programs_use_everything() {
    let mut counts = [0; 6];
    (0..1000).for_each(|seed| count(&random(&mut Dice(seed)), &mut counts));
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}

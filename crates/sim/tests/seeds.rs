//! A bounded number of seeds, and the proof that a seed decides everything.

use backroom_sim::{On, Weather, model::Tally, play, play_on};

#[test]
fn seeds_of_the_first_half_break_nothing() {
    (0..SEEDS / 2).for_each(|seed| play(seed).unwrap().expect_right());
}

#[test]
fn seeds_of_the_second_half_break_nothing() {
    (SEEDS / 2..SEEDS).for_each(|seed| play(seed).unwrap().expect_right());
}

#[test]
fn seeds_on_a_sqlite_file_break_nothing() {
    (0..SEEDS_ON_SQLITE).for_each(|seed| play_on(seed, On::Sqlite, Weather::Any).unwrap().expect_right());
}

/// No crash is counted against a job whose worker never died and whose outage ended.
#[test]
fn no_job_is_rescued_when_only_the_store_was_away() {
    (0..SEEDS_OF_OUTAGES)
        .for_each(|seed| play_on(seed, On::Memory, Weather::Outages).unwrap().expect_right());
}

/// No clock that is set, stands still or runs away lets a living worker's job be rescued, or keeps a dead one's.
#[test]
fn no_clock_rescues_the_living_or_keeps_the_dead() {
    (0..SEEDS_OF_CLOCKS).for_each(|seed| play_on(seed, On::Memory, Weather::Clocks).unwrap().expect_right());
}

/// A job that takes its process down is found, and no other job is discarded for it.
#[test]
fn no_innocent_job_is_discarded_as_poison() {
    (0..SEEDS_OF_KILLERS)
        .for_each(|seed| play_on(seed, On::Memory, Weather::Killers).unwrap().expect_right());
}

/// Machines die, freeze, lose calls and have clocks that jump by days: each occurrence fires once, none before its machine's clock has
/// shown its time, and each is accounted for.
#[test]
fn each_occurrence_of_a_schedule_fires_once_or_has_a_reason() {
    (0..SEEDS_OF_SCHEDULES)
        .for_each(|seed| play_on(seed, On::Memory, Weather::Schedules).unwrap().expect_right());
}

/// Workflows with signals and children, graphs and batches, on machines that die, freeze and lose calls: each run sees what the runs
/// before it saw, each answer, signal, compensation and end job counts once, and all of it ends.
#[test]
fn work_made_of_jobs_ends_as_it_must() {
    let mut sum = (0, 0, 0);
    for seed in 0..SEEDS_OF_TIES {
        let played = play_on(seed, On::Memory, Weather::Ties).unwrap();
        played.expect_right();
        let Tally { flows, undone, batches, .. } = played.tally;
        sum = (sum.0 + flows, sum.1 + undone, sum.2 + batches);
    }
    // Something happened.
    assert!(sum.0 > 3 * SEEDS_OF_TIES && sum.1 > SEEDS_OF_TIES / 2 && sum.2 > SEEDS_OF_TIES, "{sum:?}");
}

#[test]
fn work_made_of_jobs_ends_as_it_must_on_a_sqlite_file() {
    (0..SEEDS_OF_TIES_ON_SQLITE)
        .for_each(|seed| play_on(seed, On::Sqlite, Weather::Ties).unwrap().expect_right());
}

#[test]
fn the_same_seed_plays_the_same() {
    for seed in [3, 17, 40] {
        let (first, second) = (play(seed).unwrap(), play(seed).unwrap());
        let differs = first.trace.iter().zip(&second.trace).position(|(first, second)| first != second);
        if let Some(line) = differs {
            panic!("seed {seed}, line {line}:\n{}\n{}", first.trace[line], second.trace[line]);
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}

/// So many take about twenty seconds on two cores; `cargo run -p backroom-sim` plays more.
const SEEDS: u64 = 90;
/// About ten seconds.
const SEEDS_OF_OUTAGES: u64 = 40;
/// About fifteen seconds.
const SEEDS_OF_SCHEDULES: u64 = 15;
/// About ten seconds.
const SEEDS_OF_CLOCKS: u64 = 40;
/// About ten seconds.
const SEEDS_OF_KILLERS: u64 = 40;
/// About five seconds.
const SEEDS_OF_TIES: u64 = 40;
const SEEDS_OF_TIES_ON_SQLITE: u64 = 3;
/// Each takes several times as long as one in memory.
const SEEDS_ON_SQLITE: u64 = 8;

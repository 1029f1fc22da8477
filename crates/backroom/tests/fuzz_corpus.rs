//! Every parser that meets the outside takes the seeds of its fuzz target, and inputs made from them, without breaking a rule.
//!
//! `cargo xtask fuzz` searches longer, and guided by what the code does. `BACKROOM_FUZZ_ROUNDS` sets how many inputs each target gets here.
#![cfg(feature = "testing")]

use std::path::Path;

use backroom::testing::fuzz::TARGETS;
use backroom::testing::fuzz::over_corpus;

/// Inputs of each target.
const ROUNDS: u64 = 500;
/// A failure is the same at each run.
const SEED: u64 = 20_261_127;

#[test]
fn every_target_takes_its_seeds_and_what_is_made_from_them() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"));
    let rounds = std::env::var("BACKROOM_FUZZ_ROUNDS").ok().map(|text| text.parse().expect("a number"));
    for target in TARGETS {
        over_corpus(*target, folder, rounds.unwrap_or(ROUNDS), SEED);
    }
}

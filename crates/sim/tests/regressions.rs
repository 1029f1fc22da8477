//! Seeds that once failed, by the name of the bug they found.
//!
//! A seed means what it means only as long as nothing new is drawn from it. When the draws change, undo the fix named
//! in the history, let `cargo run -p backroom-sim -- --keep-going` find new seeds, and put them here.

use backroom_sim::play;

/// A job was rescued and claimed again by the worker whose handler still ran it: the old run was forgotten, and its
/// handler never asked to stop.
#[test]
fn a_handler_whose_job_comes_back_to_its_worker_is_told_to_stop() {
    [12, 31, 52].into_iter().for_each(|seed| play(seed).unwrap().expect_right());
}

/// The store named an expired job as the next due one until upkeep cancelled it; the worker claimed in vain every
/// 200 µs.
#[test]
fn an_expired_job_does_not_make_workers_claim_without_end() {
    [11, 13, 14].into_iter().for_each(|seed| play(seed).unwrap().expect_right());
}

/// The first mending of the busy loop backed off so far that a job behind the expired one was taken seconds late.
#[test]
fn a_job_behind_an_expired_one_is_taken_when_it_is_due() {
    [26, 53].into_iter().for_each(|seed| play(seed).unwrap().expect_right());
}

/// A claim that was the first one to fail while its worker stopped was not asked for again; what it had taken lay under
/// a lease that no worker renewed, and counted as a crash.
#[test]
fn a_worker_that_stopped_leaves_nothing_running_although_the_answer_of_a_claim_was_lost() {
    [71, 120].into_iter().for_each(|seed| play(seed).unwrap().expect_right());
}

/// A stop that gave up its handlers also gave up a claim whose answer was lost, and said that all was well. The job stayed
/// running under a lease that no worker renewed.
#[test]
fn a_stop_that_abandons_handlers_still_recovers_a_lost_claim() {
    play(363).unwrap().expect_right();
}

/// The invariant did not know a worker that had a new name, and so expected claims beside a suspect that ran alone.
#[test]
fn a_renamed_worker_claims_nothing_beside_a_suspect_that_runs_alone() {
    play(141).unwrap().expect_right();
}

/// The simulation ended just before a job was due that a clock had put off, while that clock was still ahead. The end counted such
/// jobs as waited for, and then as not finished.
#[test]
fn a_job_that_a_clock_puts_off_until_the_end_is_not_expected_before() {
    [1289, 1292].into_iter().for_each(|seed| play(seed).unwrap().expect_right());
}

/// A machine froze before its enqueue was answered. Another client learned of the job as the holder of a unique key, and deleted
/// it. When the machine went on, it repeated its enqueue and stored the job again, rightly: its enqueue was not over.
#[test]
fn an_enqueue_that_is_not_answered_yet_may_store_a_job_again_that_another_client_deleted() {
    play(1148).unwrap().expect_right();
}

//! What every store must do, as functions: one per behaviour, one file per family.
//!
//! Whoever writes a store runs these over it, from a test with a multi-threaded runtime:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::sync::Arc;
//!
//! use backroom::{
//!     store::{MemoryStore, Store},
//!     testing::conformance,
//! };
//!
//! let fresh = async || Arc::new(MemoryStore::new()) as Arc<dyn Store>;
//! conformance::conforms(fresh).await;
//! # }
//! ```
//!
//! [`conforms`] runs each behaviour once. [`conforms_under_faults`] runs each again and again through
//! [`Observed`](crate::store::Observed) over [`Faults`](super::faults::Faults), losing the first call, then the
//! second, until none is lost; the assertions are the same, so it shows that every verb is safe to repeat.
//!
//! A behaviour that asserts on an answer asserts on one that a repeated call gives too. Three answers are not of
//! that kind, because they count what this very call did: those of `prune`, `delete` and `import`. Behaviours look
//! at the rows these leave instead.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::store::Store;

mod env;
mod run;

use env::Env;
pub use run::{conforms, conforms_under_faults};

/// One thing that every store must do.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// Its family and a sentence: `claim::skips_paused_queues`.
    pub name: &'static str,
    run: fn(Env) -> BoxFuture<'static, ()>,
}

impl Behaviour {
    /// Runs over `store`, which must be empty, and panics if the store does not behave.
    pub async fn run(&self, store: Arc<dyn Store>) {
        (self.run)(Env::new(store)).await;
    }
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Names every family and every behaviour in it. A behaviour that is missing here is dead code, and the compiler
/// says so.
macro_rules! behaviours {
    ($($family:ident { $($name:ident)+ })+) => {
        $(mod $family;)+

        /// Everything that every store must do.
        pub const BEHAVIOURS: &[Behaviour] = &[
            $($(Behaviour {
                name: concat!(stringify!($family), "::", stringify!($name)),
                run: |env| Box::pin($family::$name(env)),
            },)+)+
        ];
    };
}

behaviours! {
    insert {
        every_optional_field_unset_comes_back_as_it_was
        every_field_set_comes_back_as_it_was
        a_batch_is_stored_whole_and_answered_in_order
        an_empty_batch_is_answered_with_nothing
        a_repeated_insert_is_the_same_job
        a_repeated_insert_leaves_a_job_that_moved_on_alone
        one_id_twice_in_a_batch_is_one_job
    }
    unique {
        keep_answers_with_the_holder
        reject_names_the_holder
        replace_gives_the_content_to_the_holder
        replace_is_refused_once_the_holder_runs
        the_second_of_one_batch_meets_the_first
        the_same_key_of_another_kind_is_another_key
        a_key_held_while_live_is_free_once_the_job_is_finished
        a_key_held_while_live_is_held_while_it_runs_and_waits
        a_key_held_while_queued_is_free_once_the_job_is_claimed
        a_key_held_for_a_window_outlives_the_job
        a_key_held_for_a_window_is_free_after_it
        a_decision_from_before_the_key_was_taken_is_stale
        a_deleted_job_lets_go_of_its_key
        a_retried_job_takes_its_key_again
        a_retried_job_cannot_take_a_key_that_another_holds
        many_concurrent_inserts_of_one_key_create_exactly_one
    }
    claim {
        every_claimed_row_is_what_the_state_machine_says
        takes_due_jobs_only
        takes_the_kinds_asked_for_only
        takes_from_the_queues_asked_for_only
        skips_paused_queues
        skips_jobs_past_their_expiry
        takes_no_more_than_the_limit
        takes_no_more_from_a_queue_than_its_share
        serves_queues_in_the_order_of_the_shares
        fills_up_from_a_queue_named_again
        asks_for_nothing_and_gets_nothing
        a_claimed_job_is_not_claimed_again
        a_repeated_claim_answers_with_what_the_lost_one_took
        a_repeated_claim_that_lost_nothing_takes_jobs
        concurrent_claims_never_share_a_job
    }
    priority_and_order {
        smaller_priorities_are_served_first
        jobs_of_one_priority_are_served_by_their_time
        jobs_of_one_time_are_served_by_their_id
        a_full_limit_leaves_the_last_in_line
        ahead_counts_due_jobs_served_before
        ahead_counts_no_farther_than_its_limit
    }
    commit {
        every_end_of_a_run_is_written_as_decided
        every_event_from_outside_a_run_is_written_as_decided
        a_repeated_change_is_done_and_written_once
        each_change_is_judged_alone
        of_two_decisions_on_one_revision_the_first_is_written
        a_change_of_a_job_that_is_gone_is_stale
        an_unsuccessful_attempt_leaves_a_record
        attempts_come_back_the_oldest_first
        an_empty_batch_of_changes_is_answered_with_nothing
    }
    fencing {
        a_report_from_a_lease_that_was_rescued_is_stale
        a_report_from_a_lease_that_was_released_is_stale
        a_report_under_a_foreign_lease_is_stale
        a_rescue_that_lost_to_the_report_is_stale
        commits_racing_with_a_rescue_are_accepted_once
    }
}

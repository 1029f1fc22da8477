//! What every store must do, as functions: one per behaviour, one file per family.
//!
//! The author of a store runs all three over it, from a test with a multi-threaded runtime:
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
//! [`is_atomic_when_calls_are_lost`] loses and abandons calls that are not repeated, and checks the rows that they left.
//!
//! A behaviour that asserts on an answer asserts on one that a repeated call gives too. Three answers are not of
//! that kind, because they count what this very call did: those of `prune`, `delete` and `import`. Behaviours
//! check the rows that these leave instead.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::store::Store;

mod atomic;
mod env;
mod run;

pub use atomic::is_atomic_when_calls_are_lost;
use env::Env;
pub use run::{conforms, conforms_under_faults, families_conform_under_faults};

/// One thing that every store must do.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// Its family and a sentence: `claim::skips_paused_queues`.
    pub name: &'static str,
    run: fn(Env) -> BoxFuture<'static, ()>,
}

impl Behaviour {
    /// The first part of its name.
    fn family(&self) -> &'static str {
        self.name.split("::").next().unwrap_or_default()
    }

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
        a_repeated_insert_does_not_bring_back_a_job_that_ended
        one_id_twice_in_a_batch_is_one_job
    }
    extras {
        a_job_with_every_extra_comes_back_from_everywhere
        a_record_with_every_extra_is_imported_live_and_finished
    }
    replies {
        every_change_writes_what_the_state_machine_says_and_in_that_order
        messages_of_forgotten_jobs_are_deleted_whoever_holds_them
        a_claim_of_many_writes_for_those_that_ask_for_it
        a_repeated_claim_writes_its_message_once
        a_cancel_an_expiry_a_rescue_and_the_end_by_hand_write_theirs
        a_change_whose_guard_does_not_match_writes_no_message
        a_job_that_begins_again_ends_with_another_message
        a_callback_is_a_job_that_is_stored_once_with_the_change
        takes_the_oldest_first_and_no_more_than_the_limit
        a_taker_gets_at_least_one_message_however_large
        takes_from_the_reply_queue_asked_for_only
        a_correlation_id_is_in_one_hand_at_a_time
        without_a_correlation_id_each_job_is_in_order_by_itself
        a_message_is_delivered_again_when_its_lease_has_ended
        a_late_acknowledgement_counts_unless_the_message_was_taken_again
        a_clock_that_is_set_makes_a_message_come_again_and_withholds_none
        a_repeated_take_answers_with_what_the_lost_one_took
        a_repeated_take_leaves_out_what_follows_a_message_that_another_taker_has
        what_is_given_back_is_delivered_at_once_and_in_its_place
        messages_are_listed_in_their_order_without_being_taken
        reply_queues_are_counted_by_name
        what_is_too_old_or_too_much_is_dropped_and_counted
        imported_messages_keep_their_order_and_come_once
        messages_outlive_their_job
        a_taker_that_waits_is_notified
        takers_at_once_never_share_a_correlation_id
        jobs_that_ask_for_nothing_write_no_message
    }
    schedules {
        a_schedule_comes_back_as_it_was_written
        a_schedule_is_created_once
        a_schedule_is_deleted_at_the_revision_that_was_read
        of_two_moves_on_one_revision_the_first_is_written
        a_repeated_move_is_done_and_written_once
        each_move_is_judged_alone
        a_move_inserts_its_jobs_with_their_entries
        a_move_inserts_its_notices_once
        an_occurrence_that_has_an_entry_starts_no_second_job
        the_job_of_an_occurrence_is_not_inserted_again_after_it_ended
        the_end_of_a_run_is_reported_with_its_change
        a_job_of_no_schedule_reports_nothing
        a_schedule_that_was_deleted_gets_no_reports
        due_schedules_come_by_their_moment_in_pages
        a_run_is_live_until_its_job_has_finished_or_is_deleted
        an_entry_of_occurrences_that_did_not_run_grows
        old_entries_are_deleted_except_those_of_runs_and_of_keys
        the_history_comes_in_pages_and_a_key_finds_its_entry
        processes_that_wait_are_notified
        many_processes_that_decide_the_same_turn_write_it_once
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
        a_key_held_while_live_at_most_for_a_window_is_free_after_either
        a_decision_from_before_the_key_was_taken_is_stale
        a_deleted_job_lets_go_of_its_key
        a_retried_job_takes_its_key_again
        a_retried_job_cannot_take_a_key_that_another_holds
        many_concurrent_inserts_of_one_key_create_exactly_one
    }
    claim {
        every_claimed_row_is_what_the_state_machine_says
        jobs_stored_before_the_clock_was_set_back_stay_due_and_later_delays_hold
        takes_due_jobs_only
        takes_the_kinds_asked_for_only
        takes_every_kind_but_those_left_out
        stops_behind_the_job_that_fills_it_in_bytes
        counts_bytes_over_all_shares_of_a_claim
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
        kinds_of_one_priority_are_served_by_their_time
        kinds_and_expiry_count_for_who_is_ahead
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
        a_job_that_is_given_up_by_hand_ends_as_discarded_and_comes_back_by_a_retry
    }
    fencing {
        a_report_from_a_lease_that_was_rescued_is_stale
        a_report_from_a_lease_that_was_released_is_stale
        a_report_under_a_foreign_lease_is_stale
        a_rescue_that_lost_to_the_report_is_stale
        commits_racing_with_a_rescue_are_accepted_once
    }
    held {
        the_lease_of_a_running_job_is_held_and_its_row_stays
        a_lease_that_is_not_held_is_lost
        a_cancel_request_is_told
        a_report_decided_before_the_look_is_accepted
        leases_are_answered_in_order
    }
    note {
        progress_and_lines_are_written
        a_repeated_note_adds_nothing
        a_note_without_progress_keeps_it
        a_note_under_a_lost_lease_is_dropped
        a_report_keeps_progress_that_came_after_the_decision
        a_new_attempt_starts_without_progress
        lines_of_all_attempts_come_in_order_and_in_pages
        lines_beyond_the_bound_are_dropped
    }
    history {
        lines_and_attempts_come_in_the_order_in_which_they_were_recorded
        a_reader_continues_after_every_entry
        an_attempt_without_lines_stands_between_the_runs_beside_it
        a_repeated_note_and_a_repeated_end_add_nothing
        an_imported_job_has_the_history_that_it_had
        concurrent_writers_leave_no_line_behind_a_reader
    }
    rescue {
        the_jobs_of_a_worker_are_found_by_their_ids
        pages_of_a_workers_jobs_meet_without_gap_or_overlap
        only_running_jobs_are_held
        a_rescued_job_runs_again_at_once_and_uncharged
        a_job_is_rescued_whatever_its_moments_are
        a_job_that_kills_its_workers_is_poison
    }
    expire {
        jobs_past_their_expiry_are_found_the_longest_ago_first
        only_queued_jobs_expire
        an_expired_job_is_cancelled
    }
    prune {
        jobs_older_than_the_bound_go
        jobs_beyond_the_newest_go
        jobs_of_one_moment_go_in_the_order_of_their_ids
        no_job_is_beyond_more_than_there_can_be
        either_bound_is_enough
        without_a_bound_nothing_goes
        only_the_queue_and_state_asked_for_is_touched
        live_jobs_never_go
        the_oldest_go_first_and_no_more_than_the_limit
        a_job_that_holds_its_key_for_a_window_stays
        all_that_belongs_to_a_job_goes_with_it
    }
    delete {
        a_job_that_does_not_run_goes_with_all_that_belongs_to_it
        a_running_job_stays
        an_unknown_job_is_not_found
        a_job_that_moved_on_since_it_was_read_stays
    }
    read_list {
        an_unknown_id_is_no_job
        the_newest_come_first
        pages_meet_without_gap_or_overlap
        each_filter_narrows
        filters_hold_together
        lane_priority_and_worker_narrow
        errors_are_found_by_their_text
        the_history_is_filtered_by_when_jobs_ended
        queued_jobs_are_filtered_by_how_they_are_shown
        tags_follow_a_replacing_enqueue
    }
    counts {
        each_queue_is_counted_by_shown_state
        an_empty_store_counts_nothing
        counts_follow_deletes
    }
    load {
        due_and_running_jobs_of_the_queue_are_counted
        due_jobs_are_counted_up_to_the_limit
        the_oldest_due_job_is_found_in_any_priority
    }
    queues_pause {
        a_queue_exists_from_the_first_job_that_names_it
        a_queue_exists_from_the_first_setting_that_names_it
        a_queue_outlives_its_jobs
        queues_come_by_name
        a_paused_queue_keeps_its_first_moment
        a_move_ends_its_own_pauses_only
        settings_do_not_touch_each_other
    }
    depth {
        a_call_that_would_exceed_the_limit_stores_nothing
        a_call_that_fits_is_stored
        duplicates_are_answered_by_a_full_queue
        jobs_that_are_stored_already_are_answered_by_a_full_queue
        a_full_queue_refuses_its_own_calls_only
        running_jobs_do_not_count_and_a_retry_is_never_refused
        a_limit_that_is_lifted_is_lifted_at_once
    }
    next_due {
        the_earliest_of_the_queues_and_kinds_is_told
        an_idle_store_has_no_next_due
        a_paused_queue_counts_as_empty
        an_expired_job_is_not_due
        jobs_of_every_kind_but_those_left_out_are_waited_for
    }
    workers {
        every_field_of_a_worker_comes_back
        a_later_beat_replaces_the_earlier
        a_heartbeat_of_an_earlier_moment_is_written
        silent_workers_are_not_listed
        a_worker_that_leaves_is_forgotten_and_its_leases_stay
        holders_are_workers_and_names_under_which_jobs_run
        a_worker_whose_heartbeat_has_not_moved_is_declared_dead
        a_worker_whose_heartbeat_has_moved_is_not_declared_dead
        a_name_without_a_row_is_declared_dead
        a_name_that_another_worker_has_is_refused
        the_dead_of_yesterday_are_forgotten
    }
    leases {
        a_remote_worker_is_listed_and_its_jobs_end_as_it_says
        a_repeated_claim_answers_with_what_the_lost_one_took_and_takes_nothing_else
        a_commit_whose_answer_was_lost_is_recorded_once
        a_lease_gets_one_outcome
        only_the_worker_that_has_a_lease_uses_it
        a_run_that_its_worker_does_not_name_twice_is_given_back
        extend_reports_what_was_cancelled
        a_worker_that_was_declared_dead_is_refused
        reports_are_written_once
        what_runs_under_the_name_of_a_worker_is_found_by_every_server
    }
    stats {
        what_a_worker_counted_comes_back
        a_later_row_of_a_minute_replaces_the_earlier
        the_newest_minutes_come_first_and_no_more_than_the_limit
        minutes_older_than_an_hour_go
    }
    samples {
        samples_come_back_by_grain_and_in_their_order
        a_sample_replaces_the_earlier_one_of_its_span
        old_samples_go
    }
    access {
        a_token_is_found_by_the_hash_of_its_secret
        a_revoked_token_stays_revoked_since_its_first_moment
        the_sessions_of_a_token_are_revoked_with_it
        the_last_use_of_a_token_never_goes_back
        tokens_that_ended_long_ago_are_forgotten
        entries_of_the_audit_log_come_newest_first_and_page_by_page
        entries_of_the_audit_log_go_by_age
        a_request_is_carried_out_by_one_caller_at_a_time
        a_request_whose_caller_died_goes_on_under_the_same_ids
        a_request_that_was_answered_is_answered_again
        a_request_that_stored_nothing_frees_its_key
        a_request_whose_outcome_is_unknown_is_carried_out_again
        a_key_is_free_again_after_its_time
    }
    endpoints {
        an_endpoint_that_ended_stays_ended_as_it_was
        an_endpoint_that_is_enabled_is_forgotten
        ended_endpoints_come_by_url_in_pages
    }
    triggers {
        a_trigger_is_defined_again_and_its_pause_stays
        triggers_come_by_name_in_pages
        one_reader_at_a_time_has_an_exclusive_trigger
        a_released_trigger_is_free
        readers_that_share_a_trigger_never_meet
        only_the_reader_writes_values
        values_come_by_the_bytes_of_their_keys_in_pages
        a_dead_letter_comes_back_whole_and_lists_leave_out_bodies
        a_dead_letter_of_the_same_delivery_is_replaced
        the_oldest_dead_letters_are_dropped_and_counted
        a_deleted_trigger_leaves_nothing
    }
    journals {
        what_a_run_writes_comes_back_by_key_and_in_pages
        a_run_that_has_lost_its_lease_writes_nothing
        of_two_writes_on_one_revision_the_first_is_written
        a_repeated_write_is_done_and_written_once
        each_write_is_judged_alone
        the_next_generation_has_no_entries_and_new_args
        a_workflow_that_moved_on_is_charged_no_longer
        signals_wait_in_order_and_are_taken_once
        a_signal_wakes_a_parked_workflow_and_marks_a_running_one
        a_signal_to_what_has_ended_or_never_was_is_refused
        no_more_signals_wait_than_may
        signals_of_many_callers_keep_one_order
        workflows_are_woken_by_their_time
        a_child_is_inserted_with_the_entry_that_stands_for_it
        a_journal_goes_with_its_job
        the_end_of_a_child_arrives_once_and_wakes_its_workflow
        an_imported_job_brings_its_journal
        the_end_of_a_child_waits_for_a_workflow_that_was_given_up
        a_workflow_that_has_completed_hears_of_no_child
        children_are_cancelled_with_the_write_or_not_at_all
        jobs_after_a_cancelled_child_are_settled_with_the_write
        a_cancel_lets_a_workflow_with_something_to_undo_run_once_more
    }
    after {
        every_edge_goes_as_the_table_says
        a_predecessor_that_has_ended_counts_as_what_it_is
        a_job_waits_for_all_of_its_predecessors
        ends_of_one_call_release_a_job_once_and_a_failure_among_them_cancels_it
        an_end_that_was_decided_before_the_enqueue_is_decided_again
        a_job_of_a_large_claim_is_followed
        a_repeated_insert_adds_nothing
        an_unknown_predecessor_refuses_the_whole_call
        jobs_of_one_call_run_after_each_other
        a_failure_goes_down_a_chain
        a_retried_predecessor_is_waited_for_again
        a_retried_dependant_waits_for_a_predecessor_that_lives_and_for_no_other
        many_dependants_are_settled_by_several_transactions
        pruning_spares_a_job_while_one_that_runs_after_it_lives
        edges_come_in_pages_with_the_states_of_their_jobs
        predecessors_that_end_at_the_same_time_leave_no_job_waiting
        edges_are_imported_with_their_jobs
    }
    batch {
        an_empty_batch_ends_when_it_is_closed
        the_last_member_to_end_enqueues_the_end_jobs
        a_batch_that_is_open_does_not_end
        a_member_that_failed_may_be_retried_to_a_success
        the_gate_decides_who_adds
        a_batch_counts_as_a_member_of_its_parent
        a_closed_batch_is_opened_again
        a_repeated_open_and_a_repeated_add_add_nothing
        a_live_member_that_is_deleted_counts_as_cancelled
        members_are_listed_by_their_batch
        members_that_end_at_the_same_time_end_the_batch_once
        a_batch_is_imported_with_its_counts_and_a_newer_copy_replaces_an_older
        a_batch_that_ended_long_ago_goes_once_it_has_no_members
        a_forgotten_batch_counts_on_and_enqueues_nothing_at_its_end
    }
    import {
        records_in_every_state_come_back_as_they_were
        a_record_that_is_stored_already_is_left_alone
        a_job_that_was_imported_and_pruned_does_not_come_back
        a_record_whose_key_is_held_refuses_the_whole_import
        imported_jobs_go_on_where_they_were
    }
    wakes {
        a_due_job_wakes_its_queue
        a_retried_job_wakes_its_queue
        a_resumed_queue_is_woken
        a_change_wakes_who_follows_the_job
        progress_wakes_who_follows_the_job
        a_cancel_mark_wakes_the_workers
    }
    amend {
        every_field_is_written_as_decided
        a_job_is_claimed_by_its_new_time_and_priority
        an_attempt_that_failed_stays_charged
        a_decision_from_before_a_claim_is_stale
        a_decision_from_before_a_cancel_is_stale
        a_repeated_amendment_is_written_once
        a_job_is_moved_to_a_queue_that_no_job_named_before
    }
    odd_input {
        texts_of_all_scripts_come_back
        escaped_nul_in_args_and_output_comes_back
        a_mebibyte_of_args_comes_back
        json_comes_back_as_it_was_written
        names_that_look_like_sql_are_only_names
        extreme_times_come_back
        names_and_keys_differ_by_case_and_by_bytes
    }
    close {
        a_closed_store_answers_that_it_is_closed
        a_store_closes_twice
        a_healthy_store_says_so
    }
}

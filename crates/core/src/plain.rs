//! Which jobs a store may pack together.
//!
//! A store may lay the jobs of one claim together in one row (PostgreSQL does, see `docs/decisions/0034`). Everything
//! that concerns one such job must then know of that row. So this is a list of what is allowed. A field that is added
//! to [`JobRow`] or [`Extras`] does not compile until it is decided here. What is not allowed here never lies in such a
//! row.

use crate::{Extras, JobRow, State};

impl JobRow {
    /// Whether the job is new and has nothing but its content: no lane, no unique key, no expiry, no wish for messages, no schedule,
    /// no tie to other jobs, and no mark of an event. Only
    /// then may a store pack it together with others. Decided when the job is inserted.
    pub fn is_plain(&self) -> bool {
        let Self {
            id: _,
            kind: _,
            queue: _,
            lane,
            priority: _,
            state,
            args: _,
            attempt,
            max_attempts: _,
            crashes,
            scheduled_at: _,
            expires_at,
            unique_key,
            unique_while,
            unique_held,
            lease_id,
            lease_until,
            worker,
            progress,
            output,
            reason,
            cancel_requested_at,
            woken,
            created_at: _,
            started_at,
            finished_at,
            tags: _,
            extras,
            revision,
            suspicion,
            links,
        } = self;
        let is_new = *state == State::Queued && *attempt == 0 && *crashes == 0 && *revision == 0;
        let never_ran = lease_id.is_none()
            && lease_until.is_none()
            && worker.is_none()
            && progress.is_none()
            && started_at.is_none()
            && suspicion.is_none();
        let is_unmarked = output.is_none()
            && reason.is_none()
            && cancel_requested_at.is_none()
            && !*woken
            && finished_at.is_none();
        let has_no_key = unique_key.is_none() && unique_while.is_none() && !*unique_held;
        let is_free = lane.is_none() && expires_at.is_none() && has_no_key && links.is_none();
        is_new && never_ran && is_unmarked && is_free && are_plain(extras)
    }
}

/// What only the handler and its worker read may be set. A message is written with the change that it reports.
fn are_plain(extras: &Extras) -> bool {
    let Extras { timeout: _, retry: _, meta: _, traceparent: _, reply, callback, occurrence, hidden: _ } =
        extras;
    reply.is_none() && callback.is_none() && occurrence.is_none()
}

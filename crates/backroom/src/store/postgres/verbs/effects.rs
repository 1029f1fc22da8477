//! What follows from changes beyond the rows of their jobs: effects that are stored with them, and notifications that are sent
//! after them.

use std::collections::HashSet;

use backroom_core::{Effect, JobId, JobRow, Message};

use super::{
    insert::{INSERT, NAME_QUEUES},
    schedules::{ADD_REPORTS, ReportColumns},
};
use crate::store::postgres::{
    Core,
    columns::{
        attempts::{ATTEMPT_TYPES, AttemptColumns, unnested_attempts},
        messages::{MESSAGE_TYPES, MessageColumns},
        table::Columns,
    },
    wire::{connection::Bound, error::Fault, sql::Sql},
};

/// Records attempts that did not succeed. An attempt has one record, by job and lease. The transaction has locked their jobs
/// before this statement: so what a handler wrote is counted, and no line comes in between. Parameters: attempts.
static RECORD_ATTEMPTS: Sql = Sql {
    text: concat!(
        "INSERT INTO {schema}.attempts \
           (job_id, lease_id, attempt, \"end\", error, worker, started_at, ended_at, after_lines) \
         SELECT new.*, coalesce((SELECT max(position) + 1 FROM {schema}.logs WHERE logs.job_id = new.job_id), 0) FROM ",
        unnested_attempts!(),
        " ON CONFLICT DO NOTHING"
    ),
    types: &ATTEMPT_TYPES,
};

/// Appends messages to their reply queues, in their order. A message that is stored already stays as it is. Parameters:
/// messages.
static ADD_MESSAGES: Sql = Sql {
    text: "INSERT INTO {schema}.messages (id, reply_to, order_key, job_id, at, bytes, body) \
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::bigint[], $7::text[]) \
           ON CONFLICT DO NOTHING",
    types: &MESSAGE_TYPES,
};

/// The stored effects of many changes, by kind.
#[derive(Default)]
pub(crate) struct StoredEffects<'a> {
    attempts: AttemptColumns<'a>,
    messages: MessageColumns<'a>,
    jobs: Vec<&'a JobRow>,
    job_columns: Columns<'a>,
    unnamed_queues: Vec<String>,
    reports: ReportColumns<'a>,
}

impl<'a> StoredEffects<'a> {
    /// The effects of changes that are written in the current transaction, each with its job.
    pub(crate) fn of(core: &Core, effects: impl Iterator<Item = (JobId, &'a Effect)>) -> Result<Self, Fault> {
        let mut stored = Self::theirs(effects)?;
        stored.unnamed_queues = core.unnamed_queues(stored.jobs.iter().map(|job| job.queue.as_str()));
        Ok(stored)
    }

    /// The same in a transaction of the caller, who has named the queues.
    pub(crate) fn theirs(effects: impl Iterator<Item = (JobId, &'a Effect)>) -> Result<Self, Fault> {
        let mut stored = Self::default();
        for (id, effect) in effects {
            match effect {
                Effect::RecordAttempt(attempt) => stored.attempts.push(id, attempt),
                Effect::Message(message) => stored.messages.push(message)?,
                Effect::Enqueue(new) => stored.jobs.push(&new.job),
                Effect::ReportRun(report) => stored.reports.push(report),
                // Carried out before: see `links`. The others are sent once the changes are written.
                Effect::Link { .. } | Effect::NotifyQueue { .. } | Effect::NotifyCancel => {}
            }
        }
        if !stored.jobs.is_empty() {
            stored.job_columns = Columns::of(stored.jobs.iter().copied())?;
        }
        Ok(stored)
    }

    /// One statement per kind of which there are any.
    pub(crate) fn statements(&self) -> Vec<Bound<'_>> {
        let mut statements: Vec<Bound<'_>> = Vec::new();
        if !self.attempts.is_empty() {
            statements.push((&RECORD_ATTEMPTS, self.attempts.params()));
        }
        if !self.messages.is_empty() {
            statements.push((&ADD_MESSAGES, self.messages.params()));
        }
        if !self.jobs.is_empty() {
            // Only this program names queues of its own, and each such transaction is short.
            if !self.unnamed_queues.is_empty() {
                statements.push((&NAME_QUEUES, vec![&self.unnamed_queues]));
            }
            statements.push((&INSERT, self.job_columns.params()));
        }
        if !self.reports.is_empty() {
            statements.push((&ADD_REPORTS, self.reports.params()));
        }
        statements
    }

    /// The transaction is committed.
    pub(crate) fn committed(self, core: &Core) {
        core.remember_queues(self.unnamed_queues);
    }
}

/// Notifies those whom the effects of written changes name.
pub(crate) fn notify<'a>(core: &Core, effects: impl Iterator<Item = &'a Effect>) {
    let (mut queues, mut reply_queues): (HashSet<&str>, HashSet<&str>) = (HashSet::new(), HashSet::new());
    let (mut is_behind, mut is_cancel, mut is_of_schedule) = (false, false, false);
    for effect in effects {
        match effect {
            Effect::NotifyQueue { queue, due_at } => {
                queues.insert(queue);
                is_behind = is_behind || core.hints.is_behind(*due_at);
            }
            Effect::NotifyCancel => is_cancel = true,
            Effect::Message(message) => {
                let Message { reply_to, .. } = &**message;
                reply_queues.insert(reply_to);
            }
            Effect::ReportRun(_) => is_of_schedule = true,
            // Stored with the change.
            Effect::RecordAttempt(_) | Effect::Enqueue(_) | Effect::Link { .. } => {}
        }
    }
    if is_behind {
        core.hints.behind();
    }
    queues.into_iter().for_each(|queue| core.hints.queue(queue));
    reply_queues.into_iter().for_each(|queue| core.hints.replies(queue));
    if is_cancel {
        core.hints.cancel();
    }
    if is_of_schedule {
        core.hints.schedules();
    }
}

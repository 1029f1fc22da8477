//! How many bytes an operation writes, about: what callers and handlers gave it, which alone can be large.

use backroom_core::{Attempt, Change, Effect, JobRow, LogLine, MessageBody};

use crate::store::{Note, Record, ScheduleMove};

pub(super) fn of_jobs<'a>(jobs: impl Iterator<Item = &'a JobRow>) -> usize {
    jobs.map(JobRow::bytes).sum()
}

pub(super) fn of_changes(changes: &[Change]) -> usize {
    changes.iter().map(of_change).sum()
}

pub(super) fn of_notes(notes: &[Note]) -> usize {
    notes.iter().map(|note| of_lines(&note.lines)).sum()
}

pub(super) fn of_records(records: &[Record]) -> usize {
    let one = |record: &Record| {
        let attempts: usize = record.attempts.iter().map(of_attempt).sum();
        let journal = record.journal.as_ref().map_or(0, |journal| journal.bytes());
        record.job.bytes() + attempts + of_lines(&record.lines) + journal
    };
    records.iter().map(one).sum()
}

pub(super) fn of_moves(moves: &[ScheduleMove]) -> usize {
    let one = |moving: &ScheduleMove| {
        moving.row.definition.len()
            + moving.row.state.len()
            + of_jobs(moving.jobs.iter().chain(&moving.notices).map(|new| &new.job))
    };
    moves.iter().map(one).sum()
}

fn of_change(change: &Change) -> usize {
    let output = change.output.as_ref().map_or(0, |output| output.as_str().len());
    let args = change.content.as_ref().map_or(0, |content| content.args.as_str().len());
    output + args + change.effects.iter().map(of_effect).sum::<usize>()
}

fn of_effect(effect: &Effect) -> usize {
    match effect {
        Effect::RecordAttempt(attempt) => of_attempt(attempt),
        Effect::Message(message) => of_message(&message.body),
        Effect::Enqueue(new) => new.job.bytes(),
        Effect::ReportRun(report) => report.schedule.len() + report.reason.as_ref().map_or(0, String::len),
        // Bounded, as what follows from it is.
        Effect::Link { .. } | Effect::NotifyQueue { .. } | Effect::NotifyCancel => 0,
    }
}

fn of_attempt(attempt: &Attempt) -> usize {
    attempt.error.len()
}

pub(super) fn of_message(body: &MessageBody) -> usize {
    let output = body.output.as_ref().map_or(0, |output| output.as_str().len());
    output + body.error.as_ref().map_or(0, String::len)
}

fn of_lines(lines: &[LogLine]) -> usize {
    lines.iter().map(|line| line.line.len()).sum()
}

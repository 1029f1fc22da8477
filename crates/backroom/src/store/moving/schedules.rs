//! Schedules on their way from one store to another.

use std::sync::Arc;

use backroom_core::{
    JobRow, State,
    schedule::{
        Became, EndOfRun, Entry, ScheduleRow,
        ended::{RunEnd, ended},
    },
};

use crate::{
    Error,
    store::{Moved, ScheduleMove, Store},
};

/// Schedules on one page, and entries.
const PAGE: usize = 500;

/// Copies every schedule that the target lacks, with its state and its history. Answers how many were new. A schedule that the target
/// has keeps its own state. To be called after [`copy_jobs`](super::copy_jobs), while no worker runs the schedules of the source.
pub async fn copy_schedules(from: &dyn Store, to: &dyn Store) -> Result<u64, Error> {
    let (mut after, mut copied) = (None::<String>, 0);
    loop {
        let page = from.schedules(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(copied) };
        after = Some(last.name.clone());
        for row in page {
            copied += u64::from(copy(from, to, row).await?);
        }
    }
}

async fn copy(from: &dyn Store, to: &dyn Store, row: ScheduleRow) -> Result<bool, Error> {
    if to.schedule(&row.name).await?.is_some() {
        return Ok(false);
    }
    let mut moving = ScheduleMove::new(None, ScheduleRow { revision: 0, ..row });
    let mut before = None;
    loop {
        let page = from.entries(&moving.row.name, before, PAGE).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        moving.entries.extend(page);
    }
    for entry in moving.entries.iter().filter(|entry| entry.is_open()) {
        let Some(job) = entry.job else { continue };
        if let Some(job) = from.job(job).await?.filter(|job| job.state.is_finished()) {
            take_over(&mut moving.row, entry, &job)?;
            moving.ends.push((job.id, Some(end_of(&job))));
        }
    }
    let known = moving.entries.iter().filter_map(|entry| Some((entry.job?, Some(entry.end.clone()?))));
    let known: Vec<_> = known.collect();
    moving.ends.extend(known);
    let answers = to.move_schedules(Arc::new(vec![moving])).await?;
    Ok(answers.first() == Some(&Moved::Done))
}

/// The end of a run that no turn at the source has taken over. A schedule that this program cannot read goes without.
fn take_over(row: &mut ScheduleRow, entry: &Entry, job: &JobRow) -> Result<(), Error> {
    if let (Ok(schedule), Ok(state)) = (row.schedule(), row.state()) {
        let end = match job.state {
            State::Completed => RunEnd::Completed,
            State::Discarded => RunEnd::Discarded,
            State::Cancelled | State::Queued | State::Running | State::Waiting => RunEnd::Cancelled,
        };
        let at = job.finished_at.unwrap_or(entry.at);
        row.state = ended(&schedule, &state, entry.first, end, at).state.stored()?;
    }
    Ok(())
}

fn end_of(job: &JobRow) -> EndOfRun {
    let became = match job.state {
        State::Completed => Became::Completed,
        State::Discarded => Became::Discarded,
        State::Cancelled | State::Queued | State::Running | State::Waiting => Became::Cancelled,
    };
    EndOfRun { became, at: job.finished_at.unwrap_or(job.created_at), reason: job.reason.clone() }
}

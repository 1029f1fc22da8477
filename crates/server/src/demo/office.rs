//! The order and the report of a run. Both carry the run's number, which the store counts.

use std::{collections::BTreeMap, time::Duration};

use backroom::{Backroom, Error, Filter, Job as _, JobRow, State, Timestamp, core::bounds::span_until};
use serde::Deserialize;

use super::{
    jobs::{MailReceipt, NightlyReport, OFFICE, PackOrder, PayOrder},
    places::Places,
    thumbnails::{Tally, retry},
};

/// How far ahead the report is scheduled.
const REPORT_IN: Duration = Duration::from_secs(5);
/// The newest jobs of the office that are read: far more than the four of one run.
const JOBS_MAX: usize = 200;
/// The kinds of a run's jobs, in order: three steps of the order, and the report.
const KINDS: [&str; 4] = [PayOrder::KIND, PackOrder::KIND, MailReceipt::KIND, NightlyReport::KIND];
/// What has happened once a step of the order is done.
const STEPS: [&str; 3] = ["paid", "packed", "mailed"];

/// The four jobs of one run; those not enqueued yet are missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    jobs: [Option<JobRow>; 4],
    /// Why the one of them that waits for its next attempt failed; empty when none does.
    trouble: String,
}

impl Run {
    fn order(&self) -> &[Option<JobRow>] {
        &self.jobs[..STEPS.len()]
    }

    pub(crate) fn report(&self) -> Option<&JobRow> {
        self.jobs[STEPS.len()].as_ref()
    }

    /// Whether all is done, or nothing more will be: what was cancelled by hand, or given up, leads to no next step.
    pub(crate) fn is_over(&self) -> bool {
        let ended = |row: &JobRow| matches!(row.state, State::Cancelled | State::Discarded);
        let mailed = self.jobs[2].as_ref().is_some_and(|row| row.state.is_finished());
        let order_is_over = mailed || self.order().iter().flatten().any(ended);
        order_is_over && self.report().is_some_and(|row| row.state.is_finished())
    }

    /// Whether all of it succeeded.
    pub(crate) fn is_done(&self) -> bool {
        self.jobs.iter().all(|row| row.as_ref().is_some_and(|row| row.state == State::Completed))
    }

    fn given_up(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.iter().flatten().filter(|row| row.state == State::Discarded)
    }

    /// What a log needs to know whether a step has news: those that are done, failed or ended.
    pub(crate) fn news(&self) -> String {
        let told = self.order().iter().flatten().filter(|row| row.state.is_finished() || is_retrying(row));
        told.map(|row| format!("{} {} ", row.kind, row.state)).collect()
    }

    /// The order in one line: `paid, packed, calling the mail server`.
    pub(crate) fn order_line(&self, now: Timestamp) -> String {
        let steps = self.order().iter().zip(STEPS).filter_map(|(row, step)| {
            let row = row.as_ref()?;
            Some(match row.state {
                State::Completed if row.attempt > 1 => format!("{step} at attempt {}", row.attempt),
                State::Completed => step.to_owned(),
                State::Cancelled | State::Discarded => format!("not {step}: {}", reason(row)),
                State::Running => doing(row).unwrap_or_else(|| format!("being {step}")),
                State::Queued if is_retrying(row) => {
                    let wait = seconds(span_until(now, row.scheduled_at));
                    format!("not {step} yet ({}, tried again in {wait})", self.trouble)
                }
                State::Queued | State::Waiting => format!("to be {step} next"),
            })
        });
        steps.collect::<Vec<_>>().join(", ")
    }

    /// The report in one line.
    pub(crate) fn report_line(&self, tally: Tally, now: Timestamp) -> String {
        let Some(row) = self.report() else { return String::new() };
        let wait = span_until(now, row.scheduled_at);
        match row.state {
            State::Completed => "written".into(),
            State::Cancelled | State::Discarded => format!("not written: {}", reason(row)),
            State::Running => "being written".into(),
            State::Queued if is_retrying(row) => {
                format!("failed ({}), tried again in {}", self.trouble, seconds(wait))
            }
            // Past its time it snoozes until all is done, half a second each time.
            State::Queued if wait > Duration::from_millis(500) || tally.finished == tally.jobs => {
                format!("due in {}", seconds(wait))
            }
            State::Queued | State::Waiting => "waits for the thumbnails to be done".into(),
        }
    }
}

fn is_retrying(row: &JobRow) -> bool {
    row.state == State::Queued && row.attempt > 0
}

fn reason(row: &JobRow) -> &str {
    row.reason.as_deref().unwrap_or("no reason was given")
}

/// What the handler of a running job reported last.
pub(crate) fn doing(row: &JobRow) -> Option<String> {
    row.progress.as_ref().map(|progress| progress.message.clone()).filter(|message| !message.is_empty())
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The first, or the next after one that is over.
    New(u32),
    /// An earlier process left it undone.
    GoOn(u32),
    /// It is over, and there is nothing new to order for.
    Nothing(u32),
}

impl Begin {
    /// One order belongs to each lot of new pictures; a demo that finds nothing new orders nothing.
    pub(crate) fn decide(runs: &BTreeMap<u32, Run>, has_new_pictures: bool) -> Self {
        match runs.last_key_value() {
            None => Self::New(1),
            Some((number, run)) if !run.is_over() || run.given_up().next().is_some() => Self::GoOn(*number),
            Some((number, _)) if has_new_pictures => Self::New(number + 1),
            Some((number, _)) => Self::Nothing(*number),
        }
    }

    /// The run's number.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::New(number) | Self::GoOn(number) | Self::Nothing(number) => number,
        }
    }
}

/// Begins a run: enqueues what is missing and runs again what was given up because its workers died.
pub(crate) async fn begin(
    backroom: &Backroom,
    runs: &BTreeMap<u32, Run>,
    begin: Begin,
    places: &Places,
) -> Result<(), Error> {
    let (Begin::New(order) | Begin::GoOn(order)) = begin else { return Ok(()) };
    let none = Run::default();
    let run = runs.get(&order).unwrap_or(&none);
    if run.jobs[0].is_none() {
        backroom.enqueue(PayOrder { order }).await?;
    }
    if run.report().is_none() {
        let (folder, out) = (places.photos.clone(), places.out.clone());
        backroom.enqueue(NightlyReport { order, folder, out }).delay(REPORT_IN).await?;
    }
    for row in run.given_up() {
        retry(backroom, row.id).await?;
    }
    Ok(())
}

/// The newest runs, by number.
pub(crate) async fn read(backroom: &Backroom) -> Result<BTreeMap<u32, Run>, Error> {
    #[derive(Deserialize)]
    struct Numbered {
        order: u32,
    }
    let filter = Filter { queue: Some(OFFICE.into()), ..Filter::default() };
    let mut runs = BTreeMap::<u32, Run>::new();
    // The newest come first, and of two jobs for one thing the newer one counts.
    for row in backroom.list(filter, None, JOBS_MAX).await?.jobs {
        let Ok(Numbered { order }) = row.args.decode() else { continue };
        if let Some(index) = KINDS.iter().position(|kind| *kind == row.kind) {
            runs.entry(order).or_default().jobs[index].get_or_insert(row);
        }
    }
    if let Some(mut last) = runs.last_entry() {
        let run = last.get_mut();
        if let Some(row) = run.jobs.iter().flatten().find(|row| is_retrying(row)) {
            let failed = backroom.attempts(row.id).await?.pop();
            run.trouble = failed.map(|attempt| attempt.error).unwrap_or_default();
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backroom::Timestamp;

    fn row(state: State) -> Option<JobRow> {
        let now = Timestamp::UNIX_EPOCH;
        let draft = backroom::Draft::new("any", backroom::Json::null());
        let id = backroom::ids::Ids::seeded(1).job(now);
        let mut job = draft.check(id, now, 100).unwrap().job;
        job.state = state;
        Some(job)
    }

    fn run(mail: Option<JobRow>, report: State) -> BTreeMap<u32, Run> {
        let done = row(State::Completed);
        let run = Run { jobs: [done.clone(), done, mail, row(report)], ..Run::default() };
        BTreeMap::from([(3, run)])
    }

    #[test]
    fn a_run_goes_on_until_its_receipt_is_mailed_and_its_report_written() {
        assert_eq!(Begin::decide(&BTreeMap::new(), false), Begin::New(1));
        assert_eq!(Begin::decide(&run(None, State::Completed), true), Begin::GoOn(3));
        assert_eq!(Begin::decide(&run(row(State::Running), State::Completed), true), Begin::GoOn(3));
        assert_eq!(Begin::decide(&run(row(State::Completed), State::Queued), true), Begin::GoOn(3));
        assert_eq!(Begin::decide(&run(row(State::Completed), State::Completed), true), Begin::New(4));
        assert_eq!(Begin::decide(&run(row(State::Completed), State::Completed), false), Begin::Nothing(3));
    }

    #[test]
    fn what_was_given_up_runs_again_and_what_was_cancelled_by_hand_is_left() {
        assert_eq!(Begin::decide(&run(row(State::Discarded), State::Completed), false), Begin::GoOn(3));
        assert_eq!(Begin::decide(&run(row(State::Cancelled), State::Completed), false), Begin::Nothing(3));
    }
}

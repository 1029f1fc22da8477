//! The order and the report of a run. Both have the run's number, which the store counts.

use std::{collections::BTreeMap, time::Duration};

use backroom::{Backroom, Error, Filter, Job as _, JobRow, State, Timestamp, core::bounds::span_until};
use serde::Deserialize;

use super::{
    jobs::{MailReceipt, NightlyReport, OFFICE, PackOrder, PayOrder},
    places::Places,
    thumbnails::retry,
};

/// How far ahead the report is scheduled.
const REPORT_IN: Duration = Duration::from_secs(5);
/// The newest jobs of the office that are read: far more than the four of one run.
const JOBS_MAX: usize = 200;
/// The kinds of a run's jobs, in order: three steps of the order, and the report.
const KINDS: [&str; 4] = [PayOrder::KIND, PackOrder::KIND, MailReceipt::KIND, NightlyReport::KIND];

/// The four jobs of one run; those not enqueued yet are missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    jobs: [Option<JobRow>; 4],
    /// Why the one of them that waits for its next attempt failed.
    trouble: String,
}

impl Run {
    pub(crate) fn report(&self) -> Option<&JobRow> {
        self.jobs[3].as_ref()
    }

    /// Whether all is done, or nothing more will be: a step that was cancelled or given up leads to no next one.
    pub(crate) fn is_over(&self) -> bool {
        let is_finished = |row: &Option<JobRow>| row.as_ref().is_some_and(|row| row.state.is_finished());
        let failed = |row: &JobRow| row.state.is_finished() && row.state != State::Completed;
        let order_is_over = is_finished(&self.jobs[2]) || self.jobs[..3].iter().flatten().any(failed);
        order_is_over && is_finished(&self.jobs[3])
    }

    /// Whether all of it succeeded.
    pub(crate) fn is_done(&self) -> bool {
        self.jobs.iter().all(|row| row.as_ref().is_some_and(|row| row.state == State::Completed))
    }

    fn given_up(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.iter().flatten().filter(|row| row.state == State::Discarded)
    }

    /// The order in one line: `paid, packed, calling the mail server`.
    pub(crate) fn order_line(&self, now: Timestamp) -> String {
        let steps = self.jobs.iter().zip(["paid", "packed", "mailed"]);
        let said = steps.filter_map(|(row, done)| Some(self.line(row.as_ref()?, done, now)));
        said.collect::<Vec<_>>().join(", ")
    }

    /// The report in one line.
    pub(crate) fn report_line(&self, now: Timestamp) -> String {
        self.report().map(|row| self.line(row, "written", now)).unwrap_or_default()
    }

    /// One job in words; `done` is what has happened once it is completed.
    fn line(&self, row: &JobRow, done: &str, now: Timestamp) -> String {
        let wait = span_until(now, row.scheduled_at);
        let seconds = format!("{:.1} s", wait.as_secs_f64());
        match row.state {
            State::Completed if row.attempt > 1 => format!("{done} at attempt {}", row.attempt),
            State::Completed => done.to_owned(),
            State::Cancelled | State::Discarded => {
                format!("not {done}: {}", row.reason.as_deref().unwrap_or("no reason was given"))
            }
            State::Running => doing(row).unwrap_or_else(|| format!("being {done}")),
            State::Queued if is_retrying(row) => {
                format!("not {done} yet ({}, tried again in {seconds})", self.trouble)
            }
            // A report that is due snoozes until all else is done, half a second each time.
            State::Queued if wait > Duration::from_millis(500) => format!("due in {seconds}"),
            State::Queued | State::Waiting => format!("to be {done} next"),
        }
    }
}

fn is_retrying(row: &JobRow) -> bool {
    row.state == State::Queued && row.attempt > 0
}

/// What the handler of a running job reported last.
pub(crate) fn doing(row: &JobRow) -> Option<String> {
    row.progress.as_ref().map(|progress| progress.message.clone()).filter(|message| !message.is_empty())
}

/// The number of the run that belongs to this demo. One order belongs to each lot of new pictures: after a run that is over, a
/// demo that finds nothing new begins no other.
pub(crate) fn number(runs: &BTreeMap<u32, Run>, has_new_pictures: bool) -> u32 {
    match runs.last_key_value() {
        None => 1,
        Some((last, run)) if !run.is_over() || run.given_up().next().is_some() || !has_new_pictures => *last,
        Some((last, _)) => last + 1,
    }
}

/// Begins a run or goes on with it: enqueues what is missing, and retries what was given up.
pub(crate) async fn begin(backroom: &Backroom, run: &Run, order: u32, places: &Places) -> Result<(), Error> {
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
        assert_eq!(number(&BTreeMap::new(), false), 1);
        assert_eq!(number(&run(None, State::Completed), true), 3);
        assert_eq!(number(&run(row(State::Running), State::Completed), true), 3);
        assert_eq!(number(&run(row(State::Completed), State::Queued), true), 3);
        assert_eq!(number(&run(row(State::Completed), State::Completed), true), 4);
        assert_eq!(number(&run(row(State::Completed), State::Completed), false), 3);
    }

    #[test]
    fn what_was_given_up_runs_again_and_what_was_cancelled_by_hand_is_left() {
        assert_eq!(number(&run(row(State::Discarded), State::Completed), true), 3);
        assert_eq!(number(&run(row(State::Cancelled), State::Completed), true), 4);
    }
}

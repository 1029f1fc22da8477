//! The order and the report of a run. Both carry the run's number, which the store counts.

use std::{collections::BTreeMap, time::Duration};

use backroom::{Backroom, Error, ErrorKind, Filter, Job, JobRow, State};
use serde::Deserialize;

use super::{
    Places,
    jobs::{MailReceipt, NightlyReport, OFFICE, PackOrder, PayOrder},
};

/// How far ahead the report is scheduled.
const REPORT_IN: Duration = Duration::from_secs(5);
/// The newest jobs of the office that are read: far more than the four of one run.
const JOBS_MAX: usize = 200;

/// The four jobs of one run; those not enqueued yet are missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// `pay_order`.
    pub(crate) pay: Option<JobRow>,
    /// `pack_order`.
    pub(crate) pack: Option<JobRow>,
    /// `mail_receipt`.
    pub(crate) mail: Option<JobRow>,
    /// `nightly_report`.
    pub(crate) report: Option<JobRow>,
    /// Why the one of them that waits for its next attempt failed; empty when none does.
    pub(crate) trouble: String,
}

impl Run {
    /// The steps of the order, in order.
    pub(crate) fn order(&self) -> [&Option<JobRow>; 3] {
        [&self.pay, &self.pack, &self.mail]
    }

    /// Whether all is done, or nothing more will be: what was cancelled by hand, or given up, leads to no next step.
    pub(crate) fn is_over(&self) -> bool {
        let is_finished = |row: &Option<JobRow>| row.as_ref().is_some_and(|row| row.state.is_finished());
        let ended = |row: &Option<JobRow>| {
            row.as_ref().is_some_and(|row| matches!(row.state, State::Cancelled | State::Discarded))
        };
        let order_is_over = is_finished(&self.mail) || self.order().into_iter().any(ended);
        order_is_over && is_finished(&self.report)
    }

    /// Whether all of it succeeded.
    pub(crate) fn is_done(&self) -> bool {
        let done = |row: &Option<JobRow>| row.as_ref().is_some_and(|row| row.state == State::Completed);
        done(&self.pay) && done(&self.pack) && done(&self.mail) && done(&self.report)
    }

    fn given_up(&self) -> impl Iterator<Item = &JobRow> {
        let jobs = [&self.pay, &self.pack, &self.mail, &self.report].into_iter().flatten();
        jobs.filter(|row| row.state == State::Discarded)
    }
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

/// Begins a run: enqueues what is missing and begins anew what was given up because its workers died.
pub(crate) async fn begin(
    backroom: &Backroom,
    runs: &BTreeMap<u32, Run>,
    begin: Begin,
    places: &Places,
) -> Result<(), Error> {
    let order = match begin {
        Begin::New(number) | Begin::GoOn(number) => number,
        Begin::Nothing(_) => return Ok(()),
    };
    let none = Run::default();
    let run = runs.get(&order).unwrap_or(&none);
    if run.pay.is_none() {
        backroom.enqueue(PayOrder { order }).await?;
    }
    if run.report.is_none() {
        let folder = places.photos.as_path().into();
        let out = places.out.as_path().into();
        backroom.enqueue(NightlyReport { order, folder, out }).delay(REPORT_IN).await?;
    }
    for row in run.given_up() {
        match backroom.retry(row.id).await {
            Ok(()) => {}
            // Another demo was faster.
            Err(error) if error.kind() == ErrorKind::Refused => {}
            Err(error) => return Err(error),
        }
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
        let run = runs.entry(order).or_default();
        let place = match row.kind.as_str() {
            PayOrder::KIND => &mut run.pay,
            PackOrder::KIND => &mut run.pack,
            MailReceipt::KIND => &mut run.mail,
            NightlyReport::KIND => &mut run.report,
            // Somebody else's job in our queue.
            _ => continue,
        };
        place.get_or_insert(row);
    }
    if let Some(mut last) = runs.last_entry() {
        let run = last.get_mut();
        let jobs = [&run.pay, &run.pack, &run.mail, &run.report].into_iter().flatten();
        if let Some(row) = jobs.clone().find(|row| row.state == State::Queued && row.attempt > 0) {
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
        let run = Run { pay: done.clone(), pack: done, mail, report: row(report), ..Run::default() };
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
    fn what_was_given_up_is_begun_anew_and_what_was_cancelled_by_hand_is_left() {
        assert_eq!(Begin::decide(&run(row(State::Discarded), State::Completed), false), Begin::GoOn(3));
        assert_eq!(Begin::decide(&run(row(State::Cancelled), State::Completed), false), Begin::Nothing(3));
    }
}

//! What the screen shows at one moment, as values: read from the ledger and the office, drawn by the screens.

use std::{collections::BTreeMap, time::Duration};

use backroom::{JobRow, Shown, State, Timestamp, core::bounds::span_until};

use super::{Places, jobs::PathText, ledger::Ledger, office::Run};

/// Everything there is to see.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    /// The thumbnails.
    pub(crate) tally: Tally,
    /// Those being made.
    pub(crate) running: Vec<Running>,
    /// The order and the report, once they are there.
    pub(crate) run: Option<RunView>,
}

/// How many thumbnail jobs stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// All of them.
    pub(crate) jobs: usize,
    /// Completed.
    pub(crate) made: usize,
    /// Finished before this demo began.
    pub(crate) before: usize,
    /// Completed before this demo began.
    pub(crate) made_before: usize,
    /// Discarded: their pictures are none.
    pub(crate) refused: usize,
    /// Discarded: errors or crashes used up their attempts.
    pub(crate) given_up: usize,
    /// Cancelled: by hand, or because the picture went.
    pub(crate) cancelled: usize,
}

/// One thumbnail being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// The picture and the width.
    pub(crate) what: String,
    /// What its handler said last.
    pub(crate) doing: String,
}

/// The order and the report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunView {
    /// Of the order.
    pub(crate) number: u32,
    /// Paid, packed, mailed.
    pub(crate) order: [Step; 3],
    /// The report.
    pub(crate) report: Step,
}

/// Where one job of the office stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Not enqueued yet.
    NotYet,
    /// Waits for a slot.
    Available,
    /// Waits for its time.
    Scheduled(Duration),
    /// Runs, with the last word of its handler.
    Running(String),
    /// Failed, and is tried again after this wait; and why it failed.
    Retrying(Duration, String),
    /// Succeeded at this attempt.
    Done(u32),
    /// Cancelled or given up, and why.
    Ended(String),
}

/// The words for the steps of an order.
pub(crate) const STEPS: [&str; 3] = ["paid", "packed", "mailed"];

impl Tally {
    /// Jobs that are finished.
    pub(crate) fn finished(&self) -> usize {
        self.made + self.refused + self.given_up + self.cancelled
    }

    /// The tally of the jobs that this demo answers for.
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let mut tally = Self::default();
        for entry in ledger.ours() {
            tally.jobs += 1;
            tally.before += usize::from(entry.was_before);
            match entry.row.state {
                State::Queued | State::Running | State::Waiting => {}
                State::Completed => {
                    tally.made += 1;
                    tally.made_before += usize::from(entry.was_before);
                }
                State::Discarded if entry.is_refused => tally.refused += 1,
                State::Discarded => tally.given_up += 1,
                State::Cancelled => tally.cancelled += 1,
            }
        }
        tally
    }
}

impl View {
    /// The view of this moment.
    pub(crate) fn of(ledger: &Ledger, run: Option<(u32, &Run)>, now: Timestamp) -> Self {
        let running = ledger.ours().filter(|entry| entry.row.state == State::Running).map(|entry| Running {
            what: format!("{} at {} px", entry.job.photo.as_path().display(), entry.job.width),
            doing: entry.row.progress.as_ref().map(|said| said.message.clone()).unwrap_or_default(),
        });
        let run = run.map(|(number, run)| RunView {
            number,
            order: run.order().map(|row| Step::of(row.as_ref(), &run.trouble, now)),
            report: Step::of(run.report.as_ref(), &run.trouble, now),
        });
        Self { tally: Tally::of(ledger), running: running.collect(), run }
    }
}

impl Step {
    fn of(row: Option<&JobRow>, trouble: &str, now: Timestamp) -> Self {
        let Some(row) = row else { return Self::NotYet };
        let wait = span_until(now, row.scheduled_at);
        match row.shown(now) {
            Shown::Scheduled => Self::Scheduled(wait),
            Shown::Retrying => Self::Retrying(wait, trouble.to_owned()),
            Shown::Available | Shown::Waiting => Self::Available,
            Shown::Running => {
                Self::Running(row.progress.as_ref().map(|said| said.message.clone()).unwrap_or_default())
            }
            Shown::Completed => Self::Done(row.attempt),
            Shown::Cancelled | Shown::Discarded => Self::Ended(row.reason.clone().unwrap_or_default()),
        }
    }
}

/// The order in one line: `paid, packed, mailing: calling the mail server`.
pub(crate) fn order_line(order: &[Step; 3]) -> String {
    let mut words = Vec::new();
    for (step, word) in order.iter().zip(STEPS) {
        words.push(match step {
            Step::NotYet => continue,
            Step::Done(1) => word.to_owned(),
            Step::Done(attempt) => format!("{word} at attempt {attempt}"),
            Step::Available | Step::Scheduled(_) => format!("to be {word} next"),
            Step::Running(doing) if doing.is_empty() => format!("being {word}"),
            Step::Running(doing) => doing.clone(),
            Step::Retrying(wait, why) => {
                format!("not {word} yet ({why}, tried again in {})", seconds(*wait))
            }
            Step::Ended(why) => format!("not {word}: {why}"),
        });
    }
    words.join(", ")
}

/// The report in one line.
pub(crate) fn report_line(report: &Step, tally: Tally) -> String {
    match report {
        Step::NotYet => String::new(),
        // Past its time it snoozes until all is done, half a second each time.
        Step::Scheduled(wait) if *wait > Duration::from_millis(500) || tally.finished() == tally.jobs => {
            format!("due in {}", seconds(*wait))
        }
        Step::Scheduled(_) | Step::Available => "waits for the thumbnails to be done".into(),
        Step::Running(_) => "being written".into(),
        Step::Retrying(wait, why) => format!("failed ({why}), tried again in {}", seconds(*wait)),
        Step::Done(_) => "written".into(),
        Step::Ended(why) => format!("not written: {why}"),
    }
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

/// The pictures among our jobs that ended in one way, each once with its reason.
pub(crate) fn pictures_with_reasons(
    ledger: &Ledger,
    places: &Places,
    is_so: fn(State, bool) -> bool,
) -> BTreeMap<String, String> {
    let folder = PathText::from(places.photos.as_path());
    let ended = ledger.ours().filter(|entry| is_so(entry.row.state, entry.is_refused));
    ended
        .map(|entry| {
            let photo = entry.job.photo.as_path();
            // Of another folder, left by an earlier run: there the bare name would mislead.
            let name = if entry.job.folder == folder { photo.to_path_buf() } else { entry.job.source() };
            (name.display().to_string(), entry.row.reason.clone().unwrap_or_default())
        })
        .collect()
}

//! One turn of a schedule: from what a store holds of it, and from its runs, to what is written in one transaction.
//!
//! [`turn`] first takes over how runs ended, then [plans](super::plan::plan) what is due, then goes on with a backfill. It
//! makes the jobs. It reads no clock and draws no chance, so two processes that take the same turn decide the same, and a store
//! carries out the first.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Became, EndOfRun, Entry, Occurrence, RunReport, Schedule, State, Timetable, What,
    ended::{AfterRun, RunEnd, ended},
    notice::Notice,
    plan::{Because, Limits, Passed, Plan, plan},
    state::{Backfill, Failing, FailingOf, Tail},
    template::Values,
};
use crate::{Invalid, JobId, draft::NewJob};

/// How soon a schedule whose job cannot be made is planned again.
pub const FAILING_RETRY: Duration = Duration::from_secs(60);
/// How soon a schedule is planned again that waits for the end of a run.
const WATCH: Duration = Duration::from_secs(300);
/// Most occurrences of a backfill that one turn decides.
const BACKFILLED_MAX: u32 = 500;

/// What a turn is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The definition.
    pub schedule: &'a Schedule,
    /// Its state.
    pub state: &'a State,
    /// The runs whose entries are open.
    pub runs: &'a [OpenRun],
    /// What was reported about runs since the last turn, in order.
    pub reports: &'a [RunReport],
    /// The time of the store.
    pub now: Timestamp,
    /// How much one turn may decide.
    pub limits: Limits,
    /// Bound on the args, in bytes of JSON text.
    pub json_bytes_max: usize,
}

/// A run whose entry in the history is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// The job.
    pub job: JobId,
    /// The nominal time.
    pub nominal: Timestamp,
    /// Where it comes from.
    pub what: What,
    /// Whether the job exists and has not finished.
    pub is_live: bool,
}

/// What is to be written, all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The new state.
    pub state: State,
    /// When to take the next turn; none if only a report or a change of the definition leads to one.
    pub next_at: Option<Timestamp>,
    /// Jobs to insert. Each has an entry.
    pub jobs: Vec<NewJob>,
    /// Entries of the history, new ones and one that grows.
    pub entries: Vec<Entry>,
    /// Entries whose runs ended, or go on again (none), by job.
    pub ends: Vec<(JobId, Option<EndOfRun>)>,
    /// Jobs to cancel, before the rest is written.
    pub cancel: Vec<JobId>,
    /// What hooks, logs and metrics are to hear.
    pub news: Vec<News>,
    /// Callback jobs to insert that report to the URL of the definition. They are no runs and have no entries.
    pub notices: Vec<NewJob>,
}

/// What hooks, logs and metrics are to hear about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// Occurrences were missed.
    Missed(Passed),
    /// The job of an occurrence cannot be made, or a run was discarded: it fails now, and did not before.
    Failing(Failing),
    /// It fails no more; since when it did.
    FailsNoMore(Failing),
    /// The failure of the run of this nominal time has paused it.
    PausedByFailure {
        /// The nominal time of the run.
        nominal: Timestamp,
        /// Its job.
        job: JobId,
    },
    /// No run succeeded within the expected span, since this moment.
    Overdue {
        /// Since when.
        since: Timestamp,
    },
    /// A run succeeded after it was overdue.
    Recovered {
        /// Since when it was overdue.
        since: Timestamp,
    },
    /// The clock was set back: occurrences up to so far ahead are decided already and do not fire again.
    DecidedAhead {
        /// How far ahead.
        ahead: Duration,
    },
    /// A backfill has decided its last occurrence.
    Backfilled(Backfill),
}

/// Takes a turn.
pub fn turn(input: Input<'_>) -> Turn {
    let mut taking = Taking {
        input,
        turn: Turn {
            state: input.state.clone(),
            next_at: None,
            jobs: Vec::new(),
            entries: Vec::new(),
            ends: Vec::new(),
            cancel: Vec::new(),
            news: Vec::new(),
            notices: Vec::new(),
        },
        live: input.runs.iter().filter(|run| run.is_live).map(|run| (run.job, run.what)).collect(),
    };
    taking.take_over_reports();
    let before = taking.turn.clone();
    let mut turn = match taking.decide() {
        Ok(()) => taking.turn,
        Err(invalid) => failing(before, &invalid, input.now),
    };
    turn.notices = Notice::of(input.schedule, &turn.news, input.now);
    turn
}

/// The state in which nothing is decided, because the job cannot be made.
fn failing(mut turn: Turn, invalid: &Invalid, now: Timestamp) -> Turn {
    let why = crate::bounds::clip(&invalid.to_string(), crate::bounds::ERROR_BYTES_MAX);
    let since = turn.state.failing.as_ref().filter(|before| before.of == FailingOf::Job);
    let fails = Failing { since: since.map_or(now, |before| before.since), of: FailingOf::Job, why };
    if since.is_none() {
        turn.news.push(News::Failing(fails.clone()));
    }
    turn.state.failing = Some(fails);
    turn.next_at = Some(crate::bounds::later(now, FAILING_RETRY));
    turn
}

struct Taking<'a> {
    input: Input<'a>,
    turn: Turn,
    /// Jobs that are going.
    live: Vec<(JobId, What)>,
}

impl Taking<'_> {
    fn take_over_reports(&mut self) {
        let Input { runs, reports, now, .. } = self.input;
        for report in reports {
            let Some(run) = runs.iter().find(|run| run.job == report.job) else {
                // It ended before, and begins again: its entry opens. Of a run without an entry nothing is known.
                if report.became == Became::Live {
                    self.turn.ends.push((report.job, None));
                    self.live.push((report.job, What::Triggered));
                }
                continue;
            };
            self.live.retain(|(job, _)| *job != report.job);
            let end = match report.became {
                Became::Completed => RunEnd::Completed,
                Became::Discarded => RunEnd::Discarded,
                Became::Cancelled => RunEnd::Cancelled,
                Became::Live => {
                    self.turn.ends.push((report.job, None));
                    self.live.push((report.job, run.what));
                    continue;
                }
            };
            self.end(run, end, report);
        }
        // A job that was deleted, or ended without a report.
        let is_reported = |run: &&OpenRun| reports.iter().any(|report| report.job == run.job);
        for run in runs.iter().filter(|run| !run.is_live && !is_reported(run)) {
            let reason = Some("its job was deleted before its end was reported".to_owned());
            let end = EndOfRun { became: Became::Cancelled, at: now, reason };
            self.turn.ends.push((run.job, Some(end)));
        }
    }

    fn end(&mut self, run: &OpenRun, end: RunEnd, report: &RunReport) {
        let AfterRun { state, has_paused, was_overdue_since, .. } =
            ended(self.input.schedule, &self.turn.state, run.nominal, end, report.at);
        self.turn.state = state;
        let reason = report.reason.clone();
        let of_run = EndOfRun { became: report.became, at: report.at, reason: reason.clone() };
        self.turn.ends.push((run.job, Some(of_run)));
        if has_paused {
            self.turn.news.push(News::PausedByFailure { nominal: run.nominal, job: run.job });
        }
        if let Some(since) = was_overdue_since {
            self.turn.news.push(News::Recovered { since });
        }
        match end {
            RunEnd::Completed => self.fails_no_more(FailingOf::Run),
            RunEnd::Discarded if self.turn.state.failing.is_none() => {
                let why = format!("job {} was discarded: {}", run.job, reason.unwrap_or_default());
                let failing = Failing { since: report.at, of: FailingOf::Run, why };
                self.turn.state.failing = Some(failing.clone());
                self.turn.news.push(News::Failing(failing));
            }
            RunEnd::Discarded | RunEnd::Cancelled => {}
        }
    }

    fn fails_no_more(&mut self, of: FailingOf) {
        if let Some(failing) = self.turn.state.failing.take_if(|failing| failing.of == of) {
            self.turn.news.push(News::FailsNoMore(failing));
        }
    }

    fn decide(&mut self) -> Result<(), Invalid> {
        let Input { schedule, now, limits, .. } = self.input;
        let timetable = schedule.timetable()?;
        let going = self.live.iter().filter(|(_, what)| *what != What::Backfilled).count();
        let planned = plan(schedule, &timetable, &self.turn.state, going, now, limits);
        if planned.cancel_runs {
            let runs = self.live.iter().filter(|(_, what)| *what != What::Backfilled);
            self.turn.cancel = runs.map(|(job, _)| *job).collect();
        }
        self.carry_out(planned, &timetable)?;
        // Whatever could not be made before could be made now, or nothing had to be made: then it is known at the next one.
        if !self.turn.jobs.is_empty() {
            self.fails_no_more(FailingOf::Job);
        }
        self.go_on_with_backfill(&timetable)?;
        self.watch_what_waits();
        Ok(())
    }

    /// What waits for the end of a run is planned again from time to time: the job may be deleted, which is not reported.
    fn watch_what_waits(&mut self) {
        let turn = &mut self.turn;
        if !turn.state.buffer.is_empty() || turn.state.backfill.is_some_and(|backfill| backfill.is_running())
        {
            let watch = crate::bounds::later(self.input.now, WATCH);
            turn.next_at = Some(turn.next_at.map_or(watch, |at| at.min(watch)));
        }
    }

    fn carry_out(&mut self, planned: Plan, timetable: &Timetable) -> Result<(), Invalid> {
        let Plan { fire, passed, overdue_since, state, wake, decided_ahead, cancel_runs: _ } = planned;
        let last_success = self.turn.state.last_success.map(|success| success.nominal);
        self.turn.state = state;
        self.turn.next_at = wake.at;
        if let Some(since) = overdue_since {
            self.turn.news.push(News::Overdue { since });
        }
        if let Some(ahead) = decided_ahead {
            self.turn.news.push(News::DecidedAhead { ahead });
        }
        let (mut fire, mut passed) = (fire.into_iter().peekable(), passed.into_iter().peekable());
        // In the order of their times.
        while let (next_fire, Some(of_passed)) = (fire.peek(), passed.peek().copied()) {
            if next_fire.is_some_and(|firing| firing.nominal < of_passed.first) {
                self.fire(&mut fire, timetable, last_success)?;
            } else {
                self.pass(of_passed);
                passed.next();
            }
        }
        while fire.peek().is_some() {
            self.fire(&mut fire, timetable, last_success)?;
        }
        Ok(())
    }

    fn fire(
        &mut self,
        fire: &mut impl Iterator<Item = super::plan::Firing>,
        timetable: &Timetable,
        last_success: Option<Timestamp>,
    ) -> Result<(), Invalid> {
        let Some(firing) = fire.next() else { return Ok(()) };
        let what = match firing.because {
            Because::Due => What::Due,
            Because::CaughtUp => What::CaughtUp,
            Because::Buffered => What::Buffered,
        };
        let values = values(self.input.schedule, timetable, firing.nominal, last_success, firing.run_number);
        self.start(what, firing.nominal, &values)
    }

    /// Makes the job of an occurrence, and its entry.
    fn start(&mut self, what: What, nominal: Timestamp, values: &Values<'_>) -> Result<(), Invalid> {
        let Input { schedule, now, json_bytes_max, .. } = self.input;
        let occurrence = Occurrence { schedule: schedule.name.clone(), nominal };
        let id = occurrence.job_id();
        let job = new_job(schedule, occurrence, id, values, now, json_bytes_max)?;
        self.turn.jobs.push(job);
        let mut entry = Entry::new(self.next_seq(), what, nominal, now);
        entry.job = Some(id);
        self.turn.entries.push(entry);
        self.turn.state.tail = None;
        Ok(())
    }

    fn next_seq(&mut self) -> u64 {
        self.turn.state.entries += 1;
        self.turn.state.entries
    }

    fn pass(&mut self, passed: Passed) {
        if passed.why.is_missed() {
            self.turn.news.push(News::Missed(passed));
        }
        let what = What::Passed(passed.why);
        let joins = |tail: &Tail| tail.what == what && tail.last < passed.first;
        let (seq, tail) = match self.turn.state.tail.filter(joins) {
            Some(tail) => {
                let count = tail.count.saturating_add(passed.count);
                (self.turn.state.entries, Tail { last: passed.last, count, ..tail })
            }
            None => {
                let Passed { first, last, count, .. } = passed;
                (self.next_seq(), Tail { what, first, last, count })
            }
        };
        self.turn.state.tail = Some(tail);
        let mut entry = Entry::new(seq, what, tail.first, self.input.now);
        (entry.last, entry.count) = (tail.last, tail.count);
        // An entry of this very turn that grows is written once.
        self.turn.entries.retain(|other| other.seq != seq);
        self.turn.entries.push(entry);
    }

    fn go_on_with_backfill(&mut self, timetable: &Timetable) -> Result<(), Invalid> {
        let Some(mut backfill) = self.turn.state.backfill.filter(Backfill::is_running) else { return Ok(()) };
        let going = self.live.iter().filter(|(_, what)| *what == What::Backfilled).count();
        let going = u32::try_from(going).unwrap_or(u32::MAX);
        let free = backfill.at_once.saturating_sub(going).min(BACKFILLED_MAX);
        let last_success = self.turn.state.last_success.map(|success| success.nominal);
        for _ in 0..free {
            let next = timetable.next_after(backfill.decided_until).filter(|next| *next <= backfill.until);
            let Some(nominal) = next else {
                backfill.ended_at = Some(self.input.now);
                break;
            };
            backfill.decided_until = nominal;
            backfill.done += 1;
            self.turn.state.counters.backfilled += 1;
            let run_number = self.turn.state.counters.runs();
            let values = values(self.input.schedule, timetable, nominal, last_success, run_number);
            self.start(What::Backfilled, nominal, &values)?;
        }
        self.turn.state.backfill = Some(backfill);
        if backfill.ended_at.is_some() {
            self.turn.news.push(News::Backfilled(backfill));
        } else if free > 0 {
            // If there are more, the next turn finds its runs going, or goes on.
            self.turn.next_at = Some(self.input.now);
        }
        Ok(())
    }
}

fn values<'a>(
    schedule: &'a Schedule,
    timetable: &'a Timetable,
    nominal: Timestamp,
    last_success: Option<Timestamp>,
    run_number: u64,
) -> Values<'a> {
    Values { schedule: &schedule.name, zone: timetable.zone(), nominal, last_success, run_number }
}

/// The job of a run.
pub fn new_job(
    schedule: &Schedule,
    occurrence: Occurrence,
    id: JobId,
    values: &Values<'_>,
    now: Timestamp,
    json_bytes_max: usize,
) -> Result<NewJob, Invalid> {
    let mut new = schedule.job.draft(values)?.check(id, now, json_bytes_max)?;
    new.job.extras.occurrence = Some(Box::new(occurrence));
    Ok(new)
}

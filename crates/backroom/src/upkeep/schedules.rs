//! Fires what the clock starts.
//!
//! Every process with a worker that does the upkeep runs this. Each reads which schedules are due, decides their turns with
//! [`turn`], and writes them. Of several processes that decide the same turn, the store carries out the first. So nothing elects
//! a leader, and a process that dies leaves nothing behind.

use std::{collections::HashSet, sync::Arc, time::Duration};

use backroom_core::{
    Event, JobId, JobRow, Timestamp,
    bounds::span_until,
    schedule::{
        ScheduleRow,
        plan::Limits,
        turn::{Input, News, Turn, turn},
    },
};

use super::apply::apply_to_all;
use crate::{
    Error,
    client::{check_open, forget},
    ends::Ends,
    engine::{Engine, redaction},
    repeated::Repeated,
    schedule_news::{ScheduleEvent, ScheduleNews},
    store::{DueAfter, DueSchedule, Moved, ScheduleMove, is_outage},
};

/// Schedules in one page.
const PAGE: usize = 500;
/// Most jobs of one schedule in one turn.
const FIRE_MAX: u32 = 100;
/// A call writes moves until they have so many jobs, or so many bytes.
const JOBS_AT_ONCE: usize = 1000;
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// How often due schedules are read without a hint. Turns that are due later are known, and begin in time.
const POLL: Duration = Duration::from_secs(5);
/// The same where hints of other processes do not arrive.
const POLL_ALONE: Duration = Duration::from_secs(1);
/// The least time between two reads that hints lead to.
const BETWEEN_HINTS: Duration = Duration::from_millis(25);
/// The least wait. A wall clock that stands still right before the next turn must not keep this process busy.
const NAP: Duration = Duration::from_millis(1);
/// The wait while another process writes what this one decided too.
const WHILE_LOCKED: Duration = Duration::from_millis(40);
/// The wait after a tick that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Most schedules that this process cannot read and remembers to have reported.
const UNREADABLE_MAX: usize = 1000;

/// Runs schedules.
pub(super) struct Schedules {
    pub(super) ends: Arc<Ends>,
    pub(super) news: Arc<ScheduleNews>,
    unreadable: HashSet<String>,
    ahead: Repeated,
}

/// What a tick found to be next.
struct Next {
    /// When the next turn is due.
    at: Option<Timestamp>,
    /// Another process writes some of what is due.
    is_locked: bool,
}

impl Schedules {
    pub(super) fn new(ends: Arc<Ends>, news: Arc<ScheduleNews>) -> Self {
        Self { ends, news, unreadable: HashSet::new(), ahead: Repeated::default() }
    }

    /// Runs schedules until this future is dropped.
    pub(super) async fn run(mut self, engine: &Engine) {
        let hints = engine.store.notifier().subscribe_schedules();
        let mut failing = Repeated::default();
        loop {
            let began = engine.clock.monotonic();
            match self.tick(engine).await {
                Ok(next) => {
                    if let Some(times) = failing.over(began) {
                        tracing::warn!("to run schedules failed: {times}, now over");
                    }
                    rest(engine, &hints, next, began).await;
                }
                Err(error) => {
                    // The store's decorator logs outages.
                    if !is_outage(&error) && failing.met(began) {
                        tracing::error!(%error, "to run schedules failed; it is tried again");
                    }
                    engine.clock.sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes every turn that is due now.
    async fn tick(&mut self, engine: &Engine) -> Result<Next, Error> {
        let mut after: Option<Arc<DueAfter>> = None;
        let mut is_locked = false;
        loop {
            let now = engine.clock.now();
            let found = engine.store.due_schedules(after.take(), PAGE, now).await?;
            let (at, more, is_page) = (found.next_at, found.more, found.due.len() == PAGE);
            if found.due.is_empty() && found.reported.is_empty() {
                return Ok(Next { at, is_locked });
            }
            after = found.due.last().and_then(|due| {
                let (next_at, name) = (due.row.next_at?, due.row.name.clone());
                Some(Arc::new(DueAfter { next_at, name }))
            });
            let all = found.due.into_iter().chain(found.reported).collect();
            let (done, locked) = self.take_turns(engine, all, now).await?;
            is_locked |= locked;
            // What this program cannot read stays due, and must not lead to another read at once.
            if done == 0 && !is_page {
                return Ok(Next { at, is_locked });
            }
            if !more {
                // The turns that were taken may have led to others, and have moved what is next.
                after = None;
            }
        }
    }

    /// Decides and writes turns. Answers how many were written, and whether another process writes some of them.
    async fn take_turns(
        &mut self,
        engine: &Engine,
        schedules: Vec<DueSchedule>,
        now: Timestamp,
    ) -> Result<(usize, bool), Error> {
        let mut decided: Vec<(ScheduleMove, Vec<News>)> = Vec::new();
        let mut cancel: Vec<JobId> = Vec::new();
        for (index, due) in schedules.into_iter().enumerate() {
            if let Some((moving, turn)) = self.decide(engine, due, now) {
                cancel.extend(turn.cancel);
                decided.push((moving, turn.news));
            }
            // The runtime has other work.
            if index % 50 == 49 {
                tokio::task::yield_now().await;
            }
        }
        // Before the turns are written: a process that dies in between leaves turns that are decided again.
        self.cancel(engine, &cancel, now).await?;
        let (mut done, mut is_locked) = (0, false);
        let mut decided = decided.into_iter().peekable();
        while decided.peek().is_some() {
            let (mut moves, mut news, mut jobs, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
            while jobs < JOBS_AT_ONCE
                && bytes < BYTES_AT_ONCE
                && let Some((moving, of_move)) = decided.next()
            {
                jobs += moving.jobs.len();
                bytes += moving.row.definition.len() + moving.row.state.len();
                bytes += moving.jobs.iter().map(|new| new.job.bytes()).sum::<usize>();
                moves.push(moving);
                news.push(of_move);
            }
            let moves = Arc::new(moves);
            let answers = engine.store.move_schedules(Arc::clone(&moves)).await?;
            for ((moving, of_move), answer) in moves.iter().zip(&news).zip(answers) {
                match answer {
                    Moved::Done => {
                        done += 1;
                        self.report(engine, &moving.row, of_move, now);
                    }
                    // Another process was faster, or the schedule was changed or deleted.
                    Moved::Stale => {}
                    Moved::Locked => is_locked = true,
                }
            }
        }
        Ok((done, is_locked))
    }

    fn decide(&mut self, engine: &Engine, due: DueSchedule, now: Timestamp) -> Option<(ScheduleMove, Turn)> {
        let DueSchedule { row, runs, reports } = due;
        let (schedule, state) = match row.schedule().and_then(|schedule| Ok((schedule, row.state()?))) {
            Ok(read) => read,
            Err(error) => {
                self.cannot_read(&row, &error);
                return None;
            }
        };
        let (numbers, reports): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
        let limits = Limits { fire: FIRE_MAX, ..Limits::default() };
        let (json_bytes_max, schedule) = (engine.json_bytes_max, &schedule);
        let input =
            Input { schedule, state: &state, runs: &runs, reports: &reports, now, limits, json_bytes_max };
        let mut turn = turn(input);
        if !turn.jobs.is_empty()
            && let Err(error) = check_open(engine, schedule)
        {
            self.cannot_read(&row, &error);
            return None;
        }
        let after = match turn.state.stored() {
            Ok(state) => state,
            Err(error) => {
                self.cannot_read(&row, &error);
                return None;
            }
        };
        let moved = ScheduleRow {
            state: after,
            next_at: turn.next_at,
            revision: row.revision + 1,
            moved_by: engine.ids.lease().0,
            ..row
        };
        let mut moving = ScheduleMove::new(Some(row.revision), moved);
        forget(&mut moving, &turn.state, now);
        moving.jobs = std::mem::take(&mut turn.jobs);
        moving.notices = std::mem::take(&mut turn.notices);
        moving.entries = std::mem::take(&mut turn.entries);
        moving.ends = std::mem::take(&mut turn.ends);
        moving.taken_over = numbers;
        // Every process reads the next turn by itself.
        moving.notify = false;
        Some((moving, turn))
    }

    /// A newer program wrote it, or it is damaged. Other schedules go on; newer programs run this one.
    fn cannot_read(&mut self, row: &ScheduleRow, error: &backroom_core::Invalid) {
        if self.unreadable.len() < UNREADABLE_MAX && self.unreadable.insert(row.name.clone()) {
            let schedule = &row.name;
            tracing::error!(%schedule, %error, "this program cannot run a schedule; programs that can read it do");
        }
    }

    fn report(&mut self, engine: &Engine, row: &ScheduleRow, news: &[News], at: Timestamp) {
        // Only a failure has a text with values of a job.
        let fails = news.iter().any(|news| matches!(news, News::Failing(_)));
        let redaction = fails.then(|| row.schedule().ok()).flatten().map(|schedule| {
            let mut redaction = redaction(&engine.hidden, &schedule.job.kind, &schedule.job.extras.hidden);
            redaction.json(&schedule.job.args);
            redaction
        });
        let redaction = redaction.unwrap_or_default();
        for news in news {
            if matches!(news, News::DecidedAhead { .. }) {
                let reading = engine.clock.monotonic();
                self.ahead.over_if_quiet(reading);
                if !self.ahead.met(reading) {
                    continue;
                }
            }
            self.news.report(&ScheduleEvent { schedule: &row.name, at, news }, &redaction);
        }
    }

    /// Asks runs to stop that a newer occurrence replaces.
    async fn cancel(&self, engine: &Engine, jobs: &[JobId], now: Timestamp) -> Result<(), Error> {
        let mut rows: Vec<JobRow> = Vec::new();
        for job in jobs {
            rows.extend(engine.store.job(*job).await?.filter(|row| !row.state.is_finished()));
        }
        let event = Event::Cancel { reason: "the next occurrence of its schedule takes its place".into() };
        apply_to_all(engine, &self.ends, &rows, &event, now).await.map(drop)
    }
}

/// Waits for the next turn, for a hint, or for the time to read again.
async fn rest(engine: &Engine, hints: &crate::store::Listener, next: Next, began: Duration) {
    let poll = if engine.store.notifier().hears_others() { POLL } else { POLL_ALONE };
    let poll = if next.is_locked { WHILE_LOCKED } else { poll };
    let until_next = next.at.map_or(poll, |at| span_until(engine.clock.now(), at).min(poll)).max(NAP);
    tokio::select! {
        () = engine.clock.sleep(until_next) => {}
        () = hints.notified() => engine.clock.sleep_to(began.saturating_add(BETWEEN_HINTS)).await,
    }
}

//! What is to be done about a schedule at a moment.
//!
//! [`plan`] is a function of the definition, the state, the number of runs that are going, and the time. A store carries its
//! answer out in one transaction: it inserts the jobs, writes down what was skipped, and stores the new state. So the answer is
//! either carried out as a whole or computed again. [`plan`] decides a bounded number of occurrences; if more are due, it asks
//! to be called again at once.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Schedule, State, Timetable,
    jitter::due_at,
    policy::{CatchUp, ON_TIME, Overlap},
};
use crate::bounds::{later, span_until};

/// How much one plan may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most occurrences; default 10,000.
    pub decide: u32,
    /// Most jobs; default 500.
    pub fire: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { decide: 10_000, fire: 500 }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Jobs to insert, in order.
    pub fire: Vec<Firing>,
    /// Whether the runs that are going are to be cancelled.
    pub cancel_runs: bool,
    /// Occurrences that do not run, in order; neighbours with the same reason are one entry.
    pub passed: Vec<Passed>,
    /// Set once, when a success is overdue: since when.
    pub overdue_since: Option<Timestamp>,
    /// The state to store with all this.
    pub state: State,
    /// When to plan again.
    pub wake: Wake,
    /// Set if occurrences later than `now` have been decided already: the clock was set back. They do not fire again.
    pub decided_ahead: Option<Duration>,
}

/// An occurrence that becomes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// Its time by the timetable: together with the name of the schedule its identity.
    pub nominal: Timestamp,
    /// The nominal time and the jitter.
    pub due_at: Timestamp,
    /// 1 for the first run of the schedule.
    pub run_number: u64,
    /// Why it fires now.
    pub because: Because,
}

/// Why an occurrence fires now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is due.
    Due,
    /// It was missed, and the policy catches it up.
    CaughtUp,
    /// It waited for the end of a run.
    Buffered,
}

/// Neighbouring occurrences that do not run, for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// The nominal time of the first.
    pub first: Timestamp,
    /// The nominal time of the last.
    pub last: Timestamp,
    /// How many they are.
    pub count: u64,
    /// Why they do not run.
    pub why: Why,
}

/// Why an occurrence does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// A run was still going, and the overlap is `skip`.
    StillGoing,
    /// A run was still going, and the buffer was full.
    BufferFull,
    /// It waited, and a newer one took its place.
    Replaced,
    /// The schedule was paused at its time.
    Paused,
    /// It was missed, and the policy catches up nothing.
    NoCatchUp,
    /// It was missed, and is older than the window of the catch-up.
    TooOld,
    /// It was missed, and a newer one is due already.
    NewerIsDue,
    /// It was missed, and more were missed than the catch-up starts.
    TooMany,
}

/// When to plan again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wake {
    /// At this moment, if any.
    pub at: Option<Timestamp>,
    /// When a run of the schedule ends.
    pub at_end_of_run: bool,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::StillGoing,
        Self::BufferFull,
        Self::Replaced,
        Self::Paused,
        Self::NoCatchUp,
        Self::TooOld,
        Self::NewerIsDue,
        Self::TooMany,
    ];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StillGoing => "still_going",
            Self::BufferFull => "buffer_full",
            Self::Replaced => "replaced",
            Self::Paused => "paused",
            Self::NoCatchUp => "no_catch_up",
            Self::TooOld => "too_old",
            Self::NewerIsDue => "newer_is_due",
            Self::TooMany => "too_many",
        }
    }

    /// Whether it counts as missed. Otherwise it counts as skipped.
    pub const fn is_missed(self) -> bool {
        match self {
            Self::NoCatchUp | Self::TooOld | Self::NewerIsDue | Self::TooMany => true,
            Self::StillGoing | Self::BufferFull | Self::Replaced | Self::Paused => false,
        }
    }

    /// The reason as a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::StillGoing => "a run of the schedule was still going",
            Self::BufferFull => "a run of the schedule was still going, and the buffer was full",
            Self::Replaced => "a newer occurrence took its place while it waited for the end of a run",
            Self::Paused => "the schedule was paused",
            Self::NoCatchUp => "it was missed, and the schedule catches up nothing",
            Self::TooOld => "it was missed, and the window of the catch-up had passed",
            Self::NewerIsDue => "it was missed, and a newer occurrence was due already",
            Self::TooMany => "it was missed, and more were missed than the schedule catches up",
        }
    }
}

/// Decides what is due. `going` is the number of runs whose jobs have not finished; a job that waits for its retry is one.
pub fn plan(
    schedule: &Schedule,
    timetable: &Timetable,
    state: &State,
    going: usize,
    now: Timestamp,
    limits: Limits,
) -> Plan {
    let mut planner = Planner {
        schedule,
        timetable,
        now,
        limits,
        is_going: going > 0,
        was_going: going > 0,
        decided: 0,
        plan: Plan {
            fire: Vec::new(),
            cancel_runs: false,
            passed: Vec::new(),
            overdue_since: None,
            state: state.clone(),
            wake: Wake::default(),
            decided_ahead: None,
        },
    };
    planner.run();
    planner.plan
}

struct Planner<'a> {
    schedule: &'a Schedule,
    timetable: &'a Timetable,
    now: Timestamp,
    limits: Limits,
    /// Whether a run is going or was decided in this plan.
    is_going: bool,
    /// Whether a run was going before.
    was_going: bool,
    decided: u32,
    plan: Plan,
}

/// What is to be done with one occurrence.
enum Verdict {
    Pass(Why),
    Run(Because),
}

impl Planner<'_> {
    fn run(&mut self) {
        let ahead = span_until(self.now, self.plan.state.decided_until);
        self.plan.decided_ahead = (ahead > ON_TIME).then_some(ahead);
        if self.schedule.paused || self.plan.state.paused.is_some() {
            return;
        }
        self.decide_due();
        if self.schedule.policies.overlap == Overlap::CancelOther {
            self.cancel_others();
        }
        self.watch();
        self.plan.wake.at_end_of_run = !self.plan.state.buffer.is_empty();
    }

    fn decide_due(&mut self) {
        self.fire_buffered();
        let mut next = self.timetable.next_after(self.plan.state.decided_until);
        // Known only once it is needed: it costs a walk back.
        let mut caught_up_from = None;
        while let Some(nominal) = next {
            if self.is_spent() {
                self.plan.state.buffer.clear();
                return;
            }
            let due = self.due_at(nominal);
            if due > self.now {
                self.plan.wake.at = Some(due);
                return;
            }
            if self.is_over_limit() {
                self.plan.wake.at = Some(self.now);
                return;
            }
            next = self.timetable.next_after(nominal);
            let verdict = self.verdict(nominal, due, next, &mut caught_up_from);
            self.plan.state.decided_until = nominal;
            self.decided += 1;
            match verdict {
                Verdict::Pass(why) => self.pass(nominal, why),
                Verdict::Run(because) => self.start(nominal, because),
            }
        }
    }

    fn due_at(&self, nominal: Timestamp) -> Timestamp {
        due_at(&self.schedule.name, nominal, self.schedule.jitter)
    }

    fn is_spent(&self) -> bool {
        self.schedule.max_runs.is_some_and(|max| self.plan.state.counters.fired >= max)
    }

    fn is_over_limit(&self) -> bool {
        self.decided >= self.limits.decide.max(1) || self.plan.fire.len() >= self.limits.fire.max(1) as usize
    }

    fn verdict(
        &self,
        nominal: Timestamp,
        due: Timestamp,
        next: Option<Timestamp>,
        caught_up_from: &mut Option<Timestamp>,
    ) -> Verdict {
        if self.plan.state.was_paused_at(nominal) {
            return Verdict::Pass(Why::Paused);
        }
        let age = span_until(due, self.now);
        if age <= ON_TIME {
            return Verdict::Run(Because::Due);
        }
        match self.schedule.policies.catch_up {
            CatchUp::None => Verdict::Pass(Why::NoCatchUp),
            CatchUp::Once { window } | CatchUp::All { window, .. } if age > window => {
                Verdict::Pass(Why::TooOld)
            }
            CatchUp::Once { .. } => match next {
                Some(next) if self.due_at(next) <= self.now => Verdict::Pass(Why::NewerIsDue),
                Some(_) | None => Verdict::Run(Because::CaughtUp),
            },
            CatchUp::All { max, .. } => {
                let from = *caught_up_from.get_or_insert_with(|| self.newest_missed(max));
                if nominal < from { Verdict::Pass(Why::TooMany) } else { Verdict::Run(Because::CaughtUp) }
            }
        }
    }

    /// The nominal time of the oldest among the newest `max` occurrences that were missed.
    fn newest_missed(&self, max: u32) -> Timestamp {
        let on_time = crate::bounds::earlier(self.now, ON_TIME);
        let mut oldest = on_time;
        let mut counted = 0;
        while counted < max
            && let Some(previous) = self.timetable.previous_before(oldest)
            && previous > self.plan.state.decided_until
        {
            if self.due_at(previous) < on_time {
                counted += 1;
            }
            oldest = previous;
        }
        oldest
    }

    /// Starts a run, if the overlap lets it.
    fn start(&mut self, nominal: Timestamp, because: Because) {
        let overlap = self.schedule.policies.overlap;
        match overlap {
            Overlap::CancelOther => {
                let replaced = std::mem::take(&mut self.plan.state.buffer);
                replaced.into_iter().for_each(|replaced| self.pass(replaced, Why::Replaced));
                self.buffer(nominal);
                // What has to wait for the end of a run is known after the last occurrence.
                self.plan.cancel_runs = self.was_going;
            }
            Overlap::AllowAll => self.fire(nominal, because),
            Overlap::Skip | Overlap::BufferOne | Overlap::BufferAll(_) if !self.is_going => {
                self.fire(nominal, because);
            }
            Overlap::Skip => self.pass(nominal, Why::StillGoing),
            Overlap::BufferOne => self.buffer_up_to(nominal, 1),
            Overlap::BufferAll(size) => self.buffer_up_to(nominal, size as usize),
        }
    }

    fn buffer_up_to(&mut self, nominal: Timestamp, size: usize) {
        if self.plan.state.buffer.len() < size {
            self.buffer(nominal);
        } else {
            self.pass(nominal, Why::BufferFull);
        }
    }

    fn buffer(&mut self, nominal: Timestamp) {
        self.plan.state.buffer.push(nominal);
        self.plan.state.counters.buffered += 1;
    }

    /// What waited runs before what is due now: one occurrence, or all if the overlap has come to allow all.
    fn fire_buffered(&mut self) {
        let overlap = self.schedule.policies.overlap;
        if overlap == Overlap::CancelOther {
            return;
        }
        while (!self.is_going || overlap == Overlap::AllowAll)
            && !self.plan.state.buffer.is_empty()
            && !self.is_spent()
            && !self.is_over_limit()
        {
            let nominal = self.plan.state.buffer.remove(0);
            self.fire(nominal, Because::Buffered);
        }
    }

    /// The newest occurrence runs if nothing is going; otherwise it waits for the end of what was cancelled.
    fn cancel_others(&mut self) {
        let all_are_decided = self.plan.wake.at != Some(self.now);
        if self.was_going || !all_are_decided || self.is_spent() {
            return;
        }
        if let Some(nominal) = self.plan.state.buffer.pop() {
            let because = if self.decided == 0 { Because::Buffered } else { Because::Due };
            self.fire(nominal, because);
        }
    }

    fn fire(&mut self, nominal: Timestamp, because: Because) {
        self.is_going = true;
        let state = &mut self.plan.state;
        state.counters.fired += 1;
        state.last_fired = Some(nominal);
        let run_number = state.counters.runs();
        let due_at = self.due_at(nominal);
        self.plan.fire.push(Firing { nominal, due_at, run_number, because });
    }

    fn pass(&mut self, nominal: Timestamp, why: Why) {
        let counters = &mut self.plan.state.counters;
        *if why.is_missed() { &mut counters.missed } else { &mut counters.skipped } += 1;
        match self.plan.passed.last_mut() {
            Some(last) if last.why == why && last.last < nominal => {
                last.last = nominal;
                last.count += 1;
            }
            Some(_) | None => self.plan.passed.push(Passed { first: nominal, last: nominal, count: 1, why }),
        }
    }

    /// Whether a success is overdue, and otherwise when it will be. Of a schedule that has ended and whose runs have ended no
    /// success is expected.
    fn watch(&mut self) {
        let has_ended = self.is_spent() || self.timetable.next_after(self.plan.state.decided_until).is_none();
        if has_ended && !self.is_going {
            return;
        }
        let Some(span) = self.schedule.policies.deadman else { return };
        let state = &mut self.plan.state;
        if state.overdue_since.is_some() {
            return;
        }
        let success =
            state.last_success.map_or(state.watched_since, |success| success.at.max(state.watched_since));
        let deadline = later(success, span);
        if deadline <= self.now {
            state.overdue_since = Some(deadline);
            self.plan.overdue_since = Some(deadline);
        } else {
            let wake = &mut self.plan.wake.at;
            *wake = Some(wake.map_or(deadline, |at| at.min(deadline)));
        }
    }
}

//! A schedule as a program writes it.

use std::time::Duration;

use backroom_core::{
    Invalid, Json, RetryPolicy, Timestamp,
    schedule::{
        self as core, ScheduledJob, Spec,
        policy::{CatchUp, Dst, OnFailure, Overlap},
    },
};

use crate::{
    Error, ErrorKind, Job,
    client::job::{draft_of, template},
};

/// A schedule before it is put: when it fires, in which zone, and which job it starts.
///
/// ```
/// # use backroom::{Backroom, Job, Schedule, schedule::policy::Overlap};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { day: String }
/// # impl Job for Report { const KIND: &'static str = "report"; type Output = (); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), backroom::Error> {
/// # let backroom = Backroom::open("memory:").await?;
/// let nightly = Schedule::cron("0 2 * * *")
///     .name("nightly report")
///     .zone("Europe/Oslo")
///     .overlap(Overlap::BufferOne)
///     .job(&Report { day: "{{nominal | date}}".into() });
/// backroom.schedules().put(nightly).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a schedule does nothing until it is put"]
pub struct Schedule {
    definition: core::Schedule,
    is_named: bool,
    has_job: bool,
    /// The first error of the calls so far.
    wrong: Option<Invalid>,
}

impl Schedule {
    /// By a cron expression of five fields, or six with the seconds first.
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::spec(Spec::cron(expression))
    }

    /// After each `interval` of real time, counted from 1970-01-01T00:00:00Z.
    pub fn every(interval: Duration) -> Self {
        Self::spec(Spec::every(interval))
    }

    /// Once, at this moment.
    pub fn once(at: Timestamp) -> Self {
        Self::spec(Spec::At(vec![core::calendar::Moment::Exact(at)]))
    }

    /// By any spec, such as a calendar or a recurrence rule.
    pub fn spec(spec: Spec) -> Self {
        let job = ScheduledJob::new(String::new(), Json::null());
        let definition = core::Schedule::new(String::new(), spec, job);
        Self { definition, is_named: false, has_job: false, wrong: None }
    }

    /// Its name; default the kind of its job. Putting a schedule of the same name replaces the definition.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.definition.name = name.into();
        self.is_named = true;
        self
    }

    /// Fires by this spec as well.
    pub fn also(mut self, spec: Spec) -> Self {
        self.definition.specs.push(spec);
        self
    }

    /// Does not fire where this spec says.
    pub fn except(mut self, spec: Spec) -> Self {
        self.definition.except.push(spec);
        self
    }

    /// The zone whose wall clock counts: a name of the IANA time zone database. Default `UTC`.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.definition.zone = zone.into();
        self
    }

    /// No occurrence before this moment.
    pub fn starts_at(mut self, at: Timestamp) -> Self {
        self.definition.starts_at = Some(at);
        self
    }

    /// No occurrence after this moment.
    pub fn ends_at(mut self, at: Timestamp) -> Self {
        self.definition.ends_at = Some(at);
        self
    }

    /// Each occurrence is delayed by less than this span, always by the same one.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.definition.jitter = jitter;
        self
    }

    /// It ends after so many runs that the clock started.
    pub fn max_runs(mut self, runs: u64) -> Self {
        self.definition.max_runs = Some(runs);
        self
    }

    /// It is meant to fire more often than every ten seconds.
    pub fn frequent(mut self) -> Self {
        self.definition.frequent = true;
        self
    }

    /// It does not fire until it is put without this.
    pub fn paused(mut self) -> Self {
        self.definition.paused = true;
        self
    }

    /// What an occurrence does while a run is still going. Default [`Overlap::Skip`].
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.definition.policies.overlap = overlap;
        self
    }

    /// What becomes of missed occurrences. Default the newest, within an hour.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.definition.policies.catch_up = catch_up;
        self
    }

    /// What an occurrence does where clocks are changed. Default [`Dst::Once`].
    pub fn dst(mut self, dst: Dst) -> Self {
        self.definition.policies.dst = dst;
        self
    }

    /// What a failure does to the schedule. Default nothing.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.definition.policies.on_failure = on_failure;
        self
    }

    /// A run must succeed within this span after the last success; otherwise the schedule is reported as overdue.
    pub fn deadman(mut self, span: Duration) -> Self {
        self.definition.policies.deadman = Some(span);
        self
    }

    /// The job of each occurrence. Strings of the args may have places that are filled in, such as `{{nominal}}`. Queue, priority,
    /// attempts and timeout are those of the kind, unless set after this. A rule for unique jobs does not apply: each occurrence
    /// is a job, and `overlap` says what happens while one is going.
    pub fn job<J: Job>(mut self, job: &J) -> Self {
        match draft_of(job) {
            Ok(draft) => self.set_job(draft),
            Err(error) => {
                self.set_job(template::<J>());
                self.wrong.get_or_insert(Invalid::new("args", error.message().to_owned()));
            }
        }
        self
    }

    /// The job of each occurrence by the name of its kind.
    pub fn job_untyped(mut self, kind: impl Into<String>, args: Json) -> Self {
        self.set_job(backroom_core::Draft::new(kind, args));
        self
    }

    fn set_job(&mut self, draft: backroom_core::Draft) {
        if let Some(key) = &draft.seal {
            // Its args would stand in the schedule as they are.
            let why = format!(
                "{:?} is sealed with the key {key:?}, and a schedule cannot be; schedule a kind whose handler enqueues it",
                draft.kind
            );
            self.wrong.get_or_insert(Invalid::new("kind", why));
        }
        let job = &mut self.definition.job;
        (job.kind, job.args, job.queue) = (draft.kind, draft.args, draft.queue);
        (job.priority, job.max_attempts) = (draft.priority, draft.max_attempts);
        (job.tags, job.extras) = (draft.tags, draft.extras);
        self.has_job = true;
    }

    /// The queue of its jobs.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.definition.job.queue = queue.into();
        self
    }

    /// The lane of its jobs.
    pub fn lane(mut self, lane: impl Into<String>) -> Self {
        self.definition.job.lane = Some(lane.into());
        self
    }

    /// The priority of its jobs, 0 (first) to 9 (last).
    pub fn priority(mut self, priority: u8) -> Self {
        self.definition.job.priority = priority;
        self
    }

    /// Attempts allowed for each job, the first included.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.definition.job.max_attempts = Some(attempts);
        self
    }

    /// Longest run of one attempt.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.definition.job.extras.timeout = Some(timeout);
        self
    }

    /// The wait between attempts.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.definition.job.extras.retry = Some(retry);
        self
    }

    /// A job that has not begun this long after it was fired is cancelled.
    pub fn expire_after(mut self, span: Duration) -> Self {
        self.definition.job.expire_after = Some(span);
        self
    }

    /// A label of its jobs, to filter by.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.definition.job.tags.push(tag.into());
        self
    }

    /// The definition, unchecked.
    pub fn definition(self) -> Result<core::Schedule, Error> {
        let Self { mut definition, is_named, has_job, wrong } = self;
        if let Some(wrong) = wrong {
            return Err(wrong.into());
        }
        if !has_job {
            let why = "put a schedule: it has no job; call `job` or `job_untyped`";
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        if !is_named {
            definition.name.clone_from(&definition.job.kind);
        }
        Ok(definition)
    }
}

impl From<core::Schedule> for Schedule {
    fn from(definition: core::Schedule) -> Self {
        Self { definition, is_named: true, has_job: true, wrong: None }
    }
}

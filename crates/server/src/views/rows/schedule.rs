//! Schemas of a schedule: its definition, and what has happened to it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::job::ExtrasSchema;

/// Where a definition comes from.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleOrigin)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OriginSchema {
    /// A program.
    Program,
    /// The settings of a server.
    Settings,
    /// The API or the command line.
    Api,
}

/// The definition of a schedule, as it is stored.
#[derive(ToSchema)]
#[schema(as = ScheduleDefinition)]
pub(crate) struct DefinitionSchema {
    /// Its name.
    name: String,
    /// When it fires: the union of these.
    specs: Vec<SpecSchema>,
    /// When it does not fire although a spec says so.
    #[schema(required = false)]
    except: Vec<SpecSchema>,
    /// A name of the IANA time zone database.
    zone: String,
    /// No occurrence before this moment.
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    /// No occurrence after this moment.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// Each occurrence is delayed by less than so many milliseconds, always by the same span.
    #[schema(required = false)]
    jitter_ms: u64,
    /// It ends after so many runs that the clock started.
    max_runs: Option<u64>,
    /// It is meant to fire more often than every ten seconds.
    #[schema(required = false)]
    frequent: bool,
    /// It does not fire while this is true.
    #[schema(required = false)]
    paused: bool,
    /// The choices for overlaps, outages, changes of the offset, and failures.
    policies: PoliciesSchema,
    /// A URL that is called back when it is overdue or failing, and when it is well again.
    notify: Option<String>,
    /// The job of each occurrence.
    job: ScheduledJobSchema,
}

/// A source of occurrences, as people write it or as it is stored.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleExpression)]
#[serde(untagged)]
pub(crate) enum ExpressionSchema {
    /// An expression: `0 2 * * *`, `@daily`, `every 15m`, `at 2026-12-24T18:00`, `quartz 0 0 2 * * ?`, or the lines of a recurrence rule.
    Short(String),
    /// As it is stored.
    Whole(SpecSchema),
}

/// A source of occurrences.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleSpec)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SpecSchema {
    /// A cron expression of five fields, or six with the seconds first.
    Cron(String),
    /// A cron expression in the dialect of Quartz.
    Quartz(String),
    /// A span that repeats.
    Every(EverySchema),
    /// Dates with times of the day.
    Calendar(CalendarSchema),
    /// A recurrence rule of RFC 5545: the lines `DTSTART`, `RRULE` and `EXDATE`.
    Rrule(String),
    /// Single moments.
    At(Vec<String>),
}

/// A span that repeats.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleEvery)]
pub(crate) struct EverySchema {
    /// The span between two occurrences in milliseconds, at least 1000.
    #[schema(minimum = 1000)]
    interval_ms: u64,
    /// Moves every occurrence by so many milliseconds.
    #[schema(required = false)]
    phase_ms: u64,
    /// One of the occurrences, without the phase. Default 1970-01-01T00:00:00Z.
    #[schema(format = DateTime)]
    anchor: Option<String>,
}

/// Dates with times of the day.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleCalendar)]
pub(crate) struct CalendarSchema {
    /// The dates, as `2026-12-24`.
    dates: Vec<String>,
    /// The times, as `06:30`. Where the calendar is an exclusion, none means the whole day.
    #[schema(required = false)]
    at: Vec<String>,
}

/// The choices of a schedule.
#[derive(ToSchema)]
#[schema(as = SchedulePolicies)]
pub(crate) struct PoliciesSchema {
    /// While a run is still going. Default `skip`.
    #[schema(required = false)]
    overlap: OverlapSchema,
    /// After an outage. Default once within an hour.
    #[schema(required = false)]
    catch_up: CatchUpSchema,
    /// Where the offset of the zone changes. Default `once`.
    #[schema(required = false)]
    dst: DstSchema,
    /// After a failure. Default `go_on`.
    #[schema(required = false)]
    on_failure: OnFailureSchema,
    /// A run must succeed within so many milliseconds after the last success, or the schedule is overdue.
    deadman_ms: Option<u64>,
}

/// What an occurrence does while a run is still going.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleOverlap)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverlapSchema {
    /// It does not run.
    Skip,
    /// One occurrence waits for the end of the run.
    BufferOne,
    /// So many occurrences wait, and run one after the other.
    BufferAll(u32),
    /// The run is cancelled, and the occurrence runs when it has ended.
    CancelOther,
    /// It runs beside the others.
    AllowAll,
}

/// What happens with occurrences that were missed.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleCatchUp)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CatchUpSchema {
    /// The newest runs, if it is no older than the window.
    Once {
        /// In milliseconds.
        window_ms: u64,
    },
    /// All within the window run, the oldest first, at most the newest `max` of them.
    All {
        /// In milliseconds.
        window_ms: u64,
        /// At most 1000.
        max: u32,
    },
    /// None runs.
    None,
}

/// What an occurrence does where the offset of the zone changes.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleDst)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DstSchema {
    /// It fires once: in a gap at its end, in a fold the first time.
    Once,
    /// It fires when the wall clock shows its time: never in a gap, twice in a fold.
    Literal,
}

/// What the failure of a run does to the schedule.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleOnFailure)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailureSchema {
    /// Nothing.
    GoOn,
    /// It is paused until an operator resumes it.
    Pause,
}

/// The job of each occurrence.
#[derive(ToSchema)]
#[schema(as = ScheduledJob)]
pub(crate) struct ScheduledJobSchema {
    /// Which handler runs it.
    kind: String,
    /// A template of the args: strings may hold places such as `{{nominal}}`. Default null.
    #[schema(required = false)]
    args: Value,
    /// Where it waits. Default `default`.
    #[schema(required = false)]
    queue: String,
    /// Key inside the queue.
    lane: Option<String>,
    /// 0 (first) to 9 (last). Default 5.
    #[schema(minimum = 0, maximum = 9, required = false)]
    priority: u8,
    /// A job that has not begun so many milliseconds after it was due is cancelled.
    expire_after_ms: Option<u64>,
    /// Attempts allowed, the first included.
    max_attempts: Option<u32>,
    /// Labels to filter by.
    #[schema(required = false)]
    tags: Vec<String>,
    /// Everything else that can be chosen for a job.
    #[schema(required = false)]
    extras: ExtrasSchema,
}

/// Since when a schedule is paused, and by whom.
#[derive(ToSchema)]
#[schema(as = SchedulePause)]
pub(crate) struct PauseSchema {
    /// Since when.
    #[schema(format = DateTime)]
    at: String,
    /// Who paused it.
    by: SchedulePausedBySchema,
}

/// Who paused a schedule.
#[derive(Serialize, ToSchema)]
#[schema(as = SchedulePausedBy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SchedulePausedBySchema {
    /// An operator, or a program.
    Operator,
    /// Its policy, because the run of this nominal time failed.
    Failure(String),
}

/// Since when a schedule fails, and why.
#[derive(ToSchema)]
#[schema(as = ScheduleFailing)]
pub(crate) struct FailingSchema {
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// What fails.
    of: FailingOfSchema,
    /// Why, in one line.
    why: String,
}

/// What fails of a schedule.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleFailingOf)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailingOfSchema {
    /// Its next job cannot be made. Its occurrences wait until the definition is corrected.
    Job,
    /// Its last run was discarded.
    Run,
}

/// A run that completed.
#[derive(ToSchema)]
#[schema(as = ScheduleSuccess)]
pub(crate) struct SuccessSchema {
    /// Its nominal time.
    #[schema(format = DateTime)]
    nominal: String,
    /// When it completed.
    #[schema(format = DateTime)]
    at: String,
}

/// What became of the occurrences. Each of them is counted once under fired, skipped or missed.
#[derive(ToSchema)]
#[schema(as = ScheduleCounters)]
pub(crate) struct CountersSchema {
    /// Became a job.
    fired: u64,
    /// Did not run by a policy, or in a pause.
    skipped: u64,
    /// Were missed and not caught up.
    missed: u64,
    /// Waited for the end of a run before they were fired or skipped.
    buffered: u64,
    /// Runs that were triggered by hand or by an outside timer.
    triggered: u64,
    /// Runs that a backfill started.
    backfilled: u64,
}

/// The occurrences of a range in the past, run after the fact.
#[derive(ToSchema)]
#[schema(as = ScheduleBackfill)]
pub(crate) struct BackfillSchema {
    /// No occurrence before this moment.
    #[schema(format = DateTime)]
    from: String,
    /// No occurrence after this moment.
    #[schema(format = DateTime)]
    until: String,
    /// How many occurrences the range has.
    total: u64,
    /// How many of them were decided so far.
    done: u64,
    /// Every occurrence of the range up to this moment has been decided.
    #[schema(format = DateTime)]
    decided_until: String,
    /// At most so many of its runs go on at once.
    at_once: u32,
    /// When it was started.
    #[schema(format = DateTime)]
    started_at: String,
    /// When it ended, or was stopped.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

/// How a run ended.
#[derive(ToSchema)]
#[schema(as = EndOfRun)]
pub(crate) struct EndOfRunSchema {
    /// How: `completed`, `discarded` or `cancelled`; `live` if its job had finished and begins again.
    became: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Why it was discarded or cancelled.
    reason: Option<String>,
}

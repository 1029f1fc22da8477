//! A schedule and its history as they are answered, by the API and by `--json`.

use backroom::{
    Backroom, JobId, Redacted, ScheduleInfo, ScheduleSummary, Timestamp,
    schedule::{
        EndOfRun, Entry, Origin, Schedule, What,
        state::{Backfill, Counters, Failing, Pause, Success},
    },
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{
    preview::{OccurrenceView, occurrence},
    rows::schedule::{
        BackfillSchema, CountersSchema, DefinitionSchema, EndOfRunSchema, FailingSchema, OriginSchema,
        PauseSchema, SuccessSchema,
    },
};

/// Whether it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It fires.
    Active,
    /// Its definition, an operator, or its policy after a failure has paused it.
    Paused,
    /// It has no occurrence left.
    Ended,
    /// A newer version of Backroom has put it, or its text is damaged.
    Unreadable,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleView {
    /// Its name.
    pub(crate) name: String,
    /// Where its definition comes from.
    #[schema(value_type = OriginSchema)]
    pub(crate) origin: Origin,
    /// Whether it fires.
    pub(crate) status: Status,
    /// What it means, in plain language; null if it is unreadable.
    pub(crate) description: Option<String>,
    /// The next occurrence; null if there is none, or while it is paused.
    pub(crate) next: Option<OccurrenceView>,
    /// Since when an operator or its policy has paused it; null if only its definition has, or nothing.
    #[schema(value_type = Option<PauseSchema>)]
    pub(crate) paused: Option<Pause>,
    /// Since when it fails, and why; null while it does not.
    #[schema(value_type = Option<FailingSchema>)]
    pub(crate) failing: Option<Failing>,
    /// Since when a success is overdue; null while it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) overdue_since: Option<Timestamp>,
    /// The nominal time of the last run that the clock started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_fired: Option<Timestamp>,
    /// The last run that completed.
    #[schema(value_type = Option<SuccessSchema>)]
    pub(crate) last_success: Option<Success>,
    /// What became of its occurrences.
    #[schema(value_type = CountersSchema)]
    pub(crate) counters: Counters,
    /// Occurrences that wait for the end of a run.
    #[schema(value_type = Vec<String>)]
    pub(crate) waiting: Vec<Timestamp>,
    /// The last backfill.
    #[schema(value_type = Option<BackfillSchema>)]
    pub(crate) backfill: Option<Backfill>,
    /// When it was put first.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When its definition changed last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) changed_at: Timestamp,
    /// The definition, as `PUT` takes it; null if it is unreadable.
    #[schema(value_type = Option<DefinitionSchema>)]
    pub(crate) definition: Option<Schedule>,
    /// The version of the whole definition, where fields of this one are hidden.
    #[serde(skip)]
    version: Option<String>,
}

/// A schedule with its runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct WholeSchedule {
    /// The schedule.
    pub(crate) schedule: ScheduleView,
    /// Runs that are going.
    pub(crate) going: Vec<EntryView>,
    /// The last ten runs, the newest first.
    pub(crate) last: Vec<EntryView>,
    /// The next ten occurrences.
    pub(crate) next: Vec<OccurrenceView>,
}

/// A page of schedules, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct SchedulePage {
    /// The schedules.
    pub(crate) schedules: Vec<ScheduleView>,
    /// Pass it as `after` for the next page; null on the last one.
    pub(crate) next: Option<String>,
}

/// An entry of the history: a run, or neighbouring occurrences that did not run, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EntryView {
    /// Its number in the history of the schedule.
    pub(crate) seq: u64,
    /// `due`, `caught_up`, `buffered`, `triggered`, `backfilled`; or why it did not run: `still_going`, `buffer_full`, `replaced`, `paused`,
    /// `no_catch_up`, `too_old`, `newer_is_due`, `too_many`.
    #[schema(value_type = String)]
    pub(crate) what: What,
    /// The same as a sentence.
    pub(crate) words: String,
    /// The nominal time; of several occurrences, that of the first.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) first: Timestamp,
    /// The nominal time of the last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last: Timestamp,
    /// How many occurrences they are.
    pub(crate) count: u64,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// The job, if it runs.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) job: Option<JobId>,
    /// The idempotency key of a trigger.
    pub(crate) key: Option<String>,
    /// How the run ended; null while it is going.
    #[schema(value_type = Option<EndOfRunSchema>)]
    pub(crate) end: Option<EndOfRun>,
}

/// A page of a history, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct EntryPage {
    /// The entries.
    pub(crate) entries: Vec<EntryView>,
    /// Pass it as `before` for the next page; null on the last one.
    pub(crate) next: Option<u64>,
}

impl EntryPage {
    /// A page of the history of a schedule, as readers see it.
    pub(crate) async fn read(
        backroom: &Backroom,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Self, backroom::Error> {
        let found = backroom.schedules().history(name, before, limit).await?;
        let next = if found.len() == limit { found.last().map(|last| last.seq) } else { None };
        let info = backroom.schedules().get(name).await?;
        let redacted = info.map(|info| backroom.redacted_schedule(info.summary).1).unwrap_or_default();
        let entries = found.into_iter().map(|entry| redacted.entry(entry).into());
        Ok(Self { entries: entries.collect(), next })
    }
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let Entry { seq, what, first, last, count, at, job, key, end, .. } = entry;
        Self { seq, what, words: what.sentence().to_owned(), first, last, count, at, job, key, end }
    }
}

impl ScheduleView {
    /// A schedule as readers see it, without hidden fields; and what hides them in its history.
    pub(crate) fn of(backroom: &Backroom, summary: ScheduleSummary) -> (Self, Redacted) {
        let version = version(summary.origin, summary.definition.as_ref());
        let (summary, redacted) = backroom.redacted_schedule(summary);
        (Self { version: Some(version), ..Self::new(summary) }, redacted)
    }

    /// A schedule with all its fields, to compare it.
    pub(crate) fn new(summary: ScheduleSummary) -> Self {
        let ScheduleSummary {
            name, origin, created_at, changed_at, definition, state, next, failing, ..
        } = summary;
        let timetable = definition.as_ref().and_then(|definition| definition.timetable().ok());
        let is_paused = definition.as_ref().is_some_and(|definition| definition.paused)
            || state.as_ref().is_some_and(|state| state.paused.is_some());
        let status = match (&definition, &state) {
            (Some(_), Some(_)) if is_paused => Status::Paused,
            (Some(_), Some(_)) if next.is_none() => Status::Ended,
            (Some(_), Some(_)) => Status::Active,
            (None, _) | (_, None) => Status::Unreadable,
        };
        let description = definition.as_ref().and_then(|definition| definition.describe().ok());
        let of_state = state.unwrap_or_else(|| backroom::schedule::State::begin(created_at));
        Self {
            name,
            origin,
            status,
            description,
            next: next.zip(timetable).map(|(at, timetable)| occurrence(&timetable, at, None)),
            paused: of_state.paused,
            failing,
            overdue_since: of_state.overdue_since,
            last_fired: of_state.last_fired,
            last_success: of_state.last_success,
            counters: of_state.counters,
            waiting: of_state.buffer,
            backfill: of_state.backfill,
            created_at,
            changed_at,
            definition,
            version: None,
        }
    }

    /// In a word or two, the worst first: for a table.
    pub(crate) fn condition(&self) -> String {
        let mut words = vec![self.status.as_str()];
        if self.failing.is_some() {
            words.insert(0, "failing");
        }
        if self.overdue_since.is_some() {
            words.insert(0, "overdue");
        }
        words.join(", ")
    }

    /// The version of the definition, for `ETag`.
    pub(crate) fn etag(&self) -> String {
        self.version.clone().unwrap_or_else(|| version(self.origin, self.definition.as_ref()))
    }
}

fn version(origin: Origin, definition: Option<&Schedule>) -> String {
    let text = serde_json::to_vec(&(origin, definition)).expect("invariant: a definition is JSON");
    let hash = Sha256::digest(text);
    let short = hash.iter().take(8).fold(0u64, |short, byte| short << 8 | u64::from(*byte));
    format!("\"{short:016x}\"")
}

impl WholeSchedule {
    /// A schedule with its runs, as readers see it.
    pub(crate) fn of(backroom: &Backroom, info: ScheduleInfo) -> Self {
        let ScheduleInfo { summary, going, last, upcoming, .. } = info;
        let timetable = summary.definition.as_ref().and_then(|definition| definition.timetable().ok());
        let mut before = None;
        let next = timetable.map_or_else(Vec::new, |timetable| {
            upcoming.into_iter().map(|at| occurrence(&timetable, at, before.replace(at))).collect()
        });
        let (schedule, redacted) = ScheduleView::of(backroom, summary);
        let entries = |entries: Vec<Entry>| {
            entries.into_iter().map(|entry| EntryView::from(redacted.entry(entry))).collect()
        };
        Self { schedule, going: entries(going), last: entries(last), next }
    }
}

/// What became of a schedule that was put.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PutView {
    /// `created`, `changed` or `unchanged`.
    pub(crate) outcome: PutOutcome,
    /// The schedule as it is now.
    pub(crate) schedule: ScheduleView,
}

/// What became of a schedule that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PutOutcome {
    /// It is new.
    Created,
    /// Its definition has changed.
    Changed,
    /// It was the same already.
    Unchanged,
}

impl From<backroom::Put> for PutOutcome {
    fn from(put: backroom::Put) -> Self {
        match put {
            backroom::Put::Created => Self::Created,
            backroom::Put::Changed => Self::Changed,
            backroom::Put::Unchanged => Self::Unchanged,
        }
    }
}

/// The run that was triggered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct TriggeredView {
    /// Its job; of a key that was used before, the job of the first trigger.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: JobId,
}

/// A backfill that was counted or begun.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct BackfillView {
    /// How many occurrences the range has; a million stands for that many and more.
    pub(crate) total: u64,
    /// The backfill; null if it was only counted.
    #[schema(value_type = Option<BackfillSchema>)]
    pub(crate) backfill: Option<Backfill>,
}

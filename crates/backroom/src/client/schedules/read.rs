//! What people want to know of schedules.

use backroom_core::{
    Timestamp,
    schedule::{
        self as core, Entry, Origin, ScheduleRow, State,
        plan::{Limits, plan},
        state::{Failing, FailingOf},
    },
};
use serde::Serialize;

use super::Schedules;
use crate::Error;

/// Most schedules on one page, and most entries of a history.
const PAGE_MAX: usize = 1000;
/// Runs and occurrences that are shown of one schedule.
const SHOWN: usize = 10;
/// Entries that are searched for the last runs.
const SEARCHED: usize = 200;

/// A schedule in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScheduleSummary {
    /// Its name.
    pub name: String,
    /// Where its definition comes from.
    pub origin: Origin,
    /// When it was put first.
    pub created_at: Timestamp,
    /// When its definition changed last.
    pub changed_at: Timestamp,
    /// The definition; none if this program cannot read it.
    pub definition: Option<core::Schedule>,
    /// What has happened to it; none if this program cannot read it.
    pub state: Option<State>,
    /// The next occurrence; none if there is none, or while it is paused.
    pub next: Option<Timestamp>,
    /// Since when it fails, and why.
    pub failing: Option<Failing>,
}

/// Everything about one schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScheduleInfo {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: ScheduleSummary,
    /// When it fires, in plain language.
    pub description: Option<String>,
    /// Runs that are going.
    pub going: Vec<Entry>,
    /// The last ten runs, the newest first.
    pub last: Vec<Entry>,
    /// The next ten occurrences.
    pub upcoming: Vec<Timestamp>,
}

impl Schedules {
    /// Everything about one schedule; none if there is none of this name.
    pub async fn get(&self, name: &str) -> Result<Option<ScheduleInfo>, Error> {
        backroom_core::bounds::check_name("schedule name", name)?;
        let store = self.backroom.store();
        let Some(row) = store.schedule(name).await? else { return Ok(None) };
        let entries = store.entries(name, None, SEARCHED).await?;
        let now = self.backroom.engine().clock.now();
        let summary = summary(row, now);
        let runs = || entries.iter().filter(|entry| entry.job.is_some());
        let upcoming = match (&summary.definition, summary.next) {
            (Some(definition), Some(next)) => {
                let after = definition.timetable().map(|timetable| timetable.next_few(next, SHOWN - 1));
                std::iter::once(next).chain(after.unwrap_or_default()).collect()
            }
            _ => Vec::new(),
        };
        Ok(Some(ScheduleInfo {
            description: summary.definition.as_ref().and_then(|definition| definition.describe().ok()),
            going: runs().filter(|entry| entry.is_open()).cloned().collect(),
            last: runs().take(SHOWN).cloned().collect(),
            upcoming,
            summary,
        }))
    }

    /// Schedules by name, after `after` when given, at most `limit` and at most a thousand.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleSummary>, Error> {
        let rows = self.backroom.store().schedules(after, limit.min(PAGE_MAX)).await?;
        let now = self.backroom.engine().clock.now();
        Ok(rows.into_iter().map(|row| summary(row, now)).collect())
    }

    /// The history of a schedule, the newest first, before the number `before` when given, at most `limit` and at most a thousand
    /// entries. It has about the last thousand entries; neighbouring occurrences that did not run, for one reason, are one.
    pub async fn history(&self, name: &str, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        self.row(name).await?;
        self.backroom.store().entries(name, before, limit.min(PAGE_MAX)).await
    }
}

/// What cannot be read is shown as failing.
pub(super) fn summary(row: ScheduleRow, now: Timestamp) -> ScheduleSummary {
    let (definition, state) = (row.schedule(), row.state());
    let unreadable = definition.as_ref().err().or(state.as_ref().err()).map(|invalid| Failing {
        since: row.changed_at,
        of: FailingOf::Job,
        why: invalid.to_string(),
    });
    let (definition, state) = (definition.ok(), state.ok());
    let failing = unreadable.or_else(|| state.as_ref().and_then(|state| state.failing.clone()));
    let next =
        definition.as_ref().zip(state.as_ref()).and_then(|(definition, state)| next(definition, state, now));
    let ScheduleRow { name, origin, created_at, changed_at, .. } = row;
    ScheduleSummary { name, origin, created_at, changed_at, definition, state, next, failing }
}

/// The next occurrence that has not been decided.
fn next(definition: &core::Schedule, state: &State, now: Timestamp) -> Option<Timestamp> {
    if definition.paused || state.paused.is_some() {
        return None;
    }
    let timetable = definition.timetable().ok()?;
    // The end by the number of runs is a matter of the plan.
    let planned = plan(definition, &timetable, state, 1, now.min(state.decided_until), Limits::default());
    planned.wake.at?;
    timetable.next_after(state.decided_until)
}

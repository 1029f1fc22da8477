//! Schedules, their history, and reports about their runs.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use async_trait::async_trait;
use backroom_core::{
    JobId, Timestamp,
    draft::NewJob,
    schedule::{Entry, RunReport, ScheduleRow, turn::OpenRun},
};

use super::{
    MemoryStore,
    rows::{Ring, Rows},
};
use crate::{
    Error,
    store::{DueAfter, DueSchedule, DueSchedules, Moved, OPEN_MAX, REPORTS_MAX, ScheduleMove, ScheduleVerbs},
};

/// All schedules.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_name: BTreeMap<String, ScheduleRow>,
    /// By schedule and number.
    entries: BTreeMap<(String, u64), Entry>,
    /// What no turn has taken over, by number.
    reports: BTreeMap<u64, RunReport>,
    last_report: u64,
}

impl Schedules {
    fn entries_of<'a>(&'a self, schedule: &'a str) -> impl DoubleEndedIterator<Item = &'a Entry> {
        let range = (schedule.to_owned(), 0)..=(schedule.to_owned(), u64::MAX);
        self.entries.range(range).map(|(_, entry)| entry)
    }

    fn has_entry_of(&self, job: JobId) -> bool {
        self.entries.values().any(|entry| entry.job == Some(job))
    }
}

impl Rows {
    /// Adds a report, unless its schedule was deleted.
    pub(super) fn report_run(&mut self, report: &RunReport) {
        if !self.schedules.by_name.contains_key(&report.schedule) {
            return;
        }
        self.schedules.last_report += 1;
        self.schedules.reports.insert(self.schedules.last_report, report.clone());
        self.ring(Ring::Schedules);
    }

    fn move_schedule(&mut self, moving: &ScheduleMove) -> Moved {
        let name = &moving.row.name;
        let before = self.schedules.by_name.get(name);
        if before.is_some_and(|row| moving.is_written(row.moved_by)) {
            return Moved::Done;
        }
        if before.map(|row| row.revision) != moving.revision_before {
            return Moved::Stale;
        }
        self.schedules.by_name.insert(name.clone(), moving.row.clone());
        for entry in &moving.entries {
            self.write_entry(name, entry, &moving.jobs);
        }
        for new in moving
            .notices
            .iter()
            .filter(|new| !self.jobs.contains_key(&new.job.id))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.add(new.job);
        }
        for (job, end) in &moving.ends {
            for entry in self.schedules.entries.values_mut().filter(|entry| entry.job == Some(*job)) {
                entry.end.clone_from(end);
            }
        }
        for number in &moving.taken_over {
            self.schedules.reports.remove(number);
        }
        self.schedules.entries.retain(|(schedule, seq), entry| {
            let is_remembered = entry.key.is_some() && entry.at >= moving.forget_keys_before;
            schedule != name || *seq > moving.forget_up_to || entry.is_open() || is_remembered
        });
        if moving.notify {
            self.ring(Ring::Schedules);
        }
        Moved::Done
    }

    fn write_entry(&mut self, schedule: &str, entry: &Entry, jobs: &[NewJob]) {
        if entry.job.is_some_and(|job| self.schedules.has_entry_of(job)) {
            return;
        }
        self.schedules.entries.insert((schedule.to_owned(), entry.seq), entry.clone());
        let of_entry = jobs.iter().find(|new| Some(new.job.id) == entry.job);
        if let Some(new) = of_entry.filter(|new| !self.jobs.contains_key(&new.job.id)) {
            self.add(new.job.clone());
        }
    }

    fn due_schedules(&self, after: Option<&DueAfter>, limit: usize, now: Timestamp) -> DueSchedules {
        let all = self.schedules.by_name.values();
        let mut planned: Vec<(Timestamp, &ScheduleRow)> =
            all.filter_map(|row| Some((row.next_at?, row))).collect();
        planned.sort_by(|(at, row), (other_at, other)| (at, &row.name).cmp(&(other_at, &other.name)));
        let next_at = planned.iter().map(|(at, _)| *at).find(|at| *at > now);
        let is_after =
            |at: Timestamp, name: &str| after.is_none_or(|after| (at, name) > (after.next_at, &after.name));
        let due = planned.iter().filter(|(at, row)| *at <= now && is_after(*at, &row.name));
        let due: Vec<&ScheduleRow> = due.map(|(_, row)| *row).collect();
        let mut names: Vec<&str> =
            self.schedules.reports.values().map(|report| report.schedule.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let is_reported = |name: &&str| {
            let row = self.schedules.by_name.get(*name);
            row.is_some_and(|row| row.next_at.is_none_or(|at| at > now))
        };
        let reported: Vec<&ScheduleRow> = names
            .into_iter()
            .filter(is_reported)
            .filter_map(|name| self.schedules.by_name.get(name))
            .collect();
        DueSchedules {
            more: due.len() > limit || reported.len() > limit,
            due: due.into_iter().take(limit).map(|row| self.due_schedule(row)).collect(),
            reported: reported.into_iter().take(limit).map(|row| self.due_schedule(row)).collect(),
            next_at,
        }
    }

    fn due_schedule(&self, row: &ScheduleRow) -> DueSchedule {
        let is_live = |job: JobId| self.jobs.get(&job).is_some_and(|job| !job.state.is_finished());
        let open = self.schedules.entries_of(&row.name).filter(|entry| entry.is_open());
        let run = |entry: &Entry| {
            let job = entry.job?;
            Some(OpenRun { job, nominal: entry.first, what: entry.what, is_live: is_live(job) })
        };
        let reports = self.schedules.reports.iter().filter(|(_, report)| report.schedule == row.name);
        DueSchedule {
            row: row.clone(),
            runs: open.filter_map(run).take(OPEN_MAX).collect(),
            reports: reports.take(REPORTS_MAX).map(|(number, report)| (*number, report.clone())).collect(),
        }
    }
}

#[async_trait]
impl ScheduleVerbs for MemoryStore {
    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, Error> {
        self.read(|rows| rows.schedules.by_name.get(name).cloned())
    }

    async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleRow>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.read(|rows| {
            let found = rows.schedules.by_name.range::<str, _>((from, Bound::Unbounded));
            found.take(limit).map(|(_, row)| row.clone()).collect()
        })
    }

    async fn move_schedules(&self, moves: Arc<Vec<ScheduleMove>>) -> Result<Vec<Moved>, Error> {
        self.write(|rows| moves.iter().map(|moving| rows.move_schedule(moving)).collect())
    }

    async fn delete_schedule(&self, name: &str, revision: Option<u64>) -> Result<Moved, Error> {
        self.write(|rows| {
            let found = rows.schedules.by_name.get(name).map(|row| row.revision);
            if revision.is_some_and(|wanted| found.is_some_and(|found| found != wanted)) {
                return Moved::Stale;
            }
            rows.schedules.by_name.remove(name);
            rows.schedules.entries.retain(|(schedule, _), _| schedule != name);
            rows.schedules.reports.retain(|_, report| report.schedule != name);
            Moved::Done
        })
    }

    async fn due_schedules(
        &self,
        after: Option<Arc<DueAfter>>,
        limit: usize,
        now: Timestamp,
    ) -> Result<DueSchedules, Error> {
        self.read(|rows| rows.due_schedules(after.as_deref(), limit, now))
    }

    async fn entries(&self, schedule: &str, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        self.read(|rows| {
            let is_before = |entry: &&Entry| before.is_none_or(|before| entry.seq < before);
            rows.schedules.entries_of(schedule).rev().filter(is_before).take(limit).cloned().collect()
        })
    }

    async fn entry_of_key(&self, schedule: &str, key: &str) -> Result<Option<Entry>, Error> {
        self.read(|rows| {
            rows.schedules.entries_of(schedule).find(|entry| entry.key.as_deref() == Some(key)).cloned()
        })
    }
}

//! Progress and log lines of runs of remote workers.

use std::sync::Arc;

use backroom_core::{
    JobId, LeaseId, LogLine, Progress,
    bounds::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX, MESSAGE_BYTES_MAX},
    sealed::clip,
};

use super::{Leases, RunKey};
use crate::{
    Error, ErrorKind,
    store::{LeaseStatus, Note},
};

/// Most reports in one call, and most lines in all of them.
const REPORTS_MAX: usize = 1000;
const LINES_MAX: usize = 10_000;
/// Log lines in one read.
const PAGE: usize = 1000;

/// Progress and log lines of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// 0 to 100, and a message.
    pub progress: Option<(u8, String)>,
    /// New lines of its log.
    pub lines: Vec<String>,
    /// The number of the first line within the run, from 0: then a report that is sent again adds no line twice. Without it the
    /// lines come behind those that are there.
    pub first_line: Option<u32>,
}

impl Leases {
    /// Writes progress and log lines. Answers for each run whether its lease holds; what is reported of others is dropped.
    ///
    /// `caller` is the worker and its owner, as for [`commit`](Self::commit).
    pub async fn report(
        &self,
        caller: Option<(&str, &str)>,
        reports: Vec<(RunKey, Report)>,
    ) -> Result<Vec<super::LeaseHeld>, Error> {
        let lines: usize = reports.iter().map(|(_, report)| report.lines.len()).sum();
        if reports.len() > REPORTS_MAX || lines > LINES_MAX {
            let message = format!(
                "report: {} reports with {lines} lines are too many for one call; at most {REPORTS_MAX} with {LINES_MAX} lines are \
                 allowed",
                reports.len()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let engine = &self.inner.engine;
        let keys = reports.iter().map(|(run, _)| (run.job, run.lease)).collect();
        let mut held = engine.store.lease_status(Arc::new(keys)).await?;
        if let Some((worker, owner)) = caller {
            let is_owner = self.is_owner(worker, owner).await?;
            for ((run, _), held) in reports.iter().zip(&mut held) {
                if *held != LeaseStatus::Lost
                    && !(is_owner
                        && self.row(*run).await?.is_some_and(|row| row.worker.as_deref() == Some(worker)))
                {
                    *held = LeaseStatus::Lost;
                }
            }
        }
        let now = engine.clock.now();
        let mut notes = Vec::new();
        for ((run, report), held) in reports.into_iter().zip(&held) {
            if *held == LeaseStatus::Lost {
                continue;
            }
            #[cfg(feature = "sealed")]
            let report = match engine.seals.has_kinds() {
                true => match self.row(run).await? {
                    Some(row) => super::sealed::checked_report(&engine.seals, &row, report),
                    None => continue,
                },
                false => report,
            };
            let first = match report.first_line {
                Some(first) => first,
                None if report.lines.is_empty() => 0,
                None => self.lines_of(run.job, run.lease).await?,
            };
            let line = |(line, seq): (String, u32)| LogLine {
                lease_id: run.lease,
                seq,
                at: now,
                line: clip(line.trim_end_matches(['\r', '\n']), LOG_LINE_BYTES_MAX),
            };
            let lines = report.lines.into_iter().zip(first..=LOG_LINES_MAX).map(line).collect();
            let progress = report.progress.map(|(percent, message)| Progress {
                percent: percent.min(100),
                message: clip(&message, MESSAGE_BYTES_MAX),
            });
            notes.push(Note { job: run.job, lease: run.lease, progress, lines });
        }
        if !notes.is_empty() {
            engine.store.note(Arc::new(notes), now).await?;
        }
        Ok(held.into_iter().map(Into::into).collect())
    }

    /// How many lines a run has.
    async fn lines_of(&self, job: JobId, lease: LeaseId) -> Result<u32, Error> {
        let (mut skip, mut next) = (0, 0);
        loop {
            let page = self.inner.engine.store.logs(job, skip, PAGE).await?;
            if page.is_empty() {
                return Ok(next);
            }
            skip += page.len();
            let last = page.iter().filter(|line| line.lease_id == lease).map(|line| line.seq + 1).max();
            next = next.max(last.unwrap_or(0));
        }
    }
}

impl From<LeaseStatus> for super::LeaseHeld {
    fn from(status: LeaseStatus) -> Self {
        match status {
            LeaseStatus::Held => Self::Held,
            LeaseStatus::CancelRequested => Self::CancelRequested,
            LeaseStatus::Lost => Self::Lost,
        }
    }
}

//! What the demo says at its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use backroom::{Backroom, Error, State, Timestamp, core::bounds::span_until};
use serde::Serialize;

use super::{places::Places, thumbnails, watch::Watch};

/// Most pictures that are named with their reason, of each sort.
const NAMED_MAX: usize = 6;

/// What a run did, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Whether all was done.
    pub(crate) done: bool,
    /// Whether it was stopped before.
    stopped: bool,
    took_secs: f64,
    /// Pictures that have their thumbnails.
    pictures: usize,
    thumbnails_made: usize,
    /// Thumbnails that an earlier run made.
    thumbnails_made_before: usize,
    /// Jobs that are not finished.
    jobs_left: usize,
    /// Files that are no pictures, each with the reason.
    discarded: BTreeMap<String, String>,
    /// Pictures whose jobs were cancelled, or used up their attempts.
    not_made: BTreeMap<String, String>,
    /// Files and folders that could not be read.
    skipped: BTreeMap<String, String>,
    /// The order's number; none if it did not begin.
    order: Option<u32>,
    /// How far it came.
    order_steps: Option<String>,
    /// The report's file, or how far it came.
    report: Option<String>,
    /// The thumbnails' folder.
    out: String,
}

impl Summary {
    /// The summary of a run that has ended.
    pub(crate) async fn of(
        backroom: &Backroom,
        watch: &Watch<'_>,
        places: &Places,
        done: bool,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut summary = Self { done, stopped: !done, out: places.out_shown.clone(), ..Self::default() };
        summary.took_secs = span_until(watch.begun_at, now).as_secs_f64();
        let mut pictures = BTreeSet::new();
        for (job, row) in thumbnails::all(backroom).await? {
            // Of another folder, left by an earlier run: there the bare name would mislead.
            let folder = if job.folder == places.photos { PathBuf::new() } else { job.folder };
            let (photo, reason) =
                (folder.join(job.photo).display().to_string(), row.reason.unwrap_or_default());
            match row.state {
                State::Queued | State::Running | State::Waiting => summary.jobs_left += 1,
                State::Completed => {
                    pictures.insert(photo);
                    let is_new = row.finished_at.is_some_and(|at| at >= watch.begun_at);
                    summary.thumbnails_made += usize::from(is_new);
                    summary.thumbnails_made_before += usize::from(!is_new);
                }
                State::Discarded if thumbnails::is_refused(backroom, row.id).await? => {
                    _ = summary.discarded.insert(photo, reason);
                }
                State::Discarded => {
                    summary.done = false;
                    summary.not_made.insert(photo, reason);
                }
                State::Cancelled => _ = summary.not_made.insert(photo, reason),
            }
        }
        summary.pictures = pictures.len();
        let skipped = watch.skipped.iter().map(|(path, why)| (path.display().to_string(), why.clone()));
        summary.skipped = skipped.collect();
        if let Some((number, run)) = watch.office() {
            summary.done &= run.is_done();
            summary.order = Some(number);
            summary.order_steps = Some(run.order_line(now));
            let written = run.report().and_then(|row| row.output.as_ref()?.decode::<PathBuf>().ok());
            summary.report = Some(written.map_or_else(|| run.report_line(now), |path| places.show(&path)));
        }
        Ok(summary)
    }

    /// The same for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let took = format!("{:.1} s", self.took_secs);
        let mut lines = vec![match (self.stopped, self.done) {
            (true, _) => format!("Stopped after {took}."),
            (false, true) => format!("Done in {took}."),
            (false, false) => format!("Not all was done in {took}:"),
        }];
        let mut line = |name: &str, what: String| lines.push(format!("  {name:<11} {what}"));
        line("pictures", format!("{} with thumbnails, {} discarded", self.pictures, self.discarded.len()));
        let before = match self.thumbnails_made_before {
            0 => String::new(),
            before => format!(" ({before} made before)"),
        };
        line("thumbnails", format!("{} made{before}, in {}", self.thumbnails_made, self.out));
        let sorts =
            [("discarded", &self.discarded), ("not made", &self.not_made), ("skipped", &self.skipped)];
        for (name, pictures) in sorts {
            let named = pictures.iter().take(NAMED_MAX);
            named.for_each(|(picture, reason)| line(name, format!("{picture}: {reason}")));
            if pictures.len() > NAMED_MAX {
                line("", format!("and {} more", pictures.len() - NAMED_MAX));
            }
        }
        if self.jobs_left > 0 {
            let left = self.jobs_left;
            line("left", format!("{left} jobs; they wait in the store, start the demo again to go on"));
        }
        if let (Some(number), Some(steps), Some(report)) = (self.order, &self.order_steps, &self.report) {
            line(&format!("order {number}"), steps.clone());
            line("report", report.clone());
        }
        lines.push("Look inside with `backroom jobs`, `backroom job ID` and `backroom queues`.".into());
        lines
    }
}

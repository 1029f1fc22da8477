//! What the demo says at its beginning and at its end.

use std::{collections::BTreeMap, time::Duration};

use backroom::{JobRow, State, Timestamp};
use serde::Serialize;

use super::{
    office::Run,
    places::Places,
    watch::{End, Watch},
};

/// Most pictures that are named with their reason, of each sort.
const NAMED_MAX: usize = 6;

/// What a run did, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether all that the run answers for was done.
    pub(crate) done: bool,
    /// Whether it was stopped before.
    stopped: bool,
    took_secs: f64,
    /// Pictures that have their thumbnails.
    pictures: usize,
    /// Thumbnails made by this run.
    thumbnails_made: usize,
    /// Thumbnails that an earlier run made.
    thumbnails_made_before: usize,
    /// Jobs that are not finished.
    jobs_left: usize,
    /// Files that are no pictures, each with the reason.
    discarded: BTreeMap<String, String>,
    /// Pictures that were not done because of errors or crashes.
    given_up: BTreeMap<String, String>,
    /// Pictures that were removed or changed, or whose jobs were cancelled by hand.
    cancelled: BTreeMap<String, String>,
    /// Files and folders that could not be read, each with the reason.
    skipped: BTreeMap<String, String>,
    /// Files that went on changing.
    unsettled: Vec<String>,
    /// The order's number; none if it did not begin.
    order: Option<u32>,
    /// How far it came.
    order_steps: Option<String>,
    /// The report's file, or why there is none.
    report: Option<String>,
    /// The thumbnails' folder.
    out: String,
}

impl Summary {
    /// The summary of a run that has ended.
    pub(crate) fn of(watch: &Watch<'_>, places: &Places, end: End, took: Duration, now: Timestamp) -> Self {
        let tally = watch.thumbnails.tally();
        let office = watch.office();
        let ended = |is_so: &dyn Fn(&JobRow) -> bool| pictures_with_reasons(watch, places, is_so);
        let is_refused = |row: &JobRow| watch.thumbnails.is_refused(row);
        let shown = |path: &std::path::PathBuf| path.display().to_string();
        let unsettled = watch.scans.unsettled.iter().filter(|_| end != End::Done);
        Self {
            done: end == End::Done && tally.given_up == 0 && office.is_some_and(|(_, run)| run.is_done()),
            stopped: end == End::Stopped,
            took_secs: took.as_secs_f64(),
            pictures: ended(&|row| row.state == State::Completed).len(),
            thumbnails_made: tally.made - tally.made_before,
            thumbnails_made_before: tally.made_before,
            jobs_left: tally.jobs - tally.finished,
            discarded: ended(&|row| row.state == State::Discarded && is_refused(row)),
            given_up: ended(&|row| row.state == State::Discarded && !is_refused(row)),
            cancelled: ended(&|row| row.state == State::Cancelled),
            skipped: watch.skipped.iter().map(|(path, why)| (shown(path), why.clone())).collect(),
            unsettled: unsettled.map(shown).collect(),
            order: office.map(|(number, _)| number),
            order_steps: office.map(|(_, run)| run.order_line(now)),
            report: office.map(|(_, run)| report(run, places)),
            out: places.out_shown.clone(),
        }
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
        if !self.skipped.is_empty() {
            line("skipped", format!("{} that could not be read", self.skipped.len()));
        }
        let before = match self.thumbnails_made_before {
            0 => String::new(),
            before => format!(" ({before} made before)"),
        };
        line("thumbnails", format!("{} made{before}, in {}", self.thumbnails_made, self.out));
        for (name, pictures) in [
            ("discarded", &self.discarded),
            ("given up", &self.given_up),
            ("cancelled", &self.cancelled),
            ("skipped", &self.skipped),
        ] {
            for (picture, reason) in pictures.iter().take(NAMED_MAX) {
                line(name, format!("{picture}: {reason}"));
            }
            if pictures.len() > NAMED_MAX {
                line("", format!("and {} more", pictures.len() - NAMED_MAX));
            }
        }
        for file in self.unsettled.iter().take(NAMED_MAX) {
            line("left", format!("{file}: it goes on changing"));
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

/// The pictures among our jobs that ended in one way, each once with its reason.
fn pictures_with_reasons(
    watch: &Watch<'_>,
    places: &Places,
    is_so: &dyn Fn(&JobRow) -> bool,
) -> BTreeMap<String, String> {
    let ended = watch.thumbnails.ours().filter(|(_, row)| is_so(row));
    let described = ended.map(|(job, row)| {
        // Of another folder, left by an earlier run: there the bare name would mislead.
        let name = if job.folder == places.photos { job.photo.clone() } else { job.folder.join(&job.photo) };
        (name.display().to_string(), row.reason.clone().unwrap_or_default())
    });
    described.collect()
}

fn report(run: &Run, places: &Places) -> String {
    let Some(row) = run.report() else { return "not written".into() };
    let written = row.output.as_ref().and_then(|output| output.decode::<std::path::PathBuf>().ok());
    match (written, &row.reason) {
        (Some(path), _) => places.show(&path),
        (None, Some(reason)) => format!("not written: {reason}"),
        (None, None) => "not written yet".into(),
    }
}

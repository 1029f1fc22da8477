//! How far the demo is, in numbers, and what it says at its end.

use std::collections::{BTreeMap, BTreeSet};

use backroom::{Backroom, DisplayState, Error, State};
use serde::Serialize;

use super::{
    order::OFFICE,
    places::Places,
    thumbnails::{self, PICTURES},
};

/// Most pictures that are named with their reason, of each sort.
const NAMED_MAX: usize = 6;

/// How many jobs of the demo are in which state. By counts: reading every job would cost more than making them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) thumbnails: u64,
    pub(crate) finished: u64,
    pub(crate) completed: u64,
    /// Jobs of either queue that are not finished.
    pub(crate) left: u64,
}

impl Tally {
    pub(crate) async fn read(backroom: &Backroom) -> Result<Self, Error> {
        let mut tally = Self::default();
        for count in backroom.counts().await? {
            let of = |is: bool| if is { count.jobs } else { 0 };
            let is_picture = count.queue == PICTURES;
            let is_finished = count.state.stored().is_finished();
            tally.left += of((is_picture || count.queue == OFFICE) && !is_finished);
            tally.thumbnails += of(is_picture);
            tally.finished += of(is_picture && is_finished);
            tally.completed += of(is_picture && count.state == DisplayState::Completed);
        }
        Ok(tally)
    }
}

/// What has become of all, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Whether all was done.
    pub(crate) done: bool,
    pub(crate) took_secs: f64,
    /// Pictures that have their thumbnails.
    pictures: usize,
    thumbnails: u64,
    /// Jobs that are not finished.
    jobs_left: u64,
    /// Files that are no pictures, each with the reason.
    discarded: BTreeMap<String, String>,
    /// Pictures that cannot be read, or whose jobs were cancelled or used up their attempts.
    pub(crate) not_made: BTreeMap<String, String>,
    /// The order's number; none if it did not begin.
    pub(crate) order: Option<u32>,
    /// How far it came.
    pub(crate) order_steps: String,
    /// The thumbnails' folder.
    out: String,
}

impl Summary {
    /// What has become of the pictures.
    pub(crate) async fn of(backroom: &Backroom, places: &Places) -> Result<Self, Error> {
        let tally = Tally::read(backroom).await?;
        let (thumbnails, jobs_left) = (tally.completed, tally.left);
        let out = places.out_shown.clone();
        let mut summary = Self { done: true, thumbnails, jobs_left, out, ..Self::default() };
        let mut pictures = BTreeSet::new();
        for (job, row) in thumbnails::newest(backroom, &[], usize::MAX).await? {
            // Of another folder, left by an earlier run: there the bare name would mislead.
            let is_here = job.folder == places.photos;
            let photo = if is_here { job.photo } else { format!("{}/{}", job.folder, job.photo) };
            let is_used_up = thumbnails::is_used_up(backroom, &row).await?;
            let reason = row.reason.unwrap_or_default();
            match row.state {
                State::Queued | State::Running | State::Waiting => {}
                State::Completed => _ = pictures.insert(photo),
                State::Discarded if !is_used_up => _ = summary.discarded.insert(photo, reason),
                State::Discarded | State::Cancelled => _ = summary.not_made.insert(photo, reason),
            }
            summary.done &= !is_used_up;
        }
        summary.pictures = pictures.len();
        Ok(summary)
    }

    /// The same for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |name: &str, what: String| lines.push(format!("  {name:<11} {what}"));
        line("pictures", format!("{} with thumbnails, {} discarded", self.pictures, self.discarded.len()));
        line("thumbnails", format!("{} in {}", self.thumbnails, self.out));
        for (sort, pictures) in [("discarded", &self.discarded), ("not made", &self.not_made)] {
            let named = pictures.iter().take(NAMED_MAX);
            named.for_each(|(picture, reason)| line(sort, format!("{picture}: {reason}")));
            if pictures.len() > NAMED_MAX {
                line("", format!("and {} more", pictures.len() - NAMED_MAX));
            }
        }
        if let Some(order) = self.order {
            line(&format!("order {order}"), self.order_steps.clone());
        }
        if self.jobs_left > 0 {
            let left = self.jobs_left;
            line("left", format!("{left} jobs; they wait in the store, start the demo again to go on"));
        }
        lines
    }
}

//! The demo while it runs: scans the folder, enqueues a job for each thumbnail, and shows what becomes of
//! them. [`Watch::tick`] is one turn; [`Watch::run`] is the shell that sleeps in between.

use std::time::Duration;

use backroom::{Backroom, State, Timestamp, core::bounds::later};

use super::{
    DemoArgs,
    folder::{self, Scan},
    office::{self, Office},
    places::Places,
    screen::Screen,
    summary::Tally,
    thumbnails,
};
use crate::terminal::Problem;

/// Between two turns.
const TURN: Duration = Duration::from_millis(150);
/// Between two scans of the folder.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Most running or discarded thumbnails that are read at a time.
const SHOWN_MAX: usize = 24;

/// The state of a run.
pub(crate) struct Watch<'a> {
    backroom: &'a Backroom,
    places: &'a Places,
    args: &'a DemoArgs,
    pub(crate) screen: Screen,
    pub(crate) begun_at: Timestamp,
    scan_at: Timestamp,
    /// The folder as it was seen last.
    pub(crate) scan: Scan,
    tally: Tally,
    /// None before the folder was scanned.
    pub(crate) office: Option<Office>,
}

impl<'a> Watch<'a> {
    /// Says what an earlier run left: call it before the worker starts.
    pub(crate) async fn new(
        backroom: &'a Backroom,
        places: &'a Places,
        args: &'a DemoArgs,
        screen: Screen,
    ) -> Result<Self, Problem> {
        let begun_at = backroom.clock().now();
        let tally = Tally::read(backroom).await?;
        let Tally { thumbnails, finished, left, .. } = tally;
        if left > 0 {
            screen.say(format!(
                "An earlier run finished {finished} of {thumbnails} thumbnail jobs. {left} jobs are left and go on; \
                 those that a killed process was running, within seconds."
            ))?;
        }
        let (scan, office) = (Scan::default(), None);
        Ok(Self { backroom, places, args, screen, begun_at, scan_at: begun_at, scan, tally, office })
    }

    /// Turns until all is done; without `--once` for ever. It may be dropped half-way: the next run goes on.
    pub(crate) async fn run(&mut self) -> Result<(), Problem> {
        let clock = self.backroom.clock().clone();
        while !self.tick(clock.now()).await? {
            clock.sleep(TURN).await;
        }
        Ok(())
    }

    /// Reads everything again: also after the worker has stopped, because what it finished last counts.
    pub(crate) async fn read_again(&mut self, now: Timestamp) -> Result<(), Problem> {
        self.tally = Tally::read(self.backroom).await?;
        if let Some(office) = &mut self.office {
            office.read(self.backroom, now).await?;
        }
        for (job, row) in thumbnails::newest(self.backroom, &[State::Discarded], SHOWN_MAX).await? {
            if row.finished_at.is_some_and(|at| at >= self.begun_at) {
                let reason = row.reason.unwrap_or_default();
                self.screen.say_once(&format!("discarded {}: {reason}", job.photo))?;
            }
        }
        Ok(())
    }

    /// Whether all is done, and nothing is to be watched further.
    async fn tick(&mut self, now: Timestamp) -> Result<bool, Problem> {
        if now >= self.scan_at {
            self.scan_at = later(now, SCAN_EVERY);
            self.take_in(now).await?;
        }
        self.read_again(now).await?;
        let running = thumbnails::newest(self.backroom, &[State::Running], SHOWN_MAX).await?.into_iter();
        let running = running.map(|(job, row)| {
            format!("{} at {} px  {}", job.photo, job.width, office::doing(&row).unwrap_or_default())
        });
        if let Some(office) = &self.office {
            self.screen.show(self.tally, &running.min().unwrap_or_default(), office)?;
        }
        let is_idle = self.tally.left == 0 && self.scan.unsettled == 0;
        if is_idle && !self.args.once {
            let Places { photos_shown, out_shown, are_brought, .. } = self.places;
            let made = self.tally.completed;
            self.screen.say_once(&format!(
                "{made} thumbnails are in {out_shown}. Watching {photos_shown}: a picture that appears there becomes jobs. \
                 Press Ctrl-C to stop."
            ))?;
            let picture = if *are_brought { "01-hills.jpg" } else { "PICTURE.jpg" };
            self.screen.say_once(&format!(
                "Try, in another terminal: cp {photos_shown}/{picture} {photos_shown}/mine.jpg"
            ))?;
        }
        Ok(is_idle && self.args.once)
    }

    /// Scans the folder, enqueues what is new in it, and begins the order the first time.
    async fn take_in(&mut self, now: Timestamp) -> Result<(), Problem> {
        let places = self.places.clone();
        // Reading the disk would block a thread of the runtime.
        let scan = tokio::task::spawn_blocking(move || folder::scan(&places, now)).await;
        let scan = scan.map_err(|panic| Problem::new("read the folder", &panic))??;
        for (picture, why) in &scan.skipped {
            self.screen.say_once(&format!("skipped {picture}: {why}"))?;
        }
        let photos = &self.places.photos_shown;
        if scan.settled.is_empty() && scan.unsettled == 0 && self.tally.left == 0 {
            if self.args.once {
                let why = "there is none in it; put some JPEG, PNG, WebP or GIF files there, or leave --photos out to use \
                           some of ours";
                return Err(Problem::new(format_args!("find pictures in {photos}"), &why));
            }
            self.screen.say_once(&format!("There is no picture in {photos} yet."))?;
        }
        // A file that is gone and comes back is taken again, and finds its jobs by their unique keys.
        if scan.settled != self.scan.settled {
            thumbnails::take_on(self.backroom, &scan.settled, self.places).await?;
        }
        self.scan = scan;
        if self.office.is_none() {
            self.office = Some(Office::begin(self.backroom, self.places, self.args.refuse).await?);
        }
        Ok(())
    }
}

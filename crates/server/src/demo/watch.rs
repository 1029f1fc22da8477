//! The demo while it runs: scans the folder, enqueues a job for each thumbnail, and shows what becomes of
//! them. [`Watch::tick`] is one turn; [`Watch::run`] is the shell that sleeps in between.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    time::Duration,
};

use backroom::{
    Backroom, DisplayState, Error, Filter, JobRow, State, Timestamp,
    core::bounds::{later, span_until},
};

use super::{
    folder::{self, Found, Scan},
    jobs::{MakeThumbnail, PICTURES},
    office::{self, Run},
    places::Places,
    screen::Screen,
    thumbnails,
};
use crate::terminal::Problem;

/// Between two turns.
const TURN: Duration = Duration::from_millis(150);
/// Between two scans of the folder.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Scans and turns take at most one part in ten of the time: a huge folder on a slow disk is scanned less often.
const SHARE: u32 = 10;
/// Most discarded pictures that are read at a time.
const DISCARDED_MAX: usize = 24;

/// How many thumbnail jobs are in which state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) jobs: u64,
    pub(crate) completed: u64,
    pub(crate) discarded: u64,
    pub(crate) finished: u64,
    running: u64,
}

impl Tally {
    async fn read(backroom: &Backroom) -> Result<Self, Error> {
        let mut tally = Self::default();
        for count in backroom.counts().await?.iter().filter(|count| count.queue == PICTURES) {
            let of = |is: bool| if is { count.jobs } else { 0 };
            tally.jobs += count.jobs;
            tally.completed += of(count.state == DisplayState::Completed);
            tally.discarded += of(count.state == DisplayState::Discarded);
            tally.running += of(count.state == DisplayState::Running);
            tally.finished += of(count.state.stored().is_finished());
        }
        Ok(tally)
    }
}

/// The state of a run.
pub(crate) struct Watch<'a> {
    backroom: &'a Backroom,
    places: &'a Places,
    pub(crate) screen: &'a mut Screen,
    once: bool,
    pub(crate) begun_at: Timestamp,
    /// How many jobs were new.
    created: u64,
    /// Files whose jobs were enqueued.
    taken: HashSet<Found>,
    /// Some file has not settled yet, or nothing was scanned yet.
    is_unsettled: bool,
    scan_at: Timestamp,
    /// As the run found the store.
    before: Tally,
    tally: Tally,
    /// The number of the order, once it has begun.
    order: Option<u32>,
    runs: BTreeMap<u32, Run>,
    /// Files and folders that the last scan skipped, each with the reason.
    pub(crate) skipped: BTreeMap<PathBuf, String>,
    is_quiet: bool,
}

impl<'a> Watch<'a> {
    /// Reads what an earlier run left: call it before the worker starts.
    pub(crate) async fn new(
        backroom: &'a Backroom,
        places: &'a Places,
        screen: &'a mut Screen,
        once: bool,
    ) -> Result<Self, Error> {
        let now = backroom.clock().now();
        let before = Tally::read(backroom).await?;
        Ok(Self {
            backroom,
            places,
            screen,
            once,
            begun_at: now,
            created: 0,
            taken: HashSet::new(),
            is_unsettled: true,
            scan_at: now,
            before,
            tally: before,
            order: None,
            runs: BTreeMap::new(),
            skipped: BTreeMap::new(),
            is_quiet: false,
        })
    }

    /// Turns until all is done; without `--once` for ever. It may be dropped half-way: the next run goes on.
    pub(crate) async fn run(&mut self) -> Result<(), Problem> {
        let clock = self.backroom.clock().clone();
        loop {
            let now = clock.now();
            if self.tick(now).await? {
                return Ok(());
            }
            clock.sleep(TURN.max(span_until(now, clock.now()) * SHARE)).await;
        }
    }

    /// The order and the report of this run.
    pub(crate) fn office(&self) -> Option<(u32, &Run)> {
        Some((self.order?, self.runs.get(&self.order?)?))
    }

    /// Reads everything again: also after the worker has stopped, because what it finished last counts.
    pub(crate) async fn read_again(&mut self) -> Result<(), Problem> {
        self.tally = Tally::read(self.backroom).await?;
        self.runs = office::read(self.backroom).await?;
        for (job, row) in self.thumbnails_in(State::Discarded).await? {
            if row.finished_at.is_some_and(|at| at >= self.begun_at) {
                let photo = job.photo.display();
                let line = format!("discarded {photo}: {}", row.reason.unwrap_or_default());
                self.screen.say_once(line.clone(), &line)?;
            }
        }
        Ok(())
    }

    /// The newest thumbnail jobs in a state.
    async fn thumbnails_in(&self, state: State) -> Result<Vec<(MakeThumbnail, JobRow)>, Error> {
        let filter = Filter { queue: Some(PICTURES.into()), states: vec![state], ..Filter::default() };
        let rows = self.backroom.list(filter, None, DISCARDED_MAX).await?.jobs;
        Ok(rows.into_iter().filter_map(|row| Some((row.args.decode().ok()?, row))).collect())
    }

    /// Whether all is done, and nothing is to be watched further.
    async fn tick(&mut self, now: Timestamp) -> Result<bool, Problem> {
        if now >= self.scan_at {
            let places = self.places.clone();
            // Reading the disk would block a thread of the runtime.
            let scan = tokio::task::spawn_blocking(move || folder::scan(&places)).await;
            let scan = scan.map_err(|panic| Problem::new("read the folder", &panic))??;
            let took = span_until(now, self.backroom.clock().now());
            self.scan_at = later(now, SCAN_EVERY.max(took * SHARE));
            self.take_in(scan).await?;
        }
        self.read_again().await?;
        let running = self.thumbnails_in(State::Running).await?.into_iter().map(|(job, row)| {
            let doing = office::doing(&row).unwrap_or_default();
            format!("{} at {} px  {doing}", job.photo.display(), job.width)
        });
        let running = running.min().unwrap_or_default();
        if let Some(office) = self.order.and_then(|order| Some((order, self.runs.get(&order)?))) {
            self.screen.show(self.tally, &running, office, now)?;
        }
        let is_idle = self.tally.jobs == self.tally.finished
            && !self.is_unsettled
            && self.office().is_some_and(|(_, run)| run.is_over());
        if is_idle && !self.once && !self.is_quiet {
            let Places { photos_shown, out_shown, .. } = self.places;
            self.screen.say(format!(
                "{} thumbnails are in {out_shown}. Watching {photos_shown}: drop pictures in, or press Ctrl-C to stop.",
                self.tally.completed
            ))?;
        }
        self.is_quiet = is_idle;
        Ok(is_idle && self.once)
    }

    async fn take_in(&mut self, (found, skipped): Scan) -> Result<(), Problem> {
        // One line for each reason.
        for (path, why) in &skipped {
            self.screen.say_once(why.clone(), &format!("skipped {}: {why}", path.display()))?;
        }
        self.skipped = skipped;
        let photos = &self.places.photos_shown;
        if found.is_empty() && self.order.is_none() && !self.is_quiet {
            if self.once && self.tally.jobs == self.tally.finished {
                let why = "there is no file in it; put some JPEG, PNG, WebP or GIF pictures there, or leave --photos out \
                           to use some of ours";
                return Err(Problem::new(format_args!("find pictures in {photos}"), &why));
            }
            let line = format!("There is no picture in {photos} yet.");
            self.screen.say_once(line.clone(), &line)?;
        }
        let now = self.backroom.clock().now();
        let (settled, fresh): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|file| file.stamp.is_settled(now));
        self.is_unsettled = !fresh.is_empty();
        let settled: HashSet<_> = settled.into_iter().collect();
        let new: Vec<_> = settled.difference(&self.taken).cloned().collect();
        self.created += thumbnails::take_on(self.backroom, &new, self.places).await?;
        // A file that is gone and comes back is taken again, and finds its jobs by their unique keys.
        self.taken = settled;
        if self.order.is_none() && !self.is_unsettled {
            self.begin(self.created).await?;
        }
        Ok(())
    }

    /// Once it is known what there is: says what an earlier run left, and begins the order and the report.
    async fn begin(&mut self, new: u64) -> Result<(), Problem> {
        let runs = office::read(self.backroom).await?;
        let order = office::number(&runs, new > 0);
        let Tally { jobs, finished, running, .. } = self.before;
        if jobs > 0 {
            let all = jobs + new;
            self.screen.say(format!("An earlier run finished {finished} of {all} thumbnail jobs."))?;
        }
        if runs.get(&order).is_some_and(|run| !run.is_over()) {
            self.screen.say(format!("Order {order} was not finished; it goes on."))?;
        }
        if running > 0 {
            self.screen.say(format!(
                "A process that was killed, or still works, has {running} of them: they run again within seconds, when its lease \
                 ends."
            ))?;
        }
        let none = Run::default();
        office::begin(self.backroom, runs.get(&order).unwrap_or(&none), order, self.places).await?;
        self.order = Some(order);
        Ok(())
    }
}

//! The demo while it runs: scans the folder, enqueues a job for each thumbnail, and shows what becomes of
//! them. [`Watch::tick`] is one turn; [`Watch::run`] is the shell that sleeps in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use backroom::{
    Backroom, State, Timestamp,
    core::bounds::{later, span_until},
};
use tokio::sync::watch;

use super::{
    folder::{self, Scan, Scans},
    office::{self, Begin, Run},
    places::Places,
    screen::Screen,
    thumbnails::{Tally, Thumbnails},
};
use crate::terminal::Problem;

/// Between two turns.
const TURN: Duration = Duration::from_millis(150);
/// Between two scans of the folder.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Scans and turns take at most one part in ten of the time: a huge folder on a slow disk is scanned less often.
const SHARE: u32 = 10;
/// How long `--once` waits for files that go on changing when all else is done.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Most lines about discarded pictures, and about reasons for skipping; the summary counts the others.
const LINES_MAX: usize = 8;

/// The state of a run.
pub(crate) struct Watch<'a> {
    backroom: &'a Backroom,
    places: &'a Places,
    pub(crate) screen: &'a mut Screen,
    once: bool,
    pub(crate) scans: Scans,
    scan_at: Timestamp,
    pub(crate) thumbnails: Thumbnails,
    begun: Option<Begin>,
    runs: BTreeMap<u32, Run>,
    idle_since: Option<Timestamp>,
    /// Discarded pictures that a line named.
    named: BTreeSet<String>,
    /// Files and folders that the last scan skipped, each with the reason.
    pub(crate) skipped: BTreeMap<PathBuf, String>,
    /// Reasons that a line named.
    reasons: BTreeSet<String>,
    is_quiet: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All is done.
    Done,
    /// Files in the folder go on changing; all else is done.
    Unsettled,
    /// The user pressed Ctrl-C.
    Stopped,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        backroom: &'a Backroom,
        places: &'a Places,
        screen: &'a mut Screen,
        thumbnails: Thumbnails,
        once: bool,
    ) -> Self {
        Self {
            backroom,
            places,
            screen,
            once,
            scans: Scans::default(),
            scan_at: backroom.clock().now(),
            thumbnails,
            begun: None,
            runs: BTreeMap::new(),
            idle_since: None,
            named: BTreeSet::new(),
            skipped: BTreeMap::new(),
            reasons: BTreeSet::new(),
            is_quiet: false,
        }
    }

    /// Turns until all is done (with `--once`) or the user stops it. A turn may be dropped half-way: the next run goes on.
    pub(crate) async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<End, Problem> {
        let clock = self.backroom.clock().clone();
        let turns = async {
            loop {
                let now = clock.now();
                if let Some(end) = self.tick(now).await? {
                    return Ok(end);
                }
                clock.sleep(TURN.max(span_until(now, clock.now()) * SHARE)).await;
            }
        };
        tokio::select! {
            // An error means that the task that waits for Ctrl-C has ended, which it never does.
            Ok(_) = stop.wait_for(|asked| *asked) => Ok(End::Stopped),
            end = turns => end,
        }
    }

    /// The run of the office that belongs to this demo.
    pub(crate) fn office(&self) -> Option<(u32, &Run)> {
        let number = self.begun?.number();
        Some((number, self.runs.get(&number)?))
    }

    /// Reads everything again: also after the worker has stopped, because what it finished last counts.
    pub(crate) async fn read_again(&mut self) -> Result<(), Problem> {
        for (photo, reason) in self.thumbnails.refresh(self.backroom).await? {
            if self.named.len() < LINES_MAX && self.named.insert(photo.clone()) {
                self.screen.say(format!("discarded {photo}: {reason}"))?;
            }
        }
        self.runs = office::read(self.backroom).await?;
        Ok(())
    }

    async fn tick(&mut self, now: Timestamp) -> Result<Option<End>, Problem> {
        if now >= self.scan_at {
            let Places { photos, out, store, .. } = self.places.clone();
            // Reading the disk on the runtime's own threads would hold up everything else.
            let scan = tokio::task::spawn_blocking(move || folder::scan(&photos, &out, store.as_deref()));
            let scan = scan.await.map_err(|panic| Problem::new("read the folder", &panic))??;
            let took = span_until(now, self.backroom.clock().now());
            self.scan_at = later(now, SCAN_EVERY.max(took * SHARE));
            self.take_in(scan).await?;
        }
        self.read_again().await?;
        let tally = self.thumbnails.tally();
        if self.begun.is_some() {
            let running = self.thumbnails.ours().filter(|(_, row)| row.state == State::Running);
            let running = running.map(|(job, row)| {
                let doing = office::doing(row).unwrap_or_default();
                format!("{} at {} px  {doing}", job.photo.display(), job.width)
            });
            let running = running.min().unwrap_or_default();
            let office = self.begun.and_then(|begin| Some((begin.number(), self.runs.get(&begin.number())?)));
            self.screen.show(tally, &running, office, now)?;
        }
        let is_idle = tally.finished == tally.jobs && self.office().is_some_and(|(_, run)| run.is_over());
        self.idle_since = self.idle_since.filter(|_| is_idle).or(is_idle.then_some(now));
        if !self.once {
            self.say_idle(is_idle && self.scans.know_all(), tally.made)?;
            return Ok(None);
        }
        Ok(match self.idle_since {
            Some(_) if self.scans.know_all() => Some(End::Done),
            Some(since) if span_until(since, now) > SETTLE_MAX => Some(End::Unsettled),
            Some(_) | None => None,
        })
    }

    async fn take_in(&mut self, (found, skipped): Scan) -> Result<(), Problem> {
        for (path, why) in &skipped {
            // A bound on memory, should each file have a reason of its own.
            if self.reasons.len() < LINES_MAX && self.reasons.insert(why.clone()) {
                self.screen.say(format!("skipped {}: {why}; the end counts all of them", path.display()))?;
            }
        }
        self.skipped = skipped;
        let photos = &self.places.photos_shown;
        if found.is_empty() && self.scans.count == 0 {
            let tally = self.thumbnails.tally();
            if self.once && tally.finished == tally.jobs {
                let why = "there is no file in it; put some JPEG, PNG, WebP or GIF pictures there, or leave --photos away \
                           to use some of ours";
                return Err(Problem::new(format_args!("find pictures in {photos}"), &why));
            }
            self.screen.say(format!("There is no picture in {photos} yet."))?;
        }
        let settled = self.scans.take(found);
        let missing = self.thumbnails.take_on(self.backroom, &settled, self.places).await?;
        if self.begun.is_none() && self.scans.count > 1 {
            self.begin(missing.len()).await?;
        }
        if !missing.is_empty() {
            // One that another process enqueued meanwhile holds its key, and is ours as well.
            self.backroom.enqueue_many(missing).await?;
        }
        Ok(())
    }

    /// Once it is known what is there: says what an earlier run left, and begins the order and the report.
    async fn begin(&mut self, missing: usize) -> Result<(), Problem> {
        let runs = office::read(self.backroom).await?;
        let begin = Begin::decide(&runs, missing > 0);
        let tally = self.thumbnails.tally();
        for line in left_by_earlier(begin, tally, missing, self.thumbnails.held) {
            self.screen.say(line)?;
        }
        office::begin(self.backroom, &runs, begin, self.places).await?;
        self.begun = Some(begin);
        Ok(())
    }

    /// Says, each time all is done for now, that the demo goes on watching.
    fn say_idle(&mut self, is_idle: bool, made: usize) -> Result<(), Problem> {
        if is_idle && !self.is_quiet {
            let Places { photos_shown, out_shown, .. } = self.places;
            self.screen.say(format!(
                "{made} thumbnails are in {out_shown}. Watching {photos_shown}: drop pictures in, or press Ctrl-C to \
                 stop."
            ))?;
        }
        self.is_quiet = is_idle;
        Ok(())
    }
}

/// What was found from an earlier run; nothing when there was none.
fn left_by_earlier(begin: Begin, tally: Tally, missing: usize, held: usize) -> Vec<String> {
    let (before, jobs) = (tally.before, tally.jobs + missing);
    let mut lines = Vec::new();
    if before > 0 && before == jobs {
        lines.push(format!("From an earlier run: all {jobs} thumbnail jobs were done before."));
    } else if before > 0 || tally.jobs > 0 {
        lines.push(format!("Going on: {before} of {jobs} thumbnail jobs were done before."));
    }
    if let Begin::GoOn(number) = begin {
        lines.push(format!("Order {number} was not finished; it goes on."));
    }
    if held > 0 {
        lines.push(format!(
            "{held} of them are in the hands of a process that was killed (or still works): they come back within \
             seconds, when its lease ends."
        ));
    }
    lines
}

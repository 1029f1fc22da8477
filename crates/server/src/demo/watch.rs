//! The demo while it runs: looks into the folder, hands its pictures to the back room, and shows what becomes of
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
use tokio::{sync::watch, task::JoinHandle};

use super::{
    DemoError, Places,
    folder::{self, Look, Looks},
    ledger::{Entry, Ledger},
    office::{self, Begin, Run},
    pictures::Skipped,
    screen::Screen,
    summary,
    view::{Tally, View},
};

/// Between two turns.
const TURN: Duration = Duration::from_millis(150);
/// Between two looks into the folder.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks per time they take: a huge folder on a slow disk is looked at less often.
const LOOK_SHARE: u32 = 10;
/// How long `--once` waits for files that go on changing when all else is done.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Most discarded pictures that are told one by one; the summary counts the others.
const TOLD_MAX: usize = 8;
/// Most different reasons for which something was skipped that are said.
const REASONS_MAX: usize = 8;

/// The state of a run.
pub(crate) struct Watch<'a> {
    backroom: &'a Backroom,
    places: &'a Places,
    screen: &'a mut Screen,
    once: bool,
    looks: Looks,
    look_at: Timestamp,
    look: Option<UnderWay>,
    pub(crate) ledger: Ledger,
    begun: Option<Begin>,
    runs: BTreeMap<u32, Run>,
    idle_since: Option<Timestamp>,
    told: Vec<String>,
    /// Files and folders that the last look skipped, each with the reason.
    skipped: BTreeMap<PathBuf, String>,
    /// Reasons that were said.
    said: BTreeSet<String>,
    is_quiet: bool,
}

/// A look that was begun at this moment.
type UnderWay = (Timestamp, JoinHandle<Result<Look, DemoError>>);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All is done.
    Done,
    /// Files in the folder go on changing; all else is done.
    Unsettled,
    /// Somebody pressed Ctrl-C.
    Stopped,
}

impl<'a> Watch<'a> {
    /// Ready to look.
    pub(crate) fn new(
        backroom: &'a Backroom,
        places: &'a Places,
        screen: &'a mut Screen,
        ledger: Ledger,
        once: bool,
    ) -> Self {
        Self {
            backroom,
            places,
            screen,
            once,
            looks: Looks::default(),
            look_at: backroom.clock().now(),
            look: None,
            ledger,
            begun: None,
            runs: BTreeMap::new(),
            idle_since: None,
            told: Vec::new(),
            skipped: BTreeMap::new(),
            said: BTreeSet::new(),
            is_quiet: false,
        }
    }

    /// Turns until all is done (with `--once`) or somebody stops it.
    pub(crate) async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<End, DemoError> {
        loop {
            let now = self.backroom.clock().now();
            if let Some(end) = self.tick(now).await? {
                return Ok(end);
            }
            tokio::select! {
                // An error means that nobody listens for Ctrl-C any more, which never ends.
                Ok(_) = stop.wait_for(|asked| *asked) => return Ok(End::Stopped),
                () = self.backroom.clock().sleep(TURN) => {}
            }
        }
    }

    /// The run of the office that belongs to this demo.
    pub(crate) fn office(&self) -> Option<(u32, &Run)> {
        let number = self.begun?.number();
        Some((number, self.runs.get(&number)?))
    }

    /// Reads everything again after the worker has stopped: what it finished on its way out counts.
    pub(crate) async fn read_again(&mut self) -> Result<(), DemoError> {
        self.ledger.refresh(self.backroom).await?;
        self.runs = office::read(self.backroom).await?;
        Ok(())
    }

    /// The files that have not settled.
    pub(crate) fn unsettled(&self) -> &[std::path::PathBuf] {
        self.looks.unsettled()
    }

    /// The screen.
    pub(crate) fn screen(&mut self) -> &mut Screen {
        self.screen
    }

    async fn tick(&mut self, now: Timestamp) -> Result<Option<End>, DemoError> {
        if let Some(found) = self.take_look(now).await? {
            self.take_in(found).await?;
        }
        for entry in self.ledger.refresh(self.backroom).await? {
            self.tell_end(&entry)?;
        }
        self.runs = office::read(self.backroom).await?;
        let view = View::of(&self.ledger, self.office(), now);
        if self.begun.is_some() {
            self.screen.show(&view)?;
        }
        let is_idle = self.ledger.live() == 0 && self.office().is_some_and(|(_, run)| run.is_over());
        self.idle_since = self.idle_since.filter(|_| is_idle).or(is_idle.then_some(now));
        if !self.once {
            self.tell_rest(is_idle && self.looks.know_all(), view.tally)?;
            return Ok(None);
        }
        Ok(match self.idle_since {
            Some(_) if self.looks.know_all() => Some(End::Done),
            Some(since) if span_until(since, now) > SETTLE_MAX => Some(End::Unsettled),
            Some(_) | None => None,
        })
    }

    /// Begins a look when it is time, and answers one that is finished. It runs beside the turns: a folder on a
    /// slow disk must not hold up the screen.
    async fn take_look(&mut self, now: Timestamp) -> Result<Option<Look>, DemoError> {
        match self.look.take() {
            Some((begun_at, look)) if look.is_finished() => {
                let took = span_until(begun_at, now);
                self.look_at = later(begun_at, LOOK_EVERY.max(took * LOOK_SHARE));
                let found = look.await.map_err(|panic| DemoError::Look(panic.into()))??;
                Ok(Some(found))
            }
            Some(under_way) => {
                self.look = Some(under_way);
                Ok(None)
            }
            None if now >= self.look_at => {
                let Places { photos, out, store, .. } = self.places.clone();
                let look = tokio::task::spawn_blocking(move || folder::look(&photos, &out, store.as_deref()));
                self.look = Some((now, look));
                Ok(None)
            }
            None => Ok(None),
        }
    }

    async fn take_in(&mut self, look: Look) -> Result<(), DemoError> {
        self.skip(look.skipped)?;
        let found = look.found;
        if found.is_empty() && self.looks.count() == 0 {
            if self.once && self.ledger.live() == 0 {
                return Err(DemoError::NoPictures { folder: self.places.photos_shown.clone().into() });
            }
            self.screen.say(format!("There is no picture in {} yet.", self.places.photos_shown))?;
        }
        let settled = self.looks.take(found);
        let missing = self.ledger.take_on(self.backroom, &settled, self.places).await?;
        if self.begun.is_none() && self.looks.count() > 1 {
            self.begin(missing.len()).await?;
        }
        self.ledger.enqueue(self.backroom, missing).await
    }

    /// Says what was skipped, the first of each reason.
    fn skip(&mut self, skipped: Vec<Skipped>) -> Result<(), DemoError> {
        for Skipped { path, why } in &skipped {
            // A bound on memory, should each file have a reason of its own.
            if self.said.len() < REASONS_MAX && self.said.insert(why.clone()) {
                self.screen.say(format!("skipped {}: {why}; the end counts all of them", path.display()))?;
            }
        }
        self.skipped = skipped.into_iter().map(|Skipped { path, why }| (path, why)).collect();
        Ok(())
    }

    /// Files and folders that could not be looked at, each with the reason.
    pub(crate) fn skipped(&self) -> &BTreeMap<PathBuf, String> {
        &self.skipped
    }

    /// Once it is known what is there: says what an earlier run left, and begins the order and the report.
    async fn begin(&mut self, missing: usize) -> Result<(), DemoError> {
        let runs = office::read(self.backroom).await?;
        let begin = Begin::decide(&runs, missing > 0);
        let tally = Tally::of(&self.ledger);
        for line in summary::left_by_earlier(begin, tally, missing, self.ledger.held()) {
            self.screen.say(line)?;
        }
        office::begin(self.backroom, &runs, begin, self.places).await?;
        self.begun = Some(begin);
        Ok(())
    }

    /// Says which pictures end as discarded, each once, as they do.
    fn tell_end(&mut self, entry: &Entry) -> Result<(), DemoError> {
        let photo = entry.job.photo.as_path().display().to_string();
        if entry.row.state != State::Discarded || self.told.contains(&photo) || self.told.len() >= TOLD_MAX {
            return Ok(());
        }
        let reason = entry.row.reason.as_deref().unwrap_or("no reason was given");
        self.screen.say(format!("discarded {photo}: {reason}"))?;
        self.told.push(photo);
        Ok(())
    }

    /// Says, each time all is done for now, that the demo goes on watching.
    fn tell_rest(&mut self, is_idle: bool, tally: Tally) -> Result<(), DemoError> {
        if is_idle && !self.is_quiet {
            let Places { photos_shown, out_shown, .. } = self.places;
            self.screen.say(format!(
                "{} thumbnails are in {out_shown}. Watching {photos_shown}: drop pictures in, or press Ctrl-C to \
                 stop.",
                tally.made
            ))?;
        }
        self.is_quiet = is_idle;
        Ok(())
    }
}

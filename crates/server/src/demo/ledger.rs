//! The thumbnail jobs that this demo answers for: what the folder asks for, and what the store says of it.
//!
//! The store is the truth. Nothing here is told by the handlers: another process may run the jobs as well.

use std::collections::{BTreeSet, HashMap};

use backroom::{AttemptEnd, Backroom, Error, ErrorKind, JobId, JobRow, State};
use tokio::task::JoinSet;

use super::{
    DemoError, Places,
    folder::Found,
    jobs::{self, GONE, MakeThumbnail, PICTURES, WIDTHS},
};

/// How many enqueues are under way at once; the store writes them in one commit.
const ENQUEUES_AT_ONCE: usize = 64;
/// How many live jobs are looked at in one go: the oldest, which run, and as many in turn.
const LOOKS_AT_ONCE: usize = 32;

/// One thumbnail job.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// What it is to make.
    pub(crate) job: MakeThumbnail,
    /// The job as it was last read.
    pub(crate) row: JobRow,
    /// It was finished before this demo began.
    pub(crate) was_before: bool,
    /// Discarded by its handler: the picture is no picture. Else a discarded job was given up.
    pub(crate) is_refused: bool,
    /// The folder asks for it, or it was under way when the demo began.
    pub(crate) is_ours: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    by_job: HashMap<MakeThumbnail, usize>,
    live: BTreeSet<usize>,
    turn: usize,
    held: usize,
}

impl Ledger {
    /// Reads what earlier runs left.
    pub(crate) async fn load(backroom: &Backroom) -> Result<Self, Error> {
        let mut ledger = Self::default();
        for (job, row) in jobs::all::<MakeThumbnail>(backroom, PICTURES).await?.into_iter().rev() {
            ledger.held += usize::from(row.state == State::Running);
            let is_live = !row.state.is_finished();
            ledger.add(Entry { job, row, was_before: !is_live, is_refused: false, is_ours: is_live });
        }
        Ok(ledger)
    }

    /// Jobs that a process had in hand when this one began; if it is dead they come back with their lease's end.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The jobs this demo answers for.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_ours)
    }

    /// How many of them are not finished.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// Takes on the thumbnails of these pictures and answers which jobs must be enqueued for them.
    pub(crate) async fn take_on(
        &mut self,
        backroom: &Backroom,
        found: &[Found],
        places: &Places,
    ) -> Result<Vec<MakeThumbnail>, Error> {
        let mut missing = Vec::new();
        for file in found {
            for width in WIDTHS {
                let job = MakeThumbnail {
                    photo: file.photo.as_path().into(),
                    width,
                    stamp: file.stamp,
                    folder: places.photos.as_path().into(),
                    out: places.out.as_path().into(),
                };
                match self.by_job.get(&job).copied() {
                    Some(index) => self.go_on(backroom, index).await?,
                    None => missing.push(job),
                }
            }
        }
        Ok(missing)
    }

    /// Enqueues jobs. One that another process enqueued meanwhile keeps its key, and is ours as well.
    pub(crate) async fn enqueue(
        &mut self,
        backroom: &Backroom,
        jobs: Vec<MakeThumbnail>,
    ) -> Result<(), DemoError> {
        let mut jobs = jobs.into_iter();
        loop {
            let mut enqueues = JoinSet::new();
            for job in jobs.by_ref().take(ENQUEUES_AT_ONCE) {
                let backroom = backroom.clone();
                enqueues.spawn(async move {
                    let row = backroom.enqueue(job.clone()).await?.status().await?;
                    Ok::<_, Error>((job, row))
                });
            }
            if enqueues.is_empty() {
                return Ok(());
            }
            let mut chunk = enqueues.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
            chunk.sort_by_key(|(_, row)| row.id);
            for (job, row) in chunk {
                self.add(Entry { job, row, was_before: false, is_refused: false, is_ours: true });
            }
        }
    }

    /// Reads the live jobs again, the oldest first, and answers those that have finished since.
    pub(crate) async fn refresh(&mut self, backroom: &Backroom) -> Result<Vec<Entry>, Error> {
        let mut finished = Vec::new();
        loop {
            let front: Vec<_> = self.live.iter().copied().take(LOOKS_AT_ONCE).collect();
            let mut all_went = !front.is_empty();
            for index in front {
                let is_finished = self.read(backroom, index).await?;
                all_went &= is_finished;
                finished.extend(is_finished.then(|| self.entries[index].clone()));
            }
            // As long as every job looked at has gone, the ones behind may have as well.
            if !all_went {
                break;
            }
        }
        let turn: Vec<_> = self.live.range(self.turn..).copied().take(LOOKS_AT_ONCE).collect();
        self.turn = turn.last().map_or(0, |last| last + 1);
        for index in turn {
            let is_finished = self.read(backroom, index).await?;
            finished.extend(is_finished.then(|| self.entries[index].clone()));
        }
        Ok(finished)
    }

    fn add(&mut self, entry: Entry) {
        // Of two jobs for one thing the newer one counts: the older one's key had run out.
        let index = *self.by_job.entry(entry.job.clone()).or_insert(self.entries.len());
        if entry.row.state.is_finished() {
            self.live.remove(&index);
        } else {
            self.live.insert(index);
        }
        match self.entries.get_mut(index) {
            Some(older) => *older = entry,
            None => self.entries.push(entry),
        }
    }

    /// What to do about a job of an earlier run whose picture is here: leave what is done or under way, and begin
    /// anew what a crash, a full disk or a cleaned-out folder left undone.
    async fn go_on(&mut self, backroom: &Backroom, index: usize) -> Result<(), Error> {
        self.entries[index].is_ours = true;
        let entry = &self.entries[index];
        let id = entry.row.id;
        let begins_anew = match entry.row.state {
            State::Queued | State::Running | State::Waiting => false,
            State::Completed => !is_there(entry),
            State::Cancelled => entry.row.reason.as_deref() == Some(GONE),
            State::Discarded => {
                let is_refused = is_refused(backroom, id).await?;
                self.entries[index].is_refused = is_refused;
                !is_refused
            }
        };
        if begins_anew {
            match backroom.retry(id).await {
                Ok(()) => {}
                // Another demo was faster.
                Err(error) if error.kind() == ErrorKind::Refused => {}
                Err(error) => return Err(error),
            }
            self.entries[index].was_before = false;
            self.live.insert(index);
            self.read(backroom, index).await?;
        }
        Ok(())
    }

    /// Reads one job and answers whether it is finished.
    async fn read(&mut self, backroom: &Backroom, index: usize) -> Result<bool, Error> {
        let id = self.entries[index].row.id;
        match backroom.job(id).await {
            Ok(row) => self.entries[index].row = row,
            // Deleted by hand: nobody wants it any more.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let entry = &mut self.entries[index];
                entry.row.state = State::Cancelled;
                entry.row.reason = Some("deleted by hand".into());
            }
            Err(error) => return Err(error),
        }
        let is_finished = self.entries[index].row.state.is_finished();
        if is_finished {
            self.live.remove(&index);
            if self.entries[index].row.state == State::Discarded {
                self.entries[index].is_refused = is_refused(backroom, id).await?;
            }
        }
        Ok(is_finished)
    }
}

/// Whether the thumbnail that a completed job made still exists.
fn is_there(entry: &Entry) -> bool {
    let made = entry.row.output.as_ref().and_then(|made| made.decode::<jobs::Made>().ok());
    made.is_some_and(|made| made.path.as_path().exists())
}

/// Whether the job's handler gave it up itself, as opposed to errors and crashes that used up its attempts.
async fn is_refused(backroom: &Backroom, id: JobId) -> Result<bool, Error> {
    let attempts = backroom.attempts(id).await?;
    Ok(attempts.last().is_some_and(|attempt| attempt.end == AttemptEnd::Discarded))
}

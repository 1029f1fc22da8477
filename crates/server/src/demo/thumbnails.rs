//! The thumbnail jobs that this demo answers for: what the folder asks for, and what the store says of it.
//!
//! The store is the truth, and is read each time: another process may run the jobs as well.

use std::collections::{BTreeMap, HashMap, HashSet};

use backroom::{AttemptEnd, Backroom, Error, ErrorKind, JobId, JobRow, State};

use super::{
    folder::Found,
    jobs::{self, GONE, Made, MakeThumbnail, PICTURES, WIDTHS},
    places::Places,
};

/// How many thumbnail jobs stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// All of them.
    pub(crate) jobs: usize,
    /// Completed.
    pub(crate) made: usize,
    /// Finished before this demo began.
    pub(crate) before: usize,
    /// Completed before this demo began.
    pub(crate) made_before: usize,
    /// Discarded: their files are no pictures.
    pub(crate) refused: usize,
    /// Discarded: errors or crashes used up their attempts.
    pub(crate) given_up: usize,
    /// Finished.
    pub(crate) finished: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Thumbnails {
    rows: HashMap<MakeThumbnail, JobRow>,
    /// The folder asks for them, or they were under way when the demo began.
    ours: HashSet<MakeThumbnail>,
    /// Finished before this demo began, and not run again.
    before: HashSet<JobId>,
    /// Discarded jobs: whether the handler refused the file. Else errors or crashes used up the attempts.
    refused: HashMap<JobId, bool>,
    /// Jobs that a process ran when this one began; if it is dead they run again with their lease's end.
    pub(crate) held: usize,
}

impl Thumbnails {
    /// Reads what earlier runs left.
    pub(crate) async fn load(backroom: &Backroom) -> Result<Self, Error> {
        let mut thumbnails = Self::default();
        thumbnails.refresh(backroom).await?;
        for (job, row) in &thumbnails.rows {
            thumbnails.held += usize::from(row.state == State::Running);
            if row.state.is_finished() {
                thumbnails.before.insert(row.id);
            } else {
                thumbnails.ours.insert(job.clone());
            }
        }
        Ok(thumbnails)
    }

    /// Reads all jobs again, and answers the discarded ones that are new, with their reasons.
    pub(crate) async fn refresh(&mut self, backroom: &Backroom) -> Result<BTreeMap<String, String>, Error> {
        self.rows.clear();
        for (job, row) in jobs::all::<MakeThumbnail>(backroom, PICTURES).await? {
            // Of two jobs for one thing the newer one counts, which comes first: the older one's key had expired.
            self.rows.entry(job).or_insert(row);
        }
        let is_new = |row: &JobRow| {
            let is_known = self.before.contains(&row.id) || self.refused.contains_key(&row.id);
            row.state == State::Discarded && !is_known
        };
        let new: Vec<_> = self.ours().filter(|(_, row)| is_new(row)).collect();
        let described = |(job, row): &(&MakeThumbnail, &JobRow)| {
            (job.photo.display().to_string(), row.reason.clone().unwrap_or_default())
        };
        let answer = new.iter().map(described).collect();
        for id in new.iter().map(|(_, row)| row.id).collect::<Vec<_>>() {
            self.refused.insert(id, is_refused(backroom, id).await?);
        }
        Ok(answer)
    }

    /// The jobs this demo answers for.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&MakeThumbnail, &JobRow)> {
        self.ours.iter().filter_map(|job| Some((job, self.rows.get(job)?)))
    }

    /// Takes on the thumbnails of these pictures and answers which jobs must be enqueued for them.
    pub(crate) async fn take_on(
        &mut self,
        backroom: &Backroom,
        found: &[Found],
        places: &Places,
    ) -> Result<Vec<MakeThumbnail>, Error> {
        let mut missing = Vec::new();
        for (file, width) in found.iter().flat_map(|file| WIDTHS.map(|width| (file, width))) {
            let job = MakeThumbnail {
                photo: file.photo.clone(),
                width,
                stamp: file.stamp,
                folder: places.photos.clone(),
                out: places.out.clone(),
            };
            match self.rows.get(&job).cloned() {
                Some(row) => self.run_again_if_undone(backroom, &row).await?,
                None => missing.push(job.clone()),
            }
            self.ours.insert(job);
        }
        Ok(missing)
    }

    /// Leaves what is done or under way, and runs again what a crash, a full disk or a removed folder left undone.
    async fn run_again_if_undone(&mut self, backroom: &Backroom, row: &JobRow) -> Result<(), Error> {
        let is_undone = match row.state {
            State::Queued | State::Running | State::Waiting => false,
            State::Completed => {
                let made = row.output.as_ref().and_then(|made| made.decode::<Made>().ok());
                !made.is_some_and(|made| made.path.exists())
            }
            State::Cancelled => row.reason.as_deref() == Some(GONE),
            State::Discarded => {
                let is_refused = is_refused(backroom, row.id).await?;
                self.refused.insert(row.id, is_refused);
                !is_refused
            }
        };
        if is_undone {
            self.before.remove(&row.id);
            self.refused.remove(&row.id);
            retry(backroom, row.id).await?;
        }
        Ok(())
    }

    /// Whether a discarded job's file was refused by the handler.
    pub(crate) fn is_refused(&self, row: &JobRow) -> bool {
        self.refused.get(&row.id).copied().unwrap_or(true)
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, row) in self.ours() {
            let was_before = self.before.contains(&row.id);
            let is_made = row.state == State::Completed;
            let is_discarded = row.state == State::Discarded;
            tally.jobs += 1;
            tally.finished += usize::from(row.state.is_finished());
            tally.before += usize::from(was_before);
            tally.made += usize::from(is_made);
            tally.made_before += usize::from(is_made && was_before);
            tally.refused += usize::from(is_discarded && self.is_refused(row));
            tally.given_up += usize::from(is_discarded && !self.is_refused(row));
        }
        tally
    }
}

/// Whether the job's handler refused the file itself.
async fn is_refused(backroom: &Backroom, id: JobId) -> Result<bool, Error> {
    let attempts = backroom.attempts(id).await?;
    Ok(attempts.last().is_some_and(|attempt| attempt.end == AttemptEnd::Discarded))
}

/// Runs a finished job again, unless another demo was faster.
pub(crate) async fn retry(backroom: &Backroom, id: JobId) -> Result<(), Error> {
    match backroom.retry(id).await {
        Err(error) if error.kind() != ErrorKind::Refused => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

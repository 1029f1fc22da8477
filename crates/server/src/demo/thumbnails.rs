//! Which thumbnail jobs the pictures need, and what became of them.
//!
//! Nothing is remembered between two scans: the store has the jobs, and their unique keys prevent a second job for one thing.

use std::collections::{BTreeMap, HashMap};

use backroom::{AttemptEnd, Backroom, Error, ErrorKind, JobId, JobRow, State};

use super::{
    folder::Found,
    jobs::{self, GONE, MakeThumbnail, PICTURES, WIDTHS},
    pictures::Made,
    places::Places,
};

/// Enqueues the jobs for these pictures, and runs those again that a crash, a full disk or a removed file left undone. Answers how
/// many were new.
pub(crate) async fn take_on(backroom: &Backroom, found: &[Found], places: &Places) -> Result<u64, Error> {
    if found.is_empty() {
        return Ok(0);
    }
    let known: HashMap<_, _> = all(backroom).await?.into_iter().collect();
    let mut missing = Vec::new();
    for (file, width) in found.iter().flat_map(|file| WIDTHS.map(|width| (file, width))) {
        let (photo, stamp) = (file.photo.clone(), file.stamp);
        let (folder, out) = (places.photos.clone(), places.out.clone());
        let job = MakeThumbnail { photo, width, stamp, folder, out };
        match known.get(&job) {
            Some(row) if is_undone(backroom, row).await? => retry(backroom, row.id).await?,
            Some(_) => {}
            None => missing.push(job),
        }
    }
    Ok(backroom.enqueue_many(missing).await?.created)
}

async fn is_undone(backroom: &Backroom, row: &JobRow) -> Result<bool, Error> {
    Ok(match row.state {
        State::Queued | State::Running | State::Waiting => false,
        State::Completed => {
            let made = row.output.as_ref().and_then(|made| made.decode::<Made>().ok());
            !made.is_some_and(|made| made.path.exists())
        }
        State::Cancelled => row.reason.as_deref() == Some(GONE),
        State::Discarded => !is_refused(backroom, row.id).await?,
    })
}

/// Whether the handler of a discarded job refused its file. Else errors or crashes used up the attempts.
pub(crate) async fn is_refused(backroom: &Backroom, id: JobId) -> Result<bool, Error> {
    let last = backroom.attempts(id).await?.pop();
    Ok(last.is_some_and(|attempt| attempt.end == AttemptEnd::Discarded))
}

/// Every thumbnail job. Of two for one thing the newer one counts: the key of the older one had expired.
pub(crate) async fn all(backroom: &Backroom) -> Result<BTreeMap<MakeThumbnail, JobRow>, Error> {
    let oldest_first = jobs::all::<MakeThumbnail>(backroom, PICTURES).await?.into_iter().rev();
    Ok(oldest_first.collect())
}

/// Runs a finished job again, unless another demo was faster.
pub(crate) async fn retry(backroom: &Backroom, id: JobId) -> Result<(), Error> {
    match backroom.retry(id).await {
        Err(error) if error.kind() != ErrorKind::Refused => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

//! The thumbnails: their job, and which jobs the pictures need.
//!
//! Nothing is remembered between two scans: the store has the jobs, and their unique keys prevent a second job for one thing.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
    time::Duration,
};

use backroom::{
    AttemptEnd, Backroom, Context, Error, ErrorKind, Failure, Filter, Job, JobId, JobRow, RetryPolicy, State,
    UniqueRule,
};
use serde::{Deserialize, Serialize};

use super::{
    folder::Stamp,
    pictures::{self, Made},
    places::Places,
};
use crate::terminal::words;

/// The queue of the thumbnails.
pub(crate) const PICTURES: &str = "demo-pictures";
/// How long a job holds its unique key, finished or not: for as long, a picture that has its thumbnails gets no second job,
/// however often the demo is started.
pub(crate) const KEY_HELD: Duration = Duration::from_secs(30 * 24 * 3600);
/// The widths of the thumbnails of a picture, in pixels.
const WIDTHS: [u32; 3] = [160, 480, 1280];
/// Why a job ends as cancelled when its picture is no longer what it was enqueued for. If the picture comes back
/// the job runs again.
const GONE: &str = "the picture was removed or changed since";

/// One size of one picture. The file as it was when the job was enqueued: a changed one is another job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct MakeThumbnail {
    /// The picture's file, in `folder`.
    pub(crate) photo: String,
    /// Of the thumbnail, in pixels; a narrower picture keeps its own.
    pub(crate) width: u32,
    #[serde(flatten)]
    stamp: Stamp,
    /// The watched folder, absolute.
    pub(crate) folder: String,
    /// The thumbnails' folder, absolute.
    out: String,
}

impl Job for MakeThumbnail {
    const KIND: &'static str = "make_thumbnail";
    const QUEUE: &'static str = PICTURES;
    // Only the disk is tried again; a broken picture is discarded at once.
    const MAX_ATTEMPTS: Option<u32> = Some(4);
    type Output = Made;

    fn retry() -> RetryPolicy {
        RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(10))
    }

    fn unique() -> Option<UniqueRule> {
        Some(UniqueRule::by_args().within(KEY_HELD))
    }
}

/// Makes `a.jpg~320.jpg` of `a.jpg`. A plain function, because it keeps a core busy: it runs on a thread for blocking work.
pub(crate) fn make_thumbnail(job: MakeThumbnail, ctx: Context) -> Result<Made, Failure> {
    let source = Path::new(&job.folder).join(&job.photo);
    match fs::metadata(&source) {
        Ok(found) if Stamp::of(&found)? == job.stamp => {}
        Ok(_) => return Err(Failure::cancel(GONE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::cancel(GONE)),
        Err(error) => return Err(Failure::retry(format!("read {}: {error}", source.display()))),
    }
    ctx.progress(10, format!("reading {}", words::bytes(job.stamp.bytes)));
    let target = Path::new(&job.out).join(format!("{}~{}.jpg", job.photo, job.width));
    let made = pictures::make(&source, &target, job.width)?;
    ctx.progress(100, format!("{} x {} px, {}", made.width, made.height, words::bytes(made.bytes)));
    Ok(made)
}

/// Enqueues the jobs for these pictures, and runs those again that a crash, a full disk or a removed file left undone.
pub(crate) async fn take_on(
    backroom: &Backroom,
    found: &BTreeMap<String, Stamp>,
    places: &Places,
) -> Result<(), Error> {
    // Of two for one thing the newer one counts: the key of the older one had expired.
    let oldest_first = newest(backroom, &[], usize::MAX).await?.into_iter().rev();
    let known: HashMap<_, _> = oldest_first.collect();
    let mut missing = Vec::new();
    for ((photo, stamp), width) in found.iter().flat_map(|file| WIDTHS.map(|width| (file, width))) {
        let (photo, stamp) = (photo.clone(), *stamp);
        let (folder, out) = (places.photos.clone(), places.out.clone());
        let job = MakeThumbnail { photo, width, stamp, folder, out };
        match known.get(&job) {
            Some(row) if is_undone(backroom, row).await? => retry(backroom, row.id).await?,
            Some(_) => {}
            None => missing.push(job),
        }
    }
    backroom.enqueue_many(missing).await.map(drop)
}

async fn is_undone(backroom: &Backroom, row: &JobRow) -> Result<bool, Error> {
    Ok(match row.state {
        State::Queued | State::Running | State::Waiting => false,
        State::Completed => {
            let made = row.output.as_ref().and_then(|made| made.decode::<Made>().ok());
            !made.is_some_and(|made| made.path.exists())
        }
        State::Cancelled => row.reason.as_deref() == Some(GONE),
        State::Discarded => is_used_up(backroom, row).await?,
    })
}

/// Whether a job was discarded because errors or crashes used up its attempts, and not by its handler.
pub(crate) async fn is_used_up(backroom: &Backroom, row: &JobRow) -> Result<bool, Error> {
    if row.state != State::Discarded {
        return Ok(false);
    }
    let last = backroom.attempts(row.id).await?.pop();
    Ok(last.is_none_or(|attempt| attempt.end != AttemptEnd::Discarded))
}

/// Runs a finished job again, unless another demo was faster.
pub(crate) async fn retry(backroom: &Backroom, id: JobId) -> Result<(), Error> {
    match backroom.retry(id).await {
        Err(error) if error.kind() != ErrorKind::Refused => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The newest thumbnail jobs in these states, or in any if none is named; at most so many. Left out are those whose args have another
/// shape: they come from another version of the demo.
pub(crate) async fn newest(
    backroom: &Backroom,
    states: &[State],
    most: usize,
) -> Result<Vec<(MakeThumbnail, JobRow)>, Error> {
    let (queue, kind) = (Some(PICTURES.into()), Some(MakeThumbnail::KIND.into()));
    let filter = Filter { queue, kind, states: states.to_vec(), ..Filter::default() };
    let (mut jobs, mut before) = (Vec::new(), None);
    loop {
        let page = backroom.list(filter.clone(), before, most.min(1000)).await?;
        jobs.extend(page.jobs.into_iter().filter_map(|row| Some((row.args.decode().ok()?, row))));
        before = page.next;
        if before.is_none() || jobs.len() >= most {
            return Ok(jobs);
        }
    }
}

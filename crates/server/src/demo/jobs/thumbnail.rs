//! `make_thumbnail`: one size of one picture.

use std::{fs, io, path::PathBuf, time::Duration};

use backroom::{Context, Failure, Job, RetryPolicy, UniqueRule};
use serde::{Deserialize, Serialize};

use super::{KEY_HELD, PICTURES, PathText};
use crate::demo::{
    folder::Stamp,
    pictures::{self, PictureError},
};

/// The widths of the thumbnails of a picture, in pixels.
pub(crate) const WIDTHS: [u32; 3] = [160, 480, 1280];

/// Why a job ends as cancelled when its picture is no longer what it was enqueued for. If the picture comes back
/// the job is begun anew.
pub(crate) const GONE: &str = "the picture was removed or changed since";

/// The file as it was when the job was enqueued: a changed one is another job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct MakeThumbnail {
    /// The picture, from `folder` on.
    pub(crate) photo: PathText,
    /// Of the thumbnail, in pixels; a narrower picture keeps its own.
    pub(crate) width: u32,
    /// Size and age of the picture.
    #[serde(flatten)]
    pub(crate) stamp: Stamp,
    /// The watched folder, absolute: another process may run the job from elsewhere.
    pub(crate) folder: PathText,
    /// The thumbnails' folder, absolute.
    pub(crate) out: PathText,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The thumbnail's file.
    pub(crate) path: PathText,
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
    /// Of the file.
    pub(crate) bytes: u64,
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

impl MakeThumbnail {
    /// Where the picture lies.
    pub(crate) fn source(&self) -> PathBuf {
        self.folder.as_path().join(self.photo.as_path())
    }
}

/// Makes it. A plain function: it keeps a core busy, so it runs on a thread.
pub(crate) fn make_thumbnail(job: MakeThumbnail, ctx: Context) -> Result<Made, Failure> {
    let source = job.source();
    if stamp_now(&job)? != Some(job.stamp) {
        return Err(Failure::cancel(GONE));
    }
    ctx.progress(10, format!("reading {}", bytes(job.stamp.bytes)));
    let target = job.out.as_path().join(pictures::target_name(job.photo.as_path(), job.width));
    let made = pictures::make(&source, &target, job.width).map_err(|error| match error {
        PictureError::NotAPicture { why, .. } => Failure::discard(why),
        error @ PictureError::Io { .. } => Failure::retry(error),
    })?;
    ctx.progress(100, format!("{} x {} px, {}", made.width, made.height, bytes(made.bytes)));
    Ok(Made { path: made.path.as_path().into(), width: made.width, height: made.height, bytes: made.bytes })
}

/// The picture's stamp as it is now; none when it is gone.
fn stamp_now(job: &MakeThumbnail) -> Result<Option<Stamp>, Failure> {
    let source = job.source();
    match fs::metadata(&source) {
        Ok(found) => Ok(Some(Stamp::of(&found)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::retry(format!("look at {}: {error}", source.display()))),
    }
}

fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

//! The jobs of the demo: thumbnails, an order of three steps, and a report that sums up.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{MAIN_SEPARATOR_STR, Path, PathBuf},
    time::Duration,
};

use backroom::{
    Backroom, Context, Count, Error, Failure, Filter, Job, JobRow, RetryPolicy, State, UniqueRule,
    core::bounds::span_until,
};
use serde::{Deserialize, Serialize};

use super::{
    folder::Stamp,
    pictures::{self, Made},
};

/// The queue of the thumbnails.
pub(crate) const PICTURES: &str = "demo-pictures";
/// The queue of the orders and reports.
pub(crate) const OFFICE: &str = "demo-office";
/// The widths of the thumbnails of a picture, in pixels.
pub(crate) const WIDTHS: [u32; 3] = [160, 480, 1280];
/// Why a job ends as cancelled when its picture is no longer what it was enqueued for. If the picture comes back
/// the job runs again.
pub(crate) const GONE: &str = "the picture was removed or changed since";

/// How long a job holds its unique key, finished or not: for as long, a picture that has its thumbnails gets no second job,
/// however often the demo is started.
const KEY_HELD: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long past its time a report waits for work that is still going on.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest name of a file that file systems allow, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Most discarded pictures that a report names.
const NAMED_MAX: usize = 100;

/// One size of one picture. The file as it was when the job was enqueued: a changed one is another job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct MakeThumbnail {
    /// The picture, from `folder` on.
    pub(crate) photo: PathBuf,
    /// Of the thumbnail, in pixels; a narrower picture keeps its own.
    pub(crate) width: u32,
    /// Size and age of the picture.
    #[serde(flatten)]
    pub(crate) stamp: Stamp,
    /// The watched folder, absolute: another process may run the job from elsewhere.
    pub(crate) folder: PathBuf,
    /// The thumbnails' folder, absolute.
    pub(crate) out: PathBuf,
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

/// Makes it. A plain function, because it keeps a core busy: it runs on a thread for blocking work.
pub(crate) fn make_thumbnail(job: MakeThumbnail, ctx: Context) -> Result<Made, Failure> {
    let source = job.folder.join(&job.photo);
    match fs::metadata(&source) {
        Ok(found) if Stamp::of(&found)? == job.stamp => {}
        Ok(_) => return Err(Failure::cancel(GONE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::cancel(GONE)),
        Err(error) => return Err(Failure::retry(format!("read {}: {error}", source.display()))),
    }
    let bytes = |count| indicatif::HumanBytes(count).to_string();
    ctx.progress(10, format!("reading {}", bytes(job.stamp.bytes)));
    let name = name(&job.photo, job.width);
    if name.len() > NAME_BYTES_MAX {
        return Err(Failure::discard("its path is too long for the name of a thumbnail; rename it"));
    }
    let made = pictures::make(&source, &job.out.join(name), job.width)?;
    ctx.progress(100, format!("{} x {} px, {}", made.width, made.height, bytes(made.bytes)));
    Ok(made)
}

/// The name of a thumbnail's file: of `holiday/a.jpg` it is `holiday~a.jpg~320.jpg`. Two pictures never share one.
fn name(photo: &Path, width: u32) -> String {
    let escaped = photo.display().to_string().replace('=', "=3D").replace('~', "=7E");
    format!("{}~{width}.jpg", escaped.replace(MAIN_SEPARATOR_STR, "~"))
}

/// A step of an order. Each enqueues the next one.
macro_rules! step {
    ($name:ident, $kind:literal) => {
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $name {
            /// The order's number.
            pub(crate) order: u32,
        }

        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = OFFICE;
            const MAX_ATTEMPTS: Option<u32> = Some(5);
            type Output = String;

            fn retry() -> RetryPolicy {
                RetryPolicy::constant(Duration::from_millis(1500))
            }

            fn unique() -> Option<UniqueRule> {
                Some(UniqueRule::by_fields(["order"]).within(KEY_HELD))
            }
        }
    };
}

step!(PayOrder, "pay_order");
step!(PackOrder, "pack_order");
step!(MailReceipt, "mail_receipt");

/// Takes the money, then has the order packed.
pub(crate) async fn pay_order(job: PayOrder, ctx: Context) -> Result<String, Failure> {
    take_time(&ctx, "asking the bank", 700).await;
    // Before this job ends: if the process dies in between, it is paid for again under the same order number, and
    // the unique key lets one packing through.
    ctx.backroom().enqueue(PackOrder { order: job.order }).await?;
    Ok(format!("order {} is paid", job.order))
}

/// Packs it, then has the receipt mailed.
pub(crate) async fn pack_order(job: PackOrder, ctx: Context) -> Result<String, Failure> {
    take_time(&ctx, "fetching the goods", 500).await;
    take_time(&ctx, "closing the parcel", 400).await;
    ctx.backroom().enqueue(MailReceipt { order: job.order }).await?;
    Ok(format!("order {} is packed", job.order))
}

/// Mails the receipt; the first attempt fails, so that a retry can be seen.
pub(crate) async fn mail_receipt(job: MailReceipt, ctx: Context) -> Result<String, Failure> {
    take_time(&ctx, "calling the mail server", 400).await;
    if ctx.attempt() == 1 {
        return Err(Failure::retry("the mail server is busy"));
    }
    Ok(format!("the receipt of order {} is mailed", job.order))
}

async fn take_time(ctx: &Context, doing: &str, millis: u64) {
    ctx.progress(50, doing);
    ctx.log(doing);
    ctx.backroom().clock().sleep(Duration::from_millis(millis)).await;
}

/// The report of one run over one folder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NightlyReport {
    /// The run, which has the number of its order.
    pub(crate) order: u32,
    /// The watched folder, absolute.
    pub(crate) folder: PathBuf,
    /// Where the report is written, absolute.
    pub(crate) out: PathBuf,
}

impl Job for NightlyReport {
    const KIND: &'static str = "nightly_report";
    const QUEUE: &'static str = OFFICE;
    type Output = PathBuf;

    fn unique() -> Option<UniqueRule> {
        Some(UniqueRule::by_fields(["order"]).within(KEY_HELD))
    }
}

/// Writes `report-N.txt`. While there is work that it would have to leave out it snoozes, up to a minute.
pub(crate) async fn nightly_report(job: NightlyReport, ctx: Context) -> Result<PathBuf, Failure> {
    let backroom = ctx.backroom();
    let mails = all::<MailReceipt>(&backroom, OFFICE).await?;
    let mail = mails.into_iter().find(|(mail, _)| mail.order == job.order).map(|(_, row)| row.state);
    // By counts: reading every job twice a second would cost more than making them.
    let is_live =
        |count: &Count| count.queue == PICTURES && !count.state.stored().is_finished() && count.jobs > 0;
    let is_work_left = backroom.counts().await?.iter().any(is_live);
    let waited = span_until(ctx.job().created_at, backroom.clock().now());
    if waited < PATIENCE && (is_work_left || !mail.is_some_and(State::is_finished)) {
        return Err(Failure::snooze(Duration::from_millis(500)));
    }
    let mut thumbnails = all::<MakeThumbnail>(&backroom, PICTURES).await?;
    thumbnails.retain(|(thumbnail, _)| thumbnail.folder == job.folder && thumbnail.out == job.out);
    let path = job.out.join(format!("report-{}.txt", job.order));
    let (text, target) = (report(&job, mail, &thumbnails), path.clone());
    tokio::task::spawn_blocking(move || pictures::write_whole(&target, text.as_bytes())).await??;
    Ok(path)
}

fn report(job: &NightlyReport, mail: Option<State>, thumbnails: &[(MakeThumbnail, JobRow)]) -> String {
    let in_state = |state| thumbnails.iter().filter(move |(_, row)| row.state == state);
    let made = in_state(State::Completed).filter_map(|(_, row)| row.output.as_ref()?.decode::<Made>().ok());
    let (count, bytes) = made.fold((0, 0), |(count, bytes), made| (count + 1, bytes + made.bytes));
    // One picture has one reason, however many sizes it has.
    let discarded: BTreeSet<String> = in_state(State::Discarded)
        .map(|(job, row)| format!("{}: {}", job.photo.display(), row.reason.clone().unwrap_or_default()))
        .collect();
    let receipt = match mail {
        Some(State::Completed) => "paid, packed and mailed",
        Some(State::Cancelled | State::Discarded) => "not mailed",
        Some(State::Queued | State::Running | State::Waiting) | None => "under way",
    };
    let live = thumbnails.iter().filter(|(_, row)| !row.state.is_finished()).count();
    let mut text = format!(
        "Report {0}\n\nfolder      {1}\nthumbnails  {count} made, {bytes} bytes; {live} not made yet; \
         {2} not made, as their pictures were removed or changed\norder       number {0}: {receipt}\n\
         discarded   {3} files\n",
        job.order,
        job.folder.display(),
        in_state(State::Cancelled).count(),
        discarded.len()
    );
    for file in discarded.iter().take(NAMED_MAX) {
        text += &format!("            {file}\n");
    }
    text
}

/// Every job of kind `J` in `queue` whose args still decode, the newest first.
pub(crate) async fn all<J: Job>(backroom: &Backroom, queue: &str) -> Result<Vec<(J, JobRow)>, Error> {
    const PAGE_JOBS: usize = 1000;
    let filter = Filter { queue: Some(queue.into()), kind: Some(J::KIND.into()), ..Filter::default() };
    let (mut jobs, mut before) = (Vec::new(), None);
    loop {
        let page = backroom.list(filter.clone(), before, PAGE_JOBS).await?;
        // Args of another shape come from another version of the demo.
        jobs.extend(page.jobs.into_iter().filter_map(|row| Some((row.args.decode().ok()?, row))));
        before = page.next;
        if before.is_none() {
            return Ok(jobs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pictures_never_share_the_name_of_a_thumbnail() {
        let names =
            ["a/b.jpg", "a~b.jpg", "a=7Eb.jpg", "b.jpg", "b.png"].map(|photo| name(Path::new(photo), 160));
        assert_eq!(names[0], "a~b.jpg~160.jpg");
        assert_eq!(BTreeSet::from(names).len(), 5);
    }
}

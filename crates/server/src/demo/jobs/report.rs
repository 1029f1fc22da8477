//! `nightly_report`: a job scheduled for later that sums up what the others did.

use std::{fmt::Write as _, time::Duration};

use backroom::{Backroom, Context, Error, Failure, Job, Shown, State, UniqueRule, core::bounds::span_until};
use serde::{Deserialize, Serialize};

use super::{KEY_HELD, Made, MailReceipt, MakeThumbnail, OFFICE, PICTURES, PathText, all};
use crate::demo::pictures;

/// How long past its time a report waits for work that is still going on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most discarded pictures that a report names.
const NAMED_MAX: usize = 100;

/// The report of one run over one folder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NightlyReport {
    /// The run, which has the number of its order.
    pub(crate) order: u32,
    /// The watched folder, absolute.
    pub(crate) folder: PathText,
    /// Where the report is written, absolute.
    pub(crate) out: PathText,
}

impl Job for NightlyReport {
    const KIND: &'static str = "nightly_report";
    const QUEUE: &'static str = OFFICE;
    type Output = PathText;

    fn unique() -> Option<UniqueRule> {
        Some(UniqueRule::by_fields(["order"]).within(KEY_HELD))
    }
}

/// Writes `report-N.txt`. While there is work that it would have to leave out it snoozes, up to a minute.
pub(crate) async fn nightly_report(job: NightlyReport, ctx: Context) -> Result<PathText, Failure> {
    let backroom = ctx.backroom();
    let waited = span_until(ctx.job().created_at, backroom.clock().now());
    if waited < PATIENCE && is_work_left(&backroom, job.order).await? {
        return Err(Failure::snooze(Duration::from_millis(500)));
    }
    let sum = Sum::read(&backroom, &job).await?;
    let path = job.out.as_path().join(format!("report-{}.txt", job.order));
    let text = sum.text(&job);
    let target = path.clone();
    tokio::task::spawn_blocking(move || pictures::write_whole(&target, text.as_bytes())).await??;
    Ok(path.as_path().into())
}

/// Whether thumbnails or the order are under way. By counts: reading every job twice a second would cost more than
/// making them.
async fn is_work_left(backroom: &Backroom, order: u32) -> Result<bool, Error> {
    let is_live = |shown: Shown| match shown {
        Shown::Scheduled | Shown::Retrying | Shown::Available | Shown::Running | Shown::Waiting => true,
        Shown::Completed | Shown::Cancelled | Shown::Discarded => false,
    };
    let counts = backroom.counts().await?;
    if counts.iter().any(|count| count.queue == PICTURES && is_live(count.state) && count.jobs > 0) {
        return Ok(true);
    }
    let mails = all::<MailReceipt>(backroom, OFFICE).await?;
    Ok(!mails.iter().any(|(mail, row)| mail.order == order && row.state.is_finished()))
}

/// What the report says.
#[derive(Debug, Default)]
struct Sum {
    made: usize,
    bytes: u64,
    discarded: Vec<String>,
    cancelled: usize,
    live: usize,
    receipt: &'static str,
}

impl Sum {
    async fn read(backroom: &Backroom, job: &NightlyReport) -> Result<Self, Error> {
        let mut sum = Self { receipt: "under way", ..Self::default() };
        for (thumbnail, row) in all::<MakeThumbnail>(backroom, PICTURES).await? {
            if thumbnail.folder != job.folder || thumbnail.out != job.out {
                continue;
            }
            match row.state {
                State::Queued | State::Running | State::Waiting => sum.live += 1,
                State::Completed => {
                    sum.made += 1;
                    let made = row.output.and_then(|made| made.decode::<Made>().ok());
                    sum.bytes += made.map_or(0, |made| made.bytes);
                }
                State::Cancelled => sum.cancelled += 1,
                State::Discarded => {
                    let reason = row.reason.unwrap_or_default();
                    sum.discarded.push(format!("{}: {reason}", thumbnail.photo.as_path().display()));
                }
            }
        }
        // One picture has one reason, however many sizes it has.
        sum.discarded.sort();
        sum.discarded.dedup();
        let mails = all::<MailReceipt>(backroom, OFFICE).await?;
        match mails.iter().find(|(mail, _)| mail.order == job.order).map(|(_, row)| row.state) {
            Some(State::Completed) => sum.receipt = "paid, packed and mailed",
            Some(State::Cancelled | State::Discarded) => sum.receipt = "not mailed",
            Some(State::Queued | State::Running | State::Waiting) | None => {}
        }
        Ok(sum)
    }

    fn text(&self, job: &NightlyReport) -> String {
        let mut text = format!("Report {}\n\n", job.order);
        let mut line = |name: &str, what: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<12}{what}");
        };
        line("folder", job.folder.as_path().display().to_string());
        line("thumbnails", format!("{} made, {} bytes", self.made, self.bytes));
        if self.live > 0 {
            line("", format!("{} not made yet", self.live));
        }
        if self.cancelled > 0 {
            line("", format!("{} not made: their pictures were removed or changed", self.cancelled));
        }
        line("order", format!("number {}: {}", job.order, self.receipt));
        line("discarded", format!("{} files", self.discarded.len()));
        self.discarded.iter().take(NAMED_MAX).for_each(|one| line("", one.clone()));
        if self.discarded.len() > NAMED_MAX {
            line("", format!("and {} more", self.discarded.len() - NAMED_MAX));
        }
        text
    }
}

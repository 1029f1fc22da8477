//! The kinds of job that the demo runs, each with its handler beside it.
//!
//! They run at least once, so each handler may be run again without harm: files are written whole or not at all,
//! and what one job enqueues has a unique key.

mod order;
mod path_text;
mod report;
mod thumbnail;

pub(crate) use order::{MailReceipt, PackOrder, PayOrder, mail_receipt, pack_order, pay_order};
pub(crate) use path_text::PathText;
pub(crate) use report::{NightlyReport, nightly_report};
pub(crate) use thumbnail::{GONE, Made, MakeThumbnail, WIDTHS, make_thumbnail};

use std::time::Duration;

use backroom::{Backroom, Error, Filter, Job, JobRow};

/// The queue of the thumbnails.
pub(crate) const PICTURES: &str = "demo-pictures";
/// The queue of the orders and reports.
pub(crate) const OFFICE: &str = "demo-office";

/// How long a job of the demo keeps its unique key, finished or not: for as long, a picture that has its
/// thumbnails gets no second job, however often the demo is started.
const KEY_HELD: Duration = Duration::from_secs(30 * 24 * 3600);

/// Jobs read in one page.
const PAGE_JOBS: usize = 1000;

/// Every job of kind `J` in `queue` whose args still decode, the newest first.
pub(crate) async fn all<J: Job>(backroom: &Backroom, queue: &str) -> Result<Vec<(J, JobRow)>, Error> {
    let filter = Filter { queue: Some(queue.into()), kind: Some(J::KIND.into()), ..Filter::default() };
    let (mut jobs, mut before) = (Vec::new(), None);
    loop {
        let page = backroom.list(filter.clone(), before, PAGE_JOBS).await?;
        // Args of another shape come from another version of the demo: none of our business.
        jobs.extend(page.jobs.into_iter().filter_map(|row| Some((row.args.decode().ok()?, row))));
        before = page.next;
        if before.is_none() {
            return Ok(jobs);
        }
    }
}

//! An order that is paid, packed and mailed: three jobs, each enqueued by the one before it.
//!
//! The handlers only wait, as a bank or a mail server would make them wait. The mail server is busy at first, so
//! that a retry can be seen; what was paid and packed by then is not paid and packed again.

use std::time::Duration;

use backroom::{Context, Failure, Job, RetryPolicy, UniqueRule};
use serde::{Deserialize, Serialize};

use super::{KEY_HELD, OFFICE};

/// The first job of an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PayOrder {
    /// Its number.
    pub(crate) order: u32,
}

/// The second.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackOrder {
    /// Its number.
    pub(crate) order: u32,
}

/// The last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MailReceipt {
    /// Its number.
    pub(crate) order: u32,
}

impl Job for PayOrder {
    const KIND: &'static str = "pay_order";
    const QUEUE: &'static str = OFFICE;
    type Output = String;

    fn unique() -> Option<UniqueRule> {
        Some(once_per_order())
    }
}

impl Job for PackOrder {
    const KIND: &'static str = "pack_order";
    const QUEUE: &'static str = OFFICE;
    type Output = String;

    fn unique() -> Option<UniqueRule> {
        Some(once_per_order())
    }
}

impl Job for MailReceipt {
    const KIND: &'static str = "mail_receipt";
    const QUEUE: &'static str = OFFICE;
    const MAX_ATTEMPTS: Option<u32> = Some(5);
    type Output = String;

    fn retry() -> RetryPolicy {
        RetryPolicy::constant(Duration::from_millis(1500))
    }

    fn unique() -> Option<UniqueRule> {
        Some(once_per_order())
    }
}

fn once_per_order() -> UniqueRule {
    UniqueRule::by_fields(["order"]).within(KEY_HELD)
}

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

/// Mails the receipt; the first attempt fails.
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

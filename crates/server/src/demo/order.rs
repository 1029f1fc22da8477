//! The order: a workflow that pays, packs, waits for the carrier and mails. A bank and a carrier are played here too.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backroom::{Context, ErrorKind, Failure, Job, JobId, Json, RetryPolicy, UniqueRule, WorkflowContext};
use serde::{Deserialize, Serialize};

use super::{pictures, thumbnails::KEY_HELD};

/// The queue of orders and carriers.
pub(crate) const OFFICE: &str = "demo-office";
/// The signal that the carrier sends.
const SHIPPED: &str = "shipped";
/// The carrier sets off so long after the parcel is packed.
const CARRIER_IN: Duration = Duration::from_millis(1500);

/// An order for a print of the pictures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u32,
    /// Whether the warehouse refuses it.
    pub(crate) is_refused: bool,
    /// The folder for accounts and mails, absolute.
    pub(crate) out: String,
}

impl Job for Order {
    const KIND: &'static str = "order";
    const QUEUE: &'static str = OFFICE;
    type Output = String;

    fn unique() -> Option<UniqueRule> {
        Some(UniqueRule::by_fields(["number"]).within(KEY_HELD))
    }
}

/// Brings the parcel of an order to the customer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShipParcel {
    /// The workflow that waits for it.
    order: JobId,
}

impl Job for ShipParcel {
    const KIND: &'static str = "ship_parcel";
    const QUEUE: &'static str = OFFICE;
    type Output = ();

    fn unique() -> Option<UniqueRule> {
        Some(UniqueRule::by_args().within(KEY_HELD))
    }
}

/// Fulfils an order. Killed at any point, it runs again from the top and takes what is recorded from its journal.
pub(crate) async fn fulfil(order: Order, ctx: WorkflowContext) -> Result<String, Failure> {
    // The account is named by a key that is the same in every run.
    let account = Path::new(&order.out).join(format!("bank/{}.txt", ctx.uuid("account")?));
    let bank = ctx.clone();
    ctx.step("pay")
        .retry(RetryPolicy::constant(Duration::from_millis(900)).jitter(0))
        .compensate(move |account: PathBuf| pay_back(bank.clone(), account))
        .run(|| charge(&ctx, account.clone()))
        .await?;
    ctx.step("pack").run(|| pack(&ctx, &order)).await?;
    let carrier: String = ctx.wait_signal(SHIPPED).await?;
    ctx.step("mail").run(|| mail(&ctx, &order, &carrier)).await?;
    Ok(format!("paid, packed, shipped by {carrier} and mailed"))
}

/// The bank has one file for each account. A charge that is repeated, because its process died, finds the account charged.
async fn charge(ctx: &WorkflowContext, account: PathBuf) -> Result<PathBuf, Failure> {
    /// The bank does not answer the first call of a process, so that a retry can be seen.
    static ANSWERS: AtomicBool = AtomicBool::new(false);

    take_time(ctx, "asking the bank", 400).await;
    if !ANSWERS.swap(true, Ordering::Relaxed) {
        return Err(Failure::retry("the bank does not answer"));
    }
    if !account.exists() {
        pictures::write_apart(account.clone(), "990 cents charged\n".into()).await?;
    }
    // A process that is killed here has charged, and does not know it.
    take_time(ctx, "waiting for the receipt", 400).await;
    Ok(account)
}

/// Undoes the charge. It may run twice as well, and then writes the same again.
async fn pay_back(ctx: WorkflowContext, account: PathBuf) -> Result<(), Failure> {
    pictures::write_apart(account, "990 cents charged, 990 cents paid back\n".into()).await?;
    take_time(&ctx, "paying back", 600).await;
    Ok(())
}

async fn pack(ctx: &WorkflowContext, order: &Order) -> Result<(), Failure> {
    take_time(ctx, "fetching the frame", 600).await;
    if order.is_refused {
        return Err(Failure::discard("no frame of this size is left"));
    }
    take_time(ctx, "closing the parcel", 400).await;
    // Packed again after a crash, it is still one parcel: the key of the job is unique.
    ctx.backroom().enqueue(ShipParcel { order: ctx.id() }).delay(CARRIER_IN).await?;
    Ok(())
}

async fn mail(ctx: &WorkflowContext, order: &Order, carrier: &str) -> Result<(), Failure> {
    take_time(ctx, "mailing the receipt", 400).await;
    let text = format!("Order {} is paid. It comes by {carrier}.\n", order.number);
    pictures::write_apart(Path::new(&order.out).join(format!("mail-{}.txt", order.number)), text).await
}

/// Ships the parcel, and signals that to the order.
pub(crate) async fn ship_parcel(parcel: ShipParcel, ctx: Context) -> Result<(), Failure> {
    ctx.progress(50, "on the road");
    ctx.backroom().clock().sleep(Duration::from_millis(500)).await;
    // Under the id of this job: sent again after a crash, it is the same signal.
    let sent = ctx.backroom().signal_as(parcel.order, SHIPPED, Json::encode("bicycle")?, ctx.id().0).await;
    match sent {
        Err(error) if error.kind() == ErrorKind::Refused => Err(Failure::cancel("the order has ended")),
        sent => Ok(sent?),
    }
}

async fn take_time(ctx: &WorkflowContext, doing: &str, millis: u64) {
    ctx.progress(50, doing);
    ctx.log(doing);
    ctx.backroom().clock().sleep(Duration::from_millis(millis)).await;
    ctx.progress(50, "");
}

//! A durable workflow: an order is paid, packed, shipped and mailed. With `--refuse` the warehouse refuses, and the payment is undone.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use backroom::{Backroom, Failure, Job, RetryPolicy, Worker, WorkflowContext};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    is_refused: bool,
}

impl Job for Order {
    const KIND: &'static str = "order";
    type Output = String;
}

/// The bank does not answer the first call. The key makes a repeated charge the same charge.
async fn charge(key: &str) -> Result<String, Failure> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    if CALLS.fetch_add(1, Ordering::Relaxed) == 0 {
        println!("charge: the bank does not answer");
        return Err(Failure::retry("the bank does not answer"));
    }
    println!("charge: 990 cents, under a key of {} characters", key.len());
    Ok("receipt 1".into())
}

async fn order(order: Order, ctx: WorkflowContext) -> Result<String, Failure> {
    let key = ctx.uuid("charge")?.to_string();
    let receipt: String = ctx
        .step("charge")
        .retry(RetryPolicy::constant(Duration::from_millis(10)))
        .compensate(|receipt: String| async move {
            println!("refund: {receipt}");
            Ok(())
        })
        .run(|| charge(&key))
        .await?;
    let parcel: String = ctx
        .step("pack")
        .max_tries(1)
        .run(|| async {
            if order.is_refused {
                return Err(Failure::discard(format!("there are no {} left", order.item)));
            }
            println!("pack: {}", order.item);
            Ok(format!("a parcel with {}", order.item))
        })
        .await?;
    // Days may pass here. Nothing runs meanwhile, in no process.
    let carrier: String = ctx.wait_signal("shipped").await?;
    ctx.step("mail")
        .run(|| async {
            println!("mail: {parcel} is on its way with {carrier}");
            Ok(())
        })
        .await?;
    Ok(format!("{parcel}, {receipt}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_refused = std::env::args().any(|argument| argument == "--refuse");
    let backroom = Backroom::open("sqlite:order.db").await?;
    let worker = Worker::new(&backroom).workflow(order).start().await?;

    let job = backroom.enqueue(Order { item: "socks".into(), is_refused }).await?;
    // A signal may come before the workflow waits for it.
    job.signal("shipped", "a bicycle").await?;
    match job.wait().await {
        Ok(done) => println!("done: {done}"),
        Err(error) => println!("not done: {error}"),
    }
    if let Some(journal) = job.journal().await? {
        let keys: Vec<_> = journal.entries.iter().map(|entry| entry.key.as_str()).collect();
        println!("journal: {}", keys.join(", "));
    }
    worker.stop().await?;
    Ok(())
}

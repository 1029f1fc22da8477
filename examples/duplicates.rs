//! Unique keys, a delay, and many jobs at once.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use backroom::{Backroom, Context, Failure, Job, UniqueRule, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Reindex {
    shop: u64,
}

impl Job for Reindex {
    const KIND: &'static str = "reindex";
    type Output = u64;

    /// Two jobs with the same args are duplicates while the first one is not finished.
    fn unique() -> Option<UniqueRule> {
        Some(UniqueRule::by_args())
    }
}

async fn reindex(job: Reindex, _: Context) -> Result<u64, Failure> {
    Ok(job.shop)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:duplicates.db").await?;

    let first = backroom.enqueue(Reindex { shop: 7 }).await?;
    let second = backroom.enqueue(Reindex { shop: 7 }).await?;
    println!("the second is the first: {}", first.id() == second.id());

    // A debounce: each enqueue moves the one job to an hour from now.
    let rule = || UniqueRule::by_key("shop-8").while_queued().replace();
    for _ in 0..3 {
        let hour = Duration::from_secs(3600);
        backroom.enqueue(Reindex { shop: 8 }).unique(rule()).delay(hour).await?;
    }

    let many = backroom.enqueue_many((0..1000).map(|shop| Reindex { shop: shop / 2 })).await?;
    println!("of 1000 jobs, {} were stored and {} were duplicates", many.created, many.duplicates);

    Worker::new(&backroom).handle(reindex).run_until_empty().await?;
    for count in backroom.counts().await? {
        println!("{}: {} {}", count.queue, count.jobs, count.state);
    }
    backroom.close().await?;
    Ok(())
}

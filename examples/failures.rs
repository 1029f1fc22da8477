//! Retries, a job that is discarded, and a hook that is called for every end.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use backroom::{Backroom, Context, Failure, Job, RetryPolicy, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Charge {
    cents: u64,
}

impl Job for Charge {
    const KIND: &'static str = "charge";
    type Output = String;

    fn retry() -> RetryPolicy {
        RetryPolicy::constant(Duration::from_millis(100))
    }
}

async fn charge(job: Charge, context: Context) -> Result<String, Failure> {
    match (job.cents, context.attempt()) {
        (0, _) => Err(Failure::discard("nothing to charge")),
        // Any error means: retry later.
        (_, 1) => Err("the bank does not answer".into()),
        (cents, attempt) => Ok(format!("{cents} cents at attempt {attempt}")),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:failures.db").await?;
    let worker = Worker::new(&backroom).handle(charge).on_end(|end| {
        println!("attempt {} of {}: {:?}, now {}", end.attempt, end.kind, end.ending, end.state);
    });
    let worker = worker.start().await?;

    let good = backroom.enqueue(Charge { cents: 990 }).await?;
    println!("charged {}", good.wait().await?);
    let bad = backroom.enqueue(Charge { cents: 0 }).await?;
    if let Err(error) = bad.wait().await {
        println!("failed to charge: {error}");
    }
    for attempt in backroom.attempts(good.id()).await? {
        println!("attempt {} had failed: {}", attempt.attempt, attempt.error);
    }
    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}

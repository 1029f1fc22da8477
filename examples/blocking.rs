//! Work that computes: it runs on a thread of its own, reports its progress, and ends early when it is cancelled.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use backroom::{Backroom, Context, Failure, Job, State, Worker};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct CountPrimes {
    below: u64,
}

impl Job for CountPrimes {
    const KIND: &'static str = "count_primes";
    type Output = u64;
}

fn count_primes(job: CountPrimes, context: Context) -> Result<u64, Failure> {
    let mut count = 0;
    for number in 2..job.below {
        if number % 1000 == 0 {
            context.checkpoint()?; // an error if the job is cancelled: `?` ends the handler
            context.progress((number * 100 / job.below) as u8, format!("{count} primes below {number}"));
        }
        let is_prime =
            (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| number % divisor != 0);
        count += u64::from(is_prime);
    }
    Ok(count)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:blocking.db").await?;
    let worker = Worker::new(&backroom).handle_blocking(count_primes).start().await?;

    let small = backroom.enqueue(CountPrimes { below: 10_000 }).await?;
    println!("primes below 10000: {}", small.wait().await?);

    let endless = backroom.enqueue(CountPrimes { below: u64::MAX / 100 }).await?;
    if let Some(first) = endless.progress().next().await {
        println!("progress: {}", first?.message);
    }
    endless.cancel().await?;
    let row = endless.finished().await?;
    println!("the long one is {}", row.state);
    assert_eq!(row.state, State::Cancelled);
    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}

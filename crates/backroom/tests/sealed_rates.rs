//! What sealing costs: the drain rate of a sealed kind beside that of the same kind in the clear, measured in turn.

#![cfg(all(feature = "sealed", feature = "sqlite"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement stops at what it did not expect, goes by real time, and is printed"
)]

use std::time::{Duration, Instant};

use backroom::{
    Json, Options, Worker,
    sealed::{KeyAlgorithm, KeySet, Keys},
};

/// Jobs per second that one worker drains from a SQLite file, and those that are enqueued.
async fn rates(jobs: usize, bytes: usize, key: Option<KeyAlgorithm>) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new();
    if let Some(algorithm) = key {
        let mut set = KeySet::new();
        set.make("bench", algorithm).unwrap();
        options = options.keys(Keys::load(set).await.unwrap()).seal_kind("work", "bench");
    }
    let backroom =
        options.open(&format!("sqlite:{}", folder.path().join("jobs.db").display())).await.unwrap();
    let args = Json::parse(format!("{{\"text\":\"{}\"}}", "x".repeat(bytes.saturating_sub(11)))).unwrap();
    let began = Instant::now();
    backroom.enqueue_many_untyped("work", std::iter::repeat_n(args, jobs)).await.unwrap();
    let enqueued = began.elapsed();
    let worker =
        Worker::new(&backroom).queue("default", 100).handle_untyped("work", async |_, _| Ok(Json::null()));
    let began = Instant::now();
    worker.run_until_empty().await.unwrap();
    let drained = began.elapsed();
    backroom.close().await.unwrap();
    let rate = |took: Duration| f64::from(u32::try_from(jobs).unwrap()) / took.as_secs_f64();
    (rate(drained), rate(enqueued))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Prints the rates. Returns the sealed drain rate as a part of the one in the clear.
async fn compare(jobs: usize, bytes: usize, rounds: usize) -> f64 {
    let (mut plain, mut sealed, mut public) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        plain.push(rates(jobs, bytes, None).await);
        sealed.push(rates(jobs, bytes, Some(KeyAlgorithm::Symmetric)).await);
        public.push(rates(jobs, bytes, Some(KeyAlgorithm::PublicPrivate)).await);
    }
    let of = |rates: &[(f64, f64)]| {
        (median(rates.iter().map(|rate| rate.0).collect()), median(rates.iter().map(|rate| rate.1).collect()))
    };
    let (in_the_clear, symmetric, pair) = (of(&plain), of(&sealed), of(&public));
    println!("{bytes} bytes of args, {jobs} jobs, medians of {rounds} rounds in turn:");
    for (name, (drain, enqueue)) in [("in the clear", in_the_clear), ("A256KW", symmetric), ("X25519", pair)]
    {
        println!(
            "  {name:<13} drain {drain:>8.0}/s ({:.2})   bulk enqueue {enqueue:>8.0}/s ({:.2})",
            drain / in_the_clear.0,
            enqueue / in_the_clear.1
        );
    }
    symmetric.0 / in_the_clear.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figure: what sealing costs; run it in release with --nocapture on an idle machine"]
async fn sealing_costs_at_most_15_percent_of_the_drain_rate() {
    let left = compare(20_000, 200, 5).await;
    compare(1000, 64 * 1024, 3).await;
    assert!(left >= 0.85, "{left:.2} of the drain rate is left");
}

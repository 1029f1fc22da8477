//! Enqueue everything, then run and complete it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom::{Error, ErrorKind, Timestamp};

use super::{
    Report,
    args::BenchArgs,
    place::Place,
    workload::{Noop, plain_worker, set_history},
};

/// Most single enqueues: they wait for the disk, and a figure needs no more.
const SINGLES_MAX: u32 = 10_000;
/// Callers that enqueue one by one at the same time.
const CALLERS: u32 = 20;

pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    set_history(args, place).await?;
    say(&format!("enqueue {} jobs in bulk", args.jobs));
    let enqueue = enqueue_many(args, place).await?;
    say("run and complete them");
    let drain = drain(args, place).await?;
    let jobs = f64::from(args.jobs);
    report.enqueue_per_s = Some(jobs / enqueue.as_secs_f64());
    report.drain_per_s = Some(jobs / drain.as_secs_f64());
    report.lifecycle_per_s = Some(jobs / (enqueue + drain).as_secs_f64());
    let singles = args.jobs.min(SINGLES_MAX);
    say(&format!("enqueue {singles} jobs one by one, {CALLERS} callers at a time"));
    let single = enqueue_single(args, place, singles, CALLERS).await?;
    report.enqueue_single_per_s = Some(f64::from(singles) / single.as_secs_f64());
    plain(args, place).await
}

/// Runs what is left.
pub(super) async fn plain(args: &BenchArgs, place: &Place) -> Result<(), Error> {
    plain_worker(args, place).run_until_empty().await
}

/// How long the bulk enqueue of all jobs takes.
pub(super) async fn enqueue_many(args: &BenchArgs, place: &Place) -> Result<Duration, Error> {
    let start = place.backroom.clock().now();
    let many = place.backroom.enqueue_many(Noop::many(args.jobs, args.payload_bytes)).await?;
    if many.created != u64::from(args.jobs) {
        let message = format!("measure: {} of {} jobs were stored", many.created, args.jobs);
        return Err(Error::new(ErrorKind::Internal, message));
    }
    Ok(since(place, start))
}

/// How long it takes from the start of a worker until the end of the last job is on disk.
pub(super) async fn drain(args: &BenchArgs, place: &Place) -> Result<Duration, Error> {
    let start = place.backroom.clock().now();
    plain_worker(args, place).run_until_empty().await?;
    Ok(since(place, start))
}

/// How long `count` single enqueues take, each acknowledged before its caller makes the next.
pub(super) async fn enqueue_single(
    args: &BenchArgs,
    place: &Place,
    count: u32,
    callers: u32,
) -> Result<Duration, Error> {
    let next = Arc::new(AtomicU64::new(0));
    let start = place.backroom.clock().now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (backroom, next, bytes) = (place.backroom.clone(), Arc::clone(&next), args.payload_bytes);
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= u64::from(count) {
                        return Ok::<_, Error>(());
                    }
                    backroom.enqueue(Noop::new(number, bytes)).await?;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.map_err(|error| Error::new(ErrorKind::Internal, "enqueue").caused_by(error))??;
    }
    Ok(since(place, start))
}

pub(super) fn since(place: &Place, start: Timestamp) -> Duration {
    let span = place.backroom.clock().now().duration_since(start);
    Duration::try_from(span).unwrap_or_default().max(Duration::from_micros(1))
}

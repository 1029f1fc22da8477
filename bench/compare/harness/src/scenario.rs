//! The measurements, each on a store of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::report::{Drained, Report};
use crate::request::{Request, Scenario};
use crate::{Email, Error, Peer, clock, pickup, seen};

/// Makes the measurement that is asked for.
pub(crate) async fn run<P: Peer>(request: &Request) -> Result<Report, Error> {
    seen::expect(request.jobs + pickup::WARM_UP);
    let peer = P::open(request).await?;
    let mut report = Report::default();
    match request.scenario {
        Scenario::Lifecycle => {
            report.bulk_per_s = Some(enqueue_in_batches(&peer, request).await?);
            report.stored = Some(peer.unfinished().await?);
            report.drain = Some(drain(&peer, request).await?);
        }
        Scenario::Bulk => {
            report.bulk_per_s = Some(enqueue_in_batches(&peer, request).await?);
            report.stored = Some(peer.unfinished().await?);
        }
        Scenario::Single => {
            report.single_per_s = Some(enqueue_one_by_one(&peer, request).await?);
            report.stored = Some(peer.unfinished().await?);
        }
        Scenario::Pickup => report.pickup = Some(pickup::measure(&peer, request).await?),
    }
    report.durability = peer.durability().await?;
    Ok(report)
}

/// One caller that waits for each batch before it makes the next.
async fn enqueue_in_batches<P: Peer>(peer: &P, request: &Request) -> Result<f64, Error> {
    let start = clock::now();
    for first in (0..request.jobs).step_by(request.batch) {
        let emails = Email::many(first..request.jobs.min(first + request.batch));
        peer.enqueue_batch(emails).await?;
    }
    Ok(clock::per_second(request.jobs, start.elapsed()))
}

/// Several callers, each of which waits for its job before it makes the next.
async fn enqueue_one_by_one<P: Peer>(peer: &P, request: &Request) -> Result<f64, Error> {
    let next = Arc::new(AtomicUsize::new(0));
    let jobs = request.jobs;
    let start = clock::now();
    let callers: Vec<_> = (0..request.callers)
        .map(|_| {
            let (peer, next) = (peer.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= jobs {
                        return Ok::<_, Error>(());
                    }
                    peer.enqueue(Email::new(number)).await?;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(clock::per_second(jobs, start.elapsed()))
}

/// From just before the workers start until the store says that no job is unfinished. The store is asked only when every
/// job has run, so that the asking does not slow what is measured.
async fn drain<P: Peer>(peer: &P, request: &Request) -> Result<Drained, Error> {
    let start = clock::now();
    let worker = peer.start().await?;
    let all_ran = clock::wait_until(request.limit, || seen::runs().distinct >= request.jobs).await;
    let rest = request.limit.saturating_sub(start.elapsed());
    let all_ended = all_ran && clock::wait_for_none(rest, || peer.unfinished()).await?;
    let took = start.elapsed();
    peer.stop(worker).await?;
    let seen::Runs { runs, distinct } = seen::runs();
    Ok(Drained {
        per_s: all_ended.then(|| clock::per_second(request.jobs, took)),
        runs,
        distinct,
        unfinished: peer.unfinished().await?,
        finished: peer.finished().await?,
    })
}

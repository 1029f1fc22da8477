//! How soon jobs are picked up while a worker is half busy.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backroom::{Backroom, Error, ErrorKind, JobId, Timestamp, core::bounds::later};

use super::{
    Report,
    args::BenchArgs,
    drain::since,
    latency::pickups,
    place::Place,
    workload::{Noop, noting_worker, set_history},
};

/// Callers that enqueue one by one at the same time.
const CALLERS: u64 = 20;
/// Jobs to find the capacity with.
const CAPACITY_JOBS: u64 = 20_000;

/// First finds out how many single enqueues per second are enqueued, run and completed at full speed; then
/// sends half as many per second, evenly, and looks at the waits.
pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    set_history(args, place).await?;
    let ledger = args.ledger.as_deref().map(Ledger::open).transpose()?.map(Arc::new);
    let jobs = u64::from(args.jobs);
    let (worker, seen) = noting_worker(args, place).await?;
    say("find the capacity");
    let probe = CAPACITY_JOBS.min(jobs);
    let start = place.backroom.clock().now();
    send(args, place, 0..probe, None, ledger.clone()).await?;
    seen.reach(probe).await;
    let capacity = probe as f64 / since(place, start).as_secs_f64();
    report.enqueue_single_per_s = Some(capacity);
    seen.take_began();

    say(&format!("{jobs} jobs at {:.0} per second, half of the capacity", capacity / 2.0));
    let gap = Duration::from_secs_f64(2.0 / capacity);
    let start = place.backroom.clock().now();
    let sent = send(args, place, probe..probe + jobs, Some(gap), ledger).await?;
    seen.reach(probe + jobs).await;
    report.lifecycle_per_s = Some(jobs as f64 / since(place, start).as_secs_f64());
    worker.stop().await?;
    // The first tenth is for files to grow and caches to fill.
    report.pickup(&pickups(&sent, &seen.take_began(), probe + jobs / 10));
    Ok(())
}

/// Enqueues jobs one by one from many callers, each job at its own moment when a `gap` is given. Answers when each
/// was sent: its moment, not when its caller got round to it, so that a late caller counts as waiting.
async fn send(
    args: &BenchArgs,
    place: &Place,
    numbers: std::ops::Range<u64>,
    gap: Option<Duration>,
    ledger: Option<Arc<Ledger>>,
) -> Result<HashMap<u64, Timestamp>, Error> {
    let start = place.backroom.clock().now();
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (backroom, ledger, bytes) = (place.backroom.clone(), ledger.clone(), args.payload_bytes);
        let (first, end) = (numbers.start, numbers.end);
        callers.push(tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in (first + caller..end).step_by(CALLERS as usize) {
                let at = match gap {
                    Some(gap) => moment(&backroom, start, gap, number - first).await,
                    None => backroom.clock().now(),
                };
                let job = backroom.enqueue(Noop::new(number, bytes)).await?;
                sent.push((number, at));
                ledger.as_ref().map_or(Ok(()), |ledger| ledger.write(job.id()))?;
            }
            Ok::<_, Error>(sent)
        }));
    }
    let mut sent = HashMap::new();
    for caller in callers {
        let part =
            caller.await.map_err(|error| Error::new(ErrorKind::Internal, "enqueue").caused_by(error))?;
        sent.extend(part?);
    }
    Ok(sent)
}

async fn moment(backroom: &Backroom, start: Timestamp, gap: Duration, index: u64) -> Timestamp {
    let at = later(start, gap.mul_f64(index as f64));
    backroom.clock().sleep_until(at).await;
    at
}

/// Ids of acknowledged enqueues, one per line, each handed to the kernel before the next enqueue.
struct Ledger(Mutex<std::fs::File>);

impl Ledger {
    fn open(path: &std::path::Path) -> Result<Self, Error> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.map(|file| Self(Mutex::new(file))).map_err(Self::failed)
    }

    fn write(&self, id: JobId) -> Result<(), Error> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{id}\n").as_bytes()).map_err(Self::failed)
    }

    fn failed(error: std::io::Error) -> Error {
        Error::new(ErrorKind::NoSpace, "write the ledger").caused_by(error)
    }
}

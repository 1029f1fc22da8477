//! Whether a long history and a long future slow down the present.

use std::{sync::Arc, time::Duration};

use backroom::{
    Draft, Error, Json, State, Timestamp,
    core::bounds::{earlier, later},
    store::Record,
};

use super::{
    Report,
    args::BenchArgs,
    drain,
    place::Place,
    workload::{Noop, set_history},
};

/// Records per call.
const CHUNK: u32 = 5000;

/// As `drain`, twice: on the store as it is, and after it was filled.
pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    set_history(args, place).await?;
    say(&format!("{} jobs on an empty store", args.jobs));
    let empty = drain::enqueue_many(args, place).await? + drain::drain(args, place).await?;
    fill(args, place, say).await?;
    say(&format!("{} jobs on the full store", args.jobs));
    drain::measure(args, place, report, say).await?;
    let jobs = f64::from(args.jobs);
    report.empty_lifecycle_per_s = Some(jobs / empty.as_secs_f64());
    Ok(())
}

async fn fill(args: &BenchArgs, place: &Place, say: &dyn Fn(&str)) -> Result<(), Error> {
    let now = place.backroom.clock().now();
    let ids = backroom::ids::Ids::from_entropy();
    let total = args.deep_finished + args.deep_future;
    let mut made = 0;
    while made < total {
        let count = CHUNK.min(total - made);
        let records = (made..made + count).map(|number| {
            // Finished jobs lie behind, one every 30 ms; future ones ahead, one every second.
            let finished = number < args.deep_finished;
            let created =
                earlier(now, Duration::from_millis(30) * (args.deep_finished.saturating_sub(number) + 1));
            let id = ids.job(created);
            record(args, number, finished, id, created, now)
        });
        let records = records.collect::<Result<Vec<_>, _>>()?;
        place.backroom.store().import(Arc::new(records)).await?;
        made += count;
        if made % 1_000_000 < CHUNK {
            say(&format!("filling the store: {made} of {total}"));
        }
    }
    Ok(())
}

fn record(
    args: &BenchArgs,
    number: u32,
    finished: bool,
    id: backroom::JobId,
    created: Timestamp,
    now: Timestamp,
) -> Result<Record, Error> {
    let noop = Noop::new(u64::from(number), args.payload_bytes);
    let draft = Draft { queue: "bench".into(), ..Draft::new("bench_noop", Json::encode(&noop)?) };
    let mut job = draft.check(id, created, usize::MAX)?.job;
    if finished {
        job.state = State::Completed;
        job.attempt = 1;
        job.output = Some(Json::null());
        job.started_at = Some(created);
        job.finished_at = Some(created);
        job.revision = 2;
    } else {
        job.scheduled_at = later(now, Duration::from_secs(3600 + u64::from(number - args.deep_finished)));
    }
    Ok(Record { job, attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None })
}

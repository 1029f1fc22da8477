//! How soon an idle worker picks a job up.

use std::{collections::HashMap, time::Duration};

use backroom::{Error, Timestamp};

use super::{
    Report,
    args::BenchArgs,
    place::Place,
    report::Percentiles,
    workload::{Noop, noting_worker, set_history},
};

/// Jobs before the first one that counts: files grow, caches fill, statements are prepared.
const WARM_UP: u64 = 20;
/// Most jobs; each comes with a pause.
const JOBS_MAX: u64 = 1000;

/// One job at a time: from just before the enqueue call to the first line of its handler, the disk included. The
/// pauses differ, so that they do not keep step with anybody's polling.
pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    set_history(args, place).await?;
    let count = u64::from(args.jobs).min(JOBS_MAX);
    say(&format!("{count} jobs one at a time on an idle worker"));
    let (worker, seen) = noting_worker(args, place).await?;
    let clock = place.backroom.clock();
    let (mut sent, mut acknowledged) = (HashMap::new(), HashMap::new());
    for number in 0..WARM_UP + count {
        sent.insert(number, clock.now());
        place.backroom.enqueue(Noop::new(number, args.payload_bytes)).await?;
        acknowledged.insert(number, clock.now());
        seen.reach(number + 1).await;
        clock.sleep(Duration::from_micros(5000 + number * 7919 % 13_000)).await;
    }
    worker.stop().await?;
    let began = seen.take_began();
    report.pickup(&pickups(&sent, &began, WARM_UP));
    // How much of it is not the enqueue's own wait for the disk.
    report.pickup_after_ack_p50_ms = pickups(&acknowledged, &began, WARM_UP).at(0.50);
    Ok(())
}

/// From just before each enqueue to the first line of its handler, for jobs from number `from` on.
pub(super) fn pickups(sent: &HashMap<u64, Timestamp>, began: &[(u64, Timestamp)], from: u64) -> Percentiles {
    let waits = began.iter().filter(|(number, _)| *number >= from).filter_map(|(number, at)| {
        let sent = sent.get(number)?;
        Some(Duration::try_from(at.duration_since(*sent)).unwrap_or_default())
    });
    Percentiles::of(waits.collect())
}

//! Measures schedules: `cargo run --release -p backroom --features postgres --example schedules_load -- URL`.
//!
//! Four figures: what 100,000 schedules cost an idle process, how late a due occurrence starts when 1,000 are due in one second
//! and when they are due at one instant, and how fast 100,000 are worked off that are due at one instant, with enqueues beside it.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement stops at what it did not expect"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use backroom::{
    Backroom, Json, Schedule, Timestamp, Worker,
    core::bounds::later,
    schedule::{Origin, ScheduleRow, State, policy::Overlap},
    store::ScheduleMove,
};

/// Puts many schedules. Each fires once, at its time, or daily at midnight.
async fn put(backroom: &Backroom, prefix: &str, count: usize, at: impl Fn(usize) -> Option<Timestamp>) {
    let now = backroom.clock().now();
    let row = |number: usize| {
        let schedule = at(number).map_or_else(|| Schedule::cron("0 0 * * *"), Schedule::once);
        let schedule = schedule.name(format!("{prefix} {number}")).overlap(Overlap::AllowAll);
        let definition = schedule.job_untyped("work", Json::null()).queue("due").definition().unwrap();
        let next_at = definition.timetable().unwrap().next_after(now);
        ScheduleRow {
            name: definition.name.clone(),
            origin: Origin::Program,
            created_at: now,
            changed_at: now,
            definition: definition.stored().unwrap(),
            state: State::begin(now).stored().unwrap(),
            next_at,
            revision: 0,
            moved_by: backroom::ids::Ids::from_entropy().lease().0,
        }
    };
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(1000) {
        let moves = chunk.iter().map(|number| ScheduleMove::new(None, row(*number))).collect();
        backroom.store().move_schedules(Arc::new(moves)).await.unwrap();
    }
}

/// Processor time of this process so far.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let backroom = Backroom::open(&url).await.unwrap();
    let late: Arc<Mutex<Vec<f64>>> = Arc::default();
    let (clock, lates) = (Arc::clone(backroom.clock()), Arc::clone(&late));
    let worker =
        Worker::new(&backroom).queue("due", 100).handle_untyped("work", move |_, ctx: backroom::Context| {
            let nominal = ctx.job().extras.occurrence.as_ref().map(|of| of.nominal).unwrap();
            let ms = clock.now().duration_since(nominal).as_micros() as f64 / 1000.0;
            lates.lock().unwrap().push(ms);
            async { Ok(Json::null()) }
        });
    let began = Instant::now();
    put(&backroom, "daily", 100_000, |_| None).await;
    println!("put 100,000 schedules in {:?}", began.elapsed());
    let running = worker.start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (used(), Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    println!(
        "idle with 100,000 schedules: {:.2} % of a core",
        (used() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
    );

    for (what, apart) in [("in one second", Duration::from_millis(1)), ("at one instant", Duration::ZERO)] {
        for round in 0..3 {
            let at = later(backroom.clock().now(), Duration::from_secs(4));
            late.lock().unwrap().clear();
            let of = |number: usize| Some(later(at, apart * u32::try_from(number).unwrap()));
            put(&backroom, &format!("{what} {round}"), 1000, of).await;
            while late.lock().unwrap().len() < 1000 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let mut found = late.lock().unwrap().clone();
            found.sort_by(f64::total_cmp);
            println!(
                "1,000 due {what}: start p50 {:.1} ms, p99 {:.1} ms, last {:.1} ms",
                percentile(&found, 50),
                percentile(&found, 99),
                percentile(&found, 100)
            );
        }
    }
    running.stop().await.unwrap();

    let worker = Worker::new(&backroom)
        .queue("idle", 1)
        .handle_untyped("none", async move |_, _| Ok(Json::null()))
        .start()
        .await
        .unwrap();
    let at = later(backroom.clock().now(), Duration::from_secs(25));
    put(&backroom, "minute", 100_000, |_| Some(at)).await;
    println!("put 100,000 due at one moment");
    let wait = Duration::try_from(at.duration_since(backroom.clock().now())).unwrap_or_default();
    tokio::time::sleep(wait).await;
    let began = Instant::now();
    let mut enqueues: Vec<f64> = Vec::new();
    loop {
        let one = Instant::now();
        backroom.enqueue_untyped("other", Json::null()).queue("others").await.unwrap();
        enqueues.push(one.elapsed().as_secs_f64() * 1000.0);
        let next = backroom.store().due_schedules(None, 1, backroom.clock().now()).await.unwrap();
        if next.due.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    enqueues.sort_by(f64::total_cmp);
    println!(
        "100,000 due at one moment: worked off in {took:?}, {:.0}/s; enqueues beside it p50 {:.1} ms, p99 {:.1} ms, of {}",
        100_000.0 / took.as_secs_f64(),
        percentile(&enqueues, 50),
        percentile(&enqueues, 99),
        enqueues.len()
    );
    worker.stop().await.unwrap();
    backroom.close().await.unwrap();
}

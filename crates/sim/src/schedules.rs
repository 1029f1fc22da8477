//! Schedules of the simulation: what they are, and the account of every occurrence at the end.

use std::time::Duration;

use backroom::{
    Backroom, Error, Schedule, Timestamp,
    core::bounds::span_until,
    schedule::policy::{CatchUp, Overlap},
};

use crate::{drafts::QUEUES, handlers::KINDS, model::Model, model::schedule_args};

/// Each with its interval in seconds. Few of what was missed run, so that a clock that jumps by days brings no flood.
fn all() -> Vec<(Schedule, u64)> {
    let once = CatchUp::DEFAULT;
    let few = CatchUp::All { window: Duration::from_secs(3600), max: 10 };
    let choices = [
        (Overlap::Skip, once, 20),
        (Overlap::BufferOne, once, 15),
        (Overlap::BufferAll(3), few, 30),
        (Overlap::AllowAll, few, 25),
        (Overlap::AllowAll, CatchUp::None, 40),
    ];
    let one = |(number, (overlap, catch_up, secs)): (usize, (Overlap, CatchUp, u64))| {
        let schedule = Schedule::every(Duration::from_secs(secs)).name(format!("schedule {number}"));
        let schedule = schedule.overlap(overlap).catch_up(catch_up);
        let kind = KINDS[number % KINDS.len()];
        let schedule = schedule.job_untyped(kind, schedule_args(number as u64 * 7_919));
        (schedule.queue(QUEUES[number % QUEUES.len()]).max_attempts(3), secs)
    };
    choices.into_iter().enumerate().map(one).collect()
}

/// Puts all of them.
pub async fn put(client: &Backroom) -> Result<(), Error> {
    for (schedule, _) in all() {
        client.schedules().put(schedule).await?;
    }
    Ok(())
}

/// No occurrence is due any more.
pub async fn pause(client: &Backroom) -> Result<(), Error> {
    for (number, _) in all().iter().enumerate() {
        client.schedules().pause(&format!("schedule {number}")).await?;
    }
    Ok(())
}

/// Every occurrence up to the last one that was decided has fired, waits, or is counted with a reason; what fired is what the model heard of.
pub async fn account(
    client: &Backroom,
    model: &mut impl FnMut(&mut dyn FnMut(&mut Model)),
) -> Result<(), Error> {
    for (number, (_, secs)) in all().into_iter().enumerate() {
        let name = format!("schedule {number}");
        let Some(info) = client.schedules().get(&name).await? else {
            model(&mut |model| model.wrong(format!("{name} is lost")));
            continue;
        };
        let Some(state) = info.summary.state else {
            model(&mut |model| model.wrong(format!("{name} cannot be read")));
            continue;
        };
        let passed = |at: Timestamp| span_until(Timestamp::UNIX_EPOCH, at).as_secs() / secs;
        let due = passed(state.decided_until) - passed(info.summary.created_at);
        let counters = state.counters;
        let decided = counters.fired + counters.skipped + counters.missed + state.buffer.len() as u64;
        model(&mut |model| {
            if decided != due {
                model.wrong(format!("{name} had {due} occurrences and decided {decided}: {state:?}"));
            }
            if counters.fired != model.fired(&name) {
                model.wrong(format!(
                    "{name} counts {} runs, and {} fired",
                    counters.fired,
                    model.fired(&name)
                ));
            }
        });
    }
    Ok(())
}

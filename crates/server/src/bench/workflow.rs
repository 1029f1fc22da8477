//! Workflows of three steps, each of which does nothing: how many a second, with every step durable.

use std::time::Duration;

use backroom::{Error, ErrorKind, Failure, Job, Retention, RetentionLimit, Worker, WorkflowContext};
use serde::{Deserialize, Serialize};

use super::{Report, args::BenchArgs, drain::since, place::Place};

/// A workflow of three steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ThreeSteps {
    number: u64,
}

impl Job for ThreeSteps {
    const KIND: &'static str = "bench_workflow";
    const QUEUE: &'static str = "bench_workflows";
    type Output = u64;
}

async fn three_steps(args: ThreeSteps, ctx: WorkflowContext) -> Result<u64, Failure> {
    let one: u64 = ctx.step("one").run(|| async { Ok(args.number) }).await?;
    let two: u64 = ctx.step("two").run(|| async { Ok(one + 1) }).await?;
    Ok(ctx.step("three").run(|| async { Ok(two + 1) }).await?)
}

pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    let completed = if args.no_history { RetentionLimit::newest(0) } else { RetentionLimit::FOREVER };
    let retention = Retention { completed, ..Retention::FOREVER };
    place.backroom.retain(ThreeSteps::QUEUE, retention).await?;
    say(&format!("enqueue {} workflows in bulk", args.jobs));
    let all = (0..u64::from(args.jobs)).map(|number| ThreeSteps { number });
    let many = place.backroom.enqueue_many(all).await?;
    if many.created != u64::from(args.jobs) {
        let message = format!("measure: {} of {} workflows were stored", many.created, args.jobs);
        return Err(Error::new(ErrorKind::Internal, message));
    }
    say("run and complete them");
    let start = place.backroom.clock().now();
    let worker = Worker::new(&place.backroom).queue(ThreeSteps::QUEUE, args.slots).workflow(three_steps);
    worker.lease(Duration::from_millis(args.lease_ms)).run_until_empty().await?;
    report.workflow_per_s = Some(f64::from(args.jobs) / since(place, start).as_secs_f64());
    Ok(())
}

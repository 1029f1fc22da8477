//! `backroom bench`: what this disk and this machine give, in figures that can be compared.
//!
//! Every scenario runs the library as a program would: the same client, the same worker, no-op handlers, durable
//! writes, history retained. `--baseline` puts a bare loop over the same tables beside it.

mod args;
mod baseline;
mod batch;
mod deep;
mod drain;
mod http;
mod latency;
mod place;
mod report;
mod steady;
mod workflow;
mod workload;

pub(crate) use args::{BenchArgs, Scenario};
pub(crate) use report::Report;
pub(crate) use workload::telling_worker;

use std::sync::Arc;

use crate::{remote::Remote, terminal::Problem};
use place::Place;

/// Measures one scenario and answers with its figures. `say` is called for each step, for people who wait.
pub(crate) async fn measure(
    args: &BenchArgs,
    store: Option<&str>,
    server: Option<&Arc<Remote>>,
    say: &dyn Fn(&str),
) -> Result<Report, Problem> {
    let place = Place::open(args, store).await?;
    let mut report = Report::new(args, &place).await?;
    let measured = match (server, args.scenario) {
        (Some(server), _) => http::of_server(args, &place, server, &mut report, say).await.map(drop),
        (None, Scenario::Http) => http::measure(args, &place, &mut report, say).await,
        (None, Scenario::Drain) => Ok(drain::measure(args, &place, &mut report, say).await?),
        (None, Scenario::Steady) => Ok(steady::measure(args, &place, &mut report, say).await?),
        (None, Scenario::Latency) => Ok(latency::measure(args, &place, &mut report, say).await?),
        (None, Scenario::Batch) => Ok(batch::measure(args, &place, &mut report, say).await?),
        (None, Scenario::Workflow) => Ok(workflow::measure(args, &place, &mut report, say).await?),
        (None, Scenario::Deep) => Ok(deep::measure(args, &place, &mut report, say).await?),
    };
    report.rss_mb = report::peak_memory_mb();
    if measured.is_ok() && args.baseline {
        say("the bare loop over the same tables");
        report.baseline = Some(baseline::measure(args, &place).await?);
    }
    let closed = place.close().await;
    measured.and(closed.map_err(Problem::from)).map(|()| report)
}

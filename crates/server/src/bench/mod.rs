//! `backroom bench`: what this disk and this machine give, in figures that can be compared.
//!
//! Every scenario runs the library as a program would: the same client, the same worker, no-op handlers, durable
//! writes, history retained. `--baseline` puts a bare loop over the same tables beside it.

mod args;
mod baseline;
mod deep;
mod drain;
mod latency;
mod place;
mod report;
mod steady;
mod workload;

pub(crate) use args::{BenchArgs, Scenario};
pub(crate) use report::Report;

use backroom::Error;

use place::Place;

/// Measures one scenario and answers with its figures. `say` is called for each step, for people who wait.
pub(crate) async fn measure(
    args: &BenchArgs,
    store: Option<&str>,
    say: &dyn Fn(&str),
) -> Result<Report, Error> {
    let place = Place::open(args, store).await?;
    let mut report = Report::new(args, &place).await?;
    let measured = match args.scenario {
        Scenario::Drain => drain::measure(args, &place, &mut report, say).await,
        Scenario::Steady => steady::measure(args, &place, &mut report, say).await,
        Scenario::Latency => latency::measure(args, &place, &mut report, say).await,
        Scenario::Deep => deep::measure(args, &place, &mut report, say).await,
    };
    report.rss_mb = report::peak_memory_mb();
    if measured.is_ok() && args.baseline {
        say("the bare loop over the same tables");
        report.baseline = Some(baseline::measure(args, &place).await?);
    }
    let closed = place.close().await;
    measured.and(closed).map(|()| report)
}

//! `backroom stats`: what was done lately, by kind.

use std::time::Duration;

use clap::Args;

use crate::settings::{Need, Settings};
use crate::terminal::{
    Problem, out,
    parse::span,
    table::{self, Column, cell},
    words,
};

/// Show what was done lately, by kind: done, failed, how long jobs waited and ran
///
/// DONE counts attempts that succeeded, FAILED those that failed (retried or not, crashes among them), DISCARDED jobs
/// that were given up. PICKUP is the time from the moment a job was due until its handler began, RUN how long handlers
/// ran: half of them at most the first figure, 99 of 100 at most the second. Workers write their counts every ten seconds
/// and keep them for an hour; figures are up to 6 % off.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom stats
  backroom stats --last 1h --kind send_mail
  backroom stats --json | jq '.kinds[] | select(.failed > .done)'

With --json: {\"since\", \"is_cut\", \"kinds\": [{\"kind\", \"done\", \"failed\", \"discarded\",
\"pickup\": {\"p50_ms\", \"p99_ms\"}, \"run\": {\"p50_ms\", \"p99_ms\"}}]}; a figure of which nothing is known is null.")]
pub(crate) struct StatsArgs {
    /// How far back to look, at most 1h
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = span)]
    last: Duration,

    /// Only this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

pub(crate) async fn run(args: StatsArgs, settings: &Settings) -> Result<(), Problem> {
    let mut stats = settings.with_target(Need::Read, async |target| target.stats(args.last).await).await?;
    if let Some(kind) = &args.kind {
        stats.kinds.retain(|stats| stats.kind == *kind);
    }
    if settings.json {
        return out::json(&stats, settings.terminal);
    }
    if stats.is_cut {
        out::note("note: more workers counted than one answer adds up; the oldest minutes are missing");
    }
    if stats.kinds.is_empty() {
        return out::line(format_args!("no attempt ended in the last {}", words::span(args.last)));
    }
    let mut rows = table::table(
        settings.style(),
        &[
            Column::Text("KIND"),
            Column::Number("DONE"),
            Column::Number("FAILED"),
            Column::Number("DISCARDED"),
            Column::Number("PICKUP p50"),
            Column::Number("p99"),
            Column::Number("RUN p50"),
            Column::Number("p99"),
        ],
    );
    for stats in &stats.kinds {
        let figure = |span: Option<Duration>| cell(span.map_or_else(|| "-".into(), latency));
        rows.add_row(vec![
            cell(&stats.kind),
            cell(words::thousands(stats.done)),
            cell(words::thousands(stats.failed)),
            cell(words::thousands(stats.discarded)),
            figure(stats.pickup.p50()),
            figure(stats.pickup.p99()),
            figure(stats.run.p50()),
            figure(stats.run.p99()),
        ]);
    }
    table::show(&rows)
}

/// A short span with two figures: `0.4ms`, `12ms`, `1.3s`, `4m 10s`.
fn latency(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.1}ms"),
        ..1000.0 => format!("{millis:.0}ms"),
        ..10_000.0 => format!("{:.1}s", millis / 1000.0),
        _ => words::span(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_spans_are_said_with_two_figures() {
        let said = |micros| latency(Duration::from_micros(micros));
        assert_eq!(said(430), "0.4ms");
        assert_eq!(said(12_300), "12ms");
        assert_eq!(said(1_340_000), "1.3s");
        assert_eq!(said(250_000_000), "4m 10s");
    }
}

//! `backroom bench`: measures and shows the figures.

use std::sync::Arc;

use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
};
use crate::{
    bench::{self, BenchArgs, Report},
    settings::Settings,
};

pub(crate) async fn run(args: BenchArgs, settings: &Settings) -> Result<(), Problem> {
    // Without a store of its own it makes a file that is removed afterwards: a million no-ops do not belong among jobs.
    let store = settings.store_given.then_some(settings.store.as_str());
    let server = settings.remote()?.map(Arc::new);
    let say = |step: &str| {
        if !settings.json {
            out::note(format_args!("… {step}"));
        }
    };
    let report = bench::measure(&args, store, server.as_ref(), &say).await?;
    if settings.json {
        return out::json(&report, settings.terminal);
    }
    out::line(head(&report))?;
    show(&report, settings)
}

fn show(report: &Report, settings: &Settings) -> Result<(), Problem> {
    let mut rows =
        table::table(settings.style(), &[Column::Whole("FIGURE"), Column::Number("VALUE"), Column::Text("")]);
    let mut add = |name: &str, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let shown = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            rows.add_row(vec![cell(name), cell(shown), cell(unit)]);
        }
    };
    add("enqueue", report.enqueue_per_s, "jobs/s, in bulk");
    add("enqueue single", report.enqueue_single_per_s, "jobs/s, one a call, each caller waits for the disk");
    add("drain", report.drain_per_s, "jobs/s run and completed");
    add("lifecycle", report.lifecycle_per_s, "jobs/s enqueued, run and completed");
    add("empty lifecycle", report.empty_lifecycle_per_s, "jobs/s before the store was filled");
    add("full to empty", report.ratio_to_empty(), "× the lifecycle of the empty store");
    add("pickup p50", report.pickup_p50_ms, "ms from the enqueue call to the handler's first line");
    add("pickup p99", report.pickup_p99_ms, "ms");
    add(
        "after ack p50",
        report.pickup_after_ack_p50_ms,
        "ms from the enqueue's answer to the handler's first line",
    );
    add("workflows", report.workflow_per_s, "workflows/s of three steps, each step durable");
    add(
        "in a batch",
        report.batch_lifecycle_per_s,
        "jobs/s enqueued, run and completed as members of a batch",
    );
    add("fan-in", report.fan_in_edges_per_s, "edges/s of a job that runs after many");
    add("chain", report.chain_edges_per_s, "edges/s of a chain");
    if let Some(baseline) = report.baseline {
        add("bare enqueue", Some(baseline.enqueue_per_s), "jobs/s by a bare loop");
        add("bare drain", Some(baseline.drain_per_s), "jobs/s by a bare loop");
        add("bare lifecycle", Some(baseline.lifecycle_per_s), "jobs/s by a bare loop");
    }
    add("to the bare loop", report.ratio_to_baseline(), "× its lifecycle");
    if let Some(http) = report.http {
        let (single, batch) = report.ratios_to_process();
        add("HTTP single", Some(http.single_per_s), "jobs/s, one a request, 64 connections");
        add("to in process", single, "× the single enqueues in process");
        add("HTTP p50", http.single_p50_ms, "ms from a request to its answer");
        add("HTTP p99", http.single_p99_ms, "ms");
        add("HTTP batches", Some(http.batch_per_s), "jobs/s, a hundred a request, 64 connections");
        add("to in process", batch, "× the bulk enqueue in process");
        add("HTTP pickup p50", http.pickup_p50_ms, "ms from a request to its handler's first line");
        add("HTTP pickup p99", http.pickup_p99_ms, "ms");
    }
    add("memory", report.rss_mb, "MB at most in this process");
    table::show(&rows)
}

/// What was measured, and how.
fn head(report: &Report) -> String {
    let history = if report.history_kept { "retained" } else { "pruned" };
    format!(
        "{} on {}: {} jobs of {} bytes, {} slots, durability {}, history {history}",
        report.scenario,
        report.store,
        report.jobs,
        report.payload_bytes,
        report.slots,
        format!("{:?}", report.durability).to_lowercase(),
    )
}

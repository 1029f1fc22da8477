//! The same jobs without a batch and as its members; and a job after ten thousand others beside a chain.

use std::time::Duration;

use backroom::{BatchState, Error, ErrorKind, GraphNode};

use super::{
    Report,
    args::BenchArgs,
    drain::{drain, enqueue_many, since},
    place::Place,
    workload::{Noop, plain_worker, set_history},
};

/// Edges of the fan-in, and of the chain beside it.
const EDGES: u32 = 10_000;

pub(super) async fn measure(
    args: &BenchArgs,
    place: &Place,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> Result<(), Error> {
    set_history(args, place).await?;
    let jobs = f64::from(args.jobs);
    say(&format!("enqueue and run {} jobs without a batch", args.jobs));
    let without = enqueue_many(args, place).await? + drain(args, place).await?;
    say(&format!("the same as members of a batch with {} stripes", args.stripes));
    let with = members(args, place).await?;
    report.lifecycle_per_s = Some(jobs / without.as_secs_f64());
    report.batch_lifecycle_per_s = Some(jobs / with.as_secs_f64());
    let edges = args.jobs.min(EDGES);
    say(&format!("a job after {edges} others, and a chain of {edges}"));
    report.fan_in_edges_per_s =
        Some(f64::from(edges) / graph(args, place, edges, false).await?.as_secs_f64());
    report.chain_edges_per_s = Some(f64::from(edges) / graph(args, place, edges, true).await?.as_secs_f64());
    Ok(())
}

async fn members(args: &BenchArgs, place: &Place) -> Result<Duration, Error> {
    let start = place.backroom.clock().now();
    let batch = place.backroom.open_batch().stripes(args.stripes).await?;
    batch.enqueue_many(Noop::many(args.jobs, args.payload_bytes)).await?;
    batch.close().await?;
    plain_worker(args, place).run_until_empty().await?;
    let status = batch.status().await?;
    if status.state != BatchState::Ended || status.counts.completed != u64::from(args.jobs) {
        let message = format!("measure: the batch is not over: {:?}", status.counts);
        return Err(Error::new(ErrorKind::Internal, message));
    }
    Ok(since(place, start))
}

/// How long it takes to run so many edges.
async fn graph(args: &BenchArgs, place: &Place, edges: u32, is_chain: bool) -> Result<Duration, Error> {
    let draft = || place.backroom.enqueue(Noop::new(0, args.payload_bytes)).into_draft();
    let mut nodes = Vec::new();
    for number in 0..edges {
        let node = GraphNode::new(number.to_string(), draft()?);
        let before = number.checked_sub(1).filter(|_| is_chain);
        nodes.push(before.into_iter().fold(node, |node, before| node.after(before.to_string())));
    }
    let last = GraphNode::new("last", draft()?);
    let after = if is_chain { (edges - 1)..edges } else { 0..edges };
    nodes.push(after.fold(last, |last, number| last.after(number.to_string())));
    let graph = place.backroom.enqueue_graph(nodes).await?;
    let last = graph.job("last").ok_or_else(|| Error::new(ErrorKind::Internal, "measure: no last job"))?;
    let start = place.backroom.clock().now();
    let worker = plain_worker(args, place).start().await?;
    place.backroom.handle_untyped(last).finished().await?;
    let took = since(place, start);
    worker.stop().await?;
    Ok(took)
}

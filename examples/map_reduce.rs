//! A graph: the words of several texts are counted beside each other, and one job adds the counts up.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;

use backroom::{Backroom, Context, Failure, GraphNode, Job, JobId, Worker, core::State};
use serde::{Deserialize, Serialize};

type Counts = BTreeMap<String, u32>;

#[derive(Serialize, Deserialize)]
struct Map {
    text: String,
}

impl Job for Map {
    const KIND: &'static str = "map";
    type Output = Counts;
}

#[derive(Serialize, Deserialize)]
struct Reduce;

impl Job for Reduce {
    const KIND: &'static str = "reduce";
    type Output = Counts;
}

async fn map(job: Map, _: Context) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    for word in job.text.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

async fn reduce(_: Reduce, ctx: Context) -> Result<Counts, Failure> {
    let mut sum = Counts::new();
    // The outputs of all jobs of this kind that the job runs after.
    for counts in ctx.outputs_of::<Map>().await? {
        for (word, count) in counts {
            *sum.entry(word).or_default() += count;
        }
    }
    Ok(sum)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:map_reduce.db").await?;
    let texts = ["the cat and the dog", "the bird", "a dog"];
    let mut nodes = Vec::new();
    let mut reduce_node = GraphNode::new("reduce", backroom.enqueue(Reduce).into_draft()?);
    for (number, text) in texts.iter().enumerate() {
        let name = format!("map {number}");
        nodes.push(GraphNode::new(&name, backroom.enqueue(Map { text: (*text).into() }).into_draft()?));
        reduce_node = reduce_node.after(&name);
    }
    nodes.push(reduce_node);
    // A cycle, an unknown name or one job too many: then nothing is stored.
    let wrong = vec![GraphNode::new("a", backroom.enqueue(Reduce).into_draft()?).after("b")];
    println!("{}", backroom.enqueue_graph(wrong).await.err().ok_or("a graph with an unknown name")?);
    let graph = backroom.enqueue_graph(nodes).await?;
    let reduced: JobId = graph.job("reduce").ok_or("it is in the graph")?;
    println!("reduce is {}", backroom.job(reduced).await?.state);
    for reason in backroom.explain(reduced).await?.reasons {
        println!("because it {reason}");
    }

    let worker = Worker::new(&backroom).queue("default", 4).handle(map).handle(reduce).start().await?;
    let handle = backroom.handle::<Reduce>(reduced).await?;
    println!("{:?}", handle.wait().await?);

    // A chain, and what a failure does to it.
    let first = backroom.enqueue(Reduce).delay(std::time::Duration::from_secs(3600)).await?;
    let second = backroom.enqueue(Reduce).after(&first).await?;
    first.cancel().await?;
    let second = second.finished().await?;
    assert_eq!(second.state, State::Cancelled);
    println!("the second: {}", second.reason.unwrap_or_default().replace(&first.id().to_string(), "ID"));
    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}

//! A graph of jobs as one document, checked as a whole before anything of it is stored.
//!
//! ```json
//! {"jobs": [
//!   {"name": "charge", "job": {"kind": "charge", "args": {}}},
//!   {"name": "pack", "job": {"kind": "pack", "args": {}}, "after": ["charge"]},
//!   {"name": "mail", "job": {"kind": "mail", "args": {}}, "after": [{"name": "pack", "on_failure": "run"}]}
//! ]}
//! ```
//!
//! Every check takes one pass over jobs and edges, without recursion. An error names its place as a JSON pointer
//! (RFC 6901).

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EDGES_MAX, Edge, NODES_MAX, OnFailure};
use crate::{JobId, Json, bounds::check_name};

/// Most edges in one graph.
pub const GRAPH_EDGES_MAX: usize = 1_000_000;
/// Most jobs of a cycle that an error names.
pub const CYCLE_SHOWN_MAX: usize = 20;

/// A graph whose names are known and that has no cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Its jobs, in the order of the document.
    pub nodes: Vec<Node>,
    /// Their places, each behind all of its predecessors: the order in which they are stored.
    pub order: Vec<usize>,
}

/// One job of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name within the document.
    pub name: String,
    /// The job, in the form in which the caller enqueues a single one.
    pub job: Json,
    /// What it runs after.
    pub after: Vec<NodeEdge>,
}

/// What a job of a graph runs after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeEdge {
    /// Which job.
    pub predecessor: Predecessor,
    /// What happens if it does not complete.
    pub on_failure: OnFailure,
}

/// A predecessor: another job of the document, or one that is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Predecessor {
    /// The place of a job in the document.
    Node(usize),
    /// A job that is stored already.
    Stored(JobId),
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("graph is wrong at {pointer:?}: {why}")]
pub struct GraphError {
    /// A JSON pointer to the place.
    pub pointer: String,
    /// Why, and the remedy.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    jobs: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText<'a> {
    name: String,
    job: Json,
    #[serde(default, borrow)]
    after: Vec<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum AfterText {
    Name(String),
    Node(AfterNode),
    Stored(AfterStored),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AfterNode {
    name: String,
    #[serde(default)]
    on_failure: OnFailure,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AfterStored {
    job: JobId,
    #[serde(default)]
    on_failure: OnFailure,
}

impl Graph {
    /// Reads and checks a document. The caller still checks each [`Node::job`] as it checks a single one, and reports a
    /// mistake by [`GraphError::of_job`].
    pub fn parse(text: &str) -> Result<Self, GraphError> {
        let document: Document<'_> = serde_json::from_str(text)
            .map_err(|error| GraphError::at("", format!("does not parse: {error}")))?;
        check_size(document.jobs.len())?;
        let mut texts = Vec::with_capacity(document.jobs.len());
        for (index, text) in document.jobs.iter().enumerate() {
            let node = serde_json::from_str::<NodeText<'_>>(text.get())
                .map_err(|error| GraphError::at(place(index), format!("is no job of a graph: {error}")))?;
            texts.push(node);
        }
        let places = places(texts.iter().map(|node| node.name.as_str()))?;
        let mut nodes = Vec::with_capacity(texts.len());
        let mut edges = 0;
        for (index, node) in texts.iter().enumerate() {
            edges += node.after.len();
            check_edges(index, node.after.len(), edges)?;
            let read = |(at, text): (usize, &&RawValue)| read_edge(index, at, text, &places);
            let after = node.after.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
            nodes.push(Node { name: node.name.clone(), job: node.job.clone(), after });
        }
        Self::new(nodes)
    }

    /// Checks nodes that a program has built. Places that lead out of the list are refused.
    pub fn new(nodes: Vec<Node>) -> Result<Self, GraphError> {
        check_size(nodes.len())?;
        places(nodes.iter().map(|node| node.name.as_str()))?;
        let mut edges = 0;
        for (index, node) in nodes.iter().enumerate() {
            edges += node.after.len();
            check_edges(index, node.after.len(), edges)?;
            check_predecessors(index, &nodes)?;
        }
        let order = order(&nodes)?;
        Ok(Self { nodes, order })
    }

    /// The id of the job at `place`, given that of the first: so a document that is sent again stores the same jobs.
    pub fn id(first: JobId, place: usize) -> JobId {
        first.nth(place as u64)
    }

    /// The edges of the job at `place`, by ids.
    pub fn edges(&self, first: JobId, place: usize) -> Vec<Edge> {
        let edge = |edge: &NodeEdge| Edge {
            predecessor: match edge.predecessor {
                Predecessor::Node(at) => Self::id(first, at),
                Predecessor::Stored(job) => job,
            },
            on_failure: edge.on_failure,
        };
        self.nodes.get(place).map_or_else(Vec::new, |node| node.after.iter().map(edge).collect())
    }
}

impl GraphError {
    fn at(pointer: impl Into<String>, why: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), why: why.into() }
    }

    /// The error for an edge of the job at `place` that names no job of the graph.
    pub fn unknown_name(place: usize, edge: usize, name: &str) -> Self {
        Self::at(
            format!("/jobs/{place}/after/{edge}"),
            format!("{name:?} is the name of no job of the graph"),
        )
    }

    /// The error for a job that cannot be enqueued: `inside` is a pointer within it, or empty.
    pub fn of_job(place: usize, inside: &str, why: impl Into<String>) -> Self {
        Self::at(format!("/jobs/{place}/job{inside}"), why)
    }
}

fn place(index: usize) -> String {
    format!("/jobs/{index}")
}

fn check_size(jobs: usize) -> Result<(), GraphError> {
    match jobs {
        0 => Err(GraphError::at("/jobs", "is empty; name at least one job")),
        1..=NODES_MAX => Ok(()),
        _ => {
            let why = format!("holds {jobs} jobs; at most {NODES_MAX} are allowed. Submit it in parts");
            Err(GraphError::at("/jobs", why))
        }
    }
}

fn check_edges(index: usize, edges: usize, of_all: usize) -> Result<(), GraphError> {
    let pointer = || format!("/jobs/{index}/after");
    if edges > EDGES_MAX {
        let why = format!(
            "names {edges} predecessors; at most {EDGES_MAX} are allowed. Put a job between them that gathers a part"
        );
        return Err(GraphError::at(pointer(), why));
    }
    if of_all > GRAPH_EDGES_MAX {
        let why = format!("brings the graph to more than {GRAPH_EDGES_MAX} edges. Submit it in parts");
        return Err(GraphError::at(pointer(), why));
    }
    Ok(())
}

fn places<'a>(names: impl Iterator<Item = &'a str>) -> Result<HashMap<&'a str, usize>, GraphError> {
    let mut places = HashMap::new();
    for (index, name) in names.enumerate() {
        let pointer = || format!("/jobs/{index}/name");
        check_name("name", name).map_err(|error| GraphError::at(pointer(), error.why))?;
        if let Some(first) = places.insert(name, index) {
            let why = format!("{name:?} is the name of /jobs/{first} already; give each job its own");
            return Err(GraphError::at(pointer(), why));
        }
    }
    Ok(places)
}

fn read_edge(
    index: usize,
    at: usize,
    text: &RawValue,
    places: &HashMap<&str, usize>,
) -> Result<NodeEdge, GraphError> {
    let pointer = || format!("/jobs/{index}/after/{at}");
    let read = serde_json::from_str(text.get()).map_err(|_| {
        let forms = r#""NAME", {"name": …, "on_failure": "cancel", "run" or "wait"}, or {"job": ID}"#;
        GraphError::at(pointer(), format!("is no predecessor; use {forms}"))
    })?;
    let (name, on_failure) = match read {
        AfterText::Stored(AfterStored { job, on_failure }) => {
            return Ok(NodeEdge { predecessor: Predecessor::Stored(job), on_failure });
        }
        AfterText::Name(name) => (name, OnFailure::default()),
        AfterText::Node(AfterNode { name, on_failure }) => (name, on_failure),
    };
    match places.get(name.as_str()) {
        Some(place) => Ok(NodeEdge { predecessor: Predecessor::Node(*place), on_failure }),
        None => {
            let why = format!("{name:?} is the name of no job of the graph");
            Err(GraphError::at(pointer(), why))
        }
    }
}

fn check_predecessors(index: usize, nodes: &[Node]) -> Result<(), GraphError> {
    let mut seen = HashMap::new();
    for (at, edge) in nodes[index].after.iter().enumerate() {
        let pointer = || format!("/jobs/{index}/after/{at}");
        if let Predecessor::Node(place) = edge.predecessor
            && place >= nodes.len()
        {
            return Err(GraphError::at(pointer(), format!("leads to job {place}, which is not there")));
        }
        if let Some(first) = seen.insert(edge.predecessor, at) {
            let why = format!("names the same job as /jobs/{index}/after/{first}; once is enough");
            return Err(GraphError::at(pointer(), why));
        }
    }
    Ok(())
}

/// Each job behind its predecessors; among those that are ready, in the order of the document.
fn order(nodes: &[Node]) -> Result<Vec<usize>, GraphError> {
    let mut open = vec![0usize; nodes.len()];
    let mut dependants = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for edge in &node.after {
            if let Predecessor::Node(place) = edge.predecessor {
                open[index] += 1;
                dependants[place].push(index);
            }
        }
    }
    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|index| open[*index] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(place) = ready.pop_front() {
        order.push(place);
        for after in &dependants[place] {
            open[*after] -= 1;
            if open[*after] == 0 {
                ready.push_back(*after);
            }
        }
    }
    if order.len() == nodes.len() { Ok(order) } else { Err(cycle(nodes, &open)) }
}

/// The error that shows a cycle. `open` counts the predecessors of each job that could not be ordered. Each such job has a
/// predecessor of the same sort, so a walk along these comes back to a job that it has met.
fn cycle(nodes: &[Node], open: &[usize]) -> GraphError {
    let blocked = |edge: &NodeEdge| match edge.predecessor {
        Predecessor::Node(place) if open[place] > 0 => Some(place),
        Predecessor::Node(_) | Predecessor::Stored(_) => None,
    };
    let mut at = open.iter().position(|open| *open > 0).unwrap_or_default();
    let mut met = HashMap::new();
    let mut path = Vec::new();
    while !met.contains_key(&at) {
        met.insert(at, path.len());
        path.push(at);
        at = nodes[at].after.iter().find_map(blocked).unwrap_or(at);
    }
    // The walk went from dependants to predecessors; people read from predecessors to dependants.
    let mut ring: Vec<usize> = path[met[&at]..].to_vec();
    ring.reverse();
    let first = ring.iter().enumerate().min_by_key(|(_, place)| **place).map_or(0, |(index, _)| index);
    ring.rotate_left(first);
    let (begin, last) = (ring[0], ring[ring.len() - 1]);
    let edge = nodes[begin].after.iter().position(|edge| edge.predecessor == Predecessor::Node(last));
    let pointer = format!("/jobs/{begin}/after/{}", edge.unwrap_or_default());
    let mut names: Vec<_> = ring.iter().map(|place| format!("{:?}", nodes[*place].name)).collect();
    if names.len() > CYCLE_SHOWN_MAX {
        let left_out = names.len() - CYCLE_SHOWN_MAX + 1;
        names.splice(CYCLE_SHOWN_MAX / 2..CYCLE_SHOWN_MAX / 2 + left_out, [format!("({left_out} more)")]);
    }
    names.push(format!("{:?}", nodes[begin].name));
    GraphError::at(pointer, format!("closes a cycle of {} jobs: {}", ring.len(), names.join(" -> ")))
}

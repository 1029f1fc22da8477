//! Graphs of jobs, stored as a whole or not at all.

use std::sync::Arc;

use backroom_core::{
    Draft, JobId, Json, Timestamp,
    batch::BatchId,
    bounds::BYTES_IN_HAND_MAX,
    dependency::{
        OnFailure,
        graph::{Graph, GraphError, Node, NodeEdge, Predecessor},
    },
    links::Links,
};

use crate::{
    Backroom, Error, ErrorKind,
    store::{Call, InsertLinked, Inserted, NewLinked},
    telemetry::Sending,
};

/// One job of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphNode {
    /// Its name within the graph.
    pub name: String,
    /// The job.
    pub draft: Draft,
    /// What it runs after.
    pub after: Vec<GraphEdge>,
}

/// What a job of a graph runs after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphEdge {
    /// A job of the graph, by its name.
    Node(String, OnFailure),
    /// A job that is stored already.
    Stored(JobId, OnFailure),
}

/// The jobs of a graph that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnqueuedGraph {
    /// Their names and ids, in the order in which they were given.
    pub jobs: Vec<(String, JobId)>,
}

impl GraphNode {
    /// A job that runs at once.
    pub fn new(name: impl Into<String>, draft: Draft) -> Self {
        Self { name: name.into(), draft, after: Vec::new() }
    }

    /// The same after a job of the graph has completed.
    #[must_use]
    pub fn after(self, name: impl Into<String>) -> Self {
        self.after_with(name, OnFailure::Cancel)
    }

    /// The same with what happens if that job does not complete.
    #[must_use]
    pub fn after_with(mut self, name: impl Into<String>, on_failure: OnFailure) -> Self {
        self.after.push(GraphEdge::Node(name.into(), on_failure));
        self
    }
}

impl EnqueuedGraph {
    /// The job of this name.
    pub fn job(&self, name: &str) -> Option<JobId> {
        self.jobs.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }
}

impl Backroom {
    /// Stores a graph of jobs: all of them, or none if anything is wrong with it. Up to 100,000 jobs.
    ///
    /// Fails as [`Invalid`](ErrorKind::Invalid), with the place, for unknown names, cycles, and what is too large.
    pub async fn enqueue_graph(&self, nodes: Vec<GraphNode>) -> Result<EnqueuedGraph, Error> {
        self.enqueue_graph_in(nodes, None).await
    }

    /// The same with all jobs as members of a batch.
    pub async fn enqueue_graph_in(
        &self,
        nodes: Vec<GraphNode>,
        batch: Option<BatchId>,
    ) -> Result<EnqueuedGraph, Error> {
        let now = self.engine().clock.now();
        self.enqueue_graph_chosen(nodes, batch, self.engine().ids.job(now), now, false).await
    }

    /// The same under ids that follow from the first, which the caller chose. A call that is made again with `is_repeated` set stores
    /// no job twice.
    pub async fn enqueue_graph_chosen(
        &self,
        nodes: Vec<GraphNode>,
        batch: Option<BatchId>,
        first: JobId,
        at: Timestamp,
        is_repeated: bool,
    ) -> Result<EnqueuedGraph, Error> {
        let graph = checked(&nodes).map_err(|error| wrong(&error))?;
        let engine = self.engine();
        let sending = Sending::begin(engine, None);
        let of_job = |place, why| wrong(&GraphError::of_job(place, "", why));
        let mut bytes = 0;
        let mut linked: Vec<Option<NewLinked>> = Vec::with_capacity(nodes.len());
        let mut names = Vec::with_capacity(nodes.len());
        for (place, node) in nodes.into_iter().enumerate() {
            let id = Graph::id(first, place);
            let mut draft = node.draft;
            sending.stamp(&mut draft);
            if draft.id.is_some_and(|other| other != id) {
                let why = "has an id of its own; the ids of a graph follow from its first, so leave it out";
                return Err(of_job(place, why.to_owned()));
            }
            draft.id = Some(id);
            let mut new = engine
                .check(draft, at, None)
                .map_err(|error| of_job(place, error.to_string()).caused_by(error))?;
            bytes += new.job.bytes();
            if bytes > BYTES_IN_HAND_MAX {
                let why = format!("enqueue a graph: its jobs are more than {BYTES_IN_HAND_MAX} bytes");
                return Err(Error::new(ErrorKind::Invalid, why));
            }
            new.job.links = batch.map(|batch| Box::new(Links { batch: Some(batch), ..Links::default() }));
            linked.push(Some(NewLinked { new, edges: graph.edges(first, place) }));
            names.push((node.name, id));
        }
        sending.is_of_many(names.len() as u64);
        // Each behind its predecessors.
        let jobs = graph.order.iter().filter_map(|place| linked[*place].take()).collect();
        let insert = Arc::new(InsertLinked { jobs, by: None });
        let call = if is_repeated { Call::Repeated } else { Call::First };
        let answers = sending.around(engine.store.insert_linked(insert, at, call)).await?;
        for (place, answer) in graph.order.iter().zip(answers) {
            if answer != Inserted::Created {
                let name = &names[*place].0;
                tracing::debug!(name, "a job of a graph was not stored: another job holds its unique key");
            }
        }
        Ok(EnqueuedGraph { jobs: names })
    }
}

fn wrong(error: &GraphError) -> Error {
    Error::new(ErrorKind::Invalid, format!("enqueue the graph: {error}"))
}

/// The graph that the nodes make, checked as a whole.
fn checked(nodes: &[GraphNode]) -> Result<Graph, GraphError> {
    let places: std::collections::HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(place, node)| (node.name.as_str(), place)).collect();
    let mut checked = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let mut after = Vec::with_capacity(node.after.len());
        for (at, edge) in node.after.iter().enumerate() {
            after.push(match edge {
                GraphEdge::Stored(job, on_failure) => {
                    NodeEdge { predecessor: Predecessor::Stored(*job), on_failure: *on_failure }
                }
                GraphEdge::Node(name, on_failure) => match places.get(name.as_str()) {
                    Some(place) => {
                        NodeEdge { predecessor: Predecessor::Node(*place), on_failure: *on_failure }
                    }
                    None => return Err(GraphError::unknown_name(index, at, name)),
                },
            });
        }
        checked.push(Node { name: node.name.clone(), job: Json::null(), after });
    }
    Graph::new(checked)
}

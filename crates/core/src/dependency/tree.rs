//! A job with all that runs after it: the order in which a cancel, a retry or a delete of the whole takes place.
//!
//! A walk asks for the dependants of one job after another, so a store answers in pages. It is bounded, and each job is
//! visited once although several paths lead to it.

use std::collections::{HashMap, VecDeque};

use super::NODES_MAX;
use crate::{Invalid, JobId};

/// What is done with a sub-tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeAct {
    /// Dependants first: otherwise one whose edge says "run anyway" would begin before its turn comes.
    Cancel,
    /// Predecessors first: so each dependant finds them live, and waits for them.
    Retry,
    /// Dependants first: otherwise the delete of a predecessor would cancel them.
    Delete,
}

/// A walk over the jobs that run after `root`.
#[derive(Debug, Clone)]
pub struct TreeWalk {
    /// In the order in which they were found.
    jobs: Vec<JobId>,
    places: HashMap<JobId, usize>,
    /// By the place of the predecessor: places of dependants.
    edges: Vec<Vec<usize>>,
    asked: VecDeque<usize>,
}

impl TreeWalk {
    /// Begins at `root`.
    pub fn new(root: JobId) -> Self {
        Self {
            jobs: vec![root],
            places: HashMap::from([(root, 0)]),
            edges: vec![Vec::new()],
            asked: VecDeque::from([0]),
        }
    }

    /// The job whose dependants are to be read next; none when all are known.
    pub fn next_job(&self) -> Option<JobId> {
        self.asked.front().map(|place| self.jobs[*place])
    }

    /// Adds dependants of [`next_job`](Self::next_job). `is_last` says that it has no more.
    pub fn found(&mut self, dependants: &[JobId], is_last: bool) -> Result<(), Invalid> {
        let Some(&from) = self.asked.front() else { return Ok(()) };
        for job in dependants {
            let place = if let Some(place) = self.places.get(job) {
                *place
            } else {
                if self.jobs.len() >= NODES_MAX {
                    let why = format!("has more than {NODES_MAX} jobs; act on its parts one after the other");
                    return Err(Invalid::new("sub-tree", why));
                }
                self.places.insert(*job, self.jobs.len());
                self.jobs.push(*job);
                self.edges.push(Vec::new());
                self.asked.push_back(self.jobs.len() - 1);
                self.jobs.len() - 1
            };
            self.edges[from].push(place);
        }
        if is_last {
            self.asked.pop_front();
        }
        Ok(())
    }

    /// All jobs in the order in which `act` takes place. There is no cycle: an edge leads to a job that is enqueued later.
    pub fn order(&self, act: TreeAct) -> Vec<JobId> {
        let mut open = vec![0usize; self.jobs.len()];
        for place in self.edges.iter().flatten() {
            open[*place] += 1;
        }
        let mut ready: VecDeque<usize> = (0..self.jobs.len()).filter(|place| open[*place] == 0).collect();
        let mut order = Vec::with_capacity(self.jobs.len());
        while let Some(place) = ready.pop_front() {
            order.push(self.jobs[place]);
            for after in &self.edges[place] {
                open[*after] -= 1;
                if open[*after] == 0 {
                    ready.push_back(*after);
                }
            }
        }
        match act {
            TreeAct::Retry => {}
            TreeAct::Cancel | TreeAct::Delete => order.reverse(),
        }
        order
    }
}

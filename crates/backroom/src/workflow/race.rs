//! Branches of which the first one counts.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use backroom_core::workflow::{Answer, Ask};
use futures_util::future::BoxFuture;

use super::{context::WorkflowContext, error::WorkflowError, flow::Asked, step::unexpected};

type Branch<'a, T> = Box<dyn FnOnce(WorkflowContext) -> BoxFuture<'a, T> + Send + 'a>;

/// A race before it begins: its branches by name.
#[must_use = "a race does nothing until it runs"]
pub struct Race<'a, T> {
    context: WorkflowContext,
    name: String,
    branches: Vec<(String, Branch<'a, T>)>,
}

/// The branch that came first, and what it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Won<T> {
    /// The name of the branch.
    pub branch: String,
    /// What it returned.
    pub output: T,
}

impl<'a, T> Race<'a, T> {
    pub(super) fn new(context: WorkflowContext, name: String) -> Self {
        Self { context, name, branches: Vec::new() }
    }

    /// Adds a branch. Its names are in a scope of its own.
    pub fn branch<F, R>(mut self, name: impl Into<String>, branch: F) -> Self
    where
        F: FnOnce(WorkflowContext) -> R + Send + 'a,
        R: Future<Output = T> + Send + 'a,
    {
        self.branches.push((name.into(), Box::new(move |context| Box::pin(branch(context)))));
        self
    }

    /// Runs all branches until one has ended. The others are dropped where they stand: what they wait for is marked as lost, and children
    /// that they began are cancelled as their policies say.
    pub async fn run(self) -> Result<Won<T>, WorkflowError> {
        if self.branches.is_empty() {
            let why = format!("race {:?} has no branch; add one with Race::branch", self.name);
            return Err(WorkflowError::Invalid { why });
        }
        let scope = self.context.scope(&self.name)?;
        let mut scopes = Vec::new();
        for (name, _) in &self.branches {
            scopes.push(scope.scope(name)?);
        }
        let paths = scopes.iter().map(WorkflowContext::path).collect();
        let asked = self.context.ask(&self.name, Ask::Race { branches: paths })?;
        let (names, branches): (Vec<_>, Vec<_>) = self.branches.into_iter().unzip();
        let branches = branches.into_iter().zip(scopes).map(|(branch, scope)| Some(branch(scope))).collect();
        let running =
            Running { context: self.context, asked, branches, first: None, winner: None, is_failed: None };
        let (winner, output) = running.await?;
        // The winner is the place of a branch.
        let branch = names.into_iter().nth(winner).unwrap_or_default();
        Ok(Won { branch, output })
    }
}

impl<T> fmt::Debug for Race<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Running<'a, T> {
    context: WorkflowContext,
    asked: Asked,
    branches: Vec<Option<BoxFuture<'a, T>>>,
    /// The branch that came first in this run, and what it returned.
    first: Option<(usize, T)>,
    winner: Option<usize>,
    is_failed: Option<WorkflowError>,
}

// Nothing in it is pinned in place: the branches are boxed.
impl<T> Unpin for Running<'_, T> {}

impl<T> Running<'_, T> {
    /// Looks whether the winner is recorded.
    fn look(&mut self, cx: &mut Context<'_>) {
        let Some(answer) = self.asked.poll_answer(cx) else { return };
        match answer {
            Answer::Won { branch } if (branch as usize) < self.branches.len() => {
                let winner = branch as usize;
                self.winner = Some(winner);
                for (place, branch) in self.branches.iter_mut().enumerate() {
                    if place != winner {
                        *branch = None;
                    }
                }
            }
            Answer::Won { branch } => {
                let why = format!("branch {branch} won in an earlier run, and the code has no such branch");
                self.is_failed = Some(WorkflowError::Decode { key: self.asked.key(), why });
            }
            other => self.is_failed = Some(unexpected(self.asked.key(), &other)),
        }
    }
}

impl<T> Future for Running<'_, T> {
    type Output = Result<(usize, T), WorkflowError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.winner.is_none() {
            this.look(cx);
            if let Some(error) = this.is_failed.take() {
                return Poll::Ready(Err(error));
            }
        }
        if this.winner.is_none() && this.first.is_none() {
            for (place, branch) in this.branches.iter_mut().enumerate() {
                if let Some(Poll::Ready(output)) = branch.as_mut().map(|branch| branch.as_mut().poll(cx)) {
                    *branch = None;
                    this.first = Some((place, output));
                    let number = u32::try_from(place).unwrap_or(u32::MAX);
                    this.context.flow().state().run.won(this.asked.ticket, number);
                    break;
                }
            }
        }
        let Some(winner) = this.winner else { return Poll::Pending };
        if let Some(first) = this.first.take_if(|(place, _)| *place == winner) {
            return Poll::Ready(Ok(first));
        }
        let Some(branch) = this.branches[winner].as_mut() else { return Poll::Pending };
        branch.as_mut().poll(cx).map(|output| Ok((winner, output)))
    }
}

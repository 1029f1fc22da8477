//! The code of a kind of workflow, by the versions that a worker has.

use backroom_core::Json;
use futures_util::future::BoxFuture;

use super::context::WorkflowContext;
use crate::Failure;

/// Begins the code of a workflow.
pub(super) type Start = dyn Fn(WorkflowContext) -> BoxFuture<'static, Result<Json, Failure>> + Send + Sync;

/// The code of a workflow by its versions, the newest first; a kind without versions has one code without a name.
pub(super) struct Codes(pub(super) Vec<(Option<String>, Box<Start>)>);

impl Codes {
    pub(super) fn newest(&self) -> Option<String> {
        self.0.first().and_then(|(version, _)| version.clone())
    }

    /// The code for a run that began with this version. The oldest code is for runs that began before the kind had versions.
    pub(super) fn of(&self, version: Option<&String>) -> Option<&Start> {
        let found = match version {
            None => self.0.last(),
            Some(_) => self.0.iter().find(|(known, _)| known.as_ref() == version),
        };
        found.map(|(_, start)| &**start)
    }

    pub(super) fn missing(&self, version: &str) -> String {
        let known: Vec<_> = self.0.iter().filter_map(|(version, _)| version.as_deref()).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        format!(
            "the run began with version {version:?} of its code, and the worker has {known}; deploy a worker that has this version"
        )
    }
}

//! Code of one kind of workflow in several versions: each run stays on the version that it began with.

use std::{fmt, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{codes::Codes, context::WorkflowContext, register::handler_of};
use crate::{
    Failure, Job, Worker,
    worker::{decode, encode, names_of},
};

type Code<J> =
    Arc<dyn Fn(J, WorkflowContext) -> BoxFuture<'static, Result<<J as Job>::Output, Failure>> + Send + Sync>;

/// The code of one kind of workflow in several versions, for [`Worker::workflow_versions`].
#[must_use = "versions run nothing until a worker has them"]
pub struct Versions<J: Job> {
    /// The newest first.
    codes: Vec<(String, Code<J>)>,
}

impl<J: Job> Versions<J> {
    /// The version that new runs begin with. Its name stands in their journals.
    pub fn newest<F, R>(version: impl Into<String>, code: F) -> Self
    where
        F: Fn(J, WorkflowContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        Self { codes: Vec::new() }.and_earlier(version, code)
    }

    /// An earlier version, for the runs that began with it. The last one is also for runs that began before the kind had versions. Remove
    /// it once no run of it is left.
    ///
    /// # Panics
    /// If a version of this name is there already: one of the two would never run.
    pub fn and_earlier<F, R>(mut self, version: impl Into<String>, code: F) -> Self
    where
        F: Fn(J, WorkflowContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        let (code, version): (Code<J>, String) =
            (Arc::new(move |job, context| code(job, context).boxed()), version.into());
        let is_new = self.codes.iter().all(|(known, _)| *known != version);
        assert!(is_new, "version {version:?} of {:?} is given twice; each version has one code", J::KIND);
        self.codes.push((version, code));
        self
    }
}

impl<J: Job> fmt::Debug for Versions<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.codes.iter().map(|(version, _)| version);
        f.debug_list().entries(names).finish()
    }
}

impl Worker {
    /// Runs jobs of type `J` as durable workflows, whose code has several versions: each run goes on with the version that it began
    /// with, so the code of a version must not change. A run whose version this worker does not have is parked as blocked, and tried again
    /// after ten seconds and longer: during a rolling deploy another worker takes it.
    ///
    /// After `continue_as_new` a workflow begins with the newest version.
    pub fn workflow_versions<J: Job>(self, versions: Versions<J>) -> Self {
        let codes = Arc::new(versions.codes);
        let codes_of = move |context: &crate::Context| {
            let start = |(version, code): &(String, Code<J>)| {
                let (code, context) = (Arc::clone(code), context.clone());
                let start = move |flow: WorkflowContext| {
                    let (code, context) = (Arc::clone(&code), context.clone());
                    async move { encode(&code(decode::<J>(&context)?, flow).await?) }.boxed()
                };
                (Some(version.clone()), Box::new(start) as Box<_>)
            };
            Codes(codes.iter().map(start).collect())
        };
        self.register(&names_of::<J>(), handler_of::<J>(|_| Ok(()), codes_of))
    }
}

//! One call to the store that was answered: what [`Options::on_call`](crate::Options::on_call) is called with.

use std::{fmt, sync::Arc, time::Duration};

use super::layer::Verb;
use crate::{Error, ErrorKind};

/// One call to the store, after its last repeat.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Answered {
    /// What was called.
    pub verb: Verb,
    /// Rows that the call carried to the store: jobs of an insert, changes of a commit. 1 for a call that carries no list.
    pub sent: usize,
    /// Rows that the answer stands for; 0 for an error.
    pub received: usize,
    /// From the call until its answer, with all repeats.
    pub took: Duration,
    /// The kind of error; none if it succeeded.
    pub error: Option<ErrorKind>,
}

/// Called with every call to the store.
#[derive(Clone)]
pub(crate) struct CallHook(Arc<dyn Fn(&Answered) + Send + Sync>);

impl CallHook {
    pub(crate) fn new(hook: impl Fn(&Answered) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(super) fn call(&self, verb: Verb, sent: usize, took: Duration, received: Result<usize, &Error>) {
        let error = received.err().map(Error::kind);
        (self.0)(&Answered { verb, sent, received: received.unwrap_or(0), took, error });
    }
}

impl fmt::Debug for CallHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallHook")
    }
}

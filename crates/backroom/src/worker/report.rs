//! Ended runs on their way to be recorded.

use std::{sync::Arc, time::Duration};

use backroom_core::Json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::run::Run;
use crate::Failure;

/// Most ended runs on their way.
const REPORTS_MAX: usize = 4096;

/// The end of one run. No result means that the job is given back.
pub(crate) struct Report {
    pub(crate) run: Arc<Run>,
    pub(crate) result: Option<Result<Json, Failure>>,
    /// The bytes of its output, counted until it is recorded; none for a small one.
    pub(crate) output_bytes: Option<OwnedSemaphorePermit>,
}

impl Report {
    /// About how many bytes its write has. The store writes the args again with the row, or moves them.
    pub(super) fn bytes(&self) -> usize {
        let output = self.result.as_ref().and_then(|result| result.as_ref().ok());
        self.run.job.bytes() + output.map_or(0, |output| output.as_str().len())
    }
}

/// Takes reports. Bounded: while the store is slow, slots wait here and no more jobs are claimed.
pub(crate) struct Reports(mpsc::Sender<Report>);

impl Reports {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        (Self(sender), receiver)
    }

    /// Sends a report. The receiver is gone only when the worker was dropped; then the lease expires.
    pub(crate) async fn send(&self, report: Report) {
        let _ = self.0.send(report).await;
    }

    /// Reports that the handler of a run did not begin and its job is due again after `wait`.
    pub(crate) async fn put_off(&self, run: Arc<Run>, wait: Duration) {
        if run.end() {
            let result = Some(Err(Failure::not_begun(wait)));
            self.send(Report { run, result, output_bytes: None }).await;
        }
    }
}

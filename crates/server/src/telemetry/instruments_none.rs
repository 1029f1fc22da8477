//! The build without the feature `otel`: nothing is counted for an export.

use std::sync::Arc;

use backroom::{Backroom, Ended, store::Answered};

use crate::metrics::{Request, Stored};

/// Counts nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instruments;

#[expect(clippy::unused_self, reason = "the build with the feature counts here")]
impl Instruments {
    pub(crate) fn answered(&self, _: &Request<'_>) {}

    pub(crate) fn called(&self, _: &Answered) {}

    pub(crate) fn ended(&self, _: &Ended<'_>) {}

    pub(crate) fn observe(&self, _: &Arc<Stored>) {}

    pub(crate) async fn refresh(&self, _: &Stored, _: &Backroom) {
        std::future::pending().await
    }
}

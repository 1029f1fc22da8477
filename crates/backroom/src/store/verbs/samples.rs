//! Verbs for what was done over time.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    sample::{Grain, Sample},
};

use crate::Error;

/// Stores samples of what was done over time.
#[async_trait]
pub trait SampleVerbs: Send + Sync {
    /// Writes samples, each in the place of an earlier one of the same span, and deletes those that are older than
    /// [`Grain::retention`] at `now`.
    async fn put_samples(&self, samples: Arc<Vec<Sample>>, now: Timestamp) -> Result<(), Error>;

    /// The samples of spans that began at or after `since`, the oldest first. There are at most as many as the retention of the grain
    /// has spans.
    async fn samples(&self, grain: Grain, since: Timestamp) -> Result<Vec<Sample>, Error>;
}

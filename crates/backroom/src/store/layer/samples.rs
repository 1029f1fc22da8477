//! Forwards the verbs for what was done over time.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    sample::{Grain, Sample},
};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Call, SampleVerbs},
};

#[async_trait]
impl<L: Layer> SampleVerbs for L {
    async fn put_samples(&self, samples: Arc<Vec<Sample>>, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, PutSamples { samples, now }, |store, _call| store
            .put_samples(samples, now))
    }

    async fn samples(&self, grain: Grain, since: Timestamp) -> Result<Vec<Sample>, Error> {
        forward!(self, Call::First, Samples { grain, since }, |store, _call| store.samples(grain, since))
    }
}

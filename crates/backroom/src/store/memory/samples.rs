//! What was done over time.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::earlier,
    sample::{Grain, Sample},
};

use super::MemoryStore;
use crate::{Error, store::SampleVerbs};

#[async_trait]
impl SampleVerbs for MemoryStore {
    async fn put_samples(&self, samples: Arc<Vec<Sample>>, now: Timestamp) -> Result<(), Error> {
        self.write(|rows| {
            for sample in samples.iter() {
                rows.samples.insert((sample.grain, sample.at), sample.clone());
            }
            rows.samples.retain(|(grain, at), _| *at >= earlier(now, grain.retention()));
        })
    }

    async fn samples(&self, grain: Grain, since: Timestamp) -> Result<Vec<Sample>, Error> {
        self.read(|rows| {
            let of_grain = rows.samples.range((grain, since)..).take_while(|((found, _), _)| *found == grain);
            of_grain.map(|(_, sample)| sample.clone()).collect()
        })
    }
}

//! What was done over time.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::earlier,
    sample::{Grain, Sample},
};
use tokio_postgres::types::Type;

use crate::{
    Error,
    store::{
        SampleVerbs,
        postgres::{
            PostgresStore,
            columns::{row, timestamp::PgTimestamp},
            failing,
            wire::{error::Fault, sql::Sql},
        },
    },
};

/// Writes samples. Parameters: the columns, each as an array.
static PUT: Sql = Sql {
    text: "INSERT INTO {schema}.samples (grain, at, sample) \
           SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[]) \
           ON CONFLICT (grain, at) DO UPDATE SET sample = excluded.sample",
    types: &[Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY, Type::TEXT_ARRAY],
};

/// Deletes old samples. Parameters: the grain, the first moment that stays.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.samples WHERE grain = $1 AND at < $2",
    types: &[Type::TEXT, Type::TIMESTAMPTZ],
};

/// The samples of a grain from a moment on. Parameters: the grain, the moment.
static SAMPLES: Sql = Sql {
    text: "SELECT sample FROM {schema}.samples WHERE grain = $1 AND at >= $2 ORDER BY at",
    types: &[Type::TEXT, Type::TIMESTAMPTZ],
};

#[async_trait]
impl SampleVerbs for PostgresStore {
    async fn put_samples(&self, samples: Arc<Vec<Sample>>, now: Timestamp) -> Result<(), Error> {
        let put = async {
            let mut sorted: Vec<&Sample> = samples.iter().collect();
            // In one order everywhere, so that two processes do not wait for each other's rows.
            sorted.sort_by_key(|sample| (sample.grain, sample.at));
            let grains: Vec<&str> = sorted.iter().map(|sample| sample.grain.as_str()).collect();
            let moments: Vec<PgTimestamp> = sorted.iter().map(|sample| PgTimestamp(sample.at)).collect();
            let texts: Vec<String> =
                sorted.iter().map(|sample| row::encoded(*sample)).collect::<Result<_, _>>()?;
            self.core.writer.query(&PUT, &[&grains, &moments, &texts]).await?;
            for grain in Grain::ALL {
                let first = PgTimestamp(earlier(now, grain.retention()));
                self.core.writer.query(&FORGET, &[&grain.as_str(), &first]).await?;
            }
            Ok::<_, Fault>(())
        };
        put.await.map_err(failing("write samples"))
    }

    async fn samples(&self, grain: Grain, since: Timestamp) -> Result<Vec<Sample>, Error> {
        let read = async {
            let rows = self.core.reads.query(&SAMPLES, &[&grain.as_str(), &PgTimestamp(since)]).await?;
            rows.iter().map(|found| row::decoded(found.try_get(0)?)).collect::<Result<Vec<_>, Fault>>()
        };
        read.await.map_err(failing("read samples"))
    }
}

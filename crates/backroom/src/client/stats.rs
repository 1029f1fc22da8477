//! What was done lately, by kind.

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{
    Timestamp,
    bounds::earlier,
    sample::{Grain, Sample},
    stats::{KindStats, RETENTION, minute_of},
};

use super::Backroom;
use crate::{Error, ErrorKind};

/// Most rows that one answer adds up: one per worker and minute.
const ROWS_MAX: usize = 5000;

/// What was done lately, by kind.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// From the beginning of this minute until now.
    pub since: Timestamp,
    /// Each kind of which an attempt ended, by name.
    pub kinds: Vec<KindStats>,
    /// There were more rows than one answer adds up: the oldest minutes are missing.
    pub is_cut: bool,
}

impl Backroom {
    /// Attempts that ended within the last `span`, at most an hour: how many succeeded and failed, how long their jobs waited and
    /// how long they ran, by kind. The minute in which the span begins counts whole.
    ///
    /// Workers write what they count every ten seconds, so the last seconds may be missing, and those before a process died.
    /// [`Invalid`](ErrorKind::Invalid) for a longer span: older counts are deleted.
    pub async fn stats(&self, span: Duration) -> Result<Stats, Error> {
        if span > RETENTION {
            let message = format!(
                "count what was done in the last {span:?}: counts are retained for an hour; ask for less"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let since = minute_of(earlier(self.engine().clock.now(), span));
        let rows = self.engine().store.stats(since, ROWS_MAX).await?;
        let is_cut = rows.len() == ROWS_MAX;
        let mut kinds: BTreeMap<String, KindStats> = BTreeMap::new();
        for kind in rows.into_iter().flat_map(|row| row.kinds) {
            let name = kind.kind.clone();
            kinds.entry(name).or_insert_with_key(|name| KindStats::of(name)).add(&kind);
        }
        Ok(Stats { since, kinds: kinds.into_values().collect(), is_cut })
    }

    /// What was done within the last `span`, at most eight days, in samples of a minute or of a quarter of an hour, the oldest first. Any
    /// worker and any server writes them. Where none ran, samples are missing.
    ///
    /// Samples of minutes are retained for two hours.
    pub async fn samples(&self, grain: Grain, span: Duration) -> Result<Vec<Sample>, Error> {
        let engine = self.engine();
        engine.store.samples(grain, grain.begin_of(earlier(engine.clock.now(), span))).await
    }
}

//! Writes the worker's counts of ended attempts to the store.

use std::{sync::Arc, time::Duration};

use super::shared::Shared;
use crate::Error;

/// The time between two writes.
const SPAN: Duration = Duration::from_secs(10);
/// Writes what was counted until the worker ends.
pub(crate) async fn keep_writing(shared: Arc<Shared>) {
    loop {
        shared.engine.clock.sleep(SPAN).await;
        shared.ends.sum_up();
        // The store's decorator reports outages; the rows are written the next time.
        let _ = write(&shared).await;
    }
}

/// Writes every minute that changed.
pub(crate) async fn write(shared: &Shared) -> Result<(), Error> {
    let tally = shared.ends.tally();
    let mut written = Ok(());
    for row in tally.take_changed(&shared.name()) {
        let (minute, now) = (row.minute, shared.engine.clock.now());
        if let Err(error) = shared.engine.store.put_stats(Arc::new(row), now).await {
            tally.put_back(minute);
            written = Err(error);
        }
    }
    tally.forget(shared.engine.clock.now());
    written
}

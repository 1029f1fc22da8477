//! Batches on their way from one store to another.

use std::sync::Arc;

use crate::{Error, store::Store};

/// Batches on one page.
const PAGE: usize = 500;

/// Copies every batch that the target lacks or has an older copy of, with its counts. To be called after
/// [`copy_jobs`](super::copy_jobs), while no worker changes the source. Answers how many were written.
pub async fn copy_batches(from: &dyn Store, to: &dyn Store) -> Result<u64, Error> {
    let (mut before, mut copied) = (None, 0);
    loop {
        let page = from.batches(None, before, PAGE).await?;
        let Some(last) = page.last() else { return Ok(copied) };
        before = Some(last.batch.id);
        copied += to.import_batches(Arc::new(page)).await?;
    }
}

//! How many bytes a worker holds in hand: claimed jobs until their end is recorded, and outputs on their way to the store.
//!
//! Claims may fill three quarters of the bound, outputs the last quarter. So a worker whose claims fill their part can still
//! record the ends of runs, and thereby frees bytes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The unit in which outputs are counted: a semaphore has too few permits for bytes.
const UNIT: usize = 1024;
/// A smaller output is not counted. The channel to the reporter bounds how many of these there are.
const OUTPUT_MIN: usize = 4 * UNIT;

/// The bytes of one worker.
pub(crate) struct HeldBytes {
    /// Most bytes of claimed jobs.
    claims_max: usize,
    /// Most bytes in one call to the store: the store's driver holds these a second time.
    call_max: usize,
    /// Bytes of claimed jobs, and of claims under way.
    held: AtomicUsize,
    /// A claimer waits for free bytes.
    is_awaited: AtomicBool,
    /// Notified when bytes are free again.
    freed: Notify,
    outputs: Arc<Semaphore>,
    output_units_max: usize,
}

impl HeldBytes {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let quarter = (bytes_max / 4).max(1);
        let output_units_max = (quarter / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Arc::new(Self {
            claims_max: bytes_max.saturating_sub(quarter).max(1),
            call_max: quarter,
            held: AtomicUsize::new(0),
            is_awaited: AtomicBool::new(false),
            freed: Notify::new(),
            outputs: Arc::new(Semaphore::new(output_units_max)),
            output_units_max,
        })
    }

    /// Most bytes in one call to the store.
    pub(crate) fn call_max(&self) -> usize {
        self.call_max
    }

    /// How many bytes the next claim may take; 0 while too few are free. A pool that has jobs ready waits until an eighth is free:
    /// a claim costs nearly the same for one job as for many.
    pub(crate) fn free(&self, has_jobs_ready: bool) -> usize {
        let free = self.claims_max.saturating_sub(self.held.load(Ordering::Acquire));
        if has_jobs_ready && free < self.claims_max / 8 { 0 } else { free.min(self.call_max) }
    }

    /// Returns when bytes are free.
    pub(crate) async fn has_free(&self, has_jobs_ready: bool) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Both before the check, so that bytes that are freed in between are noticed.
            freed.as_mut().enable();
            self.is_awaited.store(true, Ordering::SeqCst);
            if self.free(has_jobs_ready) > 0 {
                return;
            }
            freed.await;
        }
    }

    /// Counts bytes until the returned load is dropped.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Load {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Load { owner: Arc::clone(self), bytes }
    }

    /// Waits until an output may be held; none for a small one, which is not counted. Its bytes are free again when the permit is
    /// dropped.
    pub(crate) async fn hold_output(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes < OUTPUT_MIN {
            return None;
        }
        let units = u32::try_from((bytes / UNIT).min(self.output_units_max)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.outputs).acquire_many_owned(units).await.ok()
    }
}

/// Bytes in held.
pub(crate) struct Load {
    owner: Arc<HeldBytes>,
    bytes: usize,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.owner.held.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.owner.is_awaited.load(Ordering::SeqCst) {
            self.owner.is_awaited.store(false, Ordering::SeqCst);
            self.owner.freed.notify_waiters();
        }
    }
}

/// How many of the first items hold about so many bytes together; at least one.
pub(crate) fn count_within<T>(items: &[T], bytes_max: usize, bytes_of: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let fits = |item: &&T| {
        let is_within = bytes < bytes_max;
        bytes += bytes_of(item);
        is_within
    };
    items.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn claims_take_a_quarter_each_and_three_quarters_together() {
        let held = HeldBytes::new(4000);
        let loads: Vec<_> = (0..3).map(|_| held.hold(held.free(false))).collect();
        assert_eq!(loads.iter().map(|load| load.bytes).collect::<Vec<_>>(), [1000, 1000, 1000]);
        assert_eq!(held.free(false), 0);
        drop(loads);
        assert_eq!(held.free(false), 1000);
    }

    #[test]
    fn a_pool_with_jobs_ready_waits_until_an_eighth_is_free() {
        let held = HeldBytes::new(4000);
        let most = held.hold(3000 - 374);
        assert_eq!((held.free(true), held.free(false)), (0, 374));
        drop(most);
        assert_eq!(held.free(true), 1000);
    }

    #[test]
    fn the_wait_ends_when_bytes_are_freed() {
        let held = HeldBytes::new(4000);
        let (one, other) = (held.hold(2000), held.hold(2000));
        let mut waiting = Box::pin(held.has_free(false));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(one);
        assert!(waiting.as_mut().now_or_never().is_some());
        drop(other);
    }

    #[test]
    fn outputs_wait_for_free_bytes_and_one_that_is_larger_than_all_goes_alone() {
        let held = HeldBytes::new(4 * 16 * UNIT);
        let large = held.hold_output(1000 * UNIT).now_or_never().expect("free bytes");
        assert!(held.hold_output(OUTPUT_MIN).now_or_never().is_none());
        assert!(held.hold_output(OUTPUT_MIN - 1).now_or_never().expect("not counted").is_none());
        drop(large);
        assert!(held.hold_output(OUTPUT_MIN).now_or_never().is_some());
    }

    #[test]
    fn batches_end_behind_the_item_that_fills_them() {
        assert_eq!(count_within(&[5, 5, 5, 5], 10, |bytes| *bytes), 2);
        assert_eq!(count_within(&[5, 5, 5, 5], 11, |bytes| *bytes), 3);
        assert_eq!(count_within(&[50, 5], 10, |bytes| *bytes), 1);
        assert_eq!(count_within(&[0; 3], 1, |bytes| *bytes), 3);
    }
}

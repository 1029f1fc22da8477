//! The only room that knows the time. What is measured is real, so there is no other clock to give.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long between two reads of what the handlers saw. A read costs nothing.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);
/// How long between two queries of the store, which do cost something.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(2);

#[expect(clippy::disallowed_methods, reason = "measures what really passes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "other programs are waited for, and an idle worker is idle for real"
)]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// `count` in `span`, per second.
pub(crate) fn per_second(count: usize, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Looks until `look` is true; false when it was not within `limit`.
pub(crate) async fn wait_until(limit: Duration, mut look: impl FnMut() -> bool) -> bool {
    let start = now();
    while !look() {
        if start.elapsed() > limit {
            return false;
        }
        pause(LOOK_AGAIN_AFTER).await;
    }
    true
}

/// Asks until the answer is 0; false when it was not within `limit`.
pub(crate) async fn wait_for_none<F>(
    limit: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<bool, crate::Error>
where
    F: Future<Output = Result<u64, crate::Error>>,
{
    let start = now();
    while ask().await? > 0 {
        if start.elapsed() > limit {
            return Ok(false);
        }
        pause(ASK_AGAIN_AFTER).await;
    }
    Ok(true)
}

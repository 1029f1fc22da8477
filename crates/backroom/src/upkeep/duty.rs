//! One duty of upkeep, and the loop that runs it.

use std::time::Duration;

use backroom_core::Timestamp;

use crate::{
    Error,
    engine::Engine,
    repeated::Repeated,
    store::{Listener, is_outage},
};

/// Most rows per call, so that no tick occupies the store for long.
pub(super) const ROWS_MAX: usize = 500;
/// The wait after a tick that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// One duty.
pub(super) trait Duty {
    /// For people who read the log.
    const NAME: &'static str;

    /// Does what is to be done now. Returns after how long it wants to run again.
    fn tick(
        &mut self,
        engine: &Engine,
        now: Timestamp,
    ) -> impl Future<Output = Result<Duration, Error>> + Send;

    /// Hints after which it runs before its time, and the least time between two such runs.
    fn hints(&self) -> Option<(&Listener, Duration)> {
        None
    }
}

/// Runs a duty until this future is dropped.
pub(super) async fn run<D: Duty>(engine: &Engine, mut duty: D) {
    let mut failing = Repeated::default();
    loop {
        let began = engine.clock.monotonic();
        let rest = match duty.tick(engine, engine.clock.now()).await {
            // Counted from its beginning, so that the pace stays the same however long it takes.
            Ok(rest) => {
                if let Some(times) = failing.over(began) {
                    tracing::warn!(duty = D::NAME, "upkeep failed: {times}, now over");
                }
                began.saturating_add(rest)
            }
            Err(error) => {
                // The store's decorator logs outages.
                if !is_outage(&error) && failing.met(began) {
                    tracing::error!(duty = D::NAME, %error, "upkeep failed; it is tried again");
                }
                engine.clock.monotonic().saturating_add(PAUSE)
            }
        };
        let Some((hints, pace)) = duty.hints() else {
            engine.clock.sleep_to(rest).await;
            continue;
        };
        let hinted = async {
            hints.notified().await;
            engine.clock.sleep_to(began.saturating_add(pace)).await;
        };
        tokio::select! {
            () = engine.clock.sleep_to(rest) => {}
            () = hinted => {}
        }
    }
}

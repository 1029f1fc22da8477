//! How many jobs to hold ready. Enough, so that no slot waits for the store. Few, so that other workers get jobs and an
//! urgent job does not wait behind them.

use std::time::Duration;

/// Claimed jobs should begin within this span.
const HORIZON: Duration = Duration::from_millis(50);
/// Most jobs ready beyond the slots.
const AHEAD_MAX: usize = 2000;
/// Most jobs per claim.
pub(crate) const CLAIM_MAX: usize = 1000;

/// The usual run time of a pool's jobs.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Exponential moving average, in nanoseconds; none before the first job has run.
    average_nanos: Option<f64>,
}

impl Pace {
    /// A job ran for `took`.
    pub(crate) fn ran(&mut self, took: Duration) {
        let nanos = took.as_nanos() as f64;
        self.average_nanos = Some(self.average_nanos.map_or(nanos, |average| average * 0.9 + nanos * 0.1));
    }

    /// A job runs for long: nothing is known of the next ones.
    pub(crate) fn ran_long(&mut self) {
        self.average_nanos = None;
    }

    /// How many jobs to claim with `running` of `slots` taken and `waiting` jobs ready; 0 while enough are in hand. Claims are few
    /// and large, because a claim costs nearly the same for one job as for hundreds.
    pub(crate) fn wanted(&self, slots: usize, running: usize, waiting: usize) -> usize {
        let ahead = self.ahead(slots);
        let in_hand = running + waiting;
        if in_hand >= slots + ahead / 2 && waiting > 0 {
            return 0;
        }
        (slots + ahead).saturating_sub(in_hand).min(CLAIM_MAX)
    }

    /// How many jobs all slots together begin within the horizon.
    fn ahead(&self, slots: usize) -> usize {
        let Some(average) = self.average_nanos else { return 0 };
        let ahead = slots as f64 * HORIZON.as_nanos() as f64 / average.max(1.0);
        // With less than one job per slot, a job runs longer than any claim takes.
        if ahead < slots as f64 { 0 } else { (ahead as usize).min(AHEAD_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(took: Duration) -> Pace {
        let mut pace = Pace::default();
        pace.ran(took);
        pace
    }

    #[test]
    fn nothing_is_hoarded_before_the_first_job_has_run() {
        assert_eq!(Pace::default().wanted(4, 0, 0), 4);
        assert_eq!(Pace::default().wanted(4, 4, 0), 0);
    }

    #[test]
    fn long_jobs_are_claimed_one_per_free_slot() {
        let pace = pace(Duration::from_secs(2));
        assert_eq!(pace.wanted(4, 3, 0), 1);
        assert_eq!(pace.wanted(4, 4, 0), 0);
    }

    #[test]
    fn short_jobs_are_held_ready_up_to_a_bound() {
        let pace = pace(Duration::from_micros(10));
        assert_eq!(pace.wanted(50, 50, 0), CLAIM_MAX);
        assert_eq!(pace.wanted(50, 50, AHEAD_MAX), 0);
    }

    #[test]
    fn the_next_claim_comes_when_half_is_gone() {
        let pace = pace(Duration::from_millis(1));
        let ahead = 4 * 50;
        assert_eq!(pace.wanted(4, 4, ahead / 2), 0);
        assert_eq!(pace.wanted(4, 4, ahead / 2 - 1), ahead / 2 + 1);
    }
}

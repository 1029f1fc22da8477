//! Progress and rate.

use std::time::Duration;

use backroom_core::batch::{Counts, Pace, Progress};
use proptest::prelude::*;

use crate::common::at;

fn counts(live: u64, completed: u64, discarded: u64) -> Counts {
    Counts { live, completed, cancelled: 0, discarded }
}

#[test]
fn percent_is_100_exactly_when_none_is_left() {
    assert_eq!(counts(0, 0, 0).progress().percent, 0);
    assert_eq!(counts(1, 999_999, 0).progress().percent, 99);
    let progress = counts(0, 3, 1).progress();
    assert_eq!(progress, Progress { total: 4, done: 3, failed: 1, left: 0, percent: 100 });
}

#[test]
fn the_rate_is_that_between_the_first_and_the_last_sample() {
    let mut pace = Pace::default();
    assert_eq!(pace.estimate(10), None);
    pace.sample(at(0), counts(100, 0, 0));
    assert_eq!(pace.estimate(100), None, "one moment has no rate");
    pace.sample(at(10), counts(80, 15, 5));
    let estimate = pace.estimate(80).unwrap();
    assert_eq!((estimate.per_second, estimate.time_to_go), (2.0, Some(Duration::from_secs(40))));
}

#[test]
fn what_does_not_move_has_no_time_to_go_and_what_is_done_has_none_left() {
    let mut pace = Pace::default();
    pace.sample(at(0), counts(10, 5, 0));
    pace.sample(at(10), counts(10, 5, 0));
    assert_eq!(pace.estimate(10).unwrap().time_to_go, None);
    assert_eq!(pace.estimate(0).unwrap().time_to_go, Some(Duration::ZERO));
}

#[test]
fn retried_members_and_a_clock_that_is_set_back_begin_the_samples_again() {
    let mut pace = Pace::default();
    pace.sample(at(0), counts(10, 0, 0));
    pace.sample(at(10), counts(0, 0, 10));
    pace.sample(at(20), counts(10, 0, 0));
    assert_eq!(pace.estimate(10), None);
    pace.sample(at(5), counts(10, 0, 0));
    assert_eq!(pace.estimate(10), None);
    pace.sample(at(10), counts(0, 10, 0));
    assert_eq!(pace.estimate(10).unwrap().per_second, 2.0);
}

proptest! {
    #[test]
    fn no_samples_make_a_rate_that_is_no_number(
        steps in proptest::collection::vec((-5i64..20, 0u64..1000), 1..100), left in 0u64..=u64::MAX
    ) {
        let mut pace = Pace::default();
        let (mut moment, mut done) = (0, 0);
        for (secs, finished) in steps {
            moment += secs;
            done += finished;
            pace.sample(at(moment), counts(left, done, 0));
            if let Some(estimate) = pace.estimate(left) {
                prop_assert!(estimate.per_second.is_finite() && estimate.per_second >= 0.0);
            }
        }
    }
}

//! Clocks that disagree: of the workers' machines with the store's time, and of heartbeats with the present.

use std::time::Duration;

use backroom::{HealthCheck, Timestamp, WorkerRow, core::bounds::span_until};

use crate::terminal::words;

/// The offset of a machine's clock that is reported.
const AHEAD_MS_MAX: u64 = 2000;
/// How far in the future a heartbeat may be: the error of two measurements of the store's time, and the step of one between them.
const FUTURE_MAX: Duration = Duration::from_secs(5);

/// Looks at what all workers report, the dead ones included.
pub(super) fn checks(workers: &[WorkerRow], now: Timestamp) -> Vec<HealthCheck> {
    vec![heartbeats(workers, now), machines(workers)]
}

fn heartbeats(workers: &[WorkerRow], now: Timestamp) -> HealthCheck {
    let ahead = |worker: &WorkerRow| {
        let ahead = span_until(now, worker.beat_at);
        (ahead > FUTURE_MAX).then(|| format!("{} ({} ahead)", worker.name, words::span(ahead)))
    };
    let found: Vec<_> = workers.iter().filter_map(ahead).collect();
    let remedy = "a clock was set back, or two machines disagree; compare their clocks and set them by NTP. \
                  No job is lost by it: workers are observed, not compared";
    check("heartbeats", &found, "none is from the future", |found| {
        format!("heartbeats from the future: {found}; {remedy}")
    })
}

fn machines(workers: &[WorkerRow]) -> HealthCheck {
    let off = |worker: &WorkerRow| {
        let ahead = worker.details.clock_ahead_ms.filter(|ms| ms.unsigned_abs() > AHEAD_MS_MAX)?;
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let span = words::span(Duration::from_millis(ahead.unsigned_abs()));
        (!worker.dead).then(|| format!("{} is {span} {way} the store", worker.host))
    };
    let mut found: Vec<_> = workers.iter().filter_map(off).collect();
    found.sort();
    found.dedup();
    let remedy = "set it by NTP. Jobs run by the store's time, so they are not affected";
    check("clocks of machines", &found, "all workers' machines agree with the store", |found| {
        format!("{found}; {remedy}")
    })
}

fn check(name: &str, found: &[String], fine: &str, wrong: impl FnOnce(&str) -> String) -> HealthCheck {
    let ok = found.is_empty();
    let found = if ok { fine.to_owned() } else { wrong(&found.join(", ")) };
    HealthCheck { name: name.into(), ok, found }
}

#[cfg(test)]
mod tests {
    use backroom::WorkerDetails;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).expect("a moment")
    }

    fn worker(beat_at: Timestamp, clock_ahead_ms: Option<i64>) -> WorkerRow {
        let details = WorkerDetails { clock_ahead_ms, ..WorkerDetails::default() };
        WorkerRow { name: "one".into(), host: "build-1".into(), beat_at, details, ..WorkerRow::default() }
    }

    #[test]
    fn a_heartbeat_from_the_future_is_reported() {
        assert!(heartbeats(&[worker(at(-100), None), worker(at(4), None)], at(0)).ok);
        let found = heartbeats(&[worker(at(120), None)], at(0));
        assert!(!found.ok && found.found.contains("one (2m ahead)"), "{}", found.found);
    }

    #[test]
    fn a_machine_whose_clock_differs_is_reported_once() {
        assert!(machines(&[worker(at(0), None), worker(at(0), Some(-1999))]).ok);
        let found = machines(&[worker(at(0), Some(3_600_000)), worker(at(0), Some(3_600_000))]);
        assert!(!found.ok, "{}", found.found);
        assert_eq!(found.found.matches("build-1 is").count(), 1, "{}", found.found);
    }
}

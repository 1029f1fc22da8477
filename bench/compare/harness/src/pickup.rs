//! How soon an idle worker takes a job up.

use std::time::Duration;

use crate::report::Pickup;
use crate::{Email, Error, Peer, Request, clock, seen};

/// Jobs before the first one that counts: files grow, caches fill, statements are prepared.
pub(crate) const WARM_UP: usize = 10;
/// How long the worker is left alone before the first job: what it does at its start is not what is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// A job that is not taken up within this is lost to the measurement.
const PICKUP_LIMIT: Duration = Duration::from_secs(10);

/// One job at a time, `request.jobs` of them after the warm-up: from just before the enqueue call to the first line of
/// the handler. The pauses differ, so that they do not keep step with anybody's polling.
pub(crate) async fn measure<P: Peer>(peer: &P, request: &Request) -> Result<Pickup, Error> {
    let worker = peer.start().await?;
    clock::pause(SETTLE).await;
    let mut runs = seen::listen();
    let (mut waits, mut lost) = (Vec::new(), 0);
    for number in 0..WARM_UP + request.jobs {
        let start = clock::now();
        peer.enqueue(Email::new(number)).await?;
        let taken_up = tokio::time::timeout(PICKUP_LIMIT, async {
            // An earlier job that was given up on may still turn up.
            while let Some((seen, at)) = runs.recv().await {
                if seen == number {
                    return Some(at);
                }
            }
            None
        });
        match taken_up.await {
            Ok(Some(at)) if number >= WARM_UP => waits.push(at.saturating_duration_since(start)),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => lost += 1,
        }
        clock::pause(gap(number)).await;
    }
    peer.stop(worker).await?;
    waits.sort();
    Ok(Pickup {
        samples: waits.len(),
        lost,
        p50_ms: percentile_ms(&waits, 0.50),
        p99_ms: percentile_ms(&waits, 0.99),
    })
}

/// 20 to 43 ms, never the same twice in a row.
fn gap(number: usize) -> Duration {
    Duration::from_micros(20_000 + number as u64 * 7_919 % 23_000)
}

/// The smallest wait that `part` of all waits do not exceed.
fn percentile_ms(sorted: &[Duration], part: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    let wait = sorted.get(place.saturating_sub(1))?;
    Some(wait.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_waits_that_were_seen() {
        let waits: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&waits, 0.50), Some(100.0));
        assert_eq!(percentile_ms(&waits, 0.99), Some(198.0));
        assert_eq!(percentile_ms(&waits[..1], 0.99), Some(1.0));
        assert_eq!(percentile_ms(&[], 0.50), None);
    }

    #[test]
    fn gaps_differ_and_stay_in_bounds() {
        let gaps: Vec<_> = (0..200).map(gap).collect();
        assert!(gaps.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(gaps.iter().all(|gap| (20..43).contains(&gap.as_millis())));
    }
}

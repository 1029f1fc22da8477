//! What was done over the last hour, day or week, as small charts.

use std::time::Duration;

use backroom::core::{
    bounds::later,
    sample::{Grain, Sample},
    stats::Histogram,
};
use maud::{Markup, html};

use super::{
    Fields, Trouble,
    kit::{self, Series},
};
use crate::serve::AppState;

/// The spans that can be shown: the word of the link, the words for people, and what is read.
const SPANS: [(&str, &str, Duration, Grain); 3] = [
    ("hour", "last hour", Duration::from_secs(3600), Grain::Minute),
    ("day", "last day", Duration::from_secs(24 * 3600), Grain::Quarter),
    ("week", "last week", Duration::from_secs(7 * 24 * 3600), Grain::Quarter),
];
/// Points of one chart; neighbouring samples are put together.
const POINTS_MAX: usize = 96;

/// The charts of the span that the query names.
pub(super) async fn of(state: &AppState, query: &Fields) -> Result<Markup, Trouble> {
    let asked = query.get("span").unwrap_or("hour");
    let (word, _, span, grain) = SPANS.into_iter().find(|(word, ..)| *word == asked).unwrap_or(SPANS[0]);
    let samples = state.backroom.samples(grain, span).await?;
    let now = state.backroom.clock().now();
    let points = points(&samples, grain, span, now);
    let series = |name, class, value: fn(&Point) -> u64| Series {
        name,
        class,
        values: points.iter().map(value).collect(),
    };
    let number = |value| kit::number(value);
    let millis = |value| kit::span(Duration::from_micros(value));
    Ok(html! {
        h2 { "Over time" }
        p { @for (name, words, ..) in SPANS {
            a href=(if name == "hour" { "/".to_owned() } else { format!("/?span={name}") }) aria-current=[(name == word).then_some("true")] { (words) } " "
        } }
        div.charts {
            (kit::chart(&series("Attempts that succeeded", "good", |point| point.done), number))
            (kit::chart(&series("Attempts that failed", "bad", |point| point.failed), number))
            (kit::chart(&series("Jobs given up", "bad", |point| point.discarded), number))
            (kit::chart(&series("Pickup, 99 of 100 within", "", |point| point.pickup), millis))
            (kit::chart(&series("Jobs that are due", "warn", |point| point.ready), number))
            (kit::chart(&series("Jobs that run", "", |point| point.running), number))
        }
        @if samples.is_empty() { p.muted { "Nothing is recorded yet: the first minute is written soon after its end." } }
    })
}

/// What one point of the charts stands for.
#[derive(Debug, Clone, Default)]
struct Point {
    done: u64,
    failed: u64,
    discarded: u64,
    /// In microseconds.
    pickup: u64,
    ready: u64,
    running: u64,
}

/// Samples as points at even distances; where samples are missing, nothing was done that is known.
fn points(samples: &[Sample], grain: Grain, span: Duration, now: backroom::Timestamp) -> Vec<Point> {
    let spans = usize::try_from(span.as_secs() / grain.span().as_secs()).unwrap_or(POINTS_MAX);
    let together = spans.div_ceil(POINTS_MAX).max(1);
    let begin = backroom::core::bounds::earlier(grain.begin_of(now), span);
    let mut points = Vec::with_capacity(spans / together);
    for first in (0..spans).step_by(together) {
        let from = later(begin, grain.span() * u32::try_from(first).unwrap_or(u32::MAX));
        let until = later(from, grain.span() * u32::try_from(together).unwrap_or(1));
        let (mut point, mut pickup) = (Point::default(), Histogram::default());
        for sample in samples.iter().filter(|sample| sample.at >= from && sample.at < until) {
            point.done += sample.done;
            point.failed += sample.failed;
            point.discarded += sample.discarded;
            point.ready = point.ready.max(sample.depth.ready);
            point.running = point.running.max(sample.depth.running);
            pickup.add(&sample.pickup);
        }
        let slow = pickup.quantile(0.99).unwrap_or_default();
        point.pickup = u64::try_from(slow.as_micros()).unwrap_or(u64::MAX);
        points.push(point);
    }
    points
}

/// For how long a queue takes to become empty, at the net rate of the last minutes; none if it does not become emptier.
pub(super) fn time_to_empty(samples: &[Sample], queue: &str, ready: u64) -> Option<Duration> {
    let of_queue = |sample: &Sample| {
        sample.depth.queues.iter().find(|found| found.queue == queue).map_or(0, |found| found.ready)
    };
    let oldest = samples.iter().rev().nth(4).or_else(|| samples.first())?;
    let newest = samples.last()?;
    let secs = backroom::core::bounds::span_until(oldest.at, newest.at).as_secs();
    let fewer = of_queue(oldest).checked_sub(ready)?;
    if fewer == 0 || secs == 0 || ready == 0 {
        return None;
    }
    Some(Duration::from_secs(ready.saturating_mul(secs) / fewer))
}

#[cfg(test)]
mod tests {
    use backroom::{
        Timestamp,
        core::sample::{Depth, QueueDepth},
    };

    use super::*;

    fn sample(minute: i64, done: u64, ready: u64) -> Sample {
        let at = Timestamp::from_second(6_000_000 + 60 * minute).expect("a moment");
        let queue = QueueDepth { queue: "mail".into(), ready, running: 0, oldest_secs: 0 };
        let mut sample =
            Sample::of_minute(at, &[], Depth { ready, queues: vec![queue], ..Depth::default() }, at);
        sample.done = done;
        sample
    }

    #[test]
    fn every_minute_of_the_hour_is_a_point_and_missing_ones_are_zero() {
        let now = Timestamp::from_second(6_000_000 + 3600 + 5).expect("a moment");
        let points =
            points(&[sample(0, 7, 0), sample(59, 3, 2)], Grain::Minute, Duration::from_secs(3600), now);
        assert_eq!(points.len(), 60);
        assert_eq!((points[0].done, points[1].done, points[59].done, points[59].ready), (7, 0, 3, 2));
    }

    #[test]
    fn a_week_is_put_together_into_few_points() {
        let now = Timestamp::from_second(6_000_300).expect("a moment");
        assert!(points(&[], Grain::Quarter, SPANS[2].2, now).len() <= POINTS_MAX);
    }

    #[test]
    fn a_queue_is_empty_after_its_depth_by_its_net_rate() {
        let samples: Vec<_> =
            (0..6).map(|minute| sample(minute, 0, 1000 - 100 * minute.unsigned_abs())).collect();
        // Four minutes ago 900 were due.
        assert_eq!(time_to_empty(&samples, "mail", 500), Some(Duration::from_secs(500 * 240 / 400)));
        assert_eq!(time_to_empty(&samples, "mail", 2000), None, "it fills up");
        assert_eq!(time_to_empty(&samples, "other", 0), None);
    }
}

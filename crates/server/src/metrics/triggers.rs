//! What the triggers of this process count.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use backroom_triggers::{Activity, Status};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::serve::Served;

/// Counts of triggers, once they run.
#[derive(Clone)]
pub(crate) struct OfTriggers(pub(crate) Arc<OnceLock<Served>>);

impl fmt::Debug for OfTriggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfTriggers")
    }
}

impl Collector for OfTriggers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(served) = self.0.get() else { return Ok(()) };
        let statuses: Vec<(&str, Status)> =
            served.running().statuses().map(|(name, _, status)| (name, status)).collect();
        let help = "Deliveries of a trigger, by what became of them";
        let mut metric = encoder.encode_descriptor("trigger_deliveries", help, None, MetricType::Counter)?;
        for (name, status) in &statuses {
            let counters = &status.counters;
            for (outcome, count) in [
                ("enqueued", counters.enqueued),
                ("duplicate", counters.duplicates),
                ("left_out", counters.left_out),
                ("refused", counters.refused),
            ] {
                metric
                    .encode_family(&[("trigger", *name), ("outcome", outcome)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Times that the source of a trigger could not be read";
        let mut metric = encoder.encode_descriptor("trigger_errors", help, None, MetricType::Counter)?;
        for (name, status) in &statuses {
            metric
                .encode_family(&[("trigger", *name)])?
                .encode_counter::<NoLabelSet, _, u64>(&status.counters.errors, None)?;
        }
        let help = "Deliveries that wait in the source of a trigger, where it can say";
        let mut metric = encoder.encode_descriptor("trigger_lag", help, None, MetricType::Gauge)?;
        for (name, lag) in statuses.iter().filter_map(|(name, status)| Some((name, status.lag?))) {
            metric.encode_family(&[("trigger", *name)])?.encode_gauge(&lag)?;
        }
        let help = "What a trigger does: 1 for its activity";
        let mut metric = encoder.encode_descriptor("trigger_activity", help, None, MetricType::Gauge)?;
        for (name, status) in &statuses {
            for activity in Activity::ALL {
                let is_it = i64::from(activity == status.activity);
                let labels = [("trigger", *name), ("activity", activity.as_str())];
                metric.encode_family(&labels)?.encode_gauge(&is_it)?;
            }
        }
        let help = "Requests to a hook that were refused, by reason";
        let mut metric = encoder.encode_descriptor("hook_refusals", help, None, MetricType::Counter)?;
        for (name, hook) in served.hooks() {
            for (refusal, count) in hook.refusals() {
                metric
                    .encode_family(&[("trigger", name), ("reason", refusal.as_str())])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}

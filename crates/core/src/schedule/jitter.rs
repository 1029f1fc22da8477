//! Spreads the occurrences of many schedules that fall on the same moment.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::bounds;

/// Namespace of the delays: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d0b_61a2_0f4e_4b0e_9c53_7e0a_4a3c_1f8d);

/// When an occurrence is due: its nominal time and a delay below `jitter`. The delay follows from the name of the schedule and
/// from the nominal time. So every process computes the same moment, and a restart moves nothing.
pub fn due_at(name: &str, nominal: Timestamp, jitter: Duration) -> Timestamp {
    let jitter_micros = jitter.as_micros();
    if jitter_micros == 0 {
        return nominal;
    }
    let text = format!("{name}\0{}", nominal.as_microsecond());
    let (chance, _) = Uuid::new_v5(&NAMESPACE, text.as_bytes()).as_u64_pair();
    let delay = (u128::from(chance) * jitter_micros) >> 64;
    bounds::later(nominal, Duration::from_micros(u64::try_from(delay).unwrap_or(u64::MAX)))
}

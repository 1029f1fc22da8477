//! What has been received by MQTT and waits to become jobs, within a bound of bytes.
//!
//! The connection is read at all times, because acknowledgements and signs of life need it. So a broker is not slowed down by a
//! reader that waits. What would be more than the bound is dropped where the protocol allows that. Else it is not acknowledged, and
//! the connection ends once everything before it is: the broker then delivers it again. Pure; the source reads the connection.

/// So many times what the frame takes at once may wait of messages that are to be acknowledged. Brokers have 20 or 32 of them in flight
/// by default, and a job has at most 1 MiB of args. So the bound is for what is larger.
const ACKNOWLEDGED_TIMES: usize = 4;

/// The bytes that wait.
#[derive(Debug)]
pub(super) struct Backlog {
    acknowledged_max: usize,
    unacknowledged_max: usize,
    /// Of messages that are to be acknowledged.
    acknowledged: usize,
    /// Of messages with QoS 0.
    unacknowledged: usize,
    is_dropping: bool,
    /// The largest message that is to be acknowledged.
    largest: usize,
    is_over: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It waits.
    Taken,
    /// It has QoS 0, and too many of its sort wait.
    Dropped,
    /// It is to be acknowledged, and too many of its sort wait. It is left to the broker, which delivers it again in the next connection.
    Over,
}

impl Backlog {
    /// Nothing waits. Of QoS 0 half of `bytes` may wait, of the others four times as much as `bytes`. A single larger message passes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            acknowledged_max: bytes.saturating_mul(ACKNOWLEDGED_TIMES),
            unacknowledged_max: bytes / 2,
            acknowledged: 0,
            unacknowledged: 0,
            is_dropping: false,
            largest: 0,
            is_over: false,
        }
    }

    /// How many bytes may wait of messages that are to be acknowledged.
    pub(super) fn acknowledged_max(&self) -> usize {
        self.acknowledged_max
    }

    /// Decides on a message that has arrived.
    pub(super) fn admit(&mut self, is_acknowledged: bool, bytes: usize) -> Admission {
        if is_acknowledged {
            self.largest = self.largest.max(bytes);
            // None after the first one that is too much: they would come before it.
            if self.is_over || self.acknowledged > 0 && self.acknowledged + bytes > self.acknowledged_max {
                self.is_over = true;
                return Admission::Over;
            }
            self.acknowledged += bytes;
            return Admission::Taken;
        }
        // Once it drops, it goes on until half of what waits is taken: so that a report of it is worth reading.
        let most = if self.is_dropping { self.unacknowledged_max / 2 } else { self.unacknowledged_max };
        self.is_dropping = self.unacknowledged > 0 && self.unacknowledged + bytes > most;
        if self.is_dropping {
            return Admission::Dropped;
        }
        self.unacknowledged += bytes;
        Admission::Taken
    }

    /// A message that waited is taken.
    pub(super) fn taken(&mut self, is_acknowledged: bool, bytes: usize) {
        let waiting = if is_acknowledged { &mut self.acknowledged } else { &mut self.unacknowledged };
        *waiting = waiting.saturating_sub(bytes);
    }

    /// How many messages the broker may have in flight so that they stay within the bound, if they have gone beyond it.
    pub(super) fn in_flight_max(&self) -> Option<u16> {
        let fitting = u16::try_from(self.acknowledged_max / self.largest.max(1)).unwrap_or(u16::MAX);
        self.is_over.then_some(fitting.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::{Admission::*, *};

    #[test]
    fn messages_with_qos_0_are_dropped_beyond_half_of_the_bound_until_half_of_them_are_taken() {
        let mut backlog = Backlog::new(100);
        assert_eq!(backlog.admit(false, 30), Taken);
        assert_eq!(backlog.admit(false, 20), Taken);
        assert_eq!(backlog.admit(false, 1), Dropped);
        backlog.taken(false, 20);
        assert_eq!(backlog.admit(false, 1), Dropped, "30 wait");
        assert_eq!(backlog.admit(true, 90), Taken, "the other sort is not concerned");
        backlog.taken(false, 30);
        assert_eq!(backlog.admit(false, 30), Taken);
        assert_eq!(backlog.admit(false, 20), Taken);
        assert_eq!(backlog.in_flight_max(), None);
    }

    #[test]
    fn messages_that_are_acknowledged_end_the_connection_beyond_the_bound_and_fewer_are_in_flight_then() {
        let mut backlog = Backlog::new(25);
        assert_eq!(backlog.admit(true, 30), Taken);
        assert_eq!(backlog.admit(true, 30), Taken);
        assert_eq!(backlog.admit(true, 41), Over);
        backlog.taken(true, 30);
        assert_eq!(backlog.admit(true, 1), Over, "the order of the broker stays");
        assert_eq!(backlog.in_flight_max(), Some(2), "of the size of the largest");
    }

    #[test]
    fn a_single_message_passes_whatever_its_size() {
        for is_acknowledged in [true, false] {
            let mut backlog = Backlog::new(100);
            assert_eq!(backlog.admit(is_acknowledged, 1000), Taken);
            backlog.taken(is_acknowledged, 1000);
            assert_eq!(backlog.admit(is_acknowledged, 1000), Taken);
            assert_ne!(backlog.admit(is_acknowledged, 1), Taken);
        }
        let mut backlog = Backlog::new(25);
        backlog.admit(true, 1);
        assert_eq!(backlog.admit(true, 1000), Over);
        assert_eq!(backlog.in_flight_max(), Some(1));
    }
}

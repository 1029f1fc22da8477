//! Where ids and chance come from: one source per client, seeded in tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use backroom_core::{JobId, LeaseId, Timestamp};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::{Builder, Uuid};

/// Makes ids and draws chances.
#[derive(Debug)]
pub struct Ids {
    state: Mutex<IdState>,
}

#[derive(Debug)]
struct IdState {
    rng: StdRng,
    /// Milliseconds and the 74 random bits of the last job id.
    last: (u64, u128),
}

/// The random part of a UUIDv7 has 74 bits.
const RANDOM_BITS: u32 = 74;

impl Ids {
    /// Seeded by the operating system.
    pub fn from_entropy() -> Self {
        Self::with(rand::make_rng())
    }

    /// The same seed makes the same ids.
    pub fn seeded(seed: u64) -> Self {
        Self::with(StdRng::seed_from_u64(seed))
    }

    fn with(rng: StdRng) -> Self {
        Self { state: Mutex::new(IdState { rng, last: (0, 0) }) }
    }

    /// A UUIDv7 (RFC 9562) greater than every one this source made before: jobs enqueued one after the other sort
    /// in that order even within one millisecond, and even when the clock stands still.
    pub fn job(&self, now: Timestamp) -> JobId {
        let mut state = self.state();
        let now_millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let (last_millis, last_random) = state.last;
        let (mut millis, mut random) = if now_millis > last_millis {
            // The top bit stays clear, so that one millisecond has room for more steps than anybody can take.
            (now_millis, state.rng.random::<u128>() >> (128 - RANDOM_BITS + 1))
        } else {
            (last_millis, last_random + 1 + u128::from(state.rng.random::<u32>()))
        };
        if random >> RANDOM_BITS != 0 {
            (millis, random) = (millis + 1, 0);
        }
        state.last = (millis, random);
        JobId(version_7(millis, random))
    }

    /// A random UUIDv4.
    pub fn lease(&self) -> LeaseId {
        LeaseId(Builder::from_random_bytes(self.state().rng.random()).into_uuid())
    }

    /// 256 random bits that cannot be guessed: the source is a cipher that the operating system seeded.
    pub fn secret(&self) -> [u8; 32] {
        self.state().rng.random()
    }

    /// Uniform in `[0, 1)`.
    pub fn chance(&self) -> f64 {
        self.state().rng.random()
    }

    fn state(&self) -> MutexGuard<'_, IdState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 48 bits of milliseconds, 4 of version, 12 and 62 of `random` around 2 of variant.
fn version_7(millis: u64, random: u128) -> Uuid {
    let high = u128::from(millis) << 80 | 7 << 76 | (random >> 62 & 0xfff) << 64;
    let low = 0b10 << 62 | (random & ((1 << 62) - 1));
    Uuid::from_u128(high | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_within_a_millisecond_and_when_time_stands_still() {
        let ids = Ids::seeded(1);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let made: Vec<_> = (0..10_000).map(|_| ids.job(now)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(ids.job(Timestamp::from_second(1).unwrap()) > made[9_999]);
    }

    #[test]
    fn ids_are_version_7_and_carry_the_time() {
        let id = Ids::seeded(2).job(Timestamp::from_millisecond(1_700_000_000_123).unwrap()).0;
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.as_u128() >> 80, 1_700_000_000_123);
    }
}

//! The one true time of the simulation, and the clock of each machine, which follows it well or badly.
//!
//! True time stands still while any task works and moves only by [`World::advance_to`]. A machine's clock is off by an
//! offset that faults change, and a pace, so its moments go forward and back; its monotonic clock counts true time, or nearly so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backroom::{Timestamp, clock::Clock, core::bounds::span_until};
use jiff::SignedDuration;
use tokio::sync::Notify;

/// True time, and who waits for it.
#[derive(Debug)]
pub struct World {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// Numbers the alarms, so that those of one moment ring in the order they were set.
    set: u64,
    alarms: BTreeMap<(Timestamp, u64), Arc<Notify>>,
}

impl Default for World {
    /// Begins at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        let now = Timestamp::from_second(1_767_225_600).unwrap_or_default();
        Self { state: Mutex::new(State { now, set: 0, alarms: BTreeMap::new() }) }
    }
}

impl World {
    /// True time.
    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// When the next sleeper wants to wake.
    pub fn next_alarm(&self) -> Option<Timestamp> {
        self.state().alarms.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves on to `at` and wakes all tasks that slept until then.
    pub fn advance_to(&self, at: Timestamp) {
        let mut state = self.state();
        let now = state.now.max(at);
        state.now = now;
        let later = state.alarms.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.alarms, later);
        drop(state);
        due.into_values().for_each(|alarm| alarm.notify_one());
    }

    /// Returns at `at`.
    pub async fn sleep_until(&self, at: Timestamp) {
        if self.now() < at {
            self.alarm(at).rang().await;
        }
    }

    /// Returns after `span`.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(plus(self.now(), span)).await;
    }

    fn alarm(&self, at: Timestamp) -> Alarm<'_> {
        let notify = Arc::new(Notify::new());
        let mut state = self.state();
        state.set += 1;
        let key = (at, state.set);
        state.alarms.insert(key, Arc::clone(&notify));
        Alarm { world: self, key, notify }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Alarm<'a> {
    world: &'a World,
    key: (Timestamp, u64),
    notify: Arc<Notify>,
}

impl Alarm<'_> {
    async fn rang(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.world.state().alarms.remove(&self.key);
    }
}

/// The clocks of one process: the moments that it takes for the store's time, and its monotonic clock.
#[derive(Debug)]
pub struct MachineClock {
    world: Arc<World>,
    origin: Timestamp,
    /// How much faster than true time the monotonic clock counts, in millionths.
    drift_ppm: i64,
    hand: Mutex<Hand>,
    moved: Notify,
}

#[derive(Debug)]
struct Hand {
    /// How far its moments were ahead of true time at `set_at`.
    offset: SignedDuration,
    set_at: Timestamp,
    /// How much faster than true time its moments have gone since, in millionths; a million less is a clock that stands still.
    fast_ppm: i64,
    /// Where both clocks stand for as long as the process does not run.
    frozen: Option<Timestamp>,
    /// The latest moment it ever showed.
    latest: Timestamp,
}

impl Hand {
    fn at(&self, world: Timestamp) -> Timestamp {
        let gained = i128::from(self.fast_ppm) * world.duration_since(self.set_at).as_micros() / 1_000_000;
        let gained = SignedDuration::from_micros(i64::try_from(gained).unwrap_or_default());
        world + self.offset + gained
    }
}

impl MachineClock {
    /// Clocks whose moments are off by `offset`, and whose monotonic clock is fast by so many millionths.
    pub fn new(world: Arc<World>, offset: SignedDuration, drift_ppm: i64) -> Self {
        let origin = world.now();
        let hand = Hand { offset, set_at: origin, fast_ppm: 0, frozen: None, latest: origin + offset };
        Self { origin, drift_ppm, world, hand: Mutex::new(hand), moved: Notify::new() }
    }

    /// The wall clock is set forward or back. The monotonic clock does not notice.
    pub fn jump(&self, by: SignedDuration) {
        self.now();
        self.hand().offset += by;
        self.moved.notify_waiters();
    }

    /// From now on the wall clock is faster than true time by so many millionths.
    pub fn run_at(&self, fast_ppm: i64) {
        let (now, world) = (self.now(), self.world());
        let mut hand = self.hand();
        (hand.offset, hand.set_at, hand.fast_ppm) = (now.duration_since(world), world, fast_ppm);
        drop(hand);
        self.moved.notify_waiters();
    }

    /// Stands still, as for a process that does not run.
    pub fn freeze(&self) {
        let world = self.world.now();
        self.hand().frozen.get_or_insert(world);
        self.moved.notify_waiters();
    }

    /// Goes on, at the time it is by now.
    pub fn thaw(&self) {
        self.hand().frozen = None;
        self.moved.notify_waiters();
    }

    /// How far its moments are ahead of true time (behind, if negative).
    pub fn ahead(&self) -> SignedDuration {
        self.now().duration_since(self.world.now())
    }

    /// The latest moment that it ever showed.
    pub fn latest(&self) -> Timestamp {
        self.now();
        self.hand().latest
    }

    /// Whether its wall clock goes at quite another pace than true time: then waiting for a moment is late or early.
    pub fn is_off_pace(&self) -> bool {
        self.hand().fast_ppm.abs() > 1000
    }

    /// True time as this process knows it.
    fn world(&self) -> Timestamp {
        self.hand().frozen.unwrap_or_else(|| self.world.now())
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `span * numerator / denominator`, in whole microseconds and rounded up.
fn scaled(span: Duration, numerator: i64, denominator: i64) -> Duration {
    let micros = i128::try_from(span.as_micros()).unwrap_or(i128::MAX / 4_000_000);
    let scaled = (micros * i128::from(numerator) + i128::from(denominator) - 1) / i128::from(denominator);
    Duration::from_micros(u64::try_from(scaled).unwrap_or(u64::MAX))
}

const MILLION: i64 = 1_000_000;

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let world = self.world();
        let mut hand = self.hand();
        let now = hand.at(world);
        hand.latest = hand.latest.max(now);
        now
    }

    fn monotonic(&self) -> Duration {
        scaled(span_until(self.origin, self.world()), MILLION + self.drift_ppm, MILLION)
    }

    fn is_driven(&self) -> bool {
        true
    }

    async fn sleep(&self, span: Duration) {
        let until = plus(self.world(), scaled(span, MILLION, MILLION + self.drift_ppm));
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let is_frozen = self.hand().frozen.is_some();
            if is_frozen {
                moved.await;
            } else if until <= self.world.now() {
                return;
            } else {
                tokio::select! {
                    biased;
                    () = self.world.sleep_until(until) => {}
                    () = moved => {}
                }
            }
        }
    }
}

/// `at + span`, for spans as short as a simulation's.
pub fn plus(at: Timestamp, span: Duration) -> Timestamp {
    backroom::core::bounds::later(at, span)
}

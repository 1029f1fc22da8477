//! The one true time of the simulation, and the clock of each machine, which follows it well or badly.
//!
//! True time stands still while anybody works and moves only by [`World::advance_to`]. A machine's clock is off by an
//! offset that faults change, so its moments go forward and back; its monotonic clock counts true time.

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

    /// Moves on to `at` and wakes whoever slept until then.
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
    hand: Mutex<Hand>,
    moved: Notify,
}

#[derive(Debug)]
struct Hand {
    /// How far its moments are ahead of true time.
    offset: SignedDuration,
    /// Where the clocks stand for as long as the process does not run.
    frozen: Option<Timestamp>,
}

impl MachineClock {
    /// Clocks whose moments are off by `offset`.
    pub fn new(world: Arc<World>, offset: SignedDuration) -> Self {
        let hand = Hand { offset, frozen: None };
        Self { origin: world.now(), world, hand: Mutex::new(hand), moved: Notify::new() }
    }

    /// The wall clock is set forward or back. The monotonic clock does not notice.
    pub fn jump(&self, by: SignedDuration) {
        self.hand().offset += by;
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

    /// True time as this process knows it.
    fn world(&self) -> Timestamp {
        self.hand().frozen.unwrap_or_else(|| self.world.now())
    }

    /// Returns when the true time is `true_time(hand)` or later and the process runs; reads it again after each step.
    async fn sleep_by(&self, true_time: impl Fn(&Hand) -> Timestamp + Send + Sync) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let until = {
                let hand = self.hand();
                hand.frozen.is_none().then(|| true_time(&hand))
            };
            match until {
                None => moved.await,
                Some(until) if until <= self.world.now() => return,
                Some(until) => {
                    tokio::select! {
                        biased;
                        () = self.world.sleep_until(until) => {}
                        () = moved => {}
                    }
                }
            }
        }
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        self.world() + self.hand().offset
    }

    fn monotonic(&self) -> Duration {
        span_until(self.origin, self.world())
    }

    async fn sleep(&self, span: Duration) {
        let until = plus(self.world(), span);
        self.sleep_by(|_| until).await;
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.sleep_by(|hand| at.checked_sub(hand.offset).unwrap_or(Timestamp::MAX)).await;
    }
}

/// `at + span`, for spans as short as a simulation's.
pub fn plus(at: Timestamp, span: Duration) -> Timestamp {
    backroom::core::bounds::later(at, span)
}

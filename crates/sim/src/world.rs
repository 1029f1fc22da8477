//! The one true time of the simulation, and the clock of each machine, which follows it well or badly.
//!
//! True time stands still while anybody works and moves only by [`World::advance_to`]. A machine's clock is off by an
//! offset that faults change; it keeps what [`Clock`] promises: it never answers earlier than before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backroom::{Timestamp, clock::Clock};
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

/// What one machine believes the time to be.
#[derive(Debug)]
pub struct MachineClock {
    world: Arc<World>,
    hand: Mutex<Hand>,
    moved: Notify,
}

#[derive(Debug)]
struct Hand {
    offset: SignedDuration,
    last: Timestamp,
    frozen: bool,
}

impl MachineClock {
    /// A clock that is off by `offset`.
    pub fn new(world: Arc<World>, offset: SignedDuration) -> Self {
        let hand = Hand { offset, last: Timestamp::MIN, frozen: false };
        Self { world, hand: Mutex::new(hand), moved: Notify::new() }
    }

    /// Somebody sets it forward or back. Set back, it stands still until it has caught up: all that is promised.
    pub fn jump(&self, by: SignedDuration) {
        self.now();
        self.hand().offset += by;
        self.moved.notify_waiters();
    }

    /// Stands still, as for a process that does not run.
    pub fn freeze(&self) {
        self.now();
        self.hand().frozen = true;
        self.moved.notify_waiters();
    }

    /// Goes on, at the time it is by now.
    pub fn thaw(&self) {
        self.hand().frozen = false;
        self.moved.notify_waiters();
    }

    /// How far it is ahead of true time (behind, if negative).
    pub fn ahead(&self) -> SignedDuration {
        self.now().duration_since(self.world.now())
    }

    /// The true time at which this clock will show `at`; none while it stands still.
    fn true_time_of(&self, at: Timestamp) -> Option<Timestamp> {
        let hand = self.hand();
        if hand.frozen { None } else { at.checked_sub(hand.offset).ok() }
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let world = self.world.now();
        let mut hand = self.hand();
        if !hand.frozen {
            hand.last = hand.last.max(world + hand.offset);
        }
        hand.last
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.now() >= at {
                return;
            }
            match self.true_time_of(at) {
                None => moved.await,
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
}

/// `at + span`, for spans as short as a simulation's.
pub fn plus(at: Timestamp, span: Duration) -> Timestamp {
    backroom::core::bounds::later(at, span)
}

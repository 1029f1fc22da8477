//! Enqueueing throughout, as an application does that goes on when an enqueue fails, and remembering what was
//! acknowledged.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, JobId,
    clock::{Clock, SystemClock},
};
use tokio::{sync::watch, task::JoinHandle};

use super::shift::Shift;

/// Callers that enqueue one job after the other.
const CALLERS: usize = 4;
/// Between two jobs of a caller, so that the crew keeps up.
const PAUSE: Duration = Duration::from_millis(4);

/// The numbers of the acknowledged jobs.
pub(crate) type Acknowledged = HashMap<JobId, u64>;

pub(crate) struct Feed {
    callers: Vec<JoinHandle<Acknowledged>>,
    is_over: Arc<AtomicBool>,
    count: watch::Receiver<u64>,
}

impl Feed {
    pub(crate) fn start(backroom: &Backroom) -> Self {
        let (counted, count) = watch::channel(0);
        let (is_over, numbers, counted) = (Arc::default(), Arc::new(AtomicU64::new(0)), Arc::new(counted));
        let caller = |_| {
            let (is_over, numbers) = (Arc::clone(&is_over), Arc::clone(&numbers));
            tokio::spawn(enqueue(backroom.clone(), is_over, numbers, Arc::clone(&counted)))
        };
        let callers = (0..CALLERS).map(caller).collect();
        Self { callers, is_over, count }
    }

    /// Returns when so many more jobs were acknowledged.
    pub(crate) async fn more(&self, jobs: u64) {
        let mut count = self.count.clone();
        let enough = *count.borrow() + jobs;
        let fed = tokio::time::timeout(Duration::from_secs(30), count.wait_for(|fed| *fed >= enough)).await;
        fed.expect("the store takes jobs").expect("the callers enqueue");
    }

    pub(crate) async fn stop(self) -> Acknowledged {
        self.is_over.store(true, Ordering::SeqCst);
        let mut all = HashMap::new();
        for caller in self.callers {
            all.extend(caller.await.unwrap());
        }
        all
    }
}

async fn enqueue(
    backroom: Backroom,
    is_over: Arc<AtomicBool>,
    numbers: Arc<AtomicU64>,
    counted: Arc<watch::Sender<u64>>,
) -> Acknowledged {
    let mut acknowledged = HashMap::new();
    while !is_over.load(Ordering::SeqCst) {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        // Most are short; some outlast their lease, so that it is renewed, or lost with its worker.
        let millis = if number.is_multiple_of(100) { 2500 } else { number % 20 };
        match backroom.enqueue(Shift { number, millis }).await {
            Ok(job) => {
                acknowledged.insert(job.id(), number);
                counted.send_modify(|count| *count += 1);
            }
            // Not acknowledged: it may be there or not.
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        SystemClock::default().sleep(PAUSE).await;
    }
    acknowledged
}

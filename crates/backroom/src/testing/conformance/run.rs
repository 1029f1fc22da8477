//! Runs all behaviours and collects what failed, so that one fault does not hide the others.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backroom_core::{Timestamp, bounds::later};
use futures_util::stream::{self, StreamExt as _};

use super::{BEHAVIOURS, Behaviour};
use crate::{
    clock::Clock,
    store::{Observed, Store},
    testing::faults::{Fault, Faults},
};

/// More writes than any behaviour makes: a store for which faults never end is broken in another way.
const WRITES_MAX: u64 = 1000;

/// Behaviours that run at the same time, each over a store of its own: most of a run over a file or a server is
/// waiting.
const AT_ONCE: usize = 4;

/// Runs every behaviour over a store that `fresh` makes for it, and closes that store afterwards. Panics at the end
/// with the list of those that failed; prints how many passed.
///
/// A few behaviours run at once, so stores from `fresh` must be empty and apart from each other: a file or a schema
/// each.
pub async fn conforms(fresh: impl AsyncFn() -> Arc<dyn Store>) {
    let once = async |behaviour| {
        let store = fresh().await;
        let outcome = attempt(behaviour, Arc::clone(&store)).await;
        close(&store).await;
        let failed = outcome.err().map(|why| format!("{behaviour:?}: {why}"));
        Tally { runs: 1, failed: Vec::from_iter(failed) }
    };
    let tally = all(|_| true, once).await;
    report("behaviours", tally.runs, &tally.failed);
}

/// Runs every behaviour through `Observed` over `Faults`, failing its first write before it reaches the store, then
/// its second, and so on until no write is left to fail; then the same with answers lost after the write took effect.
/// A read that is lost leaves no trace, so its repetition shows nothing of a store. Each run has a store of its own from `fresh`, as in
/// [`conforms`]. Panics at the end with the list of those that failed.
pub async fn conforms_under_faults(fresh: impl AsyncFn() -> Arc<dyn Store>) {
    under_faults(|_| true, fresh).await;
}

/// The same for the behaviours of some families: those that a variant of a store can change.
pub async fn families_conform_under_faults(families: &[&str], fresh: impl AsyncFn() -> Arc<dyn Store>) {
    for family in families {
        assert!(
            BEHAVIOURS.iter().any(|behaviour| behaviour.family() == *family),
            "no family is named {family}"
        );
    }
    under_faults(|behaviour| families.contains(&behaviour.family()), fresh).await;
}

async fn under_faults(wanted: impl Fn(&Behaviour) -> bool, fresh: impl AsyncFn() -> Arc<dyn Store>) {
    let until_untouched = async |behaviour| {
        let mut tally = Tally::default();
        for fault in [Fault::Before, Fault::After] {
            tally.add(under_fault(behaviour, fault, &fresh).await);
        }
        tally
    };
    let tally = all(wanted, until_untouched).await;
    report("runs under faults", tally.runs, &tally.failed);
}

#[derive(Default)]
struct Tally {
    runs: usize,
    failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.failed.extend(other.failed);
    }
}

async fn all(wanted: impl Fn(&Behaviour) -> bool, run: impl AsyncFn(&'static Behaviour) -> Tally) -> Tally {
    let mut all = Tally::default();
    // In the order of the registry, so that two lists of failures can be compared.
    let chosen = BEHAVIOURS.iter().filter(|behaviour| wanted(behaviour));
    let mut tallies = stream::iter(chosen).map(|behaviour| run(behaviour)).buffered(AT_ONCE);
    while let Some(tally) = tallies.next().await {
        all.add(tally);
    }
    all
}

async fn under_fault(behaviour: &Behaviour, fault: Fault, fresh: &impl AsyncFn() -> Arc<dyn Store>) -> Tally {
    let mut tally = Tally::default();
    for nth in 1..=WRITES_MAX {
        let store = fresh().await;
        let faults = Arc::new(Faults::new(Arc::clone(&store)));
        faults.fail_write(nth, fault);
        let observed = Observed::new(Arc::clone(&faults) as _, Arc::new(Hurried::default()));
        let outcome = attempt(behaviour, Arc::new(observed)).await;
        close(&store).await;
        tally.runs += 1;
        if let Err(why) = outcome {
            tally.failed.push(format!("{behaviour:?}, write {nth} lost {fault:?}: {why}"));
            return tally;
        }
        if faults.failed() == 0 {
            return tally;
        }
    }
    tally.failed.push(format!("{behaviour:?} makes more than {WRITES_MAX} writes"));
    tally
}

/// Runs one behaviour in a task of its own, so that its panic is an answer.
async fn attempt(behaviour: &Behaviour, store: Arc<dyn Store>) -> Result<(), String> {
    let behaviour = *behaviour;
    let outcome = tokio::spawn(async move { behaviour.run(store).await }).await;
    outcome.map_err(|error| match error.try_into_panic() {
        Ok(panic) => said(&*panic),
        Err(error) => error.to_string(),
    })
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").into()
}

pub(super) async fn close(store: &Arc<dyn Store>) {
    store.close().await.expect("a store closes");
}

#[expect(clippy::print_stdout, reason = "tests show it on demand, and it says that nothing was left out")]
pub(super) fn report(what: &str, all: usize, failed: &[String]) {
    println!("{} of {all} {what} passed", all - failed.len());
    assert!(failed.is_empty(), "{} of {all} {what} failed:\n{}", failed.len(), failed.join("\n"));
}

/// A clock on which every wait is over at once.
#[derive(Debug, Default)]
struct Hurried {
    passed: Mutex<Duration>,
}

#[async_trait]
impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, span: Duration) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) += span;
    }
}

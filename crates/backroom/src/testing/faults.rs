//! A store that fails on purpose, always at the same call.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use backroom_core::Change;
use tokio::sync::Notify;

use crate::{
    Error, ErrorKind,
    store::{
        Call, Store,
        layer::{Answer, Forward, Layer, Request, Verb},
    },
};

/// On which side of the store a call is lost. Either is a transient
/// [`Unavailable`](crate::ErrorKind::Unavailable): the caller cannot tell the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call never reaches the store.
    Before,
    /// The call takes effect and its answer is lost.
    After,
}

/// Wraps a store and fails chosen calls.
pub struct Faults {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
    healed: Notify,
    /// Calls that are not answered yet.
    under_way: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    calls: u64,
    /// Those of them that write.
    writes: u64,
    /// Which call fails, counted like `calls`, and how.
    once: Option<(u64, Fault)>,
    /// Which write fails, counted like `writes`, and how.
    write_once: Option<(u64, Fault)>,
    /// All fail until healed.
    cut: Option<Fault>,
    /// All writes fail until healed.
    writes_cut: Option<Fault>,
    /// This verb is refused until healed.
    refused: Option<(Verb, ErrorKind)>,
    /// This verb is not answered until healed.
    silent: Option<Verb>,
    /// Commits of texts beyond Latin-1 are refused until healed.
    latin1: bool,
    failed: u64,
}

/// What happens to one call instead.
#[derive(Debug, Clone, Copy)]
enum Instead {
    Lost(Fault),
    Refused(ErrorKind),
    Silent,
}

impl Faults {
    /// Forwards every call until it is given another plan.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, plan: Mutex::default(), healed: Notify::new(), under_way: AtomicU64::new(0) }
    }

    /// Fails the `nth` call from now (1 is the next one), once.
    pub fn fail_call(&self, nth: u64, fault: Fault) {
        let mut plan = self.plan();
        plan.once = Some((plan.calls + nth, fault));
    }

    /// Fails the `nth` write from now (1 is the next one), once. Reads are not counted.
    pub fn fail_write(&self, nth: u64, fault: Fault) {
        let mut plan = self.plan();
        plan.write_once = Some((plan.writes + nth, fault));
    }

    /// Fails every call from now until [`heal`](Self::heal).
    pub fn cut(&self, fault: Fault) {
        self.plan().cut = Some(fault);
    }

    /// Fails every write from now until [`heal`](Self::heal), while reads go on being answered: a server that became
    /// read-only, a file that another process holds.
    pub fn cut_writes(&self, fault: Fault) {
        self.plan().writes_cut = Some(fault);
    }

    /// Refuses every call of one verb with an error of this kind, before it reaches the store, until
    /// [`heal`](Self::heal).
    pub fn refuse(&self, verb: Verb, kind: ErrorKind) {
        self.plan().refused = Some((verb, kind));
    }

    /// Refuses every commit of a text with a character beyond Latin-1 until [`heal`](Self::heal), as a database of that
    /// encoding does.
    pub fn refuse_beyond_latin1(&self) {
        self.plan().latin1 = true;
    }

    /// Answers no call of one verb until [`heal`](Self::heal), although each takes effect; then their answers are lost: a
    /// server that hangs.
    pub fn hush(&self, verb: Verb) {
        self.plan().silent = Some(verb);
    }

    /// Fails no call from now on.
    pub fn heal(&self) {
        let mut plan = self.plan();
        *plan = Plan { calls: plan.calls, writes: plan.writes, failed: plan.failed, ..Plan::default() };
        drop(plan);
        self.healed.notify_waiters();
    }

    /// How many calls were made, failed ones included.
    pub fn calls(&self) -> u64 {
        self.plan().calls
    }

    /// How many calls are not answered yet. While there are some, a test clock that moves on measures the machine.
    pub fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Acquire)
    }

    /// How many calls were failed.
    pub fn failed(&self) -> u64 {
        self.plan().failed
    }

    /// Counts a call and says what is to happen to it.
    fn next(&self, verb: Verb) -> Option<Instead> {
        let mut plan = self.plan();
        plan.calls += 1;
        plan.writes += u64::from(verb.writes());
        let at =
            |once: Option<(u64, Fault)>, count| once.filter(|(nth, _)| *nth == count).map(|(_, fault)| fault);
        let write_once = at(plan.write_once.filter(|_| verb.writes()), plan.writes);
        let once = at(plan.once, plan.calls).or(write_once);
        let of_writes = plan.writes_cut.filter(|_| verb.writes());
        let refused = plan.refused.filter(|(refused, _)| *refused == verb).map(|(_, kind)| kind);
        let lost = plan.cut.or(once).or(of_writes).map(Instead::Lost);
        let silent = plan.silent.filter(|silent| *silent == verb).map(|_| Instead::Silent);
        let instead = lost.or(refused.map(Instead::Refused)).or(silent);
        plan.failed += u64::from(instead.is_some());
        instead
    }

    /// Fails a commit of a text that Latin-1 cannot hold, if the plan says so.
    fn refuse_encoding(&self, request: &Request) -> Result<(), Error> {
        let Request::Commit { changes } = request else { return Ok(()) };
        let mut plan = self.plan();
        if !plan.latin1 || !changes.iter().any(is_beyond_latin1) {
            return Ok(());
        }
        plan.failed += 1;
        let message = "commit: a character has no equivalent in encoding \"LATIN1\"";
        Err(Error::new(ErrorKind::Invalid, message))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Plain numbers: they are whole after every statement.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call until this is dropped.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    fn of(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_beyond_latin1(change: &Change) -> bool {
    let output = change.output.as_ref().map(|output| output.as_str());
    let error = change.attempt_ended().map(|attempt| attempt.error.as_str());
    let texts = [output, error, change.reason.as_deref()];
    texts.into_iter().flatten().any(|text| text.chars().any(|c| u32::from(c) > 0xff))
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &*self.plan()).finish_non_exhaustive()
    }
}

impl Layer for Faults {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn around<T: Answer>(&self, request: Request, call: Call, forward: Forward<T>) -> Result<T, Error> {
        let verb = request.verb();
        self.refuse_encoding(&request)?;
        let lost =
            |place| Error::new(ErrorKind::Unavailable, format!("{verb}: a fault was injected {place}"));
        let healed = self.healed.notified();
        let _under_way = UnderWay::of(&self.under_way);
        let send = || forward(Arc::clone(&self.inner), request.clone(), call);
        match self.next(verb) {
            None => send().await,
            Some(Instead::Silent) => {
                send().await?;
                healed.await;
                Err(lost("and it was not answered"))
            }
            Some(Instead::Lost(Fault::Before)) => Err(lost("before it reached the store")),
            Some(Instead::Lost(Fault::After)) => {
                send().await?;
                Err(lost("after it took effect"))
            }
            Some(Instead::Refused(kind)) => {
                Err(Error::new(kind, format!("{verb}: it is refused on purpose")))
            }
        }
    }
}

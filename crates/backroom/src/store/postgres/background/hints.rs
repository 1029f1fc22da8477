//! Notifications: listeners of this process at once, other processes by NOTIFY.
//!
//! One task gathers what to send. It sends the first notification at once, or after an idle worker of this process had
//! time to claim. What follows within a few milliseconds is sent together. So each queue is named at most once per
//! span, however many jobs are enqueued. And the statements that write jobs carry no NOTIFY: a transaction that
//! notifies takes a lock of the whole database.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom_core::{JobId, Timestamp};
use tokio::sync::Notify;
use tokio_postgres::{error::SqlState, types::Type};
use uuid::Uuid;

use crate::store::postgres::{
    verbs::frontier::{self, Frontiers},
    wire::{connection::Link, settings::Settings, sql::Sql, time::DatabaseTime},
};
use crate::{clock::Clock, ids::Ids, store::Notifier};

/// The least time between two NOTIFYs of one process.
const SPAN: Duration = Duration::from_millis(5);
/// How long the task waits if an idle worker of this process has been notified. Its claim is about to leave on the same
/// connection. Otherwise it would wait behind the NOTIFY, and behind the process that the NOTIFY wakes.
const AFTER_CLAIM: Duration = Duration::from_millis(1);
/// Most jobs named in one span; beyond that, all listeners to jobs are notified. A payload holds 8000 bytes.
const JOBS_MAX: usize = 200;

/// Sends payloads to other processes. Parameters: channel, payloads.
static NOTIFY: Sql = Sql {
    text: "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload",
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

/// The same inside a transaction of a caller: sent when it commits, and each queue once however often it is named. It
/// sends nothing while the server's queue of notifications is half full: a full one would fail the caller's commit.
/// Parameters: channel, payloads.
pub(crate) static NOTIFY_WITHIN: Sql = Sql {
    text: "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload WHERE pg_notification_queue_usage() < 0.5",
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

/// The origin of what a caller's transaction sends: every process must receive it, this one too.
const EVERY_PROCESS: &str = "0000000000000000";

/// A job was stored behind the present; its queue is named next. The second when the job is due may follow: then the
/// receiver decides whether that lies behind the present.
const BEHIND: &str = "b";

/// The payload of a caller's transaction for the job that is due first. Only its commit shows whether that lies behind
/// the present. To the whole second, so that a transaction sends few of them.
pub(crate) fn due_within(due_at: Timestamp) -> String {
    format!("{EVERY_PROCESS}{BEHIND}{}", due_at.as_second())
}

/// The payload of a caller's transaction for a queue.
pub(crate) fn payload_within(queue: &str) -> String {
    format!("{EVERY_PROCESS}q{queue}")
}

/// The channel of a schema.
pub(crate) fn channel(schema: &str) -> String {
    format!("backroom_{schema}")
}

/// The notifications of one store.
pub(crate) struct Hints {
    pub(crate) wakes: Arc<Notifier>,
    /// Marks the payloads of this process, which it ignores when it receives them.
    origin: String,
    notifies: AtomicBool,
    /// Where claims have come to; a job behind the present resets that.
    frontiers: Arc<Frontiers>,
    database_time: Arc<DatabaseTime>,
    pending: Mutex<Pending>,
    more: Notify,
    /// Locked while payloads are being sent.
    sending: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Pending {
    queues: BTreeSet<String>,
    reply_queues: BTreeSet<String>,
    jobs: Vec<Uuid>,
    many_jobs: bool,
    cancels: bool,
    schedules: bool,
    is_behind: bool,
    /// Whether any of it was not received by an idle worker of this process.
    is_urgent: bool,
}

impl Hints {
    pub(crate) fn new(notifies: bool, frontiers: Arc<Frontiers>, database_time: Arc<DatabaseTime>) -> Self {
        let mut origin = Ids::from_entropy().lease().0.simple().to_string();
        origin.truncate(16);
        let (pending, more, sending) = (Mutex::default(), Notify::new(), tokio::sync::Mutex::default());
        let notifies = AtomicBool::new(notifies);
        Self { wakes: Arc::default(), origin, notifies, frontiers, database_time, pending, more, sending }
    }

    /// A job of this queue may be due.
    pub(crate) fn queue(&self, queue: &str) {
        let is_heard = self.wakes.notify_queue(queue);
        self.add(|pending| {
            pending.is_urgent |= !is_heard;
            if !pending.queues.contains(queue) {
                pending.queues.insert(queue.to_owned());
            }
        });
    }

    /// A job was stored where claims may have passed already: by its own timestamp it has been due for long. Called
    /// before its queue is named.
    pub(crate) fn behind(&self) {
        self.frontiers.put_behind();
        self.add(|pending| pending.is_behind = true);
    }

    /// Whether a job that is stored by now, and due at a moment, may lie behind the places at which claims begin. It
    /// may have been committed long after it was made.
    pub(crate) fn is_behind(&self, due_at: Timestamp) -> bool {
        self.database_time.now().is_none_or(|now| frontier::is_behind(due_at, now))
    }

    /// This job changed.
    pub(crate) fn job(&self, id: JobId) {
        self.jobs([id].into_iter());
    }

    /// These jobs changed.
    pub(crate) fn jobs(&self, ids: impl Iterator<Item = JobId> + Clone) {
        self.jobs_here(ids.clone());
        self.add(|pending| {
            pending.is_urgent = true;
            for id in ids {
                if pending.jobs.len() >= JOBS_MAX {
                    pending.many_jobs = true;
                    return;
                }
                pending.jobs.push(id.0);
            }
        });
    }

    /// These jobs changed in a way that only listeners of this process need at once. A claim notifies no other process:
    /// no caller waits for it, and there would be as many notifications as jobs.
    pub(crate) fn jobs_here(&self, ids: impl Iterator<Item = JobId>) {
        if self.wakes.has_listeners() {
            ids.for_each(|id| self.wakes.notify_job(id));
        }
    }

    /// This reply queue has a message for a taker.
    pub(crate) fn replies(&self, queue: &str) {
        self.wakes.notify_replies(queue);
        self.add(|pending| {
            pending.is_urgent = true;
            if !pending.reply_queues.contains(queue) {
                pending.reply_queues.insert(queue.to_owned());
            }
        });
    }

    /// A running job was asked to stop.
    pub(crate) fn cancel(&self) {
        self.wakes.notify_cancels();
        self.add(|pending| {
            pending.is_urgent = true;
            pending.cancels = true;
        });
    }

    /// The turn of a schedule may have come.
    pub(crate) fn schedules(&self) {
        self.wakes.notify_schedules();
        self.add(|pending| {
            pending.is_urgent = true;
            pending.schedules = true;
        });
    }

    /// Edges are left to settle. This process goes on with that at once; others find them from time to time.
    pub(crate) fn edges(&self) {
        self.wakes.notify_edges();
    }

    fn add(&self, add: impl FnOnce(&mut Pending)) {
        if self.notifies.load(Ordering::Relaxed) {
            add(&mut self.pending());
            self.more.notify_one();
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the payloads to send.
    fn payloads(&self) -> Vec<String> {
        let pending = std::mem::take(&mut *self.pending());
        let origin = &self.origin;
        let mut payloads = Vec::new();
        if pending.is_behind {
            payloads.push(format!("{origin}{BEHIND}"));
        }
        payloads.extend(pending.queues.iter().map(|queue| format!("{origin}q{queue}")));
        payloads.extend(pending.reply_queues.iter().map(|queue| format!("{origin}r{queue}")));
        if pending.cancels {
            payloads.push(format!("{origin}c"));
        }
        if pending.schedules {
            payloads.push(format!("{origin}s"));
        }
        if pending.many_jobs {
            payloads.push(format!("{origin}m"));
        } else if !pending.jobs.is_empty() {
            let mut payload = format!("{origin}j");
            for id in &pending.jobs {
                _ = write!(payload, "{}", id.simple());
            }
            payloads.push(payload);
        }
        payloads
    }

    /// Notifies the listeners of this process of a payload that another process sent.
    pub(crate) fn receive(&self, payload: &str) {
        let Some((origin, rest)) = payload.split_at_checked(16) else { return };
        if origin == self.origin {
            return;
        }
        let Some((what, rest)) = rest.split_at_checked(1) else { return };
        match what {
            "q" => _ = self.wakes.notify_queue(rest),
            "r" => self.wakes.notify_replies(rest),
            BEHIND => {
                let due_at = rest.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
                if due_at.is_none_or(|due_at| self.is_behind(due_at)) {
                    self.frontiers.put_behind();
                }
            }
            "c" => self.wakes.notify_cancels(),
            "s" => self.wakes.notify_schedules(),
            "m" => self.wakes.notify_jobs(),
            "j" => rest
                .as_bytes()
                .chunks(32)
                .filter_map(|digits| Uuid::try_parse_ascii(digits).ok())
                .for_each(|id| self.wakes.notify_job(JobId(id))),
            // A payload of a newer program: something changed, so every listener checks.
            _ => self.wakes.notify_all(),
        }
    }
}

/// Sends what is pending, again and again, until the store is closed.
pub(crate) async fn send(hints: Arc<Hints>, link: Arc<Link>, settings: Arc<Settings>) {
    let channel = channel(settings.schema());
    loop {
        tokio::select! {
            () = hints.more.notified() => {}
            () = settings.closed.cancelled() => return,
        }
        if !hints.pending().is_urgent {
            settings.clock.sleep(AFTER_CLAIM).await;
        }
        send_pending(&hints, &link, &channel).await;
        settings.clock.sleep(SPAN).await;
    }
}

/// How long a store that is being closed waits until its last notifications are sent.
const LAST_SEND: Duration = Duration::from_secs(1);

/// Sends what is pending before the connections are dropped.
pub(crate) async fn finish(hints: &Hints, link: &Link, settings: &Settings) {
    let channel = channel(settings.schema());
    if tokio::time::timeout(LAST_SEND, send_pending(hints, link, &channel)).await.is_err() {
        tracing::debug!("the store was closed before all notifications were sent");
    }
}

/// Sends what is pending, after what is being sent.
async fn send_pending(hints: &Hints, link: &Link, channel: &String) {
    let _turn = hints.sending.lock().await;
    let payloads = hints.payloads();
    if payloads.is_empty() {
        return;
    }
    if let Err(fault) = link.query(&NOTIFY, &[channel, &payloads]).await {
        let is_unknown = fault.code().is_some_and(|code| {
            *code == SqlState::FEATURE_NOT_SUPPORTED || *code == SqlState::UNDEFINED_FUNCTION
        });
        let error = fault.into_error("notify other processes of new work");
        if is_unknown {
            hints.notifies.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "this server knows no NOTIFY; other processes find work by polling");
        } else {
            // A lost notification costs time only.
            tracing::debug!(%error, "a notification was lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use backroom_core::bounds::{earlier, later};

    use super::*;

    fn hints(now: Timestamp) -> Hints {
        let database_time = Arc::<DatabaseTime>::default();
        database_time.set(now);
        Hints::new(true, Arc::default(), database_time)
    }

    #[test]
    fn a_job_of_a_callers_transaction_lies_behind_the_present_if_it_is_committed_long_after_it_was_due() {
        let now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(2_000_000_000));
        let hints = hints(now);
        let before = hints.frontiers.times_put_behind();
        hints.receive(&due_within(now));
        hints.receive(&due_within(later(now, Duration::from_secs(30))));
        assert_eq!(hints.frontiers.times_put_behind(), before, "it was committed in time");
        hints.receive(&due_within(earlier(now, Duration::from_secs(10))));
        assert_eq!(hints.frontiers.times_put_behind(), before + 1);
        hints.receive(&format!("{EVERY_PROCESS}{BEHIND}"));
        assert_eq!(
            hints.frontiers.times_put_behind(),
            before + 2,
            "a program of an earlier version sends no moment"
        );
    }

    #[test]
    fn a_job_lies_behind_the_present_by_the_databases_time_and_not_by_the_time_of_the_call() {
        let called_at = later(Timestamp::UNIX_EPOCH, Duration::from_secs(2_000_000_000));
        assert!(!hints(called_at).is_behind(called_at));
        assert!(hints(later(called_at, Duration::from_secs(10))).is_behind(called_at), "it was stored late");
    }
}

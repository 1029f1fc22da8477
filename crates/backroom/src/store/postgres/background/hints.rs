//! Telling others that something happened: listeners of this process at once, other processes by NOTIFY.
//!
//! What is to be told is gathered and sent by one task: the first word at once, or once an idle worker of this process had
//! its chance; what follows within a few milliseconds together. So a queue is named at most once per span however many jobs
//! go in, and the hot writes carry no NOTIFY: a transaction that notifies takes a lock that the whole database shares.

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
    wire::{settings::Settings, sql::Sql, time::DatabaseTime},
};
use crate::{clock::Clock, ids::Ids, store::Wakes};

/// The least time between two NOTIFYs of one process.
const SPAN: Duration = Duration::from_millis(5);
/// How long others wait for a word that an idle worker of this process has heard: its claim is about to leave on the same
/// connection and would queue up behind the word, and behind the process that the word wakes.
const AFTER_CLAIM: Duration = Duration::from_millis(1);
/// Most jobs named in one span; more are told as "many". A payload holds 8000 bytes.
const JOBS_MAX: usize = 200;

/// Sends words to other processes. Parameters: channel, words.
static NOTIFY: Sql = Sql {
    text: "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word",
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

/// The same inside a transaction of a caller: sent when it commits, and each queue once however often it is named. Left out
/// while the server's queue of notifications is half full: full, it would fail the caller's commit. Parameters: channel, words.
pub(crate) static NOTIFY_WITHIN: Sql = Sql {
    text: "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word WHERE pg_notification_queue_usage() < 0.5",
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

/// Marks what is sent at the commit of a caller's transaction, which every process is to hear: this one, too.
const NOBODY: &str = "0000000000000000";

/// Says that a job was put behind the present; its queue is named next. Behind it may stand the second when a job is
/// due: then who receives it decides whether that lies behind the present.
const BEHIND: &str = "b";

/// What a caller's transaction sends for the job that is due first. Only its commit shows whether that lies behind the present.
/// To the whole second, so that a transaction sends few of them.
pub(crate) fn due_within(due_at: Timestamp) -> String {
    format!("{NOBODY}{BEHIND}{}", due_at.as_second())
}

/// What a caller's transaction sends for a queue.
pub(crate) fn word_within(queue: &str) -> String {
    format!("{NOBODY}q{queue}")
}

/// The channel of a schema.
pub(crate) fn channel(schema: &str) -> String {
    format!("backroom_{schema}")
}

/// The bell of one store.
pub(crate) struct Hints {
    pub(crate) wakes: Arc<Wakes>,
    /// Marks our own words, which this process need not hear again.
    origin: String,
    is_told: AtomicBool,
    /// What a job behind the present is said to.
    frontiers: Arc<Frontiers>,
    database_time: Arc<DatabaseTime>,
    pending: Mutex<Pending>,
    more: Notify,
    /// Held while words are on their way.
    telling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Pending {
    queues: BTreeSet<String>,
    jobs: Vec<Uuid>,
    many_jobs: bool,
    cancels: bool,
    is_behind: bool,
    /// Whether there is anything that no idle worker of this process has heard.
    is_urgent: bool,
}

impl Hints {
    pub(crate) fn new(is_told: bool, frontiers: Arc<Frontiers>, database_time: Arc<DatabaseTime>) -> Self {
        let mut origin = Ids::from_entropy().lease().0.simple().to_string();
        origin.truncate(16);
        let (pending, more, telling) = (Mutex::default(), Notify::new(), tokio::sync::Mutex::default());
        let is_told = AtomicBool::new(is_told);
        Self { wakes: Arc::default(), origin, is_told, frontiers, database_time, pending, more, telling }
    }

    /// A job of this queue may be due.
    pub(crate) fn queue(&self, queue: &str) {
        let is_heard = self.wakes.ring_queue(queue);
        self.tell(|pending| {
            pending.is_urgent |= !is_heard;
            if !pending.queues.contains(queue) {
                pending.queues.insert(queue.to_owned());
            }
        });
    }

    /// A job was put where claims may have passed already: it has been due for long, by its own account. Said before its
    /// queue is named.
    pub(crate) fn behind(&self) {
        self.frontiers.put_behind();
        self.tell(|pending| pending.is_behind = true);
    }

    /// Whether a job that is stored by now, and due at a moment, may lie behind the places that claims use: it may have
    /// been committed long after it was made.
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
        self.tell(|pending| {
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

    /// These jobs changed, in a way that only listeners of this process hear at once: a claim is told to no other
    /// process, because nobody waits for it and there would be as many words as jobs.
    pub(crate) fn jobs_here(&self, ids: impl Iterator<Item = JobId>) {
        if self.wakes.anybody_listens() {
            ids.for_each(|id| self.wakes.ring_job(id));
        }
    }

    /// A running job was asked to stop.
    pub(crate) fn cancel(&self) {
        self.wakes.ring_cancels();
        self.tell(|pending| {
            pending.is_urgent = true;
            pending.cancels = true;
        });
    }

    fn tell(&self, add: impl FnOnce(&mut Pending)) {
        if self.is_told.load(Ordering::Relaxed) {
            add(&mut self.pending());
            self.more.notify_one();
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to send.
    fn words(&self) -> Vec<String> {
        let pending = std::mem::take(&mut *self.pending());
        let origin = &self.origin;
        let mut words = Vec::new();
        if pending.is_behind {
            words.push(format!("{origin}{BEHIND}"));
        }
        words.extend(pending.queues.iter().map(|queue| format!("{origin}q{queue}")));
        if pending.cancels {
            words.push(format!("{origin}c"));
        }
        if pending.many_jobs {
            words.push(format!("{origin}m"));
        } else if !pending.jobs.is_empty() {
            let mut word = format!("{origin}j");
            for id in &pending.jobs {
                _ = write!(word, "{}", id.simple());
            }
            words.push(word);
        }
        words
    }

    /// Rings for a word that another process sent.
    pub(crate) fn hear(&self, word: &str) {
        let Some((origin, word)) = word.split_at_checked(16) else { return };
        if origin == self.origin {
            return;
        }
        let Some((what, rest)) = word.split_at_checked(1) else { return };
        match what {
            "q" => _ = self.wakes.ring_queue(rest),
            BEHIND => {
                let due_at = rest.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
                if due_at.is_none_or(|due_at| self.is_behind(due_at)) {
                    self.frontiers.put_behind();
                }
            }
            "c" => self.wakes.ring_cancels(),
            "m" => self.wakes.ring_jobs(),
            "j" => rest
                .as_bytes()
                .chunks(32)
                .filter_map(|digits| Uuid::try_parse_ascii(digits).ok())
                .for_each(|id| self.wakes.ring_job(JobId(id))),
            // A newer program's word: something happened, look at everything.
            _ => self.wakes.ring_all(),
        }
    }
}

/// Sends what is to be told, until the store is closed.
pub(crate) async fn send(
    hints: Arc<Hints>,
    link: Arc<crate::store::postgres::wire::connection::Link>,
    settings: Arc<Settings>,
) {
    let channel = channel(settings.schema());
    loop {
        tokio::select! {
            () = hints.more.notified() => {}
            () = settings.closed.cancelled() => return,
        }
        if !hints.pending().is_urgent {
            settings.clock.sleep(AFTER_CLAIM).await;
        }
        tell(&hints, &link, &channel).await;
        settings.clock.sleep(SPAN).await;
    }
}

/// How long a store that is closed waits for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells what nobody was told yet, before the connections are dropped.
pub(crate) async fn finish(
    hints: &Hints,
    link: &crate::store::postgres::wire::connection::Link,
    settings: &Settings,
) {
    let channel = channel(settings.schema());
    if tokio::time::timeout(LAST_WORDS, tell(hints, link, &channel)).await.is_err() {
        tracing::debug!("the last hints were not told in time");
    }
}

/// Sends the words that wait, after those that are on their way.
async fn tell(hints: &Hints, link: &crate::store::postgres::wire::connection::Link, channel: &String) {
    let _telling = hints.telling.lock().await;
    let words = hints.words();
    if words.is_empty() {
        return;
    }
    if let Err(fault) = link.query(&NOTIFY, &[channel, &words]).await {
        let is_unknown = fault.code().is_some_and(|code| {
            *code == SqlState::FEATURE_NOT_SUPPORTED || *code == SqlState::UNDEFINED_FUNCTION
        });
        let error = fault.into_error("tell other processes of new work");
        if is_unknown {
            hints.is_told.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "this server knows no NOTIFY; other processes find work by polling");
        } else {
            // A hint that is lost costs time only.
            tracing::debug!(%error, "a hint was lost");
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
        hints.hear(&due_within(now));
        hints.hear(&due_within(later(now, Duration::from_secs(30))));
        assert_eq!(hints.frontiers.times_put_behind(), before, "it was committed in time");
        hints.hear(&due_within(earlier(now, Duration::from_secs(10))));
        assert_eq!(hints.frontiers.times_put_behind(), before + 1);
        hints.hear(&format!("{NOBODY}{BEHIND}"));
        assert_eq!(
            hints.frontiers.times_put_behind(),
            before + 2,
            "a program of an earlier version says no moment"
        );
    }

    #[test]
    fn a_job_lies_behind_the_present_by_the_databases_time_and_not_by_the_time_of_the_call() {
        let called_at = later(Timestamp::UNIX_EPOCH, Duration::from_secs(2_000_000_000));
        assert!(!hints(called_at).is_behind(called_at));
        assert!(hints(later(called_at, Duration::from_secs(10))).is_behind(called_at), "it was stored late");
    }
}

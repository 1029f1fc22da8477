//! What all connections of a store share, and the settings of their sessions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_postgres::Config;
use tokio_util::sync::CancellationToken;

use super::{
    error::unconnected,
    options::{CONNECT_TIMEOUT, PostgresOptions},
    sql::Sql,
    tls::Tls,
};
use crate::{Error, ErrorKind, clock::SystemClock, store::Durability};

/// What all connections of a store share.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    pub(crate) options: PostgresOptions,
    pub(crate) shown: String,
    /// Cancelled when the store is closed.
    pub(crate) closed: CancellationToken,
    /// For the store's own waits: for a database that is away, not for jobs.
    pub(crate) clock: SystemClock,
    pub(crate) is_away: AtomicBool,
    /// The statements with the schema's name filled in.
    texts: Mutex<HashMap<usize, Arc<str>>>,
    /// Begins a transaction behind a pooler, by the duty of the connection.
    pub(crate) begin_by_index: String,
    pub(crate) begin_anything: String,
}

impl Settings {
    pub(crate) fn new(config: Config, tls: Tls, options: PostgresOptions, shown: String) -> Self {
        Self {
            begin_by_index: begin_with_settings(&options, Duty::ByIndex),
            begin_anything: begin_with_settings(&options, Duty::Anything),
            config,
            tls,
            options,
            shown,
            closed: CancellationToken::new(),
            clock: SystemClock::default(),
            is_away: AtomicBool::new(false),
            texts: Mutex::default(),
        }
    }

    /// Longest time to connect, from the first packet to the end of the handshake, for all hosts together. A network
    /// that drops packets, or a proxy without a server behind it, never answers.
    fn connect_timeout(&self) -> Duration {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT).saturating_mul(hosts)
    }

    /// Connects, or fails with the reason.
    pub(crate) async fn within_connect_timeout<T>(
        &self,
        connecting: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let reach = || format!("connect to PostgreSQL at {}", self.shown);
        let timeout = self.connect_timeout();
        match tokio::time::timeout(timeout, connecting).await {
            Ok(connected) => {
                connected.map_err(|error| unconnected(error, &reach(), self.config.get_ssl_mode()))
            }
            Err(_) => {
                Err(Error::new(ErrorKind::Unavailable, format!("{}: no answer in {timeout:?}", reach())))
            }
        }
    }

    pub(crate) fn schema(&self) -> &str {
        &self.options.schema
    }

    pub(crate) fn text(&self, sql: &'static Sql) -> Arc<str> {
        // The map is whole after every statement; a panic elsewhere does not damage it.
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(texts.entry(sql.key()).or_insert_with(|| sql.for_schema(self.schema()).into()))
    }

    pub(crate) fn is_session_ours(&self) -> bool {
        self.options.listen
    }

    /// Debug level: the decorator of every store has reported the outage already.
    pub(crate) fn report_away(&self, error: &Error) {
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::debug!(postgres = %self.shown, %error, "PostgreSQL cannot be reached; the store tries again until it can");
        }
    }

    pub(crate) fn report_back(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::debug!(postgres = %self.shown, "PostgreSQL is back");
        }
    }
}

/// The duty of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Statements that find a few rows by index.
    ByIndex,
    /// Any statement, including slow ones that read whole tables.
    Anything,
}

/// The statements of the store find rows by index only. The planner must not choose a hash or sequential plan while its
/// statistics are wrong, as they always are for a queue that fills and empties within seconds. A nested loop over the
/// sorted ids of a batch also makes two batches lock rows in the same order. So no plan depends on the parameters, and
/// planning again for each of them would cost a small batch as much as the batch itself.
///
/// No statement waits long for a lock. The ends of runs use the same connection, and a program that enqueues a unique
/// key in its own transaction may lock that key's row for as long as it likes ([`Wait`]).
const BY_INDEX: [&str; 7] = [
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "enable_seqscan=off",
    "enable_bitmapscan=off",
    "jit=off",
    "plan_cache_mode=force_generic_plan",
    "lock_timeout=2000",
];

/// Begins each transaction. The statements read a row again that another transaction has changed meanwhile, and rely on
/// a fresh snapshot per statement. So the isolation level is explicit, whatever the default of the database or the
/// role.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Settings of a direct connection besides [`session_settings`]. The isolation level is for statements that are a
/// transaction by themselves. The server notices within half a minute that this machine is gone, and then releases its
/// locks. It does not close an idle connection.
const SESSION: [&str; 6] = [
    "default_transaction_isolation=read\\ committed",
    "idle_session_timeout=0",
    "tcp_keepalives_idle=10",
    "tcp_keepalives_interval=5",
    "tcp_keepalives_count=3",
    "tcp_user_timeout=20000",
];

/// Settings that override those of a role or a database, which would break our sessions. They say where names are
/// searched, and how long a transaction may wait for its next statement. The latter also unlocks the rows of a process
/// whose machine is gone.
const OURS: [&str; 2] = ["search_path=pg_catalog", "idle_in_transaction_session_timeout=60000"];

/// A migration waits for another process that migrates, without a limit.
const PATIENT: &str = "lock_timeout=0";

/// Sets [`Wait::Briefly`] for the rest of a transaction.
pub(crate) const WAIT_BRIEFLY: &str = "SET LOCAL lock_timeout = 100";

/// The same as a statement.
pub(crate) static BRIEFLY: Sql = Sql { text: WAIT_BRIEFLY, types: &[] };

/// How long a statement waits for rows that another transaction has locked, before it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Two seconds: most transactions of callers have ended by then, unless one was left open.
    Usual,
    /// A tenth of a second: longer than any statement of the store holds a row lock, and short enough to wait for one
    /// row after the other.
    Briefly,
}

/// Startup options of a direct connection.
pub(crate) fn startup_options(settings: &Settings, duty: Duty) -> String {
    let mut options = settings.config.get_options().unwrap_or_default().to_owned();
    let ours = session_settings(&settings.options, duty);
    for setting in SESSION.into_iter().chain(ours.iter().map(String::as_str)) {
        options.push_str(" -c ");
        options.push_str(setting);
    }
    options
}

/// The same behind a pooler, where settings last as long as a transaction.
fn begin_with_settings(options: &PostgresOptions, duty: Duty) -> String {
    let set = |setting: String| format!("; SET LOCAL {setting}");
    std::iter::once(BEGIN.to_owned()).chain(session_settings(options, duty).into_iter().map(set)).collect()
}

/// The server cancels statements that take too long. Otherwise a statement that this program has given up could take
/// effect much later, when the program has repeated it and the job has run.
fn session_settings(options: &PostgresOptions, duty: Duty) -> Vec<String> {
    let by_index = match duty {
        Duty::ByIndex => BY_INDEX.as_slice(),
        Duty::Anything => &[PATIENT],
    };
    let relaxed = match options.durability {
        Durability::Full => None,
        Durability::Relaxed => Some("synchronous_commit=off"),
    };
    let timeout = format!("statement_timeout={}", options.statement_timeout.as_millis());
    OURS.iter().chain(by_index).copied().chain(relaxed).map(str::to_owned).chain([timeout]).collect()
}

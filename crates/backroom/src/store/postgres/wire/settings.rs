//! What all connections of a store share, and what the server is told of each.

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
    /// The store's own waits: for a database that is away, not for jobs.
    pub(crate) clock: SystemClock,
    pub(crate) is_away: AtomicBool,
    /// Our statements with the schema's name in them.
    texts: Mutex<HashMap<usize, Arc<str>>>,
    /// What begins a transaction on a connection that is nobody's, by what the connection is for.
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

    /// Longest time that connecting may take, from the first packet to the end of the handshake: so long for each host. A
    /// network that drops packets, or a proxy without a server behind it, answers nothing.
    fn connect_timeout(&self) -> Duration {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT).saturating_mul(hosts)
    }

    /// Connects, or says why it could not.
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
        // Whole after every statement; a panic elsewhere does not damage it.
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(texts.entry(sql.key()).or_insert_with(|| sql.for_schema(self.schema()).into()))
    }

    pub(crate) fn is_session_ours(&self) -> bool {
        self.options.listen
    }

    /// For whoever looks closely: the decorator of every store has told of it already.
    pub(crate) fn report_away(&self, error: &Error) {
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::debug!(postgres = %self.shown, %error, "PostgreSQL cannot be reached; trying again until it can");
        }
    }

    pub(crate) fn report_back(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::debug!(postgres = %self.shown, "PostgreSQL is back");
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Statements that find a few rows by index.
    ByIndex,
    /// Anything, slow looks at everything included.
    Anything,
}

/// Our statements find rows by index alone. The planner must not be tempted by a hash or sequential plan while its
/// statistics are wrong, as they always are for a queue that fills and empties within seconds; and a nested loop over
/// the sorted ids of a batch is also what keeps two batches from locking rows in opposite orders. So a plan never depends on
/// the parameters either, and to make it anew for each of them would cost a small batch as much as the batch itself.
///
/// And they wait for nobody's lock for long: what ends runs goes the same way, and a program that enqueues a key in a
/// transaction of its own may keep that key's row for as long as it likes ([`Wait`]).
const BY_INDEX: [&str; 7] = [
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "enable_seqscan=off",
    "enable_bitmapscan=off",
    "jit=off",
    "plan_cache_mode=force_generic_plan",
    "lock_timeout=2000",
];

/// Begins each transaction of ours. Our statements look again at a row that another transaction has changed meanwhile, and
/// count on a fresh snapshot for each statement: so the isolation is named, whatever the default of the database or the role is.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// What a connection of our own begins with besides [`session_settings`]. The isolation is for statements that are a transaction
/// by themselves. The server learns within half a minute that this machine is gone, and then gives up its locks. It does
/// not end a connection only because nothing was asked on it.
const SESSION: [&str; 6] = [
    "default_transaction_isolation=read\\ committed",
    "idle_session_timeout=0",
    "tcp_keepalives_idle=10",
    "tcp_keepalives_interval=5",
    "tcp_keepalives_count=3",
    "tcp_user_timeout=20000",
];

/// What a role or a database may have set for its own sessions and would break ours: where names are looked up, and how long a
/// transaction may wait for its next statement. The latter also frees the rows of a process whose machine is gone.
const OURS: [&str; 2] = ["search_path=pg_catalog", "idle_in_transaction_session_timeout=60000"];

/// A migration waits for another process that migrates, however long that takes.
const PATIENT: &str = "lock_timeout=0";

/// Sets [`Wait::Briefly`] for the rest of a transaction.
pub(crate) const WAIT_BRIEFLY: &str = "SET LOCAL lock_timeout = 100";

/// The same as a statement.
pub(crate) static BRIEFLY: Sql = Sql { text: WAIT_BRIEFLY, types: &[] };

/// How long a statement waits for rows that another transaction holds, before it fails as locked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Two seconds: a caller's transaction has ended by then, unless it was left open.
    Usual,
    /// A tenth of a second: longer than any statement of ours holds a row, and short enough for one row after the other.
    Briefly,
}

/// What a connection of our own says of itself when it begins.
pub(crate) fn startup_options(settings: &Settings, duty: Duty) -> String {
    let mut options = settings.config.get_options().unwrap_or_default().to_owned();
    let ours = session_settings(&settings.options, duty);
    for setting in SESSION.into_iter().chain(ours.iter().map(String::as_str)) {
        options.push_str(" -c ");
        options.push_str(setting);
    }
    options
}

/// The same where it is nobody's, and settings last as long as a transaction.
fn begin_with_settings(options: &PostgresOptions, duty: Duty) -> String {
    let set = |setting: String| format!("; SET LOCAL {setting}");
    std::iter::once(BEGIN.to_owned()).chain(session_settings(options, duty).into_iter().map(set)).collect()
}

/// The server ends what takes too long: what this program has given up must not take effect much later, when it was
/// repeated and its job has run.
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

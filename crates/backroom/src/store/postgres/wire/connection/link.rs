//! A connection that is made again when it is lost.

use std::{
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use tokio_postgres::{Row, types::Type};

use super::{Bound, Live, OnNotification, Param, RowsOfEach, Transaction, locked};
use crate::{
    Error,
    clock::Clock as _,
    store::postgres::wire::{
        error::Fault,
        home::Home,
        settings::{BRIEFLY, Duty, Settings, Wait},
        sql::Sql,
    },
};

/// The wait before the next attempt after the first failure; doubled with each further failure up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);

/// How long [`Link::end`] waits for the answers of a connection before it drops the connection.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// A connection that comes back.
pub(crate) struct Link {
    settings: Arc<Settings>,
    duty: Duty,
    on_notification: Option<OnNotification>,
    /// The thread that drives the connection; none if the runtime of the caller that connects drives it.
    home: Option<Home>,
    live: Mutex<Option<Arc<Live>>>,
    connecting: tokio::sync::Mutex<Attempts>,
    /// Used while this connection cannot be made: a server that has no connection left for us may still serve that one.
    substitute: OnceLock<Weak<Self>>,
}

#[derive(Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Duration>,
}

impl Link {
    pub(crate) fn new(settings: Arc<Settings>, duty: Duty, on_notification: Option<OnNotification>) -> Self {
        let (live, connecting, substitute) =
            (Mutex::default(), tokio::sync::Mutex::default(), OnceLock::new());
        Self { settings, duty, on_notification, home: None, live, connecting, substitute }
    }

    /// A link whose connection has a thread of its own.
    pub(crate) fn with_home(settings: Arc<Settings>, duty: Duty) -> Self {
        Self { home: Some(Home::default()), ..Self::new(settings, duty, None) }
    }

    async fn connect(&self) -> Result<Live, Error> {
        let connecting = Live::connect(Arc::clone(&self.settings), self.duty, self.on_notification.clone());
        match &self.home {
            Some(home) => home.run(connecting).await?,
            None => connecting.await,
        }
    }

    /// While this connection cannot be made, callers use the connection of `other`, if that one lives.
    pub(crate) fn substitute(&self, other: &Arc<Self>) {
        // Set once, when the store is made.
        let _ = self.substitute.set(Arc::downgrade(other));
    }

    /// The living connection, made if there is none; or that of the substitute, if it lives and this one cannot be made now.
    async fn usable(&self) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.living() {
            return Ok(live);
        }
        let other = || self.substitute.get().and_then(Weak::upgrade).and_then(|link| link.living());
        // A caller waits neither for another caller that connects already, nor for the pause after a failure.
        if let (Some(other), true) = (other(), self.is_connecting()) {
            return Ok(other);
        }
        self.live().await.or_else(|error| other().ok_or(error))
    }

    fn is_connecting(&self) -> bool {
        let attempts = self.connecting.try_lock();
        attempts.map_or(true, |attempts| {
            attempts.not_before.is_some_and(|not_before| not_before > self.settings.clock.monotonic())
        })
    }

    /// The living connection; made if there is none.
    pub(crate) async fn live(&self) -> Result<Arc<Live>, Error> {
        if self.settings.closed.is_cancelled() {
            return Err(Error::closed("store"));
        }
        if let Some(live) = self.living() {
            return Ok(live);
        }
        // One caller connects; the others wait for the result.
        let mut attempts = self.connecting.lock().await;
        if let Some(live) = self.living() {
            return Ok(live);
        }
        if let Some(not_before) = attempts.not_before {
            self.settings.clock.sleep_to(not_before).await;
        }
        match self.connect().await {
            Ok(live) => {
                *attempts = Attempts::default();
                self.settings.report_back();
                let live = Arc::new(live);
                *locked(&self.live) = Some(Arc::clone(&live));
                Ok(live)
            }
            Err(error) => {
                let wait = BACKOFF_FIRST * 2u32.saturating_pow(attempts.failed.min(10));
                attempts.failed += 1;
                let now = self.settings.clock.monotonic();
                attempts.not_before = Some(now.saturating_add(wait.min(BACKOFF_LONGEST)));
                if error.is_transient() {
                    self.settings.report_away(&error);
                }
                Err(error)
            }
        }
    }

    fn living(&self) -> Option<Arc<Live>> {
        locked(&self.live).as_ref().filter(|live| live.is_alive()).map(Arc::clone)
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let live = self.usable().await?;
        let _turn = live.turn.read().await;
        live.query(sql, params).await
    }

    /// Runs one statement, with a limit on its wait for each row that another transaction has locked.
    pub(crate) async fn query_waiting(
        &self,
        wait: Wait,
        sql: &'static Sql,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Fault> {
        match wait {
            Wait::Usual => self.query(sql, params).await,
            Wait::Briefly => {
                let mut answers = self.all_or_none(&[(&BRIEFLY, Vec::new()), (sql, params.to_vec())]).await?;
                Ok(answers.pop().unwrap_or_default())
            }
        }
    }

    /// Runs one statement whose text the caller has composed.
    pub(crate) async fn query_text(
        &self,
        text: &str,
        params: &[(Param<'_>, Type)],
    ) -> Result<Vec<Row>, Fault> {
        let live = self.usable().await?;
        let _turn = live.turn.read().await;
        live.query_text(text, params).await
    }

    /// Runs statements as one transaction, in one round trip.
    pub(crate) async fn all_or_none(&self, statements: &[Bound<'_>]) -> Result<RowsOfEach, Fault> {
        let live = self.usable().await?;
        let _turn = live.turn.read().await;
        live.all_or_none(statements).await
    }

    /// Begins a transaction. Until it ends, other callers wait for the connection.
    pub(crate) async fn begin(&self) -> Result<Transaction, Fault> {
        let transaction = Transaction::new(self.usable().await?).await;
        transaction.begin().await?;
        Ok(transaction)
    }

    /// Begins a transaction with its first statement, in one round trip; answers with the rows as well. If the statement
    /// fails, the transaction is rolled back.
    pub(crate) async fn begin_with(
        &self,
        wait: Wait,
        sql: &'static Sql,
        params: &[Param<'_>],
    ) -> Result<(Transaction, Vec<Row>), Fault> {
        let transaction = Transaction::new(self.usable().await?).await;
        let mut statements = match wait {
            Wait::Usual => Vec::new(),
            Wait::Briefly => vec![(&BRIEFLY, Vec::new())],
        };
        statements.push((sql, params.to_vec()));
        match transaction.begin_with(&statements).await {
            Ok(mut answers) => Ok((transaction, answers.pop().unwrap_or_default())),
            Err(fault) => {
                // The caller needs the cause. If the rollback fails as well, the connection is dropped.
                _ = transaction.rollback().await;
                Err(fault)
            }
        }
    }

    /// Waits until the living connection ends; returns at once if there is none.
    pub(crate) async fn ended(&self) {
        if let Some(live) = self.living() {
            live.ended.cancelled().await;
        }
    }

    /// Drops the connection when all its statements are answered, or after a while. A pooler gives the connection behind it
    /// to the next client: PgBouncer 1.18 was seen to pass on the answer that was on its way.
    pub(crate) async fn end(&self) {
        let live = locked(&self.live).take().filter(|live| live.is_alive());
        if let Some(live) = live {
            // Answers come in the order of statements.
            match tokio::time::timeout(LAST_ANSWER, live.execute("SELECT 1")).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => {
                    let error = fault.into_error("close the connection");
                    tracing::debug!(%error, "the connection broke before it was closed");
                }
                Err(_) => tracing::debug!("the connection was closed before all statements were answered"),
            }
            let ended = live.ended.clone();
            drop(live);
            if self.home.is_some() {
                // The driver must send the last message to the server before its thread ends.
                let _ = tokio::time::timeout(LAST_ANSWER, ended.cancelled()).await;
            }
        }
        if let Some(home) = &self.home {
            home.end();
        }
    }
}

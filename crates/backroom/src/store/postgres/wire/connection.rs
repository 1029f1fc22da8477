//! One connection to the database, made anew whenever it is lost.
//!
//! [`Link`] is what verbs use: it hands out the living connection ([`Live`]) and makes one where there is none, with
//! back-off. Outages are reported by the store's decorator, once. Statements of several callers are sent one behind the
//! other without waiting; a transaction that waits for answers ([`Transaction`]) has the connection to itself.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio_postgres::{
    AsyncMessage, Client, Notification, Row, Statement,
    types::{ToSql, Type},
};
use tokio_util::sync::CancellationToken;

use super::{
    alive,
    error::Fault,
    home::Home,
    settings::{BEGIN, BRIEFLY, Duty, Settings, WAIT_BRIEFLY, Wait, startup_options},
    sql::Sql,
};
use crate::{Error, ErrorKind, clock::Clock as _};

/// The wait before connecting again after the first failure; doubled with each further one up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);

/// How long a connection that is to be closed is waited for.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What a parameter is.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every statement; a panic elsewhere does not damage it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server's process at the other end.
static BACKEND: Sql = Sql { text: "SELECT pg_backend_pid()", types: &[] };

/// Called with every notification.
pub(crate) type Hear = Arc<dyn Fn(Notification) + Send + Sync>;

/// A connection that comes back.
pub(crate) struct Link {
    settings: Arc<Settings>,
    duty: Duty,
    hear: Option<Hear>,
    /// Where it is driven; none for the runtime of the caller that makes it.
    home: Option<Home>,
    live: Mutex<Option<Arc<Live>>>,
    connecting: tokio::sync::Mutex<Attempts>,
    /// The one to use while this one cannot be had: a server that has no connection left for us may still serve that one.
    substitute: OnceLock<Weak<Self>>,
}

#[derive(Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Duration>,
}

impl Link {
    pub(crate) fn new(settings: Arc<Settings>, duty: Duty, hear: Option<Hear>) -> Self {
        let (live, connecting, substitute) =
            (Mutex::default(), tokio::sync::Mutex::default(), OnceLock::new());
        Self { settings, duty, hear, home: None, live, connecting, substitute }
    }

    /// One that a thread of its own drives.
    pub(crate) fn with_home(settings: Arc<Settings>, duty: Duty) -> Self {
        Self { home: Some(Home::default()), ..Self::new(settings, duty, None) }
    }

    async fn connect(&self) -> Result<Live, Error> {
        let connecting = Live::connect(Arc::clone(&self.settings), self.duty, self.hear.clone());
        match &self.home {
            Some(home) => home.run(connecting).await?,
            None => connecting.await,
        }
    }

    /// While this connection cannot be had, `other` is used in its place, as long as it is there.
    pub(crate) fn substitute(&self, other: &Arc<Self>) {
        // Said once, when the store is made.
        let _ = self.substitute.set(Arc::downgrade(other));
    }

    /// The living connection, made if there is none; or that of the substitute, if it lives and this one cannot be made now.
    async fn usable(&self) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.living() {
            return Ok(live);
        }
        let other = || self.substitute.get().and_then(Weak::upgrade).and_then(|link| link.living());
        // Neither behind somebody who connects already, nor for the pause after a failure.
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
        // One caller connects, the others wait for what becomes of it.
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
                *held(&self.live) = Some(Arc::clone(&live));
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
        held(&self.live).as_ref().filter(|live| live.is_alive()).map(Arc::clone)
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let live = self.usable().await?;
        let _turn = live.turn.read().await;
        live.query(sql, params).await
    }

    /// Runs one statement that waits so long at most for each row that another transaction holds.
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

    /// Runs one statement whose text is made for the occasion.
    pub(crate) async fn query_text(
        &self,
        text: &str,
        params: &[(Param<'_>, Type)],
    ) -> Result<Vec<Row>, Fault> {
        let live = self.usable().await?;
        let _turn = live.turn.read().await;
        live.patiently(async { Ok(live.client.query_typed(text, params).await?) }).await
    }

    /// Runs statements as one transaction, in one round trip.
    pub(crate) async fn all_or_none(
        &self,
        statements: &[(&'static Sql, Vec<Param<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let live = self.usable().await?;
        let _turn = live.turn.read().await;
        live.all_or_none(statements).await
    }

    /// Begins a transaction; nobody else uses the connection until it ends.
    pub(crate) async fn begin(&self) -> Result<Transaction, Fault> {
        let live = self.usable().await?;
        let turn = Arc::clone(&live.turn).write_owned().await;
        let transaction = Transaction { live, _turn: turn, ended: false };
        transaction.live.say(transaction.live.begin_text()).await?;
        Ok(transaction)
    }

    /// Waits until the living connection ends, at once if there is none.
    pub(crate) async fn ended(&self) {
        if let Some(live) = self.living() {
            live.ended.cancelled().await;
        }
    }

    /// Drops the connection once all that was asked on it is answered, or is not answered for too long. A pooler gives the
    /// connection behind it to the next client: PgBouncer 1.18 was seen to give along the answer that was on its way.
    pub(crate) async fn end(&self) {
        let live = held(&self.live).take().filter(|live| live.is_alive());
        if let Some(live) = live {
            // Answers come in the order of questions.
            match tokio::time::timeout(LAST_ANSWER, live.say("SELECT 1")).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => {
                    let error = fault.into_error("close the connection");
                    tracing::debug!(%error, "the connection broke before it was closed");
                }
                Err(_) => tracing::debug!("the connection is closed with a question unanswered"),
            }
            let ended = live.ended.clone();
            drop(live);
            if self.home.is_some() {
                // It says goodbye to the server before its home goes.
                let _ = tokio::time::timeout(LAST_ANSWER, ended.cancelled()).await;
            }
        }
        if let Some(home) = &self.home {
            home.end();
        }
    }
}

/// One living connection.
pub(crate) struct Live {
    client: Client,
    settings: Arc<Settings>,
    duty: Duty,
    statements: Mutex<HashMap<usize, Statement>>,
    /// Given up: a statement took too long, or a transaction was left open.
    is_broken: AtomicBool,
    /// Cancelled when the server was found not to have what it was asked on it: no answer will come.
    lost: CancellationToken,
    /// The server's process at the other end.
    backend: OnceLock<i32>,
    /// Held while the server is asked about this connection.
    asking: tokio::sync::Mutex<()>,
    /// Shared by single statements, held alone by a transaction that waits for answers.
    turn: Arc<RwLock<()>>,
    /// Cancelled when the driver has seen its end.
    ended: CancellationToken,
}

impl Live {
    async fn connect(settings: Arc<Settings>, duty: Duty, hear: Option<Hear>) -> Result<Self, Error> {
        let mut config = settings.config.clone();
        if settings.is_session_ours() {
            config.options(startup_options(&settings, duty));
        }
        let connecting = config.connect(settings.tls.clone());
        let (client, mut connection) = settings.within_connect_timeout(connecting).await?;
        let ended = CancellationToken::new();
        let drive = {
            let ended = ended.clone().drop_guard();
            async move {
                let _ended = ended;
                while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                    match (message, &hear) {
                        (Ok(AsyncMessage::Notification(notification)), Some(hear)) => hear(notification),
                        // Notices are for people at a prompt.
                        (Ok(_), _) => {}
                        // Every statement under way is told; the next one connects anew.
                        (Err(error), _) => {
                            tracing::debug!(%error, "a connection to PostgreSQL ended");
                            return;
                        }
                    }
                }
            }
        };
        tokio::spawn(drive);
        let live = Self {
            client,
            settings: Arc::clone(&settings),
            duty,
            statements: Mutex::default(),
            is_broken: AtomicBool::new(false),
            lost: CancellationToken::new(),
            ended,
            backend: OnceLock::new(),
            asking: tokio::sync::Mutex::default(),
            turn: Arc::default(),
        };
        if settings.is_session_ours() {
            live.learn_backend().await.map_err(|fault| fault.into_error("begin a connection"))?;
        }
        Ok(live)
    }

    /// Behind a pooler the process changes with each transaction, and nothing is to be asked about it.
    async fn learn_backend(&self) -> Result<(), Fault> {
        let rows = self.query(&BACKEND, &[]).await?;
        if let Some(row) = rows.first() {
            // Once per connection.
            let _ = self.backend.set(row.try_get(0)?);
        }
        Ok(())
    }

    fn is_alive(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed) && !self.client.is_closed()
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        if !self.settings.is_session_ours() {
            // Settings last as long as a transaction here.
            let mut answers = self.all_or_none(&[(sql, params.to_vec())]).await?;
            return Ok(answers.pop().unwrap_or_default());
        }
        match self.query_prepared(sql, params).await {
            Err(fault) if self.forgot(&fault) => self.query_prepared(sql, params).await,
            answered => answered,
        }
    }

    async fn query_prepared(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(sql).await?;
        self.patiently(self.ask(sql, statement.as_ref(), params)).await
    }

    /// Drops the prepared statements if the fault is that they are outdated: the tables were made again under them, or
    /// another program dropped them. Answers whether that was it, and the same again, prepared again, may succeed.
    fn forgot(&self, fault: &Fault) -> bool {
        let is_outdated = fault.is_outdated();
        if is_outdated {
            tracing::debug!("prepared statements are outdated; they are prepared again");
            held(&self.statements).clear();
        }
        is_outdated
    }

    /// Runs statements as one transaction without waiting between them. The first failure undoes all.
    async fn all_or_none(
        &self,
        statements: &[(&'static Sql, Vec<Param<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        match self.all_or_none_prepared(statements).await {
            Err(fault) if self.forgot(&fault) => self.all_or_none_prepared(statements).await,
            answered => answered,
        }
    }

    async fn all_or_none_prepared(
        &self,
        statements: &[(&'static Sql, Vec<Param<'_>>)],
    ) -> Result<Vec<Vec<Row>>, Fault> {
        let mut prepared = Vec::with_capacity(statements.len());
        for (sql, _) in statements {
            prepared.push(self.statement(sql).await?);
        }
        type Sent<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Fault>> + Send + 'a>>;
        let mut sent: Vec<Sent<'_>> = Vec::with_capacity(statements.len() + 2);
        let word = async |word: &str| {
            self.client.batch_execute(word).await?;
            Ok(Vec::new())
        };
        sent.push(Box::pin(word(self.begin_text())));
        for ((sql, params), statement) in statements.iter().zip(&prepared) {
            sent.push(Box::pin(self.ask(sql, statement.as_ref(), params)));
        }
        sent.push(Box::pin(word("COMMIT")));
        // The driver sends at the first poll. All first polls happen here, in order and without a pause, so no other
        // statement comes between, and dropping this call later leaves no transaction open.
        let mut answers = Vec::with_capacity(sent.len());
        poll_fn(|cx| {
            answers = sent.iter_mut().map(|future| future.as_mut().poll(cx)).collect();
            std::task::Poll::Ready(())
        })
        .await;
        let waiting = async {
            let mut rows = Vec::with_capacity(sent.len());
            let mut failed = None;
            for (future, answer) in sent.iter_mut().zip(std::mem::take(&mut answers)) {
                let answer = match answer {
                    std::task::Poll::Ready(answer) => answer,
                    std::task::Poll::Pending => future.await,
                };
                match answer {
                    Ok(found) => rows.push(found),
                    // The first says why; those behind it only say that the transaction is aborted.
                    Err(fault) => failed = failed.or(Some(fault)),
                }
            }
            failed.map_or(Ok(rows), Err)
        };
        let mut rows = self.patiently(waiting).await?;
        rows.pop();
        rows.remove(0);
        Ok(rows)
    }

    /// Runs words without parameters or answer.
    pub(crate) async fn say(&self, words: &str) -> Result<(), Fault> {
        self.patiently(async { Ok(self.client.batch_execute(words).await?) }).await
    }

    fn begin_text(&self) -> &str {
        match (self.settings.is_session_ours(), self.duty) {
            (true, Duty::ByIndex | Duty::Anything) => BEGIN,
            (false, Duty::ByIndex) => &self.settings.begin_by_index,
            (false, Duty::Anything) => &self.settings.begin_anything,
        }
    }

    async fn ask(
        &self,
        sql: &'static Sql,
        statement: Option<&Statement>,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Fault> {
        debug_assert_eq!(params.len(), sql.types.len(), "a type for each parameter of: {}", sql.text);
        match statement {
            Some(statement) => Ok(self.client.query(statement, params).await?),
            None => {
                let text = self.settings.text(sql);
                let typed: Vec<_> = params.iter().copied().zip(sql.types.iter().cloned()).collect();
                Ok(self.client.query_typed(&text, &typed).await?)
            }
        }
    }

    /// The prepared statement; none where a connection is nobody's and nothing can be kept on it.
    async fn statement(&self, sql: &'static Sql) -> Result<Option<Statement>, Fault> {
        if !self.settings.is_session_ours() {
            return Ok(None);
        }
        if let Some(statement) = held(&self.statements).get(&sql.key()) {
            return Ok(Some(statement.clone()));
        }
        let text = self.settings.text(sql);
        let preparing = async { Ok(self.client.prepare_typed(&text, sql.types).await?) };
        let statement = self.patiently(preparing).await?;
        held(&self.statements).insert(sql.key(), statement.clone());
        Ok(Some(statement))
    }

    /// Waits as long as a statement may take; after that the connection is given up, because nobody knows what the
    /// server still does on it. Where the server says that it does nothing, the answer was lost and no more is waited for.
    async fn patiently<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut answer = std::pin::pin!(answer);
        let answered = match tokio::time::timeout(alive::PATIENCE, self.unless_lost(answer.as_mut())).await {
            Ok(answered) => answered,
            Err(_) => self.wait_on(answer).await,
        };
        if let Err(Fault::Sql(error)) = &answered
            && super::error::ends_usefulness(error)
        {
            self.give_up();
        }
        answered
    }

    async fn unless_lost<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            answered = answer => answered,
            () = self.lost.cancelled() => Err(self.unheard("its answer was lost on the way").into()),
        }
    }

    async fn wait_on<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        // A little longer than the server's own limit, whose answer leaves the connection usable.
        let patience = self.settings.options.statement_timeout;
        tokio::select! {
            biased;
            answered = self.unless_lost(answer) => answered,
            () = self.watch() => Err(self.unheard("its answer was lost on the way").into()),
            () = self.settings.clock.sleep(patience) => {
                self.give_up();
                let patience = patience + alive::PATIENCE;
                Err(self.unheard(&format!("no answer within {patience:?}")).into())
            }
        }
    }

    fn unheard(&self, why: &str) -> Error {
        let why = format!("hear from PostgreSQL at {}: {why}", self.settings.shown);
        Error::new(ErrorKind::Unavailable, why)
    }

    /// Returns when the server says that it does nothing on this connection, though an answer is waited for.
    async fn watch(&self) {
        let Some(backend) = self.backend.get() else { return std::future::pending().await };
        loop {
            {
                // One question for all that wait.
                let _asking = self.asking.lock().await;
                if alive::ask(&self.settings, *backend).await == alive::Found::Lost {
                    tracing::debug!("a connection to PostgreSQL lost its answers; it is made again");
                    self.give_up();
                    self.lost.cancel();
                    return;
                }
            }
            self.settings.clock.sleep(alive::PAUSE).await;
        }
    }

    fn give_up(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }
}

/// A transaction that waits for answers. Dropped before its end, it takes the connection with it, and the server
/// undoes it.
pub(crate) struct Transaction {
    live: Arc<Live>,
    _turn: OwnedRwLockWriteGuard<()>,
    ended: bool,
}

impl Transaction {
    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let statement = self.live.statement(sql).await?;
        let answered = self.live.patiently(self.live.ask(sql, statement.as_ref(), params)).await;
        if let Err(fault) = &answered {
            // The whole transaction is undone; its caller begins it again.
            _ = self.live.forgot(fault);
        }
        answered
    }

    /// Runs words without parameters or answer.
    pub(crate) async fn say(&self, words: &str) -> Result<(), Fault> {
        self.live.say(words).await
    }

    /// From here on it waits so long at most for each row that another transaction holds.
    pub(crate) async fn wait(&self, wait: Wait) -> Result<(), Fault> {
        match wait {
            // As it began.
            Wait::Usual => Ok(()),
            Wait::Briefly => self.live.say(WAIT_BRIEFLY).await,
        }
    }

    /// Makes it durable.
    pub(crate) async fn commit(mut self) -> Result<(), Fault> {
        self.live.say("COMMIT").await?;
        self.ended = true;
        Ok(())
    }

    /// Undoes it.
    pub(crate) async fn rollback(mut self) -> Result<(), Fault> {
        self.live.say("ROLLBACK").await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.live.give_up();
        }
    }
}

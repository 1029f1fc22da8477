//! One living connection: statements, prepared once; pipelines; and how long to wait for an answer.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use tokio::sync::RwLock;
use tokio_postgres::{AsyncMessage, Client, Row, Statement, types::Type};
use tokio_util::sync::CancellationToken;

use super::{Bound, OnNotification, Param, RowsOfEach, locked};
use crate::{
    Error, ErrorKind,
    clock::Clock as _,
    store::postgres::wire::{
        alive,
        error::{Fault, ends_usefulness},
        settings::{BEGIN, Duty, Settings, startup_options},
        sql::Sql,
    },
};

/// The server's process at the other end.
static BACKEND: Sql = Sql { text: "SELECT pg_backend_pid()", types: &[] };

/// One living connection.
pub(crate) struct Live {
    client: Client,
    settings: Arc<Settings>,
    duty: Duty,
    statements: Mutex<HashMap<usize, Statement>>,
    /// Given up: a statement took too long, or a transaction was left open.
    is_broken: AtomicBool,
    /// Cancelled when the server reports that it is idle while a caller waits for an answer: no answer will come.
    lost: CancellationToken,
    /// The server's process at the other end.
    backend: OnceLock<i32>,
    /// Locked while the server is asked about this connection.
    asking: tokio::sync::Mutex<()>,
    /// Shared by single statements; exclusive for a transaction that waits for answers.
    pub(super) turn: Arc<RwLock<()>>,
    /// Cancelled when the driver has seen the end of the connection.
    pub(super) ended: CancellationToken,
}

impl Live {
    pub(super) async fn connect(
        settings: Arc<Settings>,
        duty: Duty,
        on_notification: Option<OnNotification>,
    ) -> Result<Self, Error> {
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
                    match (message, &on_notification) {
                        (Ok(AsyncMessage::Notification(notification)), Some(on_notification)) => {
                            on_notification(notification)
                        }
                        // Notices are meant for people at a prompt.
                        (Ok(_), _) => {}
                        // The driver fails every statement under way; the next statement makes a new connection.
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
            live.read_backend().await.map_err(|fault| fault.into_error("begin a connection"))?;
        }
        Ok(live)
    }

    /// Not behind a pooler: there the server's process changes with each transaction.
    async fn read_backend(&self) -> Result<(), Fault> {
        let rows = self.query(&BACKEND, &[]).await?;
        if let Some(row) = rows.first() {
            // Once per connection.
            let _ = self.backend.set(row.try_get(0)?);
        }
        Ok(())
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed) && !self.client.is_closed()
    }

    /// Runs one statement.
    pub(crate) async fn query(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        if !self.settings.is_session_ours() {
            // Behind a pooler settings last as long as a transaction.
            let mut answers = self.all_or_none(&[(sql, params.to_vec())]).await?;
            return Ok(answers.pop().unwrap_or_default());
        }
        match self.query_prepared(sql, params).await {
            Err(fault) if self.forget_outdated(&fault) => self.query_prepared(sql, params).await,
            answered => answered,
        }
    }

    async fn query_prepared(&self, sql: &'static Sql, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(sql).await?;
        // Boxed: callers nest this future deeply, and the compiler limits the depth.
        Box::pin(self.patiently(self.ask(sql, statement.as_ref(), params))).await
    }

    /// Runs one statement of a transaction.
    pub(super) async fn query_within(
        &self,
        sql: &'static Sql,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Fault> {
        let answered = self.query_prepared(sql, params).await;
        if let Err(fault) = &answered {
            // The whole transaction is undone. Its caller begins it again, with statements that are prepared again.
            _ = self.forget_outdated(fault);
        }
        answered
    }

    /// Runs one statement whose text the caller has composed.
    pub(super) async fn query_text(
        &self,
        text: &str,
        params: &[(Param<'_>, Type)],
    ) -> Result<Vec<Row>, Fault> {
        self.patiently(async { Ok(self.client.query_typed(text, params).await?) }).await
    }

    /// Drops the prepared statements if the fault is that they are outdated: the tables were made again, or another program
    /// dropped the statements. Answers whether this is the fault; then the same statement, prepared again, may succeed.
    fn forget_outdated(&self, fault: &Fault) -> bool {
        let is_outdated = fault.is_outdated();
        if is_outdated {
            tracing::debug!("prepared statements are outdated; they are prepared again");
            locked(&self.statements).clear();
        }
        is_outdated
    }

    /// Runs statements as one transaction without waiting between them. The first failure undoes all.
    pub(super) async fn all_or_none(&self, statements: &[Bound<'_>]) -> Result<RowsOfEach, Fault> {
        // Boxed, like the other pipelines: commits hold several of these large futures.
        let all = || Box::pin(self.pipeline(Some(self.begin_text()), statements, Some("COMMIT")));
        match all().await {
            Err(fault) if self.forget_outdated(&fault) => all().await,
            answered => answered,
        }
    }

    /// Begins a transaction with these statements, in one round trip.
    pub(super) async fn begin_with(&self, statements: &[Bound<'_>]) -> Result<RowsOfEach, Fault> {
        let answered = Box::pin(self.pipeline(Some(self.begin_text()), statements, None)).await;
        if let Err(fault) = &answered {
            // As in `query_within`.
            _ = self.forget_outdated(fault);
        }
        answered
    }

    /// Ends a transaction with these statements, in one round trip.
    pub(super) async fn commit_with(&self, statements: &[Bound<'_>]) -> Result<RowsOfEach, Fault> {
        let answered = Box::pin(self.pipeline(None, statements, Some("COMMIT"))).await;
        if let Err(fault) = &answered {
            // As in `query_within`.
            _ = self.forget_outdated(fault);
        }
        answered
    }

    /// Sends commands and statements one behind the other and then waits for all answers, which it gives for the statements.
    /// Of several failures it answers the first: those behind it only say that the transaction is aborted.
    async fn pipeline(
        &self,
        before: Option<&str>,
        statements: &[Bound<'_>],
        after: Option<&str>,
    ) -> Result<RowsOfEach, Fault> {
        let mut prepared = Vec::with_capacity(statements.len());
        for (sql, _) in statements {
            prepared.push(self.statement(sql).await?);
        }
        type Sent<'a> = Pin<Box<dyn Future<Output = Result<Option<Vec<Row>>, Fault>> + Send + 'a>>;
        let mut sent: Vec<Sent<'_>> = Vec::with_capacity(statements.len() + 2);
        let command = async |text: &str| {
            self.client.batch_execute(text).await?;
            Ok(None)
        };
        let statement = async |sql, statement: &Option<Statement>, params: &[Param<'_>]| {
            self.ask(sql, statement.as_ref(), params).await.map(Some)
        };
        sent.extend(before.map(|text| Box::pin(command(text)) as Sent<'_>));
        for ((sql, params), prepared) in statements.iter().zip(&prepared) {
            sent.push(Box::pin(statement(*sql, prepared, params)));
        }
        sent.extend(after.map(|text| Box::pin(command(text)) as Sent<'_>));
        // The driver sends at the first poll. All first polls happen here, in order and without a pause. So no other
        // statement comes between, and a transaction that was sent whole ends even if this call is dropped.
        let mut polled = Vec::with_capacity(sent.len());
        poll_fn(|cx| {
            polled = sent.iter_mut().map(|future| future.as_mut().poll(cx)).collect();
            Poll::Ready(())
        })
        .await;
        let waiting = async {
            let mut answers = Vec::with_capacity(statements.len());
            let mut failed = None;
            for (future, polled) in sent.iter_mut().zip(std::mem::take(&mut polled)) {
                let answer = match polled {
                    Poll::Ready(answer) => answer,
                    Poll::Pending => future.await,
                };
                match answer {
                    Ok(rows) => answers.extend(rows),
                    Err(fault) => failed = failed.or(Some(fault)),
                }
            }
            failed.map_or(Ok(answers), Err)
        };
        self.patiently(waiting).await
    }

    /// Runs a command without parameters or rows.
    pub(crate) async fn execute(&self, command: &str) -> Result<(), Fault> {
        self.patiently(async { Ok(self.client.batch_execute(command).await?) }).await
    }

    pub(super) fn begin_text(&self) -> &str {
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

    /// The prepared statement; none behind a pooler, where the next statement may run in another session.
    async fn statement(&self, sql: &'static Sql) -> Result<Option<Statement>, Fault> {
        if !self.settings.is_session_ours() {
            return Ok(None);
        }
        if let Some(statement) = locked(&self.statements).get(&sql.key()) {
            return Ok(Some(statement.clone()));
        }
        let text = self.settings.text(sql);
        let preparing = async { Ok(self.client.prepare_typed(&text, sql.types).await?) };
        let statement = Box::pin(self.patiently(preparing)).await?;
        locked(&self.statements).insert(sql.key(), statement.clone());
        Ok(Some(statement))
    }

    /// Waits as long as a statement may take, then gives the connection up, because the state of the server's transaction is
    /// unknown. If the server reports that it is idle on this connection, the answer was lost, and the wait ends at once.
    async fn patiently<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut answer = std::pin::pin!(answer);
        let answered = match tokio::time::timeout(alive::PATIENCE, self.unless_lost(answer.as_mut())).await {
            Ok(answered) => answered,
            Err(_) => self.wait_on(answer).await,
        };
        if let Err(Fault::Sql(error)) = &answered
            && ends_usefulness(error)
        {
            self.give_up();
        }
        answered
    }

    async fn unless_lost<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            answered = answer => answered,
            () = self.lost.cancelled() => Err(self.unanswered("its answer was lost on the way").into()),
        }
    }

    async fn wait_on<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        // A little longer than the server's own limit, whose answer leaves the connection usable.
        let patience = self.settings.options.statement_timeout;
        tokio::select! {
            biased;
            answered = self.unless_lost(answer) => answered,
            () = self.watch() => Err(self.unanswered("its answer was lost on the way").into()),
            () = self.settings.clock.sleep(patience) => {
                self.give_up();
                let patience = patience + alive::PATIENCE;
                Err(self.unanswered(&format!("no answer within {patience:?}")).into())
            }
        }
    }

    fn unanswered(&self, why: &str) -> Error {
        let why = format!("get an answer from PostgreSQL at {}: {why}", self.settings.shown);
        Error::new(ErrorKind::Unavailable, why)
    }

    /// Returns when the server reports that it is idle on this connection although a caller waits for an answer.
    async fn watch(&self) {
        let Some(backend) = self.backend.get() else { return std::future::pending().await };
        loop {
            {
                // One caller asks for all that wait.
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

    pub(super) fn give_up(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }
}

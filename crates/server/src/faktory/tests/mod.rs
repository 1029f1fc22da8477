//! Conversations with the listener, over connections in memory and a store in memory.

mod batches;
mod failing;
mod greeting;
mod jobs;
mod lists;
mod workers;

use std::{sync::Arc, time::Duration};

use backroom::{Backroom, JobRow, Options, Timestamp, testing::TestClock};
use serde_json::Value;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf,
        WriteHalf,
    },
    task::JoinHandle,
};

use super::{Faktory, connection::converse};
use crate::{
    config::{self, ServerSettings},
    metrics::Metrics,
    serve::AppState,
};

/// Longest real time that a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server without sockets.
struct Place {
    clock: Arc<TestClock>,
    state: AppState,
    faktory: Arc<Faktory>,
}

impl Place {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(set: impl FnOnce(&mut ServerSettings)) -> Self {
        let clock = Arc::new(TestClock::default());
        let backroom =
            Options::new().clock(Arc::clone(&clock) as _).open("memory:").await.expect("a store in memory");
        Self::over(backroom, clock, set)
    }

    fn over(backroom: Backroom, clock: Arc<TestClock>, set: impl FnOnce(&mut ServerSettings)) -> Self {
        let mut settings = config::defaults();
        set(&mut settings);
        let metrics = Arc::new(Metrics::new(10, Default::default()));
        let state = AppState::new(backroom, settings.into(), None, metrics, true);
        let faktory = Arc::new(Faktory::new(state.clone()));
        Self { clock, state, faktory }
    }

    /// Another server over the same store, as after a restart.
    fn again(&self) -> Self {
        Self::over(self.state.backroom.clone(), Arc::clone(&self.clock), |_| {})
    }

    /// A connection that has read the greeting.
    async fn connect(&self) -> Client {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(converse(theirs, Arc::clone(&self.faktory)));
        let (read, write) = tokio::io::split(ours);
        let mut client = Client { read: BufReader::new(read), write, serving, greeting: String::new() };
        client.greeting = client.line().await;
        client
    }

    async fn producer(&self) -> Client {
        self.hello("HELLO {\"v\":2}").await
    }

    async fn consumer(&self, wid: &str) -> Client {
        self.hello(&format!("HELLO {{\"v\":2,\"wid\":\"{wid}\",\"hostname\":\"test\"}}")).await
    }

    async fn hello(&self, hello: &str) -> Client {
        let mut client = self.connect().await;
        assert_eq!(client.says(hello).await, "+OK");
        client
    }

    /// All jobs, the oldest first.
    async fn jobs(&self) -> Vec<JobRow> {
        let page = self.state.backroom.list(backroom::Filter::default(), None, 1000).await.expect("a list");
        page.jobs.into_iter().rev().collect()
    }

    async fn job(&self) -> JobRow {
        self.jobs().await.pop().expect("a job")
    }

    fn now(&self) -> Timestamp {
        self.state.backroom.clock().now()
    }

    /// Time passes, and what happens by itself happens.
    async fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
        self.faktory.tick().await;
    }
}

/// One client.
struct Client {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    serving: JoinHandle<()>,
    greeting: String,
}

impl Client {
    /// The hash of a password, with what the greeting says.
    fn hashed(&self, password: &str) -> String {
        use sha2::{Digest as _, Sha256};
        let hi: Value = serde_json::from_str(self.greeting.strip_prefix("+HI ").unwrap()).unwrap();
        let (rounds, salt) = (hi["i"].as_u64().unwrap(), hi["s"].as_str().unwrap());
        assert!((4000..=8095).contains(&rounds));
        let mut hash = Sha256::digest(format!("{password}{salt}"));
        for _ in 1..rounds {
            hash = Sha256::digest(hash);
        }
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn send(&mut self, line: &str) {
        // The server may have closed.
        let _ = self.write.write_all(format!("{line}\r\n").as_bytes()).await;
    }

    /// The next line; empty when the server has closed.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.read.read_line(&mut line)).await.expect("an answer");
        if read.is_err() || line.is_empty() {
            return String::new();
        }
        line.strip_suffix("\r\n").expect("a whole line").to_owned()
    }

    /// The next answer: of a bulk one its text.
    async fn answer(&mut self) -> String {
        let line = self.line().await;
        match line.strip_prefix('$').map(|length| length.parse::<usize>()) {
            Some(Ok(length)) => {
                let mut text = vec![0; length + 2];
                self.read.read_exact(&mut text).await.expect("a whole answer");
                String::from_utf8(text).expect("text").trim_end_matches("\r\n").to_owned()
            }
            _ => line,
        }
    }

    async fn says(&mut self, line: &str) -> String {
        self.send(line).await;
        self.answer().await
    }

    async fn json(&mut self, line: &str) -> Value {
        let answer = self.says(line).await;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{line}: {answer}: {error}"))
    }

    async fn push(&mut self, jid: &str, more: &str) -> String {
        self.says(&format!("PUSH {{\"jid\":\"{jid}\",\"jobtype\":\"work\",\"args\":[1]{more}}}")).await
    }

    /// Fetches from the queue `default`; null if there is nothing.
    async fn fetch(&mut self, place: &Place) -> Value {
        self.fetch_from(place, "default").await
    }

    async fn fetch_from(&mut self, place: &Place, queues: &str) -> Value {
        self.send(&format!("FETCH {queues}")).await;
        let answer = self.answer();
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                // It waits for two seconds.
                () = tokio::task::yield_now() => place.clock.advance(Duration::from_millis(20)),
            }
        };
        if answer == "$-1" {
            return Value::Null;
        }
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer}: {error}"))
    }

    /// The server has closed the connection without another message.
    async fn expect_close(mut self) {
        assert_eq!(self.line().await, "");
        tokio::time::timeout(PATIENCE, self.serving).await.expect("an end").expect("no panic");
    }

    /// The client goes, and the server has noticed.
    async fn goes(self) {
        let Self { read, write, serving, .. } = self;
        drop((read, write));
        tokio::time::timeout(PATIENCE, serving).await.expect("an end").expect("no panic");
    }
}

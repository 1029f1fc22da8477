//! A store, servers over it, and a worker that runs its jobs.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use backroom::{Backroom, Context, Failure, Job, Worker, WorkflowContext};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{Answer, Server},
};

/// A store of this test's own, and a server over it.
pub(crate) struct Side {
    place: Place,
    pub(crate) store: String,
    pub(crate) server: Server,
}

impl Side {
    pub(crate) fn new(test: &str) -> Self {
        Self::with(test, &[])
    }

    /// With flags of the server.
    pub(crate) fn with(test: &str, flags: &[&str]) -> Self {
        let place = Place::new();
        let store = crate::side::store(&place, test);
        let server = Server::start(&place, &[&["--store", &store], flags].concat());
        Self { place, store, server }
    }

    /// A second server over the same store.
    pub(crate) fn another(&self) -> Server {
        Server::start(&self.place, &["--store", &self.store])
    }

    /// Makes a token and answers with its secret.
    pub(crate) fn token(&self, args: &[&str]) -> String {
        self.new_token(args)["secret"].as_str().unwrap().to_owned()
    }

    /// Makes a token and answers with its id.
    pub(crate) fn token_id(&self, name: &str) -> String {
        self.new_token(&["--scope", "read", name])["id"].as_str().unwrap().to_owned()
    }

    fn new_token(&self, args: &[&str]) -> Value {
        let create = ["tokens", "create", "--store", &self.store];
        self.place.json(create.iter().chain(args))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.server.get(path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Answer {
        self.server.post(path, &body)
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.server.call(method, path, &headers, body.to_string().as_bytes())
    }

    /// Enqueues a job and answers with its id.
    #[track_caller]
    pub(crate) fn enqueue(&self, body: Value) -> String {
        let answer = self.post("/v1/jobs", body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).json()
    }

    /// How many jobs there are, in whatever state.
    pub(crate) fn jobs(&self) -> usize {
        self.get("/v1/jobs?limit=1000").json()["jobs"].as_array().unwrap().len()
    }

    /// Starts a worker in this process. It stops when the answer is dropped.
    pub(crate) fn work(&self) -> Working {
        self.working(|worker| worker.handle(double).workflow(decide).poll(Duration::from_millis(50)))
    }

    /// The same for jobs that write a long log.
    pub(crate) fn work_wordily(&self) -> Working {
        self.working(|worker| worker.handle(wordy))
    }

    /// The same for a job that logs each line that is sent, until the sender says `the end`.
    pub(crate) fn work_talking(&self) -> (Working, tokio::sync::mpsc::UnboundedSender<String>) {
        let (say, said) = tokio::sync::mpsc::unbounded_channel::<String>();
        let said = Arc::new(tokio::sync::Mutex::new(said));
        let talk = move |_: Talk, ctx: Context| {
            let said = Arc::clone(&said);
            async move {
                let mut said = said.lock().await;
                while let Some(line) = said.recv().await {
                    ctx.log(&line);
                    if line == "the end" {
                        break;
                    }
                }
                Ok::<_, Failure>(())
            }
        };
        (self.working(move |worker| worker.handle(talk)), say)
    }

    fn working(&self, handlers: impl FnOnce(Worker) -> Worker + Send + 'static) -> Working {
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        let store = self.store.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.unwrap().block_on(async {
                let backroom = Backroom::open(&store).await.unwrap();
                let worker = Worker::new(&backroom).queue("default", 2);
                let worker = handlers(worker).start().await.unwrap();
                started.send(()).unwrap();
                // The sender is dropped at the end of the test.
                _ = tokio::task::spawn_blocking(move || stopped.recv()).await;
                worker.stop().await.unwrap();
                backroom.close().await.unwrap();
            });
        });
        starts.recv().unwrap();
        Working { stop: Some(stop), thread: Some(thread) }
    }
}

/// A worker that runs.
pub(crate) struct Working {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Working {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic of the worker is the report.
            _ = thread.join();
        }
    }
}

/// Doubles a number.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Double(u64);

impl Job for Double {
    const KIND: &'static str = "double";
    type Output = u64;
}

async fn double(job: Double, ctx: Context) -> Result<u64, Failure> {
    ctx.log("first");
    ctx.log("second");
    Ok(job.0 * 2)
}

/// A workflow that asks for a decision.
#[derive(Serialize, Deserialize)]
struct Decide {
    amount: u64,
}

impl Job for Decide {
    const KIND: &'static str = "decide";
    type Output = String;
}

async fn decide(args: Decide, ctx: WorkflowContext) -> Result<String, Failure> {
    let amount =
        ctx.step("reserve").compensate(|_: u64| async { Ok(()) }).run(|| async { Ok(args.amount) }).await?;
    ctx.publish(&"asked")?;
    let decision: Option<String> = ctx.wait_signal_within("decision", Duration::from_secs(3600)).await?;
    let twice = ctx.child("twice", &Double(amount)).await?;
    ctx.publish(&"decided")?;
    Ok(format!("{decision:?} {twice}"))
}

/// Logs what it is sent.
#[derive(Serialize, Deserialize)]
struct Talk;

impl Job for Talk {
    const KIND: &'static str = "talk";
    type Output = ();
}

/// Writes a long log.
#[derive(Serialize, Deserialize)]
struct Wordy;

impl Job for Wordy {
    const KIND: &'static str = "wordy";
    type Output = ();
}

/// Lines of that log. One run stores no more.
pub(crate) const WORDY_LINES: usize = 1000;
/// Bytes of each.
pub(crate) const WORDY_LINE_BYTES: usize = 4000;

async fn wordy(_: Wordy, ctx: Context) -> Result<(), Failure> {
    for _ in 0..WORDY_LINES {
        ctx.log("x".repeat(WORDY_LINE_BYTES));
    }
    Ok(())
}

/// A job that a worker of these tests doubles.
pub(crate) fn doubling(number: u64) -> Value {
    json!({"kind": "double", "args": number})
}

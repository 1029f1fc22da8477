//! Rust handlers in processes of their own, for work that computes and must be killable.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Read as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom_core::{
    Json,
    bounds::{ERROR_BYTES_MAX, clip},
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::{play_part, signals::CODE_USAGE};
use crate::{BadArgs, Failure, Job, failure::Outcome};

/// The kinds that this program can run in processes of their own.
static KINDS: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// A handler that runs in a process of its own, made by [`process_handler`].
pub struct ProcessHandler {
    kind: &'static str,
    run: Box<dyn Fn(String, ProcessContext) -> Result<Json, Failure>>,
}

impl fmt::Debug for ProcessHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHandler").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A plain function as a handler for [`supervise_if_asked_with`] and
/// [`Worker::handle_in_process`](crate::Worker::handle_in_process).
pub fn process_handler<J, F>(handler: F) -> ProcessHandler
where
    J: Job,
    F: Fn(J, ProcessContext) -> Result<J::Output, Failure> + 'static,
{
    let run = move |args: String, context: ProcessContext| {
        let job = serde_json::from_str(&args).map_err(|error| {
            let message = format!("args do not decode as {}: {error}", std::any::type_name::<J>());
            match J::BAD_ARGS {
                BadArgs::Retry => Failure::retry(message),
                BadArgs::Discard => Failure::discard(message),
            }
        })?;
        let output = handler(job, context)?;
        Json::encode(&output).map_err(|error| Failure::discard(format!("the output {}", error.why)))
    };
    ProcessHandler { kind: J::KIND, run: Box::new(run) }
}

/// [`supervise_if_asked`](super::supervise_if_asked) for a program that also runs handlers in processes of their own. These are the
/// handlers; name their kinds with [`Worker::handle_in_process`](crate::Worker::handle_in_process), too.
///
/// ```no_run
/// use backroom::{Backroom, Failure, Job, Worker, command::{self, CommandSpec, ProcessContext, process_handler}};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Factor(u64);
/// impl Job for Factor { const KIND: &'static str = "factor"; type Output = Vec<u64>; }
///
/// fn factor(job: Factor, ctx: ProcessContext) -> Result<Vec<u64>, Failure> {
///     ctx.progress(0, "trying small primes");
///     // …
///     Ok(vec![job.0])
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     command::supervise_if_asked_with([process_handler(factor)]);
///     tokio::runtime::Runtime::new()?.block_on(async {
///         let backroom = Backroom::open("sqlite:backroom.db").await?;
///         let spec = CommandSpec::this_program().memory_max(1 << 30);
///         let worker = Worker::new(&backroom).handle_in_process::<Factor>(spec).start().await?;
///         // …
///         # worker.stop().await?;
///         Ok(())
///     })
/// }
/// ```
pub fn supervise_if_asked_with(handlers: impl IntoIterator<Item = ProcessHandler>) {
    let handlers: Vec<_> = handlers.into_iter().collect();
    play_part(&handlers);
    let mut kinds = KINDS.write().unwrap_or_else(PoisonError::into_inner);
    kinds.extend(handlers.iter().map(|handler| handler.kind));
}

/// Whether this program has a handler of this kind for processes of their own.
pub(crate) fn has_handler(kind: &str) -> bool {
    KINDS.read().unwrap_or_else(PoisonError::into_inner).contains(&kind)
}

/// What a handler in a process of its own gets beside its args. It has no client: such a handler computes.
#[derive(Debug, Clone)]
pub struct ProcessContext {
    stop: Arc<AtomicBool>,
}

impl ProcessContext {
    /// The job's id.
    pub fn id(&self) -> String {
        variable("BACKROOM_JOB_ID")
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        variable("BACKROOM_ATTEMPT").parse().unwrap_or(1)
    }

    /// Reports how far the work is: 0 to 100 (more counts as 100) and a short message of one line.
    pub fn progress(&self, percent: u8, message: impl AsRef<str>) {
        let message = message.as_ref().replace('\n', " ");
        write_line(&format!("backroom:progress {} {message}", percent.min(100)));
    }

    /// Writes a line to the job's log. What the process writes to stderr in other ways arrives there, too.
    pub fn log(&self, line: impl AsRef<str>) {
        write_line(line.as_ref());
    }

    /// Whether the handler should stop. It has the [`grace`](super::CommandSpec::grace) to do so, and is killed after that.
    pub fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the handler early when it should stop: `ctx.checkpoint()?` between two steps of a long computation.
    pub fn checkpoint(&self) -> Result<(), Failure> {
        // The worker knows why, and records that instead.
        if self.is_cancelled() { Err(Failure::retry("the process was asked to stop")) } else { Ok(()) }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// In one write, so that lines of several threads do not mix. A worker that is dead reads nothing.
fn write_line(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// What the process of a handler answers: the last line of its stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Output(Json),
    Retry(String),
    RetryAfter(Duration, String),
    Panicked(String),
    Discard(String),
    Cancel(String),
    Snooze(Duration),
}

/// Most bytes that an answer has beyond the output in it.
pub(crate) const ANSWER_EXTRA_BYTES: usize = 64;

/// Runs the handler of a kind in this process. Returns an exit code.
pub(super) fn handle(handlers: &[ProcessHandler], kind: Option<&OsStr>) -> i32 {
    let Some(handler) = handlers.iter().find(|handler| kind.is_some_and(|kind| kind == handler.kind)) else {
        write_line("this program has no handler of this kind for a process of its own");
        return CODE_USAGE;
    };
    let mut args = String::new();
    if let Err(error) = io::stdin().lock().read_to_string(&mut args) {
        write_line(&format!("the args cannot be read: {error}"));
        return CODE_USAGE;
    }
    let context = ProcessContext { stop: Arc::default() };
    listen(&context.stop);
    let result = catch_unwind(AssertUnwindSafe(|| (handler.run)(args, context)));
    let answer = match result {
        Ok(Ok(output)) => Answer::Output(output),
        Ok(Err(failure)) => of_failure(failure),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Answer::Panicked(text.unwrap_or_else(|| "panicked".into()))
        }
    };
    // What the handler printed may lack the end of its last line.
    let written = serde_json::to_string(&answer).map_err(io::Error::other).and_then(|line| {
        let mut stdout = io::stdout().lock();
        stdout.write_all(format!("\n{line}\n").as_bytes())?;
        stdout.flush()
    });
    i32::from(written.is_err())
}

fn of_failure(failure: Failure) -> Answer {
    let message = clip(&failure.message, ERROR_BYTES_MAX);
    match failure.outcome {
        Outcome::RetryAfter(delay) => Answer::RetryAfter(delay, message),
        Outcome::Panicked => Answer::Panicked(message),
        Outcome::Discard | Outcome::UndecodedForGood => Answer::Discard(message),
        Outcome::Cancel => Answer::Cancel(message),
        Outcome::Snooze(delay) | Outcome::NotBegun(delay) => Answer::Snooze(delay),
        // No handler answers so, and a workflow never runs in a process of its own.
        Outcome::Park => Answer::Snooze(Duration::ZERO),
        #[cfg(feature = "callbacks")]
        Outcome::Reported => Answer::Snooze(Duration::ZERO),
        Outcome::Retry | Outcome::TimedOut | Outcome::Undecoded => Answer::Retry(message),
    }
}

/// Sets the flag at SIGTERM. Without it SIGTERM would kill the process, and the handler could not clean up.
fn listen(stop: &Arc<AtomicBool>) {
    static LISTENS: OnceLock<()> = OnceLock::new();
    let stop = Arc::clone(stop);
    LISTENS.get_or_init(|| {
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
                let _ = ready.send(());
                while terminated.recv().await.is_some() {
                    stop.store(true, Ordering::Relaxed);
                }
            });
        });
        // Fails if there is no listener: then SIGTERM kills.
        let _ = is_ready.recv();
    });
}

/// What the worker records for the last line of such a process.
pub(crate) fn of_answer(line: &Json) -> Result<Json, Failure> {
    match line.decode() {
        Ok(Answer::Output(output)) => Ok(output),
        Ok(Answer::Retry(message)) => Err(Failure::retry(message)),
        Ok(Answer::RetryAfter(delay, message)) => Err(Failure::retry_after(delay, message)),
        Ok(Answer::Panicked(message)) => Err(Failure::new(Outcome::Panicked, message)),
        Ok(Answer::Discard(message)) => Err(Failure::discard(message)),
        Ok(Answer::Cancel(message)) => Err(Failure::cancel(message)),
        Ok(Answer::Snooze(delay)) => Err(Failure::snooze(delay)),
        Err(_) => Err(Failure::retry("the process of the handler ended with 0, but without an answer")),
    }
}

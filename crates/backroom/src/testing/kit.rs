//! For programs that use Backroom: run jobs in a test, and say what must have been enqueued.

use std::{future::Future, sync::Arc};

use backroom_core::{Attempt, JobRow, LogLine, State};

use crate::{Backroom, Context, Error, Failure, Filter, Job, Options, Worker, clock::Clock};

/// Runs everything that is due in the worker's queues, and everything that becomes due by it, then returns. Jobs
/// that are scheduled for later or wait out a back-off stay; move a [`TestClock`](super::TestClock) and drain again.
///
/// ```
/// # use backroom::{Backroom, Context, Failure, Job, Worker, testing};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Add(u32, u32);
/// # impl Job for Add { const KIND: &'static str = "add"; type Output = u32; }
/// # #[tokio::main] async fn main() -> Result<(), backroom::Error> {
/// let backroom = Backroom::open("memory:").await?;
/// let job = backroom.enqueue(Add(1, 2)).await?;
/// let add = async |job: Add, _: Context| Ok::<_, Failure>(job.0 + job.1);
/// testing::drain(Worker::new(&backroom).handle(add)).await?;
/// assert_eq!(job.wait().await?, 3);
/// # Ok(()) }
/// ```
pub async fn drain(worker: Worker) -> Result<(), Error> {
    worker.run_until_empty().await
}

/// What a handler did with one job.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Performed {
    /// The job afterwards: its state, output, progress, reason.
    pub job: JobRow,
    /// Its attempt, if it did not succeed.
    pub attempts: Vec<Attempt>,
    /// What it logged.
    pub lines: Vec<LogLine>,
}

impl Performed {
    /// The output of the type that `J` returns; an error that says how the job ended if it did not complete.
    pub fn output<J: Job>(&self) -> Result<J::Output, Failure> {
        match (&self.job.output, self.attempts.last()) {
            (Some(output), _) => Ok(output.decode()?),
            (None, Some(attempt)) => Err(Failure::retry(attempt.error.as_str())),
            (None, None) => Err(Failure::retry(format!("the job is {}", self.job.state))),
        }
    }
}

/// Runs one attempt of one job through its handler, with everything a worker does around it (decoding, panics,
/// timeout, progress, log), on a store of its own that is thrown away.
pub async fn perform<J, F, R>(handler: F, job: J) -> Result<Performed, Error>
where
    J: Job,
    F: Fn(J, Context) -> R + Send + Sync + 'static,
    R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
{
    perform_with(|worker| worker.handle(handler), job, None).await
}

/// As [`perform`], with a worker of your making (its state, its middleware, a blocking handler), and the clock.
pub async fn perform_with<J: Job>(
    build: impl FnOnce(Worker) -> Worker,
    job: J,
    clock: Option<Arc<dyn Clock>>,
) -> Result<Performed, Error> {
    let options = clock.map_or_else(Options::new, |clock| Options::new().clock(clock));
    let backroom = options.open("memory:").await?;
    let handle = backroom.enqueue(job).await?;
    drain(build(Worker::new(&backroom).queue(J::QUEUE, 1))).await?;
    Ok(Performed {
        job: handle.status().await?,
        attempts: backroom.attempts(handle.id()).await?,
        lines: backroom.log(handle.id(), 0).await?,
    })
}

/// The live jobs of type `J` whose args satisfy `matches`, the newest first.
pub async fn enqueued<J: Job>(
    backroom: &Backroom,
    matches: impl Fn(&J) -> bool,
) -> Result<Vec<JobRow>, Error> {
    let states = State::ALL.into_iter().filter(|state| !state.is_finished()).collect();
    let filter = Filter { kind: Some(J::KIND.into()), states, ..Filter::default() };
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = backroom.list(filter.clone(), before, 500).await?;
        for job in page.jobs {
            if matches(&job.args.decode::<J>()?) {
                found.push(job);
            }
        }
        before = page.next;
        if before.is_none() {
            return Ok(found);
        }
    }
}

/// Asserts that exactly one live job of type `J` has args that satisfy `matches`, and returns it.
///
/// # Panics
/// If there is none or more than one; the message lists what was found instead.
pub async fn assert_enqueued<J: Job>(backroom: &Backroom, matches: impl Fn(&J) -> bool) -> JobRow {
    let mut found = look(enqueued::<J>(backroom, &matches).await);
    if found.len() == 1 {
        return found.remove(0);
    }
    let all = look(enqueued::<J>(backroom, |_| true).await);
    let args: Vec<_> = all.iter().map(|job| job.args.to_string()).collect();
    panic!("expected one live {} job that matches, found {}; live ones: {args:?}", J::KIND, found.len());
}

/// Asserts that no live job of type `J` has args that satisfy `matches`.
///
/// # Panics
/// If there is one; the message shows its args.
pub async fn refute_enqueued<J: Job>(backroom: &Backroom, matches: impl Fn(&J) -> bool) {
    let found = look(enqueued::<J>(backroom, matches).await);
    let args: Vec<_> = found.iter().map(|job| job.args.to_string()).collect();
    assert!(args.is_empty(), "expected no live {} job that matches, found {args:?}", J::KIND);
}

fn look<T>(found: Result<T, Error>) -> T {
    found.unwrap_or_else(|error| panic!("the store did not answer: {error}"))
}

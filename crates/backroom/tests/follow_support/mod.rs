//! A job that writes thousands of lines in a process that is killed, and readers who are cut off again and again.

#![allow(dead_code, reason = "each store's test uses what it needs")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

use std::{
    env,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backroom::{
    AttemptEnd, Backroom, Context, Cursor, Failure, JobEvent, JobId, Json, News, RetryPolicy, State, Worker,
};
use futures_util::StreamExt as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const CHILD: &str = "BACKROOM_TEST_FOLLOW_CHILD";
/// Lines of each run.
const LINES: u32 = 900;
/// Each reader is cut off so often at least.
const CUTS: usize = 1000;
/// Nothing takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(240);

/// The worker's process. Without the variable the test is no child and has nothing to do.
pub(crate) async fn work_if_asked() {
    let Ok(url) = env::var(CHILD) else { return };
    let backroom = Backroom::open(&url).await.unwrap();
    let worker = Worker::new(&backroom).lease(Duration::from_secs(2)).poll(Duration::from_millis(100));
    let worker = worker.handle_untyped("talks", async |_, ctx: Context| {
        for line in 0..LINES {
            if line % 9 == 0 {
                ctx.progress(u8::try_from(line * 100 / LINES).unwrap(), "talks");
            }
            ctx.log(format!("{}.{line}", ctx.attempt()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if ctx.attempt() < 3 { Err(Failure::retry("once more")) } else { Ok(Json::null()) }
    });
    let _running = worker.start().await.unwrap();
    // Until the parent kills the process.
    std::future::pending::<()>().await;
}

struct Process(Child);

impl Process {
    fn start(url: &str) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["worker_process", "--exact"])
            .env(CHILD, url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    /// As `kill -9`.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two readers who are cut off at random, one who is not, and one who comes after the end: each sees each line and each ended
/// attempt once, all in one order.
pub(crate) async fn each_event_comes_once_and_in_order_however_often_readers_are_cut_off(url: &str) {
    let backroom = Backroom::open(url).await.unwrap();
    let job = backroom.enqueue_untyped("talks", Json::null());
    let job = job.retry(RetryPolicy::constant(Duration::from_millis(50))).await.unwrap().id();
    let first = Process::start(url);
    let kill = async {
        // In the middle of the second run.
        let mut events = backroom.follow(job, None);
        while let Some(event) = events.next().await {
            if matches!(event.unwrap().news, News::Line(line) if line.line == format!("2.{}", LINES / 3)) {
                break;
            }
        }
        drop(first);
        Process::start(url)
    };
    let all = async {
        let (whole, (one, cuts), (other, _), second) = tokio::join!(
            read_whole(&backroom, job),
            read_in_pieces(&backroom, job, 1),
            read_in_pieces(&backroom, job, 2),
            kill
        );
        assert!(cuts >= CUTS, "only {cuts} cuts");
        drop(second);
        (whole, one, other)
    };
    let (whole, one, other) = tokio::time::timeout(LIMIT, all).await.expect("the job ends in time");
    let after = read_whole(&backroom, job).await;
    for (who, read) in [("cut off", &one), ("cut off, too", &other), ("after the end", &after)] {
        assert_eq!(recorded(read), recorded(&whole), "the reader {who}");
    }
    is_all_there_is(&backroom, job, &whole).await;
    backroom.close().await.unwrap();
}

/// Follows without a cut.
async fn read_whole(backroom: &Backroom, job: JobId) -> Vec<JobEvent> {
    let events: Vec<_> = backroom.follow(job, None).collect().await;
    events.into_iter().map(Result::unwrap).collect()
}

/// Follows, and is cut off after a few events or in the middle of a wait. Each cursor goes through its text.
async fn read_in_pieces(backroom: &Backroom, job: JobId, seed: u64) -> (Vec<JobEvent>, usize) {
    let mut chance = StdRng::seed_from_u64(seed);
    let (mut read, mut cuts): (Vec<JobEvent>, usize) = (Vec::new(), 0);
    let mut cursor: Option<Cursor> = None;
    loop {
        let mut events = backroom.follow(job, cursor);
        let until = Instant::now() + Duration::from_millis(chance.random_range(0..400));
        for _ in 0..chance.random_range(1..=3) {
            let Ok(event) = tokio::time::timeout_at(until.into(), events.next()).await else { break };
            let Some(event) = event else { return (read, cuts) };
            let event = event.unwrap();
            cursor = Some(event.cursor.to_string().parse().unwrap());
            read.push(event);
        }
        cuts += 1;
    }
}

/// What must be the same for all: lines and attempts.
fn recorded(events: &[JobEvent]) -> Vec<&News> {
    let is_recorded = |news: &&News| matches!(news, News::Line(_) | News::Attempt(_));
    events.iter().map(|event| &event.news).filter(is_recorded).collect()
}

/// The events are what is stored, and the end comes last.
async fn is_all_there_is(backroom: &Backroom, job: JobId, events: &[JobEvent]) {
    let (mut lines, mut attempts) = (Vec::new(), Vec::new());
    for event in events {
        match &event.news {
            News::Line(line) => lines.push(line.clone()),
            News::Attempt(attempt) => attempts.push(attempt.clone()),
            _ => {}
        }
    }
    let mut stored = Vec::new();
    loop {
        let page = backroom.log(job, stored.len()).await.unwrap();
        if page.is_empty() {
            break;
        }
        stored.extend(page);
    }
    assert_eq!(lines, stored);
    assert_eq!(attempts, backroom.attempts(job).await.unwrap());
    let ends: Vec<_> = attempts.iter().map(|attempt| attempt.end).collect();
    assert_eq!(ends, [AttemptEnd::Failed, AttemptEnd::Crashed, AttemptEnd::Failed]);
    // The first, the third and the fourth run wrote all of their lines; the second was killed.
    let texts = |attempt: u32| (0..LINES).map(move |line| format!("{attempt}.{line}"));
    let whole: Vec<String> = texts(2).chain(texts(3)).collect();
    let said: Vec<String> = lines.iter().map(|line| line.line.clone()).collect();
    assert!(said.ends_with(&whole), "the last two runs");
    assert!(said.starts_with(&texts(1).collect::<Vec<_>>()), "the first run");
    assert!(
        said.len() > whole.len() + LINES as usize + (LINES / 3) as usize,
        "part of the run that was killed"
    );
    assert!(matches!(&events.last().unwrap().news, News::State(row) if row.state == State::Completed));
}

//! A worker process that runs commands, killed with `kill -9` again and again under load: no job is lost, no job ends twice, and no
//! process of a command survives. The test starts itself again as the worker process.

#![cfg(all(feature = "exec", feature = "sqlite", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod exec_support;

use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use backroom::{AttemptEnd, Backroom, DisplayState, State, Worker};
use exec_support::{json, living, mark, sh, until};

const CHILD: &str = "BACKROOM_TEST_EXEC_KILL_CHILD";
const JOBS: usize = 60;
const KILLS: u64 = 10;

/// The worker process: `file mark`. Without the variable it is no child and has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_process() {
    let Ok(orders) = env::var(CHILD) else { return };
    let (file, mark) = orders.split_once(' ').unwrap();
    let backroom = Backroom::open(&format!("sqlite:{file}")).await.unwrap();
    // Each leaves a process in a session of its own, and works for a while.
    let script = format!("setsid sleep {mark} & sleep 0.1; cat");
    let worker = Worker::new(&backroom).queue("default", 4).command("command", sh(&script));
    let _worker =
        worker.lease(Duration::from_secs(2)).poll(Duration::from_millis(100)).start().await.unwrap();
    std::future::pending::<()>().await;
}

fn start(orders: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["a_worker_process", "--exact"])
        .env(CHILD, orders)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns when so many jobs have ended.
async fn finished(backroom: &Backroom, count: u64) {
    let counting = async {
        loop {
            let counts = backroom.counts().await.unwrap();
            let ended = counts.iter().filter(|count| count.state == DisplayState::Completed);
            if ended.map(|count| count.jobs).sum::<u64>() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), counting).await.expect("jobs end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_again_and_again_loses_no_job_and_leaves_no_process() {
    let (dir, mark) = (tempfile::tempdir().unwrap(), mark());
    let file = dir.path().join("jobs.db");
    let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await.unwrap();
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        jobs.push(backroom.enqueue_untyped("command", json(&number.to_string())).await.unwrap());
    }
    let orders = format!("{} {mark}", file.display());
    for kill in 0..KILLS {
        let mut worker = start(&orders);
        // Jobs must end in between, or their worker's deaths would count against them.
        finished(&backroom, (kill + 1) * 4).await;
        until("a command", || !living(&format!("sleep {mark}")).is_empty()).await;
        // At a different moment of the runs each time.
        tokio::time::sleep(Duration::from_millis(kill * 17)).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        until("no process", || living(&mark).is_empty()).await;
    }
    let mut worker = start(&orders);
    for (number, job) in jobs.iter().enumerate() {
        let row =
            tokio::time::timeout(Duration::from_secs(240), job.finished()).await.expect("its end").unwrap();
        assert_eq!(row.state, State::Completed, "{row:?}");
        assert_eq!(row.output.unwrap().as_str(), number.to_string());
        let attempts = backroom.attempts(row.id).await.unwrap();
        assert!(attempts.iter().all(|attempt| attempt.end == AttemptEnd::Crashed), "{attempts:?}");
    }
    until("no process", || living(&format!("sleep {mark}")).is_empty()).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
}

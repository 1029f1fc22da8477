//! Promises 1, 2 and 3 on the real binary: killed with `kill -9` under load, again and again, it loses nothing that it
//! acknowledged, and every job ends once.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use backroom::{AttemptEnd, Backroom, JobId, Json, State, Worker};

const KILLS: u64 = 30;
/// Bytes of one line of the ledger: a UUID and a line feed.
const LINE_BYTES: u64 = 37;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_kills_under_load_lose_no_acknowledged_job_and_end_each_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, ledger) = (dir.path().join("jobs.db"), dir.path().join("ledger"));
    for kill in 0..KILLS {
        let mut child = start(&file, &ledger);
        // Lives until it has acknowledged some more jobs, differently many in each life.
        wait_until_longer(&ledger, &mut child, 200 * (kill % 7 + 1));
        child.kill().expect("kill -9");
        child.wait().expect("the end of the child");
    }
    let acknowledged = read(&ledger);
    assert!(acknowledged.len() as u64 > KILLS * 200, "there was load: {} jobs", acknowledged.len());

    let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await.expect("the store opens");
    let worker = Worker::new(&backroom).queue("bench", 50);
    let worker = worker.handle_untyped("bench_noop", async |_, _| Ok(Json::null()));
    let worker = worker.start().await.expect("a worker");
    for id in &acknowledged {
        let handle = backroom.handle_untyped(*id);
        let finished = tokio::time::timeout(Duration::from_secs(60), handle.finished());
        let job = finished.await.expect("every job ends").expect("an acknowledged job is there");
        match job.state {
            State::Completed => assert_eq!(job.output, Some(Json::null()), "{job:?}"),
            state => panic!("job {id} ended as {state}"),
        }
        // The record of its runs is whole: an entry per crash, and no failure.
        let attempts = backroom.attempts(*id).await.expect("its attempts");
        assert!(attempts.len() >= job.crashes as usize, "{job:?} {attempts:?}");
        assert!(attempts.iter().all(|attempt| attempt.end == AttemptEnd::Crashed), "{job:?} {attempts:?}");
    }
    // Jobs whose acknowledgement was cut off end as well. One that crashed waits for its next attempt.
    let end = async {
        loop {
            let counts = backroom.counts().await.expect("counts");
            if counts.iter().all(|count| ["completed", "discarded"].contains(&count.state.as_str())) {
                return;
            }
            backroom.clock().sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("every job that is stored ends");
    worker.stop().await.expect("the worker stops");
    let checks = backroom.health().await.expect("health").checks;
    assert!(checks.iter().all(|check| check.ok), "{checks:?}");
}

fn start(file: &Path, ledger: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_backroom"))
        .args(["--store", &format!("sqlite:{}", file.display()), "bench", "--scenario", "steady"])
        .args(["--jobs", "1000000", "--lease-ms", "500", "--ledger"])
        .arg(ledger)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, on the machine's clock")]
fn wait_until_longer(ledger: &Path, child: &mut Child, lines: u64) {
    let size = || fs::metadata(ledger).map_or(0, |found| found.len());
    let (enough, start) = (size() + LINE_BYTES * lines, Instant::now());
    while size() < enough {
        assert!(child.try_wait().expect("the child's state").is_none(), "it ended by itself");
        assert!(start.elapsed() < Duration::from_secs(60), "it enqueues nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whole lines only: an id that a kill cut off was not acknowledged.
fn read(ledger: &Path) -> HashSet<JobId> {
    let text = fs::read_to_string(ledger).expect("the ledger");
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

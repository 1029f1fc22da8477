//! How commands are ended, with all their descendants, whatever they and the worker do.

#![cfg(all(feature = "exec", target_os = "linux"))]
#![expect(clippy::disallowed_methods, reason = "the tests run on real time")]

mod exec_support;

use std::{
    env,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use backroom::{AttemptEnd, Backroom, State, Worker, command::CommandSpec};
use exec_support::{Office, json, living, mark, run, sh, until};

/// A script that starts descendants of many kinds and then waits.
fn family(mark: &str) -> String {
    format!(
        "sleep {mark} & setsid sleep {mark} & (setsid sh -c 'sleep {mark} & sleep {mark}' &) ; \
         setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep {mark}; done' & \
         sh -c 'sleep {mark} & exec setsid sleep {mark}' & sleep {mark}"
    )
}

const FAMILY: usize = 7;

#[tokio::test]
async fn what_a_command_leaves_running_is_ended_with_it() {
    let mark = mark();
    let run = run(sh(&format!("{} & sleep 0.3; echo 5", family(&mark))), "null").await;
    assert_eq!(run.output(), "5");
    assert_eq!(living(&mark), [0; 0]);
    assert!(
        run.log.iter().any(|line| line.ends_with("processes that the command left running were ended")),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_timeout_ends_the_command_with_all_its_descendants_before_it_is_recorded() {
    let mark = mark();
    let office = Office::new(sh(&family(&mark))).await;
    let job = office.backroom.enqueue_untyped("command", json("null")).timeout(Duration::from_millis(700));
    let job = job.max_attempts(1).await.unwrap();
    until("the family", || living(&mark).len() >= FAMILY).await;
    let run = office.finished(&job).await;
    assert_eq!(run.attempts[0].end, AttemptEnd::TimedOut, "{run:?}");
    assert_eq!(living(&mark), [0; 0]);
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_after_its_grace() {
    let mark = mark();
    let script = format!("trap 'echo asked >&2' TERM; while :; do sleep {mark}; done");
    let office = Office::new(sh(&script).grace(Duration::from_millis(500))).await;
    let job = office.enqueue("null").await;
    until("it runs", || !living(&format!("sleep {mark}")).is_empty()).await;
    let began = Instant::now();
    job.cancel().await.unwrap();
    let run = office.finished(&job).await;
    assert_eq!(run.row.state, State::Cancelled);
    let killed = "processes of the command did not end within its grace, and were killed";
    assert!(run.log.contains(&"asked".into()) && run.log.contains(&killed.into()), "{run:?}");
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(living(&mark), [0; 0]);
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_that_finishes_within_its_grace_has_done_its_work_although_its_job_was_cancelled() {
    let script = "trap 'echo 42; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done";
    let office = Office::new(sh(script).grace(Duration::from_secs(20))).await;
    let job = office.enqueue("null").await;
    while office.backroom.log(job.id(), 0).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    job.cancel().await.unwrap();
    let run = office.finished(&job).await;
    assert_eq!((run.row.state, run.output()), (State::Completed, "42"));
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopping_worker_ends_its_commands_and_charges_no_attempt() {
    let mark = mark();
    let office = Office::new(sh(&family(&mark))).await;
    let job = office.enqueue("null").await;
    until("the family", || living(&mark).len() >= FAMILY).await;
    office.worker.stop().await.unwrap();
    assert_eq!(living(&mark), [0; 0]);
    let row = job.status().await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Queued, 0, 0));
}

#[tokio::test]
async fn a_dropped_worker_ends_its_commands_after_their_grace() {
    let mark = mark();
    let office = Office::new(sh(&family(&mark))).await;
    office.enqueue("null").await;
    until("the family", || living(&mark).len() >= FAMILY).await;
    drop(office);
    until("no process", || living(&mark).is_empty()).await;
    until("no zombie", || exec_support::zombies() == 0).await;
}

#[tokio::test]
async fn a_lost_lease_ends_the_command() {
    let mark = mark();
    let backroom = Backroom::open("memory:").await.unwrap();
    let worker = Worker::new(&backroom).command("command", sh(&family(&mark)));
    let worker = worker.lease(Duration::from_millis(300)).start().await.unwrap();
    let job = backroom.enqueue_untyped("command", json("null")).await.unwrap();
    until("the family", || living(&mark).len() >= FAMILY).await;
    backroom.pause("default").await.unwrap();
    let (part, span) = (backroom::core::Part::Beside, backroom::core::bounds::CRASH_SPAN);
    let died = backroom::core::Event::LeaseLost(backroom::core::Loss::Died { part, span });
    let row = job.status().await.unwrap();
    let change = backroom::core::transition::apply(&row, died, backroom.clock().now()).unwrap().unwrap();
    backroom.store().commit(vec![change].into()).await.unwrap();
    until("no process", || living(&mark).is_empty()).await;
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_that_forks_without_end_is_ended() {
    let mark = mark();
    // Each process starts another in a session of its own, and ends.
    let script = format!(
        "perl -MPOSIX -e '$0 = \"comet {mark}\"; my $n = 0; while ($n++ < 20000) {{ exit if fork; setsid() }}' & sleep {mark}"
    );
    let office = Office::new(sh(&script)).await;
    let job = office.enqueue("null").await;
    until("it forks", || !living(&mark).is_empty()).await;
    job.cancel().await.unwrap();
    office.finished(&job).await;
    assert_eq!(living(&mark), [0; 0]);
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_supervisor_that_is_killed_takes_its_command_along_and_the_job_fails() {
    let mark = mark();
    for limited in [false, true] {
        let spec = sh(&format!("sleep {mark} & sleep {mark}"));
        let office = Office::new(if limited { spec.open_files_max(100) } else { spec }).await;
        let job = office.enqueue("null").await;
        until("it runs", || living(&format!("sleep {mark}")).len() >= 2).await;
        let command = living(&format!("sh -c sleep {mark}"))[0];
        let stat = std::fs::read_to_string(format!("/proc/{command}/stat")).unwrap();
        let supervisor = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().to_owned();
        assert!(Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
        let run = office.finished(&job).await;
        assert_eq!(run.attempts[0].end, AttemptEnd::Failed, "{run:?}");
        assert!(run.error().starts_with("the supervisor of the command was killed"), "{}", run.error());
        until("no process", || living(&mark).is_empty()).await;
        office.worker.stop().await.unwrap();
    }
}

const CHILD: &str = "BACKROOM_TEST_EXEC_CHILD";

/// The process of a worker that the next test kills. Without the variable it is no child and has nothing to do.
#[tokio::test]
async fn a_worker_process() {
    let Ok(mark) = env::var(CHILD) else { return };
    let office = Office::new(sh(&family(&mark))).await;
    for _ in 0..3 {
        office.enqueue("null").await;
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_no_descendant_of_its_commands_beyond_their_grace() {
    for _ in 0..3 {
        let mark = mark();
        let mut worker = Command::new(env::current_exe().unwrap())
            .args(["a_worker_process", "--exact"])
            .env(CHILD, &mark)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("three families", || living(&format!("sleep {mark}")).len() >= 3 * FAMILY).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        let died = Instant::now();
        until("no process", || living(&mark).is_empty()).await;
        // The grace is 0.3 s; the rest is for a busy machine.
        assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    }
}

#[tokio::test]
async fn a_terminal_signal_to_the_workers_group_does_not_reach_commands() {
    let mark = mark();
    let office = Office::new(CommandSpec::clone(&sh(&format!("sleep {mark}")))).await;
    let job = office.enqueue("null").await;
    until("it runs", || !living(&format!("sleep {mark}")).is_empty()).await;
    let session = |id: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned()
    };
    let own = session(i32::try_from(std::process::id()).unwrap());
    assert_ne!(session(living(&format!("sleep {mark}"))[0]), own);
    job.cancel().await.unwrap();
    office.finished(&job).await;
    office.worker.stop().await.unwrap();
}

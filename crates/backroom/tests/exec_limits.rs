//! What commands may use, and as which user they run.

#![cfg(all(feature = "exec", target_os = "linux"))]

mod exec_support;

use backroom::{AttemptEnd, command::Output};
use exec_support::{Office, run, sh};

#[tokio::test]
async fn memory_beyond_the_limit_is_refused_to_the_command() {
    // `tail` holds the only line in memory.
    let hungry = "head -c 300000000 /dev/zero | tail >/dev/null && echo 1";
    let within = run(sh(hungry).memory_max(2_000_000_000), "null").await;
    assert_eq!(within.output(), "1");
    let beyond = run(sh(hungry).memory_max(100_000_000), "null").await;
    assert_eq!(beyond.attempts[0].end, AttemptEnd::Failed);
    assert!(beyond.error().contains("memory exhausted"), "{}", beyond.error());
}

#[tokio::test]
async fn cpu_time_beyond_the_limit_ends_the_command() {
    let run = run(sh("while :; do :; done").cpu_secs_max(1), "null").await;
    let expected = "the command was killed by signal 24 (SIGXCPU): it used more CPU time than its limit";
    assert_eq!(run.error(), expected);
}

#[tokio::test]
async fn cpu_time_of_a_command_that_ignores_the_first_signal_is_limited_too() {
    let run = run(sh("trap '' XCPU; while :; do :; done").cpu_secs_max(1), "null").await;
    assert!(run.error().starts_with("the command was killed by signal 9 (SIGKILL)"), "{}", run.error());
}

#[tokio::test]
async fn limits_are_those_of_the_command_and_not_of_its_supervisor() {
    let spec = sh("ulimit -n; ulimit -v; ulimit -t; ulimit -c")
        .open_files_max(33)
        .memory_max(1 << 30)
        .cpu_secs_max(9);
    let run = run(spec.output(Output::Text), "null").await;
    assert_eq!(run.output(), "\"33\\n1048576\\n9\\n0\\n\"");
}

#[tokio::test]
async fn a_command_runs_as_the_user_it_was_given_without_the_groups_of_the_worker() {
    if !is_root() {
        return;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let account: Vec<_> =
        accounts.lines().find(|line| line.starts_with("daemon:")).unwrap().split(':').collect();
    let (gid, home) = (account[3], account[5]);
    for limited in [false, true] {
        let spec =
            sh("id -un; id -G; echo $HOME; echo open >/dev/stderr; cat").user("daemon").output(Output::Text);
        let run = run(if limited { spec.open_files_max(50) } else { spec }, "[1]").await;
        assert_eq!(run.output(), format!("\"daemon\\n{gid}\\n{home}\\n[1]\""), "{run:?}");
        assert_eq!(run.log, ["open"]);
    }
}

#[tokio::test]
async fn processes_beyond_the_limit_are_refused_to_the_command() {
    if !is_root() {
        return;
    }
    // A user that no other test has.
    let spec = sh("sleep 5 & sleep 5 & sleep 5 & sleep 5 & echo 1").user_ids(54_321, 54_321).processes_max(3);
    let run = run(spec, "null").await;
    assert_eq!(run.attempts[0].end, AttemptEnd::Failed, "{run:?}");
    assert!(run.error().to_lowercase().contains("fork"), "{}", run.error());
}

#[tokio::test]
async fn a_control_group_holds_all_processes_of_a_command_and_is_removed_with_them() {
    let Some(parent) = cgroup_parent() else {
        exec_support::not_run("control groups of commands: this machine lets no test make one");
        return;
    };
    let mark = exec_support::mark();
    let script = format!("setsid sleep {mark} & sleep 0.1; grep ^0:: /proc/self/cgroup; trap '' TERM");
    let run = run(sh(&script).cgroup(&parent).output(Output::Text), "null").await;
    assert!(run.output().contains("/backroom-run-"), "{run:?}");
    assert_eq!(exec_support::living(&mark), [0; 0]);
    let has = |controller: &str| {
        let enabled = std::fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap();
        enabled.split_whitespace().any(|name| name == controller)
    };
    if has("memory") {
        let hungry = "head -c 300000000 /dev/zero | tail >/dev/null";
        let run = exec_support::run(sh(hungry).cgroup(&parent).memory_max(100_000_000), "null").await;
        assert!(run.error().starts_with("the command used more memory than its limit"), "{}", run.error());
    } else {
        exec_support::not_run(
            "the memory limit of a control group: this machine has no memory controller in cgroup v2",
        );
    }
    let left: Vec<_> =
        std::fs::read_dir(&parent).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir(&parent).unwrap();
}

/// A fresh control group below the root of the cgroup file system, if this machine lets the test make one.
fn cgroup_parent() -> Option<std::path::PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount =
        mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?.to_owned();
    let parent = std::path::Path::new(&mount).join(format!("backroom-test-{}", std::process::id()));
    std::fs::create_dir(&parent).ok()?;
    Some(parent)
}

#[tokio::test]
async fn a_folder_that_is_no_control_group_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let backroom = backroom::Backroom::open("memory:").await.unwrap();
    let spec = sh("true").cgroup(dir.path());
    let error = backroom::Worker::new(&backroom).command("command", spec).start().await.unwrap_err();
    assert!(error.to_string().contains("control groups cannot be made in"), "{error}");
}

/// Only root can change the user; the tests of other users say so.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        exec_support::not_run("commands as another user: only root can start them");
    }
    is_root
}

#[tokio::test]
async fn a_worker_that_is_not_root_is_refused_another_user() {
    if rustix::process::geteuid().is_root() {
        // The other half of the check needs another user; the start succeeds here.
        let office = Office::new(sh("true").user("daemon")).await;
        office.worker.stop().await.unwrap();
        return;
    }
    let backroom = backroom::Backroom::open("memory:").await.unwrap();
    let error = backroom::Worker::new(&backroom)
        .command("command", sh("true").user("daemon"))
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("only a worker that runs as root"), "{error}");
}

//! Commands as handlers, with real processes: what they get, what they answer, and what bad ones bring about.

#![cfg(all(feature = "exec", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test a panic is the report, on real time"
)]

mod exec_support;

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use backroom::{
    AttemptEnd, Backroom, ErrorKind, State, Worker,
    command::{CommandSpec, Output},
};
use exec_support::{Office, SUPERVISOR, json, run, sh};

#[tokio::test]
async fn a_command_gets_the_args_and_its_stdout_is_the_output() {
    let run = run(sh("cat"), "{\"width\": [1, 2]}").await;
    assert_eq!((run.row.state, run.output()), (State::Completed, "{\"width\": [1, 2]}"));
}

#[tokio::test]
async fn a_command_gets_the_environment_it_was_given_and_no_other() {
    let script = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort; pwd";
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap();
    let spec = sh(script)
        .pass_env(["PATH"])
        .env("COLOUR", "blue")
        .env("EMPTY", "")
        .folder(&folder)
        .output(Output::Text);
    let run = run(spec, "null").await;
    let text: String = run.row.output.as_ref().unwrap().decode().unwrap();
    let expected = format!(
        "BACKROOM_ATTEMPT=1\nBACKROOM_JOB_ID={}\nBACKROOM_KIND=command\nBACKROOM_QUEUE=default\nCOLOUR=blue\nEMPTY=\nPATH={}\n{}\n",
        run.row.id,
        std::env::var("PATH").unwrap(),
        folder.display()
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn stderr_is_the_log_and_reports_progress() {
    let script = "echo one >&2; echo 'backroom:progress 40 resizing' >&2; echo >&2; printf 'last' >&2";
    let run = run(sh(script), "null").await;
    assert_eq!(run.output(), "null");
    assert_eq!(run.log, ["one", "", "last"]);
    let progress = run.row.progress.unwrap();
    assert_eq!((progress.percent, progress.message.as_str()), (40, "resizing"));
}

#[tokio::test]
async fn more_log_lines_than_are_stored_are_counted() {
    let run = run(sh("seq 1 5000 >&2"), "null").await;
    assert_eq!(run.log.len(), 1001);
    assert_eq!(run.log.last().unwrap(), "4000 more lines were left out");
}

#[tokio::test]
async fn exit_codes_say_what_becomes_of_the_job() {
    let office = Office::new(sh("echo why >&2; exit $(cat)")).await;
    let done = office.run("0").await;
    assert_eq!((done.row.state, done.output()), (State::Completed, "null"));
    let discarded = office.run("65").await;
    assert_eq!(discarded.attempts[0].end, AttemptEnd::Discarded, "{discarded:?}");
    assert_eq!(discarded.error(), "the command exited with 65 (discard): why");
    for (code, expected) in
        [("75", "the command exited with 75 (try again): why"), ("3", "the command exited with 3: why")]
    {
        let failed = office.run(code).await;
        assert_eq!((failed.attempts[0].end, failed.error()), (AttemptEnd::Failed, expected));
    }
    let snoozed = office.enqueue("69").await;
    let waits = async {
        while snoozed.status().await.unwrap().scheduled_at <= snoozed.status().await.unwrap().created_at {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(exec_support::LIMIT, waits).await.unwrap();
    let row = snoozed.status().await.unwrap();
    assert_eq!((row.state, row.attempt), (State::Queued, 0), "no attempt is charged");
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_command_says_when_it_wants_to_run_again() {
    // The first run asks for the second, which asks for a third by another code, which succeeds.
    let dir = tempfile::tempdir().unwrap();
    let script = "n=$(ls | wc -l); touch $n
        case $n in
            0) echo 'backroom:snooze 0.05' >&2; exit 69;;
            1) echo 'backroom:retry 0.05' >&2; exit 75;;
            *) echo $BACKROOM_ATTEMPT;;
        esac";
    let office = Office::new(sh(script).folder(dir.path())).await;
    let job = office.backroom.enqueue_untyped("command", json("null")).await.unwrap();
    let run = office.finished(&job).await;
    assert_eq!(run.output(), "2");
    assert_eq!(run.attempts.len(), 1, "{run:?}");
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn garbage_on_stdout_discards_the_job() {
    for script in ["echo hello", "printf '\\377'", "echo 1; echo 2", "head -c 100000 /dev/urandom"] {
        let run = run(sh(script), "null").await;
        assert_eq!(
            (run.row.state, run.attempts[0].end),
            (State::Discarded, AttemptEnd::Discarded),
            "{script}"
        );
        assert!(run.error().starts_with("the command exited with 0, but "), "{}", run.error());
    }
}

#[tokio::test]
async fn the_last_line_is_the_output_if_that_was_chosen() {
    let run = run(sh("echo hello; echo; echo '{\"a\":1}'; echo").output(Output::LastLine), "null").await;
    assert_eq!(run.output(), "{\"a\":1}");
}

#[tokio::test]
async fn a_gigabyte_of_output_is_ended_at_the_bound() {
    for (output, script) in [
        (Output::Whole, "head -c 1000000000 /dev/zero"),
        (Output::LastLine, "head -c 1000000000 /dev/zero"),
        (Output::Text, "yes"),
        (Output::Whole, "trap '' PIPE TERM; while :; do echo 0123456789012345678901234567890123456789; done"),
    ] {
        let (began, before) = (Instant::now(), resident_kib());
        let run = run(sh(script).output(output), "null").await;
        assert_eq!(run.attempts[0].end, AttemptEnd::Discarded, "{run:?}");
        assert!(run.error().contains("1048576 bytes to stdout"), "{}", run.error());
        assert!(resident_kib() < before + 50_000, "{before} KiB grew to {} KiB", resident_kib());
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

/// The memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_flood_of_log_lines_costs_no_memory_and_no_output() {
    let before = resident_kib();
    let run = run(sh("head -c 200000000 /dev/zero >&2; yes | head -c 20000000 >&2; echo 7"), "null").await;
    assert_eq!(run.output(), "7");
    assert_eq!(run.log.len(), 1001);
    assert!(resident_kib() < before + 50_000, "{before} KiB grew to {} KiB", resident_kib());
}

#[tokio::test]
async fn a_command_that_closes_stdout_or_stderr_goes_on() {
    for script in ["exec >&-; sleep 0.1; echo late >&2", "exec >&- 2>&-; sleep 0.1"] {
        let run = run(sh(script), "null").await;
        assert_eq!((run.row.state, run.output()), (State::Completed, "null"), "{script}");
    }
}

#[tokio::test]
async fn args_that_are_not_read_hold_nothing_up() {
    let args = format!("\"{}\"", "x".repeat(900_000));
    for (script, expected) in [
        ("echo 1", "1"),
        ("exec <&-; echo 2", "2"),
        ("head -c 10 >/dev/null; echo 3", "3"),
        ("wc -c", "900002"),
    ] {
        let run = run(sh(script), &args).await;
        assert_eq!(run.output().trim(), expected, "{script}");
    }
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit_code() {
    for (signal, name) in
        [("SEGV", "11 (SIGSEGV)"), ("ABRT", "6 (SIGABRT)"), ("TERM", "15 (SIGTERM)"), ("KILL", "9 (SIGKILL)")]
    {
        let run = run(sh(&format!("kill -{signal} $$")), "null").await;
        assert_eq!(run.attempts[0].end, AttemptEnd::Failed);
        assert!(
            run.error().starts_with(&format!("the command was killed by signal {name}")),
            "{}",
            run.error()
        );
    }
}

#[tokio::test]
async fn a_command_that_cannot_run_is_refused_when_the_worker_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let backroom = Backroom::open("memory:").await.unwrap();
    let path = |name: &str| CommandSpec::new(name).supervised_by(SUPERVISOR);
    for (spec, why) in [
        (path("/nowhere/at/all"), "the program /nowhere/at/all does not exist"),
        (path("no-such-program"), "the program no-such-program is in no folder of the command's PATH"),
        (path("./here"), "the program ./here is a relative path"),
        (path("/usr"), "the program /usr is no file"),
        (path(plain.to_str().unwrap()), "is not executable; set its x permission"),
        (sh("").folder("/nowhere"), "there is no folder /nowhere"),
        (sh("").env("A=B", "c"), "\"A=B\" is no name of a variable"),
        (sh("").argument("a\0b"), "NUL byte"),
        (sh("").user("no-such-user"), "there is no user \"no-such-user\""),
        (sh("").supervised_by("/nowhere/supervisor"), "the supervisor /nowhere/supervisor does not exist"),
        (CommandSpec::new("sh"), "begin its main with backroom::command::supervise_if_asked()"),
    ] {
        let error = Worker::new(&backroom).command("command", spec).start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().contains("set up the command of kind \"command\"")
                && error.to_string().contains(why),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_program_that_is_gone_or_cannot_be_executed_is_a_failure_that_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let write = |text: &str, mode: u32| {
        let _ = std::fs::remove_file(&program);
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for limited in [false, true] {
        write("#!/bin/sh\necho 1\n", 0o755);
        let spec = CommandSpec::new(&program).supervised_by(SUPERVISOR);
        let office = Office::new(if limited { spec.open_files_max(100) } else { spec }).await;
        assert_eq!(office.run("null").await.output(), "1");
        std::fs::remove_file(&program).unwrap();
        let check = async |expected: &str| {
            let run = office.run("null").await;
            assert_eq!(run.attempts[0].end, AttemptEnd::Failed, "{run:?}");
            let begins = format!("the command did not begin: start {}: ", program.display());
            assert!(run.error().starts_with(&begins) && run.error().contains(expected), "{}", run.error());
        };
        check("No such file").await;
        write("#!/bin/sh\necho 1\n", 0o644);
        check("Permission denied").await;
        write("#!/nowhere/interpreter\n", 0o755);
        check("No such file").await;
        office.worker.stop().await.unwrap();
    }
}

#[tokio::test]
async fn two_hundred_runs_leave_no_process_no_open_file_and_no_temporary_file() {
    let temporary = tempfile::tempdir().unwrap();
    let mark = exec_support::mark();
    let spec = sh(&format!("sleep {mark} & case $(cat) in 1) exit 1;; 2) kill -9 $$;; esac; echo 1"));
    let office = Office::new(spec.env("TMPDIR", temporary.path())).await;
    office.run("0").await;
    let before = exec_support::open_files();
    let mut jobs = Vec::new();
    for number in 0..200 {
        jobs.push(office.enqueue(&(number % 3).to_string()).await);
    }
    for job in &jobs {
        office.finished(job).await;
    }
    exec_support::until("no zombie", || exec_support::zombies() == 0).await;
    assert_eq!(exec_support::living(&mark), [0; 0]);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    exec_support::until("as many files as before", || exec_support::open_files() <= before).await;
    office.worker.stop().await.unwrap();
}

#[tokio::test]
async fn the_program_on_the_page_about_commands_does_what_the_page_says() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
    let page = std::fs::read_to_string(page).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (script, file) = (dir.path().join("count.py"), dir.path().join("text"));
    std::fs::write(&script, program).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&file, "one two three").unwrap();
    let office = Office::new(CommandSpec::new(&script).supervised_by(SUPERVISOR)).await;
    let counted = office.run(&format!("{{\"file\": {file:?}}}")).await;
    assert_eq!(counted.output(), "{\"words\": 3}");
    assert_eq!(counted.row.progress.unwrap().message, "counting");
    let missing = office.run("{\"file\": \"/nowhere\"}").await;
    assert_eq!(missing.attempts[0].end, AttemptEnd::Discarded);
    assert!(missing.error().contains("No such file"), "{}", missing.error());
    office.worker.stop().await.unwrap();
}

/// Prints the rate; run it with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_at_a_rate_that_the_machine_sets() {
    const JOBS: u32 = 300;
    let spec = CommandSpec::new("true").supervised_by(SUPERVISOR);
    for (name, spec) in [("without limits", spec.clone()), ("with limits", spec.open_files_max(100))] {
        let began = Instant::now();
        for _ in 0..JOBS {
            std::process::Command::new("true").status().unwrap();
        }
        let plain = f64::from(JOBS) / began.elapsed().as_secs_f64();
        let office = Office::new(spec).await;
        let mut jobs = Vec::new();
        let began = Instant::now();
        for _ in 0..JOBS {
            jobs.push(office.enqueue("null").await);
        }
        for job in &jobs {
            assert_eq!(office.finished(job).await.row.state, State::Completed);
        }
        let rate = f64::from(JOBS) / began.elapsed().as_secs_f64();
        println!("{name}: {rate:.0} commands per second; plain fork and exec one after another: {plain:.0}");
        assert!(rate > 10.0, "{rate}");
        office.worker.stop().await.unwrap();
    }
}

//! Runs each example as a user would, and checks what it prints.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
#![expect(clippy::disallowed_methods, reason = "programs of their own run by real time")]

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// The longest run of an example, far more than one takes. One that hangs is killed, and fails its test.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the program prints when it is run in an empty folder.
fn run(binary: &str, arguments: &[&str], variables: &[(&str, String)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary);
    command.args(arguments).current_dir(folder.path());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (output, errors) = (read(program.stdout.take().unwrap()), read(program.stderr.take().unwrap()));
    let deadline = Instant::now() + PATIENCE;
    let (mut printed, mut reported) = (Vec::new(), Vec::new());
    let is_over = take(&output, deadline, &mut printed) && take(&errors, deadline, &mut reported);
    if !is_over {
        program.kill().unwrap();
    }
    let status = program.wait().unwrap();
    let (printed, reported) = (String::from_utf8_lossy(&printed), String::from_utf8_lossy(&reported));
    assert!(is_over, "{binary} still runs after {PATIENCE:?}:\n{printed}\n{reported}");
    assert!(status.success(), "{printed}\n{reported}");
    printed.into_owned()
}

/// What the stream of a program holds, in pieces as they come. It ends with the program.
fn read(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece)
            && sender.send(piece[..length].to_vec()).is_ok()
        {}
    });
    receiver
}

/// Gathers the pieces of a stream. Answers whether the stream ended before the deadline.
fn take(stream: &Receiver<Vec<u8>>, deadline: Instant, taken: &mut Vec<u8>) -> bool {
    loop {
        match stream.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(piece) => taken.extend(piece),
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

#[test]
fn the_shop_takes_an_order_and_packs_it() {
    let printed = run(env!("CARGO_BIN_EXE_shop"), &["--once"], &[]);
    assert!(printed.contains("packed: a parcel with socks"), "{printed}");
}

#[test]
fn duplicates_are_stored_once() {
    let printed = run(env!("CARGO_BIN_EXE_duplicates"), &[], &[]);
    for line in [
        "the second is the first: true",
        // Shop 7 waits already; that of shop 8 has another key.
        "of 1000 jobs, 499 were stored and 501 were duplicates",
        "default: 500 completed",
        "default: 1 scheduled",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn failures_are_retried_or_discarded() {
    let printed = run(env!("CARGO_BIN_EXE_failures"), &[], &[]);
    for line in [
        "attempt 1 of charge: Failed, now queued",
        "attempt 2 of charge: Succeeded, now completed",
        "charged 990 cents at attempt 2",
        "failed to charge: ",
        "nothing to charge",
        "attempt 1 had failed: the bank does not answer",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn a_schedule_is_put_triggered_and_backfilled() {
    let printed = run(env!("CARGO_BIN_EXE_nightly"), &[], &[]);
    for line in [
        "put: Created",
        "the second trigger is the first: true",
        "a report with a day: true, by a schedule: true",
        "3 nights to backfill",
        "4 runs ended",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn an_order_is_charged_once_and_goes_on_with_its_signal() {
    let printed = run(env!("CARGO_BIN_EXE_order"), &[], &[]);
    for line in [
        "charge: the bank does not answer",
        "charge: 990 cents, under a key of 36 characters",
        "pack: socks",
        "mail: a parcel with socks is on its way with a bicycle",
        "done: a parcel with socks, receipt 1",
        "journal: charge, pack, shipped, mail",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
    assert_eq!(printed.matches("charge: 990").count(), 1, "{printed}");
}

#[test]
fn an_order_that_the_warehouse_refuses_is_refunded() {
    let printed = run(env!("CARGO_BIN_EXE_order"), &["--refuse"], &[]);
    for line in ["refund: receipt 1", "there are no socks left"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
    assert!(!printed.contains("mail:"), "{printed}");
}

#[test]
fn an_approval_has_a_deadline() {
    let printed = run(env!("CARGO_BIN_EXE_approval"), &[], &[]);
    for line in ["a chair is approved by Ada", "a boat is declined: no decision in time"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn the_books_of_the_widget_store_balance() {
    let printed = run(env!("CARGO_BIN_EXE_widgets"), &[], &[]);
    for line in ["14 customers, 0 orders open", "the books balance: true"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn a_batch_ends_with_a_report_and_succeeds_after_a_retry() {
    let printed = run(env!("CARGO_BIN_EXE_batch"), &[], &[]);
    for line in [
        "100 % of 501, 1 failed",
        "report: 500 of 501 thumbnails, 1 failed",
        "1 retried",
        "all thumbnails are there: published",
    ] {
        assert_eq!(printed.matches(line).count(), 1, "{line:?} is not there once in:\n{printed}");
    }
}

#[test]
fn a_graph_maps_and_reduces() {
    let printed = run(env!("CARGO_BIN_EXE_map_reduce"), &[], &[]);
    for line in [
        r#"graph is wrong at "/jobs/0/after/0": "b" is the name of no job of the graph"#,
        "reduce is waiting",
        "waits for 3 jobs: ",
        r#"{"a": 1, "and": 1, "bird": 1, "cat": 1, "dog": 2, "the": 3}"#,
        "the second: predecessor ID (reduce) was cancelled: cancelled by hand",
    ] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn what_was_provisioned_is_taken_down_in_reverse() {
    let printed = run(env!("CARGO_BIN_EXE_provisioning"), &[], &[]);
    for line in ["made: the disk", "made: the address", "alpha does not boot"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
    assert_eq!(printed.matches("taken down: ").count(), 2, "{printed}");
}

#[test]
fn blocking_work_reports_progress_and_can_be_cancelled() {
    let printed = run(env!("CARGO_BIN_EXE_blocking"), &[], &[]);
    for line in ["primes below 10000: 1229", "progress: ", "the long one is cancelled"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

#[test]
fn a_job_in_a_transaction_exists_if_it_commits() {
    let server = std::env::var("BACKROOM_TEST_POSTGRES")
        .expect("BACKROOM_TEST_POSTGRES is not set; run the tests by `cargo xtask test`");
    let joint = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{joint}schema=examples");
    let printed = run(env!("CARGO_BIN_EXE_postgres"), &[], &[("DATABASE_URL", url)]);
    for line in ["after a rollback the job exists: false", "a receipt for order 2"] {
        assert!(printed.contains(line), "{line:?} is missing in:\n{printed}");
    }
}

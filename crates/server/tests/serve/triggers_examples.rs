//! The examples of triggers, run as a reader would run them. Those of message brokers are in the tests of brokers.

use std::{net::TcpListener, path::Path, process::Command};

/// Runs one, whose output has this text.
fn runs(example: &str, wanted: &str) {
    // Emulators of clouds are programs of Python and of Node.js.
    let bed = backroom_testbed::emulators();
    let binary = Path::new(env!("CARGO_BIN_EXE_backroom")).parent().unwrap();
    let folders = [binary, &bed.join("venv/bin"), &bed.join("azurite/node_modules/.bin")];
    let folders = folders.map(|folder| folder.display().to_string()).join(":");
    // A port that is free now; each emulator gets its own.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!("{}/../../examples/triggers/{example}/run.sh", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("timeout")
        .args(["120", "sh", &script])
        .env("PATH", format!("{folders}:{}", std::env::var("PATH").unwrap()))
        .env("PORT", port.to_string())
        .env_remove("BACKROOM_STORE")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{example}: {said}");
    assert!(said.contains(wanted), "{example}: {said}");
}

#[test]
fn the_tour_runs() {
    runs("tour", r#"{"thumbnails": 3}"#);
}

#[test]
fn those_of_folders_hooks_and_tables_run() {
    runs("folder", "thumbnail");
    runs("hook", "duplicate");
    runs("table", "order.created");
}

#[test]
fn those_of_clouds_run() {
    // They wait for emulators most of the time.
    std::thread::scope(|scope| {
        for (example, wanted) in [("objects", "thumbnail"), ("sqs", "order"), ("azure-queue", "order")] {
            scope.spawn(move || runs(example, wanted));
        }
    });
}

//! The binary as the supervisor of commands.

#![cfg(target_os = "linux")]

use backroom::{Backroom, Json, Worker, command::CommandSpec};

#[tokio::test]
async fn the_binary_supervises_commands_with_and_without_limits() {
    let backroom = Backroom::open("memory:").await.unwrap();
    let spec = CommandSpec::new("cat").supervised_by(env!("CARGO_BIN_EXE_backroom"));
    let worker =
        Worker::new(&backroom).command("plain", spec.clone()).command("limited", spec.open_files_max(50));
    let worker = worker.start().await.unwrap();
    for kind in ["plain", "limited"] {
        let job = backroom.enqueue_untyped(kind, Json::parse("[1]").unwrap()).await.unwrap();
        assert_eq!(job.wait().await.unwrap().as_str(), "[1]");
    }
    worker.stop().await.unwrap();
}

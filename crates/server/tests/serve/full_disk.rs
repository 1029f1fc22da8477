//! A full disk: refused with 507, nothing acknowledged is lost, and the server goes on once there is space.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    serve_support::{Server, eventually},
};

/// Size of the disk.
const DISK: &str = "6m";

/// A server whose store lies on a small disk of its own. The disk is mounted in a namespace of the server's: it is gone with the
/// server.
fn on_small_disk(place: &Place) -> (Server, PathBuf) {
    let disk = place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={DISK} tmpfs disk && head -c 1500000 /dev/zero > disk/filler && exec {} serve --listen 127.0.0.1:0 --store sqlite:disk/backroom.db",
        env!("CARGO_BIN_EXE_backroom")
    );
    let mut command = Command::new("unshare");
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    command
        .arg("--mount")
        .args(if is_root { &[][..] } else { &["--map-root-user"] })
        .args(["sh", "-c", &script]);
    command.current_dir(place.path(".")).env_remove("BACKROOM_STORE");
    let server = Server::spawn(command);
    let seen = PathBuf::from(format!("/proc/{}/root{}", server.id(), disk.display()));
    (server, seen)
}

#[test]
fn a_full_disk_is_refused_with_507_and_loses_nothing() {
    let place = Place::new();
    let (server, disk) = on_small_disk(&place);
    let large = |number: u32| json!({"kind": "k", "args": {"number": number, "filler": "x".repeat(100_000)}});
    let mut stored = Vec::new();
    let refused = loop {
        let answer = server.post("/v1/jobs", &large(stored.len() as u32));
        if answer.status != 202 {
            break answer;
        }
        stored.push(answer.json()["id"].as_str().unwrap().to_owned());
        assert!(stored.len() < 1000, "the disk does not get full");
    };
    refused.is_problem(507, "no-space");
    assert!(stored.len() > 3, "the disk was full from the beginning");
    // So are an array and each line of a stream, and the server goes on.
    server.post("/v1/jobs/batch", &json!([large(0), large(1)])).is_problem(507, "no-space");
    let lines = format!("{}\n{}\n", large(0), large(1));
    let answer =
        server.call("POST", "/v1/jobs/batch", &[("content-type", "application/x-ndjson")], lines.as_bytes());
    let codes: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["code"].clone())
        .collect();
    assert_eq!(codes, ["no-space", "no-space"], "{answer:?}");
    assert_eq!(server.get("/livez").status, 200);
    let listed = server.get("/v1/jobs?limit=1000").json();
    let listed: Vec<&str> =
        listed["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), stored.len(), "what was refused is not there");
    for id in &stored {
        assert!(listed.contains(&id.as_str()), "{id} is lost");
    }
    // With space it takes jobs again, without a restart.
    std::fs::remove_file(disk.join("filler")).unwrap();
    eventually("the server takes jobs again", || server.post("/v1/jobs", &large(0)).status == 202);
    server.stop();
}

#[test]
fn a_trigger_waits_while_the_disk_is_full_and_loses_no_file() {
    const FILES: usize = 40;
    let place = Place::new();
    std::fs::create_dir(place.path("in")).unwrap();
    // The args are large, so that few files fill what is left.
    let filler = "x".repeat(50_000);
    let settings = format!(
        "[triggers.in]\ntype = \"folder\"\npath = \"in\"\nkind = \"file\"\nsettle = \"50ms\"\n\
         args = {{ name = \"{{{{body/name}}}}\", filler = \"{filler}\" }}\n"
    );
    std::fs::write(place.path("backroom.toml"), settings).unwrap();
    let (server, disk) = on_small_disk(&place);
    std::fs::write(disk.join("more"), vec![0; 3_300_000]).unwrap();
    for n in 0..FILES {
        std::fs::write(place.path(&format!("in/{n:02}")), "x").unwrap();
    }
    // What the store says of the trigger may be old: that cannot be written either.
    let blocked = r#"backroom_trigger_activity{trigger="in",activity="blocked"} 1"#;
    eventually("the trigger waits", || server.get("/metrics").text().contains(blocked));
    for name in ["filler", "more"] {
        std::fs::remove_file(disk.join(name)).unwrap();
    }
    let names = || -> Vec<String> {
        let listed = server.get("/v1/jobs?limit=1000").json();
        let name = |job: &Value| job["args"]["name"].as_str().unwrap_or_default().to_owned();
        let mut names: Vec<String> = listed["jobs"].as_array().unwrap().iter().map(name).collect();
        names.sort_unstable();
        names
    };
    eventually("every file is a job", || names().len() >= FILES);
    assert_eq!(names(), (0..FILES).map(|n| format!("{n:02}")).collect::<Vec<_>>());
    server.stop();
}

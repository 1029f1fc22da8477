//! Clients that send and do not read: the server holds little for them, and cuts them off.

use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
};

use crate::{
    serve_support::{Server, eventually},
    support::{Side, WORDY_LINE_BYTES, WORDY_LINES},
};

/// Clients that do not read.
const CLIENTS: usize = 16;
/// How much the server may grow for all of them, in kilobytes.
const GROWTH_KB_MAX: u64 = 64 * 1024;
/// More than the buffers of both sockets hold.
const LINES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The memory of the server, in kilobytes.
fn memory_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The connections that the server has, without that of the question.
fn connections(server: &Server) -> usize {
    let text = server.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix("backroom_http_connections ")).unwrap();
    line.parse::<usize>().unwrap() - 1
}

#[test]
fn a_client_that_does_not_read_the_answers_to_its_lines_is_held_up_and_then_cut() {
    let side = Side::with("slow_lines", &["--limits-write-time", "2s"]);
    let before = memory_kb(&side.server);
    let senders: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stream = side.server.connect();
            std::thread::spawn(move || sent_until_cut(stream))
        })
        .collect();
    let mut most = 0;
    eventually("every client is cut", || {
        most = most.max(memory_kb(&side.server));
        senders.iter().all(std::thread::JoinHandle::is_finished)
    });
    for sender in senders {
        let sent = sender.join().unwrap();
        assert!(sent < LINES_BYTES_MAX, "the server went on reading although its answers were not read");
    }
    let growth = most.saturating_sub(before);
    assert!(growth < GROWTH_KB_MAX, "the server grew by {growth} kB");
    eventually("their connections are closed", || connections(&side.server) == 0);
}

/// Sends lines and reads nothing, until the server cuts the connection. Answers with the bytes sent.
fn sent_until_cut(mut stream: TcpStream) -> usize {
    let head = "POST /v1/jobs/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // Wrong lines cost the store nothing, and their answers are long.
    let lines = "{\"kind\":\"\"}\n".repeat(1000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let mut sent = 0;
    while sent < LINES_BYTES_MAX {
        match stream.write_all(chunk.as_bytes()) {
            Ok(()) => sent += chunk.len(),
            Err(error) => {
                let is_cut = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind());
                assert!(is_cut, "{error}");
                break;
            }
        }
    }
    sent
}

#[test]
fn a_reader_of_events_that_does_not_read_is_cut_and_its_events_are_not_collected() {
    let side = Side::with("slow_events", &["--limits-write-time", "2s"]);
    let id = {
        let _worker = side.work_wordily();
        let answer = side.post("/v1/jobs?wait=60s", serde_json::json!({"kind": "wordy", "args": null}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let path = format!("/v1/jobs/{id}/events");
    let whole = side.get(&path).body.len();
    assert!(whole > WORDY_LINES * WORDY_LINE_BYTES, "{whole}");
    let before = memory_kb(&side.server);
    let readers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = side.server.connect();
            write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut most = 0;
    eventually("every reader is cut", || {
        most = most.max(memory_kb(&side.server));
        connections(&side.server) == 0
    });
    let growth = most.saturating_sub(before);
    let all_kb = (whole * CLIENTS / 1024) as u64;
    assert!(
        growth < GROWTH_KB_MAX.min(all_kb / 2),
        "the server grew by {growth} kB for {all_kb} kB of events"
    );
    drop(readers);
}

//! Many clients that wait: for a job's end, and for its events. They cost little memory and next to no processor time.
//!
//! The figures for 10,000 of each are in docs/figures.md.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::{serve_support::Server, side::place};

/// Clients of each sort.
const CLIENTS: usize = 400;
/// How long the server is observed.
const OBSERVED: Duration = Duration::from_secs(10);
/// What one client may cost in memory, in kilobytes: a debug build needs about twice as much as a release.
const CLIENT_KB_MAX: u64 = 60;
/// What all of them may cost of a processor, in percent. It is an upper bound: the server also does its upkeep.
const PROCESSOR_PERCENT_MAX: f64 = 10.0;

/// The memory of the server, in kilobytes.
fn memory_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The processor time that the server has used, in seconds.
fn processor_secs(server: &Server) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    // Behind the name, which may have spaces: user and system time are the 12th and 13th fields from there, in ticks of 10 ms.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Sends a request and leaves its answer open.
fn ask(server: &Server, path: &str) -> BufReader<TcpStream> {
    let mut stream = server.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    BufReader::new(stream)
}

#[test]
fn clients_that_wait_cost_little() {
    let place = place();
    let id = place.enqueue(&["k", "{}", "--delay", "1h"]);
    let server = Server::start(&place, &["--limits-wait-time", "10m"]);
    // The first requests bring caches and threads along.
    for _ in 0..50 {
        server.get(&format!("/v1/jobs/{id}"));
    }
    let before = memory_kb(&server);
    let polls: Vec<_> = (0..CLIENTS).map(|_| ask(&server, &format!("/v1/jobs/{id}?wait=10m"))).collect();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| ask(&server, &format!("/v1/jobs/{id}/events"))).collect();
    for stream in &mut streams {
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0);
        }
    }
    // Every poll has begun once a later request is answered.
    server.get("/livez");
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    std::thread::sleep(Duration::from_secs(3));
    let grown = memory_kb(&server).saturating_sub(before);
    let began = processor_secs(&server);
    #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
    std::thread::sleep(OBSERVED);
    let percent = (processor_secs(&server) - began) / OBSERVED.as_secs_f64() * 100.0;
    let each = grown / (2 * CLIENTS as u64);
    assert!(each < CLIENT_KB_MAX, "each client costs {each} kB");
    assert!(percent < PROCESSOR_PERCENT_MAX, "they cost {percent} % of a processor");
    // They wait for something: the change reaches every one of them.
    assert_eq!(server.call("POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").status, 200);
    for mut client in polls.into_iter().chain(streams) {
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("\"shown\":\"cancelled\"}") {
            assert_eq!(client.read(&mut byte).unwrap(), 1, "the client missed the end: {text}");
            text.push(char::from(byte[0]));
        }
    }
    server.stop();
}

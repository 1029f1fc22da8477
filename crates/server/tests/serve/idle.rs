//! Many clients that wait: for a job's end, and for its events. They cost little memory and next to no processor time.
//!
//! The figures for 10,000 of each are in docs/figures.md.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::{cli_support::Place, serve_support::Server, side::place};

/// Clients of each sort.
const CLIENTS: usize = 400;
/// Clients of each sort in the figure.
const CLIENTS_OF_FIGURE: usize = 10_000;
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

/// A job that waits, its server, and clients that wait for it.
struct Waiting {
    server: Server,
    id: String,
    clients: Vec<BufReader<TcpStream>>,
    /// What the clients cost in memory, in kilobytes.
    grown: u64,
    /// What they cost of a processor while nothing happens, in percent.
    percent: f64,
}

impl Waiting {
    /// So many long polls and event streams. They are observed once the first reads, which come soon, are over.
    fn begin(place: &Place, polls: usize, streams: usize, settle: Duration, observed: Duration) -> Self {
        let id = place.enqueue(&["k", "{}", "--delay", "1h"]);
        let server = Server::start(place, &["--limits-wait-time", "1h", "--limits-connections", "30000"]);
        // The first requests bring caches and threads along.
        for _ in 0..50 {
            server.get(&format!("/v1/jobs/{id}"));
        }
        let before = memory_kb(&server);
        let mut clients: Vec<_> =
            (0..streams).map(|_| ask(&server, &format!("/v1/jobs/{id}/events"))).collect();
        for stream in &mut clients {
            let mut line = String::new();
            while !line.starts_with("data: ") {
                line.clear();
                assert!(stream.read_line(&mut line).unwrap() > 0);
            }
        }
        clients.extend((0..polls).map(|_| ask(&server, &format!("/v1/jobs/{id}?wait=1h"))));
        // Every poll has begun once a later request is answered.
        server.get("/livez");
        #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
        std::thread::sleep(settle);
        let grown = memory_kb(&server).saturating_sub(before);
        let began = processor_secs(&server);
        #[expect(clippy::disallowed_methods, reason = "a process of its own goes by real time")]
        std::thread::sleep(observed);
        let percent = (processor_secs(&server) - began) / observed.as_secs_f64() * 100.0;
        Self { server, id, clients, grown, percent }
    }

    /// They wait for something: the change reaches every one of them.
    fn end(self) {
        let Self { server, id, clients, .. } = self;
        assert_eq!(server.call("POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").status, 200);
        for mut client in clients {
            let mut text = String::new();
            let mut byte = [0];
            while !text.ends_with("\"shown\":\"cancelled\"}") {
                assert_eq!(client.read(&mut byte).unwrap(), 1, "the client missed the end: {text}");
                text.push(char::from(byte[0]));
            }
        }
        server.stop();
    }
}

#[test]
fn clients_that_wait_cost_little() {
    let place = place();
    let waiting = Waiting::begin(&place, CLIENTS, CLIENTS, Duration::from_secs(3), OBSERVED);
    let each = waiting.grown / (2 * CLIENTS as u64);
    assert!(each < CLIENT_KB_MAX, "each client costs {each} kB");
    assert!(waiting.percent < PROCESSOR_PERCENT_MAX, "they cost {} % of a processor", waiting.percent);
    waiting.end();
}

/// The figures of docs/figures.md. Each process needs 30,000 open files:
/// `ulimit -n 30000; cargo test --release --all-features -p backroom-server --test serve -- --ignored --nocapture ten_thousand`.
#[test]
#[ignore = "it measures"]
fn ten_thousand_clients_that_wait() {
    for (what, polls, streams) in
        [("long polls", CLIENTS_OF_FIGURE, 0), ("event streams", 0, CLIENTS_OF_FIGURE)]
    {
        // After four minutes the reads of an idle reader come as seldom as they ever do.
        let (settle, observed) = (Duration::from_secs(240), Duration::from_secs(240));
        let waiting = Waiting::begin(&place(), polls, streams, settle, observed);
        println!(
            "{CLIENTS_OF_FIGURE} {what}: {} MB, {:.1} % of a core",
            waiting.grown / 1024,
            waiting.percent
        );
        waiting.end();
    }
}

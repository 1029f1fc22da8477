//! How many jobs per second commands and a remote worker do: `cargo test --release --test work -- --ignored --nocapture rates`.

use std::{
    io::{BufReader, Write as _},
    net::TcpStream,
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    serve_support::{Answer, Server},
    support::{place, until},
};

/// One connection that stays open.
struct Session {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    host: String,
}

impl Session {
    fn new(server: &Server) -> Self {
        let stream = server.connect();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader, host: server.address.to_string() }
    }

    fn post(&mut self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.stream.write_all((head + &body).as_bytes()).unwrap();
        let answer = Answer::read(&mut self.reader, false);
        assert!(answer.status < 300, "{}", answer.text());
        answer.json()
    }
}

fn enqueue_many(server: &Server, kind: &str, jobs: usize) {
    let mut session = Session::new(server);
    for _ in 0..jobs.div_ceil(1000) {
        let many: Vec<_> = (0..1000.min(jobs)).map(|n| json!({"kind": kind, "args": {"n": n}})).collect();
        session.post("/v1/jobs/batch", &json!(many));
    }
}

fn completed(server: &Server) -> u64 {
    let counts = server.get("/v1/counts").json();
    let of = |count: &Value| (count["state"] == "completed").then(|| count["jobs"].as_u64()).flatten();
    counts["counts"].as_array().unwrap().iter().filter_map(of).sum()
}

#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures and says what, on the machine's clock")]
fn rates_of_claim_and_commit_over_http_by_one_client() {
    const JOBS: usize = 40_000;
    const THREADS: usize = 4;
    let place = place("");
    let server = Server::start(&place, &[]);
    enqueue_many(&server, "noop", JOBS);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let server = &server;
            scope.spawn(move || {
                let mut session = Session::new(server);
                let name = format!("rate-{thread}");
                let worker =
                    json!({"name": name, "kinds": ["noop"], "queues": [{"name": "default", "slots": 500}]});
                loop {
                    let claimed = session.post("/v1/claim", &json!({"worker": worker, "limit": 500}));
                    let jobs = claimed["jobs"].as_array().unwrap();
                    if jobs.is_empty() {
                        return;
                    }
                    let commit =
                        |job: &Value| json!({"job": job["id"], "lease": job["lease"], "outcome": "done"});
                    let commits: Vec<_> = jobs.iter().map(commit).collect();
                    session.post("/v1/leases/commit", &json!({"worker": name, "commits": commits}));
                }
            });
        }
    });
    let took = began.elapsed();
    assert_eq!(completed(&server), JOBS as u64, "every job was done");
    println!(
        "claim and commit over HTTP, {THREADS} connections, 500 jobs each: {:.0} jobs/s",
        JOBS as f64 / took.as_secs_f64()
    );
    server.stop();
}

#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures and says what, on the machine's clock")]
fn rates_of_commands() {
    const JOBS: usize = 2000;
    let place = place("[worker]\nqueues = [\"default=8\"]\n[kinds.noop]\ncommand = [\"/bin/true\"]\n");
    let server = Server::start(&place, &["--worker-run", "false"]);
    enqueue_many(&server, "noop", JOBS);
    server.stop();
    let began = Instant::now();
    let server = Server::start(&place, &[]);
    until("every command has run", || completed(&server) == JOBS as u64);
    println!("commands, 8 slots: {:.0} jobs/s", JOBS as f64 / began.elapsed().as_secs_f64());
    server.stop();
    let forks = Instant::now();
    for _ in 0..500 {
        assert!(std::process::Command::new("/bin/true").status().unwrap().success());
    }
    println!("bare processes one after the other: {:.0}/s", 500.0 / forks.elapsed().as_secs_f64());
}

//! Kinds of the settings that an HTTP endpoint does, over real sockets.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{
    serve_support::Server,
    support::{Working, enqueue, finished, place, until},
};

/// One request as the endpoint got it.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }
}

/// An endpoint that answers by the path of the request. It goes on until the process of the tests ends.
struct Endpoint {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                // The other side may have gone before the answer is written.
                std::thread::spawn(move || _ = answer(stream, &all));
            }
        });
        Self { url, seen }
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path == path).cloned().collect()
    }
}

fn answer(mut stream: TcpStream, all: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let seen = Seen { path: path.clone(), headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let count = {
        let mut all = all.lock().unwrap();
        all.push(seen.clone());
        all.iter().filter(|other| other.path == path).count()
    };
    let data = seen.body["data"].to_string();
    let write = |stream: &mut TcpStream, status: &str, headers: &str, body: &str| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes())
    };
    match path.as_str() {
        "/echo" => write(&mut stream, "200 OK", "content-type: application/json\r\n", &data),
        "/busy" if count == 1 => write(&mut stream, "503 Busy", "retry-after: 1\r\n", "later"),
        "/busy" => write(&mut stream, "204 No Content", "", ""),
        "/gone" => write(&mut stream, "404 Not Found", "", "no such customer"),
        "/later" => write(&mut stream, "202 Accepted", "", ""),
        "/image" => write(&mut stream, "200 OK", "content-type: image/png\r\n", "PNG"),
        "/large" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n")?;
            let part = vec![b'1'; 1 << 20];
            for _ in 0..100 {
                stream.write_all(&part)?;
            }
            Ok(())
        }
        "/moved" => write(&mut stream, "307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n", ""),
        // Nothing comes, and the connection stays.
        "/silent" => reader.read(&mut [0]).map(drop),
        // Nothing comes, and the connection ends.
        "/nothing" => Ok(()),
        _ => write(&mut stream, "500 Internal Server Error", "", "disk full"),
    }
}

fn kind(endpoint: &Endpoint, name: &str, more: &str) -> String {
    format!(
        "[kinds.{name}]\nurl = \"{}/{name}\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\ntimeout = \"2s\"\n{more}\n",
        endpoint.url
    )
}

fn private(place: &crate::cli_support::Place) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(place.path("backroom.toml"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn an_endpoint_decides_by_its_answer_what_becomes_of_the_job() {
    let endpoint = Endpoint::start();
    let names = ["echo", "busy", "gone", "image", "large", "silent", "nothing", "moved", "fails"];
    let settings: String = names.iter().map(|name| kind(&endpoint, name, "")).collect();
    let place = place(&settings);
    private(&place);
    let server = Server::start(&place, &[]);
    let jobs: Vec<_> = names
        .iter()
        .map(|name| enqueue(&server, json!({"kind": name, "args": {"n": [1.0]}, "max_attempts": 1})))
        .collect();
    let ended: Vec<_> = jobs.iter().map(|id| finished(&server, id)).collect();
    for (name, job) in names.iter().zip(&ended) {
        let why = job["reason"].as_str().unwrap_or_default();
        let (state, wanted) = match *name {
            "echo" | "busy" => ("completed", ""),
            "gone" => ("discarded", "404 Not Found: no such customer"),
            "image" => ("discarded", "the type \"image/png\""),
            "large" => ("discarded", "more than 1048576 bytes"),
            "silent" => ("discarded", "no answer within 2s"),
            "nothing" => ("discarded", "failed to send the request"),
            "moved" => ("discarded", "307 Temporary Redirect"),
            _ => ("discarded", "500 Internal Server Error: disk full"),
        };
        assert!(job["state"] == state && why.contains(wanted), "{name}: {job}");
    }
    assert_eq!((ended[0]["output"].to_string(), &ended[1]["output"]), ("{\"n\":[1.0]}".into(), &Value::Null));
    assert_eq!(
        (&ended[1]["attempt"], endpoint.seen("/busy").len()),
        (&1.into(), 2),
        "a snooze charges nothing"
    );
    let seen = &endpoint.seen("/echo")[0];
    assert_eq!(seen.header("content-type"), "application/cloudevents+json");
    assert_eq!(
        (&seen.body["id"], &seen.body["type"], &seen.body["subject"]),
        (&jobs[0].as_str().into(), &"backroom.job.run".into(), &"echo".into())
    );
    assert_eq!(seen.header("webhook-id"), jobs[0]);
    assert!(seen.header("webhook-signature").starts_with("v1,"), "{seen:?}");
    server.stop();
}

#[test]
fn an_endpoint_that_answered_with_202_reports_with_the_token_of_its_run() {
    let endpoint = Endpoint::start();
    let place = place(&(kind(&endpoint, "later", "") + "[worker]\nlease_key = \"a key\"\n"));
    private(&place);
    let reports = |server: &Server, commit: Value| {
        let id = enqueue(server, json!({"kind": "later", "args": 1}));
        let of_job = || endpoint.seen("/later").into_iter().find(|seen| seen.header("webhook-id") == id);
        until("the endpoint is called", || of_job().is_some());
        let seen = of_job().unwrap();
        let bearer = format!("Bearer {}", seen.header("backroom-token"));
        assert_eq!(seen.header("backroom-server"), format!("http://{}", server.address));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let call =
            |path: &str, body: Value| server.call("POST", path, &headers, body.to_string().as_bytes()).json();
        assert_eq!(call("/v1/lease/report", json!({"progress": {"percent": 50}})), json!({"lease": "held"}));
        let recorded = call("/v1/lease/commit", commit.clone());
        assert_eq!(recorded["status"], "recorded", "{recorded}");
        assert_eq!(call("/v1/lease/commit", commit), recorded);
        server.get(&format!("/v1/jobs/{id}")).json()
    };
    let server = Server::start(&place, &[]);
    let done = reports(&server, json!({"outcome": "done", "output": {"ok": true}}));
    assert_eq!((&done["state"], &done["output"]["ok"]), (&"completed".into(), &true.into()));
    let discarded = reports(&server, json!({"outcome": "discard", "error": "unknown address"}));
    assert_eq!((&discarded["state"], &discarded["reason"]), (&"discarded".into(), &"unknown address".into()));
    server.stop();
    // The same for a worker elsewhere.
    let server = Server::start(&place, &["--worker-run", "false"]);
    let working = Working::start(&place, &["--server", &format!("http://{}", server.address)]);
    assert_eq!(reports(&server, json!({"outcome": "done", "output": 7}))["output"], 7);
    working.stop();
    server.stop();
}

#[test]
fn a_kind_whose_endpoint_fails_is_not_claimed_for_a_while_and_explain_says_so() {
    let endpoint = Endpoint::start();
    let more = "breaker_failures = 3\nbreaker_pause = \"1h\"";
    let place = place(&(kind(&endpoint, "fails", more) + &kind(&endpoint, "echo", "")));
    private(&place);
    let server = Server::start(&place, &[]);
    for _ in 0..3 {
        let id = enqueue(&server, json!({"kind": "fails", "args": 1, "max_attempts": 1}));
        assert_eq!(finished(&server, &id)["state"], "discarded");
    }
    let waits = enqueue(&server, json!({"kind": "fails", "args": 1}));
    let echo = enqueue(&server, json!({"kind": "echo", "args": 1}));
    assert_eq!(finished(&server, &echo)["state"], "completed", "other kinds go on");
    // The worker says so with its next heartbeat.
    until("explain says why the job waits", || {
        let explained = server.get(&format!("/v1/jobs/{waits}/explain")).json().to_string();
        explained.contains("breaker_open") && explained.contains("disk full")
    });
    assert_eq!(endpoint.seen("/fails").len(), 3);
    let job = server.get(&format!("/v1/jobs/{waits}")).json();
    assert_eq!((&job["state"], &job["attempt"]), (&"queued".into(), &0.into()));
    server.stop();
}

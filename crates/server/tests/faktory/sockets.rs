//! Real sockets: restarts, limits, and refusals to start.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::Arc,
};

use serde_json::json;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, eventually},
    support::{Client, Served},
};

const WORKER: &str = r#"HELLO {"v":2,"wid":"w-1","hostname":"here","pid":1,"labels":[]}"#;

#[test]
fn a_worker_finishes_after_a_restart_what_it_fetched_before_and_nothing_is_lost() {
    let place = Place::new();
    let served = Served::start(&place, &[]);
    let mut worker = served.connect(WORKER);
    for number in 0..20 {
        let push = format!(r#"PUSH {{"jid":"job-{number:05}","jobtype":"work","args":[{number}]}}"#);
        assert_eq!(worker.says(&push), "+OK");
    }
    let fetched: Vec<_> = (0..5).map(|_| worker.json("FETCH default")["jid"].clone()).collect();
    drop(worker);
    // As `kill -9`.
    drop(served);
    let served = Served::start(&place, &[]);
    let mut worker = served.connect(WORKER);
    for jid in &fetched {
        assert_eq!(worker.says(&format!("ACK {}", json!({ "jid": jid }))), "+OK");
    }
    for _ in 5..20 {
        let jid = worker.json("FETCH default")["jid"].clone();
        assert!(!fetched.contains(&jid), "{jid} is delivered twice");
        assert_eq!(worker.says(&format!("ACK {}", json!({ "jid": jid }))), "+OK");
    }
    let counts = served.server.get("/v1/counts").json();
    assert_eq!(counts["counts"], json!([{ "queue": "default", "state": "completed", "jobs": 20 }]));
    let metrics = served.server.get("/metrics").text();
    assert!(metrics.contains("backroom_faktory_commands_total{command=\"ACK\"} 20"), "{metrics}");
    assert!(metrics.contains("backroom_faktory_connections 1"), "{metrics}");
    let workers = served.server.get("/v1/workers").json().to_string();
    assert!(workers.contains("faktory/w-1"), "{workers}");
    served.server.stop();
}

#[test]
fn a_client_beyond_the_limit_learns_why_and_one_that_sends_twenty_megabytes_too() {
    let place = Place::new();
    let served = Served::start(&place, &["--faktory-connections", "2"]);
    let one = served.connect(WORKER);
    let mut two = served.connect(WORKER);
    let mut third = TcpStream::connect(served.address).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut third, &mut answer).unwrap();
    assert!(answer.starts_with("-ERR too many connections: "), "{answer}");
    drop(one);
    eventually("a place is free again", || {
        let mut client = std::io::BufReader::new(TcpStream::connect(served.address).unwrap());
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        line.starts_with("+HI")
    });
    let long = format!("PUSH {{\"jid\":\"{}\"}}", "x".repeat(20 << 20));
    let mut stream = two.stream();
    // The server may close before all is written.
    let writing = std::thread::spawn(move || drop(stream.write_all(long.as_bytes())));
    let answer = two.answer();
    assert!(
        answer.is_empty() || answer.starts_with("-ERR the command is longer than 16777216 bytes"),
        "{answer}"
    );
    assert_eq!(two.answer(), "");
    writing.join().unwrap();
    served.connect(WORKER);
    served.server.stop();
}

#[test]
fn the_server_does_not_start_where_everyone_could_connect() {
    let place = Place::new();
    let mut command = place.command();
    let output =
        command.args(["serve", "--listen", "127.0.0.1:0", "--faktory", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("`faktory.password` is not set"), "{said}");
    let served = Served::start(&place, &["--faktory-password", "secret"]);
    let mut stream = std::io::BufReader::new(TcpStream::connect(served.address).unwrap());
    let mut greeting = String::new();
    stream.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("+HI {\"v\":2,\"i\":"), "{greeting}");
    served.server.stop();
}

#[test]
fn a_server_that_stops_ends_idle_clients_and_answers_those_that_wait() {
    let place = Place::new();
    let served = Served::start(&place, &[]);
    let mut idle = Client::new(served.address);
    assert_eq!(idle.says("HELLO {}"), "+OK");
    let mut waits = served.connect(WORKER);
    waits.send("FETCH default");
    served.server.stop();
    let answer = waits.answer();
    assert!(answer == "$-1" || answer.is_empty(), "{answer}");
    assert_eq!(idle.answer(), "");
}

#[test]
fn with_a_certificate_clients_speak_tls_and_others_get_no_greeting() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(place.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-certificate", "cert.pem", "--tls-key", "key.pem", "--faktory-password", "secret"];
    let served = Served::start(&place, &tls);
    let connect = || {
        let stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut client = BufReader::new(StreamOwned::new(session, connect()));
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert!(line.starts_with("+HI {\"v\":2,\"i\":"), "{line}");
    client.get_mut().write_all(b"HELLO {\"v\":2,\"pwdhash\":\"wrong\"}\r\n").unwrap();
    line.clear();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "-ERR Invalid password\r\n", "the answer of a whole conversation came over TLS");
    // Without TLS the first bytes are those of the client, which are no handshake.
    let mut plain = connect();
    plain.write_all(b"HELLO {\"v\":2}\r\n").unwrap();
    let mut answer = Vec::new();
    // The server may reset the connection.
    let _ = std::io::Read::read_to_end(&mut plain, &mut answer);
    assert!(!answer.starts_with(b"+"), "{}", String::from_utf8_lossy(&answer));
    served.server.stop();
}

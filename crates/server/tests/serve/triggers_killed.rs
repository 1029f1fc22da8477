//! The server is killed with `kill -9` again and again while files and requests come in: each becomes one job.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufReader, Write as _},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    cli_support::Place,
    serve_support::{Answer, PATIENCE, Server, eventually},
};

const KILLS: usize = 20;
/// The lease of a reader.
const LEASE: Duration = Duration::from_secs(15);
/// What a busy machine may take besides: to see that the lease is over, and to make the job.
const MARGIN: Duration = Duration::from_secs(30);

const SETTINGS: &str = r#"
[triggers.in]
type = "folder"
kind = "file"
path = "in"
settle = "20ms"

[triggers.open]
type = "hook"
scheme = "none"
kind = "request"
"#;

/// Every job of a kind, by what its args name.
pub(crate) fn named(place: &Place, kind: &str, field: &str) -> Vec<String> {
    let (mut names, mut before) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["jobs".to_owned(), "--kind".into(), kind.into(), "--limit".into(), "1000".into()];
        args.extend(before.iter().flat_map(|id| ["--before".to_owned(), id.clone()]));
        let page = place.json(args);
        let jobs = page["jobs"].as_array().unwrap();
        names.extend(jobs.iter().map(|job| match &job["args"][field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
        match page["next"].as_str() {
            Some(next) => before = Some(next.to_owned()),
            None => return names,
        }
    }
}

#[track_caller]
pub(crate) fn each_once(names: &[String], wanted: impl Iterator<Item = String>) {
    let found: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(found.len(), names.len(), "some became two jobs");
    let missing: Vec<_> = wanted.filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "{} became no job: {:?}", missing.len(), &missing[..missing.len().min(5)]);
}

fn place() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("in")).unwrap();
    fs::write(place.path("backroom.toml"), SETTINGS).unwrap();
    place
}

pub(crate) fn kill(mut server: Server) {
    server.signal("KILL");
    server.ended();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test lets other processes work for a while")]
fn twenty_kills_lose_no_file_and_make_none_twice() {
    let place = place();
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let n = written.load(SeqCst);
                fs::write(place.path(&format!("in/{n:06}")), n.to_string()).unwrap();
                written.store(n + 1, SeqCst);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        for n in 0..KILLS {
            let server = Server::start(&place, &[]);
            // Differently long in each life, so that it dies at different points.
            std::thread::sleep(Duration::from_millis(100 + 37 * (n as u64 % 7)));
            kill(server);
        }
        stop.store(true, SeqCst);
    });
    let written = written.load(SeqCst);
    assert!(written > 100, "there was load: {written} files");
    let server = Server::start(&place, &[]);
    let begun = Instant::now();
    while named(&place, "file", "name").len() < written {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {written} files are jobs: {}",
            named(&place, "file", "name").len(),
            server.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    server.stop();
    each_once(&named(&place, "file", "name"), (0..written).map(|n| format!("{n:06}")));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test lets other processes work for a while")]
fn twenty_kills_lose_no_request_that_its_sender_repeats_and_make_none_twice() {
    let place = place();
    let mut sent = 0;
    for n in 0..KILLS {
        let server = Server::start(&place, &[]);
        let (address, stop) = (server.address, AtomicBool::new(false));
        sent = std::thread::scope(|scope| {
            // A sender repeats a request until it is answered.
            let sender = scope.spawn(|| {
                let mut next = sent;
                while !stop.load(SeqCst) {
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { continue };
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let text = format!("{{\"n\":{next}}}");
                    let head = format!(
                        "POST /v1/hooks/open HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nwebhook-id: r{next}\r\ncontent-length: {}\r\n\r\n{text}",
                        text.len()
                    );
                    if stream.write_all(head.as_bytes()).is_err() {
                        continue;
                    }
                    if Answer::try_read(&mut BufReader::new(stream), false).is_ok_and(|answer| answer.status == 202) {
                        next += 1;
                    }
                }
                next
            });
            std::thread::sleep(Duration::from_millis(100 + 37 * (n as u64 % 7)));
            kill(server);
            stop.store(true, SeqCst);
            sender.join().unwrap()
        });
    }
    assert!(sent > 40, "there was load: {sent} requests");
    let names = named(&place, "request", "n");
    each_once(&names, (0..sent).map(|n: usize| n.to_string()));
    // The last request may be a job without an answer.
    assert!(names.len() <= sent + 1, "{} jobs of {sent} requests", names.len());
}

/// A process that is stopped is not dead, so that only its silence shows that it does not read.
#[test]
#[expect(clippy::disallowed_methods, reason = "leases of other processes go by real time")]
fn a_second_server_takes_over_from_one_that_hangs_within_a_lease() {
    let place = place();
    let first = Server::start(&place, &[]);
    let file = |name: &str| fs::write(place.path(&format!("in/{name}")), name).unwrap();
    let is_job = |name: &str| named(&place, "file", "name").iter().any(|known| known == name);
    file("before");
    eventually("the first server reads", || is_job("before"));
    let second = Server::start(&place, &[]);
    eventually("the second server waits", || {
        second.get("/v1/triggers/in").json()["activity"] == "running"
            && second.get("/metrics").text().contains("trigger=\"in\",activity=\"standby\"} 1")
    });
    let stopped_at = loop {
        first.signal("STOP");
        let stopped_at = Instant::now();
        // Had it been stopped within a transaction, no other process could write.
        let answer = second.call("POST", "/v1/hooks/open", &[], b"{}");
        if answer.status == 202 {
            break stopped_at;
        }
        first.signal("CONT");
    };
    file("after");
    while !is_job("after") {
        let took = stopped_at.elapsed();
        assert!(
            took < LEASE + MARGIN,
            "the second server has not taken over after {took:?}: {}",
            second.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    first.signal("CONT");
    eventually("the first server waits", || {
        first.get("/metrics").text().contains("trigger=\"in\",activity=\"standby\"} 1")
    });
    file("last");
    eventually("the second server still reads", || is_job("last"));
    first.stop();
    second.stop();
    each_once(&named(&place, "file", "name"), ["before", "after", "last"].map(str::to_owned).into_iter());
}

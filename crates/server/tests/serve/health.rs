//! What those who run the server ask it: does it live, is it ready, what does it measure.

use std::time::Duration;

use backroom::{Backroom, Context, Failure, Job, Worker};
use serde::{Deserialize, Serialize};

use crate::{serve_support::Server, side::place};

#[derive(Serialize, Deserialize)]
struct Greet;

impl Job for Greet {
    const KIND: &'static str = "greet";
    type Output = ();
}

async fn greet(_: Greet, _: Context) -> Result<(), Failure> {
    Ok(())
}

/// The value of a series, if it is there.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line =
        metrics.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_server_is_alive_and_ready() {
    let place = place();
    let server = Server::start(&place, &[]);
    assert_eq!(server.get("/livez").json()["status"], "alive");
    assert_eq!(server.get("/readyz").json()["status"], "ready");
}

#[cfg(unix)]
#[test]
fn a_server_that_was_asked_to_stop_says_so_and_serves_on_until_its_delay_is_over() {
    let place = place();
    let mut server = Server::start(&place, &["--drain-delay", "1h"]);
    server.signal("TERM");
    server.line_with("stopping: finishing the requests");
    let answer = server.get("/readyz");
    answer.is_problem(503, "draining");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get("/v1/queues").status, 200);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(130), "a second signal ends it at once");
}

#[cfg(unix)]
#[test]
fn a_stop_ends_idle_connections_and_closes_the_store() {
    let place = place();
    let server = Server::start(&place, &[]);
    let _idle = server.connect();
    assert_eq!(server.get("/livez").status, 200);
    server.stop();
    // A file that was closed in order has no log beside it.
    if place.store().starts_with("sqlite:") {
        assert!(place.path("backroom.db").exists() && !place.path("backroom.db-wal").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_workers_of_other_processes_did() {
    let place = place();
    let server = Server::start(&place, &["--metrics-refresh", "1ms"]);
    assert_eq!(value(&server.get("/metrics").text(), "backroom_store_up"), Some(1.0));
    let backroom = Backroom::open(&place.store()).await.unwrap();
    for _ in 0..3 {
        backroom.enqueue(Greet).await.unwrap();
    }
    backroom.enqueue(Greet).delay(Duration::from_secs(3600)).await.unwrap();
    Worker::new(&backroom).handle(greet).run_until_empty().await.unwrap();
    backroom.close().await.unwrap();
    let answer = server.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    for (series, wanted) in [
        ("backroom_attempts_total{kind=\"greet\",end=\"done\"}", 3.0),
        ("backroom_attempts_total{kind=\"greet\",end=\"failed\"}", 0.0),
        ("backroom_pickup_seconds_count{kind=\"greet\"}", 3.0),
        ("backroom_run_seconds_bucket{le=\"+Inf\",kind=\"greet\"}", 3.0),
        ("backroom_jobs{queue=\"default\",state=\"completed\"}", 3.0),
        ("backroom_jobs{queue=\"default\",state=\"scheduled\"}", 1.0),
        ("backroom_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"200\"}", 1.0),
        // The worker of the server itself, which does the upkeep.
        ("backroom_workers", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series}:\n{text}");
    }
    assert!(
        value(&text, "backroom_store_call_seconds_count{verb=\"counts\"}").is_some_and(|calls| calls >= 2.0),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn labels_are_bounded_whatever_names_callers_invent() {
    let place = place();
    for name in ["a", "b", "c", "d"] {
        place.enqueue(&["k", "{}", "--queue", name]);
    }
    let server = Server::start(&place, &["--metrics-labels", "2", "--metrics-refresh", "1ms"]);
    for path in ["/x1", "/x2", "/v1/jobs?a=secret"] {
        server.get(path);
    }
    server.call("BREW", "/coffee", &[], b"");
    let text = server.get("/metrics").text();
    assert_eq!(value(&text, "backroom_jobs{queue=\"other\",state=\"available\"}"), Some(2.0), "{text}");
    let age = |queue: &str| value(&text, &format!("backroom_oldest_due_seconds{{queue=\"{queue}\"}}"));
    assert!(age("a").is_some_and(|secs| secs > 0.0) && age("d").is_none(), "{text}");
    assert!(text.contains("method=\"other\",route=\"none\",status=\"404\""), "{text}");
    assert!(!text.contains("/x1") && !text.contains("BREW") && !text.contains("secret"), "{text}");
}

#[test]
fn scrapes_in_quick_succession_read_the_store_once() {
    let place = place();
    let server = Server::start(&place, &["--metrics-refresh", "1h"]);
    for _ in 0..5 {
        server.get("/metrics");
    }
    let text = server.get("/metrics").text();
    assert_eq!(value(&text, "backroom_store_call_seconds_count{verb=\"counts\"}"), Some(1.0), "{text}");
}

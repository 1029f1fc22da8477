//! What arrives at a collector, and what a server does whose collector does not answer.

use std::{
    io::{BufReader, Write as _},
    net::TcpListener,
};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use serde_json::json;

use crate::{
    cli_support::Place,
    collector::{Collector, request, texts},
    serve_support::Server,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traceparent(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

/// A server that exports at once, and sends callbacks.
fn server(place: &Place, collector: &str, args: &[&str]) -> Server {
    let mut command = place.command();
    command
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "300")
        .args(["serve", "--listen", "127.0.0.1:0", "--otel-endpoint", collector])
        .args(["--callbacks-send", "true", "--callbacks-allow-unsigned", "true"])
        .args(["--callbacks-allowed-addresses", "127.0.0.1"])
        .args(args);
    Server::spawn(command)
}

#[test]
fn a_trace_goes_from_the_caller_through_the_enqueue_and_the_attempt_to_the_callback() {
    let (place, mut collector) = (Place::new(), Collector::start());
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let server = server(&place, &collector.url(), &["--otel-headers", "api-key=hunter2"]);
    let from = format!("00-{TRACE}-{CALLER}-01");
    let body = json!({"kind": "mail", "queue": "out", "callback": {"url": url}}).to_string();
    let headers = [("content-type", "application/json"), ("traceparent", from.as_str())];
    let answer = server.call("POST", "/v1/jobs", &headers, body.as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();

    let of_request = collector.span("POST /v1/jobs");
    assert_eq!((hex(&of_request.trace_id), hex(&of_request.parent_span_id)), (TRACE.into(), CALLER.into()));
    assert_eq!(of_request.kind(), SpanKind::Server);
    let attributes = texts(&of_request.attributes);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/jobs"),
        ("http.response.status_code", "202"),
        ("url.path", "/v1/jobs"),
        ("url.scheme", "http"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}: {attributes:?}");
    }
    assert_eq!(collector.resource["service.name"], "backroom");
    assert_eq!(collector.headers["api-key"], "hunter2");

    let of_enqueue = collector.span("send out");
    assert_eq!(of_enqueue.parent_span_id, of_request.span_id);
    assert_eq!(of_enqueue.kind(), SpanKind::Producer);
    let attributes = texts(&of_enqueue.attributes);
    for (name, value) in [
        ("messaging.system", "backroom"),
        ("messaging.operation.name", "send"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "out"),
        ("messaging.message.id", id.as_str()),
        ("backroom.job.kind", "mail"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}: {attributes:?}");
    }
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).json()["traceparent"], traceparent(&of_enqueue));

    // The end of the job is a callback, which a handler of this server sends.
    server.post(&format!("/v1/jobs/{id}/cancel"), &json!({}));
    let (stream, _) = receiver.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let called = request(&mut reader).unwrap();
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    let of_attempt = collector.span("process backroom.callbacks");
    assert_eq!(called.headers["traceparent"], traceparent(&of_attempt));
    assert_eq!(
        (&of_attempt.trace_id, &of_attempt.parent_span_id),
        (&of_request.trace_id, &of_enqueue.span_id)
    );
    assert_eq!(of_attempt.kind(), SpanKind::Consumer);
    let attributes = texts(&of_attempt.attributes);
    for (name, value) in [
        ("messaging.system", "backroom"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "backroom.callbacks"),
        ("backroom.job.kind", "backroom.callback"),
        ("backroom.job.attempt", "1"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}: {attributes:?}");
    }
    assert!(
        attributes.contains_key("messaging.message.id") && attributes.contains_key("messaging.client.id")
    );
    let event: serde_json::Value = serde_json::from_slice(&called.body).unwrap();
    assert_eq!(event["traceparent"], traceparent(&of_enqueue), "the body is the same at every attempt");

    for (name, attributes) in [
        ("http.server.request.duration", [("http.route", "/v1/jobs"), ("http.response.status_code", "202")]),
        (
            "messaging.client.operation.duration",
            [("messaging.operation.name", "send"), ("messaging.system", "backroom")],
        ),
        (
            "messaging.client.sent.messages",
            [("messaging.operation.name", "send"), ("messaging.system", "backroom")],
        ),
        (
            "messaging.process.duration",
            [("messaging.destination.name", "backroom.callbacks"), ("messaging.operation.name", "process")],
        ),
        ("backroom.jobs", [("messaging.destination.name", "out"), ("backroom.job.state", "cancelled")]),
    ] {
        collector.metric(name, &attributes);
    }
    collector.metric("backroom.workers", &[]);
    let log = server.stop();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn an_attempt_that_fails_is_a_span_with_the_error() {
    let (place, mut collector) = (Place::new(), Collector::start());
    let server = server(&place, &collector.url(), &[]);
    // A port at which nothing listens.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nowhere}/hook");
    let answer = server.post("/v1/jobs", &json!({"kind": "mail", "callback": {"url": url}}));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    server.post(&format!("/v1/jobs/{id}/cancel"), &json!({}));
    let span = collector.span("process backroom.callbacks");
    assert_eq!(texts(&span.attributes)["error.type"], "failed");
    let status = span.status.unwrap();
    assert_eq!(status.code, 2, "an error");
    assert!(!status.message.is_empty());
    server.stop();
}

#[test]
fn what_is_left_is_exported_before_the_server_ends() {
    let (place, mut collector) = (Place::new(), Collector::start());
    let mut command = place.command();
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    // The variables of the specification do what the settings do. Without more of them nothing is sent for seconds.
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env("OTEL_SERVICE_NAME", "shop-jobs");
    command.env("OTEL_BSP_SCHEDULE_DELAY", "3600000").env("OTEL_METRICS_EXPORTER", "none");
    let server = Server::spawn(command);
    server.get("/v1/queues");
    server.stop();
    collector.span("GET /v1/queues");
    assert_eq!(collector.resource["service.name"], "shop-jobs");
    assert!(collector.metrics.is_empty());
}

#[test]
fn a_collector_that_does_not_answer_is_reported_once_and_disturbs_nothing() {
    let (place, mut collector) = (Place::new(), Collector::start());
    collector.set_broken(true);
    let server = server(&place, &collector.url(), &[]);
    for _ in 0..20 {
        assert_eq!(server.post("/v1/jobs", &json!({"kind": "mail"})).status, 202);
    }
    server.line_with("spans could not be exported: the collector answers 503");
    collector.set_broken(false);
    server.get("/v1/queues");
    server.line_with("spans are exported again");
    server.get("/v1/workers");
    collector.span("GET /v1/workers");
    let log = server.stop();
    let warnings = log.lines().filter(|line| line.contains("spans could not be exported")).count();
    assert_eq!(warnings, 1, "{log}");
}

#[test]
fn a_trace_that_the_caller_does_not_record_is_not_exported_but_goes_on() {
    let (place, mut collector) = (Place::new(), Collector::start());
    let server = server(&place, &collector.url(), &["--otel-sample", "0"]);
    let call = |flags: &str| {
        let from = format!("00-{TRACE}-{CALLER}-{flags}");
        let headers = [("content-type", "application/json"), ("traceparent", from.as_str())];
        let answer = server.call("POST", "/v1/jobs", &headers, br#"{"kind":"mail"}"#);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        server.get(&format!("/v1/jobs/{id}")).json()["traceparent"].as_str().unwrap().to_owned()
    };
    let unrecorded = call("00");
    assert!(unrecorded.starts_with(&format!("00-{TRACE}-")) && unrecorded.ends_with("-00"), "{unrecorded}");
    let recorded = call("01");
    assert!(recorded.ends_with("-01"), "{recorded}");
    let span = collector.span("POST /v1/jobs");
    assert_eq!(hex(&span.trace_id), TRACE);
    let of_enqueue = collector.span("send default");
    assert_eq!(traceparent(&of_enqueue), recorded, "the one that is not recorded did not arrive");
    server.stop();
}

#[test]
fn a_variable_that_cannot_be_honoured_stops_the_server_with_the_reason() {
    let place = Place::new();
    let mut command = place.command();
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").env("OTEL_PROPAGATORS", "b3");
    command.args(["serve", "--listen", "127.0.0.1:0", "--otel-endpoint", "collector:4317"]);
    let said = crate::cli_support::said(command.output().unwrap());
    said.failed_naming("variable OTEL_EXPORTER_OTLP_PROTOCOL: \"grpc\" is not possible: this program speaks http/protobuf only");
    assert!(said.err.contains("variable OTEL_PROPAGATORS"), "{said:?}");
    assert!(said.err.contains("flag --otel-endpoint: `otel.endpoint` is no such URL"), "{said:?}");
}

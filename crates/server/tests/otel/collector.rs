//! A collector: it takes OTLP over HTTP, decodes it, and hands it to the test.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message as _;

use crate::serve_support::PATIENCE;

/// A request as it arrived.
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// A server on a port of its own. It answers until the test ends.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    received: Receiver<Received>,
    /// What arrived and no call has taken yet.
    spans: Vec<Span>,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) metrics: BTreeMap<String, Vec<BTreeMap<String, String>>>,
    pub(crate) headers: BTreeMap<String, String>,
    is_broken: Arc<AtomicBool>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (send, received) = channel();
        let is_broken = Arc::<AtomicBool>::default();
        let broken = Arc::clone(&is_broken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (send, broken) = (send.clone(), Arc::clone(&broken));
                std::thread::spawn(move || serve(stream.unwrap(), &send, &broken));
            }
        });
        Self {
            address,
            received,
            spans: Vec::new(),
            resource: BTreeMap::new(),
            metrics: BTreeMap::new(),
            headers: BTreeMap::new(),
            is_broken,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers 503, or 200 again.
    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::SeqCst);
    }

    /// The span of this name, once it has arrived.
    #[track_caller]
    pub(crate) fn span(&mut self, name: &str) -> Span {
        loop {
            if let Some(at) = self.spans.iter().position(|span| span.name == name) {
                return self.spans.remove(at);
            }
            let names: Vec<_> = self.spans.iter().map(|span| &span.name).collect();
            let received = self.received.recv_timeout(PATIENCE);
            let received =
                received.unwrap_or_else(|error| panic!("no span {name:?} ({error}); there are {names:?}"));
            self.read(received);
        }
    }

    /// Waits until a metric of this name has arrived whose attributes have these values.
    #[track_caller]
    pub(crate) fn metric(&mut self, name: &str, attributes: &[(&str, &str)]) {
        loop {
            let points = self.metrics.get(name).map(Vec::as_slice).unwrap_or_default();
            let is_it = |point: &BTreeMap<String, String>| {
                attributes.iter().all(|(key, value)| point.get(*key).is_some_and(|found| found == value))
            };
            if points.iter().any(is_it) {
                return;
            }
            let received = self.received.recv_timeout(PATIENCE);
            let received = received
                .unwrap_or_else(|error| panic!("no {name} {attributes:?} ({error}): {:?}", self.metrics));
            self.read(received);
        }
    }

    fn read(&mut self, received: Received) {
        self.headers = received.headers;
        match received.path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(&*received.body).unwrap();
                for of_resource in request.resource_spans {
                    self.resource = texts(&of_resource.resource.unwrap().attributes);
                    self.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
                }
            }
            "/v1/metrics" => {
                use opentelemetry_proto::tonic::metrics::v1::metric::Data;
                let request = ExportMetricsServiceRequest::decode(&*received.body).unwrap();
                let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
                for metric in scopes.flat_map(|scope| scope.metrics) {
                    let attributes = match metric.data.unwrap() {
                        Data::Gauge(data) => {
                            data.data_points.iter().map(|point| texts(&point.attributes)).collect()
                        }
                        Data::Sum(data) => {
                            data.data_points.iter().map(|point| texts(&point.attributes)).collect()
                        }
                        Data::Histogram(data) => {
                            data.data_points.iter().map(|point| texts(&point.attributes)).collect()
                        }
                        other => panic!("{other:?}"),
                    };
                    self.metrics.insert(metric.name, attributes);
                }
            }
            other => panic!("nothing is sent to {other}"),
        }
    }
}

/// Attributes as text.
pub(crate) fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, send: &Sender<Received>, is_broken: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    while let Some(received) = request(&mut reader) {
        let is_broken = is_broken.load(Ordering::SeqCst);
        let status = if is_broken { "503 Service Unavailable" } else { "200 OK" };
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
        // The test may have ended.
        if reader.get_mut().write_all(answer.as_bytes()).is_err()
            || (!is_broken && send.send(received).is_err())
        {
            return;
        }
    }
}

/// The next request; none once the connection is closed.
pub(crate) fn request(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body })
}

//! Exporters of spans and of metrics, each with a thread of its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom::{SPANS_TARGET, TraceContext, clock::Clock};
use opentelemetry::{KeyValue, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing::Level;
use tracing_subscriber::{Layer, Registry, filter::Targets};

use super::{Instruments, client::Client, context::W3c};
use crate::{config::otel::Plan, terminal::Problem};

/// The name under which the collector sees who made the spans.
const SCOPE: &str = "backroom";
/// How long a server that stops waits until the last spans and metrics are exported.
const STOP_MAX: Duration = Duration::from_secs(5);

/// What exports. It is stopped before the runtime ends, so that the last spans are sent.
pub(super) struct Exporting {
    tracers: Option<SdkTracerProvider>,
    meters: Option<SdkMeterProvider>,
    instruments: Instruments,
}

impl Exporting {
    pub(super) fn new(plan: &Plan, clock: &Arc<dyn Clock>) -> Result<Self, Problem> {
        let resource = resource(plan);
        let tracers = plan.traces.then(|| tracers(plan, resource.clone())).transpose()?;
        let meters = plan.metrics.then(|| meters(plan, resource)).transpose()?;
        let instruments = meters
            .as_ref()
            .map(|meters| Instruments::new(&meters.meter(SCOPE), Arc::clone(clock), plan.metrics_every));
        Ok(Self { tracers, meters, instruments: instruments.unwrap_or_default() })
    }

    /// The layer that turns our spans into spans of OpenTelemetry. Other spans and all events stay in this process.
    pub(super) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        let tracer = self.tracers.as_ref()?.tracer(SCOPE);
        let ours = Targets::new().with_target(SPANS_TARGET, Level::INFO);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false);
        Some(layer.with_filter(ours).boxed())
    }

    pub(super) fn context(&self) -> Option<Arc<dyn TraceContext>> {
        self.tracers.as_ref().map(|_| Arc::new(W3c) as Arc<dyn TraceContext>)
    }

    pub(super) fn instruments(&self) -> Instruments {
        self.instruments.clone()
    }

    /// Exports what is left. The exporters block, so they have a thread for it.
    pub(super) async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || {
            let tracers = self.tracers.map_or(Ok(()), |tracers| tracers.shutdown_with_timeout(STOP_MAX));
            let meters = self.meters.map_or(Ok(()), |meters| meters.shutdown_with_timeout(STOP_MAX));
            tracers.and(meters)
        });
        match stopping.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!("the last spans and metrics may not have been exported: {error}")
            }
            Err(error) => tracing::warn!("the last spans and metrics were not exported: {error}"),
        }
    }
}

/// Who the collector sees: attributes of the variables `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and what the settings say.
fn resource(plan: &Plan) -> Resource {
    let mut resource = Resource::builder();
    if let Some(name) = &plan.service_name {
        resource = resource.with_service_name(name.clone());
    }
    resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

fn tracers(plan: &Plan, resource: Resource) -> Result<SdkTracerProvider, Problem> {
    let client = Client::new(Handle::current(), "spans");
    let mut exporter =
        SpanExporter::builder().with_http().with_http_client(client).with_headers(headers(plan));
    if let Some(endpoint) = plan.endpoint_of("/v1/traces") {
        exporter = exporter.with_endpoint(endpoint);
    }
    let exporter = exporter.build().map_err(|error| Problem::new("prepare the export of spans", &error))?;
    let mut tracers = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter);
    if let Some(ratio) = plan.sample {
        tracers = tracers.with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))));
    }
    Ok(tracers.build())
}

fn meters(plan: &Plan, resource: Resource) -> Result<SdkMeterProvider, Problem> {
    let client = Client::new(Handle::current(), "metrics");
    let mut exporter =
        MetricExporter::builder().with_http().with_http_client(client).with_headers(headers(plan));
    if let Some(endpoint) = plan.endpoint_of("/v1/metrics") {
        exporter = exporter.with_endpoint(endpoint);
    }
    let exporter = exporter.build().map_err(|error| Problem::new("prepare the export of metrics", &error))?;
    let reader = PeriodicReader::builder(exporter).with_interval(plan.metrics_every).build();
    Ok(SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build())
}

fn headers(plan: &Plan) -> HashMap<String, String> {
    plan.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}

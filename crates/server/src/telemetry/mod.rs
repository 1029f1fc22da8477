//! Spans and metrics for a collector of OpenTelemetry, by OTLP over HTTP.
//!
//! [`start`] also begins to show warnings on stderr: both are layers of the one `tracing` subscriber of the process. What is to be
//! exported, the settings decide ([`crate::config::otel`]). A build without the feature `otel` exports nothing, and refuses
//! settings that ask for it.

#[cfg(feature = "otel")]
mod client;
#[cfg(feature = "otel")]
mod context;
#[cfg_attr(not(feature = "otel"), path = "instruments_none.rs")]
mod instruments;
#[cfg(feature = "otel")]
mod otlp;

use std::sync::Arc;

use backroom::{TraceContext, clock::Clock};

pub(crate) use self::instruments::Instruments;
use crate::{
    config::otel::Plan,
    terminal::{Problem, notices},
};

/// What exports, if anything does.
pub(crate) struct Telemetry {
    #[cfg(feature = "otel")]
    exporting: Option<otlp::Exporting>,
}

/// Begins to show warnings and, with a plan, to export.
#[cfg(feature = "otel")]
pub(crate) fn start(plan: Option<&Plan>, clock: &Arc<dyn Clock>) -> Result<Telemetry, Problem> {
    let exporting = plan.map(|plan| otlp::Exporting::new(plan, clock)).transpose()?;
    match &exporting {
        Some(exporting) => notices::start_beside(exporting.layer()),
        None => notices::start(),
    }
    Ok(Telemetry { exporting })
}

/// Begins to show warnings. The settings refuse an export in this build; the variables may be meant for other programs.
#[cfg(not(feature = "otel"))]
#[expect(clippy::unnecessary_wraps, reason = "the build with the feature can fail")]
pub(crate) fn start(plan: Option<&Plan>, _: &Arc<dyn Clock>) -> Result<Telemetry, Problem> {
    notices::start();
    if plan.is_some() {
        tracing::warn!(
            "a variable OTEL_… names a collector, but this program was built without the feature `otel`; nothing is exported"
        );
    }
    Ok(Telemetry {})
}

#[cfg(feature = "otel")]
impl Telemetry {
    /// What joins spans with the traces of callers; none if no spans are exported.
    pub(crate) fn context(&self) -> Option<Arc<dyn TraceContext>> {
        self.exporting.as_ref().and_then(otlp::Exporting::context)
    }

    /// Where metrics are counted for the export.
    pub(crate) fn instruments(&self) -> Instruments {
        self.exporting.as_ref().map(otlp::Exporting::instruments).unwrap_or_default()
    }

    /// Exports what is left, within some seconds.
    pub(crate) async fn stop(self) {
        if let Some(exporting) = self.exporting {
            exporting.stop().await;
        }
    }
}

#[cfg(not(feature = "otel"))]
#[expect(clippy::unused_self, reason = "the build with the feature has something to answer with")]
impl Telemetry {
    /// Nothing joins spans with the traces of callers.
    pub(crate) fn context(&self) -> Option<Arc<dyn TraceContext>> {
        None
    }

    /// Nothing is counted for an export.
    pub(crate) fn instruments(&self) -> Instruments {
        Instruments::default()
    }

    /// Nothing is left to export.
    pub(crate) async fn stop(self) {}
}

//! The library's warnings on stderr, one readable line each.

use std::{fmt, str::FromStr as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::{stderr::BesideBars, visible};

/// What is shown unless `BACKROOM_LOG` says otherwise: warnings, and the end of an outage that one of them reported. Not the
/// attempts that fail: of all commands only the demo runs jobs, and it shows on its screen what became of each.
fn shown_default() -> Targets {
    Targets::new()
        .with_default(Level::WARN)
        .with_target("backroom::store::observed", Level::INFO)
        .with_target(backroom::ATTEMPTS_TARGET, LevelFilter::OFF)
        // It logs at each attempt what a trigger reports once, with a remedy.
        .with_target("lapin", LevelFilter::OFF)
}

/// Begins to show what the library reports through `tracing`. `BACKROOM_LOG` takes a level (`debug`) or targets with
/// levels (`backroom::worker=debug,warn`).
pub(crate) fn start() {
    start_with(None);
}

/// The same beside another layer. `BACKROOM_LOG` does not filter what that gets.
#[cfg(feature = "otel")]
pub(crate) fn start_beside(other: Option<Other>) {
    start_with(other);
}

/// A layer that gets events and spans, too.
type Other = Box<dyn Layer<Registry> + Send + Sync>;

fn start_with(other: Option<Other>) {
    let wanted = std::env::var("BACKROOM_LOG").unwrap_or_default();
    let (filter, unreadable) = match Targets::from_str(&wanted) {
        _ if wanted.trim().is_empty() => (shown_default(), None),
        Ok(filter) => (filter, None),
        Err(error) => (Targets::new().with_default(Level::WARN), Some(error)),
    };
    // Only fails when a subscriber is set already, which only this function does.
    let _ = match other {
        Some(other) => {
            tracing_subscriber::registry().with(other).with(lines().with_filter(filter)).try_init()
        }
        None => tracing_subscriber::registry().with(filter).with(lines()).try_init(),
    };
    if let Some(error) = unreadable {
        tracing::warn!("BACKROOM_LOG={wanted:?} is not understood ({error}); showing warnings");
    }
}

/// Writes events to stderr.
fn lines<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_writer(BesideBars::default)
        // The lines have no colours; asking for any panics without the feature for them.
        .with_ansi(false)
        .event_format(Line)
}

/// `warning: message key=value`: no time and no module, which a person at a terminal does not need.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let word = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        writeln!(writer, "{word}: {}", visible::message(&fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_attempts_are_left_out_and_other_warnings_are_shown() {
        let shown = shown_default();
        assert!(!shown.would_enable(backroom::ATTEMPTS_TARGET, &Level::ERROR));
        assert!(shown.would_enable("backroom::ends", &Level::WARN));
        assert!(shown.would_enable("backroom::store::observed", &Level::INFO));
    }
}

//! `backroom serve`: from the settings to the end of the process.
//!
//! [`run`] opens the store, listens, serves until a signal comes, and stops in order: it accepts nothing more, finishes what it
//! has begun within a limit, and closes the store.

mod access;
mod activity;
mod connection;
mod connections;
mod lease_tokens;
mod listener;
mod live;
mod patient;
mod reload;
mod schedules;
mod signals;
mod state;
mod systemd;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(feature = "triggers")]
mod triggers;
mod upkeep;

use std::sync::Arc;

use backroom::{
    Backroom, Options,
    clock::{Clock, SystemClock},
};
use clap::Args;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

#[cfg(feature = "triggers")]
pub(crate) use self::triggers::{Served, ServedHook};
pub(crate) use self::{
    access::Refusal,
    connection::Arrived,
    patient::Patient,
    signals::{Signal, Signals},
    state::AppState,
};

use self::{connections::Connections, schedules::SettingsSchedules};
use crate::{
    api,
    config::{self, Given, Loaded, Raw, ServerSettings, SettingFlags},
    faktory,
    metrics::Metrics,
    settings::Settings,
    telemetry::{self, Telemetry},
    terminal::{Problem, out},
};

/// Serve the HTTP API
///
/// The server listens on this machine only. It stops on SIGTERM or Ctrl-C: it accepts nothing more, finishes the requests it
/// has begun, and closes the store. A second signal ends it at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom serve
  backroom serve --listen 127.0.0.1:9000 --store sqlite:jobs.db
  curl http://127.0.0.1:8080/v1/queues")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    flags: SettingFlags,

    /// Listen for clients of Faktory, too
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = false,
        default_missing_value = faktory::ADDRESS_DEFAULT,
        conflicts_with = "faktory.listen"
    )]
    faktory: Option<String>,

    /// Run the jobs of `backroom bench --scenario http` with this many slots
    #[arg(long, hide = true, value_name = "N")]
    bench_slots: Option<u32>,
}

pub(crate) async fn run(args: ServeArgs, settings: &Settings) -> Result<(), Problem> {
    settings.only_store_unless_inherited()?;
    let mut given = settings.given(args.flags);
    given.flags.extend(args.faktory.map(|address| ("faktory.listen", Raw::Text(address))));
    let loaded = config::load(&given).map_err(|wrong| config::problem(&wrong))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let plan = config::otel::checked(&loaded.settings.otel, &given.variables);
    let telemetry = telemetry::start(plan.as_ref(), &clock)?;
    for unknown in config::unknown_variables(&given) {
        tracing::warn!("{unknown}");
    }
    let served = serve_store(args.bench_slots, loaded, &given, &telemetry).await;
    if !matches!(served, Err(Problem::Interrupted)) {
        telemetry.stop().await;
    }
    served
}

/// Opens the store, serves, and closes it.
async fn serve_store(
    bench_slots: Option<u32>,
    loaded: Loaded,
    given: &Given,
    telemetry: &Telemetry,
) -> Result<(), Problem> {
    let server = &loaded.settings;
    let tls = tls::acceptor(&server.tls)?;
    // From here on a signal no longer ends the process by itself.
    let mut signals = Signals::new()?;
    let labels = usize::try_from(server.metrics.labels).unwrap_or(usize::MAX);
    let metrics = Arc::new(Metrics::new(labels, telemetry.instruments()));
    let backroom = open(server, &metrics, telemetry).await?;
    let measured = match bench_slots {
        Some(slots) => Some(crate::bench::telling_worker(&backroom, slots).await?),
        None => None,
    };
    let served = start(&backroom, loaded, tls, metrics, &mut signals, given).await;
    if matches!(served, Err(Problem::Interrupted)) {
        // A second signal: what is open is left to the next process, as after a crash.
        return served;
    }
    if let Some(worker) = measured {
        worker.stop().await?;
    }
    let closed = tokio::select! {
        closed = backroom.close() => closed,
        () = signals.stop() => return Err(Problem::Interrupted),
    };
    served?;
    Ok(closed?)
}

/// Opens the store and creates it if need be. Every call to it is measured.
async fn open(
    server: &ServerSettings,
    metrics: &Arc<Metrics>,
    telemetry: &Telemetry,
) -> Result<Backroom, Problem> {
    let metrics = Arc::clone(metrics);
    let options = Options::new().on_call(move |call| metrics.called(call));
    let options = match telemetry.context() {
        Some(traces) => options.trace_context(traces),
        None => options,
    };
    let options = config::sensitive::with_keys(options, server).await?;
    Ok(options.open(&server.store).await?)
}

/// Listens, and serves until a signal comes and all connections have ended.
async fn start(
    backroom: &Backroom,
    loaded: Loaded,
    tls: Option<TlsAcceptor>,
    metrics: Arc<Metrics>,
    signals: &mut Signals,
    given: &Given,
) -> Result<(), Problem> {
    let listeners = listener::bind(&loaded.settings.listen).await?;
    let for_faktory = faktory::Listener::bind(&loaded.settings.faktory.listen).await?;
    let is_local = listener::is_local(&listeners)?;
    let sockets = for_faktory.as_ref().map_or(&[][..], faktory::Listener::sockets);
    if loaded.settings.faktory.password.is_none() && !listener::is_local(sockets)? {
        let why = "`faktory.password` is not set, so everyone could do everything";
        return Err(Problem::new("listen for Faktory clients of other machines", &why)
            .hint("set the password in the settings file, or listen on 127.0.0.1 only"));
    }
    if !is_local {
        listener::check(backroom).await?;
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let state = AppState::new(backroom.clone(), loaded, tls, metrics, is_local);
    for listener in &listeners {
        let address = listener.local_addr().map_err(|error| Problem::new("read the address", &error))?;
        out::note(format_args!("listening on {scheme}://{address}"));
    }
    let scheme_of_faktory = if scheme == "https" { "tcp+tls" } else { "tcp" };
    for socket in for_faktory.as_ref().map_or(&[][..], faktory::Listener::sockets) {
        let address = socket.local_addr().map_err(|error| Problem::new("read the address", &error))?;
        out::note(format_args!("listening for Faktory clients on {scheme_of_faktory}://{address}"));
    }
    if state.access.is_open().await.unwrap_or(false) {
        out::note(
            "the store has no token: every program of this machine may do everything, and no other machine can connect",
        );
    }
    let url = own_url(scheme, &listeners, state.settings.now().worker.url.as_deref())?;
    serve(&state, listeners, for_faktory, &url, signals, given).await
}

/// Where programs of this machine reach the server.
fn own_url(scheme: &str, listeners: &[TcpListener], set: Option<&str>) -> Result<String, Problem> {
    if let Some(url) = set {
        return Ok(url.to_owned());
    }
    let Some(first) = listeners.first() else { return Ok(String::new()) };
    let mut address = first.local_addr().map_err(|error| Problem::new("read the address", &error))?;
    if address.ip().is_unspecified() {
        let ip: std::net::IpAddr = match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(ip);
    }
    Ok(format!("{scheme}://{address}"))
}

/// Serves until a signal comes and all connections have ended.
async fn serve(
    state: &AppState,
    listeners: Vec<TcpListener>,
    for_faktory: Option<faktory::Listener>,
    url: &str,
    signals: &mut Signals,
    given: &Given,
) -> Result<(), Problem> {
    let settings = state.settings.now();
    // Counts begin here: what was counted before belongs to no scrape of this process.
    state.metrics.refresh(&state.backroom, settings.metrics.refresh).await;
    let schedules = SettingsSchedules::new(state.clone());
    schedules.reconcile().await?;
    let worker = upkeep::start(state, url).await?;
    #[cfg(feature = "triggers")]
    triggers::start(state).await?;
    let connections = Connections::new(api::router(state.clone()), state.clone());
    let mut of_faktory = for_faktory.map(|listener| listener.serve(state));
    let (metrics, backroom) = (Arc::clone(&state.metrics), state.backroom.clone());
    let refreshing = async move { metrics.refresh_for_export(&backroom).await };
    let refreshing = AbortOnDropHandle::new(tokio::spawn(refreshing));
    let watchdog = systemd::watchdog(Arc::clone(state.backroom.clock())).map(AbortOnDropHandle::new);
    systemd::ready("serving");
    let stopped = accept(state, listeners, &connections, &schedules, signals, given).await;
    if let Some(of_faktory) = of_faktory.as_mut().filter(|_| stopped.is_ok()) {
        of_faktory.stopped().await;
    }
    let drained = match stopped {
        Ok(()) => drain(state, &connections, of_faktory.as_ref(), signals).await,
        Err(problem) => Err(problem),
    };
    drop((watchdog, refreshing));
    #[cfg(feature = "triggers")]
    if let (Some(served), Ok(())) = (state.triggers.get(), &drained) {
        served.running().stop().await;
    }
    // What is lost by an error here is a minute of counts.
    let _ = state.leases.write_stats().await;
    // A second signal ends the process at once: then the worker's row stays until its lease ends.
    drained?;
    let Some(worker) = worker else { return Ok(()) };
    tokio::select! {
        stopped = worker.stop() => Ok(stopped.map(drop)?),
        () = signals.stop() => Err(Problem::Interrupted),
    }
}

/// Accepts connections until a signal asks to stop.
async fn accept(
    state: &AppState,
    listeners: Vec<TcpListener>,
    connections: &Connections,
    schedules: &Arc<SettingsSchedules>,
    signals: &mut Signals,
    given: &Given,
) -> Result<(), Problem> {
    let accepting =
        futures_util::future::join_all(listeners.into_iter().map(|listener| connections.accept(listener)));
    tokio::pin!(accepting);
    loop {
        tokio::select! {
            _ = &mut accepting => break,
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => {
                    systemd::reloading();
                    if reload::reload(state, given) {
                        schedules.reload();
                    }
                    systemd::ready("serving");
                }
            }
        }
    }
    state.drain();
    systemd::stopping();
    out::note("stopping: finishing the requests that have begun; a second signal ends the server at once");
    let delay = state.settings.now().drain_delay.0;
    tokio::select! {
        _ = &mut accepting => {}
        () = state.backroom.clock().sleep(delay) => {}
        () = signals.stop() => return Err(Problem::Interrupted),
    }
    state.stopping.cancel();
    accepting.await;
    Ok(())
}

/// Waits until the requests that have begun are answered, and cuts those that take too long.
async fn drain(
    state: &AppState,
    connections: &Connections,
    of_faktory: Option<&faktory::Serving>,
    signals: &mut Signals,
) -> Result<(), Problem> {
    let time = state.settings.now().drain;
    let ended = async {
        connections.ended().await;
        if let Some(of_faktory) = of_faktory {
            of_faktory.ended().await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = state.backroom.clock().sleep(time) => {
            let mut left = connections.cut().await;
            if let Some(of_faktory) = of_faktory {
                left += of_faktory.cut().await;
            }
            out::note(format_args!("{left} connections were cut, because they did not end within {time:?}"));
        }
        () = signals.stop() => return Err(Problem::Interrupted),
    }
    Ok(())
}

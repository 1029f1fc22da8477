//! Jobs that an HTTP endpoint does: each run is a signed request, and the answer says what became of the job.
//!
//! [`Worker::endpoint`] registers a kind. The URL comes from the program or its settings, never from a job. The page
//! `docs/languages.md` describes what an endpoint may rely on. Start reading at [`Endpoint::run`]; `event` is the body of the request, and
//! `answer` decides what an answer means.

mod answer;
mod event;
mod spec;

use std::{sync::Arc, time::Duration};

use backroom_core::{Json, http_url::HttpUrl};
use futures_util::FutureExt as _;
use tokio_rustls::rustls::ClientConfig;

use self::answer::Meaning;
pub use self::spec::EndpointSpec;
use crate::{
    Context, Failure, RunKey, Worker,
    handler::Handler,
    http_out::{
        Turns, Way,
        send::{Unsent, send},
        signature,
    },
    worker::{KindBreaker, StopReason},
};

/// How long a job waits when its host has as many connections as it may have.
const CROWDED: Duration = Duration::from_millis(500);

impl Worker {
    /// Has the jobs of a kind done by an HTTP endpoint: each run is a POST of a CloudEvent with the job's args, signed by Standard
    /// Webhooks. An answer of 2xx means done, and its body is the output; 202 means that the endpoint reports later; 429 and 503
    /// postpone the job; any other 4xx discards it; everything else is a failure. It occupies a slot and no thread.
    ///
    /// After several failures in a row no job of the kind is claimed for a while:
    /// [`EndpointSpec::breaker`]. Feature `callbacks`.
    pub fn endpoint(mut self, kind: impl Into<String>, spec: EndpointSpec) -> Self {
        let kind = kind.into();
        let (url, tls) = match spec.check(&kind) {
            Ok(checked) => checked,
            Err(error) => {
                self.check(Err(error));
                return self;
            }
        };
        let breaker = Arc::new(KindBreaker::new(&kind, spec.breaker));
        self.add_breaker(Arc::clone(&breaker));
        let retry = spec.retry.clone();
        let turns = self.host_turns();
        let endpoint = Arc::new(Endpoint { way: spec.way(&url), spec, url, tls, breaker, turns });
        let run = move |context: Context| {
            let endpoint = Arc::clone(&endpoint);
            async move { endpoint.run(context).await }.boxed()
        };
        let check_state = |_: &_| Ok(());
        let handler = Handler {
            retry,
            is_blocking: false,
            timeout: None,
            seal: None,
            wind_up: Duration::ZERO,
            check_state,
            run: Box::new(run),
        };
        self.register(&[&kind], handler)
    }
}

/// The endpoint of one kind.
struct Endpoint {
    spec: EndpointSpec,
    url: HttpUrl,
    way: Way,
    tls: Arc<ClientConfig>,
    breaker: Arc<KindBreaker>,
    /// Those of all endpoints of the worker.
    turns: Turns,
}

impl Endpoint {
    /// One run.
    async fn run(&self, context: Context) -> Result<Json, Failure> {
        let clock = Arc::clone(&context.resources().engine.clock);
        // First: a breaker that is tried out admits one run, which must then begin.
        let Some(turn) = self.turns.take(&self.url.host.to_string(), self.spec.connections) else {
            return Err(Failure::not_begun(CROWDED));
        };
        if let Err(wait) = self.breaker.admit(clock.monotonic()) {
            return Err(Failure::not_begun(wait));
        }
        let body = event::body(&self.spec.source, context.job(), clock.now()).map_err(Failure::discard)?;
        let headers = self.headers(&context, &body);
        let sending = send(&*clock, &self.way, &self.tls, &self.url, &headers, body);
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = context.cancelled() => return Err(stopped(&context)),
        };
        drop(turn);
        let answer = match sent {
            Ok(answer) => answer,
            Err(Unsent::Refused(why)) => return Err(Failure::discard(why)),
            Err(Unsent::Failed(why)) => {
                self.breaker.failed(&why, clock.monotonic(), clock.now());
                return Err(Failure::retry(why));
            }
        };
        match answer::meaning(&answer, self.spec.output_bytes_max, self.spec.snooze, clock.now()) {
            Meaning::Done(output) => {
                self.breaker.succeeded();
                Ok(output)
            }
            Meaning::Later => {
                self.breaker.succeeded();
                self.wait_for_report(&context).await
            }
            // It is there, and says that it is busy.
            Meaning::Snooze(wait) => Err(Failure::snooze(wait)),
            Meaning::Discard(why) => {
                self.breaker.succeeded();
                Err(Failure::discard(why))
            }
            Meaning::Failed(why) => {
                self.breaker.failed(&why, clock.monotonic(), clock.now());
                Err(Failure::retry(why))
            }
        }
    }

    fn headers(&self, context: &Context, body: &[u8]) -> Vec<(&'static str, String)> {
        let (id, now) = (context.id().to_string(), context.resources().engine.clock.now());
        let mut headers = vec![
            ("content-type", event::CONTENT_TYPE.to_owned()),
            ("user-agent", concat!("backroom/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("webhook-id", id.clone()),
            ("webhook-timestamp", now.as_second().to_string()),
            ("backroom-attempt", context.attempt().to_string()),
        ];
        if !self.spec.secrets.is_empty() {
            headers.push(("webhook-signature", signature::sign(&self.spec.secrets, &id, now, body)));
        }
        if let Some(traceparent) = context.traceparent() {
            headers.push(("traceparent", traceparent.to_owned()));
        }
        let job = context.job();
        let run = job.lease_id.map(|lease| RunKey { job: job.id, lease });
        if let Some((server, token)) = run.and_then(|run| self.spec.call_back(run)) {
            headers.push(("backroom-server", server));
            headers.push(("backroom-token", token));
        }
        headers
    }

    /// Waits until the end of the run is recorded by the endpoint's call. The run keeps its slot for so long.
    async fn wait_for_report(&self, context: &Context) -> Result<Json, Failure> {
        let engine = &context.resources().engine;
        let (id, lease) = (context.id(), context.job().lease_id);
        let notified = engine.store.notifier().subscribe_job(id);
        let until = engine.clock.monotonic().saturating_add(self.spec.report_within);
        loop {
            // A store that cannot be read now is asked again.
            if let Ok(job) = engine.store.job(id).await
                && job.is_none_or(|job| job.lease_id != lease || job.state != backroom_core::State::Running)
            {
                return Err(Failure::reported());
            }
            tokio::select! {
                biased;
                () = context.cancelled() => return Err(stopped(context)),
                () = notified.notified() => {}
                () = engine.clock.sleep_to(until) => {
                    let within = self.spec.report_within;
                    return Err(Failure::new(
                        crate::failure::Outcome::TimedOut,
                        format!("the endpoint answered with 202 and did not report within {within:?}"),
                    ));
                }
            }
        }
    }
}

/// The run was asked to stop. Its lease may be lost because the endpoint has reported.
fn stopped(context: &Context) -> Failure {
    match context.stop_reason() {
        Some(StopReason::LeaseLost) => Failure::reported(),
        Some(StopReason::Cancelled | StopReason::Stopping | StopReason::TimedOut) | None => {
            context.checkpoint().err().unwrap_or_else(|| Failure::retry("the run was asked to stop"))
        }
    }
}

//! Spans of enqueues and attempts, and what is passed on where a program joins them with other traces.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::sync::{Arc, Mutex};

use backroom::{Backroom, Context, Draft, Json, Options, TraceContext, Worker};
use tokio::sync::mpsc;
use tracing::Span;

/// What a caller outside named.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Names each span by its id in the process, and remembers whose child it became.
#[derive(Debug, Default)]
struct Traces {
    parents: Mutex<Vec<(String, String)>>,
}

impl TraceContext for Traces {
    fn set_parent(&self, span: &Span, traceparent: &str) {
        let own = self.traceparent(span).unwrap();
        self.parents.lock().unwrap().push((own, traceparent.to_owned()));
    }

    fn traceparent(&self, span: &Span) -> Option<String> {
        let id = span.id()?.into_u64();
        Some(format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id:016x}-01"))
    }
}

/// A store whose spans are traced on this thread.
async fn traced() -> (Backroom, Arc<Traces>, tracing::subscriber::DefaultGuard) {
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let traces = Arc::<Traces>::default();
    let backroom = Options::new().trace_context(traces.clone()).open("memory:").await.unwrap();
    (backroom, traces, guard)
}

#[tokio::test]
async fn an_attempt_is_a_span_below_the_enqueue_and_passes_itself_on() {
    let (backroom, traces, _guard) = traced().await;
    let (send, mut seen) = mpsc::unbounded_channel();
    let worker = Worker::new(&backroom).handle_untyped("outer", move |_, ctx: Context| {
        let send = send.clone();
        async move {
            let inner = ctx.backroom().enqueue_untyped("inner", Json::null()).queue("other").await?;
            send.send((
                ctx.traceparent().map(str::to_owned),
                ctx.backroom().current_traceparent(),
                inner.id(),
            ))?;
            Ok(Json::null())
        }
    });
    let worker = worker.start().await.unwrap();
    let outer = backroom.enqueue_untyped("outer", Json::null()).await.unwrap();
    let (own, current, inner) = seen.recv().await.unwrap();
    let own = own.expect("the attempt is traced");
    assert_eq!(current.as_ref(), Some(&own), "the handler runs inside the span");
    let of_enqueue = backroom.job(outer.id()).await.unwrap().extras.traceparent.expect("of the enqueue");
    assert_eq!(*traces.parents.lock().unwrap(), [(own.clone(), of_enqueue.clone())]);
    let of_inner = backroom.job(inner).await.unwrap().extras.traceparent.expect("of the enqueue inside");
    assert!(of_inner != own && of_inner != of_enqueue, "it is a span of its own");
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_traceparent_that_the_caller_sets_stays_and_all_jobs_of_one_call_share_one() {
    let (backroom, _, _guard) = traced().await;
    let own = backroom.enqueue_untyped("k", Json::null()).traceparent(CALLER).await.unwrap();
    assert_eq!(backroom.job(own.id()).await.unwrap().extras.traceparent.as_deref(), Some(CALLER));
    let drafts = [Draft::new("k", Json::null()), Draft::new("l", Json::null())];
    backroom.enqueue_many_drafts(drafts).queue("many").await.unwrap();
    let filter = backroom::Filter { queue: Some("many".into()), ..Default::default() };
    let jobs = backroom.list(filter, None, 10).await.unwrap().jobs;
    let shared: Vec<_> = jobs.iter().map(|job| job.extras.traceparent.clone()).collect();
    assert_eq!(shared.len(), 2);
    assert!(shared[0].is_some() && shared[0] == shared[1], "{shared:?}");
}

#[tokio::test]
async fn without_a_trace_context_jobs_carry_what_the_caller_says_and_nothing_else() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let backroom = Backroom::open("memory:").await.unwrap();
    let job = backroom.enqueue_untyped("k", Json::null()).await.unwrap();
    assert_eq!(backroom.job(job.id()).await.unwrap().extras.traceparent, None);
    assert_eq!(backroom.current_traceparent(), None);
}

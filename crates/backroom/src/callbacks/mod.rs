//! Sends callbacks: jobs of the system queue `backroom.callbacks`, each an HTTP request to the URL that a caller named.
//!
//! A callback is written in the transaction of the change that it reports, and it is a job: it survives every crash, is tried
//! again on the schedule of Standard Webhooks, is listed as any job, and is sent again by a retry by hand. Its id is the
//! `webhook-id`, the same at every attempt.
//!
//! Never here: who is informed of what (core decides it with the change). Start reading at [`Sender::deliver`].

mod answer;
mod event;
mod options;

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{
    Json,
    http_url::HttpUrl,
    message::callback::{KIND, QUEUE, retry_policy},
};
use tokio_rustls::rustls::ClientConfig;

pub use self::options::CallbackOptions;
use self::{answer::Verdict, event::Args};
use crate::{
    Context, Error, Failure, Worker,
    http_out::{
        self, Turns, Way,
        send::{Unsent, described, send},
        signature,
    },
    store::EndedEndpoint,
};

/// How long a callback waits when its host has as many connections as it may have.
const CROWDED: Duration = Duration::from_secs(1);

impl Worker {
    /// Sends callbacks: this worker also serves the queue `backroom.callbacks`, with slots of its own. Any number of workers may.
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no secret to sign with and unsigned callbacks are not allowed.
    pub fn callbacks(self, options: CallbackOptions) -> Result<Self, Error> {
        options.check()?;
        let (slots, tls) = (options.slots, http_out::tls(&options.roots)?);
        let way = options.way();
        let sender = Arc::new(Sender { options, way, tls, turns: Turns::default() });
        Ok(self.queue(QUEUE, slots).handle_untyped(KIND, move |args, context| {
            let sender = Arc::clone(&sender);
            async move { sender.deliver(args, context).await }
        }))
    }
}

/// Sends the callbacks of one worker.
struct Sender {
    options: CallbackOptions,
    way: Way,
    tls: Arc<ClientConfig>,
    turns: Turns,
}

impl Sender {
    /// Sends one callback. The output of a callback that arrived is the status of the answer.
    async fn deliver(&self, args: Json, context: Context) -> Result<Json, Failure> {
        let args: Args = args.decode().map_err(Failure::discard)?;
        let url = HttpUrl::parse(&args.url).map_err(Failure::discard)?;
        let endpoint = url.to_string();
        let backroom = context.backroom();
        if let Some(ended) = backroom.store().ended_endpoint(&endpoint).await? {
            return Err(Failure::discard(format!("the endpoint has ended: {}", ended.reason)));
        }
        let secrets = self.options.secrets_for(&url);
        if secrets.is_empty() && !self.options.allows_unsigned {
            return Err(Failure::discard(format!("there is no secret for {}", url.origin())));
        }
        let Some(_turn) = self.turns.take(&url.host.to_string(), self.options.connections_per_host) else {
            return Err(Failure::snooze(CROWDED));
        };
        let id = context.id();
        // The body is the same at every attempt; the header names the span of this one.
        let of_job = context.job().extras.traceparent.as_deref();
        let body = event::body(id, &self.options.source, of_job, &args.event)?;
        let now = backroom.clock().now();
        let mut headers = vec![
            ("content-type", event::CONTENT_TYPE.to_owned()),
            ("user-agent", concat!("backroom/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("webhook-id", id.to_string()),
            ("webhook-timestamp", now.as_second().to_string()),
        ];
        if !secrets.is_empty() {
            headers.push(("webhook-signature", signature::sign(secrets, &id.to_string(), now, &body)));
        }
        if let Some(traceparent) = context.traceparent() {
            headers.push(("traceparent", traceparent.to_owned()));
        }
        let sent = send(&**backroom.clock(), &self.way, &self.tls, &url, &headers, body).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(Unsent::Refused(why)) => return Err(Failure::discard(why)),
            Err(Unsent::Failed(why)) => return Err(Failure::retry(why)),
        };
        let now = backroom.clock().now();
        let said = described("the receiver", answer.status, answer.reason, &answer.body);
        match answer::verdict(answer.status, answer.retry_after.as_deref(), now) {
            Verdict::Done => Ok(Json::encode(&answer.status)?),
            Verdict::Gone => {
                let reason = format!("{said}; `backroom endpoints enable` sends callbacks to it again");
                let ended = EndedEndpoint { url: endpoint, reason: reason.clone(), ended_at: now };
                // Before the job ends: so that the answer is not lost if this process dies in between.
                backroom.store().end_endpoint(Arc::new(ended)).await?;
                Err(Failure::discard(reason))
            }
            Verdict::Later(asked) => Err(Failure::retry_after(wait(&context, asked), said)),
            Verdict::Failed => Err(Failure::retry(said)),
        }
    }
}

/// As long as the receiver asks for, and at least as long as the schedule says: the attempts of a callback must not be spent
/// within a minute.
fn wait(context: &Context, asked: Option<Duration>) -> Duration {
    let policy = context.job().extras.retry.clone().unwrap_or_else(retry_policy);
    policy.delay(context.attempt(), 0.5).max(asked.unwrap_or_default())
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("options", &self.options).finish_non_exhaustive()
    }
}

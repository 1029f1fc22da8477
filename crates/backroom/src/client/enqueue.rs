//! Enqueueing one job.

use std::{
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use backroom_core::{
    Callback, Draft, Json, MessageKind, MessageKinds, RetryPolicy, Timestamp,
    draft::{NewJob, When},
    unique::UniqueRule,
};

use super::{
    Backroom, Job, JobHandle, Untyped, job,
    links::{Linked, link_options},
};
use crate::{Error, ErrorKind, store::Inserted, telemetry::Sending};

impl Backroom {
    /// Enqueues a job: `backroom.enqueue(job).queue("images").await?`. Once that answers, the job is on disk.
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue<'_, J> {
        Enqueue { backroom: self, draft: job::draft_of(&job), linked: Linked::default(), typed: PhantomData }
    }

    /// Enqueues a job of a kind that is known by name only, with args as JSON.
    pub fn enqueue_untyped(&self, kind: impl Into<String>, args: Json) -> Enqueue<'_, Untyped> {
        self.enqueue_draft(Draft::new(kind, args))
    }

    /// Enqueues a whole draft.
    pub fn enqueue_draft(&self, draft: Draft) -> Enqueue<'_, Untyped> {
        Enqueue { backroom: self, draft: Ok(draft), linked: Linked::default(), typed: PhantomData }
    }
}

/// A job about to be enqueued: set what differs from its kind's defaults, then `.await` it.
#[must_use = "nothing is enqueued until this is awaited"]
pub struct Enqueue<'a, J> {
    pub(super) backroom: &'a Backroom,
    pub(super) draft: Result<Draft, Error>,
    pub(super) linked: Linked,
    pub(super) typed: PhantomData<fn() -> J>,
}

/// The options of an enqueue, the same for one job and for many.
macro_rules! options {
    () => {
        /// The queue it waits in. Default `default`, or what its kind says.
        pub fn queue(self, queue: impl Into<String>) -> Self {
            let queue = queue.into();
            self.set(move |draft| draft.queue.clone_from(&queue))
        }

        /// Key inside the queue for order, limits and fairness. Stored; queues do not act on it yet.
        pub fn lane(self, lane: impl Into<String>) -> Self {
            let lane = Some(lane.into());
            self.set(move |draft| draft.lane.clone_from(&lane))
        }

        /// 0 (served first) to 9 (last). Default 5.
        pub fn priority(self, priority: u8) -> Self {
            self.set(move |draft| draft.priority = priority)
        }

        /// May run after this delay.
        pub fn delay(self, delay: Duration) -> Self {
            self.set(move |draft| draft.start = When::In(delay))
        }

        /// May run at this moment; not more than five minutes ago, not more than ten years ahead.
        pub fn at(self, at: Timestamp) -> Self {
            self.set(move |draft| draft.start = When::At(at))
        }

        /// Cancelled with the reason `expired` unless it has begun within this span from now.
        pub fn expires_in(self, span: Duration) -> Self {
            self.set(move |draft| draft.expiry = Some(When::In(span)))
        }

        /// Cancelled with the reason `expired` unless it has begun by then.
        pub fn expires_at(self, at: Timestamp) -> Self {
            self.set(move |draft| draft.expiry = Some(When::At(at)))
        }

        /// Longest run of one attempt; more is a failure. Whole milliseconds.
        pub fn timeout(self, timeout: Duration) -> Self {
            self.set(move |draft| draft.extras.timeout = Some(timeout))
        }

        /// Attempts allowed, the first included: 1 means no retry. Default 20.
        pub fn max_attempts(self, attempts: u32) -> Self {
            self.set(move |draft| draft.max_attempts = Some(attempts))
        }

        /// The wait between attempts, instead of its kind's. Sets the attempts allowed too, to the policy's
        /// default; call `max_attempts` after it for another budget.
        pub fn retry(self, retry: RetryPolicy) -> Self {
            self.set(move |draft| {
                draft.max_attempts = Some(retry.max_attempts_default());
                draft.extras.retry = Some(retry.clone());
            })
        }

        /// Keeps duplicates out.
        pub fn unique(self, rule: UniqueRule) -> Self {
            self.set(move |draft| draft.unique = Some(rule.clone()))
        }

        /// A word to filter by; at most 32.
        pub fn tag(self, tag: impl Into<String>) -> Self {
            let tag = tag.into();
            self.set(move |draft| draft.tags.push(tag.clone()))
        }

        /// The caller's span, as the `traceparent` of W3C Trace Context: the handler reads it as
        /// [`Context::traceparent`](crate::Context::traceparent) and continues the trace.
        pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
            let traceparent = Some(traceparent.into());
            self.set(move |draft| draft.extras.traceparent.clone_from(&traceparent))
        }

        /// Messages about the job go to this reply queue, from which [`Backroom::replies`](crate::Backroom::replies) takes
        /// them. They are written in the transactions of the changes that they report. Default: one message at the
        /// job's end, see [`reply_on`](Self::reply_on).
        pub fn reply_to(self, queue: impl Into<String>) -> Self {
            let queue = queue.into();
            self.set(move |draft| draft.extras.reply.get_or_insert_default().to.clone_from(&queue))
        }

        /// Stands in every message, so that their reader knows to what they belong; at most 256 bytes. Messages of a reply queue
        /// with the same one are delivered in order. Needs [`reply_to`](Self::reply_to).
        pub fn correlation_id(self, id: impl Into<String>) -> Self {
            let id = Some(id.into());
            self.set(move |draft| draft.extras.reply.get_or_insert_default().correlation_id.clone_from(&id))
        }

        /// Of what the messages inform. Default: the job's end, whichever it is. Needs [`reply_to`](Self::reply_to).
        pub fn reply_on(self, kinds: impl IntoIterator<Item = backroom_core::MessageKind>) -> Self {
            let kinds = kinds.into_iter().collect();
            self.set(move |draft| draft.extras.reply.get_or_insert_default().on = kinds)
        }

        /// Has a message about the job's end sent to this URL, by workers that send [callbacks](crate::Worker::callbacks). See
        /// [`callback_on`](Self::callback_on) for other messages.
        pub fn callback(self, url: impl Into<String>) -> Self {
            let url = url.into();
            self.set(move |draft| {
                let callback = draft.extras.callback.get_or_insert_with(callback_to_nowhere);
                callback.url.clone_from(&url);
            })
        }

        /// Of what the [callback](Self::callback) informs; default the job's end, whichever it is.
        pub fn callback_on(self, kinds: impl IntoIterator<Item = MessageKind>) -> Self {
            let kinds: MessageKinds = kinds.into_iter().collect();
            self.set(move |draft| draft.extras.callback.get_or_insert_with(callback_to_nowhere).on = kinds)
        }

        /// An entry of free data; at most 64.
        pub fn meta(self, key: impl Into<String>, value: impl Into<String>) -> Self {
            let (key, value) = (key.into(), value.into());
            self.set(move |draft| {
                draft.extras.meta.insert(key.clone(), value.clone());
            })
        }
    };
}
pub(super) use options;

/// Refused at enqueue unless a URL is set.
pub(super) fn callback_to_nowhere() -> Callback {
    Callback { url: String::new(), on: MessageKinds::default() }
}

impl<'a, J: 'a> Enqueue<'a, J> {
    options!();
    link_options!();

    fn set(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        if let Ok(draft) = &mut self.draft {
            change(draft);
        }
        self
    }

    /// The job as asked for, to hand over later or with [others](Backroom::enqueue_many_drafts). Fails if its args do not
    /// encode, and for a job that runs after others or is in a batch: a draft does not say that.
    pub fn into_draft(self) -> Result<Draft, Error> {
        self.linked.refuse("as a draft")?;
        self.draft
    }

    /// The checked job, and the span of its enqueue.
    pub(super) fn check(self) -> Result<(NewJob, Sending), Error> {
        let engine = self.backroom.engine();
        let now = engine.clock.now();
        let mut draft = self.draft?;
        let sending = Sending::begin(engine, Some(&draft));
        sending.stamp(&mut draft);
        let new = engine.check(draft, now, None)?;
        sending.is_of(new.job.id);
        Ok((new, sending))
    }

    async fn send(self) -> Result<JobHandle<J>, Error> {
        let (backroom, linked) = (self.backroom, self.linked.clone());
        let (new, sending) = self.check()?;
        let id = new.job.id;
        let now = new.job.created_at;
        let insert = linked.insert(backroom.engine(), vec![new], now);
        let answers = sending.around(insert).await?;
        let answer = answers
            .first()
            .copied()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "enqueue: the store gave no answer for a job"))?;
        JobHandle::from_answer(backroom, id, answer)
    }
}

impl<J> JobHandle<J> {
    /// The handle to what the store answered for the new job `id`.
    pub(super) fn from_answer(
        backroom: &Backroom,
        id: crate::JobId,
        answer: Inserted,
    ) -> Result<Self, Error> {
        match answer {
            Inserted::Created => Ok(Self::new(backroom, id, true)),
            Inserted::Duplicate(holder) | Inserted::Replaced(holder) => {
                Ok(Self::new(backroom, holder, false))
            }
            Inserted::KeyHeld(holder) => {
                let message = format!("enqueue: job {holder} holds the unique key");
                Err(Error::new(ErrorKind::KeyHeld { holder }, message))
            }
        }
    }
}

impl<'a, J: 'a> IntoFuture for Enqueue<'a, J> {
    type Output = Result<JobHandle<J>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

//! Enqueueing many jobs without holding them all.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use backroom_core::{
    Draft, Json, MessageKind, MessageKinds, RetryPolicy, Timestamp,
    draft::{NewJob, When},
    unique::UniqueRule,
};
use futures_util::{StreamExt as _, future::poll_immediate, stream::FuturesUnordered};

use super::{
    Backroom, Job,
    enqueue::{callback_to_nowhere, options},
    job,
    links::{Linked, link_options},
};
use crate::{Error, engine::Engine, store::Inserted, telemetry::Sending};

/// Jobs per transaction: large enough that the cost of a commit vanishes, small enough that single enqueues of
/// others do not wait for long.
const CHUNK_JOBS_MAX: usize = 1000;
/// Chunks handed to the store at the same time.
const CHUNKS_UNDER_WAY: usize = 2;
/// Args per transaction.
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Backroom {
    /// Enqueues the jobs of an iterator in transactions of up to a thousand, taking them from it as it goes:
    /// `backroom.enqueue_many(jobs).queue("mail").await?`. A million jobs take the memory of two thousand.
    ///
    /// Two transactions may be under way at a time, so the jobs of one need not be there before those of the next. Jobs
    /// with a [unique key](EnqueueMany::unique) go one transaction after the other.
    ///
    /// # When it fails
    ///
    /// The call takes nothing more from the iterator and waits for what is under way. The error says how many jobs are
    /// known to be stored (or dropped as duplicates, or have replaced one). What may be relied upon:
    ///
    /// - Each transaction is stored whole or not at all; one with a job that is refused is not. Which jobs are stored
    ///   is not known: without a unique key the jobs stored need not be the first ones.
    /// - For every kind of error but [`Unavailable`](crate::ErrorKind::Unavailable), the number is exact. That kind
    ///   comes after the store was asked again for some seconds. It leaves one or two transactions unknown: each of
    ///   them is stored once, or not at all.
    /// - The same call again stores jobs again that are stored already: every call makes jobs of its own. To be able to
    ///   repeat it, give the jobs a unique key. Then the jobs that are stored are the first ones. The repeat counts
    ///   them as [duplicates](EnqueuedMany::duplicates) and adds the rest. That works as long as they hold their keys,
    ///   by default until they are finished. Or, on PostgreSQL, enqueue all of them in a transaction of your own
    ///   (`within_postgres`, `within_sqlx`) and roll it back.
    pub fn enqueue_many<J: Job, I>(&self, jobs: I) -> EnqueueMany<'_>
    where
        I: IntoIterator<Item = J>,
        I::IntoIter: Send + 'static,
    {
        let args = jobs.into_iter().map(|job| Json::encode(&job));
        EnqueueMany {
            backroom: self,
            linked: Linked::default(),
            jobs: Jobs::Alike(Box::new(job::template::<J>()), Box::new(args)),
        }
    }

    /// The same for a kind that is known by name only, with args as JSON.
    pub fn enqueue_many_untyped<I>(&self, kind: impl Into<String>, args: I) -> EnqueueMany<'_>
    where
        I: IntoIterator<Item = Json>,
        I::IntoIter: Send + 'static,
    {
        self.enqueue_many_like(Draft::new(kind, Json::null()), args)
    }

    /// The same for jobs that are like `template` in all but their args.
    pub fn enqueue_many_like<I>(&self, template: Draft, args: I) -> EnqueueMany<'_>
    where
        I: IntoIterator<Item = Json>,
        I::IntoIter: Send + 'static,
    {
        let args = args.into_iter().map(Ok);
        EnqueueMany {
            backroom: self,
            linked: Linked::default(),
            jobs: Jobs::Alike(Box::new(template), Box::new(args)),
        }
    }

    /// The same for jobs of several kinds, each with options of its own. An option set on the whole holds for all of them.
    /// They go one transaction after the other, in their order.
    ///
    /// Up to a thousand jobs with up to 4 MiB of args are one transaction: they are stored together or not at all.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use backroom::{Backroom, Job};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Pack { order: u64 }
    /// # impl Job for Pack { const KIND: &'static str = "pack"; type Output = (); }
    /// # #[derive(Serialize, Deserialize)] struct Remind { order: u64 }
    /// # impl Job for Remind { const KIND: &'static str = "remind"; type Output = (); }
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let backroom = Backroom::open("memory:").await?;
    /// let jobs = [
    ///     backroom.enqueue(Pack { order: 7 }).priority(1).into_draft()?,
    ///     backroom.enqueue(Remind { order: 7 }).delay(Duration::from_secs(3600)).into_draft()?,
    /// ];
    /// let done = backroom.enqueue_many_drafts(jobs).tag("order-7").await?;
    /// assert_eq!(done.created, 2);
    /// # Ok(()) }
    /// ```
    pub fn enqueue_many_drafts<I>(&self, drafts: I) -> EnqueueMany<'_>
    where
        I: IntoIterator<Item = Draft>,
        I::IntoIter: Send + 'static,
    {
        EnqueueMany {
            backroom: self,
            linked: Linked::default(),
            jobs: Jobs::Mixed(Box::new(drafts.into_iter()), Vec::new()),
        }
    }
}

type Args = Box<dyn Iterator<Item = Result<Json, backroom_core::Invalid>> + Send>;
type Setting = Box<dyn Fn(&mut Draft) + Send>;

/// Where the jobs come from.
enum Jobs {
    /// All but their args is the same.
    Alike(Box<Draft>, Args),
    /// Each is of its own, but for these settings.
    Mixed(Box<dyn Iterator<Item = Draft> + Send>, Vec<Setting>),
}

impl Jobs {
    /// How many there are at least.
    fn at_least(&self) -> usize {
        match self {
            Self::Alike(_, args) => args.size_hint().0,
            Self::Mixed(drafts, _) => drafts.size_hint().0,
        }
    }

    fn next(&mut self) -> Option<Result<Draft, backroom_core::Invalid>> {
        match self {
            Self::Alike(template, args) => {
                args.next().map(|args| Ok(Draft { args: args?, ..Draft::clone(template) }))
            }
            Self::Mixed(drafts, settings) => drafts.next().map(|mut draft| {
                settings.iter().for_each(|set| set(&mut draft));
                Ok(draft)
            }),
        }
    }

    /// Which of two jobs with one key comes first decides what becomes of it.
    fn may_overtake(&self) -> bool {
        match self {
            Self::Alike(template, _) => template.unique.is_none(),
            Self::Mixed(..) => false,
        }
    }
}

/// Jobs about to be enqueued: the options hold for all of them.
#[must_use = "nothing is enqueued until this is awaited"]
pub struct EnqueueMany<'a> {
    pub(super) backroom: &'a Backroom,
    pub(super) linked: Linked,
    jobs: Jobs,
}

/// What became of many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EnqueuedMany {
    /// Stored.
    pub created: u64,
    /// Not stored: another job holds the unique key and stays.
    pub duplicates: u64,
    /// Not stored: another job holds the unique key and took over the content.
    pub replaced: u64,
    /// Refused: another job holds the unique key.
    pub key_held: u64,
}

impl<'a> EnqueueMany<'a> {
    options!();
    link_options!();

    fn set(mut self, setting: impl Fn(&mut Draft) + Send + 'static) -> Self {
        match &mut self.jobs {
            Jobs::Alike(template, _) => setting(template),
            Jobs::Mixed(_, settings) => settings.push(Box::new(setting)),
        }
        self
    }

    /// Begins the span of this enqueue.
    pub(super) fn begin(&self, engine: &Engine) -> Sending {
        let job = match &self.jobs {
            Jobs::Alike(template, _) => Some(&**template),
            Jobs::Mixed(..) => None,
        };
        Sending::begin(engine, job)
    }

    async fn send(self) -> Result<EnqueuedMany, Error> {
        let engine = self.backroom.engine().clone();
        let sending = self.begin(&engine);
        let sum = sending.around(self.send_chunks(&engine, &sending)).await?;
        sending.is_of_many(sum.jobs());
        Ok(sum)
    }

    /// While a chunk is being written the next is encoded: neither the processor nor the disk waits.
    async fn send_chunks(mut self, engine: &Engine, sending: &Sending) -> Result<EnqueuedMany, Error> {
        let (mut sum, mut failed, mut is_more) = (EnqueuedMany::default(), None, true);
        let under_way_max = if self.jobs.may_overtake() { CHUNKS_UNDER_WAY } else { 1 };
        let mut under_way = FuturesUnordered::new();
        loop {
            let mut answered = None;
            if is_more && under_way.len() < under_way_max {
                match self.chunk(engine, sending) {
                    Ok(chunk) if chunk.is_empty() => is_more = false,
                    Ok(chunk) => {
                        under_way.push(self.linked.clone().insert(engine, chunk, engine.clock.now()));
                        // Hands it over before the next one is encoded.
                        answered = poll_immediate(under_way.next()).await.flatten();
                    }
                    Err(error) => {
                        failed = Some(error);
                        is_more = false;
                    }
                }
            } else {
                answered = under_way.next().await;
            }
            match answered {
                Some(Ok(answers)) => sum.count(&answers),
                Some(Err(error)) => {
                    if let Some(second) = failed.replace(error) {
                        tracing::debug!(error = %second, "a second part of a bulk enqueue failed");
                    }
                    is_more = false;
                }
                None if is_more || !under_way.is_empty() => {}
                None => return failed.map_or(Ok(sum), |error| Err(after(&sum, error))),
            }
        }
    }

    /// The next jobs, checked; none when all have been taken.
    pub(super) fn chunk(&mut self, engine: &Engine, sending: &Sending) -> Result<Vec<NewJob>, Error> {
        let now = engine.clock.now();
        // As many as the iterator promises: a large chunk that grows is copied again and again.
        let expected = self.jobs.at_least().min(CHUNK_JOBS_MAX);
        let (mut chunk, mut bytes) = (Vec::with_capacity(expected), 0);
        while chunk.len() < CHUNK_JOBS_MAX && bytes < CHUNK_BYTES_MAX {
            let Some(draft) = self.jobs.next() else { break };
            let mut draft = draft?;
            sending.stamp(&mut draft);
            let new = engine.check(draft, now, None)?;
            bytes += new.job.args.as_str().len();
            chunk.push(new);
        }
        Ok(chunk)
    }
}

/// An error in the middle says how far it came: those jobs are stored and will run, or are in the
/// caller's transaction.
pub(super) fn after(sum: &EnqueuedMany, error: Error) -> Error {
    let done = sum.jobs();
    Error::new(error.kind(), format!("enqueue many: at least {done} jobs were handled before the error"))
        .caused_by(error)
}

impl EnqueuedMany {
    /// How many jobs were handled, whatever became of them.
    pub(super) fn jobs(&self) -> u64 {
        self.created + self.duplicates + self.replaced + self.key_held
    }

    pub(super) fn count(&mut self, answers: &[Inserted]) {
        for answer in answers {
            match answer {
                Inserted::Created => self.created += 1,
                Inserted::Duplicate(_) => self.duplicates += 1,
                Inserted::Replaced(_) => self.replaced += 1,
                Inserted::KeyHeld(_) => self.key_held += 1,
            }
        }
    }
}

impl<'a> IntoFuture for EnqueueMany<'a> {
    type Output = Result<EnqueuedMany, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

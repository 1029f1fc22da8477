//! Following one job event by event, from any place where a reader stopped.
//!
//! Log lines and ended attempts are complete: each comes once, in the order in which the store recorded them
//! ([`ReadVerbs::history`](crate::store::ReadVerbs::history)). State and progress are the newest at each read; what they were
//! between two reads is left out. Start reading at [`Follower::read`].

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use backroom_core::{Attempt, JobId, JobRow, LogLine, Progress};
use futures_util::{Stream, stream};

use super::{Backroom, Cursor, JobHandle, Watch};
use crate::{
    Error,
    store::{Recorded, Seen},
};

/// Most entries of the history in one read.
const PAGE: usize = 200;

/// What is new about a job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum News {
    /// The job as it is now, after its state or anything else that changes its revision has changed. A finished job comes last:
    /// after it the stream ends.
    State(Box<JobRow>),
    /// The newest progress.
    Progress(Progress),
    /// A log line.
    Line(LogLine),
    /// An attempt ended without success.
    Attempt(Attempt),
}

/// One event of a job that is followed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobEvent {
    /// Where to continue after this event.
    pub cursor: Cursor,
    /// What is new.
    pub news: News,
}

/// The events of one job; see [`Backroom::follow`].
pub struct Follow {
    events: Pin<Box<dyn Stream<Item = Result<JobEvent, Error>> + Send>>,
}

impl Stream for Follow {
    type Item = Result<JobEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").finish_non_exhaustive()
    }
}

impl Backroom {
    /// The events of one job from its beginning, or after those that a reader has seen up to `after`.
    ///
    /// Each log line and each unsuccessful attempt comes once, in one order for all readers, however often a reader stops and
    /// continues with the cursor of its last event. State and progress are the newest at each read.
    ///
    /// The stream ends after the event with the finished job. If the job is retried by hand later, a stream that continues from
    /// there shows it. It ends with [`NotFound`](crate::ErrorKind::NotFound) if there is no such job, or the job is
    /// deleted in the meantime. After another error it ends, too: continue from the last cursor.
    ///
    /// A cursor that is ahead of the store begins from the beginning: then a backup was restored, and the lines that the
    /// reader has seen no longer exist.
    ///
    /// An idle follower costs one listener and a read every four minutes; on PostgreSQL also a lookup each second while its job waits in its
    /// queue, so that it sees the claim soon. Where the hints of other processes do not arrive
    /// (PostgreSQL with `listen=false`), it reads twice a second.
    pub fn follow(&self, id: JobId, after: Option<Cursor>) -> Follow {
        let follower = Follower::new(self, id, after);
        let events = stream::unfold(follower, |mut follower| async move {
            follower.next().await.map(|event| (event, follower))
        });
        Follow { events: Box::pin(events) }
    }
}

impl<J> JobHandle<J> {
    /// The events of this job; see [`Backroom::follow`].
    pub fn follow(&self, after: Option<Cursor>) -> Follow {
        self.backroom().follow(self.id(), after)
    }
}

/// Reads one job again and again, and remembers what its reader has.
struct Follower {
    backroom: Backroom,
    id: JobId,
    watch: Watch,
    /// Behind the last event in `ready`.
    cursor: Cursor,
    /// Read and not yet handed out.
    ready: VecDeque<JobEvent>,
    /// Whether the place where the reader continues is known to exist.
    is_placed: bool,
    /// Nothing follows what is ready.
    is_over: bool,
}

impl Follower {
    fn new(backroom: &Backroom, id: JobId, after: Option<Cursor>) -> Self {
        Self {
            backroom: backroom.clone(),
            id,
            watch: backroom.watch(id),
            cursor: after.unwrap_or_default(),
            ready: VecDeque::new(),
            is_placed: after.is_none(),
            is_over: false,
        }
    }

    async fn next(&mut self) -> Option<Result<JobEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.watch.found_news();
                return Some(Ok(event));
            }
            if self.is_over {
                return None;
            }
            if let Err(error) = self.read().await {
                self.is_over = true;
                self.ready.clear();
                return Some(Err(error));
            }
            if self.ready.is_empty() && !self.is_over {
                self.watch.next().await;
            }
        }
    }

    /// Reads what is new. The row is read first: what is recorded before the job finished is then found before its end is shown.
    async fn read(&mut self) -> Result<(), Error> {
        let job = self.backroom.job(self.id).await?;
        self.watch.has_read(&job);
        if !self.is_placed {
            self.place(&job).await?;
        }
        let is_finished = job.state.is_finished();
        let is_changed = self.cursor.revision != Some(job.revision);
        let mut state = is_changed.then(|| Box::new(job.clone()));
        if !is_finished && let Some(state) = state.take() {
            self.show_state(state);
        }
        let entries = self.backroom.store().history(self.id, self.cursor.seen, PAGE).await?;
        let is_page_last = entries.is_empty() || (!is_finished && entries.len() < PAGE);
        entries.into_iter().for_each(|entry| self.show_entry(entry));
        if !is_page_last {
            return Ok(());
        }
        if let Some(progress) = job.progress
            && self.cursor.has_not_seen(&progress)
        {
            self.cursor.see(&progress);
            self.show(News::Progress(progress));
        }
        if let Some(state) = state {
            self.show_state(state);
        }
        self.is_over = is_finished;
        Ok(())
    }

    /// Begins from the beginning if what the reader has seen does not exist.
    async fn place(&mut self, job: &JobRow) -> Result<(), Error> {
        let seen = self.cursor.seen;
        let is_ahead = self.cursor.revision.is_some_and(|revision| revision > job.revision)
            || (seen.lines > 0 && !self.exists(Seen { lines: seen.lines - 1, ..seen }).await?)
            || (seen.attempts > 0 && !self.exists(Seen { attempts: seen.attempts - 1, ..seen }).await?);
        if is_ahead {
            self.cursor = Cursor::default();
        }
        self.is_placed = true;
        Ok(())
    }

    /// Whether anything is recorded after this.
    async fn exists(&self, after: Seen) -> Result<bool, Error> {
        Ok(!self.backroom.store().history(self.id, after, 1).await?.is_empty())
    }

    fn show_state(&mut self, job: Box<JobRow>) {
        self.cursor.revision = Some(job.revision);
        self.show(News::State(job));
    }

    fn show_entry(&mut self, entry: Recorded) {
        self.cursor.seen = self.cursor.seen.and(&entry);
        self.show(match entry {
            Recorded::Line(line) => News::Line(line),
            Recorded::Attempt(attempt) => News::Attempt(attempt),
        });
    }

    fn show(&mut self, news: News) {
        self.ready.push_back(JobEvent { cursor: self.cursor, news });
    }
}

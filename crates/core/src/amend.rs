//! Changing a job that is stored and waits for its turn.

use crate::{
    Change, Invalid, JobRow, Json, Refused, Timestamp,
    bounds::check_name,
    draft::{When, check_args, check_priority, start_at},
    unique,
};

/// What to change of a queued job; what is none stays as it is. Everything was checked by [`Amendment::check`].
///
/// The kind never changes: enqueue another job instead.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Amendment {
    /// When it may run.
    pub scheduled_at: Option<Timestamp>,
    /// 0 (first) to 9 (last).
    pub priority: Option<u8>,
    /// Input of the handler.
    pub args: Option<Json>,
    /// Where it waits.
    pub queue: Option<String>,
}

/// The part of a job that its caller wrote and only an amendment changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// As [`JobRow::priority`].
    pub priority: u8,
    /// As [`JobRow::args`].
    pub args: Json,
    /// As [`JobRow::queue`]; none if the job stays in its queue.
    pub queue: Option<String>,
}

impl Amendment {
    /// Checks every bound. `json_bytes_max` bounds the args.
    pub fn check(
        start: Option<When>,
        priority: Option<u8>,
        args: Option<Json>,
        now: Timestamp,
        json_bytes_max: usize,
    ) -> Result<Self, Invalid> {
        args.as_ref().map_or(Ok(()), |args| check_args(args, json_bytes_max))?;
        priority.map_or(Ok(()), check_priority)?;
        let scheduled_at = start.map(|start| start_at(start, now)).transpose()?;
        Ok(Self { scheduled_at, priority, args, queue: None })
    }

    /// The same, and the job waits in this queue. The depth limit of the queue does not hold it back. A queue of the system takes no
    /// job.
    pub fn to_queue(mut self, queue: impl Into<String>) -> Result<Self, Invalid> {
        let queue = queue.into();
        check_name("queue", &queue)?;
        if queue.starts_with("backroom.") {
            return Err(Invalid::new("queue", "belongs to Backroom itself; choose another"));
        }
        self.queue = Some(queue);
        Ok(self)
    }
}

/// What `to` changes of a queued job; none if it is so already.
pub(crate) fn amend(job: &JobRow, to: Amendment) -> Result<Option<Change>, Refused> {
    let args = to.args.filter(|args| *args != job.args);
    if args.is_some() && job.unique_held && unique::is_key_of_args(job) {
        return Err(Refused::KeyOfArgs);
    }
    let scheduled_at = to.scheduled_at.unwrap_or(job.scheduled_at);
    let moves = scheduled_at != job.scheduled_at;
    if moves && job.expires_at.is_some_and(|at| at <= scheduled_at) {
        return Err(Refused::ExpiresFirst);
    }
    let priority = to.priority.unwrap_or(job.priority);
    let queue = to.queue.filter(|queue| *queue != job.queue);
    if queue.is_some() && job.queue.starts_with("backroom.") {
        return Err(Refused::OfSystem);
    }
    let is_new = args.is_some() || priority != job.priority || queue.is_some();
    let content = is_new.then(|| Content { priority, args: args.unwrap_or_else(|| job.args.clone()), queue });
    let changes = moves || content.is_some();
    Ok(changes.then(|| Change { scheduled_at, content, ..Change::keeping(job) }))
}

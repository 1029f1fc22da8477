//! From deliveries to durable jobs: each is mapped and checked, the jobs are stored together, and what cannot become a job is stored as
//! a dead letter.

use std::{fmt, sync::Arc};

use backroom::{
    Backroom, Error, ErrorKind, Inserted, Invalid, JobId, Timestamp,
    core::draft::NewJob,
    ids::Ids,
    store::{Call, DeadLetter},
};
use uuid::Uuid;

use crate::{Delivery, Mapping, MappingRule, Verdict, mapping::Mapped, status::Board};

/// Longest body that a dead letter stores; of a longer one, only the size. As large as the largest request to a hook by default.
const LETTER_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest reason that a dead letter stores, in bytes.
const REASON_BYTES_MAX: usize = 2048;

/// Makes jobs of the deliveries of one trigger. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    backroom: Backroom,
    trigger: Arc<str>,
    mapping: Arc<Mapping>,
    ids: Arc<Ids>,
    board: Arc<Board>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It became this job.
    Enqueued(JobId),
    /// It had become this job before.
    Duplicate(JobId),
    /// The filter left it out.
    LeftOut,
    /// It cannot become a job.
    Refused {
        /// Why.
        reason: String,
        /// The dead letter that stores it.
        dead_letter: Uuid,
        /// Whether the dead letter has its body: not if it is too large.
        has_body: bool,
    },
}

impl Outcome {
    /// What the source is answered.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Enqueued(_) | Self::Duplicate(_) | Self::LeftOut => Verdict::Accepted,
            Self::Refused { reason, has_body, .. } => {
                Verdict::Refused { reason: reason.clone(), has_body: *has_body }
            }
        }
    }
}

/// What a delivery would become.
#[derive(Debug, Clone, PartialEq)]
pub enum Preview {
    /// This job.
    Job(Box<backroom::JobRow>),
    /// Nothing: the filter leaves it out.
    LeftOut,
    /// A dead letter, for this reason.
    Refused(String),
}

/// Deliveries that were mapped and checked.
pub(crate) struct Prepared {
    jobs: Vec<NewJob>,
    letters: Vec<DeadLetter>,
    /// One per delivery.
    places: Vec<Where>,
    received: (usize, usize),
}

/// Where the outcome of a delivery comes from.
enum Where {
    Job(usize),
    LeftOut,
    Refused(usize),
}

impl Intake {
    pub(crate) fn new(
        backroom: &Backroom,
        trigger: Arc<str>,
        mapping: Mapping,
        ids: Arc<Ids>,
        board: Arc<Board>,
    ) -> Self {
        Self { backroom: backroom.clone(), trigger, mapping: Arc::new(mapping), ids, board }
    }

    /// An intake without a running trigger: for tests of a mapping, and for replays.
    pub(crate) fn detached(backroom: &Backroom, trigger: &str, rule: MappingRule) -> Result<Self, Invalid> {
        let mapping = Mapping::new(rule)?;
        Ok(Self::new(backroom, trigger.into(), mapping, Arc::new(Ids::from_entropy()), Board::new()))
    }

    /// What a delivery would become now.
    pub fn preview(&self, delivery: &Delivery) -> Preview {
        match self.check(delivery, self.backroom.clock().now()) {
            Ok(Some(new)) => Preview::Job(Box::new(new.job)),
            Ok(None) => Preview::LeftOut,
            Err(why) => Preview::Refused(why),
        }
    }

    /// Makes jobs of deliveries: once this answers, they are durable, and what cannot become a job is stored as a dead letter. One
    /// outcome per delivery, in order. Fails, with nothing stored, as the store does: [`QueueFull`](ErrorKind::QueueFull) too.
    pub async fn take(&self, deliveries: &[Delivery]) -> Result<Vec<Outcome>, Error> {
        let mut prepared = self.prepare(deliveries);
        self.store_letters(&mut prepared).await?;
        let answers = self.insert(prepared.jobs.clone()).await?;
        Ok(self.outcomes(prepared, &answers))
    }

    pub(crate) fn prepare(&self, deliveries: &[Delivery]) -> Prepared {
        let now = self.backroom.clock().now();
        let mut prepared = Prepared {
            jobs: Vec::with_capacity(deliveries.len()),
            letters: Vec::new(),
            places: Vec::with_capacity(deliveries.len()),
            received: (deliveries.len(), deliveries.iter().map(|delivery| delivery.body.len()).sum()),
        };
        for delivery in deliveries {
            let place = match self.check(delivery, now) {
                Ok(Some(new)) => {
                    prepared.jobs.push(new);
                    Where::Job(prepared.jobs.len() - 1)
                }
                Ok(None) => Where::LeftOut,
                Err(why) => {
                    prepared.letters.push(self.letter(delivery, &why, now));
                    Where::Refused(prepared.letters.len() - 1)
                }
            };
            prepared.places.push(place);
        }
        prepared
    }

    /// Args of a sealed kind are sealed if this program has the key; if not, the delivery is refused.
    fn check(&self, delivery: &Delivery, now: Timestamp) -> Result<Option<NewJob>, String> {
        match self.mapping.map(delivery, &self.trigger).map_err(|invalid| invalid.to_string())? {
            Mapped::Job(draft) => {
                let checked = self.backroom.check_draft(self.ids.job(now), *draft, now);
                checked.map(Some).map_err(|error| error.to_string())
            }
            Mapped::LeftOut => Ok(None),
        }
    }

    /// One call to the store. The same jobs may be given again after an error.
    pub(crate) async fn insert(&self, jobs: Vec<NewJob>) -> Result<Vec<Inserted>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.backroom.clock().now();
        self.backroom.store().insert(Arc::new(jobs), now, Call::First).await
    }

    /// Stores the dead letters. One that was stored before has the id that it had then.
    pub(crate) async fn store_letters(&self, prepared: &mut Prepared) -> Result<(), Error> {
        if prepared.letters.is_empty() {
            return Ok(());
        }
        let letters = Arc::new(prepared.letters.clone());
        let ids = self.backroom.store().put_dead_letters(letters).await?;
        prepared.letters.iter_mut().zip(ids).for_each(|(letter, id)| letter.id = id);
        Ok(())
    }

    /// Counts, and says what became of each delivery.
    pub(crate) fn outcomes(&self, prepared: Prepared, answers: &[Inserted]) -> Vec<Outcome> {
        let Prepared { jobs, places, letters, received } = prepared;
        let outcome = |place| match place {
            Where::LeftOut => Outcome::LeftOut,
            Where::Refused(index) => match letters.get(index) {
                Some(letter) => Outcome::Refused {
                    reason: letter.reason.clone(),
                    dead_letter: letter.id,
                    has_body: letter.body.is_some(),
                },
                // Each refused delivery has its letter.
                None => Outcome::LeftOut,
            },
            Where::Job(index) => match (answers.get(index), jobs.get(index)) {
                (Some(Inserted::Created), Some(new)) => Outcome::Enqueued(new.job.id),
                (Some(Inserted::Duplicate(id) | Inserted::Replaced(id) | Inserted::KeyHeld(id)), _) => {
                    Outcome::Duplicate(*id)
                }
                // A store answers once per job.
                (Some(Inserted::Created) | None, _) => Outcome::LeftOut,
            },
        };
        let outcomes: Vec<Outcome> = places.into_iter().map(outcome).collect();
        let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
        let board = &self.board;
        Board::count(&board.received, received.0);
        Board::count(&board.received_bytes, received.1);
        Board::count(&board.enqueued, count(|outcome| matches!(outcome, Outcome::Enqueued(_))));
        Board::count(&board.duplicates, count(|outcome| matches!(outcome, Outcome::Duplicate(_))));
        Board::count(&board.left_out, count(|outcome| matches!(outcome, Outcome::LeftOut)));
        Board::count(&board.refused, letters.len());
        for letter in &letters {
            let DeadLetter { trigger, identity, reason, id, body, body_bytes, .. } = letter;
            tracing::warn!(%trigger, %identity, dead_letter = %id, "a delivery became no job: {reason}");
            if body.is_none() {
                tracing::warn!(
                    %trigger,
                    %identity,
                    dead_letter = %id,
                    "its body of {body_bytes} bytes is too large for a dead letter and is not stored; only the source may still have it"
                );
            }
        }
        outcomes
    }

    fn letter(&self, delivery: &Delivery, why: &str, now: Timestamp) -> DeadLetter {
        DeadLetter {
            id: self.ids.job(now).0,
            trigger: self.trigger.to_string(),
            identity: delivery.key(),
            reason: backroom::core::bounds::clip(why, REASON_BYTES_MAX),
            at: now,
            delivery: backroom::Json::encode(&delivery.envelope()).unwrap_or_else(|_| backroom::Json::null()),
            body_bytes: delivery.body.len() as u64,
            body: (delivery.body.len() <= LETTER_BODY_BYTES_MAX).then(|| delivery.body.clone()),
        }
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub(crate) fn backroom(&self) -> &Backroom {
        &self.backroom
    }

    pub(crate) fn trigger(&self) -> &Arc<str> {
        &self.trigger
    }

    pub(crate) fn ids(&self) -> &Arc<Ids> {
        &self.ids
    }
}

impl Prepared {
    pub(crate) fn jobs(&self) -> &[NewJob] {
        &self.jobs
    }
}

/// How many jobs of a batch to try next, after a queue was found to be full: what may fit, at least one.
pub(crate) fn fits(error: &Error, tried: usize) -> usize {
    match error.kind() {
        ErrorKind::QueueFull { depth, limit } => {
            let free = usize::try_from(limit.saturating_sub(depth)).unwrap_or(usize::MAX);
            free.min(tried / 2).max(1)
        }
        _ => tried,
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("trigger", &self.trigger).finish_non_exhaustive()
    }
}

//! Judging what inserts did.

use backroom::{
    JobId, State, Timestamp,
    core::{draft::NewJob, unique::UniqueWhile},
    store::Inserted,
};

use super::{Model, Place, Row};

impl Model {
    pub(crate) fn inserted(&mut self, place: &Place, new: &[NewJob], answers: &[Inserted], now: Timestamp) {
        if new.len() != answers.len() {
            self.wrong(format!("insert of {} jobs gave {} answers", new.len(), answers.len()));
        }
        for (new, answer) in new.iter().zip(answers) {
            let line = format!("insert {} {}: {answer:?}", Self::short(new.job.id), new.job.kind);
            self.saw(place, &line);
            match answer {
                Inserted::Created => self.created(new, now),
                Inserted::Duplicate(holder) | Inserted::KeyHeld(holder) => self.stays(new, *holder, now),
                Inserted::Replaced(holder) => {
                    self.stays(new, *holder, now);
                    self.replaced(new, *holder);
                }
            }
        }
    }

    pub(super) fn created(&mut self, new: &NewJob, now: Timestamp) {
        if self.row(new.job.id).is_some() {
            // The same call again, because its answer was lost.
            return;
        }
        let key = new.job.unique_key.as_deref();
        if let Some(holder) = key.and_then(|key| self.holder(key)) {
            match self.row_mut(holder) {
                Some(row) if window_is_over(row, now) => {
                    row.held = false;
                    row.revision += 1;
                }
                _ => self.wrong(format!("job {} was stored although {holder} holds its key", new.job.id)),
            }
        }
        self.tally.stored += 1;
        let known = self.jobs.entry(new.job.id).or_default();
        // A repeated call may store a job again that was deleted meanwhile, as long as the caller that enqueued it was not answered.
        // Another caller may have learned of the job before, as the holder of a unique key, and may have deleted it.
        let returns = known.answered;
        known.row = Some(Row::of(&new.job));
        if returns {
            self.wrong(format!(
                "job {} went after its enqueue was answered, and came into being again",
                new.job.id
            ));
        }
    }

    fn stays(&mut self, new: &NewJob, holder: JobId, now: Timestamp) {
        self.tally.duplicates += 1;
        let key = new.job.unique_key.as_deref();
        let right = self
            .row(holder)
            .is_some_and(|row| row.held && row.key.as_deref() == key && !window_is_over(row, now));
        if !right {
            self.wrong(format!(
                "job {} was turned away for {holder}, which does not hold its key",
                new.job.id
            ));
        }
    }

    fn replaced(&mut self, new: &NewJob, holder: JobId) {
        let Some(row) = self.row_mut(holder) else { return };
        // Written twice when the answer of the first call was lost: the content is the same then.
        row.args = new.job.args.clone();
        row.priority = new.job.priority;
        row.max_attempts = new.job.max_attempts.max(row.attempt + 1);
        row.scheduled_at = new.job.scheduled_at;
        row.expires_at = new.job.expires_at;
        row.limited = new.job.extras.timeout.is_some();
        row.replies = new.job.extras.reply.is_some();
        row.revision += 1;
        if row.state != State::Queued {
            let state = row.state;
            self.wrong(format!("the args of the {state} job {holder} were replaced"));
        }
    }

    fn holder(&self, key: &str) -> Option<JobId> {
        self.rows().find(|(_, _, row)| row.held && row.key.as_deref() == Some(key)).map(|(id, _, _)| id)
    }
}

fn window_is_over(row: &Row, now: Timestamp) -> bool {
    matches!(row.hold, Some(UniqueWhile::Until(until)) if until <= now)
}

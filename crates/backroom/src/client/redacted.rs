//! Jobs as readers see them who may not see everything.

use backroom_core::{
    Attempt, Invalid, JobRow, LogLine,
    links::ChildEnd,
    message,
    redact::{HIDDEN, Pointer, Redaction},
    schedule,
    workflow::{Answer, Arrived, Cause, EntryState, Opened, Phase, Undo},
};

use super::{Backroom, ScheduleSummary};
use crate::{WorkflowJournal, engine::redaction};

/// What is hidden of one job, to hide it in its attempts and log lines, too.
#[derive(Debug, Default)]
pub struct Redacted(Redaction);

impl Backroom {
    /// The job with the fields hidden that [`Job::HIDDEN`](crate::Job::HIDDEN) and [`Options::hide`](crate::Options::hide) name for its kind, in args and output; and
    /// wherever their values stand in its reason and its progress message. What the second value hides in other texts of the job is
    /// the same.
    pub fn redacted(&self, mut job: JobRow) -> (JobRow, Redacted) {
        let mut redaction = self.redaction_of(&job);
        if redaction.is_empty() {
            return (job, Redacted::default());
        }
        job.args = redaction.json(&job.args);
        job.output = job.output.as_ref().map(|output| redaction.json(output));
        job.reason = job.reason.as_deref().map(|reason| redaction.text(reason));
        if let Some(progress) = &mut job.progress {
            progress.message = redaction.text(&progress.message);
        }
        (job, Redacted(redaction))
    }

    /// A schedule with the fields hidden in the args of its definition that are hidden in its jobs. What the second value hides in other texts
    /// is the same.
    pub fn redacted_definition(&self, mut definition: schedule::Schedule) -> (schedule::Schedule, Redacted) {
        let job = &mut definition.job;
        let mut redaction = self.redaction(&job.kind, &job.extras.hidden);
        job.args = redaction.json(&job.args);
        (definition, Redacted(redaction))
    }

    /// The same for a schedule with its state: also in why it fails.
    pub fn redacted_schedule(&self, mut summary: ScheduleSummary) -> (ScheduleSummary, Redacted) {
        let Some(definition) = summary.definition.take() else { return (summary, Redacted::default()) };
        let (definition, redacted) = self.redacted_definition(definition);
        summary.definition = Some(definition);
        let of_state = summary.state.as_mut().and_then(|state| state.failing.as_mut());
        for failing in summary.failing.as_mut().into_iter().chain(of_state) {
            failing.why = redacted.text(&failing.why);
        }
        (summary, redacted)
    }

    /// Args of a schedule that were read where fields are hidden must not be put again.
    pub(crate) fn check_shown(&self, definition: &schedule::Schedule) -> Result<(), Invalid> {
        let job = &definition.job;
        if !self.redaction(&job.kind, &job.extras.hidden).is_hidden_already(&job.args) {
            return Ok(());
        }
        let why = format!(
            "of schedule {:?} have {:?} in place of a hidden field; write its value",
            definition.name, HIDDEN
        );
        Err(Invalid::new("args", why))
    }

    /// The fields that [`Options::hide`](crate::Options::hide) and the declared kinds hide of jobs of a kind.
    pub fn hidden_fields(&self, kind: &str) -> &[Pointer] {
        self.engine().hidden.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Whether the args of jobs of a kind are sealed.
    pub fn is_sealed_kind(&self, kind: &str) -> bool {
        self.engine().seal_of(kind, None).is_some()
    }

    /// Whether something of a job may be hidden.
    pub(super) fn hides_fields(&self, job: &JobRow) -> bool {
        !self.redaction_of(job).is_empty()
    }

    /// What is hidden of a job. One that sends a message hides what the job hides that the message is about.
    fn redaction_of(&self, job: &JobRow) -> Redaction {
        let hidden = &self.engine().hidden;
        let about = if hidden.is_empty() { None } else { message::kind_within(job) };
        let Some(of_kind) = about.and_then(|kind| hidden.get(&kind)) else {
            return self.redaction(&job.kind, &job.extras.hidden);
        };
        let of_kind: Vec<_> = of_kind.iter().map(ToString::to_string).collect();
        let within = message::hidden_within(&of_kind);
        self.redaction(&job.kind, &[&job.extras.hidden[..], &within].concat())
    }

    fn redaction(&self, kind: &str, of_job: &[String]) -> Redaction {
        redaction(&self.engine().hidden, kind, of_job)
    }
}

impl Redacted {
    /// An attempt of the job.
    pub fn attempt(&self, mut attempt: Attempt) -> Attempt {
        attempt.error = self.0.text(&attempt.error);
        attempt
    }

    /// A line of its log.
    pub fn line(&self, mut line: LogLine) -> LogLine {
        line.line = self.0.text(&line.line);
        line
    }

    /// An entry of the history of a schedule.
    pub fn entry(&self, mut entry: schedule::Entry) -> schedule::Entry {
        if let Some(reason) = entry.end.as_mut().and_then(|end| end.reason.as_mut()) {
            *reason = self.0.text(reason);
        }
        entry
    }

    /// The journal of the job, if it is a workflow: values at the pointers are hidden, and wherever what is hidden in args and output
    /// stands in a value or an error.
    pub fn journal(&self, mut journal: WorkflowJournal) -> WorkflowJournal {
        if self.0.is_empty() {
            return journal;
        }
        if let Phase::Undoing { cause: Cause::Failed { error: text } | Cause::Cancelled { reason: text } } =
            &mut journal.header.phase
        {
            *text = self.0.text(text);
        }
        if let Some(published) = &mut journal.header.published {
            *published = self.0.within(published);
        }
        for entry in &mut journal.entries {
            match &mut entry.state {
                EntryState::Open(Opened::Trying { error, .. })
                | EntryState::Superseded { error }
                | EntryState::Closed { answer: Answer::Failed { error }, .. } => *error = self.0.text(error),
                EntryState::Closed { answer: Answer::Value { value } | Answer::Signal { value }, .. } => {
                    *value = self.0.within(value);
                }
                EntryState::Closed { answer: Answer::Child { end }, .. } => self.child(end),
                EntryState::Open(_) | EntryState::Closed { .. } | EntryState::Lost => {}
            }
            if let Some(Undo::Trying { error, .. }) = &mut entry.undo {
                *error = self.0.text(error);
            }
        }
        for arrival in &mut journal.arrivals {
            match &mut arrival.what {
                Arrived::Signal { value, .. } => *value = self.0.within(value),
                Arrived::Child { end, .. } => self.child(end),
            }
        }
        journal
    }

    fn child(&self, end: &mut ChildEnd) {
        match end {
            ChildEnd::Completed { output } => *output = self.0.within(output),
            ChildEnd::Cancelled { reason } | ChildEnd::Discarded { reason } => *reason = self.0.text(reason),
        }
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Another text about it.
    pub fn text(&self, text: &str) -> String {
        self.0.text(text)
    }
}

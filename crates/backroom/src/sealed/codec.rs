//! Seals and opens the values of one job.

use std::sync::Arc;

use backroom_core::{JobId, JobRow, Json, LeaseId, LogLine, Progress, sealed};

use super::{
    Field, Keys, OpenError, jwe,
    jwk::{Key, KeySet},
    place::Place,
};
use crate::{Failure, ids::Ids};

/// Longest error that is sealed, in bytes: it stands in the row of the job as its reason, too.
const ERROR_BYTES_MAX: usize = 2048;

/// Seals and opens the values of one job with the key of its kind.
#[derive(Clone)]
pub(crate) struct Codec {
    keys: Arc<KeySet>,
    name: String,
    job: JobId,
    kind: String,
}

impl Codec {
    pub(super) fn new(keys: Arc<KeySet>, name: &str, job: JobId, kind: &str) -> Self {
        Self { keys, name: name.to_owned(), job, kind: kind.to_owned() }
    }

    /// For a value of a job whose key is known by the value alone; none if the text is not sealed.
    pub(super) fn of(keys: &Keys, job: &JobRow, text: &str) -> Option<Self> {
        let id = sealed::key_id(text)?;
        let set = keys.set();
        let name = set.get(&id).map_or_else(|| id.clone(), |key| key.name().to_owned());
        Some(Self::new(set, &name, job.id, &job.kind))
    }

    fn place<'a>(&'a self, field: Field<'a>) -> String {
        Place { job: self.job, kind: &self.kind, field }.to_string()
    }

    /// The key that seals now. A key that is gone since the args were opened still has its place in this set.
    fn key(&self) -> &Key {
        self.keys.current(&self.name).expect("invariant: a codec is made where a key of the name is")
    }

    pub(crate) fn seal(&self, field: Field<'_>, plain: &str, ids: &Ids) -> String {
        jwe::seal(self.key(), plain.as_bytes(), &self.place(field), ids)
    }

    pub(crate) fn seal_json(&self, field: Field<'_>, plain: &Json, ids: &Ids) -> Json {
        Json::stored(self.seal(field, plain.as_str(), ids)).expect("invariant: a sealed value is JSON")
    }

    pub(crate) fn open_text(&self, field: Field<'_>, text: &str) -> Result<String, OpenError> {
        let plain = jwe::open(&self.keys, &self.name, text, &self.place(field))?;
        std::str::from_utf8(&plain).map(str::to_owned).map_err(|_| OpenError::Damaged)
    }

    pub(crate) fn open_json(&self, field: Field<'_>, json: &Json) -> Result<Json, OpenError> {
        let text = self.open_text(field, json.as_str())?;
        // The program that sealed it may have sealed text that is nested too deep.
        Json::parse(text).map_err(|_| OpenError::Damaged)
    }

    /// The answer of a handler, as it is stored.
    pub(crate) fn seal_answer(
        &self,
        lease: LeaseId,
        answer: Result<Json, Failure>,
        ids: &Ids,
    ) -> Result<Json, Failure> {
        match answer {
            Ok(output) => Ok(self.seal_json(Field::Output(lease), &output, ids)),
            Err(mut failure) => {
                let said = backroom_core::bounds::clip(&failure.message, ERROR_BYTES_MAX);
                failure.message = self.seal(Field::Error(lease), &said, ids);
                Err(failure)
            }
        }
    }

    /// What a handler reported, as it is stored.
    pub(crate) fn seal_notes(
        &self,
        lease: LeaseId,
        progress: Option<Progress>,
        lines: Vec<LogLine>,
        ids: &Ids,
    ) -> (Option<Progress>, Vec<LogLine>) {
        let progress = progress.map(|Progress { percent, message }| {
            // Nothing is hidden in an empty message.
            let is_empty = message.is_empty();
            let message = if is_empty { message } else { self.seal(Field::Progress(lease), &message, ids) };
            Progress { percent, message }
        });
        let sealed =
            |line: LogLine| LogLine { line: self.seal(Field::Log(lease, line.seq), &line.line, ids), ..line };
        (progress, lines.into_iter().map(sealed).collect())
    }
}
